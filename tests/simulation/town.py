"""One seed's world: some days of an office, in which everything goes wrong in an order that the seed chose."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from seikyu.errors import SeikyuError
from seikyu.gate import audit
from seikyu.gate.actions import Action
from seikyu.spec import OutcomeClass
from seikyu.store.database import Store
from simulation import acts
from simulation.house import Blow, Diary, Died, House, Office, Rooms, Surroundings
from simulation.oracle import Oracle
from simulation.providers import CLAIMED, CONNECTIONS, Provider
from simulation.rules import DAILY, STRICT, USUAL, Rules
from simulation.scheduler import MICRO, Deadlock, VirtualLoop, WallClock

OFFICES: Final = 2
TROUBLES: Final = (  # the last two are its usual policy
    "store",
    "deaths",
    "jumps",
    "stalls",
    "policy",
    "freeze",
    "lag",
    "by hand",
    "late",
    "provider",
    "lent",
    "daily",
    "strict",
)
"""Each seed draws which of these it has: few at a time find more than all at once."""

PAUSE_PERCENT: Final = 3
CLAIMED_PAUSE_PERCENT: Final = 20
"""The same between a claim and its first byte, and between the answer and its record."""

PAUSES_S: Final = (20, 95, 170, 400)
"""A process that is stopped before its next transaction: shorter and longer than a lease."""

QUIET_ROUNDS_S: Final = (1, 5, 70, 100, 320, 700, 3700, 3700, 25 * 3600, 75 * 3600)
"""How time goes on once nothing fails any more: past every wait of the gate, then past every expiry."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a seed came to."""

    seed: int
    faults: tuple[str, ...]
    log: tuple[str, ...]
    turns: int
    virtual_s: int
    states: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the whole event log."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()


