"""What the pages of a batch show: the requests to read together, and afterwards what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias
from urllib.parse import urlencode

from seikyu.errors import NOTHING, CommitUnknown, NotFound, SeikyuError, Text, VoteRefused
from seikyu.gate import freezing
from seikyu.gate.actions import STATE_TEXT, State
from seikyu.gate.batches import Batch, Batches, Item, Line, Result
from seikyu.gate.cards import Card
from seikyu.gate.mandates import same_person
from seikyu.models import Clock, yen_text
from seikyu.store.database import Store
from seikyu.surfaces.web.sheets import NEXT, lenders

_RECORDED: Final = Text("承認を記録しました。", "Your approval is recorded.")
_RECORDED_BEFORE: Final = Text("あなたの承認は既に記録されています。", "Your approval was recorded already.")
_NOT_THIS_TIME: Final = Text("今回の承認は記録されていません。", "This approval was not recorded.")

_ALL_VOTES: Final = Text("承認がそろいました。", "All votes are there.")
_BEING_SENT: Final = Text(
    "提供元に送信しています。結果はまだ分かりません。", "It is being sent; how it ends is not known yet."
)

Kind: TypeAlias = Literal["counted", "already", "refused", "unclear"]
"""What became of an item: approved now, approved before, not approved, or not known whether."""

REFRESH_S: Final = 5
"""How soon a list of decided requests looks again while something of it is on its way."""

_MOVING: Final = frozenset({State.APPROVED, State.EXECUTING, State.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Row:
    """One request that can be approved with the others."""

    card: Card
    is_production: bool
    is_changed: bool
    """Whether it is another content than the operator was shown before."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One request that cannot be, and why."""

    action_id: str
    card: Card | None
    state: State | None
    """Where it stands, when that is the reason."""
    why: Text


@dataclass(frozen=True, slots=True)
class BatchSheet:
    """Everything an operator reads before the one passphrase."""

    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    items: tuple[Item, ...]
    total: str
    fault: Text | None
    """Which cap is exceeded."""
    frozen: Text | None
    lenders: tuple[str, ...]
    back: str
    """The address of the list with the same requests ticked."""
    refresh_s: int | None

    @property
    def is_production(self) -> bool:
        return any(row.is_production for row in self.rows)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(item.action_id for item in self.items)

    def own_of(self, operator: str) -> frozenset[str]:
        """The requests this operator made, and will be refused to approve."""
        return frozenset(row.card.action_id for row in self.rows if same_person(row.card.requester, operator))


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one item."""

    action_id: str
    card: Card | None
    kind: Kind
    said: Text


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a batch."""

    fates: tuple[Fate, ...]
    frozen: Text | None
    again: str
    """The address that shows how the same requests stand, and asks nothing."""

    def count(self, kind: Kind) -> int:
        return sum(fate.kind == kind for fate in self.fates)

    @property
    def total(self) -> str:
        """Of what was approved now."""
        return yen_text(sum(_amount(fate.card) for fate in self.fates if fate.kind == "counted"))

    @property
    def is_whole(self) -> bool:
        """Whether every item is approved by now."""
        return not self.count("refused") and not self.count("unclear")

    @property
    def status(self) -> int:
        return 200 if self.count("counted") or self.count("already") else 409

    @property
    def summary(self) -> Text:
        total, counted, already = len(self.fates), self.count("counted"), self.count("already")
        refused, unclear = self.count("refused"), self.count("unclear")
        said = Text(f"{total}件のうち{counted}件を承認しました。", f"Approved {counted} of {total}.")
        if already:
            said += Text(f"{already}件にはあなたの承認が既にありました。", f"{already} had your vote already.")
        if refused:
            said += Text(f"{refused}件は今回承認されていません。", f"{refused} not approved this time.")
        if unclear:
            said += Text(f"{unclear}件は確認が必要です。", f"{unclear} need a look.")
        return said


class BatchReading:
    """Reads the pages of a batch. Blocking; call it in a thread."""

    def __init__(self, store: Store, clock: Clock, batches: Batches) -> None:
        self._store = store
        self._clock = clock
        self._batches = batches

    def sheet(self, action_ids: Sequence[str], *, shown: Sequence[Item] = ()) -> BatchSheet:
        """These requests now; those that are not as in `shown` are marked."""
        batch = self._batches.read(action_ids)
        with self._store.read() as tx:
            frozen, lent = freezing.standing(tx), lenders(tx, self._clock.now())
        why = None if frozen is None else frozen.text
        return BatchSheet(
            rows=_rows(batch, shown),
            left_out=tuple(_left_out(line, why) for line in batch.lines if line.error is not None),
            items=batch.items,
            total=yen_text(batch.total),
            fault=batch.fault,
            frozen=why,
            lenders=lent,
            back=_address("/approvals", action_ids),
            refresh_s=_refresh_s(batch),
        )

    def standing(self, action_ids: Sequence[str]) -> BatchSheet:
        """How these requests stand; nothing is asked about any of them."""
        sheet, lines = self.sheet(action_ids), self._batches.read(action_ids).lines
        return replace(
            sheet,
            rows=(),
            items=(),
            left_out=tuple(_left_out(line, sheet.frozen) for line in lines),
            fault=None if lines else sheet.fault,
            refresh_s=REFRESH_S if any(map(_is_moving, lines)) else None,
        )

    def told(self, items: Sequence[Item], results: Sequence[Result], operator: str) -> Told:
        """What became of `items`, each with how it stands now, if that can be read."""
        ids = [item.action_id for item in items]
        cards, frozen = dict[str, Card | None](), None
        # what was cast is told, whatever happens to the database now
        with suppress(SeikyuError):
            cards = {line.action_id: line.card for line in self._batches.lines(ids)}
            frozen = freezing.current(self._store)
        why = None if frozen is None else frozen.text
        fates = (
            _fate(item, result, cards.get(item.action_id), operator, why)
            for item, result in zip(items, results, strict=True)
        )
        return Told(tuple(fates), why, f"{_address('/approvals/batch', ids)}&state")


