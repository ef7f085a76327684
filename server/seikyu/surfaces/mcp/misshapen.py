"""Requests that cannot be read, and whom to tell: a client that hears nothing of one waits until it gives up.

A model that cuts a text inside an emoji sends half a character, which is JSON and no text; others nest too deep or
write numbers too long. Such a line is read for its id alone, at its outermost level: an id further in is an argument.
A name given twice is JSON too, and says two things: whoever looked at the call before us may have read the other one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final

UNREADABLE: Final = (
    "The request cannot be read: no JSON-RPC 2.0, half a character, a name given twice, too deep, or a number too "
    "long. Nothing was done. Correct it and send it again."
)

MAX_READ: Final = 1024 * 1024
"""Bytes of a line that is read for its id; the same as of a request over HTTP. A longer one is dropped unanswered."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}:,]|[^][{}:,"\s]++', re.DOTALL)
"""A text that does not end is one token to the end: no line costs more than one look at each of its bytes."""
_OPENING: Final = frozenset({b"{", b"["})
_CLOSING: Final = frozenset({b"}", b"]"})
_NUMBER: Final = re.compile(rb"-?[0-9]{1,18}")
_MAX_NAME: Final = 200
"""Bytes of an id that is text; a longer one is nobody's."""


class Misshapen(Exception):
    """A request that cannot be read, although it says under which id it waits."""

    def __init__(self, request_id: str | int) -> None:
        super().__init__(UNREADABLE)
        self.request_id = request_id


def misshapen(line: bytes) -> Misshapen | None:
    """What to answer to a line that is no message; None when it names no method or no id, and nobody waits."""
    found = dict(_members(line)) if len(line) <= MAX_READ else {}
    request_id = _id(found.get(b'"id"', b""))
    return None if request_id is None or b'"method"' not in found else Misshapen(request_id)


def says_two_things(message: bytes) -> bool:
    """Whether an object anywhere in it gives a name twice; False for what is no JSON, which others refuse."""
    try:
        json.loads(message, object_pairs_hook=_each_once)
    except _GivenTwice:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def messages(line: bytes) -> Sequence[bytes]:
    """The messages of a line: a client of 2025-03-26 may send several as one list; any other line is one by itself."""
    if len(line) > MAX_READ or not line.lstrip().startswith(b"["):
        return [line]
    depth, starts, found = 0, 0, list[bytes]()
    for token in _TOKEN.finditer(line):
        depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
        if not found and starts == 0:
            starts = token.end()
        elif (depth, token[0]) in {(1, b","), (0, b"]")}:
            found.append(line[starts : token.start()])
            starts = token.end()
        if depth == 0:
            break
    is_whole = depth == 0 and not line[starts:].strip()
    return found if is_whole else [line]


class _GivenTwice(Exception):
    """An object that says two things."""


def _each_once(pairs: Sequence[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _GivenTwice


def _members(line: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of the outermost object, as written; a value that is an object or a list is its first sign."""
    tokens = (match[0] for match in _TOKEN.finditer(line))
    if next(tokens, b"") != b"{":
        return
    depth, name, is_value = 1, b"", False
    for token in tokens:
        if depth == 1 and token == b":":
            is_value = True
        elif depth == 1 and is_value:
            yield name, token
            is_value = False
        elif depth == 1:
            name = token
        depth += (token in _OPENING) - (token in _CLOSING)


def _id(written: bytes) -> str | int | None:
    if _NUMBER.fullmatch(written):
        return int(written)
    if not written.startswith(b'"') or len(written) > _MAX_NAME:
        return None
    try:
        name: str = json.loads(written)
        name.encode()
    except ValueError:
        return None
    return name
