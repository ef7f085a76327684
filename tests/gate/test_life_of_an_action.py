"""The life of an action: proposed, decided, sent once, and known for what it became."""

from __future__ import annotations

import json
import sqlite3

import pytest

from gate.forgery import forge
from gate.stage import PASSPHRASE, POLICY, PretendProvider, Stage, make_stage
from seikyu.errors import ConfigurationError, NotAllowed, NotFound, Text, VoteRefused
from seikyu.gate import audit, operators
from seikyu.gate.actions import State
from seikyu.gate.votes import Ballot
from seikyu.spec import Lost, NotSent, OutcomeClass, Principal, ProviderRequest, Refused, Sent

pytestmark = [pytest.mark.anyio, pytest.mark.both_stores]


def lost_after_booking(provider: PretendProvider) -> None:
    def answer(request: ProviderRequest) -> Sent:
        provider.book(request)
        return Lost(Text("切断", "cut"))

    provider.answers.append(answer)


async def test_a_small_write_runs_at_once_and_is_recorded(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)

    done = await stage.executor.execute(action.id)

    assert (action.state, done.state, done.reference) == (State.APPROVED, State.SUCCEEDED, "tx-A-1")
    assert stage.provider.sends == 1
    assert audit.verify(stage.store).fault is None


async def test_a_larger_write_waits_for_a_seal_and_then_runs_once(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)

    assert action.state is State.AWAITING
    assert await stage.executor.sweep() == []
    approved = stage.approve(action, key)
    done = await stage.executor.execute(action.id)
    again = await stage.executor.execute(action.id)

    assert approved.state is State.APPROVED
    assert (done.state, again.state, stage.provider.sends) == (State.SUCCEEDED, State.SUCCEEDED, 1)


async def test_over_a_million_needs_two_different_operators(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    action = stage.propose("A-1", 1_000_001)

    one = stage.approve(action, first)
    with pytest.raises(VoteRefused):
        stage.approve(action, first)
    two = stage.approve(action, second)

    assert (one.state, two.state) == (State.AWAITING, State.APPROVED)


async def test_the_same_call_again_is_the_same_action_in_every_open_state(stage: Stage) -> None:
    proposal = stage.proposal("A-1", 50_000)
    first = stage.desk.propose(proposal)
    done = await stage.executor.execute(first.id)

    assert stage.desk.propose(proposal).id == first.id == done.id
    assert stage.provider.sends == 1


async def test_another_request_under_a_number_in_use_is_refused(stage: Stage) -> None:
    stage.propose("A-1", 50_000)

    with pytest.raises(NotAllowed, match="A-1 is in use"):
        stage.propose("A-1", 40_000)


async def test_a_denied_write_is_final_and_never_sent(stage: Stage) -> None:
    action = stage.propose("A-1", 5_000_001)

    assert action.state is State.DENIED
    assert action.decision.why == ["too-large: too large"]
    assert (await stage.executor.execute(action.id)).state is State.DENIED
    assert stage.provider.sends == 0


async def test_an_operator_never_decides_on_their_own_request(stage: Stage) -> None:
    key = stage.enrol("suzuki")
    action = stage.propose("A-1", 100_000, requester="suzuki")

    with pytest.raises(VoteRefused, match="own request"):
        stage.approve(action, key)
    assert stage.find(action.id).state is State.AWAITING


async def test_a_wrong_passphrase_records_no_decision_and_soon_has_to_wait(stage: Stage) -> None:
    stage.enrol("tanaka")

    for _ in range(4):
        with pytest.raises(VoteRefused, match="wrong"):
            operators.unlock(stage.store, stage.clock, "tanaka", "not the passphrase")
    with pytest.raises(VoteRefused, match="wait"):
        operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE)
    stage.clock.advance(seconds=3)

    assert operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE).name == "tanaka"


async def test_a_second_operator_needs_the_voice_of_the_first(stage: Stage) -> None:
    stage.enrol("tanaka")

    with pytest.raises(VoteRefused, match="vouch"):
        operators.enrol(stage.store, stage.clock, "mallory", PASSPHRASE, endorser=None)


