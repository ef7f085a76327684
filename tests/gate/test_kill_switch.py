"""The kill switch: nothing leaves while it is on, and only an operator's seal turns it off."""

from __future__ import annotations

import json
import sqlite3

import psycopg
import pytest

from gate.forgery import forge
from gate.stage import Stage
from seikyu.errors import NOTHING, NotAllowed, NotFound, SeikyuError, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit, freezing, operators
from seikyu.gate.actions import State
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.freezing import Freeze
from seikyu.gate.operators import Key
from seikyu.spec import Lost, ProviderRequest, Sent

pytestmark = [pytest.mark.anyio, pytest.mark.both_stores]


def freeze(stage: Stage, reason: str = "二重請求の疑い") -> Freeze:
    return freezing.freeze(stage.store, stage.clock, os_user="ito", operator=None, reason=reason)


def lift(stage: Stage, seen: Freeze, key: Key) -> None:
    freezing.lift(stage.store, stage.clock, seen, key=key, os_user="ito", reason="")


async def test_while_frozen_nothing_is_claimed_and_proposals_and_votes_wait_until_it_is_lifted(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    seen = freeze(stage)
    small, large = stage.propose("A-1", 50_000), stage.propose("A-2", 100_000)
    approved = stage.approve(large, key)

    moved = await stage.executor.sweep()
    claim = stage.claims.take(small.id)

    assert claim is None
    assert (small.state, approved.state) == (State.APPROVED, State.APPROVED)
    assert {action.state for action in moved} == {State.APPROVED}
    assert stage.provider.sends == 0

    lift(stage, seen, key)
    await stage.executor.sweep()

    assert (stage.find(small.id).state, stage.find(large.id).state) == (State.SUCCEEDED, State.SUCCEEDED)
    assert stage.provider.sends == 2
    assert audit.verify(stage.store).fault is None


async def test_a_freeze_between_claim_and_first_byte_sends_nothing_and_the_action_stays_approved(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    frozen: list[Freeze] = []
    stage.provider.before_fence = lambda: frozen.append(freeze(stage))
    action = stage.propose("A-1", 50_000)

    stopped = await stage.executor.execute(action.id)

    assert (stopped.state, stopped.may_have_left, stage.provider.sends) == (State.APPROVED, False, 0)
    assert stopped.outcome_text is not None
    assert stopped.outcome_text.en == "Frozen: nothing is sent (ito: 二重請求の疑い)."

    stage.provider.before_fence = lambda: None
    lift(stage, frozen[0], key)
    stage.clock.advance(seconds=10)
    await stage.executor.sweep()

    assert (stage.find(action.id).state, stage.provider.sends) == (State.SUCCEEDED, 1)


async def test_unknown_outcomes_are_still_looked_up_while_frozen(stage: Stage) -> None:
    def booked_then_cut(request: ProviderRequest) -> Sent:
        stage.provider.book(request)
        return Lost(Text("切断", "cut"))

    stage.provider.answers.append(booked_then_cut)
    action = stage.propose("A-1", 50_000)
    await stage.executor.execute(action.id)
    freeze(stage)
    stage.clock.advance(seconds=10)

    await stage.executor.sweep()

    assert stage.find(action.id).state is State.SUCCEEDED
    assert stage.provider.sends == 1


async def test_an_approval_still_expires_while_frozen(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    freeze(stage)
    stage.clock.advance(hours=25)

    await stage.executor.sweep()

    assert stage.find(action.id).state is State.EXPIRED


def test_the_record_says_who_froze_and_who_lifted_it(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    seen = freezing.freeze(stage.store, stage.clock, os_user="ito", operator="sato", reason="疑い")
    lift(stage, seen, key)

    with stage.store.read() as tx:
        rows = [(row["kind"], row["record"]) for row in tx.all("audit_page", after=0, limit=100)]

    kinds = [kind for kind, _ in rows]
    assert kinds == ["operator.enrolled", "frozen", "unfrozen"]
    assert '"operator":"sato","os_user":"ito","reason":"疑い"' in rows[1][1]
    assert '"by":"tanaka"' in rows[2][1]
    assert freezing.current(stage.store) is None


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_freezing_needs_a_reason_of_at_most_500_characters(stage: Stage, reason: str) -> None:
    with pytest.raises(NotAllowed, match="Give a reason"):
        freeze(stage, reason)

    assert freezing.current(stage.store) is None


def test_lifting_needs_an_operator_of_today_and_a_freeze_in_force(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    operators.remove(stage.store, stage.clock, "sato", by=first)
    seen = freeze(stage)

    with pytest.raises(VoteRefused, match="may not decide"):
        lift(stage, seen, second)
    lift(stage, seen, first)
    with pytest.raises(NotFound):
        lift(stage, seen, first)


def test_a_second_freeze_is_not_lifted_by_somebody_who_only_saw_the_first(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    seen = freeze(stage)
    again = freeze(stage, "別の理由")

    with pytest.raises(VoteRefused, match="別の理由"):
        lift(stage, seen, key)

    assert freezing.current(stage.store) == again


def test_a_lifting_stands_after_its_operator_was_removed(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    lift(stage, freeze(stage), second)

    operators.remove(stage.store, stage.clock, "sato", by=first)

    assert freezing.current(stage.store) is None


@pytest.mark.parametrize("operator", ["tanaka", "nobody"])
def test_a_lifting_written_into_the_database_without_a_seal_lifts_nothing(stage: Stage, operator: str) -> None:
    stage.enrol("tanaka")
    freeze(stage)

    forge(stage, "INSERT INTO \"freeze\" VALUES (2, 'lifted', '2026-11-21', 'ito', ?, '', 'ab', NULL)", operator)

    assert freezing.current(stage.store) is not None


def test_an_old_lifting_copied_over_a_new_freeze_lifts_nothing(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    lift(stage, freeze(stage), key)
    freeze(stage, "もう一度")

    forge(
        stage,
        'INSERT INTO "freeze" SELECT 4, kind, at, os_user, operator, reason, seal, facts FROM "freeze" WHERE seq = 2',
    )

    assert freezing.current(stage.store) is not None


@pytest.mark.parametrize("statement", ["UPDATE \"freeze\" SET kind = 'lifted'", 'DELETE FROM "freeze"'])
def test_a_freeze_is_never_changed_or_deleted(stage: Stage, statement: str) -> None:
    freeze(stage)

    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError), match="append-only"):
        forge(stage, statement)


def test_a_forged_operator_puts_every_lifting_in_doubt_and_nothing_is_sent(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    lift(stage, freeze(stage), key)
    action = stage.propose("A-1", 50_000)
    forge(
        stage,
        "INSERT INTO operator (name, public_key, wrapped_key, enrolled_at, endorsed_by, endorsement) "
        "VALUES ('mallory', 'ab', '{}', '2026-11-21', 'tanaka', 'cd')",
    )

    with pytest.raises(StoreDamaged):
        stage.claims.take(action.id)

    there = freezing.current(stage.store)
    assert there is not None
    assert "does not hold" in there.text.en
    assert stage.find(action.id).state is State.APPROVED


def test_the_seal_of_a_lifting_is_about_the_freeze_before_it_who_when_and_why(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    freezing.lift(stage.store, stage.clock, freeze(stage), key=key, os_user="ito", reason="確認済み")

    with stage.store.read() as tx:
        [*_, row] = tx.all("audit_page", after=0, limit=100)

    statement = {
        "unfreeze": 1,
        "operator": "tanaka",
        "os_user": "ito",
        "reason": "確認済み",
        "at": "2026-11-21T03:00:00.000000Z",
    }
    assert json.loads(row["record"]) == {
        "seq": 2,
        "lifts": 1,
        "by": "tanaka",
        "os_user": "ito",
        "reason": "確認済み",
        "statement_sha256": sha256(canonical(statement)),
    }


def test_a_reason_of_500_characters_is_enough_for_a_freeze_and_no_refusal_speaks_of_the_provider(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    seen = freeze(stage, "x" * 500)
    operators.remove(stage.store, stage.clock, "sato", by=first)
    refused = list[SeikyuError]()
    for attempt in (lambda: freeze(stage, ""), lambda: lift(stage, seen, second)):
        with pytest.raises(SeikyuError) as caught:
            attempt()
        refused.append(caught.value)
    again = freeze(stage)
    with pytest.raises(SeikyuError) as caught:
        lift(stage, seen, first)
    lift(stage, again, first)
    refused.append(caught.value)

    assert [one.written for one in refused] == [NOTHING] * 3
    assert freezing.not_frozen().written == NOTHING


@pytest.mark.sqlite_only
def test_a_lifting_whose_facts_or_seal_were_taken_away_lifts_nothing(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    lift(stage, freeze(stage), key)
    forge(stage, "DROP TRIGGER freeze_is_never_updated")
    there = list[Freeze | None]()
    for change in ("facts = '{'", "facts = NULL, seal = NULL"):
        forge(stage, f'UPDATE "freeze" SET {change} WHERE seq = 2')  # noqa: S608 - our own words
        there.append(freezing.current(stage.store))

    assert [one is not None and "does not hold" in one.text.en for one in there] == [True, True]
    assert [one is not None and (one.seq, one.kind) for one in there] == [(2, "frozen")] * 2


def test_a_hold_that_no_lifting_names_stands_behind_one_and_can_be_released(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    lift(stage, freeze(stage), key)
    forge(stage, "INSERT INTO \"freeze\" VALUES (0, 'restored', '2026-11-20', 'seikyu', NULL, '', NULL, '{}')")

    seen = freezing.current(stage.store)
    assert seen is not None
    freezing.lift(stage.store, stage.clock, seen, key=key, os_user="ito", reason="復元")

    assert (seen.seq, seen.kind, seen.text.en[:9]) == (2, "restored", "Read-only")
    assert freezing.current(stage.store) is None


async def test_while_frozen_an_edit_voids_the_votes_and_only_the_new_content_leaves_once_it_is_lifted(
    stage: Stage,
) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 2_000_000)
    stage.approve(action, key)
    seen = freeze(stage)

    edited = stage.revisions.revise(stage.draft(action, 90_000))
    await stage.executor.sweep()
    frozen, sends = stage.find(action.id), stage.provider.sends
    lift(stage, seen, key)
    stage.approve(edited, key)
    await stage.executor.sweep()

    assert (edited.revision, frozen.state, sends) == (2, State.AWAITING, 0)
    assert stage.provider.booked == {"A-1": {"number": "A-1", "amount": 90_000}}
    assert audit.verify(stage.store).faults == ()
