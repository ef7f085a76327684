"""A database that was set back to an older day: noticed, held still, and told again what it has forgotten.

Two witnesses stand outside it: the journal of sends and the anchors of the audit log. While they know more than the
database, nothing is sent or proposed. What was sent after the backup is taken up again from the journal as *unknown*,
then looked up like any lost answer, or seen to by a person; it is never sent again by itself. At last an operator
releases the hold with their seal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from seikyu.errors import NOTHING, NotAllowed, StoreDamaged, Text
from seikyu.gate import freezing
from seikyu.gate.actions import Action, State, action_of, find, move, tell, text_json
from seikyu.gate.anchors import Anchor, AnchorFile
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.freezing import Freeze
from seikyu.gate.journal import Entry, Journal, is_whole
from seikyu.gate.operators import Key
from seikyu.gate.pardons import pardons
from seikyu.gate.witness import ROW_COLUMNS, revision_hash
from seikyu.models import Clock, moment, timestamp
from seikyu.settings import Timing
from seikyu.store.database import Row, Store, Tx

log = logging.getLogger(__name__)

KNOWN_IN_A_ROW: Final = 256
"""Lines the database knows, going back, after which older ones are not read: a backup that holds a claim holds those
before it, but for the few that were made at the same moment: many times more than one machine sends at once."""

_ASKED_AT_ONCE: Final = 32
"""Lines asked for in one query, as many as it has places."""

_AT_ONCE: Final = 100
"""Actions taken up in one transaction."""

_FORGOTTEN: Final = Text(
    "データベースの復元後、送信控えから取り込みました。",
    "Taken up from the journal of sends, for the database was restored.",
)
_CONTESTED: Final = Text(
    "同じ呼び出しか番号の申請が別にあります。どちらが登録されたか、人が確かめてください。",
    "Another action bears the same call or number: a person has to see which of them the provider has.",
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What the witnesses know and the database does not."""

    missing: tuple[Entry, ...] = ()
    """Sends, newest first, the last one of each action."""
    denied: tuple[Anchor, ...] = ()
    """Anchors that speak of another log, and no operator has acknowledged it."""
    unreadable: int = 0
    """Lines of the journal that cannot be read; one that a crash cut short was never sent."""

    @property
    def is_older(self) -> bool:
        return bool(self.missing or self.denied)


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest lines of both witnesses."""

    entries: Sequence[Entry | None]
    anchors: Sequence[Anchor]


class Restoration:
    """Compares, holds, takes up, releases. Any number of machines may do so, each by its own journal and anchors."""

    def __init__(self, store: Store, clock: Clock, timing: Timing, *, journal: Journal, anchors: AnchorFile) -> None:
        self._store = store
        self._clock = clock
        self._timing = timing
        self.journal = journal
        self._anchors = anchors
        self._one_at_a_time = threading.Lock()
        self._is_settled = False
        """Whether a whole look found nothing, and no hold was seen since."""
        self.held: Freeze | None = None
        """What the last look saw; for whoever watches, not to decide by."""

    def look(self) -> Freeze | None:
        """Before anything is claimed or proposed: compare, and hold everything when the database is older.

        The first look of a process and the one after a release compare all there is, the others the newest lines.
        The hold in force, if any.

        Raises:
            StoreDamaged: the journal or the anchors cannot be read, so that nothing may be sent.
        """
        with self._one_at_a_time:
            self.held = self._look()
            return self.held

    def _look(self) -> Freeze | None:
        if self._is_settled:
            newest = self._newest()
            with self._store.read() as tx:
                held = _held(tx)
                if held is None and not is_older(tx, newest):
                    return None
        else:
            held = self._held()
        if held is not None:
            self._is_settled = False
            return held
        return self._look_at_all()

    def newest(self) -> Newest:
        """What `is_older` is asked about in the transaction that claims; all there is is compared first, once.

        Raises as `look`.
        """
        if not self._is_settled:
            self.look()
        return self._newest()

    def _newest(self) -> Newest:
        return Newest(self.journal.newest(), self._newest_anchor())

    def _look_at_all(self) -> Freeze | None:
        findings = self.findings()
        if findings.unreadable:
            log.warning("%d line(s) of the journal of sends cannot be read", findings.unreadable)
        held = self._hold(findings) if findings.is_older else None
        if held is not None:
            return held
        self._anchor_anew()
        self._is_settled = True
        return None

    def _held(self) -> Freeze | None:
        with self._store.read() as tx:
            return _held(tx)

    def findings(self) -> Findings:
        """Everything the witnesses know and the database does not. Raises as `look`."""
        return self._compare(self.journal.entries(), self._every_anchor())

    def _newest_anchor(self) -> list[Anchor]:
        try:
            newest = self._anchors.newest()
        except OSError as error:
            raise _no_anchors(error) from error
        return [] if newest is None else [newest]

    def _every_anchor(self) -> Sequence[Anchor]:
        try:
            return self._anchors.read().anchors
        except OSError as error:
            raise _no_anchors(error) from error

    def _compare(self, entries: Iterable[Entry | None], anchors: Sequence[Anchor]) -> Findings:
        with self._store.read() as tx:
            return _compared(tx, entries, anchors)

    def _hold(self, seen: Findings) -> Freeze | None:
        """None when it is not older by now: the witnesses may have been read after others had gone on."""
        with self._store.write() as tx:
            held, findings = _held(tx), _still(tx, seen)
            if held is not None or not findings.is_older:  # another process was faster
                return held
            made = freezing.hold(tx, self._clock, _facts(tx, findings))
        log.critical(
            "ALARM: the database is older than what was sent from here: %d send(s) and %d anchor(s) it does not know. "
            "Nothing is sent or proposed. Run `seikyu reconcile`, then `seikyu unfreeze`.",
            len(findings.missing),
            len(findings.denied),
        )
        return made

    def take_up(self) -> list[Action]:
        """Make every forgotten send known again, as *unknown*; none while nothing is held.

        Raises:
            StoreDamaged: as `look`; or a line does not hold a whole action, and a person has to look.
        """
        if self.look() is None:
            return []
        missing = self.findings().missing
        odd = next((entry for entry in missing if not is_whole(entry)), None)
        if odd is not None:
            raise _odd_line(odd)
        taken = list[Action]()
        # newest first: what was asked again after a refusal bears the call and the number
        for start in range(0, len(missing), _AT_ONCE):
            with self._store.write() as tx:
                taken += [self._take_up(tx, entry) for entry in missing[start : start + _AT_ONCE]]
        return taken

    def _take_up(self, tx: Tx, entry: Entry) -> Action:
        if _knows(tx, entry):  # another process was faster
            return find(tx, entry.action_id)
        now = self._clock.now()
        row = _unknown(entry, now, now + timedelta(seconds=self._timing.settle_s))
        if not _is_free(tx, now, row, entry.edits):
            row |= _contested(entry)
        tx.run("take_up_action", **row)
        tx.run("add_attempt", action_id=entry.action_id, epoch=entry.epoch, started_at=entry.at)
        said: dict[str, Any] = {"journal": entry.sha256, "sent_at": entry.at, "approved_by": list(entry.approved_by)}
        said |= _take_up_edits(tx, entry)
        tell(tx, now, "taken_up", row, epoch=entry.epoch, **said)
        return action_of(row)

    def lift(self, seen: Freeze, *, key: Key, os_user: str, reason: str, are_all_told: bool) -> None:
        """Lift a freeze as `freezing.lift` does; a hold only once everything that was forgotten is known again.

        `are_all_told`: the operator says that every other machine on this database has told what it sent, or that
        there is none; only that machine's own journal knows, and what it sent would be sent from here once more.

        Raises:
            NotAllowed: something sent from here, or perhaps from elsewhere, is still forgotten, or its outcome is open.
        """
        held = self._held()
        if held is not None and not are_all_told:
            raise NotAllowed(
                Text(
                    "ほかのマシンが送信したものは、そのマシンの送信控えにしかありません。",
                    "What another machine has sent stands in that machine's journal alone.",
                ),
                Text(
                    "送信したすべてのマシンで seikyu reconcile を実行してから、--all-told を付けてください。",
                    "Run `seikyu reconcile` on every machine that sent, then say --all-told.",
                ),
                written=NOTHING,
            )
        if held is not None and (left := len(self.findings().missing)):
            raise NotAllowed(
                Text(
                    f"送信控えにある{left}件がデータベースにありません。",
                    f"The database does not know {left} send(s) of the journal.",
                ),
                Text("seikyu reconcile を実行してください。", "Run `seikyu reconcile`."),
                written=NOTHING,
            )
        freezing.lift(
            self._store, self._clock, seen, key=key, os_user=os_user, reason=reason, are_all_told=are_all_told
        )
        self._anchor_anew()

    def _anchor_anew(self) -> None:
        """After a release the log goes on from the backup, and so do the anchors of each machine."""
        newest = self._newest_anchor()
        with self._store.read() as tx:
            head = tx.one("audit_head") if _denied(tx, newest) else None
        if head is None:
            return
        try:
            self._anchors.keep(Anchor(at=timestamp(self._clock.now()), records=head["seq"], head=head["hash"]))
        except OSError as error:
            log.warning("the audit log is not anchored: %s", error)


def is_older(tx: Tx, newest: Newest) -> bool:
    """Whether the witnesses know more than the database."""
    return _compared(tx, newest.entries, newest.anchors).is_older


def _held(tx: Tx) -> Freeze | None:
    return next(iter(freezing.holds(tx)), None)


def _compared(tx: Tx, entries: Iterable[Entry | None], anchors: Sequence[Anchor]) -> Findings:
    """What the database does not know in this view of it."""
    missing, unreadable, known = dict[str, Entry](), 0, 0
    denied = _unpardoned(tx, _denied(tx, anchors))
    for entry, is_known in _held_against(tx, entries):
        if entry is None:
            unreadable += 1
        elif is_known:
            known += 1
        else:
            known = 0
            _keep_last(missing, entry)
        if known >= KNOWN_IN_A_ROW:
            break
    return Findings(tuple(missing.values()), tuple(denied), unreadable)


def _still(tx: Tx, seen: Findings) -> Findings:
    """What of it the database, as it is now, does not know."""
    missing = tuple(entry for entry in seen.missing if not _knows(tx, entry))
    return Findings(missing, tuple(_unpardoned(tx, _denied(tx, seen.denied))))


def _held_against(tx: Tx, entries: Iterable[Entry | None]) -> Iterator[tuple[Entry | None, bool]]:
    """Each line with whether the database knows it; asked for a few at a time."""
    left = iter(entries)
    while lines := list(islice(left, _ASKED_AT_ONCE)):
        epochs = _epochs(tx, [entry.action_id for entry in lines if entry is not None])
        for entry in lines:
            yield entry, entry is not None and _is_within(entry, epochs)


def _epochs(tx: Tx, ids: Sequence[str]) -> dict[str, object]:
    """How often each of these actions was claimed; those that are not there are left out."""
    asked = {f"id_{number}": "" for number in range(_ASKED_AT_ONCE)}
    asked |= {f"id_{number}": id_ for number, id_ in enumerate(ids)}
    return {row["id"]: row["epoch"] for row in tx.all("action_epochs", **asked)}


def _is_within(entry: Entry, epochs: Mapping[str, object]) -> bool:
    """A damaged row is there: the sweep sets it aside, and nothing else has to stand still for it."""
    epoch = epochs.get(entry.action_id, -1)
    return not isinstance(epoch, int) or epoch >= entry.epoch


def _knows(tx: Tx, entry: Entry) -> bool:
    return _is_within(entry, _epochs(tx, [entry.action_id]))


def _keep_last(missing: dict[str, Entry], entry: Entry) -> None:
    if entry.action_id not in missing or missing[entry.action_id].epoch < entry.epoch:
        missing[entry.action_id] = entry


def _denied(tx: Tx, anchors: Sequence[Anchor]) -> list[Anchor]:
    return [anchor for anchor in anchors if (tx.one("audit_hash", seq=anchor.records) or {}).get("hash") != anchor.head]


def _unpardoned(tx: Tx, denied: Sequence[Anchor]) -> list[Anchor]:
    known = pardons(tx) if denied else []
    return [anchor for anchor in denied if not any(pardon.covers(anchor) for pardon in known)]


def _facts(tx: Tx, findings: Findings) -> dict[str, Any]:
    """What an operator's seal will acknowledge: from where on, and until when, the anchors speak of another log."""
    head = tx.one("audit_head") or {"seq": 0}
    facts: dict[str, Any] = {"log_records": head["seq"], "forgotten_sends": len(findings.missing)}
    if findings.denied:
        facts["anchors"] = {
            "count": len(findings.denied),
            "after_record": min(anchor.records for anchor in findings.denied) - 1,
            "until": max((anchor.at for anchor in findings.denied), key=moment),
        }
    return facts


