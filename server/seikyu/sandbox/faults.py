"""Faults to order: what goes wrong, at which operation, how often, before or after the effect."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter


class FaultKind(StrEnum):
    """What goes wrong. `seconds`, `status` and `retry_after` of a Fault matter only where they are named."""

    SLOW = "slow"
    """Waits `seconds` of real time before the answer."""
    SLOW_BODY = "slow_body"
    """Sends the body one byte every `seconds` of real time."""
    HOLD = "hold"
    """Waits until released: orders concurrent requests without a clock."""
    CUT_BEFORE_EFFECT = "cut_before_effect"
    """Reads the request and closes the connection; nothing happens."""
    CUT_AFTER_EFFECT = "cut_after_effect"
    """Lets the effect happen and closes the connection without an answer."""
    LATE_EFFECT = "late_effect"
    """Closes the connection; the effect happens `seconds` of twin clock later, or when settled."""
    STATUS = "status"
    """Answers `status` (503 when not given), with Retry-After when `retry_after` is given."""
    TRUNCATED = "truncated"
    """Promises more bytes than it sends, then closes."""
    WRONG_JSON = "wrong_json"
    """Answers 200 with JSON of another shape."""
    BROKEN_JSON = "broken_json"
    """Answers 200 with something that does not parse, under the JSON content type."""
    HTML_200 = "html_200"
    """Answers 200 with a maintenance page."""
    REDIRECT = "redirect"
    """Answers `status` (302 when not given) to the same path under another host name."""
    GZIP_BOMB = "gzip_bomb"
    """Answers a small gzip body that grows to 128 MiB."""
    HUGE_BODY = "huge_body"
    """Sends chunks until the client hangs up."""
    MISMATCH = "mismatch"
    """Answers with another amount, or another id where there is no amount."""
    DROP_ID = "drop_id"
    """Answers without the id."""
    REFUSE_TOKEN = "refuse_token"  # noqa: S105 - a word for a fault
    """Answers 400 invalid_grant, as a token endpoint would."""
    TOKEN_HTML = "token_html"  # noqa: S105 - a word for a fault
    """Answers 200 with a log-in page."""


# these answers are made from the real one, so the effect always happens first
ALWAYS_AFTER: Final = frozenset(
    {
        FaultKind.SLOW_BODY,
        FaultKind.CUT_AFTER_EFFECT,
        FaultKind.TRUNCATED,
        FaultKind.MISMATCH,
        FaultKind.DROP_ID,
    },
)
NEVER_AFTER: Final = frozenset({FaultKind.CUT_BEFORE_EFFECT, FaultKind.LATE_EFFECT})

_A_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Fault:
    """One order. `operation` may hold wildcards: "mfkessai.*", "*".

    `after_effect` is honoured where both make sense; the kinds of ALWAYS_AFTER and NEVER_AFTER decide
    for themselves. For SLOW and HOLD it says on which side of the wait the effect happens.

    Raises:
        ValueError: a number is out of range.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    operation: str
    kind: FaultKind
    after_effect: bool = False
    times: int = 1
    seconds: Decimal | int = 0
    status: int | None = None
    retry_after: int | None = None

    def __post_init__(self) -> None:
        if self.times < 1 or not 0 <= self.seconds <= _A_DAY_S:
            raise ValueError(f"times must be at least 1, seconds from 0 to {_A_DAY_S}")
        if self.status is not None and not 200 <= self.status <= 599:  # noqa: PLR2004 - final statuses
            raise ValueError(f"status {self.status} is not a final HTTP status")

    @property
    def happens_after_effect(self) -> bool:
        return self.kind in ALWAYS_AFTER or (self.after_effect and self.kind not in NEVER_AFTER)


@dataclass(slots=True)
class _Order:
    fault: Fault
    left: int


@dataclass(slots=True)
class FaultBook:
    """Orders are served first come, first served, among those that match the operation."""

    orders: deque[_Order] = field(default_factory=deque[_Order])
    held: list[str] = field(default_factory=list[str])
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _arrivals: asyncio.Condition = field(default_factory=asyncio.Condition)

    def add(self, fault: Fault) -> None:
        self.orders.append(_Order(fault, fault.times))

    def clear(self) -> None:
        self.orders.clear()
        self.release()

    @property
    def pending(self) -> list[tuple[Fault, int]]:
        """Return what is still to come, each with how often."""
        return [(order.fault, order.left) for order in self.orders]

    def take(self, operation: str) -> Fault | None:
        for order in self.orders:
            if fnmatchcase(operation, order.fault.operation):
                order.left -= 1
                if order.left == 0:
                    self.orders.remove(order)
                return order.fault
        return None

    async def hold(self, operation: str) -> None:
        """Wait, visibly in `held`, for the next release."""
        gate = self._released
        async with self._arrivals:
            self.held.append(operation)
            self._arrivals.notify_all()
        await gate.wait()

    async def wait_until_held(self, count: int = 1) -> None:
        """Return once `count` requests stand still under HOLD."""
        async with self._arrivals:
            await self._arrivals.wait_for(lambda: len(self.held) >= count)

    def release(self) -> None:
        """Let every held request go on."""
        self._released.set()
        self._released = asyncio.Event()
        self.held.clear()


def read_fault(body: bytes) -> Fault:
    """Read an order that came as JSON; `seconds` may be text.

    Raises:
        ValueError: it names an unknown field or kind, or a value of the wrong type.
    """
    return TypeAdapter(Fault).validate_json(body, strict=True)
