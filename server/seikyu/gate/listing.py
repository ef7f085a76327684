"""Lists of actions, in which one damaged row stops none of the others.

SQLite keeps a text where a number belongs, and anybody who owns a database writes what they like. Such a row is named
and waits for a person; `audit verify` names it too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from seikyu.errors import SeikyuError, StoreDamaged, Text
from seikyu.gate.actions import Action, State, action_of, row_of, said_before, tell, text_json
from seikyu.models import Clock, moment
from seikyu.store.database import Row, Store

log = logging.getLogger(__name__)

_NOT_READ = Text("データが壊れているため、人の確認が必要です。", "Its row is damaged: a person has to look.")


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, newest first."""

    actions: tuple[Action, ...]
    total: int
    """How many match in all, damaged ones included."""
    older: str | None = None
    """Where the next page begins; None on the last one."""
    damaged: tuple[str, ...] = ()
    """Ids of rows that cannot be shown."""


def due(store: Store, clock: Clock, statement: str, **values: Any) -> list[Action]:  # noqa: ANN401 - of the statement
    """What a worker has to look at. A damaged row is set aside for a person, with an alarm in the log."""
    with store.read() as tx:
        rows = tx.all(statement, **values)
    return [action for row in rows if (action := _sound(store, clock, row)) is not None]


def each(found: Sequence[Action], work: Callable[[Action], Action]) -> list[Action]:
    """Work on one after the other: whatever stops one must not stop the others."""
    done = list[Action]()
    for action in found:
        try:
            done.append(work(action))
        except SeikyuError as error:
            log.warning("%s waits: %s", action.id, error.what.en)
    return done


def page_of(rows: Sequence[Row], total: int, limit: int) -> Page:
    """A page of at most `limit` of `rows`, which has one more when there are more."""
    pairs = [(str(row["id"]), _legible(row)) for row in rows[:limit]]
    return Page(
        tuple(action for _, action in pairs if action is not None),
        total,
        pairs[-1][0] if len(rows) > limit else None,
        tuple(name for name, action in pairs if action is None),
    )


def legible(rows: Sequence[Row]) -> list[Action]:
    """Those whose whole content can be read; the others are left out, and told to whoever runs the server."""
    return parted(rows)[0]


def parted(rows: Sequence[Row]) -> tuple[list[Action], list[Row]]:
    """Those whose whole content can be read, and the rows that are damaged, which are told as well."""
    read = [(row, _legible(row)) for row in rows]
    return [action for _, action in read if action is not None], [row for row, action in read if action is None]


def _sound(store: Store, clock: Clock, row: Row) -> Action | None:
    try:
        return action_of(row)
    except StoreDamaged as error:
        log.critical("ALARM: %s %s", error.what.en, error.next_step.en)
    try:
        _set_aside(store, clock, row)
    except (SeikyuError, ValueError):  # even its id is no id
        log.warning("it could not be set aside")
    return None


def _set_aside(store: Store, clock: Clock, row: Row) -> None:
    with store.write() as tx:
        there = row_of(tx, row["id"])
        if tx.run("set_aside_action", id=row["id"], state=row["state"]) != 1:
            return
        aside = {**there, "state": State.MANUAL_REVIEW.value}
        tell(tx, clock.now(), "alarm", aside, outcome=text_json(_NOT_READ), **said_before(tx, there))


def _legible(row: Row) -> Action | None:
    try:
        action = action_of(row)
        _read_through(action)
    except StoreDamaged as error:
        log.critical("ALARM: %s %s", error.what.en, error.next_step.en)
    except (ValueError, KeyError, TypeError, AttributeError):
        log.critical("ALARM: the content of action %s is damaged. Run `seikyu audit verify`.", row["id"])
    else:
        return action
    return None


def _read_through(action: Action) -> None:
    """Raises what reading its content raises."""
    facts: Any = json.loads(action.provider_facts or "{}")
    facts.get("status")
    _ = (action.request, action.particulars, action.decision, action.outcome_text, action.note_texts)
    _ = (action.content["company"], action.content["environment"], action.content.get("edited_by"))
    _ = (date.fromisoformat(action.business_day), moment(action.created_at), moment(action.updated_at))
