"""What people, agents and accidents do in a town, each at any moment and beside all the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from seikyu.gate import freezing
from seikyu.gate.actions import Action, State
from seikyu.gate.operators import Key
from seikyu.gate.votes import Ballot, Decision
from seikyu.spec import Principal
from simulation.house import proposal
from simulation.oracle import Asked
from simulation.providers import CONNECTIONS, Fields
from simulation.rules import CLOSED, DAILY, EVERY, LOOSE, STRICT

if TYPE_CHECKING:
    from simulation.town import Town

Act: TypeAlias = Callable[["Town"], Awaitable[None]]

REQUESTERS: Final = ("suzuki", "suzuki", "mori")
"""The last is an operator too, who must not vote on their own."""

AMOUNTS: Final = (8_000, 20_000, 40_000, 50_000, 55_000, 70_000, 90_000, 90_000, 700_000, 1_500_000, 6_000_000)
JUMPS_S: Final = (-3600, -60, 45, 70, 100, 3600, 7200, 26 * 3600, 75 * 3600)


def draw(town: Town) -> tuple[str, Act]:
    """What happens next."""
    possible = [row for row in CAST if row.trouble is None or row.trouble in town.having]
    [row] = town.random.choices(possible, [row.weight for row in possible])
    return row.name, row.act


# agents


async def propose(town: Town) -> None:
    """A new call, or one that was made before, word for word."""
    random, office = town.random, town.office()
    calls = list(town.oracle.asked.values())
    if calls and random.randrange(4) == 0:
        again = random.choice(calls)
        requester, connection, fields = again.requester, again.connection, again.fields
    else:
        requester, connection = random.choice(REQUESTERS), random.choice(list(CONNECTIONS))
        fields = _new_fields(town)
    serial = len(calls) + 1
    asked = Asked(f"act-{serial:020}", requester, connection, CONNECTIONS[connection][1], fields, town.clock.now())
    town.oracle.proposes(asked)

    def ask() -> Action:
        asked.at = town.clock.now()
        return office.desk.propose(proposal(asked))

    action = await office.store.run(ask)
    if action.state is State.APPROVED:
        await office.executor.execute(action.id)


def _new_fields(town: Town) -> Fields:
    random, serial = town.random, len(town.oracle.asked) + 1
    number = random.randrange(1, serial) if serial > 1 and random.randrange(10) == 0 else serial
    customer = f"C-{random.randrange(3)}" if random.randrange(3) == 0 else f"C-{serial}0"
    return {"number": f"N-{number}", "amount": random.choice(AMOUNTS), "customer": customer, "memo": f"memo {serial}"}


async def withdraw(town: Town) -> None:
    asked = _any(town, "awaiting_approval", "approved", "approved", "unknown", "executing")
    if asked is not None:
        office, requester = town.office(), Principal(asked.requester, "test")
        after = await office.store.run(lambda: office.desk.withdraw(asked.action_id, requester))
        town.oracle.is_told(asked.action_id, after.state.value)


# operators


async def decide(town: Town, decision: Decision, states: tuple[str, ...]) -> None:
    """Look at it, think, and decide about what was shown."""
    asked = _any(town, *states)
    if asked is None:
        return
    office, key = town.office(), town.random.choice(town.house.keys)
    shown = await office.store.run(lambda: office.find(asked.action_id))
    seen = asked.round
    await asyncio.sleep(town.random.choice((0, 0, 5, 60, 200)))
    ballot = Ballot(asked.action_id, shown.digest, decision, "because", revision=shown.revision)

    def cast() -> Action:
        if decision == "approve":
            town.oracle.approves(asked.action_id, key.name, shown.request, seen=seen)
        return office.ballots.cast(ballot, key)

    after = await office.store.run(cast)
    town.oracle.is_told(asked.action_id, after.state.value)
    if after.state is State.APPROVED and town.random.randrange(2):
        await office.executor.execute(after.id)


async def resolve(town: Town, asked: Asked | None = None, key: Key | None = None) -> None:
    """A person looks into the provider's own screen, once nothing can be under way any more."""
    asked = asked or _any(town, "manual_review")
    if asked is None or asked.in_flight:
        return
    office = town.office()
    key = key or town.random.choice(town.house.keys)
    shown = await office.store.run(lambda: office.find(asked.action_id))
    entries = town.providers[asked.connection].entries
    mine = [entry.reference for entry in entries if entry.action_id == asked.action_id]
    ballot = Ballot(asked.action_id, shown.digest, "resolve", "looked", revision=shown.revision)
    reference = mine[0] if mine else None
    await office.store.run(lambda: office.ballots.resolve(ballot, key, reference=reference))


