"""Which examples a policy lacks: of each rule one that hits, one that does not, and both sides of each limit."""

from __future__ import annotations

import pytest

from seikyu.errors import Text
from seikyu.gate.coverage import Gap, untried
from seikyu.gate.policy import parse_policy

HEAD = 'schema = 1\nversion = "test"\noperations = ["mfkessai.create_transaction"]\nroles = ["accounting", "manager"]\n'
HITS = Text("当たる例", "example that hits it")
MISSES = Text("当たらない例", "example that does not hit it")
IN_HOURS = Text("時間内の例", "example inside its hours")
ON_WEEKEND = Text("土日の時間内の例", "example inside its hours on a weekend")


def ask(name: str, *conditions: str) -> str:
    return f'[[ask]]\nid = "{name}"\nwhy = "{name}"\n' + "\n".join(conditions) + "\n"


def example(facts: str, expect: str = "ask", roles: str = "") -> str:
    name = facts.replace('"', "")
    given = f'operation = "mfkessai.create_transaction", provider = "mfkessai", {facts}'
    return f'[[example]]\nname = "{name}"\ngiven = {{ {given} }}\nexpect = "{expect}"\n{roles}'


def gaps(*parts: str) -> list[Gap]:
    return untried(parse_policy(HEAD + "".join(parts), "policy.toml").file)


def at(name: str, fact: str, value: int) -> Text:
    return Text(f"{name} の境目、{fact} = {value} の例", f"example at the limit {name}, with {fact} = {value}")


def at_time(time: str) -> Text:
    return Text(f"outside_hours の境目、time = {time} の例", f"example at the limit outside_hours, with time = {time}")


def naming(role: str) -> Text:
    return Text(f"roles に {role} を挙げる例", f"example that hits it and names {role} in its roles")


def test_without_examples_every_rule_lacks_all_of_them_in_the_order_of_the_rules() -> None:
    found = gaps(
        ask("books", "amount_over = 10", 'role = "accounting"'),
        ask("night", 'outside_hours = "09:00-18:00"'),
        '[[deny]]\nid = "never"\nwhy = "never"\nduplicate = true\n',
    )

    assert found == [
        Gap("never", HITS),
        Gap("never", MISSES),
        Gap("books", HITS),
        Gap("books", MISSES),
        Gap("books", at("amount_over", "amount", 10)),
        Gap("books", at("amount_over", "amount", 11)),
        Gap("night", HITS),
        Gap("night", MISSES),
        *(Gap("night", at_time(time)) for time in ("08:59", "09:00", "17:59", "18:00")),
        Gap("books", naming("accounting")),
    ]
    assert found[0].text == Text("規則 never: 当たる例がありません。", "Rule never has no example that hits it.")


@pytest.mark.parametrize("amounts,missing", [((10, 11), []), ((9, 11), [10]), ((10, 12), [11]), ((9, 12), [10, 11])])
def test_a_limit_is_tried_by_its_own_number_and_the_next(amounts: tuple[int, ...], missing: list[int]) -> None:
    found = gaps(ask("large", "amount_over = 10"), *(example(f"amount = {amount}") for amount in amounts))

    assert found == [Gap("large", at("amount_over", "amount", value)) for value in missing]


def test_an_upper_limit_is_tried_on_both_sides_too() -> None:
    rule = '[[allow]]\nid = "small"\nwhy = "small"\namount_at_most = 10\n'

    assert gaps(rule, example("amount = 10", "allow"), example("amount = 11")) == []
    assert gaps(rule, example("amount = 9", "allow"), example("amount = 11")) == [
        Gap("small", at("amount_at_most", "amount", 10))
    ]


def test_an_example_tries_a_limit_only_when_the_other_conditions_of_the_rule_hold() -> None:
    rule = ask("large", "amount_over = 10", "duplicate = true")
    found = gaps(rule, example("amount = 11, duplicate = true"), example("amount = 10"))

    assert found == [Gap("large", at("amount_over", "amount", 10))]


BORDERS = ("08:59", "09:00", "17:59", "18:00")


