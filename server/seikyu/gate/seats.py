"""Seats: which of the votes a verdict asks for are still missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seikyu.errors import NOTHING, Text
from seikyu.gate.rights import Right
from seikyu.spec import Seat, Verdict


@dataclass(frozen=True, slots=True)
class Lack:
    """The votes that are missing."""

    seats: tuple[Seat, ...]
    """Only operators of these roles can fill them."""
    others: int
    """Any operator can."""
    people: int
    """How many more operators it takes at least; 0 when nothing is missing."""

    @property
    def text(self) -> Text:
        """What is missing, in the operator's words; empty when nothing is."""
        if self.people == 0:
            return NOTHING
        ja = [f"{seat.role} {seat.approvers}名" for seat in self.seats]
        en = [f"{seat.approvers} {seat.role}" for seat in self.seats]
        if self.others:
            ja.append(f"{'ほかに' if ja else '操作者'} {self.others}名")
            en.append(f"{self.others} {'other ' if en else ''}operator{'s' if self.others > 1 else ''}")
        return Text("、".join(ja), ", ".join(en))


def lacking(verdict: Verdict, rights: Sequence[Right]) -> Lack:
    """What `rights`, no two of which share a person, leave unfilled of what the verdict asks for."""
    filled = _one_each(verdict, rights) if verdict.is_distinct else _any(verdict, rights)
    lacks = tuple(
        Seat(seat.role, seat.approvers - have)
        for seat, have in zip(verdict.seats, filled, strict=True)
        if have < seat.approvers
    )
    missing = max(0, verdict.approvers - len(rights))
    counts = [seat.approvers for seat in lacks]
    by_role = sum(counts) if verdict.is_distinct else max(counts, default=0)
    return Lack(lacks, max(0, missing - sum(counts)), max(missing, by_role))


def _any(verdict: Verdict, rights: Sequence[Right]) -> list[int]:
    return [sum(seat.role in right.roles for right in rights) for seat in verdict.seats]


def _one_each(verdict: Verdict, rights: Sequence[Right]) -> list[int]:
    """The most seats that can be filled when every vote fills one at most (augmenting paths)."""
    chairs = [seat.role for seat in verdict.seats for _ in range(seat.approvers)]
    sitting: dict[int, int] = {}

    def seated(vote: int, tried: set[int]) -> bool:
        for chair, role in enumerate(chairs):
            if role in rights[vote].roles and chair not in tried:
                tried.add(chair)
                if chair not in sitting or seated(sitting[chair], tried):
                    sitting[chair] = vote
                    return True
        return False

    for vote in range(len(rights)):
        seated(vote, set())
    return [sum(chairs[chair] == seat.role for chair in sitting) for seat in verdict.seats]
