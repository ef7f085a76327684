"""Makers: whoever made an action what it is. They never decide on it.

An operator who edits is named inside the content itself, so that every later vote is a vote about that too, and their
edit is sealed, so that the name cannot be put there or taken away behind their back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from seikyu.errors import NOTHING, StoreDamaged, Text
from seikyu.gate.actions import Action
from seikyu.gate.keys import is_signed
from seikyu.gate.mandates import same_person
from seikyu.store.database import Row, Tx


def editors(action: Action) -> tuple[str, ...]:
    """Operators who edited this revision or an earlier one."""
    return tuple(str(name) for name in action.content.get("edited_by", ()))


def is_maker(action: Action, name: str) -> bool:
    """Whether the action is this person's own work."""
    return any(same_person(name, maker) for maker in (action.requester, *editors(action)))


def check_edits(tx: Tx, action: Action, edits: Sequence[Row]) -> None:
    """Hold the edits it has (`Papers`) against the content; the caller has checked the operators (`mandates.trusted`).

    Raises:
        StoreDamaged: an edit's seal does not hold, or the content is not what the last edit made, or names others.
    """
    keys = {str(row["name"]): str(row["public_key"]) for row in (tx.all("operators") if edits else ())}
    sealed = {edit["editor"] for edit in edits if edit["seal"] is not None}
    are_sound = all(_is_sound(action, edit, keys) for edit in edits)
    is_last = not edits or _said(edits[-1]).get("new_digest") == action.digest
    if not are_sound or not is_last or sealed != set(editors(action)):
        raise StoreDamaged(
            Text(f"{action.id} の修正の記録が正しくありません。", f"The edits of {action.id} are not as they were."),
            Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."),
            written=NOTHING,
        )


def _is_sound(action: Action, edit: Row, keys: Mapping[str, str]) -> bool:
    said = _said(edit)
    about = {"action": action.id, "revision": edit["revision"], "editor": edit["editor"]}
    is_number = isinstance(edit["revision"], int)
    if not is_number or edit["revision"] > action.revision or not about.items() <= said.items():
        return False
    if edit["seal"] is None:
        makers = {"requester": action.requester, "provider": action.content["provider"]}
        return makers.get(str(said.get("role"))) == str(edit["editor"])
    # an operator whom a restored database has forgotten: what was taken up again is never sent, only looked at
    if action.taken_up is not None and edit["editor"] not in keys:
        return said.get("role") == "operator"
    key = keys.get(edit["editor"], "")
    return said.get("role") == "operator" and is_signed(key, str(edit["statement"]).encode(), str(edit["seal"]))


def _said(edit: Row) -> dict[str, Any]:
    try:
        said: object = json.loads(edit["statement"])
    except (ValueError, TypeError):
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}