@pytest.mark.parametrize("missing", BORDERS)
def test_hours_are_tried_by_the_minutes_on_both_sides_of_where_they_begin_and_end(missing: str) -> None:
    rule = ask("night", 'outside_hours = "09:00-18:00"', "amount_over = 1")
    late = [example(f'amount = {amount}, time = "20:00"') for amount in (1, 2)]
    tried = [*late, *(example(f'amount = {2 if time != missing else 1}, time = "{time}"') for time in BORDERS)]

    assert gaps(rule, *tried, example("amount = 2")) == [Gap("night", at_time(missing))]
    assert gaps(rule, *tried, example(f'amount = 2, time = "{missing}"')) == []


@pytest.mark.parametrize(
    "hours,times",
    [("00:00-18:00", ("17:59", "18:00")), ("09:01-24:00", ("09:00", "09:01")), ("10:00-24:00", ("09:59", "10:00"))],
)
def test_midnight_has_no_other_side(hours: str, times: tuple[str, str]) -> None:
    rule, tried = ask("night", f'outside_hours = "{hours}"'), [example(f'time = "{time}"') for time in times]

    assert gaps(rule) == [Gap("night", gap) for gap in (HITS, MISSES, *map(at_time, times))]
    assert gaps(rule, *tried) == []


def test_a_week_is_tried_on_a_weekend_and_its_hours_on_a_weekday() -> None:
    rule = ask("night", 'outside_hours = "09:00-18:00"', "weekdays_only = true")
    tried = [example(f'time = "{time}"') for time in BORDERS]
    weekend = [example(f'weekday = "sat", time = "{time}"') for time in BORDERS]

    assert gaps(rule, *tried) == [Gap("night", ON_WEEKEND)]
    assert gaps(rule, *tried, example('weekday = "sun", time = "18:00"')) == [Gap("night", ON_WEEKEND)]
    assert gaps(rule, *tried, example('weekday = "sun"')) == []
    assert gaps(rule, *weekend, example('time = "12:00"')) == [Gap("night", at_time(time)) for time in BORDERS]


def test_where_only_the_weekend_has_no_hours_one_example_of_each_is_enough() -> None:
    rule = ask("weekend", 'outside_hours = "00:00-24:00"', "weekdays_only = true")

    assert gaps(rule, example('weekday = "sat"'), example('weekday = "mon"')) == []
    assert gaps(rule, example('weekday = "sat"')) == [Gap("weekend", gap) for gap in (MISSES, IN_HOURS)]


def test_votes_are_tried_by_an_example_that_says_how_many() -> None:
    rule = ask("large", "duplicate = true", "approvers = 2")
    other = ask("new", "first_with_customer = true", "approvers = 3")
    missing = Text("approvers = 2 と書いた例", "example that hits it and says approvers = 2")
    both = example("duplicate = true, first_with_customer = true", roles="approvers = 3\n")
    rest = (example("amount = 1"), example("first_with_customer = true", roles="approvers = 3\n"))

    assert gaps(rule, other, both, *rest) == [Gap("large", missing)]
    assert gaps(rule, other, both, *rest, example("duplicate = true")) == [Gap("large", missing)]
    assert gaps(rule, other, both, *rest, example("duplicate = true", roles="approvers = 2\n")) == []


def test_distinct_is_tried_by_an_example_that_says_how_many() -> None:
    rule = ask("books", "duplicate = true", 'role = "accounting"', "distinct = true")
    roles, missing = "roles = { accounting = 1 }\n", "example that hits it and says approvers, for distinct"
    rest = example("amount = 1")

    assert [gap.example.en for gap in gaps(rule, rest, example("duplicate = true", roles=roles))] == [missing]
    assert gaps(rule, rest, example("duplicate = true", roles=f"{roles}approvers = 1\n")) == []


def test_a_role_is_tried_by_an_example_that_hits_its_rule_and_names_it() -> None:
    books = ask("books", "duplicate = true", 'role = "accounting"')
    fresh = ask("fresh", "first_with_customer = true", 'role = "accounting"')
    named = "roles = { accounting = 1 }\n"

    found = gaps(books, fresh, example("duplicate = true", roles=named), example("first_with_customer = true"))

    assert found == [Gap("fresh", naming("accounting"))]


def test_an_example_on_one_side_only_leaves_the_other_missing() -> None:
    rule = ask("large", "amount_over = 10")

    assert gaps(rule, example("amount = 11")) == [Gap("large", MISSES), Gap("large", at("amount_over", "amount", 10))]
    assert gaps(rule, example("amount = 10")) == [Gap("large", HITS), Gap("large", at("amount_over", "amount", 11))]