async def test_a_guess_at_a_passphrase_costs_what_rfc_9106_asks_for(stage: Stage) -> None:
    operators.enrol(stage.store, stage.clock, "tanaka", PASSPHRASE, endorser=None)
    with stage.store.read() as tx:
        row = tx.one("operator", name="tanaka")
    assert row is not None
    stored = json.loads(row["wrapped_key"])

    assert stored["cost"] == {"iterations": 4, "lanes": 1, "memory_cost": 65_536}
    assert operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE).name == "tanaka"


def test_an_operator_written_into_the_database_by_hand_decides_nothing(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    mallory = stage.enrol("sato", first)
    action = stage.propose("A-1", 100_000)
    forge(stage, "UPDATE operator SET endorsement = '00' WHERE name = 'sato'")

    with pytest.raises(Exception, match="without a valid endorsement"):
        stage.approve(action, mallory)


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE action SET state = 'approved'",
        "UPDATE action SET state = 'approved', approvers = 0",
        "UPDATE action SET state = 'approved', verdict = replace(verdict, 'ask', 'allow')",
    ],
)
async def test_a_state_forged_in_the_database_sends_nothing(stage: Stage, forgery: str) -> None:
    stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)
    forge(stage, forgery)

    after = await stage.executor.execute(action.id)

    assert after.state is State.REVOKED
    assert stage.provider.sends == 0


async def test_content_changed_after_approval_is_never_sent(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)
    stage.approve(action, key)
    forge(stage, "UPDATE action SET canonical = replace(canonical, '100000', '900000')")

    after = await stage.executor.execute(action.id)

    assert after.state is State.REVOKED
    assert stage.provider.sends == 0


