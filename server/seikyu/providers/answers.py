"""What a provider answered over HTTP, read strictly: exact numbers, real text, or no JSON at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, Literal, NoReturn, cast

_MAX_EXPONENT: Final = 400
"""A number beyond 10**400 is an attack on whoever turns it into an integer; no money needs it."""

_UNAUTHORIZED: Final = 401
_INVALID_TOKEN: Final = re.compile(r"\bbearer\b.*\berror\s*=\s*\"?invalid_token\b", re.IGNORECASE)
_NO_ERROR: Final = re.compile(r"(bearer\b((?!\berror\b).)*)?", re.IGNORECASE)


class _NotJson(Enum):
    NOT_JSON = "not JSON"


NOT_JSON: Final = _NotJson.NOT_JSON
"""Stands where the JSON would be when the body is none."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. `json` holds Decimal for every number with a point or an exponent, or is `NOT_JSON`."""

    status: int
    json: object
    content_type: str
    retry_after: str | None = None
    """The header, as it came."""
    date: str | None = field(default=None, compare=False)
    """When the server says it answered; the header, as it came."""
    challenge: str | None = field(default=None, compare=False)
    """`WWW-Authenticate`, as it came."""
    is_empty: bool = field(default=False, compare=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status <= 299  # noqa: PLR2004 - the class of status codes

    @property
    def is_client_error(self) -> bool:
        """4xx."""
        return 400 <= self.status <= 499  # noqa: PLR2004 - the class of status codes

    @property
    def is_json(self) -> bool:
        return self.json is not NOT_JSON

    @property
    def says_token_is_over(self) -> bool:
        """Whether the API itself calls the token expired or revoked, in OAuth's own word, or says 401 and nothing else.

        Misoca's and invox's documents give a 401 no body; a page, another error or another scheme is no word of theirs.
        Source: RFC 6750, 3 and 3.1: the word should be there, and may be left out.
        """
        challenge = self.challenge or ""
        is_bare = self.is_empty and _NO_ERROR.fullmatch(challenge) is not None
        return self.status == _UNAUTHORIZED and (is_bare or _INVALID_TOKEN.search(challenge) is not None)


def says(phrase: str, *, status: int) -> Callable[[int, object], bool]:
    """For a row's `is_too_often`: answers of `status` with a text in them that `phrase` (a pattern) is found in."""
    pattern = re.compile(phrase)
    return lambda answered, body: answered == status and any(pattern.search(text) for text in _texts(body))


def _texts(body: object) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    elif isinstance(body, dict):
        yield from _texts(list(cast("dict[str, object]", body).values()))
    elif isinstance(body, list):
        for member in cast("list[object]", body):
            yield from _texts(member)


def read_json(body: bytes) -> object | Literal[_NotJson.NOT_JSON]:
    """The JSON of `body`, or `NOT_JSON`.

    Refused: other encodings than UTF-8, NaN and Infinity, numbers and nestings made to exhaust us, lone surrogates,
    which no store can keep, and a name that stands twice in one object, for then it says two things.
    """
    try:
        text = body.decode("utf-8")
        value: object = json.loads(
            text, parse_float=_exact, parse_constant=_refuse_constant, object_pairs_hook=_each_once
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except (ValueError, RecursionError):
        return NOT_JSON
    return value


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _exact(digits: str) -> Decimal:
    try:
        number = Decimal(digits)
    except InvalidOperation:
        raise ValueError("a number beyond all bounds") from None
    if abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError("a number beyond all bounds")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