def _rows(batch: Batch, shown: Sequence[Item]) -> tuple[Row, ...]:
    before: Mapping[str, Item] = {item.action_id: item for item in shown}
    return tuple(
        Row(card, card.head[-1].value != "sandbox", before.get(card.action_id, item) != item)
        for card, item in zip(batch.cards, batch.items, strict=True)
    )


def _left_out(line: Line, frozen: Text | None) -> LeftOut:
    error, card = line.error, line.card
    if card is not None and (error is None or card.state is not State.AWAITING):
        return LeftOut(line.action_id, card, card.state, stands(card, frozen))
    return LeftOut(line.action_id, card, None, NOTHING if error is None else _why(error))


def _refresh_s(batch: Batch) -> int | None:
    """Nothing can be filled in on a page of decided requests, so it may look again by itself."""
    return REFRESH_S if not batch.cards and any(map(_is_moving, batch.lines)) else None


def _is_moving(line: Line) -> bool:
    return line.card is not None and line.card.state in _MOVING


def _fate(item: Item, result: Result, card: Card | None, operator: str, frozen: Text | None) -> Fate:
    error = result.error
    if isinstance(error, CommitUnknown):
        return Fate(item.action_id, card, "unclear", error.what + error.written + error.next_step)
    how = NOTHING if card is None else _since(item, card) + stands(card, frozen)
    if error is None:
        return Fate(item.action_id, card, "counted", _RECORDED + how)
    if card is not None and _is_same(item, card) and operator in card.approvals:
        return Fate(item.action_id, card, "already", _RECORDED_BEFORE + how)
    return Fate(item.action_id, card, "refused", _NOT_THIS_TIME + _refusal(error, card))


def _refusal(error: SeikyuError, card: Card | None) -> Text:
    """Why a vote was not counted: what was decided meanwhile says it better than the gate."""
    if not isinstance(error, VoteRefused) or card is None or card.state is State.AWAITING:
        return _why(error)
    now = Text(f"現在は「{card.state_text.ja}」です。", f"It is {card.state_text.en} now.")
    return now if card.outcome is None else now + card.outcome


def _is_same(item: Item, card: Card) -> bool:
    return (item.digest, item.revision) == (card.digest, card.revision)


def _since(item: Item, card: Card) -> Text:
    if _is_same(item, card):
        return NOTHING
    if card.history and card.history[-1].kind == "asked_again":
        return Text(
            f"送信の前に承認の条件が変わったため、もう一度承認が必要です（第{card.revision}版）。",
            f"Its conditions changed before it was sent: it has to be approved again (revision {card.revision}).",
        )
    return Text(f"その後、第{card.revision}版になりました。", f"It has become revision {card.revision} since.")


def stands(card: Card, frozen: Text | None) -> Text:
    """How an action stands, for somebody who approved it; no more than is known now."""
    outcome = NOTHING if card.outcome is None else card.outcome
    if card.state is State.AWAITING:
        lack = card.missing
        return Text(f"まだ送信されません。不足している承認: {lack.ja}。", f"Not sent yet; still missing: {lack.en}.")
    if card.state is State.APPROVED:
        return _ALL_VOTES + _before_sending(card, frozen) + outcome
    if card.state is State.EXECUTING:
        return _BEING_SENT
    said = STATE_TEXT[card.state]
    return NEXT.get(card.state, Text(f"{said.ja}。", f"It is {said.en}.")) + outcome


def _before_sending(card: Card, frozen: Text | None) -> Text:
    if frozen is not None:
        return Text("緊急停止が解除されるまで送信されません。", "It waits until the freeze is lifted.")
    if card.outcome is not None:
        return Text("まだ送信されていません。", "It was not sent yet.")
    return Text("まもなく送信されます。", "It will be sent soon.")


def _why(error: SeikyuError) -> Text:
    return error.what + (NOTHING if isinstance(error, NotFound) else error.next_step)


def _amount(card: Card | None) -> int:
    return 0 if card is None else card.particulars.amount or 0


def _address(path: str, action_ids: Sequence[str]) -> str:
    return f"{path}?{urlencode([('id', action_id) for action_id in dict.fromkeys(action_ids)])}"
