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
        Gap("night", IN_HOURS),
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


@pytest.mark.parametrize(
    "facts,missing",
    [('amount = 2, time = "12:00"', []), ('amount = 1, time = "12:00"', [IN_HOURS])],
    ids=["in hours", "another condition keeps it away"],
)
def test_hours_are_tried_by_an_example_that_only_they_keep_away(facts: str, missing: list[Text]) -> None:
    rule = ask("night", 'outside_hours = "09:00-18:00"', "amount_over = 1")
    found = gaps(rule, example('amount = 2, time = "20:00"'), example('amount = 1, time = "20:00"'), example(facts))

    assert found == [Gap("night", text) for text in missing]


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
