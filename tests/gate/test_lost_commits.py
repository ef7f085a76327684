"""A commit without an answer is looked for before anything follows from it. Here it is lost; elsewhere its road is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal

import pytest

from gate.forgery import forge
from gate.stage import Stage, make_stage
from seikyu.errors import CommitUnknown
from seikyu.gate import audit
from seikyu.gate.actions import State
from seikyu.gate.canonical import sha256
from seikyu.gate.claims import Claim
from seikyu.gate.execution import Executor
from seikyu.spec import Principal
from seikyu.store.database import Store, Tx


class Lossy(Store):
    """A store that loses what the test says of its next commit."""

    loss: Literal["commit", "answer"] | None = None
    meanwhile: Callable[[], object] = staticmethod(lambda: None)
    """What others do before we look."""

    @contextmanager
    def write(self) -> Generator[Tx]:
        loss, self.loss = self.loss, None
        try:
            with super().write() as tx:
                yield tx
                if loss == "commit":
                    raise CommitUnknown
        finally:
            if loss is not None:
                self.meanwhile()
        if loss == "answer":
            raise CommitUnknown


@pytest.fixture
def lossy(stage: Stage) -> Lossy:
    stage.store.__class__ = Lossy
    assert isinstance(stage.store, Lossy)
    return stage.store


def test_a_claim_that_was_stored_is_the_one_it_would_have_been(stage: Stage, lossy: Lossy) -> None:
    action = stage.approve(stage.propose("A-1", 100_000), stage.enrol("tanaka"))

    lossy.loss = "answer"
    claim = stage.claims.take(action.id)

    claimed = stage.find(action.id)
    assert (claimed.state, claimed.epoch) == (State.EXECUTING, 1)
    assert claim == Claim(claimed, stage.operation, stage.settings.connections[0], ("tanaka",))


def test_a_claim_that_nobody_had_to_approve_says_so_when_it_is_read_again(stage: Stage, lossy: Lossy) -> None:
    action = stage.propose("A-1", 50_000)

    lossy.loss = "answer"
    claim = stage.claims.take(action.id)

    assert claim is not None
    assert claim.approved_by == ()


def test_a_claim_that_was_not_stored_is_none(stage: Stage, lossy: Lossy) -> None:
    action = stage.propose("A-1", 50_000)

    lossy.loss = "commit"

    assert stage.claims.take(action.id) is None
    assert stage.find(action.id) == action


def test_anothers_claim_is_not_taken_for_the_one_that_was_lost(stage: Stage, lossy: Lossy) -> None:
    other = make_stage(stage.settings.home, provider=stage.provider, clock=stage.clock)
    action = stage.propose("A-1", 50_000)
    theirs = list[Claim | None]()
    lossy.loss, lossy.meanwhile = "commit", lambda: theirs.append(other.claims.take(action.id))

    ours = stage.claims.take(action.id)

    assert ours is None
    assert [claim and claim.epoch for claim in theirs] == [1]
    other.store.close()
    other.presence.leave()


@pytest.mark.parametrize("change", ["state = 'unknown'", "epoch = 2"])
def test_a_claim_that_has_ended_before_it_could_be_read_again_is_none(stage: Stage, lossy: Lossy, change: str) -> None:
    action = stage.propose("A-1", 50_000)
    lossy.loss, lossy.meanwhile = "answer", lambda: forge(stage, f"UPDATE action SET {change}")  # noqa: S608

    assert stage.claims.take(action.id) is None


async def test_a_claim_whose_action_was_changed_before_it_could_be_read_again_is_not_sent(
    stage: Stage, lossy: Lossy
) -> None:
    action = stage.approve(stage.propose("A-1", 100_000), stage.enrol("tanaka"))
    other = action.canonical.replace("100000", "900000")
    changed = "UPDATE action SET canonical = ?, digest = ?"
    lossy.loss, lossy.meanwhile = "answer", lambda: forge(stage, changed, other, sha256(other.encode()))

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.EXECUTING, 0)
    stage.clock.advance(seconds=stage.settings.timing.lease_s)
    assert [one.state for one in stage.reconciliation.abandon()] == [State.UNKNOWN]


@pytest.mark.parametrize("loss", ["commit", "answer"])
def test_a_proposal_and_its_withdrawal_are_stored_once(
    stage: Stage, lossy: Lossy, loss: Literal["commit", "answer"]
) -> None:
    proposal = stage.proposal("A-1", 100_000)

    lossy.loss = loss
    action = stage.desk.propose(proposal)
    lossy.loss = loss
    withdrawn = stage.desk.withdraw(action.id, Principal("suzuki", "test"))

    with stage.store.read() as tx:
        assert [row["kind"] for row in audit.history(tx, action.id)] == ["proposed", "withdrawn"]
    assert (action.id, action.state) == (proposal.action_id, State.AWAITING)
    assert withdrawn == stage.find(action.id)
    assert withdrawn.state is State.WITHDRAWN


@pytest.mark.parametrize("loss", ["commit", "answer"])
async def test_an_outcome_is_recorded_once(stage: Stage, lossy: Lossy, loss: Literal["commit", "answer"]) -> None:
    action = stage.propose("A-1", 50_000)

    def lose() -> None:
        lossy.loss = loss

    stage.provider.before_answer = lose
    executor = Executor(
        stage.store,
        stage.clock,
        stage.claims,
        reconciliation=stage.reconciliation,
        client_of=lambda _connection: stage.provider,
        record_waits_s=(0, 0),
    )
    after = await executor.execute(action.id)

    with stage.store.read() as tx:
        assert [row["kind"] for row in audit.history(tx, action.id)] == ["proposed", "claimed", "succeeded"]
    assert (after.state, stage.provider.sends) == (State.SUCCEEDED, 1)
