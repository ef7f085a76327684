"""Execution: claim, send once on a fresh connection, record what came of it. And the worker that keeps at it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeAlias

import anyio

from seikyu.errors import ConfigurationError, LoginRequired, OutcomeNotRecorded, SeikyuError, Text
from seikyu.gate import listing
from seikyu.gate.actions import Action, State, find
from seikyu.gate.claims import Claim, Claims
from seikyu.gate.reconciliation import Reconciliation
from seikyu.gate.targets import UNREADABLE, Found, Reading, Unread
from seikyu.models import Clock, timestamp
from seikyu.spec import Absent, Connection, Different, Done, Lost, NotSent, Reader, Refused, Sender, Sent
from seikyu.store.database import Store

log = logging.getLogger(__name__)


class Client(Reader, Sender, Protocol):
    """One provider account: reads, and sends what was claimed."""


ClientOf: TypeAlias = Callable[[Connection], Client]
OnStep: TypeAlias = Callable[[str, Action], None]
"""Told after each durable step: `claimed`, `answered`, `recorded`."""


def no_steps(_step: str, _action: Action) -> None:
    """Nobody is told."""


RECORD_WAITS_S: Final = (0, 1, 3, 10)
"""Before each try to store an outcome; each try itself waits up to 30 s for the database."""

FAULT_WAIT_S: Final = 60
"""Before an action that could not be worked on is looked at again."""

PER_ROUND: Final = 20
"""Actions of one account in one round."""

_IN_DOUBT: Final = frozenset({State.EXECUTING, State.UNKNOWN})

Work: TypeAlias = Callable[[Action], Awaitable[Action]]


def _account(sent: Sent) -> str:
    """What a person needs to know of an outcome that could not be stored; no secret is in it."""
    reference = sent.reference if isinstance(sent, Done | Different) else None
    return f"{type(sent).__name__} {reference or ''}".strip()


class Executor:
    """Sends approved actions. Any number of processes may run one on the same database."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        claims: Claims,
        *,
        reconciliation: Reconciliation,
        client_of: ClientOf,
        on_step: OnStep = no_steps,
        record_waits_s: Sequence[int] = RECORD_WAITS_S,
    ) -> None:
        self._store = store
        self._clock = clock
        self._claims = claims
        self._reconciliation = reconciliation
        self._client_of = client_of
        self._on_step = on_step
        self._record_waits_s = record_waits_s
        self._running: set[asyncio.Task[Action]] = set()
        self._doubtful: set[str] = set()

    async def execute(self, action_id: str, found: Found | None = None) -> Action:
        """Send an approved action, unless somebody else does, and say how it stands now.

        What it stands on is read first, unless the caller has just read it: `found`. A caller that is cancelled does
        not stop it: what was begun ends with a recorded outcome (see `drain`).

        Raises:
            OutcomeNotRecorded: it was sent, and the database took no outcome.
            ConfigurationError, NotAllowed, StoreDamaged: nothing was sent; it stays approved.
        """
        task = asyncio.create_task(self._execute(action_id, found))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Action]) -> None:
        self._running.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            # the caller may be gone: the fault is told here at least
            log.warning("an execution ended: %s", error.what.en if isinstance(error, SeikyuError) else type(error))

    async def look(self) -> None:
        """See whether the database was restored, and hold everything if so."""
        await self._store.run(self._claims.look)

    async def drain(self) -> int:
        """Wait for everything that was begun; a write ends at its own deadline.

        How many of the actions that were begun here have no known outcome yet.
        """
        while self._running:
            await asyncio.wait(tuple(self._running))
        if not self._doubtful:
            return 0
        try:
            return await self._store.run(lambda: sum(self._find(one).state in _IN_DOUBT for one in self._doubtful))
        except SeikyuError:
            return len(self._doubtful)

    async def _execute(self, action_id: str, found: Found | None) -> Action:
        claim = await self._claim(action_id, found)
        if claim is None:
            return await self._store.run(lambda: self._find(action_id))
        self._doubtful.add(action_id)
        self._on_step("claimed", claim.action)
        sent = await self._send(claim)
        self._on_step("answered", claim.action)
        action = await self._record(claim, sent)
        self._on_step("recorded", action)
        if action.state not in _IN_DOUBT:
            self._doubtful.discard(action_id)
        return action

    async def _claim(self, action_id: str, found: Found | None) -> Claim | None:
        """The claim, after what the action stands on was read with no transaction held."""
        try:
            return await self._store.run(lambda: self._claims.take(action_id, found))
        except Unread as unread:
            reading = unread.reading
        read = await self._read_target(reading)
        if isinstance(read, NotSent):
            await self._store.run(lambda: self._claims.unread(reading.action, read))
            return None
        try:
            return await self._store.run(lambda: self._claims.take(action_id, read))
        except Unread:
            return None  # it was edited and approved meanwhile: the next round reads for what it is now

    async def _read_target(self, reading: Reading) -> Found | NotSent:
        action, operation = reading.action, reading.operation
        if operation.target is None:
            return Found(action.digest, {})
        try:
            return Found(action.digest, await operation.target(self._client_of(reading.connection), action.request))
        except (LoginRequired, ConfigurationError) as error:
            return NotSent(UNREADABLE + error.what + error.next_step, needs_person=True)
        except SeikyuError as error:
            return NotSent(UNREADABLE + error.what)
        except Exception:
            log.exception("reading what %s stands on failed inside Seikyu", action.id)
            return NotSent(UNREADABLE)

    async def _record(self, claim: Claim, sent: Sent) -> Action:
        """Store what came of it; a database that is busy or full for a moment must not cost the outcome."""
        for wait_s in self._record_waits_s:
            await anyio.sleep(wait_s)
            try:
                action = await self._store.run(lambda: self._claims.finish(claim, sent))
            except SeikyuError as error:
                log.warning("the outcome of %s is not stored yet: %s", claim.action.id, error.what.en)
                continue
            if isinstance(sent, Different):
                log.critical("a person must look at %s: %s", action.id, _account(sent))
            return action
        log.critical("the outcome of %s could not be stored: %s", claim.action.id, _account(sent))
        raise OutcomeNotRecorded(
            Text(
                f"{claim.action.id} は送信しましたが、結果を保存できませんでした。",
                f"{claim.action.id} was sent, but its outcome could not be stored.",
            ),
            Text("繰り返さず、get_action で確かめてください。", "Do not repeat it; call get_action."),
            written=Text("登録された可能性があります。", "It may have been written."),
        )

    async def _send(self, claim: Claim) -> Sent:
        async def fence() -> None:
            await self._store.run(lambda: self._claims.guard(claim))

        try:
            client = self._client_of(claim.connection)
            sent = await client.send(claim.operation, claim.action.request, fence=fence)
            if isinstance(sent, Refused) and claim.operation.conflict_codes & set(sent.codes):
                return await self._compare(claim, client, sent)
            return sent
        except (LoginRequired, ConfigurationError) as error:
            return NotSent(error.what + error.next_step, needs_person=True)
        except Exception:
            # a fault of ours after bytes may have left: only the provider's data can tell
            log.exception("sending %s failed inside Seikyu", claim.action.id)
            return Lost(Text("Seikyu の内部で失敗しました。", "Seikyu itself failed while sending."))

    async def _compare(self, claim: Claim, client: Client, refused: Refused) -> Sent:
        """Something is already there under our key: it counts as done only when every field is ours."""
        if claim.operation.look_up is None:
            return refused
        try:
            finding = await claim.operation.look_up(client, claim.action.request)
        except SeikyuError:
            return Lost(refused.reason, refused.status)
        if isinstance(finding, Done):
            return finding
        if isinstance(finding, Absent):
            return Lost(refused.reason, refused.status)
        if claim.action.may_have_left:
            return finding  # it may be ours, changed since: only a person can tell
        return Refused(refused.reason + finding.reason, refused.status, refused.codes)

    def _find(self, action_id: str) -> Action:
        with self._store.read() as tx:
            return find(tx, action_id)

    async def sweep(self) -> list[Action]:
        """One round of everything that is due; the actions that moved.

        Unknown outcomes come first: nothing is sent for an account before its past was looked at once, that of a
        process that died a moment ago too. Accounts are worked on side by side, so that a slow one delays only itself.
        """
        await self._store.run(self._claims.look)
        moved = await self._store.run(self._reconciliation.abandon)
        moved += await self._by_connection(await self._store.run(self._reconciliation.due), self.look_up)
        moved += await self._store.run(self._claims.expire)
        unseen = await self._store.run(self._reconciliation.unseen)
        approved = [one for one in await self._store.run(self._approved) if one.connection not in unseen]
        moved += await self._by_connection(approved, self._execute_again)
        return moved

    async def _by_connection(self, due: list[Action], work: Work) -> list[Action]:
        moved: list[Action] = []

        async def one_by_one(mine: list[Action]) -> None:
            for action in mine:
                moved.extend(await self._try(action, work))

        async with anyio.create_task_group() as tasks:
            for name in sorted({action.connection for action in due}):  # an order that can be repeated
                tasks.start_soon(one_by_one, [action for action in due if action.connection == name][:PER_ROUND])
        return moved

    async def look_up(self, action: Action) -> Action:
        """Look an unknown action up now; one that is not unknown any more stays as it is."""
        return await self._reconciliation.resolve(action, self._client_of)

    async def _execute_again(self, action: Action) -> Action:
        return await self.execute(action.id)

    async def _try(self, action: Action, work: Work) -> list[Action]:
        """Work on one of many: whatever stops this one must not stop the others."""
        try:
            return [await work(action)]
        except SeikyuError as error:
            log.warning("%s waits: %s", action.id, error.what.en)
        except Exception:
            log.exception("%s waits: a fault inside Seikyu", action.id)
        with contextlib.suppress(SeikyuError):  # damaged meanwhile: the next round sets it aside
            await self._store.run(lambda: self._claims.postpone(action.id, seconds=FAULT_WAIT_S))
        return []

    def _approved(self) -> list[Action]:
        now = timestamp(self._clock.now())
        return listing.due(self._store, self._clock, "actions_due", state=State.APPROVED.value, now=now, limit=1000)

    async def work(self, *, poll_s: int) -> None:
        """Sweep for ever, every `poll_s` seconds. A round that fails is logged and tried again."""
        while True:
            try:
                await self.sweep()
            except SeikyuError as error:
                log.warning("a round of work stopped: %s (%s)", error.code, error.what.en)
            await anyio.sleep(poll_s)


def is_settled(action: Action) -> bool:
    """Whether nothing more will happen to the action by itself."""
    return action.state not in {State.APPROVED, State.EXECUTING, State.UNKNOWN}
