"""Faults F13 to F17 of the catalogue, on a real PostgreSQL: it stops, loses a commit, or a replica falls behind."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from gate.lossy import Loss, LossyRoad
from gate.stage import Stage, make_stage
from postgres import Postgres
from seikyu.errors import CommitUnknown, NotAllowed, StoreBusy, VoteRefused
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.gate.claims import Claims
from seikyu.gate.execution import Executor
from seikyu.gate.policy import Policy, PolicyBook
from seikyu.gate.reconciliation import Reconciliation
from seikyu.gate.vocabulary import Facts
from seikyu.models import Clock
from seikyu.spec import Principal, Verdict
from seikyu.store.presence import Presence

pytestmark = pytest.mark.anyio

LOSSES: tuple[Loss, ...] = ("commit", "answer")


@pytest.fixture
def stage(tmp_path: Path, postgres_url: SecretStr) -> Generator[Stage]:
    made = make_stage(tmp_path / "home", database_url=postgres_url)
    yield made
    made.store.close()
    made.presence.leave()


@pytest.fixture
def road(postgres_url: SecretStr) -> Generator[LossyRoad]:
    with tempfile.TemporaryDirectory(prefix="road-") as folder:  # a socket's path must be short
        road = LossyRoad(Path(folder), postgres_url)
        yield road
        road.close()


@pytest.fixture
def lossy(tmp_path: Path, road: LossyRoad) -> Generator[Stage]:
    made = make_stage(tmp_path / "lossy", database_url=road.url)
    yield made
    made.store.close()
    made.presence.leave()


def told(stage: Stage, action: Action) -> list[str]:
    with stage.store.read() as tx:
        return [row["kind"] for row in audit.history(tx, action.id)]


def is_sound(stage: Stage) -> bool:
    return audit.verify(stage.store).faults == ()


@pytest.mark.fault("F13")
@pytest.mark.parametrize("step", ["claimed", "answered", "recorded"])
async def test_f13_the_server_stops_at_once_after_each_durable_step_and_nothing_is_sent_twice(
    stage: Stage, postgres: Postgres, step: str
) -> None:
    action, stops = stage.propose("A-1", 50_000), [step]

    def stop(at: str, _action: Action) -> None:
        if at in stops:
            stops.remove(at)
            postgres.stop_at_once()
            postgres.start()

    executor = Executor(
        stage.store,
        stage.clock,
        stage.claims,
        reconciliation=stage.reconciliation,
        client_of=lambda _connection: stage.provider,
        on_step=stop,
        record_waits_s=(0, 0),
    )
    await executor.execute(action.id)

    after = stage.find(action.id)
    assert stops == []
    assert (after.state, after.epoch, stage.provider.sends) == (State.SUCCEEDED, 1, 1)
    assert told(stage, action) == ["proposed", "claimed", "succeeded"]
    assert is_sound(stage)


@pytest.mark.fault("F13")
async def test_f13_a_server_that_stops_before_the_claim_is_stored_lets_nothing_be_sent(
    stage: Stage, postgres: Postgres
) -> None:
    action = stage.propose("A-1", 50_000)

    postgres.stop_at_once()
    with pytest.raises(StoreBusy):
        await stage.executor.execute(action.id)
    postgres.start()
    sends_meanwhile = stage.provider.sends
    after = await stage.executor.execute(action.id)

    assert (sends_meanwhile, stage.provider.sends, after.state) == (0, 1, State.SUCCEEDED)
    assert is_sound(stage)


@pytest.mark.fault("F14")
@pytest.mark.parametrize("loss", LOSSES)
async def test_f14_a_claim_whose_commit_is_lost_is_read_again_before_anything_is_sent(
    lossy: Stage, road: LossyRoad, loss: Loss
) -> None:
    action = lossy.propose("A-1", 50_000)

    road.lose(loss)
    first = await lossy.executor.execute(action.id)
    sends_at_first = lossy.provider.sends
    second = await lossy.executor.execute(action.id)

    is_stored = loss == "answer"
    assert (first.state, sends_at_first) == ((State.SUCCEEDED, 1) if is_stored else (State.APPROVED, 0))
    assert (second.state, second.epoch, lossy.provider.sends) == (State.SUCCEEDED, 1, 1)
    assert told(lossy, action) == ["proposed", "claimed", "succeeded"]


@pytest.mark.fault("F14")
async def test_f14_a_claim_read_again_is_journaled_with_who_approved_it(lossy: Stage, road: LossyRoad) -> None:
    action = lossy.approve(lossy.propose("A-1", 100_000), lossy.enrol("tanaka"))

    road.lose("answer")
    await lossy.executor.execute(action.id)

    [entry] = lossy.restoration.journal.entries()
    assert entry is not None
    assert (entry.action_id, entry.epoch, entry.approved_by) == (action.id, 1, ("tanaka",))


@pytest.mark.fault("F14")
def test_f14_a_claim_nobody_can_read_again_is_not_sent_and_ends_with_its_lease(
    stage: Stage, lossy: Stage, road: LossyRoad
) -> None:
    action = lossy.propose("A-1", 50_000)

    road.lose("answer", for_good=True)
    with pytest.raises(CommitUnknown) as unsure:
        lossy.claims.take(action.id)
    claimed = stage.find(action.id).state
    stage.clock.advance(seconds=91)
    stage.reconciliation.abandon()

    assert claimed is State.EXECUTING
    assert unsure.value.written.en == "Whether it was stored is not known."
    assert (lossy.provider.sends, stage.find(action.id).state) == (0, State.UNKNOWN)


@pytest.mark.fault("F14")
@pytest.mark.parametrize("loss", LOSSES)
def test_f14_a_proposal_whose_commit_is_lost_is_stored_once(lossy: Stage, road: LossyRoad, loss: Loss) -> None:
    lossy.propose("A-0", 100_000)

    road.lose(loss)
    action = lossy.propose("A-1", 200_000, counterparty_id="C-9", counterparty_name="別の会社")

    assert action.state is State.AWAITING
    assert told(lossy, action) == ["proposed"]
    assert lossy.propose("A-1", 200_000, counterparty_id="C-9", counterparty_name="別の会社").id == action.id


@pytest.mark.fault("F14")
@pytest.mark.parametrize("loss", LOSSES)
def test_f14_a_denied_proposal_whose_commit_is_lost_is_stored_once(lossy: Stage, road: LossyRoad, loss: Loss) -> None:
    road.lose(loss)
    action = lossy.propose("A-1", 9_000_000)

    assert action.state is State.DENIED
    assert told(lossy, action) == ["proposed"]


@pytest.mark.fault("F14")
@pytest.mark.parametrize("loss", LOSSES)
def test_f14_a_vote_whose_commit_is_lost_counts_once_or_is_refused_in_words(
    lossy: Stage, road: LossyRoad, loss: Loss
) -> None:
    key, action = lossy.enrol("tanaka"), lossy.propose("A-1", 100_000)

    road.lose(loss)
    if loss == "answer":
        after = lossy.approve(action, key)
    else:
        with pytest.raises(VoteRefused) as refused:
            lossy.approve(action, key)
        assert refused.value.written.en == "No decision was recorded."
        after = lossy.approve(action, key)

    assert after.state is State.APPROVED
    assert told(lossy, action) == ["proposed", "sealed", "approved"]


@pytest.mark.fault("F14")
@pytest.mark.parametrize("loss", LOSSES)
async def test_f14_an_outcome_whose_commit_is_lost_is_recorded_once(lossy: Stage, road: LossyRoad, loss: Loss) -> None:
    action = lossy.propose("A-1", 50_000)
    lossy.provider.before_answer = lambda: road.lose(loss)

    after = await lossy.executor.execute(action.id)

    assert (after.state, lossy.provider.sends) == (State.SUCCEEDED, 1)
    assert told(lossy, action) == ["proposed", "claimed", "succeeded"]


@pytest.mark.fault("F14")
@pytest.mark.parametrize("loss", LOSSES)
def test_f14_a_withdrawal_whose_commit_is_lost_is_recorded_once(lossy: Stage, road: LossyRoad, loss: Loss) -> None:
    action = lossy.propose("A-1", 100_000)

    road.lose(loss)
    after = lossy.desk.withdraw(action.id, Principal("suzuki", "test"))

    assert after.state is State.WITHDRAWN
    assert told(lossy, action) == ["proposed", "withdrawn"]


@pytest.fixture
def other(stage: Stage, tmp_path: Path) -> Generator[Stage]:
    """A replica: another home, the same database, provider and time."""
    url = stage.settings.database_url
    made = make_stage(tmp_path / "other", provider=stage.provider, clock=stage.clock, database_url=url)
    yield made
    made.store.close()
    made.presence.leave()


@pytest.mark.fault("F16")
def test_f16_of_two_replicas_one_sends_and_the_other_finds_its_claim_gone_before_its_first_byte(
    stage: Stage, other: Stage
) -> None:
    action = stage.propose("A-1", 50_000)

    mine, theirs = stage.claims.take(action.id), other.claims.take(action.id)
    assert mine is not None
    stage.clock.advance(seconds=91)
    other.reconciliation.abandon()
    with pytest.raises(NotAllowed, match="right to send was lost"):
        stage.claims.guard(mine)

    assert theirs is None
    assert (stage.provider.sends, stage.find(action.id).state) == (0, State.UNKNOWN)


@pytest.mark.fault("F17")
async def test_f17_a_replica_that_was_paused_past_its_lease_sends_nothing(stage: Stage, other: Stage) -> None:
    action = stage.propose("A-1", 50_000)

    def pause() -> None:
        stage.clock.advance(seconds=91)
        other.reconciliation.abandon()

    stage.provider.before_fence = pause
    await stage.executor.execute(action.id)

    assert (stage.provider.sends, stage.find(action.id).state) == (0, State.UNKNOWN)
    assert "fenced" in told(stage, action)


@pytest.mark.fault("F16", "F17")
async def test_f17_a_replica_that_wakes_while_another_sends_the_same_action_sends_nothing(
    stage: Stage, other: Stage
) -> None:
    action = stage.propose("A-1", 50_000)
    mine, woken = stage.claims.take(action.id), list[State]()
    assert mine is not None

    def wake() -> None:
        woken.append(stage.find(action.id).state)
        with pytest.raises(NotAllowed, match="right to send was lost"):
            stage.claims.guard(mine)

    stage.provider.before_fence = wake
    for _ in range(3):
        stage.clock.advance(seconds=91)
        await other.executor.sweep()

    assert woken == [State.EXECUTING]
    assert (stage.provider.sends, stage.find(action.id).state) == (1, State.SUCCEEDED)


class HourOff:
    """A machine whose clock is an hour off."""

    def __init__(self, hours: int) -> None:
        self._off = timedelta(hours=hours)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._off


def test_replicas_whose_clocks_are_hours_apart_neither_take_over_a_live_claim_nor_lose_their_own(stage: Stage) -> None:
    slow, fast = (stage.store.clock(HourOff(hours)) for hours in (-1, 1))
    stage.clock.at = slow.now()
    action = stage.propose("A-1", 50_000)
    ours, theirs = claims_by(stage, slow), claims_by(stage, fast)
    looking = Reconciliation(stage.store, fast, stage.settings.timing, theirs, Presence(stage.settings.home / "b"))

    claim = ours.take(action.id)
    taken_over = looking.abandon()

    assert claim is not None
    assert taken_over == []
    ours.guard(claim)


def test_on_postgres_the_time_is_the_databases(stage: Stage) -> None:
    clock = stage.store.clock(HourOff(1))
    with stage.store.read() as tx:
        row = tx.connection.execute("SELECT clock_timestamp() AS now").fetchone()

    assert abs(clock.now() - row["now"]) < timedelta(seconds=10)


def claims_by(stage: Stage, clock: Clock) -> Claims:
    return Claims(
        stage.store,
        clock,
        stage.settings,
        book=PolicyBook(stage.settings.policy_file),
        operations={stage.operation.name: stage.operation},
        presence=stage.presence,
        restoration=stage.restoration,
    )


def test_what_is_written_into_a_row_while_it_is_claimed_is_not_what_is_sent_and_a_stranger_to_the_log(
    stage: Stage, postgres_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    action, decide = stage.propose("A-1", 50_000), Policy.decide
    forged = action.canonical.replace("50000", "99999")

    def decide_late(self: Policy, facts: Facts) -> Verdict:
        """After everything was checked, and past the writers' lock."""
        with psycopg.connect(postgres_url.get_secret_value(), autocommit=True) as raw:
            raw.execute("UPDATE action SET canonical = %s", (forged,))
        return decide(self, facts)

    monkeypatch.setattr(Policy, "decide", decide_late)
    claim = stage.claims.take(action.id)

    assert claim is not None
    assert claim.action.canonical == action.canonical
    assert stage.find(action.id).canonical == forged
    assert audit.verify(stage.store).fault == f"action {action.id} is not what the log says it is"
