"""The road of every request through the twins: match, count, let the effect happen, answer or misbehave.

A handler is one plain function call inside the event loop, so no two effects interleave.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from seikyu.sandbox.clock import Clock
from seikyu.sandbox.delivery import Line, deliver, deliver_spoiled, falsify
from seikyu.sandbox.faults import Fault, FaultBook, FaultKind
from seikyu.sandbox.wire import Answer, Call, Route


class Twin(Protocol):
    @property
    def prefix(self) -> str: ...

    @property
    def body_limit_bytes(self) -> int: ...

    @property
    def routes(self) -> Sequence[Route]: ...

    def failure(self, status: int, call: Call) -> Answer:
        """Return an error as this provider words it, for an unknown path, a wrong method or a fault."""
        ...


@dataclass(frozen=True, slots=True)
class _Late:
    due_at: datetime
    happen: Callable[[], object]


@dataclass(slots=True)
class Switchboard:
    """What both twins and the control surface share: time, faults, counts, effects still to come."""

    clock: Clock
    twins: Sequence[Twin]
    faults: FaultBook = field(default_factory=FaultBook)
    requests: Counter[str] = field(default_factory=Counter[str])
    _late: list[_Late] = field(default_factory=list[_Late])

    def twin_for(self, path: str) -> Twin | None:
        return next((twin for twin in self.twins if path.startswith(f"{twin.prefix}/")), None)

    async def answer(self, twin: Twin, call: Call, line: Line) -> None:
        """Serve one call of a provider, and spoil it when a fault was ordered."""
        self.let_due_effects_happen()
        route, ids = _find(twin.routes, call)
        if route is None:
            await deliver(line, twin.failure(405 if ids is not None else 404, call))
            return
        self.requests[f"{route.method} {route.template}"] += 1
        known = replace(call, path_ids=ids or ())
        fault = self.faults.take(route.operation)
        if fault is None:
            await deliver(line, route.handle(known))
        else:
            await self._misbehave(_Mishap(twin, route, known, fault), line)

    def let_due_effects_happen(self, *, all_of_them: bool = False) -> None:
        """Let late effects happen whose time has come on the twin clock."""
        now = self.clock.now()
        due = [late for late in self._late if all_of_them or late.due_at <= now]
        self._late = [late for late in self._late if late not in due]
        for late in due:
            late.happen()

    def forget(self) -> None:
        self.faults.clear()
        self.requests.clear()
        self._late.clear()

    async def _misbehave(self, mishap: "_Mishap", line: Line) -> None:
        fault, call, handle = mishap.fault, mishap.call, mishap.route.handle
        match fault.kind:
            case FaultKind.SLOW | FaultKind.HOLD:
                await deliver(line, await self._after_a_wait(mishap))
            case FaultKind.CUT_BEFORE_EFFECT:
                await line.cut()
            case FaultKind.CUT_AFTER_EFFECT:
                handle(call)
                await line.cut()
            case FaultKind.LATE_EFFECT:
                due_at = self.clock.now() + timedelta(seconds=float(fault.seconds))
                self._late.append(_Late(due_at, lambda: handle(call)))
                await line.cut()
            case FaultKind.STATUS:
                mishap.happen()
                await deliver(line, _failed(mishap))
            case _:
                await deliver_spoiled(line, falsify(mishap.happen(), fault, call), fault)

    async def _after_a_wait(self, mishap: "_Mishap") -> Answer:
        early = mishap.happen() if mishap.fault.after_effect else None
        if mishap.fault.kind is FaultKind.HOLD:
            await self.faults.hold(mishap.route.operation)
        else:
            await asyncio.sleep(float(mishap.fault.seconds))
        return early or mishap.route.handle(mishap.call)


@dataclass(frozen=True, slots=True)
class _Mishap:
    twin: Twin
    route: Route
    call: Call
    fault: Fault

    def happen(self) -> Answer:
        """Let the effect happen if the fault comes after it; return the true answer, else an empty one."""
        return self.route.handle(self.call) if self.fault.happens_after_effect else Answer(200)


def _failed(mishap: _Mishap) -> Answer:
    answer = mishap.twin.failure(mishap.fault.status or 503, mishap.call)
    if mishap.fault.retry_after is None:
        return answer
    return replace(answer, headers=(*answer.headers, ("retry-after", str(mishap.fault.retry_after))))


def _find(routes: Sequence[Route], call: Call) -> tuple[Route | None, tuple[str, ...] | None]:
    """Return the route and its ids; ids without a route when only the method is wrong."""
    found: tuple[str, ...] | None = None
    for route in routes:
        ids = route.path_ids(call.path)
        if ids is not None and route.method == call.method:
            return route, ids
        found = ids if found is None else found
    return None, found
