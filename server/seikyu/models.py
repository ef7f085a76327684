"""Values every room shares: yen, exact decimals, Japan's dates, and text from outside made safe to show."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import groupby
from typing import Annotated, Final, Literal, Protocol, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

JST: Final = timezone(timedelta(hours=9), "JST")
"""Japan has had no daylight saving time since 1951; a fixed offset is exact."""

MAX_YEN: Final = 2_147_483_647
"""Largest amount of a transaction and of a billing, in yen. Source: MFK API v2 reference, read 2026-11-21."""

_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


ProviderName: TypeAlias = Literal["mfkessai", "invox", "misoca", "freee"]
Environment: TypeAlias = Literal["production", "sandbox"]


@dataclass(frozen=True, slots=True)
class Connection:
    """One account at one provider in one environment; its secrets are in the vault."""

    name: str
    provider: ProviderName
    environment: Environment
    company: str
    """The provider's company id, or the name the operator gave; part of every action's digest."""
    base_url: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Provider modes, such as MFK's `invoice_mode`; see `config/connections.toml`."""


class Clock(Protocol):
    """Tells the time; tests bring their own."""

    def now(self) -> datetime:
        """The present moment: aware, UTC."""
        ...


def _wall() -> datetime:
    return datetime.now(UTC)


class SystemClock:
    """The machine's clock, but for this process time never goes back.

    After a step back it counts on by the time that really passes, so that no approval and no lease lives longer; a step
    forward (or waking up) is believed. `elapsed` is in seconds, from any beginning.
    """

    def __init__(self, wall: Callable[[], datetime] = _wall, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._last = wall(), elapsed()

    def now(self) -> datetime:
        then, counted = self._last
        elapsed = self._elapsed()
        now = max(self._wall(), then + timedelta(seconds=elapsed - counted))
        self._last = now, elapsed
        return now


def jst_date(moment: datetime) -> date:
    """The calendar day in Japan at `moment` (aware)."""
    return moment.astimezone(JST).date()


def timestamp(moment: datetime) -> str:
    """`moment` as text of fixed width in UTC, so that text order is time order."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d\.\d{6}Z", re.ASCII)


def moment(text: str) -> datetime:
    """The inverse of `timestamp`. Raises `ValueError` for any other text."""
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("no timestamp")
    return datetime.fromisoformat(text)


MISFIT: Final = "misfit"
"""The type of a validator's fault that is told in both languages."""


def misfit(ja: str, en: str) -> PydanticCustomError:
    """A fault of our own, for a validator to raise; a ValueError."""
    return PydanticCustomError(MISFIT, "{en}", {"ja": ja, "en": en})


def exact_decimal(value: object, *, digits: int = 10, places: int = 4) -> object:
    """A number of at most so many digits before and behind the point, from an integer or from text; no float.

    Raises ValueError.
    """
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise misfit(
            '整数か "1980.50" のような文字列で書いてください（浮動小数点数は受け付けません）',
            'must be an integer or decimal text such as "1980.50", never a floating-point number',
        )
    text = str(value)
    if not re.fullmatch(rf"-?[0-9]{{1,{digits}}}(\.[0-9]{{1,{places}}})?", text, re.ASCII):
        raise misfit(
            f'整数部{digits}桁・小数{places}桁までの "1980.50" のような数で書いてください',
            f'must be plain decimal text with at most {digits} digits and {places} decimals, such as "1980.50"',
        )
    return Decimal(text)


def _iso_date(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _ISO_DATE.fullmatch(value):
        raise misfit("YYYY-MM-DD の形の日付で書いてください", "must be a date written YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise misfit(f"{value} という日付は暦にありません", f"{value} is not a day of the calendar") from None


Yen = Annotated[int, Field(strict=True, ge=1, le=MAX_YEN)]
"""Whole yen, positive. JSON integers only: no text, no `true`, no 1e5."""

SignedYen = Annotated[int, Field(strict=True, ge=-MAX_YEN, le=MAX_YEN)]
"""Whole yen that may be a discount."""

ExactDecimal = Annotated[
    Decimal,
    BeforeValidator(exact_decimal),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["integer", "string"]}),
]
"""An exact decimal, at most 4 places, from an integer or from text; a float is refused."""

IsoDate = Annotated[
    date,
    BeforeValidator(_iso_date),
    PlainSerializer(date.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "format": "date"}),
]
"""A day in Japan, written YYYY-MM-DD."""

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_SELECTORS: Final = frozenset((*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
_BLANK_LETTERS: Final = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0})
_BLANKS: Final = "\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_MARKS: Final = (
    "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u0610-\u061a\u064b-\u065f\u0e34-\u0e3a\u0e47-\u0e4e"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f"
)
_PILES: Final = re.compile(f"[{_BLANKS}]{{4,}}|[{_MARKS}]{{4,}}")
"""No name needs as many: three blanks part its words, and three marks are more than any letter of ours carries."""


def is_unseen(char: str) -> bool:
    """Whether a character of a name shows nothing by itself, so that two names may differ by it and look the same.

    A private-use character is not such: it is how a rare 漢字 of a company's own is written.
    """
    code = ord(char)
    return code in _SELECTORS or code in _BLANK_LETTERS or unicodedata.category(char) in {"Cc", "Cf"}


def shown(text: str, limit: int = 250) -> str:
    """Text from outside, safe to print: control, bidi and invisible characters become `⟨U+XXXX⟩`, length is capped.

    Variation selectors, tag characters and blank letters are escaped too, and what is piled up: blanks that push the
    rest out of sight, marks drawn over the neighbours. `limit` counts code points of the original.
    """
    capped = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(_visible(char) for char in _PILES.sub(_counted, capped))


def _counted(pile: re.Match[str]) -> str:
    """Each of its characters once, with how often it stands there."""
    runs = ((char, sum(1 for _ in run)) for char, run in groupby(pile[0]))
    return "".join(f"⟨U+{ord(char):04X}×{times}⟩" for char, times in runs)


def is_hidden(char: str) -> bool:
    """Whether a character is shown as `⟨U+XXXX⟩`."""
    return ord(char) in _SELECTORS or ord(char) in _BLANK_LETTERS or unicodedata.category(char) in _INVISIBLE


def _visible(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩" if is_hidden(char) else char


def yen_text(amount: int) -> str:
    """`1234567` as `1,234,567円`."""
    return f"{amount:,}円"
