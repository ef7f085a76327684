"""What another policy would have said of the proposals on record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import CONNECTION, POLICY, Stage
from seikyu.errors import Text
from seikyu.gate.actions import Action
from seikyu.gate.policy import Policy, parse_policy
from seikyu.gate.replays import REPLAY_DAYS, Change, Replay, replay
from seikyu.gate.vocabulary import Facts
from seikyu.spec import Seat

OLD = parse_policy(POLICY, "old.toml")
TWO_ABOVE_A_HUNDRED_THOUSAND = parse_policy(
    POLICY.replace("amount_over = 1_000_000", "amount_over = 100_000"), "new.toml"
)
HEAD = 'schema = 1\nversion = "test"\noperations = ["mfkessai.create_transaction"]\nroles = ["accounting"]\n'


def replayed(stage: Stage, new: Policy, old: Policy = OLD) -> Replay:
    with stage.store.read() as tx:
        return replay(tx, old, new, stage.clock.now())


def policy_of(*conditions: str) -> Policy:
    return parse_policy(HEAD + '[[ask]]\nid = "it"\nwhy = "it"\n' + "\n".join(conditions), "policy.toml")


def recorded_anew(stage: Stage, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite what the log says of every proposal, as another version would have written it."""
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("DROP TRIGGER audit_is_never_updated")
        for seq, text in raw.execute("SELECT seq, record FROM audit WHERE kind = 'proposed'").fetchall():
            record = json.loads(text)
            change(record)
            raw.execute("UPDATE audit SET record = ? WHERE seq = ?", (json.dumps(record), seq))


def without_facts(record: dict[str, Any]) -> None:
    del record["facts"]


def without_facts_and_twins(record: dict[str, Any]) -> None:
    del record["facts"], record["twins"]


def facts_of(stage: Stage, action: Action) -> Facts:
    with stage.store.read() as tx:
        [row] = tx.all("audit_of_action", action_id=action.id)
    return Facts.model_validate(json.loads(row["record"])["facts"])


def test_every_proposal_is_judged_by_both_policies_and_what_differs_is_told_whole(stage: Stage) -> None:
    stage.propose("A-1", 100_000)
    large = stage.propose("A-2", 100_001)
    larger = stage.propose("A-3", 5_000_001)

    found = replayed(stage, TWO_ABOVE_A_HUNDRED_THOUSAND)

    now = TWO_ABOVE_A_HUNDRED_THOUSAND.decide(facts_of(stage, large))
    since = stage.clock.now() - timedelta(days=90)
    assert found == Replay(since, recorded=3, changes=(Change(large, large.decision, now),))
    assert found.changes[0].rules == ["-no-rule", "+large"]
    assert (larger.decision.kind, REPLAY_DAYS) == ("deny", 90)


def test_an_edited_action_is_judged_as_it_is_now(stage: Stage) -> None:
    lowered, raised = stage.propose("A-1", 200_000), stage.propose("A-2", 60_000)
    lowered = stage.revisions.revise(stage.draft(lowered, 70_000))
    raised = stage.revisions.revise(stage.draft(raised, 120_000))

    found = replayed(stage, TWO_ABOVE_A_HUNDRED_THOUSAND)

    assert ([change.action for change in found.changes], found.recorded) == ([raised], 2)


