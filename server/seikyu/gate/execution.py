"""Execution: claim, send once on a fresh connection, record what came of it. And the worker that keeps at it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeAlias

import anyio

from seikyu.errors import ConfigurationError, LoginRequired, SeikyuError, Text
from seikyu.gate.actions import Action, State, actions, find
from seikyu.gate.claims import Claim, Claims
from seikyu.gate.reconciliation import Reconciliation
from seikyu.spec import Absent, Connection, Done, Lost, NotSent, Reader, Refused, Sender, Sent
from seikyu.store.database import Store

log = logging.getLogger(__name__)


class Client(Reader, Sender, Protocol):
    """One provider account: reads, and sends what was claimed."""


ClientOf: TypeAlias = Callable[[Connection], Client]
OnStep: TypeAlias = Callable[[str, Action], None]
"""Told after each durable step: `claimed`, `answered`, `recorded`."""


def no_steps(_step: str, _action: Action) -> None:
    """Nobody is told."""


class Executor:
    """Sends approved actions. Any number of processes may run one on the same database."""

    def __init__(
        self,
        store: Store,
        claims: Claims,
        reconciliation: Reconciliation,
        client_of: ClientOf,
        on_step: OnStep = no_steps,
    ) -> None:
        self._store = store
        self._claims = claims
        self._reconciliation = reconciliation
        self._client_of = client_of
        self._on_step = on_step

    async def execute(self, action_id: str) -> Action:
        """Send an approved action, unless somebody else does, and say how it stands now.

        A caller that is cancelled does not stop it: what was begun ends with a recorded outcome.
        """
        with anyio.CancelScope(shield=True):
            claim = await self._store.run(lambda: self._claims.take(action_id))
            if claim is not None:
                self._on_step("claimed", claim.action)
                sent = await self._send(claim)
                self._on_step("answered", claim.action)
                action = await self._store.run(lambda: self._claims.finish(claim, sent))
                self._on_step("recorded", action)
                return action
        return await self._store.run(lambda: self._find(action_id))

    async def _send(self, claim: Claim) -> Sent:
        async def fence() -> None:
            await self._store.run(lambda: self._claims.guard(claim))

        try:
            client = self._client_of(claim.connection)
            sent = await client.send(claim.operation, claim.action.request, fence=fence)
        except (LoginRequired, ConfigurationError) as error:
            return NotSent(error.what + error.next_step, needs_person=True)
        except Exception:
            # a fault of ours after bytes may have left: only the provider's data can tell
            log.exception("sending %s failed inside Seikyu", claim.action.id)
            return Lost(Text("Seikyu の内部で失敗しました。", "Seikyu itself failed while sending."))
        if isinstance(sent, Refused) and claim.operation.conflict_codes & set(sent.codes):
            return await self._compare(claim, client, sent)
        return sent

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
        return Refused(refused.reason + finding.reason, refused.status, refused.codes)

    def _find(self, action_id: str) -> Action:
        with self._store.read() as tx:
            return find(tx, action_id)

    async def sweep(self) -> list[Action]:
        """One round of everything that is due; the actions that moved.

        Unknown outcomes come first: nothing is sent for an account before its past is looked at.
        """
        moved = await self._store.run(self._reconciliation.abandon)
        for action in await self._store.run(self._reconciliation.due):
            moved.append(await self._reconciliation.resolve(action, self._client_of))
        moved.extend(await self._store.run(self._claims.expire))
        for action in await self._store.run(self._approved):
            moved.extend(await self._try(action))
        return moved

    async def _try(self, action: Action) -> list[Action]:
        """Execute one of many: what stops this one must not stop the others."""
        try:
            return [await self.execute(action.id)]
        except SeikyuError as error:
            log.warning("%s is not executed: %s", action.id, error.what.en)
            return []

    def _approved(self) -> list[Action]:
        with self._store.read() as tx:
            return actions(tx.all("actions_in", state=State.APPROVED.value, limit=100))

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
