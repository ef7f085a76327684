"""What a policy says of given facts: every rule evaluated, deny before ask before allow, the most approvers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from seikyu.errors import ConfigurationError
from seikyu.gate.policy import MAX_BYTES, Policy, PolicyBook, parse_policy, read_source
from seikyu.gate.vocabulary import Facts
from seikyu.spec import RuleTrace, Seat, Verdict

HEAD = 'schema = 1\nversion = "test"\noperations = ["a.one", "a.two"]\nroles = ["books", "head"]\n'
UNKNOWN = "方針にない操作 / not in the policy"
NO_RULE = "どの規則にも当たらない / no rule applies"


def policy_of(*rules: str) -> Policy:
    return parse_policy(HEAD + "".join(rules), "policy.toml")


def rule(section: str, name: str, *conditions: str) -> str:
    return f'[[{section}]]\nid = "{name}"\nwhy = "because {name}"\n' + "\n".join(conditions) + "\n"


def facts(**more: Any) -> Facts:
    return Facts.model_validate({"operation": "a.one", "provider": "freee"} | more)


def asked(*conditions: str) -> tuple[int, tuple[Seat, ...], bool]:
    """What is asked for 2 yen by rules with these conditions each."""
    rules = [rule("ask", f"r{place}", "amount_over = 1", one) for place, one in enumerate(conditions)]
    verdict = policy_of(*rules).decide(facts(amount=2))
    return verdict.approvers, verdict.seats, verdict.is_distinct


def test_a_decision_is_the_trace_of_every_rule_and_what_is_asked_for() -> None:
    policy = policy_of(
        rule("allow", "small", "amount_at_most = 10"),
        rule("ask", "large", "amount_over = 1", "approvers = 2", 'role = "books"'),
        rule("ask", "larger", "amount_over = 5"),
        rule("deny", "never", "amount_over = 100"),
    )

    verdict = policy.decide(facts(amount=2))

    trace = (
        RuleTrace("known-operation", "deny", is_hit=False, why=UNKNOWN),
        RuleTrace("never", "deny", is_hit=False, why="because never"),
        RuleTrace("large", "ask", is_hit=True, why="because large"),
        RuleTrace("larger", "ask", is_hit=False, why="because larger"),
        RuleTrace("small", "allow", is_hit=True, why="because small"),
    )
    no_rule = RuleTrace("no-rule", "ask", is_hit=False, why=NO_RULE)
    assert verdict == Verdict("ask", 2, (*trace, no_rule), policy.sha256, seats=(Seat("books", 2),))
    assert policy.sha256 == hashlib.sha256(policy.source.encode()).hexdigest()


def test_deny_beats_ask_ask_beats_allow_and_allow_stands_alone() -> None:
    policy = policy_of(
        rule("deny", "never", "amount_over = 100"),
        rule("ask", "large", "amount_over = 10", "approvers = 2"),
        rule("allow", "any", 'provider = "freee"'),
    )

    said = [policy.decide(facts(amount=amount)) for amount in (10, 11, 101)]

    assert [(one.kind, one.approvers, one.policy_sha256) for one in said] == [
        ("allow", 0, policy.sha256),
        ("ask", 2, policy.sha256),
        ("deny", 0, policy.sha256),
    ]
    assert [[trace.rule for trace in one.trace if trace.is_hit] for one in said] == [
        ["any"],
        ["large", "any"],
        ["never", "large", "any"],
    ]


def test_an_operation_the_policy_does_not_list_is_denied_even_where_a_rule_allows_it() -> None:
    verdict = policy_of(rule("allow", "any", 'provider = "freee"')).decide(facts(operation="a.three"))

    assert verdict.kind == "deny"
    assert verdict.trace[0] == RuleTrace("known-operation", "deny", is_hit=True, why=UNKNOWN)


def test_what_no_rule_hits_asks_for_one() -> None:
    verdict = policy_of(rule("ask", "large", "amount_over = 1", "approvers = 3")).decide(facts(amount=1))

    assert (verdict.kind, verdict.approvers, verdict.seats, verdict.is_distinct) == ("ask", 1, (), False)
    assert verdict.trace[-1] == RuleTrace("no-rule", "ask", is_hit=True, why=NO_RULE)


def test_the_most_votes_of_any_rule_and_of_any_rule_of_a_role_are_asked_for() -> None:
    books, head = 'role = "books"', 'role = "head"'

    assert asked(f"{books}\napprovers = 2", books, f"{head}\napprovers = 3") == (
        3,
        (Seat("books", 2), Seat("head", 3)),
        False,
    )
    assert asked(f"{head}\napprovers = 2", books, "approvers = 4") == (4, (Seat("books", 1), Seat("head", 2)), False)


def test_distinct_seats_add_up_to_the_votes_unless_a_rule_asks_for_more() -> None:
    books, head = 'role = "books"\napprovers = 2', 'role = "head"\ndistinct = true'

    assert asked(books, head)[::2] == (3, True)
    assert asked(books, head, "approvers = 5")[::2] == (5, True)
    assert asked(books, 'role = "head"\ndistinct = false')[::2] == (2, False)


@pytest.mark.parametrize(
    "condition,holds,fails",
    [
        ('provider = "freee"', {}, {"provider": "invox"}),
        ('connection = "one"', {"connection": "one"}, {"connection": "other"}),
        ('environment = "sandbox"', {"environment": "sandbox"}, {"environment": "production"}),
        ('requester = "Suzuki"', {"requester": "ｓｕｚｕｋｉ"}, {"requester": "ito"}),
        ('operation = "a.two"', {"operation": "a.two"}, {"operation": "a.one"}),
        ('operation = ["a.two", "a.one"]', {"operation": "a.one"}, {"operation": "a.three"}),
        ("duplicate = true", {"duplicate": True}, {"duplicate": False}),
        ("duplicate = false", {"duplicate": False}, {"duplicate": True}),
        ("first_with_customer = true", {"first_with_customer": True}, {}),
        ("new_destination = true", {"new_destination": True}, {}),
        ("changed_destination = true", {"changed_destination": True}, {}),
        ("amount_unknown = true", {}, {"amount": 0}),
        ("amount_unknown = false", {"amount": 0}, {}),
        ("amount_over = 10", {"amount": 11}, {"amount": 10}),
        ("amount_over = 0", {"amount": 1}, {"amount": None}),
        ("amount_at_most = 10", {"amount": 10}, {"amount": 11}),
        ("amount_at_most = 10", {"amount": 0}, {"amount": None}),
        ("due_days_over = 10", {"due_days": 11}, {"due_days": 10}),
        ("due_days_over = 0", {"due_days": 1}, {"due_days": None}),
        ("daily_total_over = 10", {"daily_total": 11}, {"daily_total": 10}),
        ("monthly_total_over = 10", {"monthly_total": 11}, {"monthly_total": 10}),
        ("customer_daily_total_over = 10", {"customer_daily_total": 11}, {"customer_daily_total": 10}),
        ("customer_monthly_total_over = 10", {"customer_monthly_total": 11}, {"customer_monthly_total": 10}),
        ("connection_daily_total_over = 10", {"connection_daily_total": 11}, {"connection_daily_total": 10}),
        ("connection_monthly_total_over = 10", {"connection_monthly_total": 11}, {"connection_monthly_total": 10}),
        ("split_total_over = 10", {"split_total": 11}, {"split_total": 10}),
        ('outside_hours = "09:00-18:00"', {"time": "08:59"}, {"time": "09:00"}),
        ('outside_hours = "09:00-18:00"', {"time": "18:00"}, {"time": "17:59"}),
        ('outside_hours = "09:00-18:00"\nweekdays_only = true', {"weekday": "sat"}, {"weekday": "fri"}),
        ('outside_hours = "09:00-18:00"\nweekdays_only = false', {"time": "20:00"}, {"weekday": "sun"}),
    ],
)
def test_a_condition_holds_for_its_fact_and_for_no_other(
    condition: str, holds: dict[str, Any], fails: dict[str, Any]
) -> None:
    [it] = policy_of(rule("ask", "it", condition)).file.ask

    assert (it.is_hit(facts(**holds)), it.is_hit(facts(**fails))) == (True, False)


def test_a_rule_is_hit_only_when_all_its_conditions_hold() -> None:
    [it] = policy_of(
        rule("ask", "it", "amount_over = 10", "duplicate = true", 'outside_hours = "09:00-18:00"')
    ).file.ask
    night = {"time": "20:00"}

    assert it.is_hit(facts(amount=11, duplicate=True, **night))
    assert not it.is_hit(facts(amount=10, duplicate=True, **night))
    assert not it.is_hit(facts(amount=11, duplicate=False, **night))
    assert not it.is_hit(facts(amount=11, duplicate=True))


def test_a_name_that_is_known_twice_over_is_no_fault_and_every_other_is_named() -> None:
    operation = 'operation = ["a.one", "a.three", "a.four"]'
    wrong = (
        rule("deny", "it", operation)
        + rule("ask", "it", 'connection = "mfk"', 'role = "boss"')
        + rule("ask", "fine", 'connection = "mfk-main"', 'role = "books"')
        + '[[example]]\nname = "one"\ngiven = { operation = "a.one", provider = "freee" }\nexpect = "ask"\n'
        + "roles = { zeta = 1, books = 1, alpha = 1 }\n"
    )

    with pytest.raises(ConfigurationError) as caught:
        parse_policy(HEAD + wrong, "policy.toml", ["mfk-main"])

    faults = caught.value.what.en.removesuffix(".").partition("written: ")[2].split("; line ")
    assert [fault.partition(" is not in")[0].removeprefix("line ") for fault in faults] == [
        "8: rule it: operation 'a.three'",
        "8: rule it: operation 'a.four'",
        "10: rule it: rule ids used twice: it",
        "12: rule it: connection 'mfk'",
        "13: rule it: role 'boss'",
        "23: role 'alpha'",
        "23: role 'zeta'",
    ]


def test_a_connection_is_not_doubted_when_nobody_knows_the_connections() -> None:
    assert policy_of(rule("ask", "it", 'connection = "anything"')).file.ask[0].connection == "anything"


def test_a_file_is_read_up_to_its_largest_size_and_not_beyond(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"#" * MAX_BYTES)

    assert read_source(path) == "#" * MAX_BYTES
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigurationError, match=r"line 1: too large; expected at most 1,048,576 bytes"):
        read_source(path)


def test_a_policy_is_read_anew_when_its_file_changed_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(HEAD, encoding="utf-8")
    book = PolicyBook(path, ["mfk-main"])
    first = book.current()

    again = book.current()
    path.write_text(HEAD + rule("ask", "it", 'connection = "mfk-main"'), encoding="utf-8")
    changed = book.current()
    path.write_text(HEAD + rule("ask", "it", 'connection = "mfk-other"'), encoding="utf-8")

    assert again is first
    assert changed == parse_policy(path.read_text(encoding="utf-8").replace("other", "main"), str(path))
    with pytest.raises(ConfigurationError, match=f"Policy {path} has faults.*'mfk-other'"):
        book.current()