async def freeze(town: Town) -> None:
    office = town.office()
    await office.store.run(
        lambda: freezing.freeze(office.store, town.clock, os_user="root", operator=None, reason="stop")
    )
    town.oracle.is_frozen = True


async def thaw(town: Town) -> None:
    office, key = town.office(), town.house.keys[0]
    there = await office.store.run(lambda: freezing.current(office.store))
    if there is not None:
        town.oracle.is_frozen = False
        await office.store.run(lambda: freezing.lift(office.store, town.clock, there, key=key, os_user="root"))


async def change_policy(town: Town) -> None:
    town.enact(town.random.choice((*EVERY, STRICT, DAILY, LOOSE, CLOSED, None)))


async def tighten(town: Town) -> None:
    """Stricter rules just before something approved is sent."""
    asked = _any(town, "approved")
    if asked is not None:
        town.enact(STRICT)
        await town.office().executor.execute(asked.action_id)


# processes and providers


async def sweep(town: Town) -> None:
    await town.office().executor.sweep()


async def execute(town: Town) -> None:
    asked = _any(town, "approved", "approved", "unknown", "awaiting_approval")
    if asked is not None:
        await town.office().executor.execute(asked.action_id)


async def die(town: Town) -> None:
    town.office().die()


async def jump(town: Town) -> None:
    town.wall.jump(town.random.choice(JUMPS_S))


async def book_by_hand(town: Town) -> None:
    """Somebody enters it in the provider's own screen; or something else under the same number."""
    asked = _any(town, "awaiting_approval", "approved", "unknown")
    if asked is not None and town.providers[asked.connection].is_unique and not asked.left:
        provider = town.providers[asked.connection]
        if not provider.under(asked.fields["number"]):
            other = {"amount": asked.amount + 1} if town.random.randrange(2) else {}
            provider.book(asked.fields | other, None)


def _any(town: Town, *states: str) -> Asked | None:
    """Something in one of these states; now and then just anything."""
    everything = [asked for asked in town.oracle.asked.values() if asked.state]
    fitting = [asked for asked in everything if asked.state in states]
    chosen = fitting if fitting and town.random.randrange(10) else everything
    return town.random.choice(chosen) if chosen else None


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of act: how often, and which trouble a town must have for it."""

    name: str
    act: Act
    weight: int
    trouble: str | None = None


_OPEN: Final = ("awaiting_approval",)

CAST: Final = (
    Row("propose", propose, 30),
    Row("approve", partial(decide, decision="approve", states=_OPEN), 24),
    Row("reject", partial(decide, decision="reject", states=_OPEN), 1),
    Row("return", partial(decide, decision="return", states=_OPEN), 1),
    Row("revoke", partial(decide, decision="revoke", states=("approved",)), 3),
    Row("withdraw", withdraw, 3),
    Row("resolve", resolve, 3),
    Row("sweep", sweep, 24),
    Row("execute", execute, 5),
    Row("policy", change_policy, 8, "policy"),
    Row("tighten", tighten, 8, "policy"),
    Row("freeze", freeze, 4, "freeze"),
    Row("thaw", thaw, 5, "freeze"),
    Row("die", die, 4, "deaths"),
    Row("jump", jump, 6, "jumps"),
    Row("book by hand", book_by_hand, 3, "by hand"),
)
