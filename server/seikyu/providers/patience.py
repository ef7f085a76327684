"""How long to wait before a read is tried again."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_CREDIBLE_S: Final = 3600
"""A `Retry-After` beyond an hour is taken for a mistake and ignored."""

_FIRST_BACKOFF_MS: Final = 250
_SECONDS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds a `Retry-After` asks for: a count or a date. None when absent, negative, absurd or unreadable.

    Source: RFC 9110, 10.2.3.
    """
    if value is None:
        return None
    text = value.strip()
    wait_s = float(text) if _SECONDS.fullmatch(text) else _until(text, now)
    if wait_s is None or not 0 <= wait_s <= LONGEST_CREDIBLE_S:
        return None
    return wait_s


def backoff_s(tries: int) -> float:
    """Seconds to wait after `tries` failures: doubling, jittered so that callers do not march in step."""
    return (secrets.randbelow(_FIRST_BACKOFF_MS * 2**tries) + 1) / 1000


def _until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - now).total_seconds()
