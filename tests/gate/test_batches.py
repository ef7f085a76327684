"""Many approvals with one key: each is judged alone, and the caps look at all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gate.stage import Stage
from seikyu.errors import VoteRefused
from seikyu.gate import audit, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.batches import Batches, Item
from seikyu.gate.keys import Key
from seikyu.gate.votes import Ballot, BallotBox
from seikyu.settings import BatchCap


def batches(stage: Stage, cap: BatchCap) -> Batches:
    return Batches(stage.store, stage.clock, stage.cards, stage.ballots, cap)


def states(stage: Stage, *actions: Action) -> list[State]:
    return [stage.find(action.id).state for action in actions]


def waiting(stage: Stage, *numbers: str) -> list[Action]:
    return [stage.propose(number, 100_000) for number in numbers]


def without_an_amount(stage: Stage) -> Action:
    whole = stage.plan("N-1", 0)
    plan = replace(whole, particulars=whole.particulars.model_copy(update={"amount": None}))
    return stage.desk.propose(replace(stage.proposal("N-1", 0), plan=plan))


def test_everything_shown_is_approved_and_the_total_is_told(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    first, second = waiting(stage, "A-1", "A-2")

    batch = stage.batches.read([first.id, second.id, first.id])
    results = stage.batches.approve(batch.items, key)

    assert (len(batch.cards), batch.total, batch.fault) == (2, 200_000, None)
    assert [result.action_id for result in results] == [first.id, second.id]
    assert states(stage, first, second) == [State.APPROVED, State.APPROVED]


def test_ones_own_request_among_many_is_refused_alone(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    first, own, last = (
        stage.propose("A-1", 100_000),
        stage.propose("A-2", 100_000, requester="tanaka"),
        stage.propose("A-3", 100_000),
    )

    results = stage.batches.approve(stage.batches.read([first.id, own.id, last.id]).items, key)

    assert states(stage, first, own, last) == [State.APPROVED, State.AWAITING, State.APPROVED]
    assert [result.error is None for result in results] == [True, False, True]
    assert "own request" in str(results[1].error)


def test_what_is_above_the_ceiling_is_refused_alone(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    operators.grant(stage.store, stage.clock, "sato", roles=[], ceiling=100_000, by=first)
    above, fits = stage.propose("A-1", 100_001), stage.propose("A-2", 100_000)

    results = stage.batches.approve(stage.batches.read([above.id, fits.id]).items, second)

    assert states(stage, above, fits) == [State.AWAITING, State.APPROVED]
    assert "up to 100,000円" in str(results[0].error)


@pytest.mark.parametrize("digest,revision", [("0" * 64, 1), (None, 2)])
def test_what_changed_since_it_was_shown_is_refused_alone(stage: Stage, digest: str | None, revision: int) -> None:
    key = stage.enrol("tanaka")
    changed, same = waiting(stage, "A-1", "A-2")
    shown = stage.batches.read([changed.id, same.id]).items
    stale = Item(changed.id, digest or changed.digest, revision)

    results = stage.batches.approve([stale, shown[1]], key)

    assert states(stage, changed, same) == [State.AWAITING, State.APPROVED]
    assert "What you saw" in str(results[0].error)


def test_what_is_not_there_or_decided_already_is_refused_alone(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    decided, open_ = waiting(stage, "A-1", "A-2")
    shown = stage.batches.read([decided.id, open_.id]).items
    stage.ballots.cast(Ballot(decided.id, decided.digest, "reject", "no"), key)

    results = stage.batches.approve([Item("act-none", "0" * 64, 1), *shown], key)

    assert states(stage, decided, open_) == [State.REJECTED, State.APPROVED]
    assert [result.error is None for result in results] == [False, False, True]


def test_an_unknown_amount_is_not_for_a_batch(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    unknown, known = without_an_amount(stage), stage.propose("A-2", 100_000)

    batch = stage.batches.read([unknown.id, known.id])
    smuggled = Item(unknown.id, unknown.digest, unknown.revision)
    results = stage.batches.approve([smuggled, *batch.items], key)

    assert [card.action_id for card in batch.cards] == [known.id]
    assert "is not known" in str(batch.lines[0].error)
    assert states(stage, unknown, known) == [State.AWAITING, State.APPROVED]
    assert results[0].action is None


def test_an_unknown_amount_that_was_smuggled_in_adds_nothing_to_the_sum(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    unknown, known = without_an_amount(stage), stage.propose("A-2", 100_000)
    items = [Item(action.id, action.digest, action.revision) for action in (unknown, known)]

    results = batches(stage, BatchCap(yen=100_000)).approve(items, key)

    assert [result.error is None for result in results] == [False, True]


def test_what_has_expired_is_left_out_before_the_passphrase_and_refused_alone_after_it(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    over = stage.propose("A-1", 100_000)
    stage.clock.advance(seconds=60)
    open_ = stage.propose("A-2", 100_000)
    shown = stage.batches.read([over.id, open_.id]).items
    stage.clock.advance(seconds=stage.settings.timing.awaiting_s - 60)

    batch = stage.batches.read([over.id, open_.id])
    results = stage.batches.approve(shown, key)

    assert [card.action_id for card in batch.cards] == [open_.id]
    assert str(batch.lines[0].error) == f"{over.id} has expired."
    assert [str(result.error) for result in results] == [f"{over.id} has expired.", "None"]
    assert states(stage, over, open_) == [State.AWAITING, State.APPROVED]


@pytest.mark.parametrize(
    "cap,said",
    [
        (BatchCap(count=1), "at most 1 requests; these are 2"),
        (BatchCap(yen=199_999), "199,999円 in all; these are 200,000円"),
    ],
)
def test_above_a_cap_nothing_is_cast_and_the_sentence_says_which(stage: Stage, cap: BatchCap, said: str) -> None:
    key = stage.enrol("tanaka")
    actions = waiting(stage, "A-1", "A-2")
    items = [Item(action.id, action.digest, action.revision) for action in actions]

    with pytest.raises(VoteRefused, match=said):
        batches(stage, cap).approve(items, key)

    fault = batches(stage, cap).read([action.id for action in actions]).fault
    assert fault is not None
    assert said in fault.en
    assert states(stage, *actions) == [State.AWAITING, State.AWAITING]


def test_at_the_caps_it_passes(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    actions = waiting(stage, "A-1", "A-2")
    full = batches(stage, BatchCap(count=2, yen=200_000))

    full.approve(full.read([action.id for action in actions]).items, key)

    assert states(stage, *actions) == [State.APPROVED, State.APPROVED]


class Killed(BaseException):
    """The process ends here."""


class KilledAfterOne(BallotBox):
    """A ballot box whose process ends when the second vote is about to be cast."""

    casts = 0

    def cast(self, ballot: Ballot, key: Key) -> Action:
        if self.casts:
            raise Killed
        self.casts += 1
        return super().cast(ballot, key)


def test_those_cast_before_a_crash_stand_and_the_others_wait(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    first, second = waiting(stage, "A-1", "A-2")
    mortal = KilledAfterOne(stage.store, stage.clock, stage.settings.timing)
    dying = Batches(stage.store, stage.clock, stage.cards, mortal, stage.settings.batch)

    with pytest.raises(Killed):
        dying.approve(dying.read([first.id, second.id]).items, key)

    assert states(stage, first, second) == [State.APPROVED, State.AWAITING]


def test_an_approval_among_many_says_why_and_for_whom(stage: Stage) -> None:
    tanaka = stage.enrol("tanaka")
    sato = stage.enrol("sato", tanaka)
    operators.lend(stage.store, stage.clock, "sato", until=date(2026, 12, 1), ceiling=None, by=tanaka)
    [action] = waiting(stage, "A-1")

    stage.batches.approve(
        stage.batches.read([action.id]).items, sato, reason="月次の分", via="web", acting_for="tanaka"
    )

    with stage.store.read() as tx:
        told = audit.history(tx, action.id)[-1]
    assert [vote.en for vote in stage.cards.card(action.id).votes] == ["sato (for tanaka until 2026-12-01)"]
    assert (told["kind"], told["reason"], told["via"]) == ("approved", "月次の分", "web")


def test_whoever_cannot_be_in_a_batch_is_named_with_the_reason_and_no_vote_was_recorded(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    [decided] = waiting(stage, "A-1")
    odd = without_an_amount(stage)
    items = [Item(one.id, one.digest, one.revision) for one in (decided, odd)]
    stage.approve(decided, key)

    errors = [line.error for line in stage.batches.read([decided.id, odd.id]).lines]
    errors += [result.error for result in stage.batches.approve(items, key)]

    assert [error.say("en") for error in errors if error is not None] == [
        (
            f"{decided.id} is approved, not sent yet. No decision was recorded. "
            "This cannot be decided. Its history tells why."
        ),
        f"The amount of {odd.id} is not known. No decision was recorded. Approve it by itself.",
    ] * 2


def test_what_changed_since_it_was_shown_does_not_count_against_the_cap(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    first, second = waiting(stage, "A-1", "A-2")
    many = batches(stage, BatchCap(count=2, yen=200_000))
    items = many.read([first.id, second.id]).items
    stage.revisions.revise(stage.draft(second, 150_000))

    results = many.approve(items, key)

    assert [result.error is None for result in results] == [True, False]


def test_whoever_reads_a_batch_is_told_why_a_request_is_not_in_it(stage: Stage) -> None:
    [line] = stage.batches.read(["act-none"]).lines

    assert (line.action_id, line.card, line.error is not None and line.error.code) == ("act-none", None, "not_found")
