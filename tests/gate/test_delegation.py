"""A right that was lent: in whose name it is used, until when, and for whom never."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from gate.stage import Stage
from seikyu.errors import VoteRefused
from seikyu.gate import audit, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.keys import Key
from seikyu.gate.votes import Ballot

TODAY = date(2026, 11, 21)
LARGE = 2_000_000
"""Asks for two."""


def office(stage: Stage, ceiling: int | None = None) -> tuple[Key, Key, Key]:
    """Tanaka without a ceiling, sato with the lowest, ito as said."""
    first = stage.enrol("tanaka")
    keys = stage.enrol("sato", first), stage.enrol("ito", first)
    operators.grant(stage.store, stage.clock, "sato", roles=[], ceiling=0, by=first)
    operators.grant(stage.store, stage.clock, "ito", roles=[], ceiling=ceiling, by=first)
    return (first, *keys)


def lend(stage: Stage, by: Key, to: str = "sato", *, until: date = TODAY, ceiling: int | None = None) -> None:
    operators.lend(stage.store, stage.clock, to, until=until, ceiling=ceiling, by=by)


def approve_for(stage: Stage, action: Action, key: Key, lender: str) -> Action:
    return stage.ballots.cast(Ballot(action.id, action.digest, "approve", acting_for=lender), key)


async def test_a_delegate_approves_in_the_name_and_up_to_the_ceiling_of_the_lender(stage: Stage) -> None:
    first, second, _ = office(stage)
    lend(stage, first, until=date(2026, 12, 1))
    action = stage.propose("A-1", 100_000)

    with pytest.raises(VoteRefused, match="sato may approve up to 0円"):
        stage.approve(action, second)
    approved = approve_for(stage, action, second, "tanaka")
    card = stage.cards.card(action.id)
    done = await stage.executor.execute(action.id)

    assert (approved.state, done.state) == (State.APPROVED, State.SUCCEEDED)
    assert [vote.en for vote in card.votes] == ["sato (for tanaka until 2026-12-01)"]
    assert [vote.ja for vote in card.votes] == ["sato（tanaka の代理、2026-12-01 まで）"]
    assert audit.verify(stage.store).faults == ()


def test_a_delegation_has_its_own_ceiling_never_above_the_lenders(stage: Stage) -> None:
    first, second, third = office(stage, ceiling=50_000)
    with pytest.raises(VoteRefused, match="above the ceiling of ito, 50,000円"):
        lend(stage, third, ceiling=50_001)
    lend(stage, third, ceiling=40_000)
    lend(stage, first, "ito", ceiling=60_000)
    small, large = stage.propose("A-1", 60_000), stage.propose("A-2", 60_001)

    with pytest.raises(VoteRefused, match="for ito until 2026-11-21\\) may approve up to 40,000円"):
        approve_for(stage, small, second, "ito")
    with pytest.raises(VoteRefused, match="up to 60,000円"):
        approve_for(stage, large, third, "tanaka")

    assert approve_for(stage, small, third, "tanaka").state is State.APPROVED


def test_what_was_lent_is_not_lent_on(stage: Stage) -> None:
    first, second, third = office(stage, ceiling=1)
    lend(stage, first, "ito")
    lend(stage, third, "sato")
    action = stage.propose("A-1", 100_000)

    with pytest.raises(VoteRefused, match="may not decide this for tanaka"):
        approve_for(stage, action, second, "tanaka")
    with pytest.raises(VoteRefused, match="up to 1円"):
        approve_for(stage, action, second, "ito")


def test_the_lender_and_their_delegate_are_one_seat_in_either_order(stage: Stage) -> None:
    first, second, third = office(stage)
    lend(stage, first)
    lend(stage, third)
    one, other = stage.propose("A-1", LARGE), stage.propose("A-2", LARGE, counterparty_id="C-2")

    approve_for(stage, one, second, "tanaka")
    with pytest.raises(VoteRefused, match=r"sato \(for tanaka until 2026-11-21\) is recorded already"):
        stage.approve(one, first)
    stage.approve(other, first)
    with pytest.raises(VoteRefused, match="approval of tanaka is recorded already"):
        approve_for(stage, other, second, "tanaka")

    with pytest.raises(VoteRefused, match="recorded already"):
        approve_for(stage, one, second, "ito")
    assert stage.approve(one, third).state is State.APPROVED


@pytest.mark.parametrize("requester", ["sato", "tanaka", "ＴＡＮＡＫＡ"])
def test_a_delegation_never_decides_on_the_request_of_either(stage: Stage, requester: str) -> None:
    first, second, _ = office(stage)
    lend(stage, first)
    action = stage.propose("A-1", 100_000, requester=requester)

    with pytest.raises(VoteRefused, match="own request"):
        approve_for(stage, action, second, "tanaka")


LAST_MINUTE = datetime(2026, 11, 21, 14, 59, tzinfo=UTC)
"""23:59 in Japan."""


async def test_the_last_day_counts_to_its_end_in_japan_and_a_vote_cast_in_it_stands(stage: Stage) -> None:
    first, second, _ = office(stage)
    lend(stage, first)
    stage.clock.at = LAST_MINUTE
    in_time, late = stage.propose("A-1", 100_000), stage.propose("A-2", 120_000)

    approved = approve_for(stage, in_time, second, "tanaka")
    stage.clock.advance(minutes=1)

    with pytest.raises(VoteRefused, match="may not decide this for tanaka now"):
        approve_for(stage, late, second, "tanaka")
    assert (await stage.executor.execute(approved.id)).state is State.SUCCEEDED


async def test_a_delegation_taken_back_voids_the_votes_cast_with_it(stage: Stage) -> None:
    first, second, _ = office(stage)
    lend(stage, first)
    action = approve_for(stage, stage.propose("A-1", 100_000), second, "tanaka")
    operators.take_back(stage.store, stage.clock, "sato", by=first)
    stage.clock.advance(minutes=1)
    lend(stage, first)  # lent again: not for what was decided before

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.AWAITING, 0)


async def test_a_longer_delegation_keeps_the_votes_cast_before_and_a_lower_ceiling_does_not(stage: Stage) -> None:
    first, second, _ = office(stage)
    lend(stage, first)
    kept, voided = stage.propose("A-1", 60_000), stage.propose("A-2", 100_000)
    for action in (kept, voided):
        approve_for(stage, action, second, "tanaka")
    stage.clock.advance(minutes=1)
    lend(stage, first, until=date(2026, 12, 1), ceiling=60_000)

    assert (await stage.executor.execute(kept.id)).state is State.SUCCEEDED
    assert (await stage.executor.execute(voided.id)).state is State.AWAITING


@pytest.mark.parametrize("gone", ["tanaka", "sato"])
async def test_a_delegation_ends_with_the_removal_of_either(stage: Stage, gone: str) -> None:
    first, second, third = office(stage)
    lend(stage, first)
    action = approve_for(stage, stage.propose("A-1", 100_000), second, "tanaka")
    operators.remove(stage.store, stage.clock, gone, by=third)

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.AWAITING, 0)


@pytest.mark.parametrize(
    "to,until,why",
    [
        ("tanaka", TODAY, "Nobody delegates to themselves"),
        ("mallory", TODAY, "no operator mallory"),
        ("sato", date(2026, 11, 20), "cannot be in the past"),
    ],
)
def test_a_delegation_that_makes_no_sense_is_refused(stage: Stage, to: str, until: date, why: str) -> None:
    first, _, _ = office(stage)

    with pytest.raises(VoteRefused, match=why):
        lend(stage, first, to, until=until)


def test_nothing_is_taken_back_that_was_not_lent(stage: Stage) -> None:
    first, _, _ = office(stage)

    with pytest.raises(VoteRefused, match="has lent nothing to sato"):
        operators.take_back(stage.store, stage.clock, "sato", by=first)


def test_what_is_lent_is_not_for_saying_what_became_of_an_action(stage: Stage) -> None:
    first, second, _ = office(stage)
    lend(stage, first)
    action = stage.propose("A-1", 100_000)
    ballot = Ballot(action.id, action.digest, "resolve", "seen", acting_for="tanaka")

    with pytest.raises(VoteRefused):
        stage.ballots.resolve(ballot, second, reference="tx-1")
