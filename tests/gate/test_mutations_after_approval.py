"""Random changes between approval and execution: none lets anything be sent but what was approved, as it was.

300 in every run of the tests; `make mutations N=10000 SEED=1` for more, `ROUND=17` for one of them. Each round begins
with actions that went through the real gate, changes one thing past it, and lets the real executor run. The oracle
knows nothing of the gate: it holds what the provider received against what was written down at approval.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from gate.changes import HARMLESS, MUST_STOP, Change, Hand, nothing
from gate.office import POLICY, Office, Target, Wire, chapter, open_office
from seikyu.gate import audit, claims, freezing
from seikyu.gate.actions import Action
from seikyu.gate.policy import Policy, PolicyBook, parse_policy
from seikyu.gate.rights import Right
from seikyu.gate.seats import Lack

COUNT = int(os.environ.get("SEIKYU_MUTATIONS") or 300)
SEED = int(os.environ.get("SEIKYU_SEED") or 1)
ONLY = os.environ.get("SEIKYU_ROUND")
PER_CHAPTER = 100
HARMLESS_SHARE = 0.06
BYSTANDERS = 0.2
"""How often what may not be sent at all is changed, and not what was approved."""


@dataclass
class Score:
    """What the rounds showed."""

    stopped: int = 0
    harmless: Counter[str] = field(default_factory=Counter[str])
    by_change: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])


@pytest.fixture
def office(tmp_path: Path) -> Generator[Office]:
    made = open_office(tmp_path)
    was = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # every round that is stopped says so
    yield made
    logging.disable(was)
    made.close()


async def play(office: Office, seed: int, rounds: Iterable[int], *, is_over: Callable[[Score], bool]) -> Score:
    """Play rounds of a seed until there are no more, or it is over."""
    score, open_chapter, targets = Score(), -1, list[Target]()
    for number in rounds:
        if number // PER_CHAPTER != open_chapter:
            open_chapter = number // PER_CHAPTER
            set_back(office, targets)
            targets = await chapter(office, seed, open_chapter)
        await one_round(office, seed, number, targets, score)
        if is_over(score):
            break
    return score


def set_back(office: Office, targets: list[Target]) -> None:
    for target in targets:
        target.stood.database.close()
    for kept in office.files.iterdir():
        kept.unlink()
    office.stage.settings.policy_file.write_text(POLICY, encoding="utf-8")


async def one_round(office: Office, seed: int, number: int, targets: list[Target], score: Score) -> None:
    rng = Random(f"{seed}.{number}")  # noqa: S311 - a round that can be repeated
    with restored(office):
        target, change, what, hand = changed(office, targets, rng)
        await execute(office, hand)
        received = list(office.provider.received)
    fault = judge(target, change, received)
    score.by_change[change.__name__] += 1
    if fault is not None:
        again = f"make mutations SEED={seed} ROUND={number}"
        score.faults.append(f"{fault}: {target.name}, {change.__name__}: {what}\nagain: {again}")
    elif change in HARMLESS:
        score.harmless[change.__name__] += 1
    else:
        score.stopped += 1


@contextmanager
def restored(office: Office) -> Generator[None]:
    """Leave policy and documents as they were; the database is put back when the next round begins."""
    kept = {place: place.read_bytes() for place in (office.stage.settings.policy_file, *office.files.iterdir())}
    office.provider.received.clear()
    try:
        yield
    finally:
        for place, content in kept.items():
            if not place.exists() or place.read_bytes() != content:
                place.write_bytes(content)


def changed(office: Office, targets: list[Target], rng: Random) -> tuple[Target, Change, str, Hand]:
    """Draw until something is changed: not every change fits every action, and some the database refuses."""
    change = rng.choice(list(HARMLESS) if rng.random() < HARMLESS_SHARE else MUST_STOP)
    while True:
        is_bystander = rng.random() < BYSTANDERS
        target = rng.choice([one for one in targets if (one.approved is None) == is_bystander])
        hand = Hand(office, target, rng, office.stage.settings)
        begin(office, target)
        with suppress(sqlite3.Error):
            what = change(hand)
            if what is not None:
                return target, change, what, hand


def begin(office: Office, target: Target) -> None:
    office.stand(target.stood)
    office.stage.clock.at = target.at


async def execute(office: Office, hand: Hand) -> None:
    """Everything a server does on its own; how it says no is not what this is about."""
    executor = office.executor(hand.settings)
    with suppress(Exception):
        await executor.execute(hand.id)
    with suppress(Exception):
        await executor.sweep()


def judge(target: Target, change: Change, received: list[Wire]) -> str | None:
    """What is wrong with what the provider received, if anything is."""
    if change not in HARMLESS:
        return f"SENT {received}" if received else None
    if len(received) > 1 or any(one != target.approved for one in received):
        return f"SENT OTHERWISE {received}"
    if change is nothing and target.approved is not None and not received:
        return "NOT SENT"
    return None


async def test_no_change_after_approval_lets_anything_be_sent_that_was_not_approved_as_it_is(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = range(COUNT) if ONLY is None else [int(ONLY)]
    began = time.monotonic()
    score = await play(office, SEED, rounds, is_over=lambda so_far: len(so_far.faults) >= 20)

    if "SEIKYU_MUTATIONS" in os.environ:
        took = time.monotonic() - began
        with capsys.disabled():
            sys.stdout.write(report(score, int(took * 1000)))
    assert score.faults == []
    assert score.stopped + score.harmless.total() == len(rounds)


def report(score: Score, took_ms: int) -> str:
    tried = score.stopped + score.harmless.total() + len(score.faults)
    each = "".join(f"\n  {count:6,} {name}" for name, count in sorted(score.by_change.items()))
    return (
        f"\n{tried:,} changes in {took_ms // 1000} s ({tried * 1000 // max(1, took_ms)} a second):{each}"
        f"\n{score.stopped:,} stopped, {score.harmless.total():,} that cannot matter {dict(score.harmless)}, "
        f"{len(score.faults)} executed\n"
    )


# gates with a hole


class Anything:
    """Equal to whatever it is compared with."""

    def __eq__(self, _other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class OldPolicy(PolicyBook):
    """Never reads the file again."""

    def current(self) -> Policy:
        return parse_policy(POLICY, "policy.toml")


def anybody(_tx: object, action: Action, _people: object, _papers: object) -> list[Right]:
    return [Right(f"voter-{number}") for number in range(action.approvers)]


def saying(value: object) -> Callable[..., object]:
    def said(*_: object) -> object:
        return value

    return said


LOG: tuple[tuple[object, str, object], ...] = (
    (audit, "doubt", saying(None)),
    (audit, "row_in_doubt", saying(None)),
)
HOLES: dict[str, tuple[tuple[object, str, object], ...]] = {
    "rows are not held against the log": LOG,
    "seals and digest are not checked": (
        *LOG,
        (claims, "approvals", anybody),
        (claims, "check_digest", saying(None)),
    ),
    "approvers are not counted": (*LOG, (claims, "lacking", saying(Lack((), 0, 0)))),
    "operators are not held against their chain": ((claims, "believed", saying({})), (claims, "approvals", anybody)),
    "the kill switch is not looked at": ((freezing, "standing", saying(None)),),
    "an approval never ends": ((Action, "is_over", saying(False)),),  # noqa: FBT003
    "the connection is not compared": ((claims, "_identity", saying(Anything())),),
    "the policy is not read again": ((PolicyBook, "current", OldPolicy.current),),
    "the facts do not count": ((claims, "_asked_anew", saying([])),),
}


@pytest.mark.parametrize("hole", HOLES)
async def test_a_gate_with_a_hole_is_found_out(office: Office, monkeypatch: pytest.MonkeyPatch, hole: str) -> None:
    for place, name, instead in HOLES[hole]:
        monkeypatch.setattr(place, name, instead)

    score = await play(office, 1, range(600), is_over=lambda so_far: bool(so_far.faults))

    assert any("SENT" in fault for fault in score.faults)
