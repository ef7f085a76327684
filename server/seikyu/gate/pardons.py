"""Pardons: anchors that speak of a log from before the database was restored, and an operator has acknowledged it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from seikyu.errors import Text
from seikyu.gate import freezing
from seikyu.gate.anchors import Anchor
from seikyu.models import moment
from seikyu.store.database import Tx


@dataclass(frozen=True, slots=True)
class Pardon:
    """One released hold: the anchors past `after_record` and up to `until` are known to be of another log."""

    after_record: int
    until: datetime
    operator: str
    at: str

    def covers(self, anchor: Anchor) -> bool:
        return anchor.records > self.after_record and moment(anchor.at) <= self.until

    @property
    def text(self) -> Text:
        day = self.at[:10]
        return Text(
            f"復元前の記録の控えです（{day} に {self.operator} が確認済み）",
            f"it is of the log before a restored backup, acknowledged by {self.operator} on {day}",
        )


def pardons(tx: Tx) -> list[Pardon]:
    """Every one that stands under a seal that holds."""
    return [
        Pardon(one.facts["anchors"]["after_record"], moment(one.facts["anchors"]["until"]), one.operator, one.at)
        for one in freezing.releases(tx)
        if "anchors" in one.facts
    ]
