"""A database on which one commit is lost, or its answer is, whatever engine it has."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from seikyu.errors import CommitUnknown
from seikyu.store.database import Store, Tx


class LostStore(Store):
    """A database whose next commit, or the answer to it, is lost."""

    loses: Literal["commit", "answer"] | None = None

    @contextmanager
    def write(self) -> Generator[Tx]:
        lost, self.loses = self.loses, None
        with super().write() as tx:
            yield tx
            if lost == "commit":
                raise CommitUnknown
        if lost == "answer":
            raise CommitUnknown