@dataclass
class Town(Surroundings):
    """Everything a seed decides."""

    seed: int
    house: House
    folder: Path
    rooms: Rooms = field(default_factory=Rooms)
    steps: int = 30
    troubles: frozenset[str] | None = None
    """Which of `TROUBLES` it has; the seed draws them unless they are given."""
    log: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.random = Random(f"seikyu {self.seed}")  # noqa: S311 - to be repeatable is the point
        drawn = frozenset(name for name in TROUBLES if self.random.randrange(5) < 3)
        self.having = drawn if self.troubles is None else self.troubles
        self.loop = VirtualLoop(self.random, may_stall="stalls" in self.having)
        self.loop.set_exception_handler(lambda _loop, _said: None)
        self.wall = WallClock(self.loop)
        self.clock = self.wall
        self.oracle = Oracle(self.wall)
        self.path = self.house.copy(self.folder / f"{self.seed}.db")
        self.store = Store(self.path)
        self.usual = DAILY if "daily" in self.having else STRICT if "strict" in self.having else USUAL
        self.shelf = self.rooms.shelf(self.usual)
        self.oracle.rules = self.usual
        self.living: set[str] = set()
        self.diary = Diary()
        self.oracle.journal = self.diary.lines
        self.providers = {name: self._provider(name) for name in CONNECTIONS}
        self.oracle.providers = self.providers
        self.is_closing = False
        self._born = 0
        self.offices = [self._open() for _ in range(OFFICES)]
        self._tasks: set[asyncio.Task[None]] = set()

    def _provider(self, name: str) -> Provider:
        is_unique = CONNECTIONS[name][1].outcome_class is OutcomeClass.A
        made = Provider(name, is_unique, self.loop, self.random, watcher=self.oracle)
        made.is_troubled = "provider" in self.having
        made.is_late = "late" in self.having
        made.lag_s = self.random.choice((0, 1, 10, 90)) if "lag" in self.having else 0
        return made

    def _open(self) -> Office:
        self._born += 1
        return Office(f"office-{self._born}", self)

    # what its processes ask of it

    async def turn(self) -> None:
        percent = CLAIMED_PAUSE_PERCENT if CLAIMED.get(None) else PAUSE_PERCENT
        if "stalls" in self.having and not self.is_closing and self.random.randrange(100) < percent:
            await asyncio.sleep(self.random.choice(PAUSES_S))
        await self.loop.turn()

    def blow(self, office: Office) -> Blow | None:
        if self.is_closing:
            return None
        chance = self.random.randrange(100)
        if "store" in self.having and chance < 6:
            return ("busy", "full", "ambiguous")[chance % 3]
        if "deaths" in self.having and chance >= 94:
            blow: Blow = "dies before" if chance < 97 else "dies after"
            self.note(office.name, blow)
            return blow
        return None

    def stored(self, office: Office) -> None:
        with self.store.read() as tx:
            before = {asked.action_id: asked.state for asked in self.oracle.asked.values()}
            self.oracle.sees(tx.all("actions_after", after="", limit=1000))
        for asked in self.oracle.asked.values():
            if before[asked.action_id] != asked.state:
                self.note(office.name, asked.action_id, asked.state)

    def stepped(self, step: str, action: Action) -> None:
        self.note("executor", step, action.id)
        if step == "claimed":
            self.oracle.claimed(action.id, action.request)

    def note(self, *words: str) -> None:
        self.log.append(f"{self.loop.elapsed_us / MICRO:.6f} {' '.join(words)}")

    # the run

    def play(self) -> Ending:
        try:
            self.loop.play(self._live())
        except Deadlock:
            self.oracle.faults.append("everybody waits for somebody else")
        finally:
            self.store.close()
            for left in self.folder.glob(f"{self.path.name}*"):
                left.unlink()
        states = tuple(asked.state for asked in self.oracle.asked.values())
        virtual_s = self.wall.longest_s
        return Ending(self.seed, tuple(self.oracle.faults), tuple(self.log), self.loop.turns, virtual_s, states)

    async def _live(self) -> None:
        for _ in range(self.steps):
            self.act(*acts.draw(self))
            await self._pause()
        await self._calm()
        self._judge()

    def act(self, name: str, work: acts.Act) -> None:
        """Somebody begins to do something; it goes on beside everything else."""
        self.note("act", name)
        task = self.loop.create_task(self.attempt(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def attempt(self, work: acts.Act) -> None:
        """Do it; what the gate refuses and what a death ends is part of life, any other fault is not."""
        try:
            await work(self)
        except SeikyuError as error:
            self.note("refused", type(error).__name__)
        except (Died, BaseExceptionGroup) as dead:
            if isinstance(dead, BaseExceptionGroup) and dead.split(Died)[1] is not None:
                raise
            self.note("died in the middle of it")
        except Exception as error:  # noqa: BLE001 - whatever else the gate raises is a fault of its own
            self.oracle.faults.append(f"the gate broke: {error!r}")

    async def _pause(self) -> None:
        choice = self.random.randrange(10)
        if choice < 3:
            await self.turn()
        else:
            await asyncio.sleep(self.random.choice((0, 1, 3, 10, 40)) if choice < 9 else 400)

    async def _calm(self) -> None:
        """Nothing fails any more, everybody comes to work, time goes on."""
        self.note("calm")
        self.is_closing, self.loop.may_stall = True, False
        for provider in self.providers.values():
            provider.is_troubled, provider.lag_s, provider.is_late = False, 0, False
        self.enact(self.usual)
        for office in [one for one in self.offices if not one.is_alive]:
            self.replace(office)
        await self.attempt(acts.thaw)
        for wait_s in QUIET_ROUNDS_S:
            await asyncio.sleep(wait_s)
            await self.attempt(acts.sweep)
            for key in self.house.keys:
                for asked in [one for one in self.oracle.asked.values() if one.state == "manual_review"]:
                    await self.attempt(partial(acts.resolve, asked=asked, key=key))

    def _judge(self) -> None:
        with self.store.read() as tx:
            histories = {name: audit.history(tx, name) for name in self.oracle.asked}
        self.oracle.ends(histories, audit.verify(self.store).fault)

    # what people change

    def office(self) -> Office:
        """Any process that lives; a new one where one died."""
        chosen = self.random.choice(self.offices)
        return chosen if chosen.is_alive else self.replace(chosen)

    def replace(self, dead: Office) -> Office:
        self.offices[self.offices.index(dead)] = born = self._open()
        return born

    def enact(self, rules: Rules | None) -> None:
        self.shelf.rules = self.oracle.rules = rules
