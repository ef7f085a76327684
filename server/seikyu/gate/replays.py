"""What another policy would have said: recorded requests, judged again with the facts they were last judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from seikyu.errors import StoreDamaged, Text
from seikyu.gate import audit
from seikyu.gate.actions import Action, action_of, first_id
from seikyu.gate.policy import Policy
from seikyu.gate.vocabulary import LOOKS_AT, WEEKDAYS, Facts
from seikyu.gate.votes import check_digest
from seikyu.models import JST, moment
from seikyu.spec import Verdict
from seikyu.store.database import Tx

REPLAY_DAYS: Final = 90

_CHANGED: Final = Text("内容が書き換えられています", "its content was changed")
_STRANGE: Final = Text("記録された事実を読めません", "its recorded facts cannot be read")


@dataclass(frozen=True, slots=True)
class Change:
    """A proposal on which the two policies disagree."""

    action: Action
    old: Verdict
    new: Verdict

    @property
    def rules(self) -> list[str]:
        """The rules that hit under one policy only: `+new`, `-old`."""
        before, after = _hits(self.old), _hits(self.new)
        return [f"-{rule}" for rule in before if rule not in after] + [
            f"+{rule}" for rule in after if rule not in before
        ]


@dataclass(frozen=True, slots=True)
class Replay:
    """What was replayed, what could not be, and what would have changed."""

    since: datetime
    recorded: int = 0
    """Judged by the facts that were recorded when they were proposed, or last edited."""
    derived: int = 0
    """Judged by facts read from the stored request, because none were recorded."""
    changes: tuple[Change, ...] = ()
    left_out: tuple[tuple[str, Text], ...] = ()
    """Ids that could not be replayed, each with its reason."""


def replay(tx: Tx, old: Policy, new: Policy, now: datetime) -> Replay:
    """Judge every proposal of the last 90 days by both policies. Nothing is stored."""
    since = now - timedelta(days=REPLAY_DAYS)
    found = Replay(since)
    for row in tx.all("actions_since", first_id=first_id(since)):
        try:
            found = _with(found, tx, action_of(row), old, new)
        except StoreDamaged:
            found = replace(found, left_out=(*found.left_out, (str(row["id"]), _CHANGED)))
    return found


def _with(found: Replay, tx: Tx, action: Action, old: Policy, new: Policy) -> Replay:
    try:
        check_digest(action)
    except StoreDamaged:
        return replace(found, left_out=(*found.left_out, (action.id, _CHANGED)))
    judged = _last_judged(tx, action)
    known = _derived(action, judged) | _recorded(judged)
    lacking = sorted((_needed(old) | _needed(new)) - set(known))
    if lacking:
        listed = ", ".join(lacking)
        why = Text(f"{listed} が記録されていません", f"{listed} is not on record")
        return replace(found, left_out=(*found.left_out, (action.id, why)))
    try:
        facts = Facts.model_validate(known)
    except ValidationError:  # written by a version that knew other values
        return replace(found, left_out=(*found.left_out, (action.id, _STRANGE)))
    change = Change(action, old.decide(facts), new.decide(facts))
    has_record = bool(_recorded(judged))
    return replace(
        found,
        recorded=found.recorded + has_record,
        derived=found.derived + (not has_record),
        changes=(*found.changes, change) if _said(change.old) != _said(change.new) else found.changes,
    )


def _last_judged(tx: Tx, action: Action) -> dict[str, Any]:
    """The record of its proposal, or of the edit that made it what it is."""
    rows = [row for row in audit.history(tx, action.id) if row["kind"] in {"proposed", "edited"}]
    return rows[-1] if rows else {}


def _recorded(judged: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as they were; those of another version that we do not know are left out."""
    return {name: value for name, value in judged.get("facts", {}).items() if name in Facts.model_fields}


def _derived(action: Action, judged: Mapping[str, Any]) -> dict[str, Any]:
    """What the stored request itself tells, and whether twins were found when it was proposed."""
    content, particulars = action.content, action.particulars
    proposed_at = moment(action.created_at).astimezone(JST)
    day = proposed_at.date()
    twins = {"duplicate": bool(judged["twins"])} if "twins" in judged else {}
    return {
        "operation": action.operation,
        "provider": content["provider"],
        "connection": action.connection,
        "environment": content["environment"],
        "requester": action.requester,
        "amount": particulars.amount,
        "due_days": None if particulars.due_date is None else (particulars.due_date - day).days,
        "time": f"{proposed_at:%H:%M}",
        "weekday": WEEKDAYS[day.weekday()],
        **twins,
    }


def _needed(policy: Policy) -> set[str]:
    """The facts at least one rule looks at."""
    names = {name for rule in policy.file.rules for name in rule.model_fields_set}
    return {fact for name in names for fact in LOOKS_AT.get(name, (name,))} & set(Facts.model_fields)


def _hits(verdict: Verdict) -> list[str]:
    return [trace.rule for trace in verdict.trace if trace.is_hit]


def _said(verdict: Verdict) -> tuple[object, ...]:
    return verdict.kind, verdict.approvers, verdict.seats, verdict.is_distinct
