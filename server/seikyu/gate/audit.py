"""The audit log: one row for every change, in the same transaction, each sealed to the one before by its hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from seikyu.errors import Text
from seikyu.gate.anchors import Anchor, AnchorLines
from seikyu.gate.canonical import canonical, flat_sha256
from seikyu.gate.papers import Papers
from seikyu.gate.witness import Witness
from seikyu.models import timestamp
from seikyu.store.database import Row, Store, Tx

GENESIS: Final = "0" * 64
"""The `prev` of the first row."""

_PAGE: Final = 1000
_NO_ANCHORS: Final = AnchorLines()


class Pardon(Protocol):
    """An operator's word that some anchors are of a log from before a restored backup."""

    def covers(self, anchor: Anchor) -> bool: ...

    @property
    def text(self) -> Text: ...


PardonsOf: TypeAlias = Callable[[Tx], Sequence[Pardon]]


def _no_pardons(_tx: Tx) -> Sequence[Pardon]:
    return ()


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a verification found."""

    rows: int
    head: str
    """Hash of the last row."""
    anchors: int
    """How many anchors were held against the chain. Missing ones cannot be known: compare with what you keep."""
    faults: tuple[Text, ...]
    """Everything that is not as it was written."""
    acknowledged: tuple[Text, ...] = ()
    """Anchors that do not fit and are known not to: the database was restored, and an operator said so."""

    @property
    def fault(self) -> str | None:
        """The first fault, in English; None when all is as it was written."""
        return self.faults[0].en if self.faults else None


def _row_hash(row: Mapping[str, Any]) -> str:
    return flat_sha256(*((name, row[name]) for name in ("seq", "at", "kind", "action_id", "record", "prev")))


def append(tx: Tx, at: datetime, kind: str, action_id: str | None = None, **record: Any) -> None:  # noqa: ANN401 - JSON
    """Add a row in the caller's transaction. Never pass a secret or a document's bytes."""
    head = tx.one("audit_head")
    row: dict[str, Any] = {
        "seq": 1 if head is None else head["seq"] + 1,
        "at": timestamp(at),
        "kind": kind,
        "action_id": action_id,
        "record": canonical(record).decode(),
        "prev": GENESIS if head is None else head["hash"],
    }
    tx.run("append_audit", **row, hash=_row_hash(row))


def verify(store: Store, anchored: AnchorLines = _NO_ANCHORS, pardons_of: PardonsOf = _no_pardons) -> AuditReport:
    """Walk the chain from its first row, in one view of the database; hold against it every anchor, action and vote.

    `anchored` must have been read before: an anchor may name a row that is newer than the view.
    """
    with store.read() as tx:
        return check(tx, anchored, pardons_of(tx))


def check(tx: Tx, anchored: AnchorLines, pardons: Sequence[Pardon] = ()) -> AuditReport:
    """`verify`, in the caller's view of the database."""
    chain = _Chain(anchored.anchors, pardons)
    chain.refuse(tx.one("audit_before_first"))
    while chain.is_sound and (page := tx.all("audit_page", after=chain.count, limit=_PAGE)):
        chain.walk(page)
    faults = (*chain.faults(), *_odd_lines(anchored), *chain.contradictions(tx))
    return AuditReport(chain.count, chain.head, len(anchored.anchors), faults, tuple(chain.acknowledged))


