"""The twins as a whole: one server with Money Forward Kessai, invox, Misoca, freee and a control surface on it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from seikyu.sandbox import control
from seikyu.sandbox.clock import Clock, TwinClock
from seikyu.sandbox.delivery import Line, deliver
from seikyu.sandbox.effects import Effect, EffectLog
from seikyu.sandbox.faults import FaultBook
from seikyu.sandbox.freee import FreeeTwin
from seikyu.sandbox.invox import InvoxTwin
from seikyu.sandbox.mfkessai import MfkessaiTwin
from seikyu.sandbox.misoca import MisocaTwin
from seikyu.sandbox.server import listening
from seikyu.sandbox.switchboard import Switchboard
from seikyu.sandbox.wire import Call, json_answer

_CONTROL_BODY_BYTES = 1_000_000


@dataclass(slots=True)
class Twins:
    """The running twins. `origin` is "http://127.0.0.1:PORT"; each provider has its own `base_url`."""

    clock: Clock
    mfkessai: MfkessaiTwin
    invox: InvoxTwin
    misoca: MisocaTwin
    freee: FreeeTwin
    switchboard: Switchboard
    log: EffectLog
    origin: str = ""

    @property
    def effects(self) -> list[Effect]:
        """Return every change that happened, oldest first, late ones included once they are due."""
        self.switchboard.let_due_effects_happen()
        return self.log.of()

    @property
    def faults(self) -> FaultBook:
        return self.switchboard.faults

    @property
    def requests(self) -> dict[str, int]:
        """Return how often each operation was called: "POST /mfkessai/v2/transactions" and so on."""
        return dict(self.switchboard.requests)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.switchboard.let_due_effects_happen()

    def settle(self) -> None:
        """Let every late effect happen now."""
        self.switchboard.let_due_effects_happen(all_of_them=True)

    def reset(self) -> None:
        """Go back to the seed: data, tokens, counts, effects and faults. The clock keeps its time."""
        self.switchboard.forget()
        self.mfkessai.reset()
        self.invox.reset()
        self.misoca.reset()
        self.freee.reset()
        self.log.entries.clear()

    async def respond(self, call: Call, line: Line) -> None:
        """Serve one request of any kind, dated by the twins' own clock."""
        line = replace(line, now=self.clock.now)
        twin = self.switchboard.twin_for(call.path)
        if twin is not None:
            await self.switchboard.answer(twin, call, line)
        elif call.path.startswith(control.PREFIX):
            await deliver(line, control.control(self, call))
        else:
            await deliver(line, json_answer(404, {"error": "no twin lives here"}))

    def body_limit_bytes(self, path: str) -> int:
        twin = self.switchboard.twin_for(path)
        return twin.body_limit_bytes if twin else _CONTROL_BODY_BYTES


@contextlib.asynccontextmanager
async def running_twins(port: int = 0, clock: Clock | None = None) -> AsyncGenerator[Twins]:
    """Run the twins on 127.0.0.1 in this event loop; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    twins = _build(clock or TwinClock())
    async with listening(twins.respond, limit_for=twins.body_limit_bytes, port=port) as taken:
        twins.origin = f"http://127.0.0.1:{taken}"
        for twin in (twins.mfkessai, twins.invox, twins.misoca, twins.freee):
            twin.base_url = f"{twins.origin}{twin.prefix}"
        yield twins


async def keep_twins(port: int, *, ready: Callable[[Twins], None] | None = None) -> None:
    """Run the twins until cancelled; `ready` hears when they listen."""
    async with running_twins(port) as twins:
        if ready is not None:
            ready(twins)
        await asyncio.get_running_loop().create_future()


def serve_twins(port: int, *, ready: Callable[[Twins], None] | None = None) -> None:
    """Run the twins in the foreground, and return when interrupted. Prints nothing.

    Raises:
        OSError: the port is taken.
    """
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(keep_twins(port, ready=ready))


def _build(clock: Clock) -> Twins:
    log = EffectLog(clock)
    mfkessai, invox = MfkessaiTwin(clock, log), InvoxTwin(clock, log)
    misoca, freee = MisocaTwin(clock), FreeeTwin(clock)
    switchboard = Switchboard(clock, (mfkessai, invox, misoca, freee))
    return Twins(clock, mfkessai, invox, misoca, freee, switchboard, log)
