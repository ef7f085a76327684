"""Claims: who may send, what they leave in the rows and in the log, and how each of them ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import CONNECTION, POLICY, Stage
from gate.traces import claims_with, last_record, later, news
from seikyu.errors import NotAllowed, Text
from seikyu.gate import audit, freezing
from seikyu.gate.actions import Action, State
from seikyu.gate.claims import Claim
from seikyu.models import timestamp
from seikyu.spec import Different, Done, Lost, NotSent, Refused, Sent, WriteOperation

WHY = Text("理由", "why")


def taken(stage: Stage, action: Action) -> Claim:
    claim = stage.claims.take(action.id)
    assert claim is not None
    return claim


def attempts(stage: Stage, action: Action) -> list[dict[str, Any]]:
    with stage.store.read() as tx:
        return [dict(row) for row in tx.all("attempts", action_id=action.id)]


def test_a_claim_says_who_has_it_until_when_and_on_whose_approval(stage: Stage) -> None:
    action = stage.approve(stage.propose("A-1", 100_000), stage.enrol("tanaka"))
    stage.clock.advance(hours=13)  # past midnight in Japan

    claim = taken(stage, action)

    leased = {"epoch": 1, "jst_day": "2026-11-22", "lease_owner": stage.presence.name}
    leased["lease_until"] = later(stage, seconds=90)
    now = later(stage)
    assert news(action, claim.action) == {"state": State.EXECUTING, "updated_at": now} | leased
    assert claim == Claim(stage.find(action.id), stage.operation, CONNECTION, ("tanaka",))
    said = last_record(stage, action)
    assert len(said.pop("claim")) == 16
    assert said == leased | {
        "at": now, "kind": "claimed", "state": "executing", "digest": action.digest, "approved_by": ["tanaka"],
    }  # fmt: skip
    assert attempts(stage, action) == [
        {"epoch": 1, "started_at": now, "ended_at": None, "outcome": None, "detail": None}
    ]
    assert audit.verify(stage.store).faults == ()


@dataclass(frozen=True)
class End:
    """What came of a second try. Of times: seconds from now."""

    sent: Sent
    kind: str
    """In the log."""
    detail: str
    """In the attempt's row."""
    row: dict[str, Any]
    """What changes in the action's row …"""
    said: dict[str, Any]
    """… and is told in the log."""


ENDS = (
    End(
        Done("tx-1", {"status": "済"}),
        "succeeded",
        "tx-1",
        {"state": State.SUCCEEDED, "reference": "tx-1", "provider_facts": '{"status": "済"}', "outcome": None},
        {"reference": "tx-1", "provider_facts": '{"status": "済"}'},
    ),
    End(
        Different(WHY, "tx-9"),
        "differs",
        "why",
        {"state": State.MANUAL_REVIEW, "reference": "tx-9"},
        {"reference": "tx-9"},
    ),
    End(
        Refused(WHY, 422, ("bad", "worse")),
        "refused",
        "422 bad worse",
        {"state": State.FAILED},
        {"status": 422, "codes": ["bad", "worse"]},
    ),
    End(
        Lost(WHY, 502),
        "outcome_unknown",
        "why",
        {"state": State.UNKNOWN, "may_have_left": True, "unknown_since": 0, "not_before": 2},
        {"status": 502, "may_have_left": True, "unknown_since": 0, "not_before": 2},
    ),
    End(
        NotSent(WHY),
        "not_sent",
        "why",
        {"state": State.APPROVED, "unsent_tries": 2, "not_before": 10},
        {"unsent_tries": 2, "not_before": 10},
    ),
    End(
        NotSent(WHY, needs_person=True),
        "not_sent",
        "why",
        {"state": State.APPROVED, "unsent_tries": 2, "not_before": 60},
        {"unsent_tries": 2, "not_before": 60},
    ),
)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{type(end.sent).__name__}-{end.kind}")
def test_an_attempt_ends_in_the_rows_and_in_the_log_as_it_ended(stage: Stage, end: End) -> None:
    action = stage.propose("A-1", 50_000)
    stage.claims.finish(taken(stage, action), NotSent(Text("不通", "no route")))
    stage.clock.advance(seconds=5)
    claim = taken(stage, action)
    stage.clock.advance(seconds=7)

    after = stage.claims.finish(claim, end.sent)

    now = later(stage)

    def timed(values: dict[str, Any]) -> dict[str, Any]:
        times = {"unknown_since", "not_before"}
        return {name: later(stage, seconds=value) if name in times else value for name, value in values.items()}

    told = {} if isinstance(end.sent, Done) else {"outcome": '{"ja": "理由", "en": "why"}'}
    free = {"lease_owner": None, "lease_until": None, "not_before": None, "updated_at": now}
    assert news(claim.action, after) == free | told | timed(end.row)
    assert last_record(stage, action) == told | timed(end.said) | {
        "at": now, "kind": end.kind, "state": after.state, "digest": action.digest,
    }  # fmt: skip
    assert attempts(stage, action)[1:] == [
        {
            "epoch": 2, "started_at": claim.action.updated_at, "ended_at": now,
            "outcome": type(end.sent).__name__, "detail": end.detail,
        },
    ]  # fmt: skip
    assert audit.verify(stage.store).faults == ()


