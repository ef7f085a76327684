"""What lies in the vault, row by row, and under which key: what a rotation has to do, and what it must not touch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import SecretBytes

from seikyu.errors import Text
from seikyu.models import Clock, moment
from seikyu.settings import SlackApp
from seikyu.spec import Connection
from seikyu.store.database import Row
from seikyu.store.presence import Presence
from seikyu.vault.keepsakes import PAGE_KEY, SEALING_KEY, slack_place, webhook_place
from seikyu.vault.rings import KeyRing
from seikyu.vault.seals import Label, unseal
from seikyu.vault.secrets import addresses_of


class Standing(StrEnum):
    """How a row stands towards the ring."""

    CURRENT = "current"
    """Sealed with the key that seals."""
    RETIRED = "retired"
    """Sealed with one that only opens: to be sealed anew."""
    RENEWING = "renewing"
    """… but a process is about to put new tokens there."""
    UNCONFIGURED = "unconfigured"
    """connections.toml does not say what it belongs to, so nobody can open it."""
    UNKNOWN_KEY = "unknown_key"
    """Sealed with a key that is not in the ring."""
    UNREADABLE = "unreadable"
    """It does not open with the key it names: it was changed, or the connection's address was."""


WHY: Final[Mapping[Standing, Text]] = {
    Standing.CURRENT: Text("現在の鍵で封印済み", "sealed with the current key"),
    Standing.RETIRED: Text("以前の鍵で封印", "sealed with a retired key"),
    Standing.RENEWING: Text("トークンを更新中", "its tokens are being renewed"),
    Standing.UNCONFIGURED: Text("connections.toml にない", "not in connections.toml"),
    Standing.UNKNOWN_KEY: Text("手元にない鍵で封印", "sealed with a key that is not in the ring"),
    Standing.UNREADABLE: Text(
        "開けない（記録か base_url が変わった）", "it does not open: the row or its base_url has changed"
    ),
}


def bindings(connections: Iterable[Connection], slack: SlackApp | None) -> dict[str, str]:
    """The address each row of secrets is bound to, by the row's name."""
    ours = [SEALING_KEY, PAGE_KEY, *([] if slack is None else [slack_place(slack)])]
    found = {place.name: place.address for place in ours}
    for row in connections:
        webhook = webhook_place(row)
        found |= {row.name: addresses_of(row), webhook.name: webhook.address}
    return found


@dataclass(frozen=True, slots=True)
class Holding:
    """One row, and what is sealed in it when it opens."""

    name: str
    provider: str
    kind: str
    key_id: str
    sealed: str
    standing: Standing
    label: Label | None
    plain: SecretBytes | None


class Appraiser:
    """Says how rows stand. `addresses` are the `bindings`."""

    def __init__(self, addresses: Mapping[str, str], clock: Clock, presence: Presence) -> None:
        self._addresses = addresses
        self._clock = clock
        self._presence = presence

    def holding(self, row: Row, ring: KeyRing) -> Holding:
        label, plain = self._label(row), None
        key = ring.by_id(row["key_id"])
        if label is not None and key is not None:
            plain = unseal(key, label, str(row["sealed"]))
        if plain is not None and key == ring.current:
            standing = Standing.CURRENT
        elif plain is not None:
            standing = Standing.RENEWING if self.is_leased(row) else Standing.RETIRED
        elif key is None:
            standing = Standing.UNKNOWN_KEY
        else:
            standing = Standing.UNCONFIGURED if label is None else Standing.UNREADABLE
        return Holding(
            name=str(row["connection"]),
            provider=str(row["provider"]),
            kind=str(row["kind"]),
            key_id=str(row["key_id"]),
            sealed=str(row["sealed"]),
            standing=standing,
            label=label,
            plain=plain,
        )

    def is_leased(self, row: Row) -> bool:
        """Whether a process holds the right to renew it: it will look for the very seal it has read."""
        owner = row["lease_owner"]
        return (
            owner is not None
            and not _is_past(row["lease_until"], self._clock.now())
            and not self._presence.is_gone(str(owner))
        )

    def _label(self, row: Row) -> Label | None:
        address = self._addresses.get(row["connection"])
        if address is None:
            return None
        # as text: a value of another kind, written there by somebody else, is a row that does not open and no crash
        return Label(row["connection"], str(row["provider"]), address, str(row["kind"]), row["generation"])


def _is_past(until: object, now: datetime) -> bool:
    """A lease that cannot be read is never over: nobody touches the row until it is mended."""
    try:
        return now >= moment(str(until))
    except ValueError:
        return False
