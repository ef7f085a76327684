"""Papers: what was decided about an action and how it was edited, read once for all who look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seikyu.store.database import Row, Tx


@dataclass(frozen=True, slots=True)
class Papers:
    """Every vote and every edit of one action, of all its revisions, as rows."""

    votes: Sequence[Row]
    """In the order they were cast."""
    edits: Sequence[Row]
    """In order; one set aside after a restore has a number below zero."""

    def votes_on(self, revision: int) -> list[Row]:
        """Those about one revision."""
        return [vote for vote in self.votes if vote["revision"] == revision]

    @property
    def edits_made(self) -> tuple[Row, ...]:
        """Those that made the action what it is; one whose number is none is among them, and does not hold."""
        return tuple(edit for edit in self.edits if not isinstance(edit["revision"], int) or edit["revision"] > 0)

    def with_vote(self, vote: Row) -> Papers:
        """The same after `vote` was cast."""
        return replace(self, votes=(*self.votes, vote))


def papers_of(tx: Tx, action_id: str) -> Papers:
    """An action's papers, as they are in this transaction."""
    return Papers(tx.all("votes_of", action_id=action_id), tx.all("every_revision_of", action_id=action_id))