def test_what_could_not_leave_waits_twice_as_long_each_time_up_to_five_minutes(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    waits = list[int]()

    for _ in range(8):
        after = stage.claims.finish(taken(stage, action), NotSent(WHY))
        waits.append(next(s for s in range(301) if later(stage, seconds=s) == after.not_before))
        stage.clock.advance(seconds=waits[-1] - 1)
        assert stage.claims.take(action.id) is None
        stage.clock.advance(seconds=1)

    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize("change", ["epoch = 2", "state = 'unknown'"])
def test_the_end_of_an_attempt_that_was_taken_over_is_told_and_changes_nothing(stage: Stage, change: str) -> None:
    action = stage.propose("A-1", 50_000)
    claim = taken(stage, action)
    forge(stage, f"UPDATE action SET {change}")  # noqa: S608
    before = stage.find(action.id)

    after = stage.claims.finish(claim, Done("tx-1"))

    assert after == stage.find(action.id) == before
    assert {name: last_record(stage, action)[name] for name in ("kind", "epoch", "outcome")} == {
        "kind": "fenced", "epoch": 1, "outcome": "Done",
    }  # fmt: skip
    assert [row["outcome"] for row in attempts(stage, action)] == ["Done"]


@pytest.mark.parametrize(
    "said,state,differing",
    [
        (Done("tx-1"), State.SUCCEEDED, ""),
        (Done("tx-1", counterparty_id="C-1", amount=50_000), State.SUCCEEDED, ""),
        (Done("tx-1", counterparty_id="C-2", amount=50_000), State.MANUAL_REVIEW, "customer id"),
        (Done("tx-1", counterparty_id="C-1", amount=50_001), State.MANUAL_REVIEW, "amount"),
        (Done("tx-1", counterparty_id="C-2", amount=0), State.MANUAL_REVIEW, "customer id, amount"),
    ],
)
def test_what_a_provider_calls_done_is_done_only_for_the_approved_customer_and_amount(
    stage: Stage, said: Done, state: State, differing: str
) -> None:
    action = stage.propose("A-1", 50_000)

    after = stage.claims.finish(taken(stage, action), said)

    why = f"What the provider has is not what was approved: {differing} differ." if differing else None
    assert (after.state, after.reference) == (state, "tx-1")
    assert (None if after.outcome_text is None else after.outcome_text.en) == why


def test_an_outcome_that_is_stored_already_is_not_stored_again(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    claim = taken(stage, action)
    done = stage.claims.finish(claim, Done("tx-1"))
    records = audit.verify(stage.store).rows

    assert stage.claims.finish(claim, Lost(WHY)) == done
    assert audit.verify(stage.store).rows == records


def test_the_right_to_send_ends_with_the_lease_and_what_leaves_is_journaled_first(stage: Stage) -> None:
    action = stage.approve(stage.propose("A-1", 100_000), stage.enrol("tanaka"))
    claim = taken(stage, action)
    stage.clock.at += timedelta(seconds=90, microseconds=-1)

    stage.claims.guard(claim)
    kept = list(stage.restoration.journal.entries())
    stage.clock.at += timedelta(microseconds=1)
    with pytest.raises(NotAllowed, match="right to send was lost"):
        stage.claims.guard(claim)

    [entry] = kept
    assert entry is not None
    assert (entry.action_id, entry.epoch, entry.approved_by) == (action.id, 1, ("tanaka",))
    assert entry.row["canonical"] == action.canonical
    assert entry.at == timestamp(stage.clock.now() - timedelta(microseconds=1))


@pytest.mark.parametrize("change", ["epoch = 2", "state = 'unknown'", "lease_until = NULL"])
def test_whoever_lost_the_right_to_send_sends_nothing(stage: Stage, change: str) -> None:
    claim = taken(stage, stage.propose("A-1", 50_000))
    forge(stage, f"UPDATE action SET {change}")  # noqa: S608

    with pytest.raises(NotAllowed, match="right to send was lost"):
        stage.claims.guard(claim)


def test_a_freeze_closes_the_fence_and_says_so(stage: Stage) -> None:
    claim = taken(stage, stage.propose("A-1", 50_000))
    freezing.freeze(stage.store, stage.clock, os_user="suzuki", operator=None, reason="look into it")

    with pytest.raises(NotAllowed, match="look into it"):
        stage.claims.guard(claim)


def test_nothing_is_claimed_by_a_server_that_only_reads(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)

    assert claims_with(stage, replace(stage.settings, is_read_only=True)).take(action.id) is None
    assert stage.find(action.id) == action


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "invox"},
        {"environment": "production"},
        {"company": "株式会社乗取"},
        {"base_url": "http://127.0.0.1:2/v2"},
        {"name": "mfk-other"},
    ],
)
def test_an_account_that_is_not_the_one_that_was_approved_gets_nothing(stage: Stage, change: dict[str, Any]) -> None:
    action = stage.propose("A-1", 50_000)
    settings = replace(stage.settings, connections=(replace(CONNECTION, **change),))

    with pytest.raises(NotAllowed, match="Connection mfk-main is not what was approved") as refused:
        claims_with(stage, settings).take(action.id)

    assert "connections.toml" in refused.value.say("en")
    assert stage.find(action.id) == action