@pytest.mark.parametrize(
    "old,new",
    [
        (("amount_over = 1",), ("amount_over = 1", "approvers = 2")),
        (("amount_over = 1",), ("amount_over = 1", 'role = "accounting"')),
        (
            ("amount_over = 1", 'role = "accounting"'),
            ("amount_over = 1", 'role = "accounting"', "distinct = true"),
        ),
    ],
    ids=["more votes", "a role", "distinct seats"],
)
def test_what_is_asked_for_is_part_of_the_decision(stage: Stage, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    stage.propose("A-1", 100)

    found = replayed(stage, policy_of(*new), policy_of(*old))

    assert (len(found.changes), found.changes[0].rules) == (1, [])


def test_a_rule_of_another_name_that_says_the_same_changes_nothing(stage: Stage) -> None:
    stage.propose("A-1", 100)
    renamed = parse_policy(POLICY.replace('"small"', '"little"'), "new.toml")

    assert replayed(stage, renamed).changes == ()


def test_facts_that_no_record_holds_are_read_from_the_stored_request(stage: Stage) -> None:
    stage.clock.advance(hours=13)  # 16:00 UTC on Saturday: Sunday, 01:00 in Japan
    stage.propose("A-1", 100)
    action = stage.propose("A-2", 100)
    stage.propose("A-3", 100, due_date=None, counterparty_id="C-2", counterparty_name="別の会社")
    recorded_anew(stage, without_facts)
    every = policy_of(
        "amount_over = 99",
        "due_days_over = 38",
        "duplicate = true",
        'outside_hours = "02:00-24:00"',
        'provider = "mfkessai"',
        'connection = "mfk-main"',
        'environment = "sandbox"',
        'operation = "mfkessai.create_transaction"',
        'requester = "suzuki"',
        "approvers = 2",
    )

    found = replayed(stage, every, policy_of("amount_over = 1"))

    assert (found.recorded, found.derived, found.left_out) == (0, 3, ())
    assert [(change.action.id, change.new.approvers) for change in found.changes] == [(action.id, 2)]


@pytest.mark.parametrize(
    "condition,hit",
    [
        ("due_days_over = 38", True),
        ("due_days_over = 39", False),
        ('outside_hours = "01:00-02:00"', False),
        ('outside_hours = "01:01-02:00"', True),
        ('outside_hours = "00:00-02:00"\nweekdays_only = true', True),
        ('environment = "production"', False),
        ("amount_over = 100", False),
    ],
)
def test_a_derived_fact_is_the_one_of_the_moment_of_the_proposal_in_japan(
    stage: Stage, condition: str, *, hit: bool
) -> None:
    stage.clock.advance(hours=13)
    stage.propose("A-1", 100)
    recorded_anew(stage, without_facts)
    stage.clock.advance(days=3)

    found = replayed(stage, policy_of(condition, "approvers = 2"), policy_of("amount_over = 1"))

    assert [change.new.approvers for change in found.changes] == ([2] if hit else [])


def test_a_fact_on_nobodys_record_leaves_out_what_a_rule_would_judge_by_it_and_says_which(stage: Stage) -> None:
    action = stage.propose("A-1", 100)
    recorded_anew(stage, without_facts_and_twins)
    by_totals = policy_of("daily_total_over = 1", "split_total_over = 1")

    old, new = replayed(stage, policy_of("amount_over = 1"), by_totals), replayed(stage, by_totals, by_totals)
    duplicate = replayed(stage, policy_of("duplicate = true"), policy_of("amount_over = 1"))
    neither = replayed(stage, policy_of("amount_over = 1"), policy_of("amount_over = 1"))

    why = Text("daily_total, split_total が記録されていません", "daily_total, split_total is not on record")
    assert old == new == Replay(old.since, left_out=((action.id, why),))
    assert [said.en for _, said in duplicate.left_out] == ["duplicate is not on record"]
    assert (neither.derived, neither.left_out) == (1, ())


def test_the_month_of_a_connection_is_on_record_where_a_rule_asked_for_it_and_is_never_taken_for_none(
    stage: Stage,
) -> None:
    by_month = policy_of("connection_monthly_total_over = 150", "approvers = 2")
    before = stage.propose("A-1", 100)
    stage.settings.policy_file.write_text(by_month.source, encoding="utf-8")
    after = stage.propose("A-2", 60)
    stage.settings.policy_file.write_text(POLICY, encoding="utf-8")

    found = replayed(stage, by_month, old=policy_of("amount_over = 1_000"))

    assert [(id_, said.en) for id_, said in found.left_out] == [
        (before.id, "connection_monthly_total is not on record")
    ]
    assert [(change.action.id, change.rules) for change in found.changes] == [(after.id, ["-no-rule", "+it"])]


def test_a_recorded_fact_that_this_version_does_not_know_is_passed_over(stage: Stage) -> None:
    stage.propose("A-1", 100_001)
    recorded_anew(stage, lambda record: record["facts"].update(moon="full"))

    found = replayed(stage, TWO_ABOVE_A_HUNDRED_THOUSAND)

    assert (found.recorded, found.derived, len(found.changes), found.left_out) == (1, 0, 1, ())


def test_recorded_facts_are_believed_before_what_the_request_says_now(stage: Stage) -> None:
    stage.propose("A-1", 100)
    recorded_anew(stage, lambda record: record["facts"].update(amount=100_001))

    assert len(replayed(stage, TWO_ABOVE_A_HUNDRED_THOUSAND).changes) == 1


def test_every_proposal_that_cannot_be_replayed_is_named_with_its_reason_and_the_others_are(stage: Stage) -> None:
    unreadable = stage.propose("A-1", 100_001)
    recorded_anew(stage, lambda record: record["facts"].update(weekday="someday"))
    stage.clock.advance(seconds=1)
    changed = stage.propose("A-2", 100_002, counterparty_id="C-2", counterparty_name="別の会社")
    forge(stage, "UPDATE action SET canonical = replace(canonical, '100002', '1') WHERE id = ?", changed.id)
    stage.clock.advance(seconds=1)
    fine = stage.propose("A-3", 100_003, counterparty_id="C-3", counterparty_name="三番目")

    found = replayed(stage, TWO_ABOVE_A_HUNDRED_THOUSAND)

    assert found.left_out == (
        (unreadable.id, Text("記録された事実を読めません", "its recorded facts cannot be read")),
        (changed.id, Text("内容が書き換えられています", "its content was changed")),
    )
    assert (found.recorded, [change.action.id for change in found.changes]) == (1, [fine.id])


def test_a_proposal_of_exactly_ninety_days_ago_is_replayed_and_an_older_one_is_not(stage: Stage) -> None:
    stage.propose("A-1", 100)
    stage.clock.advance(days=90)
    on_the_day = replayed(stage, OLD)
    stage.clock.advance(seconds=1)

    assert (on_the_day.recorded, replayed(stage, OLD).recorded) == (1, 0)


def test_a_derived_fact_is_of_the_actions_own_connection(stage: Stage) -> None:
    elsewhere = replace(CONNECTION, name="freee-tokyo", provider="freee", environment="production")
    stage.desk.propose(replace(stage.proposal("A-1", 100, requester="ito"), connection=elsewhere))
    recorded_anew(stage, without_facts)
    its_own = policy_of(
        'provider = "freee"',
        'connection = "freee-tokyo"',
        'environment = "production"',
        'requester = "ito"',
        "approvers = 2",
    )

    assert len(replayed(stage, its_own, policy_of("amount_over = 1")).changes) == 1


def test_seats_of_a_role_are_told_with_the_new_verdict(stage: Stage) -> None:
    stage.propose("A-1", 100)

    old, new = policy_of("amount_over = 1"), policy_of("amount_over = 1", 'role = "accounting"')
    [change] = replayed(stage, new, old).changes

    assert (change.old.seats, change.new.seats) == ((), (Seat("accounting", 1),))


def test_a_proposal_the_log_says_nothing_of_is_judged_by_its_stored_request(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    with closing(sqlite3.connect(stage.settings.database)) as raw, raw:
        raw.execute("DROP TRIGGER audit_is_never_deleted")
        raw.execute("DELETE FROM audit")

    found = replayed(stage, policy_of("amount_over = 1"), policy_of("amount_over = 1", "approvers = 2"))

    assert (found.recorded, found.derived, found.left_out) == (0, 1, ())
    assert [change.action for change in found.changes] == [action]
