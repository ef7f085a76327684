"""Execution: who is told of each step, what a fault on the way becomes, and what the worker does in a round."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from gate.stage import CONNECTION, PretendProvider, Stage
from gate.traces import claims_with, last_record, later
from seikyu.errors import ConfigurationError, LoginRequired, OutcomeNotRecorded, ProviderUnavailable, StoreBusy, Text
from seikyu.gate.actions import Action, State
from seikyu.gate.claims import Claim, Claims
from seikyu.gate.execution import FAULT_WAIT_S, PER_ROUND, Executor, is_settled
from seikyu.gate.reconciliation import Reconciliation
from seikyu.gate.targets import Found
from seikyu.models import Connection
from seikyu.spec import (
    Absent,
    Different,
    Done,
    Finding,
    Lost,
    NotSent,
    OutcomeClass,
    ProviderRequest,
    Reader,
    Refused,
    Sent,
)
from seikyu.store.database import Store

pytestmark = pytest.mark.anyio

CONFLICT = Refused(Text("登録済み", "It exists."), 409, ("already_exists", "other"))
OTHER = replace(CONNECTION, name="mfk-other")


def always(client: PretendProvider) -> Callable[[Connection], PretendProvider]:
    return lambda _connection: client


def executor(stage: Stage, claims: Claims | None = None, **more: Any) -> Executor:
    claims = claims or stage.claims
    named: dict[str, Any] = {
        "reconciliation": Reconciliation(stage.store, stage.clock, stage.settings.timing, claims, stage.presence),
        "client_of": always(stage.provider),
        "record_waits_s": (0, 0),
    }
    return Executor(stage.store, stage.clock, claims, **(named | more))


def answers(stage: Stage, *sent: Sent) -> None:
    def giving(one: Sent) -> Callable[[ProviderRequest], Sent]:
        return lambda _request: one

    stage.provider.answers += [giving(one) for one in sent]


def finds(stage: Stage, finding: Finding | Exception) -> None:
    async def look_up(*_: object) -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    object.__setattr__(stage.operation, "look_up", look_up)


async def test_each_step_is_told_once_it_is_durable(stage: Stage) -> None:
    steps = list[tuple[str, State, State]]()

    def on_step(step: str, action: Action) -> None:
        steps.append((step, action.state, stage.find(action.id).state))

    action = stage.propose("A-1", 50_000)
    working = executor(stage, on_step=on_step)
    done, again = await working.execute(action.id), await working.execute(action.id)

    assert steps == [
        ("claimed", State.EXECUTING, State.EXECUTING),
        ("answered", State.EXECUTING, State.EXECUTING),
        ("recorded", State.SUCCEEDED, State.SUCCEEDED),
    ]
    assert done == again == stage.find(action.id)
    assert stage.provider.sends == 1


async def test_whoever_shuts_down_learns_how_many_outcomes_are_not_known(stage: Stage) -> None:
    working = executor(stage)
    left = [await working.drain()]
    await working.execute(stage.propose("A-1", 30_000, counterparty_id="C-1").id)
    left.append(await working.drain())
    answers(stage, Lost(Text("切断", "cut")), Lost(Text("切断", "cut")))
    first, second = stage.propose("A-2", 50_000), stage.propose("A-3", 40_000, counterparty_id="C-3")
    for action in (first, second):
        await working.execute(action.id)
    left.append(await working.drain())
    finds(stage, Done("tx-A-2"))
    stage.clock.advance(seconds=2)
    await working.look_up(stage.find(first.id))
    left.append(await working.drain())

    assert left == [0, 0, 2, 1]


async def test_outcomes_nobody_can_read_any_more_count_as_not_known(stage: Stage) -> None:
    class Locked(Store):
        def read(self) -> Any:
            raise StoreBusy(Text("使用中", "locked"))

    working = executor(stage)
    answers(stage, Lost(Text("切断", "cut")))
    await working.execute(stage.propose("A-1", 50_000).id)
    stage.store.__class__ = Locked

    assert await working.drain() == 1


@pytest.mark.parametrize(
    "fault",
    [
        LoginRequired(Text("切れました。", "The login is gone."), Text("接続し直す。", "Connect again.")),
        ConfigurationError(Text("切れました。", "The login is gone."), Text("接続し直す。", "Connect again.")),
    ],
)
async def test_what_a_person_has_to_mend_is_not_sent_and_says_what_to_do(stage: Stage, fault: Exception) -> None:
    def client_of(_connection: Connection) -> PretendProvider:
        raise fault

    action = stage.propose("A-1", 50_000)
    after = await executor(stage, client_of=client_of).execute(action.id)

    assert (after.state, after.not_before) == (State.APPROVED, later(stage, seconds=60))
    assert after.outcome_text is not None
    assert after.outcome_text.en.split() == ["The", "login", "is", "gone.", "Connect", "again."]
    assert "接続し直す。" in after.outcome_text.ja


async def test_a_fault_of_ours_while_sending_is_an_unknown_outcome(stage: Stage) -> None:
    def broken(_request: ProviderRequest) -> Sent:
        raise ValueError("a fault of ours")

    stage.provider.answers = [broken]
    after = await executor(stage).execute(stage.propose("A-1", 50_000).id)

    assert (after.state, after.may_have_left) == (State.UNKNOWN, True)
    assert after.outcome_text == Text("Seikyu の内部で失敗しました。", "Seikyu itself failed while sending.")


@pytest.mark.parametrize(
    "finding,state,said",
    [
        (Done("tx-A-1", {"status": "passed"}), State.SUCCEEDED, None),
        (Absent(), State.UNKNOWN, "It exists."),
        (ProviderUnavailable(Text("不通", "It does not answer.")), State.UNKNOWN, "It exists."),
        (Different(Text("別の金額", "Another amount."), "tx-9"), State.FAILED, "It exists. Another amount."),
    ],
)
async def test_a_number_that_exists_is_compared_with_what_was_asked_for(
    stage: Stage, finding: Finding | Exception, state: State, said: str | None
) -> None:
    finds(stage, finding)
    answers(stage, CONFLICT)
    action = stage.propose("A-1", 50_000)

    after = await executor(stage).execute(action.id)

    record = last_record(stage, action)
    told = None if after.outcome_text is None else " ".join(after.outcome_text.en.split())
    assert (after.state, told) == (state, said)
    assert (after.reference, record.get("status"), record.get("codes")) == {
        State.SUCCEEDED: ("tx-A-1", None, None),
        State.UNKNOWN: (None, 409, None),
        State.FAILED: (None, 409, ["already_exists", "other"]),
    }[state]


async def test_what_exists_is_looked_up_where_it_was_sent_for_the_request_that_was_sent(
    stage: Stage,
) -> None:
    asked = list[tuple[object, object]]()

    async def look_up(reader: Reader, request: ProviderRequest) -> Finding:
        asked.append((reader, request))
        return Done("tx-A-1")

    object.__setattr__(stage.operation, "look_up", look_up)
    answers(stage, CONFLICT)
    action = stage.propose("A-1", 50_000)

    await executor(stage).execute(action.id)

    assert asked == [(stage.provider, action.request)]


async def test_a_refusal_that_is_no_conflict_is_not_compared(stage: Stage) -> None:
    finds(stage, Done("tx-9"))
    answers(stage, Refused(Text("不正", "bad"), 400, ("invalid",)))

    assert (await executor(stage).execute(stage.propose("A-1", 50_000).id)).state is State.FAILED


async def test_a_conflict_nobody_can_look_up_is_a_refusal(stage: Stage) -> None:
    object.__setattr__(stage.operation, "look_up", None)
    object.__setattr__(stage.operation, "outcome_class", OutcomeClass.D)
    answers(stage, CONFLICT)

    after = await executor(stage).execute(stage.propose("A-1", 50_000).id)

    assert (after.state, after.outcome_text) == (State.FAILED, CONFLICT.reason)


class Busy(Claims):
    """The database takes no outcome for a while."""

    left = 1

    def finish(self, claim: Claim, sent: Sent) -> Action:
        self.left -= 1
        if self.left >= 0:
            raise StoreBusy(Text("使用中", "locked"))
        return super().finish(claim, sent)


@pytest.mark.parametrize(
    "sent,account",
    [
        (Done("tx-1"), "Done tx-1"),
        (Different(Text("別", "other"), "tx-9"), "Different tx-9"),
        (Different(Text("別", "other")), "Different"),
        (Lost(Text("切断", "cut")), "Lost"),
    ],
)
async def test_an_outcome_that_cannot_be_stored_is_in_the_operators_log_at_least(
    stage: Stage, caplog: pytest.LogCaptureFixture, sent: Sent, account: str
) -> None:
    stage.claims.__class__ = Busy
    stage.claims.left = 2  # type: ignore[attr-defined]
    answers(stage, sent)
    action = stage.propose("A-1", 50_000)

    with pytest.raises(OutcomeNotRecorded, match=f"{action.id} was sent, but its outcome could not be stored"):
        await executor(stage).execute(action.id)

    told = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert told == [f"the outcome of {action.id} could not be stored: {account}"]


async def test_a_difference_calls_for_a_person_at_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    answers(stage, Different(Text("別", "other"), "tx-9"))
    action = stage.propose("A-1", 50_000)

    await executor(stage).execute(action.id)
    await executor(stage).execute(stage.propose("A-2", 40_000, counterparty_id="C-2").id)

    told = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert told == [f"a person must look at {action.id}: Different tx-9"]


async def test_a_round_abandons_looks_up_expires_and_sends_and_names_all_that_moved(stage: Stage) -> None:
    answers(stage, Lost(Text("切断", "cut")))
    over = stage.propose("A-0", 100_000)
    stage.clock.advance(hours=72)
    unknown = stage.propose("A-1", 50_000)
    await stage.executor.execute(unknown.id)
    dead = stage.propose("A-2", 30_000, counterparty_id="C-2", counterparty_name="二社")
    assert stage.claims.take(dead.id)
    stage.clock.advance(seconds=90)
    finds(stage, Done("tx-1"))
    due = stage.propose("A-3", 20_000, counterparty_id="C-3", counterparty_name="三社")
    waiting = stage.propose("A-4", 100_001, counterparty_id="C-4", counterparty_name="四社")

    moved = await executor(stage).sweep()
    stage.clock.advance(seconds=stage.settings.timing.settle_s)
    moved_next = await executor(stage).sweep()

    assert [(action.id, action.state) for action in moved] == [
        (dead.id, State.UNKNOWN),
        (unknown.id, State.SUCCEEDED),
        (over.id, State.EXPIRED),
    ]
    assert [(action.id, action.state) for action in moved_next] == [
        (dead.id, State.SUCCEEDED),
        (due.id, State.SUCCEEDED),
    ]
    assert stage.find(waiting.id) == waiting


async def test_a_start_with_an_open_action_sends_nothing_for_its_account_before_that_was_looked_up_once(
    stage: Stage,
) -> None:
    settings = replace(stage.settings, connections=(CONNECTION, OTHER))
    left = stage.propose("A-1", 50_000)
    assert stage.claims.take(left.id)
    stage.clock.advance(seconds=stage.settings.timing.lease_s)
    stage.propose("A-2", 40_000, counterparty_id="C-2", counterparty_name="二社")
    elsewhere = stage.desk.propose(replace(stage.proposal("B-1", 900, counterparty_id="B"), connection=OTHER))
    steps = list[str]()

    async def down(*_: object) -> Any:
        steps.append("looked")
        raise ProviderUnavailable(Text("応答がありません。", "It does not answer."))

    object.__setattr__(stage.operation, "look_up", down)
    stage.provider.before_fence = lambda: steps.append("sent")
    started = executor(stage, claims_with(stage, settings))

    first = await started.sweep()
    seen = list(steps)
    stage.clock.advance(seconds=stage.settings.timing.settle_s)
    await started.sweep()

    assert ([action.id for action in first], seen) == ([left.id, elsewhere.id], ["sent"])
    assert steps == ["sent", "looked", "sent"]
    assert stage.find(left.id).state is State.UNKNOWN


async def test_an_unknown_action_from_before_the_clock_was_set_back_holds_up_nothing(stage: Stage) -> None:
    answers(stage, Lost(Text("切断", "cut")))
    unknown = stage.propose("A-1", 50_000)
    await stage.executor.execute(unknown.id)
    stage.clock.advance(hours=-1)
    due = stage.propose("A-2", 40_000, counterparty_id="C-2", counterparty_name="二社")

    moved = await executor(stage).sweep()

    assert [(action.id, action.state) for action in moved] == [(due.id, State.SUCCEEDED)]


async def test_an_account_gets_twenty_sends_a_round_and_a_slow_one_delays_only_itself(stage: Stage) -> None:
    settings = replace(stage.settings, connections=(CONNECTION, OTHER))
    many = list[Action]()
    for number in range(PER_ROUND + 1):
        many.append(stage.propose(f"A-{number}", 1_000 + number, counterparty_id=f"C-{number}"))
        stage.clock.advance(seconds=1)
    one = stage.desk.propose(replace(stage.proposal("B-1", 900, counterparty_id="B"), connection=OTHER))
    done = anyio.Event()

    class Waiting(PretendProvider):
        async def send(self, *arguments: Any, **named: Any) -> Sent:
            with anyio.fail_after(20):
                await done.wait()  # for the other account
            return await super().send(*arguments, **named)

    class First(PretendProvider):
        async def send(self, *arguments: Any, **named: Any) -> Sent:
            sent = await super().send(*arguments, **named)
            done.set()
            return sent

    clients = {CONNECTION.name: Waiting(), OTHER.name: First()}

    def client_of(connection: Connection) -> PretendProvider:
        return clients[connection.name]

    moved = await executor(stage, claims_with(stage, settings), client_of=client_of).sweep()

    assert [client.sends for client in clients.values()] == [PER_ROUND, 1]
    assert {action.id for action in moved} == {one.id, *(action.id for action in many[:PER_ROUND])}
    assert stage.find(many[-1].id) == many[-1]


@pytest.mark.parametrize("fault", [StoreBusy(Text("使用中", "locked")), ValueError("a fault of ours")])
async def test_one_that_cannot_be_worked_on_waits_a_minute_and_the_others_go_on(stage: Stage, fault: Exception) -> None:
    stuck = stage.propose("A-1", 50_000)
    stage.clock.advance(seconds=1)
    healthy = stage.propose("A-2", 40_000, counterparty_id="C-2", counterparty_name="二社")

    class Stuck(Claims):
        def take(self, action_id: str, found: Found | None = None) -> Claim | None:
            if action_id == stuck.id:
                raise fault
            return super().take(action_id, found)

    stage.claims.__class__ = Stuck
    moved = await executor(stage).sweep()

    assert [(action.id, action.state) for action in moved] == [(healthy.id, State.SUCCEEDED)]
    assert stage.find(stuck.id).not_before == later(stage, seconds=FAULT_WAIT_S)


async def test_what_is_not_due_yet_is_left_alone(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    stage.claims.postpone(action.id, seconds=60)
    stage.clock.advance(seconds=59)
    early = await executor(stage).sweep()
    stage.clock.advance(seconds=1)

    [done] = await executor(stage).sweep()

    assert (early, done.state) == ([], State.SUCCEEDED)


async def test_the_worker_goes_on_after_a_round_that_failed(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    action = stage.propose("A-1", 50_000)
    rounds = 0

    class Failing(Executor):
        async def sweep(self) -> list[Action]:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                raise StoreBusy(Text("使用中", "locked"))
            moved = await super().sweep()
            working.cancel()
            return moved

    worker = executor(stage)
    worker.__class__ = Failing
    with anyio.fail_after(20), anyio.CancelScope() as working:
        await worker.work(poll_s=0)

    assert (rounds, stage.find(action.id).state) == (2, State.SUCCEEDED)
    assert "a round of work stopped: store_busy (locked)" in caplog.text


async def test_what_was_edited_while_its_target_was_read_is_left_to_the_next_round(stage: Stage) -> None:
    object.__setattr__(stage.operation, "target", stage.provider.read_target)
    action = stage.propose("A-1", 50_000)

    class Later(Claims):
        def take(self, action_id: str, found: Found | None = None) -> Claim | None:
            return super().take(action_id, None if found is None else replace(found, digest="f" * 64))

    stage.claims.__class__ = Later

    assert await executor(stage).execute(action.id) == action
    assert stage.provider.sends == 0


async def test_an_execution_that_ends_in_a_fault_is_logged_for_its_caller_may_be_gone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Claims):
        def take(self, action_id: str, found: Found | None = None) -> Claim | None:
            raise StoreBusy(Text("使用中", f"locked at {action_id}"))

    action = stage.propose("A-1", 50_000)
    stage.claims.__class__ = Broken

    with pytest.raises(StoreBusy):
        await executor(stage).execute(action.id)
    await anyio.lowlevel.checkpoint()

    assert f"an execution ended: locked at {action.id}" in caplog.text


def test_three_states_are_worked_on_by_themselves_and_no_other(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    open_ = {state for state in State if not is_settled(action.model_copy(update={"state": state}))}

    assert open_ == {State.APPROVED, State.EXECUTING, State.UNKNOWN}


async def test_a_send_that_could_not_leave_leaves_no_doubt_when_shutting_down(stage: Stage) -> None:
    answers(stage, NotSent(Text("不通", "no route")))
    working = executor(stage)
    await working.execute(stage.propose("A-1", 50_000).id)

    assert await working.drain() == 0