class _Chain:
    """The chain as far as it was walked."""

    def __init__(self, anchors: Sequence[Anchor], pardons: Sequence[Pardon]) -> None:
        self.count, self.head = 0, GENESIS
        self._broken: Text | None = None
        self._denied: list[Text] = []
        self._pardons = pardons
        self.acknowledged: list[Text] = []
        self._witness = Witness()
        self._awaited: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self._awaited.setdefault(anchor.records, []).append(anchor)

    @property
    def is_sound(self) -> bool:
        return self._broken is None

    def refuse(self, stray: Row | None) -> None:
        if stray is not None:
            self._broken = Text(
                f"記録 {stray['seq']} は最初の記録より前です", f"record {stray['seq']} is before the first"
            )

    def walk(self, page: Sequence[Row]) -> None:
        for row in page:
            self._broken = _fault(row, self.count + 1, self.head)
            if self._broken is not None:
                return
            self.count, self.head = row["seq"], row["hash"]
            self._compare(self._awaited.pop(self.count, []))
            self._witness.hear(row)

    def _compare(self, anchors: Sequence[Anchor]) -> None:
        for anchor in anchors:
            if anchor.head != self.head:
                self._deny(anchor, _not_as_anchored(anchor))

    def _deny(self, anchor: Anchor, fault: Text) -> None:
        pardon = next((one for one in self._pardons if one.covers(anchor)), None)
        if pardon is None:
            self._denied.append(fault)
        else:
            self.acknowledged.append(Text(f"{fault.ja}。{pardon.text.ja}", f"{fault.en}; {pardon.text.en}"))

    def faults(self) -> list[Text]:
        """Where the chain breaks; else what the anchors say against it."""
        if self._broken is not None:
            return [self._broken, *self._denied]
        beyond = [anchor for _, anchors in sorted(self._awaited.items()) for anchor in anchors]
        for anchor in beyond:
            self._deny(anchor, _ends_early(self.count, anchor))
        return self._denied

    def contradictions(self, tx: Tx) -> list[Text]:
        """Actions and votes that are not what the log says; a broken chain is no witness."""
        return self._witness.faults(tx) if self.is_sound else []


def _fault(row: Row, seq: int, prev: str) -> Text | None:
    if row["seq"] != seq:
        return Text(f"記録 {seq} がありません", f"record {seq} is missing")
    if row["prev"] != prev:
        return Text(f"記録 {seq} は記録 {seq - 1} に続いていません", f"record {seq} does not follow record {seq - 1}")
    if not _is_intact(row):
        return _spoilt(seq)
    return None


def _is_intact(row: Row) -> bool:
    try:
        return bool(row["hash"] == _row_hash(row))
    except ValueError:  # a value of a kind no record has
        return False


def _not_as_anchored(anchor: Anchor) -> Text:
    return Text(
        f"記録 {anchor.records} が {anchor.at} の控えと違います",
        f"record {anchor.records} is not what the anchor of {anchor.at} says",
    )


def _ends_early(count: int, anchor: Anchor) -> Text:
    return Text(
        f"記録は {count} で終わっていますが、{anchor.at} の控えでは {anchor.records} まであります",
        f"the log ends at record {count}, but the anchor of {anchor.at} says {anchor.records}",
    )


def _odd_lines(anchored: AnchorLines) -> list[Text]:
    return [
        Text(f"控えのファイルの{line}行目を読めません", f"line {line} of the anchor file is not an anchor")
        for line in anchored.unreadable
    ]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the log says against one stored action."""

    fault: Text
    was_claimed: bool
    """Whether it may have left before, whatever the row says of that."""


def doubt(tx: Tx, action: Row, papers: Papers) -> Doubt | None:
    """Hold an action's row, its votes and its edits against the log; None when they are as they were written.

    The log itself is held against its anchors by `verify` only: here, each of its rows against its own hash.
    """
    rows = tx.all("audit_of_action", action_id=action["id"])
    spoilt = [_spoilt(row["seq"]) for row in rows if not _is_intact(row)]
    said = [*spoilt, *_witness(rows).faults_of(action, papers)]
    return Doubt(said[0], any(row["kind"] == "claimed" for row in rows)) if said else None


def row_in_doubt(tx: Tx, action: Row) -> str | None:
    """The hash of an action's row when the log last spoke of it, if `action` is another; None if it is the same."""
    witness = _witness(tx.all("audit_of_action", action_id=action["id"]))
    return None if witness.is_as_said(action) else witness.row_of(action["id"])


def _witness(rows: Sequence[Row]) -> Witness:
    witness = Witness()
    for row in rows:
        witness.hear(row)
    return witness


def _spoilt(seq: int) -> Text:
    return Text(f"記録 {seq} が変更されています", f"record {seq} was changed")


def history(tx: Tx, action_id: str) -> list[dict[str, Any]]:
    """Every row about one action, oldest first."""
    return [
        {"seq": row["seq"], "at": row["at"], "kind": row["kind"], **json.loads(row["record"])}
        for row in tx.all("audit_of_action", action_id=action_id)
    ]