def _unknown(entry: Entry, now: datetime, look_at: datetime) -> dict[str, Any]:
    """The action's row as it left, with nothing known of what came of it."""
    known = {name: entry.row.get(name) for name in ROW_COLUMNS}
    return known | {
        "state": State.UNKNOWN.value,
        "lease_owner": None,
        "lease_until": None,
        "not_before": timestamp(look_at),
        "unknown_since": timestamp(now),
        "may_have_left": 1,
        "outcome": text_json(_FORGOTTEN),
        "updated_at": timestamp(now),
        "taken_up": entry.sha256,
    }


def _contested(entry: Entry) -> dict[str, Any]:
    """For one of two that cannot both be the live action of one call or number: a look-up would find the other's."""
    return {
        "state": State.MANUAL_REVIEW.value,
        "not_before": None,
        "outcome": text_json(_CONTESTED),
        "natural_key": None,
        "call_digest": sha256(canonical({"taken_up": entry.action_id, "call": entry.row["call_digest"]})),
    }


def _take_up_edits(tx: Tx, entry: Entry) -> dict[str, Any]:
    """Make the action's edits those it was sent with; what the log has to say of that.

    An edit made since the restore is of something that was never sent: its row is kept under a number below zero.
    """
    rows, sent = tx.all("every_revision_of", action_id=entry.action_id), list(entry.edits)
    there: list[Mapping[str, Any]] = [edit for edit in rows if edit["revision"] > 0]
    lost, strangers = [edit for edit in sent if edit not in there], [edit for edit in there if edit not in sent]
    lowest = min([0, *(int(edit["revision"]) for edit in rows)])
    asides = [(edit, {**edit, "revision": lowest - place}) for place, edit in enumerate(strangers, 1)]
    for was, aside in asides:
        tx.run("set_aside_revision", action_id=entry.action_id, revision=was["revision"], aside=aside["revision"])
    for edit in lost:
        tx.run("add_revision", **edit)
    said = {
        "edits": [revision_hash(edit) for edit in (*lost, *(aside for _, aside in asides))],
        "set_aside": [revision_hash(was) for was, _ in asides],
    }
    return {name: hashes for name, hashes in said.items() if hashes}


