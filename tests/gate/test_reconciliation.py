"""After a lost answer: when it is looked up, what each finding means, and when a person has to look."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import CONNECTION, Stage, make_stage
from seikyu.errors import ConfigurationError, ProviderUnavailable, SeikyuError, Text
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.gate.reconciliation import GIVE_UP_S, LOOK_AGAIN_S, MAX_EPOCHS, Reconciliation
from seikyu.models import moment, timestamp
from seikyu.spec import Absent, Connection, Different, Done, Lost, OutcomeClass, Reader

pytestmark = pytest.mark.anyio

CUT = Lost(Text("切断", "cut"))
NOT_SHOWN = Text("提供元に見つかりませんでした。", "The provider does not show it.")
NOBODY = Text("提供元に1時間照会できませんでした。", "The provider could not be asked for an hour.")
BY_HAND = Text(
    "この操作は後から照会できません。提供元の画面で確かめてください。",
    "This operation cannot be looked up; a person has to check it in the provider's own screen.",
)


async def unknown(stage: Stage) -> Action:
    stage.provider.answers.append(lambda _request: CUT)
    action = await stage.executor.execute(stage.propose("A-1", 50_000).id)
    assert action.state is State.UNKNOWN
    return action


async def looked_up(stage: Stage, action: Action, finding: object = None) -> Action:
    """Look it up once; `finding` is what the provider shows, or how it fails."""

    async def answer(*_: object) -> Any:
        if isinstance(finding, Exception):
            raise finding
        return finding

    if finding is not None:
        object.__setattr__(stage.operation, "look_up", answer)
    return await stage.reconciliation.resolve(action, lambda _connection: stage.provider)


def later(stage: Stage, seconds: int) -> str:
    return timestamp(stage.clock.now() + timedelta(seconds=seconds))


def kinds(stage: Stage, action: Action) -> list[str]:
    with stage.store.read() as tx:
        return [str(row["kind"]) for row in audit.history(tx, action.id)]


@pytest.mark.parametrize("seconds,is_over", [(-1, False), (0, True)])
def test_what_is_being_sent_is_abandoned_when_its_lease_is_over_and_its_epoch_moves_on(
    stage: Stage, seconds: int, *, is_over: bool
) -> None:
    claim = stage.claims.take(stage.propose("A-1", 50_000).id)
    assert claim is not None
    action = stage.find(claim.action.id)
    stage.clock.at = moment(str(action.lease_until)) + timedelta(seconds=seconds)

    abandoned = stage.reconciliation.abandon()

    now = timestamp(stage.clock.now())
    told = '{"ja": "送信した処理が途中で終わりました。", "en": "The process that sent it ended without an answer."}'
    changed = {
        "state": State.UNKNOWN,
        "epoch": action.epoch + 1,
        "lease_owner": None,
        "lease_until": None,
        "unknown_since": now,
        "may_have_left": True,
        "not_before": later(stage, stage.settings.timing.settle_s),
        "outcome": told,
        "updated_at": now,
    }
    after = stage.find(action.id)
    assert after.model_dump() == action.model_dump() | (changed if is_over else {})
    assert abandoned == ([after] if is_over else [])
    assert kinds(stage, action)[-1] == ("abandoned" if is_over else "claimed")


def test_what_has_no_lease_is_abandoned_at_once(stage: Stage) -> None:
    claim = stage.claims.take(stage.propose("A-1", 50_000).id)
    assert claim is not None
    assert stage.reconciliation.abandon() == []
    forge(stage, "UPDATE action SET lease_until = NULL")

    [action] = stage.reconciliation.abandon()

    assert action.state is State.UNKNOWN


def test_what_a_dead_process_was_sending_is_abandoned_before_its_lease_is_over(stage: Stage) -> None:
    claim = stage.claims.take(stage.propose("A-1", 50_000).id)
    assert claim is not None
    forge(stage, "UPDATE action SET lease_owner = 'dead'")
    assert stage.reconciliation.abandon() == []
    (stage.settings.home / "alive" / "dead").touch()  # it stays behind, and nobody holds its lock

    [action] = stage.reconciliation.abandon()

    assert (action.state, action.may_have_left) == (State.UNKNOWN, True)


async def test_an_unknown_action_is_due_when_its_wait_is_over(stage: Stage) -> None:
    action = await unknown(stage)
    early = stage.reconciliation.due()
    stage.clock.at = moment(str(action.not_before))

    assert (early, stage.reconciliation.due()) == ([], [action])


async def test_nothing_found_is_looked_for_again_until_it_was_quiet_long_enough(stage: Stage) -> None:
    action = await unknown(stage)
    since = moment(str(action.unknown_since))
    stage.clock.at = since + timedelta(seconds=stage.settings.timing.quiet_s, microseconds=-1)
    again = await looked_up(stage, action)
    postponed = {"not_before": later(stage, LOOK_AGAIN_S), "updated_at": timestamp(stage.clock.now())}
    stage.clock.at = since + timedelta(seconds=stage.settings.timing.quiet_s)

    absent = await looked_up(stage, again)

    assert again.model_dump() == action.model_dump() | postponed
    assert (absent.state, absent.unknown_since, absent.not_before) == (State.APPROVED, None, None)
    assert kinds(stage, action)[-3:] == ["looked_up", "looked_up", "proven_absent"]


async def test_an_answer_of_a_time_that_was_not_quiet_yet_proves_nothing_however_late_it_is_read(stage: Stage) -> None:
    action = await unknown(stage)
    stage.clock.at = moment(str(action.not_before))

    async def paused(*_: object) -> Absent:
        stage.clock.advance(seconds=stage.settings.timing.quiet_s)  # the process was stopped, the machine slept
        return Absent()

    object.__setattr__(stage.operation, "look_up", paused)
    early = await looked_up(stage, action)

    absent = await looked_up(stage, early, Absent())

    assert (early.state, early.not_before) == (State.UNKNOWN, later(stage, LOOK_AGAIN_S))
    assert absent.state is State.APPROVED


@pytest.mark.parametrize("finding", [Absent(), Done("tx-1", {}), Different(Text("違う", "other"), "tx-1")])
async def test_every_look_up_is_on_record_with_what_it_found(stage: Stage, finding: object) -> None:
    action = await unknown(stage)

    after = await looked_up(stage, action, finding)

    with stage.store.read() as tx:
        [row] = [row for row in audit.history(tx, action.id) if row["kind"] == "looked_up"]
    states = {"Absent": State.UNKNOWN, "Done": State.SUCCEEDED, "Different": State.MANUAL_REVIEW}
    name = type(finding).__name__
    assert row == {"seq": row["seq"], "at": timestamp(stage.clock.now()), "kind": "looked_up", "finding": name}
    assert (after.state, after.reference) == (states[name], None if name == "Absent" else "tx-1")


@pytest.mark.parametrize("epoch,state", [(MAX_EPOCHS - 1, State.APPROVED), (MAX_EPOCHS, State.MANUAL_REVIEW)])
async def test_absence_is_believed_so_many_times_and_then_a_person_looks(
    stage: Stage, epoch: int, state: State
) -> None:
    action = await unknown(stage)
    forge(stage, "UPDATE action SET epoch = ?", epoch)
    stage.clock.advance(seconds=stage.settings.timing.quiet_s)

    after = await looked_up(stage, stage.find(action.id))

    assert after.state is state
    if state is State.MANUAL_REVIEW:
        assert (after.outcome_text, kinds(stage, action)[-1]) == (NOT_SHOWN, "needs_person")


async def test_absence_of_what_is_no_unique_key_is_for_a_person(stage: Stage) -> None:
    action = await unknown(stage)
    object.__setattr__(stage.operation, "outcome_class", OutcomeClass.C)
    stage.clock.advance(seconds=stage.settings.timing.quiet_s)

    after = await looked_up(stage, action, Absent())

    assert (after.state, after.outcome_text) == (State.MANUAL_REVIEW, NOT_SHOWN)


@pytest.mark.parametrize(
    "fault", [ProviderUnavailable(Text("不通", "no route")), ConfigurationError(Text("設定", "no secret"))]
)
async def test_a_provider_that_cannot_be_asked_is_asked_again_for_an_hour_and_then_a_person_looks(
    stage: Stage, fault: SeikyuError
) -> None:
    action = await unknown(stage)
    stage.clock.at = moment(str(action.unknown_since)) + timedelta(seconds=GIVE_UP_S, microseconds=-1)
    again = await looked_up(stage, action, fault)
    postponed = {"not_before": later(stage, LOOK_AGAIN_S), "updated_at": timestamp(stage.clock.now())}
    stage.clock.advance(seconds=1)

    after = await looked_up(stage, again, fault)

    assert again.model_dump() == action.model_dump() | postponed
    assert (after.state, after.outcome_text, kinds(stage, action)[-1]) == (State.MANUAL_REVIEW, NOBODY, "needs_person")


async def test_the_wait_is_counted_from_the_last_change_when_nobody_knows_since_when(stage: Stage) -> None:
    action = await unknown(stage)
    forge(stage, "UPDATE action SET unknown_since = NULL")
    stage.clock.advance(seconds=stage.settings.timing.quiet_s - 1)
    early = await looked_up(stage, stage.find(action.id))
    stage.clock.advance(seconds=stage.settings.timing.quiet_s)

    assert early.state is State.UNKNOWN
    assert (await looked_up(stage, early)).state is State.APPROVED


async def test_an_hour_is_counted_from_the_last_change_when_nobody_knows_since_when(stage: Stage) -> None:
    action = await unknown(stage)
    forge(stage, "UPDATE action SET unknown_since = NULL")
    stage.clock.advance(seconds=GIVE_UP_S)

    after = await looked_up(stage, stage.find(action.id), ProviderUnavailable(Text("不通", "no route")))

    assert after.state is State.MANUAL_REVIEW


async def test_what_cannot_be_looked_up_is_for_a_person_at_once(tmp_path: Path) -> None:
    stage = make_stage(tmp_path / "home", outcome_class=OutcomeClass.D)
    action = await unknown(stage)

    after = await looked_up(stage, action)

    assert (after.state, after.outcome_text, kinds(stage, action)[-1]) == (
        State.MANUAL_REVIEW,
        BY_HAND,
        "needs_person",
    )
    stage.store.close()
    stage.presence.leave()


async def test_an_action_whose_connection_is_not_what_was_approved_is_for_a_person_and_says_why(stage: Stage) -> None:
    elsewhere = replace(stage.proposal("A-1", 50_000), connection=replace(CONNECTION, name="mfk-gone"))
    action = stage.desk.propose(elsewhere)
    forge(stage, "UPDATE action SET state = 'unknown'")

    after = await looked_up(stage, stage.find(action.id))

    why = Text("接続 mfk-gone は承認時と違います。", "Connection mfk-gone is not what was approved.")
    assert (after.state, after.outcome_text) == (State.MANUAL_REVIEW, why)


@pytest.mark.parametrize("change", ["UPDATE action SET epoch = epoch + 1", "UPDATE action SET state = 'succeeded'"])
@pytest.mark.parametrize("finding", [Done("tx-1", {}), Absent()])
async def test_a_look_up_that_comes_late_changes_nothing(stage: Stage, change: str, finding: object) -> None:
    action = await unknown(stage)
    forge(stage, change)
    before = stage.find(action.id)
    stage.clock.advance(seconds=GIVE_UP_S)

    assert await looked_up(stage, action, finding) == before
    assert await looked_up(stage, action, ProviderUnavailable(Text("不通", "no route"))) == before
    assert "looked_up" not in kinds(stage, action)


@pytest.mark.parametrize("change", ["state = 'succeeded'", "epoch = epoch + 1"])
def test_a_sender_that_ends_while_others_look_at_it_is_not_abandoned(stage: Stage, change: str) -> None:
    claim = stage.claims.take(stage.propose("A-1", 50_000).id)
    assert claim is not None
    stage.clock.advance(seconds=stage.settings.timing.lease_s)

    class Meanwhile:
        """The moment between reading what runs and giving it up."""

        changed = 0

        def now(self) -> datetime:
            if not self.changed:
                self.changed = forge(stage, f"UPDATE action SET {change}")  # noqa: S608 - our own words
            return stage.clock.now()

    looking = Reconciliation(stage.store, Meanwhile(), stage.settings.timing, stage.claims, stage.presence)
    [after] = looking.abandon()

    assert after == stage.find(claim.action.id)
    assert (after.state is State.UNKNOWN, kinds(stage, after)[-1]) == (False, "claimed")


async def test_the_look_up_asks_the_account_and_for_the_request_that_was_approved(stage: Stage) -> None:
    action = await unknown(stage)
    asked = list[object]()

    async def look_up(reader: object, request: object) -> Absent:
        asked.extend((reader, request))
        return Absent()

    object.__setattr__(stage.operation, "look_up", look_up)

    def reader_of(connection: Connection) -> Reader:
        asked.append(connection)
        return stage.provider

    await stage.reconciliation.resolve(action, reader_of)

    assert asked == [CONNECTION, stage.provider, action.request]