async def test_a_vote_copied_to_another_action_is_refused_at_execution(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    approved = stage.propose("A-1", 100_000)
    stage.approve(approved, key)
    other = stage.propose("A-2", 200_000, counterparty_name="別の会社", counterparty_id="C-9")
    forge(
        stage,
        "INSERT INTO vote SELECT ?, revision, operator, decision, statement, seal, via, voted_at FROM vote",
        other.id,
    )
    forge(stage, "UPDATE action SET state = 'approved' WHERE id = ?", other.id)

    after = await stage.executor.execute(other.id)

    assert after.state is State.REVOKED
    assert stage.provider.sends == 0


async def test_an_answer_lost_after_booking_is_unknown_then_found_and_never_sent_again(stage: Stage) -> None:
    lost_after_booking(stage.provider)
    action = stage.propose("A-1", 50_000)

    unknown = await stage.executor.execute(action.id)
    assert (unknown.state, await stage.executor.sweep()) == (State.UNKNOWN, [])
    stage.clock.advance(seconds=3)
    [found] = await stage.executor.sweep()

    assert (found.state, found.reference, stage.provider.sends) == (State.SUCCEEDED, "tx-A-1", 1)


async def test_an_answer_lost_before_booking_is_sent_again_only_after_the_quiet_period(stage: Stage) -> None:
    stage.provider.answers.append(lambda _request: Lost(Text("切断", "cut")))
    action = stage.propose("A-1", 50_000)
    await stage.executor.execute(action.id)

    stage.clock.advance(seconds=3)
    [still] = await stage.executor.sweep()
    assert (still.state, stage.provider.sends) == (State.UNKNOWN, 1)
    stage.clock.advance(seconds=60)
    await stage.executor.sweep()

    assert stage.find(action.id).state is State.SUCCEEDED
    assert (stage.provider.sends, len(stage.provider.booked)) == (2, 1)


async def test_an_operation_nobody_can_look_up_goes_to_a_person(tmp_path: object, stage: Stage) -> None:
    del tmp_path
    alone = make_stage(stage.settings.home / "d", outcome_class=OutcomeClass.D)
    lost_after_booking(alone.provider)
    key = alone.enrol("tanaka")
    action = alone.propose("A-1", 50_000)
    await alone.executor.execute(action.id)
    alone.clock.advance(seconds=3)

    [review] = await alone.executor.sweep()
    resolved = alone.ballots.resolve(
        Ballot(action.id, action.digest, "resolve", "seen in the list"), key, reference="doc-7"
    )

    assert (review.state, resolved.state, resolved.reference) == (State.MANUAL_REVIEW, State.SUCCEEDED, "doc-7")
    assert alone.provider.sends == 1
    alone.store.close()
    alone.presence.leave()


async def test_a_request_that_cannot_leave_is_tried_until_its_approval_expires(stage: Stage) -> None:
    stage.provider.answers = [lambda _request: NotSent(Text("接続不可", "no route"))] * 500
    action = stage.propose("A-1", 50_000)

    states: list[State] = []
    for _ in range(26):
        states.append((await stage.executor.execute(action.id)).state)
        stage.clock.advance(hours=1)

    assert states == [State.APPROVED] * 24 + [State.EXPIRED] * 2
    assert stage.provider.booked == {}


async def test_a_login_that_is_gone_keeps_the_approval_until_a_person_connects_again(stage: Stage) -> None:
    gone = NotSent(Text("要再接続", "connect again"), needs_person=True)
    stage.provider.answers = [lambda _request: gone] * 5
    action = stage.propose("A-1", 50_000)

    for _ in range(5):
        waiting = await stage.executor.execute(action.id)
        assert waiting.state is State.APPROVED
        stage.clock.advance(seconds=61)
    done = await stage.executor.execute(action.id)

    assert (done.state, len(stage.provider.booked)) == (State.SUCCEEDED, 1)


async def test_a_conflict_with_our_own_booking_is_success_and_with_anything_else_is_not(stage: Stage) -> None:
    conflict = Refused(Text("登録済み", "exists"), 409, ("already_exists",))

    def booked_by_us(request: ProviderRequest) -> Sent:
        stage.provider.book(request)
        return conflict

    stage.provider.answers = [booked_by_us, lambda _request: conflict]
    ours = await stage.executor.execute(stage.propose("A-1", 50_000).id)
    nowhere = await stage.executor.execute(stage.propose("A-2", 49_000).id)

    assert (ours.state, nowhere.state) == (State.SUCCEEDED, State.UNKNOWN)


async def test_a_refusal_of_the_provider_is_a_failure_and_may_be_proposed_anew(stage: Stage) -> None:
    stage.provider.answers.append(lambda _request: Refused(Text("不正", "bad"), 400, ("invalid_amount",)))
    proposal = stage.proposal("A-1", 50_000)
    failed = await stage.executor.execute(stage.desk.propose(proposal).id)

    again = stage.propose("A-1", 50_000)

    assert failed.state is State.FAILED
    assert again.id != failed.id


async def test_a_dead_process_leaves_an_unknown_outcome_that_is_looked_up_not_resent(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    claim = stage.claims.take(action.id)
    assert claim is not None
    stage.provider.book(claim.action.request)
    stage.presence.leave()
    heir = make_stage(
        stage.settings.home, provider=stage.provider, clock=stage.clock, database_url=stage.settings.database_url
    )
    heir.clock.advance(seconds=stage.settings.timing.lease_s)

    [abandoned] = await heir.executor.sweep()
    heir.clock.advance(seconds=3)
    [found] = await heir.executor.sweep()

    assert (abandoned.state, found.state, stage.provider.sends) == (State.UNKNOWN, State.SUCCEEDED, 0)
    heir.store.close()
    heir.presence.leave()


@pytest.mark.fault("F17")
async def test_a_sender_paused_past_its_lease_finds_the_fence_closed(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    claim = stage.claims.take(action.id)
    assert claim is not None
    stage.clock.advance(seconds=stage.settings.timing.lease_s + 1)

    with pytest.raises(NotAllowed):
        stage.claims.guard(claim)


@pytest.mark.fault("F17")
async def test_a_late_answer_of_a_fenced_sender_changes_nothing(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    claim = stage.claims.take(action.id)
    assert claim is not None
    stage.clock.advance(seconds=stage.settings.timing.lease_s + 1)
    stage.reconciliation.abandon()

    after = stage.claims.finish(claim, NotSent(Text("遅い", "late")))

    assert after.state is State.UNKNOWN


async def test_requests_expire_and_expiry_never_approves(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)
    stage.clock.advance(hours=73)

    with pytest.raises(VoteRefused, match="expired"):
        stage.approve(action, key)
    [expired] = await stage.executor.sweep()

    assert (expired.state, stage.provider.sends) == (State.EXPIRED, 0)


async def test_the_daily_total_counts_what_ran_before_and_asks_above_its_limit(stage: Stage) -> None:
    states = [stage.propose(f"A-{n}", 50_000 - n, counterparty_id=f"C-{n}").state for n in range(8)]

    assert states == [State.APPROVED] * 6 + [State.AWAITING] * 2


async def test_a_duplicate_asks_even_across_connections_and_spellings(stage: Stage) -> None:
    stage.propose("A-1", 50_000)

    twin = stage.propose("A-2", 50_000, counterparty_id="other", counterparty_name="(株)青葉商事")

    assert twin.state is State.AWAITING
    assert twin.decision.why == ["duplicate: looks like a duplicate"]


async def test_a_policy_made_stricter_after_approval_is_asked_again(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 900_000)
    stage.approve(action, key)
    stage.settings.policy_file.write_text(POLICY.replace("amount_over = 1_000_000", "amount_over = 100_000"))

    after = await stage.executor.execute(action.id)

    assert (after.state, after.approvers, stage.provider.sends) == (State.AWAITING, 2, 0)


async def test_an_unreadable_policy_lets_nothing_be_written(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    stage.settings.policy_file.write_text("schema = ")

    with pytest.raises(ConfigurationError):
        stage.propose("A-2", 50_000)
    with pytest.raises(ConfigurationError):
        await stage.executor.execute(action.id)
    assert stage.provider.sends == 0


async def test_a_requester_sees_and_withdraws_only_their_own(stage: Stage) -> None:
    action = stage.propose("A-1", 100_000)

    with pytest.raises(NotFound):
        stage.desk.withdraw(action.id, Principal("mallory", "test"))
    withdrawn = stage.desk.withdraw(action.id, Principal("suzuki", "test"))

    assert withdrawn.state is State.WITHDRAWN


async def test_what_was_sent_back_says_why_and_its_correction_may_keep_the_number(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)

    returned = stage.ballots.cast(Ballot(action.id, action.digest, "return", "金額が違います"), key)
    corrected = stage.propose("A-1", 90_000)

    assert returned.outcome_text == Text("tanaka: 金額が違います", "tanaka: 金額が違います")
    assert stage.propose("A-1", 100_000).id == action.id
    assert corrected.state is State.AWAITING


async def test_a_revoked_approval_is_not_sent(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)
    stage.approve(action, key)

    revoked = stage.ballots.cast(Ballot(action.id, action.digest, "revoke"), key)

    assert (revoked.state, (await stage.executor.execute(action.id)).state) == (State.REVOKED, State.REVOKED)
    assert stage.provider.sends == 0


@pytest.mark.sqlite_only
async def test_the_audit_log_cannot_be_changed_and_a_rewrite_is_found(stage: Stage) -> None:
    await stage.executor.execute(stage.propose("A-1", 50_000).id)
    with sqlite3.connect(stage.settings.database) as raw:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute("UPDATE audit SET kind = 'x' WHERE seq = 2")
        raw.execute("DROP TRIGGER audit_is_never_updated")
        raw.execute("UPDATE audit SET record = replace(record, 'suzuki', 'yamada') WHERE seq = 1")
    raw.close()

    assert audit.verify(stage.store).fault == "record 1 was changed"
