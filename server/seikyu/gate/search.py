"""Finding actions as an auditor asks for them: by day, amount and counterparty, whatever became of them.

Source: NTA 一問一答 電子取引 問9 and 規則2条6項5号: date, amount, party; ranges; any two combined. Read 2026-11-21.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from seikyu.errors import InvalidArguments, Text
from seikyu.gate.actions import Action, State
from seikyu.gate.facts import counterparty_key
from seikyu.gate.listing import legible
from seikyu.models import yen_text
from seikyu.store.database import Store, Value

_MOST_YEN: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Everything that is given must hold. Both ends of a range belong to it."""

    day_from: date = date.min
    day_to: date = date.max
    amount_from: int | None = None
    amount_to: int | None = None
    """Yen; an action without an amount is in no range of amounts."""
    counterparty: str | None = None
    """Part of a name, in any width, case or spacing, with or without 株式会社."""
    state: State | None = None

    def values(self) -> dict[str, Value]:
        """For the statements of the store. Raises `InvalidArguments`: the name is no name, or a range holds nothing."""
        check_days(self.day_from, self.day_to)
        if self.amount_from is not None and self.amount_to is not None and self.amount_from > self.amount_to:
            raise _turned_round(yen_text(self.amount_from), yen_text(self.amount_to))
        return {
            "day_from": self.day_from.isoformat(),
            "day_to": self.day_to.isoformat(),
            "amount_from": _storable(self.amount_from),
            "amount_to": _storable(self.amount_to),
            "counterparty": _part_of_key(self.counterparty),
            "state": None if self.state is None else self.state.value,
        }


def check_days(day_from: date, day_to: date) -> None:
    """Raises `InvalidArguments` for a range that ends before it begins: nothing would be found, or handed over."""
    if day_from > day_to:
        raise _turned_round(day_from.isoformat(), day_to.isoformat())


def _turned_round(begins: str, ends: str) -> InvalidArguments:
    return InvalidArguments(
        Text(f"範囲が逆です（{begins} から {ends} まで）。", f"The range ends before it begins: {begins} to {ends}."),
        Text("小さい方を先に指定してください。", "Give the smaller end first."),
    )


def _storable(yen: int | None) -> int | None:
    """No amount is beyond it, and no larger number can be asked for."""
    return None if yen is None else min(yen, _MOST_YEN)


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found, latest day first."""

    actions: tuple[Action, ...]
    total: int
    """All that match, beyond the limit too …"""
    yen: int
    """… and their amounts added up."""


def search(store: Store, wanted: Wanted, *, limit: int) -> Hits:
    """Look through every action there ever was. Raises `InvalidArguments`."""
    values = wanted.values()
    with store.read() as tx:
        found = legible(tx.all("search_actions", **values, limit=limit))
        [counted] = tx.all("count_search", **values)
    return Hits(tuple(found), counted["total"], counted["yen"])


def _part_of_key(name: str | None) -> str | None:
    if name is None:
        return None
    key = counterparty_key(name)
    if key is None or counterparty_key(f"a{name}") == "a":
        raise InvalidArguments(
            Text("取引先の名前がありません。", "That names no counterparty."),
            Text("株式会社などを除いた名前の一部を指定してください。", "Give a part of the name itself."),
        )
    return key
