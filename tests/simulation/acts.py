"""What people, agents and accidents do in a town, each at any moment and beside all the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from seikyu.gate import freezing, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.operators import Key
from seikyu.gate.revisions import Draft
from seikyu.gate.votes import Ballot, Decision
from seikyu.models import jst_date
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
_OPEN: Final = ("awaiting_approval",)
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
        requester, connection, fields = again.requester, again.connection, random.choice((again.fields, again.call))
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
    office, (key, acting_for) = town.office(), _voter(town, decision)

    def look() -> tuple[Action, int]:
        action = office.find(asked.action_id)
        town.oracle.is_shown(action.id, action.request)
        return action, asked.round

    shown, seen = await office.store.run(look)
    await asyncio.sleep(town.random.choice((0, 0, 5, 60, 200)))
    ballot = Ballot(shown.id, shown.digest, decision, "because", acting_for=acting_for, revision=shown.revision)

    def cast() -> Action:
        if decision == "approve":
            town.oracle.approves(shown.id, key.name, seen=seen, acting_for=acting_for)
        return office.ballots.cast(ballot, key)

    after = await office.store.run(cast)
    if acting_for is not None:
        town.note(shown.id, "approved for", acting_for)
    town.oracle.is_told(asked.action_id, after.state.value)
    if after.state is State.APPROVED and town.random.randrange(2):
        await office.executor.execute(after.id)


def _voter(town: Town, decision: Decision) -> tuple[Key, str | None]:
    """Who decides, and with whose right: mostly their own, now and then one that was lent to them, or that was not."""
    random, keys = town.random, {key.name: key for key in town.house.keys}
    own = random.choice(town.house.keys)
    if decision != "approve" or "lent" not in town.having or random.randrange(2):
        return own, None
    if town.oracle.loans and random.randrange(4):
        loan = random.choice(town.oracle.loans)
        return keys[loan.to], loan.lender
    return own, random.choice([name for name in keys if name != own.name])


async def lend(town: Town) -> None:
    office, by, to = town.office(), *town.random.sample(town.house.keys, 2)
    until = jst_date(town.clock.now()) + timedelta(days=town.random.choice((0, 0, 1, 9)))

    def give() -> None:
        town.oracle.lends(by.name, to.name, until)
        operators.lend(office.store, town.clock, to.name, until=until, ceiling=None, by=by)

    await office.store.run(give)


async def take_back(town: Town) -> None:
    """Take back what was lent, best what somebody has just approved something with; then that is to be sent."""
    keys = {key.name: key for key in town.house.keys}
    lent = [loan for loan in town.oracle.loans if not loan.is_back]
    waiting = [asked for asked in town.oracle.asked.values() if asked.state == "approved"]
    used = [(loan, asked) for loan in lent for asked in waiting if asked.is_approved_with(loan)]
    loan, asked = town.random.choice(used) if used else (town.random.choice(lent) if lent else None, None)
    if loan is None:
        return
    office = town.office()
    await office.store.run(lambda: operators.take_back(office.store, town.clock, loan.to, by=keys[loan.lender]))
    town.oracle.took_back(loan.lender, loan.to)
    if asked is not None:
        await town.office().executor.execute(asked.action_id)


async def edit(town: Town, *, is_by_operator: bool) -> None:
    """Look at it, think, and make something else of it."""
    asked = _any(town, *_OPEN)
    if asked is None:
        return
    office, key = town.office(), town.random.choice(town.house.keys) if is_by_operator else None
    shown = await office.store.run(lambda: office.find(asked.action_id))
    before: Fields = dict(shown.request.body or {})
    after = before | _correction(town, before, is_by_operator=is_by_operator)
    await asyncio.sleep(town.random.choice((0, 0, 5, 60)))
    changes = {name: (before[name], after[name]) for name in after if before[name] != after[name]}
    draft = Draft(shown, proposal(replace(asked, fields=after)), changes)

    def revise() -> None:
        town.oracle.edits(shown.id, asked.requester if key is None else key.name, after)
        office.revisions.revise(draft, key=key, reason="typo")

    await office.store.run(revise)
    town.note(shown.id, "edited")


def _correction(town: Town, before: Fields, *, is_by_operator: bool) -> Fields:
    """Mostly what the editor may change: operators only lower amounts."""
    random = town.random
    is_wild = random.randrange(6) == 0
    lower = [amount for amount in AMOUNTS if amount < before["amount"]]
    amounts = lower if is_by_operator and lower and not is_wild else AMOUNTS
    number = {"number": f"N-{random.randrange(1, len(town.oracle.asked) + 1)}"} if is_wild else {}
    customer = {"customer": f"C-{random.randrange(3)}"} if is_wild or not is_by_operator else {}
    return {"amount": random.choice(amounts), **number, **customer}


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
        await office.store.run(
            lambda: freezing.lift(office.store, town.clock, there, key=key, os_user="root", reason="")
        )


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


CAST: Final = (
    Row("propose", propose, 30),
    Row("approve", partial(decide, decision="approve", states=_OPEN), 24),
    Row("reject", partial(decide, decision="reject", states=_OPEN), 1),
    Row("return", partial(decide, decision="return", states=_OPEN), 1),
    Row("edit", partial(edit, is_by_operator=False), 6),
    Row("correct", partial(edit, is_by_operator=True), 6),
    Row("lend", lend, 8, "lent"),
    Row("take back", take_back, 4, "lent"),
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