def _is_free(tx: Tx, now: datetime, row: dict[str, Any], edits: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the action can bear its number and every call it was made by again.

    What waits under them, unsent, was closed in the time the database has forgotten: only then could this one be
    proposed. It is closed again.
    """
    names = ("id", "call_digest", "connection", "operation", "natural_key")
    known = {name: row[name] for name in names}
    calls = dict.fromkeys((row["call_digest"], *(edit["call_digest"] for edit in edits)))
    rows = [rival for call in calls for rival in tx.all("rivals_of", **(known | {"call_digest": call}))]
    rivals = {rival["id"]: rival for rival in rows}
    left = [rival for rival in rivals.values() if not _close(tx, now, rival, row["id"])]
    return not left


def _close(tx: Tx, now: datetime, row: Row, action_id: str) -> bool:
    try:
        rival = action_of(row)
    except StoreDamaged:  # a person has to see to both
        return False
    if rival.state not in {State.AWAITING, State.APPROVED} or rival.may_have_left:
        return False
    why = Text(f"送信済みの {action_id} と重なるため閉じました。", f"Closed: {action_id} was sent for the same call.")
    move(tx, now, rival, State.EXPIRED, "superseded", by_action=action_id, outcome=text_json(why))
    return True


def _no_anchors(error: OSError) -> StoreDamaged:
    return StoreDamaged(
        Text(
            f"監査記録の控えを読めないため送信しません（{error.strerror}）。",
            f"Nothing is sent: the anchors of the audit log cannot be read ({error.strerror}).",
        ),
        Text("SEIKYU_AUDIT_ANCHORS と権限を確認してください。", "Check SEIKYU_AUDIT_ANCHORS and its permissions."),
        written=NOTHING,
    )


def _odd_line(entry: Entry) -> StoreDamaged:
    return StoreDamaged(
        Text(
            f"送信控えの {entry.action_id} の行が完全ではありません。",
            f"The journal's line of {entry.action_id} does not hold a whole action.",
        ),
        Text(
            "送信控えの控えから戻すか、提供元で確かめてください。",
            "Bring the file back from a copy, or see at the provider what became of it.",
        ),
        written=NOTHING,
    )
