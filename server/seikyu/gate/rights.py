"""Rights: in whose name an operator votes, up to what amount, in which roles. Their own, or one that was lent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from seikyu.errors import Text
from seikyu.gate.mandates import Operator, folded, is_within, lower
from seikyu.models import moment


@dataclass(frozen=True, slots=True)
class Right:
    """What stands behind a vote."""

    operator: str
    """Who votes."""
    roles: frozenset[str] = frozenset()
    ceiling: int | None = None
    """Yen, as it is now; None without limit."""
    acting_for: str | None = None
    """Who lent the right; None when it is the operator's own."""
    until: date | None = None
    """The last day of the delegation."""

    @property
    def people(self) -> frozenset[str]:
        """Everybody behind the vote, as they are told apart. None of them can be behind another one."""
        return frozenset(folded(name) for name in (self.operator, self.acting_for) if name is not None)

    @property
    def said(self) -> str:
        """For the log."""
        return self.text.en

    @property
    def text(self) -> Text:
        """Who votes, and for whom."""
        if self.acting_for is None:
            return Text(self.operator, self.operator)
        return Text(
            f"{self.operator}（{self.acting_for} の代理、{self.until} まで）",
            f"{self.operator} (for {self.acting_for} until {self.until})",
        )

    def covers(self, amount: int | None) -> bool:
        """Whether an approval of `amount` yen is within the ceiling; of an unknown one only without a ceiling."""
        return is_within(amount, self.ceiling)


def right_of(people: Mapping[str, Operator], name: str, acting_for: str | None, at: datetime) -> Right | None:
    """The right somebody has for a vote cast at `at`; None when they have none.

    A delegation must have been in force when the vote was cast, and not be taken back since. That its last day has
    passed meanwhile changes nothing: the lender wanted decisions of that day to stand. Ceilings and roles are those
    of now, and only active operators have any.
    """
    own = people.get(name)
    if own is None or acting_for is None:
        return None if own is None else Right(name, own.roles, own.ceiling)
    lender = people.get(acting_for)
    lent = [] if lender is None else [one for one in lender.lent if one.to == name]
    used = next((one for one in reversed(lent) if moment(one.given_at) <= at), None)
    if lender is None or used is None or not used.covers(at):
        return None
    ceiling = lower(lender.ceiling, lower(used.ceiling, lent[-1].ceiling))
    return Right(name, lender.roles, ceiling, acting_for, used.until)