def test_an_operation_nobody_knows_any_more_gets_nothing(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    object.__setattr__(stage.operation, "name", "mfkessai.renamed")

    with pytest.raises(NotAllowed, match="not what was approved"):
        claims_with(stage, stage.settings).take(action.id)


def test_what_the_policy_asks_about_by_now_goes_back_whole(stage: Stage) -> None:
    action = stage.approve(stage.propose("A-1", 900_000), stage.enrol("tanaka"))
    stage.settings.policy_file.write_text(POLICY.replace("amount_over = 1_000_000", "amount_over = 100_000"))
    stage.clock.advance(hours=1)

    assert stage.claims.take(action.id) is None

    after = stage.find(action.id)
    said = {"approvers": 2, "expires_at": later(stage, hours=72), "revision": 2, "verdict": after.verdict}
    assert news(action, after) == said | {"state": State.AWAITING, "updated_at": later(stage)}
    assert after.decision.why[0] == "large: large"
    assert last_record(stage, action) == said | {
        "at": later(stage), "kind": "asked_again", "state": "awaiting_approval", "digest": action.digest,
        "notes": action.notes,
    }  # fmt: skip


def test_what_the_policy_denies_by_now_is_denied_and_says_why(stage: Stage) -> None:
    action = stage.approve(stage.propose("A-1", 900_000), stage.enrol("tanaka"))
    stage.settings.policy_file.write_text(POLICY.replace("amount_over = 5_000_000", "amount_over = 100_000"))

    assert stage.claims.take(action.id) is None

    after = stage.find(action.id)
    said = {"outcome": '{"ja": "too-large: too large", "en": "too-large: too large"}', "verdict": after.verdict}
    assert news(action, after) == said | {"state": State.DENIED}
    assert after.decision.kind == "deny"
    assert last_record(stage, action) == said | {
        "at": later(stage), "kind": "denied", "state": "denied", "digest": action.digest,
    }  # fmt: skip


def test_an_approval_that_is_over_is_closed_by_whoever_would_have_claimed_it(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    stage.clock.advance(hours=24)

    assert stage.claims.take(action.id) is None

    now = later(stage)
    assert news(action, stage.find(action.id)) == {"state": State.EXPIRED, "updated_at": now}
    assert last_record(stage, action) == {
        "at": now, "kind": "expired", "state": "expired", "digest": action.digest,
    }  # fmt: skip


def test_what_the_log_contradicts_is_revoked_and_says_what_is_wrong(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    forge(stage, "UPDATE action SET surface = 'x'")

    assert stage.claims.take(action.id) is None

    after = stage.find(action.id)
    assert (after.state, after.outcome_text) == (
        State.REVOKED,
        Text(
            f"申請 {action.id} が、記録にない形で変更されています",
            f"action {action.id} is not what the log says it is",
        ),
    )
    said = last_record(stage, action)
    assert (said["kind"], said["outcome"]) == ("alarm", after.outcome)


def test_only_what_waited_too_long_expires(stage: Stage) -> None:
    early = stage.propose("A-1", 100_000)
    stage.clock.advance(hours=1)
    late = stage.propose("A-2", 200_000)
    stage.clock.advance(hours=71)

    [expired] = stage.claims.expire()

    now = later(stage)
    assert news(early, expired) == {"state": State.EXPIRED, "updated_at": now}
    assert last_record(stage, early)["kind"] == "expired"
    assert stage.find(late.id) == late
    assert stage.claims.expire() == []


@pytest.mark.parametrize("amount", [50_000, 100_000])
def test_what_cannot_be_worked_on_waits_and_nothing_else_of_it_changes(stage: Stage, amount: int) -> None:
    action = stage.propose("A-1", amount)
    stage.clock.advance(seconds=5)

    stage.claims.postpone(action.id, seconds=60)

    assert news(action, stage.find(action.id)) == {"not_before": later(stage, seconds=60), "updated_at": later(stage)}


def cancelling(stage: Stage) -> WriteOperation[Any]:
    return replace(stage.operation, name="mfkessai.cancel_transaction", reverses=stage.operation.name)


def cancelled(stage: Stage, reference: str = "tx-A-1", operation: WriteOperation[Any] | None = None) -> Action:
    """The end of a cancellation of what is at the provider as `reference`."""
    undo = operation or cancelling(stage)
    plan = stage.plan("C-1", 40_000, counterparty_id="C-9", counterparty_name="別の会社")
    request = plan.request.model_copy(update={"operation": undo.name})
    proposal = replace(
        stage.proposal("C-1", 40_000), operation=undo, plan=replace(plan, request=request, natural_key=None)
    )
    action = stage.desk.propose(proposal)
    claims = claims_with(stage, stage.settings, undo)
    claim = claims.take(action.id)
    assert claim is not None
    return claims.finish(claim, Done(reference))


async def test_what_a_cancellation_undid_is_named_in_its_row_and_in_the_log_and_its_call_is_free_again(
    stage: Stage,
) -> None:
    before = await stage.executor.execute(stage.propose("A-1", 50_000).id)
    other = await stage.executor.execute(stage.propose("A-2", 40_000, counterparty_id="C-2").id)
    stage.clock.advance(seconds=5)

    undo = cancelled(stage)

    after = stage.find(before.id)
    assert news(before, after) == {"reversed_by": undo.id}
    assert last_record(stage, before) == {
        "at": undo.updated_at, "kind": "reversed", "state": "succeeded", "digest": before.digest,
        "reversed_by": undo.id,
    }  # fmt: skip
    assert stage.find(other.id) == other
    assert audit.verify(stage.store).faults == ()
    assert stage.desk.same_call(before.call_digest) is None


@pytest.mark.parametrize("miss", ["another reference", "an operation that undoes nothing", "another connection"])
async def test_what_a_cancellation_did_not_undo_stays_as_it_was(stage: Stage, miss: str) -> None:
    done = await stage.executor.execute(stage.propose("A-1", 50_000).id)
    if miss == "another connection":
        forge(stage, "UPDATE action SET connection = 'mfk-other'")
    before = stage.find(done.id)

    if miss == "another reference":
        cancelled(stage, "tx-A-9")
    elif miss == "another connection":
        cancelled(stage)
    else:
        cancelled(stage, operation=replace(cancelling(stage), reverses=None))

    assert stage.find(done.id) == before


async def test_what_somebody_changed_in_a_row_stays_a_stranger_to_the_log_when_a_cancellation_undoes_it(
    stage: Stage,
) -> None:
    done = await stage.executor.execute(stage.propose("A-1", 50_000).id)
    forge(stage, "UPDATE action SET amount = 1")

    undo = cancelled(stage)

    assert stage.find(done.id).reversed_by == undo.id
    assert audit.verify(stage.store).fault == f"action {done.id} is not what the log says it is"
