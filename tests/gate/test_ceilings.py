"""How much an operator may approve, when they vote and when it is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.stage import Stage
from seikyu.errors import VoteRefused
from seikyu.gate import operators
from seikyu.gate.actions import State
from seikyu.gate.keys import Key
from seikyu.gate.votes import Ballot

CEILING = 100_000


def office(stage: Stage, ceiling: int | None = CEILING) -> tuple[Key, Key]:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    operators.grant(stage.store, stage.clock, "sato", roles=[], ceiling=ceiling, by=first)
    return first, second


def test_an_approval_up_to_the_ceiling_counts_and_one_yen_more_is_refused_with_the_reason(stage: Stage) -> None:
    first, second = office(stage)
    at_it, above = stage.propose("A-1", CEILING), stage.propose("A-2", CEILING + 1)

    with pytest.raises(VoteRefused, match="sato may approve up to 100,000円, not 100,001円") as refused:
        stage.approve(above, second)

    assert stage.approve(at_it, second).state is State.APPROVED
    assert "承認できるのは 100,000円 まで" in refused.value.what.ja
    assert stage.approve(above, first).state is State.APPROVED


def test_an_unknown_amount_is_only_for_an_operator_without_a_ceiling(stage: Stage) -> None:
    first, second = office(stage)
    whole = stage.plan("A-1", 0)
    plan = replace(whole, particulars=whole.particulars.model_copy(update={"amount": None}))
    action = stage.desk.propose(replace(stage.proposal("A-1", 0), plan=plan))

    with pytest.raises(VoteRefused, match="not an unknown amount"):
        stage.approve(action, second)

    assert stage.approve(action, first).state is State.APPROVED


@pytest.mark.parametrize("decision", ["reject", "return"])
def test_stopping_needs_no_ceiling(stage: Stage, decision: str) -> None:
    _, second = office(stage, ceiling=0)
    action = stage.propose("A-1", CEILING)

    ballot = Ballot(action.id, action.digest, "reject" if decision == "reject" else "return", "no")

    assert stage.ballots.cast(ballot, second).state in {State.REJECTED, State.RETURNED}


async def test_a_ceiling_lowered_before_the_send_voids_the_vote(stage: Stage) -> None:
    first, second = office(stage)
    action = stage.approve(stage.propose("A-1", CEILING), second)
    operators.grant(stage.store, stage.clock, "sato", roles=[], ceiling=CEILING - 1, by=first)

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.AWAITING, 0)
    assert (await stage.executor.execute(stage.approve(after, first).id)).state is State.SUCCEEDED


def test_a_ceiling_lowered_between_two_votes_voids_the_first(stage: Stage) -> None:
    first, second = office(stage, ceiling=2_000_000)
    third = stage.enrol("ito", first)
    action = stage.propose("A-1", 2_000_000)
    stage.approve(action, second)
    operators.grant(stage.store, stage.clock, "sato", roles=[], ceiling=1, by=first)

    assert stage.approve(action, third).state is State.AWAITING
    assert stage.cards.card(action.id).approvals == ("ito",)
    assert stage.approve(action, first).state is State.APPROVED
