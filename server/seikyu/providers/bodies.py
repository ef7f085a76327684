"""The bytes of a request: canonical JSON, with a document's base64 spliced in while it streams from disk."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

from seikyu.spec import FileDigest

CHUNK: Final = 192 * 1024
"""Bytes read at once: a multiple of 3, so that the base64 of the chunks joins without padding inside."""


class BodyChanged(Exception):
    """The document is not the one that was approved."""


@dataclass(frozen=True, slots=True)
class Document:
    """An open document and what it must turn out to be."""

    content: BinaryIO
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a write. With a document, its base64 goes between `head` and `tail`."""

    head: bytes
    tail: bytes = b""
    document: Document | None = None

    @property
    def length(self) -> int:
        """Content-Length in bytes, known before the first byte leaves."""
        size = 0 if self.document is None else base64_length(self.document.size)
        return len(self.head) + size + len(self.tail)

    async def check(self) -> None:
        """Read the document once through, before anything is sent.

        Raises:
            BodyChanged: its size or hash is not what was approved.
        """
        async for _ in self._checked_chunks():
            pass

    async def stream(self) -> AsyncIterator[bytes]:
        """The bytes to send, in order. `tail` leaves only after the hash of what left before it was right.

        Raises:
            BodyChanged: the document changed since `check`; the request stays incomplete.
        """
        yield self.head
        async for chunk in self._checked_chunks():
            yield base64.b64encode(chunk)
        if self.tail:
            yield self.tail

    async def _checked_chunks(self) -> AsyncIterator[bytes]:
        from anyio import to_thread

        if self.document is None:
            return
        content, size = self.document.content, self.document.size
        digest = hashlib.sha256()
        await to_thread.run_sync(content.seek, 0)
        for start in range(0, size, CHUNK):
            chunk = await to_thread.run_sync(content.read, min(CHUNK, size - start))
            if len(chunk) != min(CHUNK, size - start):
                raise BodyChanged("shorter than approved")
            digest.update(chunk)
            yield chunk
        if await to_thread.run_sync(content.read, 1):
            raise BodyChanged("longer than approved")
        if digest.hexdigest() != self.document.sha256:
            raise BodyChanged("other content than approved")


def json_body(data: Mapping[str, Any]) -> Body:
    """`data` as canonical JSON.

    Raises:
        TypeError: `data` holds a float or something that is not JSON.
    """
    return Body(canonical_json(data))


def body_with_document(data: Mapping[str, Any], file: FileDigest, content: BinaryIO) -> Body:
    """`data` as canonical JSON with the base64 of `content` at `file.field`.

    Raises:
        ValueError: `data` has no place for `file.field`, or something stands there already.
    """
    head, tail = _split_at(data, file.field)
    return Body(head, tail, Document(content, file.size, file.sha256))


def length_with_document(data: Mapping[str, Any], field: str, size: int) -> int:
    """How many bytes the body will have with a document of `size` bytes at `field`."""
    head, tail = _split_at(data, field)
    return len(head) + base64_length(size) + len(tail)


def base64_length(size: int) -> int:
    """Characters of the padded base64 of `size` bytes."""
    return (size + 2) // 3 * 4


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """RFC 8785 JSON in UTF-8. Raises TypeError for a float: money never is one."""
    import rfc8785

    return rfc8785.dumps(_without_floats(data))


def _without_floats(value: object) -> Any:  # noqa: ANN401 - plain JSON, made into bytes at once
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return {key: _without_floats(member) for key, member in members.items()}
    if isinstance(value, list | tuple):
        return [_without_floats(item) for item in cast("Sequence[object]", value)]
    raise TypeError(f"{type(value).__name__} does not belong in a request")


def _split_at(data: Mapping[str, Any], field: str) -> tuple[bytes, bytes]:
    mark = secrets.token_hex(32)  # new for each request, so that no text in `data` can hold it
    text = canonical_json(_with_field(data, field.split("."), mark))
    head, found, tail = text.partition(mark.encode("ascii"))
    if not found:
        raise ValueError(f"no place for {field}")
    return head, tail


def _with_field(data: Mapping[str, Any], keys: list[str], value: str) -> dict[str, Any]:
    first, *rest = keys
    if rest:
        if not isinstance(data.get(first), Mapping):
            raise ValueError(f"no object named {first} in the request")
        return {**data, first: _with_field(data[first], rest, value)}
    if first in data:
        raise ValueError(f"{first} already stands in the request")
    return {**data, first: value}
