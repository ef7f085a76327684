"""Batches: many requests approved with one unlocked key. Each is judged alone; only the caps look at them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seikyu.errors import NOTHING, NotFound, SeikyuError, StoreDamaged, Text, VoteRefused
from seikyu.gate.actions import STATE_TEXT, Action, State, find
from seikyu.gate.cards import Card, CardIndex
from seikyu.gate.keys import Key
from seikyu.gate.votes import Ballot, BallotBox, check_digest
from seikyu.models import Clock, yen_text
from seikyu.settings import BatchCap
from seikyu.store.database import Store, Tx

_NO_VOTE = Text("決定は記録されていません。", "No decision was recorded.")
_NONE_CAST = Text("1件も承認されていません。", "None of them was approved.")


@dataclass(frozen=True, slots=True)
class Item:
    """One request as it was shown."""

    action_id: str
    digest: str
    revision: int


@dataclass(frozen=True, slots=True)
class Line:
    """One request as it is read for a batch."""

    action_id: str
    card: Card | None
    """None when there is nothing to show."""
    error: SeikyuError | None
    """Why it cannot be in a batch; None when it can."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is shown before the one passphrase is asked for, in the order it was asked for."""

    lines: tuple[Line, ...]
    fault: Text | None
    """Which cap is exceeded; then none of it can be approved together."""

    @property
    def cards(self) -> tuple[Card, ...]:
        """The requests that can be approved together."""
        return tuple(line.card for line in self.lines if line.card is not None and line.error is None)

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(Item(card.action_id, card.digest, card.revision) for card in self.cards)

    @property
    def total(self) -> int:
        """Yen."""
        return sum(card.particulars.amount or 0 for card in self.cards)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item: the action after the vote, or why the vote was not counted."""

    action_id: str
    action: Action | None
    error: SeikyuError | None


class Batches:
    """Reads and approves many at once. Blocking; call it in a thread."""

    def __init__(self, store: Store, clock: Clock, cards: CardIndex, ballots: BallotBox, cap: BatchCap) -> None:
        self._store = store
        self._clock = clock
        self._cards = cards
        self._ballots = ballots
        self.cap = cap

    def read(self, action_ids: Iterable[str]) -> Batch:
        """The cards of these requests, each once. More than the cap are not read at all."""
        wanted = list(dict.fromkeys(action_ids))
        if len(wanted) > self.cap.count:
            return Batch((), _above(self.cap, len(wanted), 0))
        batch = Batch(self.lines(wanted), None)
        return Batch(batch.lines, _above(self.cap, len(batch.cards), batch.total))

    def lines(self, action_ids: Iterable[str]) -> tuple[Line, ...]:
        """These requests as one moment shows them."""
        with self._store.read() as tx:
            return tuple(self._line(tx, action_id) for action_id in action_ids)

    def _line(self, tx: Tx, action_id: str) -> Line:
        try:
            action = find(tx, action_id)
            card = self._cards.card_of(tx, action)
        except (NotFound, StoreDamaged) as error:
            return Line(action_id, None, error)
        return Line(action_id, card, self._refusal(action))

    def approve(
        self, items: Sequence[Item], key: Key, *, reason: str = "", via: str = "cli", acting_for: str | None = None
    ) -> tuple[Result, ...]:
        """Cast an approval of each, in its own transaction, and tell every result in the order of `items`.

        Raises:
            VoteRefused: more than a cap allows; nothing was cast.
        """
        above = _above(self.cap, len(items), 0) or _above(self.cap, 0, self._money(items))
        if above is not None:
            raise VoteRefused(above, written=_NONE_CAST)
        return tuple(self._approve(item, key, reason=reason, via=via, acting_for=acting_for) for item in items)

    def _approve(self, item: Item, key: Key, *, reason: str, via: str, acting_for: str | None) -> Result:
        ballot = Ballot(
            item.action_id, item.digest, "approve", reason, via=via, acting_for=acting_for, revision=item.revision
        )
        try:
            self._check(item)
            return Result(item.action_id, self._ballots.cast(ballot, key), None)
        except SeikyuError as error:
            return Result(item.action_id, None, error)

    def _check(self, item: Item) -> None:
        with self._store.read() as tx:
            action = find(tx, item.action_id)
        check_digest(action)
        error = self._refusal(action)
        if error is not None:
            raise error

    def _refusal(self, action: Action) -> VoteRefused | None:
        """Why it cannot be in a batch."""
        if action.state is State.AWAITING and action.is_over(self._clock.now()):
            return _refuse(
                Text(f"{action.id} は期限切れです。", f"{action.id} has expired."),
                Text("申請し直してもらってください。", "Ask for it to be proposed again."),
            )
        if action.state is not State.AWAITING:
            stands = STATE_TEXT[action.state]
            return _refuse(
                Text(f"{action.id} は「{stands.ja}」です。", f"{action.id} is {stands.en}."),
                Text(
                    "この決定はできません。経過を確かめてください。", "This cannot be decided. Its history tells why."
                ),
            )
        if action.particulars.amount is None:
            return _refuse(
                Text(f"{action.id} は金額が不明です。", f"The amount of {action.id} is not known."),
                Text("1件ずつ承認してください。", "Approve it by itself."),
            )
        return None

    def _money(self, items: Iterable[Item]) -> int:
        """Yen of those that still are what was shown; the digest fixes the amount, and the others are refused."""
        total = 0
        for item in items:
            try:
                with self._store.read() as tx:
                    action = find(tx, item.action_id)
            except SeikyuError:
                continue  # told with its own result
            total += action.particulars.amount or 0 if action.digest == item.digest else 0
        return total


def _refuse(what: Text, next_step: Text) -> VoteRefused:
    return VoteRefused(what, next_step, written=_NO_VOTE)


def _above(cap: BatchCap, count: int, total: int) -> Text | None:
    """The sentence that says which cap is exceeded."""
    what = NOTHING
    if count > cap.count:
        what = Text(
            f"一括承認は{cap.count}件までです（{count}件が選ばれています）。",
            f"A batch has at most {cap.count} requests; these are {count}.",
        )
    elif total > cap.yen:
        what = Text(
            f"一括承認は合計 {yen_text(cap.yen)} までです（合計 {yen_text(total)}）。",
            f"A batch has at most {yen_text(cap.yen)} in all; these are {yen_text(total)}.",
        )
    return None if what is NOTHING else what + Text("分けて承認してください。", "Approve them in smaller batches.")
