"""Targets: what an action stands on at its provider, such as who is billed, or the transaction to be cancelled.

It is read when the action is planned and is part of what the operators seal. It is read again just before the action is
sent: when a field differs, nobody approved what would happen now. The content then becomes the new one, a new revision
whose votes are void, and the policy judges it anew. What cannot be read is never taken for unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar

from seikyu.errors import Text
from seikyu.gate.actions import Action, State, action_of, move, notes_json, text_json, verdict_json
from seikyu.gate.canonical import TARGET, canonical, sha256
from seikyu.gate.facts import Situation, counterparty_key
from seikyu.gate.witness import revision_hash
from seikyu.models import shown, timestamp
from seikyu.spec import (
    Connection,
    Different,
    Done,
    Finding,
    Particulars,
    RuleTrace,
    Sent,
    TargetRecord,
    Verdict,
    WriteOperation,
)
from seikyu.store.database import Tx

LONGEST_VALUE: Final = 100
"""Characters of a provider's text in notes and in the log."""

PARTICULARS: Final = ("counterparty_id", "counterparty_name", "amount")
"""Fields of a target that are particulars too: what a person reads first, and the policy judges, follows them."""

CHANGED: Final = RuleTrace("target_changed", "ask", is_hit=True, why="提供元の内容が承認の後に変わりました")
UNREADABLE: Final = Text(
    "送信前の再確認で、提供元の内容を読めません。", "What the action stands on could not be read again before sending."
)

_COUNTERPARTY: Final = Text("取引先ID", "customer id")
_AMOUNT: Final = Text("金額", "amount")

SaidT = TypeVar("SaidT", bound=Sent | Finding)
Changes: TypeAlias = Mapping[str, tuple[str | None, str | None]]
"""Before and after by the name of the field; None where there is nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a provider now says, and the content of the action for which it was asked."""

    digest: str
    record: TargetRecord


@dataclass(frozen=True, slots=True)
class Reading:
    """What has to be read before the action may be claimed."""

    action: Action
    operation: WriteOperation[Any]
    connection: Connection


class Unread(Exception):
    """An action cannot be claimed before its target is read; nothing was changed."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading.action.id)
        self.reading = reading


def is_read(action: Action, operation: WriteOperation[Any], found: Found | None) -> bool:
    """Whether there is nothing left to read: no target, or one that was read for this very content."""
    return operation.target is None or (found is not None and found.digest == action.digest)


def changes(action: Action, operation: WriteOperation[Any], found: Found | None) -> Changes:
    """The fields that differ from what was approved; none while nothing was read."""
    if operation.target is None or found is None or found.digest != action.digest:
        return {}
    # an action of a version that read no targets: everything is news to its operators
    before: TargetRecord = action.content.get(TARGET, {})
    names = dict.fromkeys((*before, *found.record))
    pairs = {name: (before.get(name), found.record.get(name)) for name in names}
    return {name: (was, is_) for name, (was, is_) in pairs.items() if was != is_}


def renewed(action: Action, record: TargetRecord) -> Action:
    """The action with what is true now as its content; not stored."""
    content = action.content
    follow = {name: record[name] for name in PARTICULARS if name in record}
    particulars = Particulars.model_validate({**content["particulars"], **follow})
    made = canonical({**content, TARGET: dict(record), "particulars": particulars.model_dump(mode="json")})
    return action_of({**action.row, **_columns(made, particulars)})


def void(
    tx: Tx, before: Action, after: Action, changed: Changes, *, operation: WriteOperation[Any], verdict: Verdict,
    situation: Situation, now: datetime, until: datetime,
) -> Action:  # fmt: skip
    """Store `after` as a new revision that waits for approval, or is denied; votes are about what it was before."""
    edit = _revision(before, after, changed, now)
    renewed_columns = {name: after.row[name] for name in _RENEWED}
    tx.run("renew_action", **renewed_columns, id=before.id, revision=before.revision, old_digest=before.digest)
    tx.run("add_revision", **edit)
    said = note(operation, changed)
    is_denied = verdict.kind == "deny"
    judged = verdict if is_denied else _asking(verdict)
    columns: dict[str, Any] = {
        "verdict": verdict_json(judged),
        "approvers": judged.approvers,
        "revision": before.revision + 1,
        "notes": notes_json([*before.note_texts, said], situation.twins),
        "unsent_tries": 0,
        "outcome": text_json(_denied(verdict) + said) if is_denied else None,
        "not_before": None,
    }
    told: dict[str, Any] = {"target": _told(changed), "old_digest": before.digest, "edit": revision_hash(edit)}
    told["row"] = None  # the claim has held it against the log just now
    if is_denied:
        return move(tx, now, after, State.DENIED, "denied", **columns, **told)
    return move(tx, now, after, State.AWAITING, "asked_again", expires_at=timestamp(until), **columns, **told)


def for_whom_it_was(action: Action, said: SaidT) -> SaidT | Different:
    """What the provider said, unless what it calls done is another customer's, or came to another amount."""
    if not isinstance(said, Done):
        return said
    particulars = action.particulars
    differing = [
        name
        for name, ours, theirs in (
            (_COUNTERPARTY, particulars.counterparty_id, said.counterparty_id),
            (_AMOUNT, particulars.amount, said.amount),
        )
        if None not in {ours, theirs} and ours != theirs
    ]
    return Different(_of_another(differing), said.reference) if differing else said


