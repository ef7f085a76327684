"""Hooks out of the house: a program of the operator's choice is told of each notice, and of each anchor."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from seikyu.errors import NotFound, StoreDamaged
from seikyu.gate.actions import Action, find
from seikyu.gate.anchors import Anchor
from seikyu.gate.notices import Notice
from seikyu.gate.programs import LIMIT_S, tell_program
from seikyu.models import shown, timestamp
from seikyu.store.database import Store


class CommandNotifier:
    """`SEIKYU_NOTIFY_COMMAND`: each notice is one JSON line on the program's stdin."""

    def __init__(
        self,
        command: Sequence[str],
        store: Store,
        *,
        link_of: Callable[[Action], str | None],
        limit_s: int = LIMIT_S,
    ) -> None:
        self.name = "command"
        self._command = tuple(command)
        self._store = store
        self._link_of = link_of
        self._limit_s = limit_s

    async def deliver(self, notice: Notice) -> None:
        """Raises `NotDelivered` when the program does not end with exit code 0."""
        about = await self._store.run(lambda: self._about(notice.action_id))
        said = {
            "kind": notice.kind.value,
            "id": notice.id,
            "action_id": notice.action_id,
            "at": timestamp(notice.at),
            "text": {"ja": notice.text.ja, "en": notice.text.en},
            "action": about,
        }
        await tell_program(self._command, json.dumps(said, ensure_ascii=False).encode(), limit_s=self._limit_s)

    def _about(self, action_id: str | None) -> dict[str, Any] | None:
        """The action as it is now. What others wrote is data: capped, and nothing invisible is in it."""
        try:
            return None if action_id is None else self._described(action_id)
        except (NotFound, StoreDamaged, KeyError):  # not as we wrote it: the notice itself still has to be told
            return None

    def _described(self, action_id: str) -> dict[str, Any]:
        with self._store.read() as tx:
            action = find(tx, action_id)
        particulars = action.particulars
        name = particulars.counterparty_name
        return {
            "state": action.state.value,
            "operation": action.operation,
            "connection": action.connection,
            "requester": shown(action.requester, 60),
            "amount_yen": particulars.amount,
            "counterparty": None if name is None else shown(name, 100),
            "expires_at": action.expires_at,
            "digest": action.digest[:12],
            "approval_url": self._link_of(action),
        }


class AnchorCommand:
    """`SEIKYU_ANCHOR_COMMAND`: each anchor is one line on the program's stdin, as it stands in the anchor file."""

    def __init__(self, command: Sequence[str], *, limit_s: int = LIMIT_S) -> None:
        self._command = tuple(command)
        self._limit_s = limit_s

    async def keep(self, anchor: Anchor) -> None:
        """Raises `NotDelivered` when the program does not end with exit code 0."""
        await tell_program(self._command, anchor.model_dump_json().encode(), limit_s=self._limit_s)
