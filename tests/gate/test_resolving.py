"""What became of an action, said by people: as many as the action needed, and all the same."""

from __future__ import annotations

import pytest

from gate.stage import Stage
from seikyu.errors import Text, VoteRefused
from seikyu.gate import audit, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.keys import Key
from seikyu.gate.votes import Ballot
from seikyu.spec import Different


async def in_review(stage: Stage, amount: int, *keys: Key) -> Action:
    action = stage.propose("A-1", amount)
    stage.provider.answers.append(lambda _request: Different(Text("違う", "different"), "tx-9"))
    for key in keys:
        stage.approve(action, key)
    done = await stage.executor.execute(action.id)
    assert done.state is State.MANUAL_REVIEW
    return done


def resolve(stage: Stage, action: Action, key: Key, reference: str | None) -> Action:
    ballot = Ballot(action.id, action.digest, "resolve", "seen on the screen")
    return stage.ballots.resolve(ballot, key, reference=reference)


def office(stage: Stage) -> list[Key]:
    first = stage.enrol("tanaka")
    return [first, stage.enrol("sato", first), stage.enrol("ito", first)]


@pytest.mark.parametrize("reference,state", [("tx-9", State.SUCCEEDED), (None, State.FAILED)])
async def test_an_action_that_needed_two_is_closed_by_two_who_say_the_same(
    stage: Stage, reference: str | None, state: State
) -> None:
    first, second, _ = office(stage)
    action = await in_review(stage, 2_000_000, first, second)

    after_one = resolve(stage, action, first, reference)
    said = stage.cards.card(action.id).conclusions
    after_two = resolve(stage, action, second, reference)

    assert (after_one.state, after_two.state) == (State.MANUAL_REVIEW, state)
    assert [text.en.partition(":")[2] for text in said] == [" tanaka (1 of 2)"]
    assert audit.verify(stage.store).faults == ()


async def test_different_conclusions_are_shown_and_do_not_add_up(stage: Stage) -> None:
    first, second, third = office(stage)
    action = await in_review(stage, 2_000_000, first, second)

    resolve(stage, action, first, "tx-9")
    resolve(stage, action, second, None)
    shown = {text.en for text in stage.cards.card(action.id).conclusions}
    done = resolve(stage, action, third, "tx-9")

    assert shown == {
        "it is at the provider, tx-9: tanaka (1 of 2)",
        "nothing at the provider: sato (1 of 2)",
    }
    assert (done.state, done.reference) == (State.SUCCEEDED, "tx-9")


@pytest.mark.parametrize("reference", ["nothing", "Nothing", "", " ", "tx-9 ", "tx\u202e-9", "x" * 201])
async def test_what_is_no_id_closes_nothing_and_never_adds_up_with_nothing(stage: Stage, reference: str) -> None:
    first, second, _ = office(stage)
    action = await in_review(stage, 2_000_000, first, second)

    with pytest.raises(VoteRefused, match="no id of a provider"):
        resolve(stage, action, first, reference)
    after = resolve(stage, action, second, None)

    assert after.state is State.MANUAL_REVIEW


async def test_saying_it_twice_changes_nothing_and_is_told_so(stage: Stage) -> None:
    first, second, _ = office(stage)
    action = await in_review(stage, 2_000_000, first, second)
    resolve(stage, action, first, "tx-9")
    before = audit.verify(stage.store).rows

    with pytest.raises(VoteRefused, match="recorded already"):
        resolve(stage, action, first, "tx-9")

    assert (stage.find(action.id).state, audit.verify(stage.store).rows) == (State.MANUAL_REVIEW, before)


async def test_what_needed_nobody_needs_one_and_never_the_requester(stage: Stage) -> None:
    first, *_ = office(stage)
    suzuki = stage.enrol("suzuki", first)
    action = await in_review(stage, 10_000)

    with pytest.raises(VoteRefused, match="own request"):
        resolve(stage, action, suzuki, "tx-9")

    assert resolve(stage, action, first, "tx-9").state is State.SUCCEEDED


async def test_a_conclusion_of_somebody_removed_since_does_not_count(stage: Stage) -> None:
    first, second, third = office(stage)
    action = await in_review(stage, 2_000_000, first, second)
    resolve(stage, action, second, "tx-9")
    operators.remove(stage.store, stage.clock, "sato", by=first)

    assert resolve(stage, action, third, "tx-9").state is State.MANUAL_REVIEW
    assert resolve(stage, action, first, "tx-9").state is State.SUCCEEDED


async def test_an_approval_is_no_conclusion(stage: Stage) -> None:
    first, second, third = office(stage)
    action = await in_review(stage, 2_000_000, first, second)

    resolve(stage, action, third, None)

    assert stage.find(action.id).state is State.MANUAL_REVIEW