def _of_another(names: list[Text]) -> Text:
    return Text(
        f"提供元にあるものは承認した内容と違います（{'、'.join(name.ja for name in names)}）。",
        f"What the provider has is not what was approved: {', '.join(name.en for name in names)} differ.",
    )


def note(operation: WriteOperation[Any], changed: Changes) -> Text:
    """One line: which field changed, from what to what."""
    lines = [_line(operation.target_names.get(name, Text(name, name)), *pair) for name, pair in changed.items()]
    return Text(
        "承認の後に提供元の内容が変わりました: " + "、".join(line.ja for line in lines) + "。",
        "Changed at the provider after it was approved: " + "; ".join(line.en for line in lines) + ".",
    )


def _line(name: Text, was: str | None, is_: str | None) -> Text:
    before, after = _shown(was), _shown(is_)
    return Text(f"{name.ja} {before} → {after}", f"{name.en} {before} → {after}")


def _shown(value: str | None) -> str:
    return shown(value, LONGEST_VALUE) if value else "—"


def _asking(verdict: Verdict) -> Verdict:
    """The verdict, and somebody looks in any case."""
    return replace(verdict, kind="ask", approvers=max(1, verdict.approvers), trace=(*verdict.trace, CHANGED))


def _denied(verdict: Verdict) -> Text:
    why = "; ".join(verdict.why)
    return Text(why, why)


def _told(changed: Changes) -> dict[str, dict[str, str]]:
    return {name: {"before": _shown(was), "after": _shown(is_)} for name, (was, is_) in changed.items()}


_RENEWED: Final = ("canonical", "digest", "amount", "counterparty_id", "counterparty_key")


def _columns(content: bytes, particulars: Particulars) -> dict[str, str | int | None]:
    return {
        "canonical": content.decode(),
        "digest": sha256(content),
        "amount": particulars.amount,
        "counterparty_id": particulars.counterparty_id,
        "counterparty_key": counterparty_key(particulars.counterparty_name),
    }


def _revision(before: Action, after: Action, changed: Changes, now: datetime) -> dict[str, str | int | None]:
    """An edit that nobody here made: it joins the old content to the new one, as those of people do."""
    editor = str(before.content["provider"])
    statement = canonical(
        {
            "action": before.id,
            "revision": before.revision + 1,
            "editor": editor,
            "role": "provider",
            "old_digest": before.digest,
            "new_digest": after.digest,
            "changes": _told(changed),
            "reason": "",
            "edited_at": timestamp(now),
        }
    )
    return {
        "action_id": before.id,
        "revision": before.revision + 1,
        "editor": editor,
        "call_digest": before.call_digest,
        "statement": statement.decode(),
        "seal": None,
    }
