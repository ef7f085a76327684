"""How the two providers sign, written once more from their documents, and a hundred ways to get it wrong."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from seikyu.surfaces.envelopes import MAX_BODY

Headers = Sequence[tuple[bytes, bytes]]

MFK_SECRET: Final = "kessai-endpoint-secret"
SLACK_SECRET: Final = "8f742231b10e8888abcd99yyyzzz85a5"


def mfk_signature(body: bytes, secret: str = MFK_SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


def slack_signature(body: bytes, seconds: bytes, secret: str = SLACK_SECRET) -> bytes:
    return b"v0=" + hmac.new(secret.encode(), b"v0:" + seconds + b":" + body, hashlib.sha256).hexdigest().encode()


def slack_headers(body: bytes, now_s: int, secret: str = SLACK_SECRET) -> Headers:
    seconds = str(now_s).encode()
    return (
        (b"x-slack-request-timestamp", seconds),
        (b"x-slack-signature", slack_signature(body, seconds, secret)),
        (b"content-type", b"application/x-www-form-urlencoded"),
    )


def slack_body(payload: object) -> bytes:
    return b"payload=" + quote(json.dumps(payload), safe="").encode()


@dataclass(frozen=True)
class Bad:
    """A request that must be refused, and why."""

    why: str
    headers: Headers
    body: bytes
    is_signed: bool = False
    """Refused for what it says."""


def spoiled_hex(good: bytes) -> Iterator[tuple[str, bytes]]:
    """A right signature of 64 hex digits, spoiled."""
    yield "empty", b""
    yield "upper case", good.upper()
    yield "one digit less", good[:-1]
    yield "one digit more", good + b"0"
    yield "twice", good + good
    yield "a blank before", b" " + good
    yield "a blank within", good[:32] + b" " + good[32:]
    yield "another digit at the start", (b"1" if good[:1] != b"1" else b"2") + good[1:]
    yield "another digit at the end", good[:-1] + (b"1" if good[-1:] != b"1" else b"2")
    yield "zeros", b"0" * 64
    yield "not hex", b"g" * 64
    yield "base64", b"dGhpcyBpcyBub3QgaGV4IGF0IGFsbCwgYnV0IGl0IGlzIGxvbmcgZW5vdWdoIQ=="
    yield "not ASCII", b"\xe3\x81\x82" * 21 + b"x"
    yield "high bytes", b"\xff" * 64
    yield "full-width digits", "０".encode() * 64
    yield "Arabic digits", "٠".encode() * 64
    yield "a comma list", good + b"," + good
    yield "quoted", b'"' + good + b'"'
    yield "0x before", b"0x" + good
    yield "sha256= before", b"sha256=" + good
    yield "a minus sign", b"-" + good[1:]
    yield "very long", b"a" * 4000


NOT_EVENTS: Final = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"1e999999999",
    b"NaN",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"event_id": 1, "type": "transaction.examined"}',
    b'{"event_id": "", "type": "transaction.examined"}',
    b'{"event_id": null, "type": "transaction.examined"}',
    b'{"event_id": "E-1"}',
    b'{"event_id": "E-1", "type": []}',
    b'{"event_id": "E\\u0000", "type": "transaction.examined"}',
    b'{"event_id": "\\ud800", "type": "transaction.examined"}',
    b'{"event_id": "' + b"x" * 200 + b'", "type": "transaction.examined"}',
    b'{"event_id": "E-1", "type": "transaction.examined", "transaction_id": 7}',
    b'{"event_id": "E-1", "type": "transaction.examined", "transaction_id": "' + "あ".encode() + b'"}',
    b'{"event_id": "E-1", "type": "transaction.examined", "transaction_number": "' + b"n" * 101 + b'"}',
    b"[" * 50_000,
    b'{"event_id": ' + b"9" * 5000 + b"}",
    b"payload=%7B%7D",
    b"<event/>",
)
"""Signed, and still no event."""


def bad_for_mfk(body: bytes) -> Iterator[Bad]:
    good = mfk_signature(body)
    name = b"x-mfkessai-signature"
    yield Bad("no signature", (), body)
    for why, signature in spoiled_hex(good):
        yield Bad(f"signature: {why}", ((name, signature),), body)
    yield Bad("two signatures", ((name, good), (name, good)), body)
    yield Bad("a right and a wrong one", ((name, good), (name, b"0" * 64)), body)
    yield Bad("under another name", ((b"x-slack-signature", good),), body)
    yield Bad("of another body", ((name, mfk_signature(b"{}")),), body)
    yield Bad("under another secret", ((name, mfk_signature(body, "another secret entirely")),), body)
    yield Bad("under the empty secret", ((name, mfk_signature(body, "")),), body)
    yield Bad("a byte more", ((name, good),), body + b"\n")
    yield Bad("a byte less", ((name, good),), body[:-1])
    yield Bad("empty body", ((name, good),), b"")
    yield Bad("too large", ((name, mfk_signature(b" " * (MAX_BODY + 1))),), b" " * (MAX_BODY + 1))
    yield Bad(
        "packed", ((name, mfk_signature(gzip.compress(body))), (b"content-encoding", b"gzip")), gzip.compress(body)
    )
    for nothing in NOT_EVENTS:
        yield Bad(f"signed nonsense {nothing[:40]!r}", ((name, mfk_signature(nothing)),), nothing)
    yield Bad("another event's id in the header", ((name, good), (b"x-mfkessai-event-id", b"E-999")), body)


def bad_for_slack(body: bytes, now_s: int) -> Iterator[Bad]:
    seconds = str(now_s).encode()
    good = slack_signature(body, seconds)
    at, by = b"x-slack-request-timestamp", b"x-slack-signature"
    yield Bad("nothing", (), body)
    yield Bad("no time", ((by, good),), body)
    yield Bad("no signature", ((at, seconds),), body)
    for why, signature in spoiled_hex(good.removeprefix(b"v0=")):
        yield Bad(f"signature: {why}", ((at, seconds), (by, b"v0=" + signature)), body)
    for version in (b"", b"v1=", b"V0=", b"v0:", b"v0", b"v00=", b" v0=", b"v0= "):
        yield Bad(f"version {version!r}", ((at, seconds), (by, version + good.removeprefix(b"v0="))), body)
    for time in (
        b"", b"0", b"-1", b"now", b"1e9", b"nan", b"inf", b"0x10", b"+" + seconds, b"-" + seconds, seconds + b".0",
        seconds + b"\x00", b" " + seconds, seconds + b" ", b"_".join((seconds[:5], seconds[5:])), b"9" * 13,
        b"9" * 5000, "１７".encode(), str(now_s).translate({48 + i: 0xFF10 + i for i in range(10)}).encode(),
        str(now_s).translate({48 + i: 0x0660 + i for i in range(10)}).encode(), b"\xff\xff",
        str(now_s - 301).encode(), str(now_s + 301).encode(), str(now_s - 86_400).encode(), str(now_s * 1000).encode(),
    ):  # fmt: skip
        yield Bad(f"time {time[:24]!r}", ((at, time), (by, slack_signature(body, time))), body)
    yield Bad("another time than was signed", ((at, str(now_s - 1).encode()), (by, good)), body)
    yield Bad("two times", ((at, seconds), (at, seconds), (by, good)), body)
    yield Bad("two signatures", ((at, seconds), (by, good), (by, good)), body)
    yield Bad("another secret", ((at, seconds), (by, slack_signature(body, seconds, "another secret"))), body)
    yield Bad("the empty secret", ((at, seconds), (by, slack_signature(body, seconds, ""))), body)
    yield Bad("another body", ((at, seconds), (by, good)), body + b"&x=1")
    yield Bad("no body", ((at, seconds), (by, good)), b"")
    large = b"payload=" + b" " * MAX_BODY
    yield Bad("too large", ((at, seconds), (by, slack_signature(large, seconds))), large, is_signed=True)
    for nothing in (
        b"", b"payload", b"payload=", b"payload=%7B", b"payload=null", b"payload=[]", b"payload=%7B%7D", b"other=1",
        b"payload=%FF%FE", b"payload=%zz", b"payload=%7B%7D&payload=%7B%7D", b"payload=1&x=2", b"\xff\xfe\x00",
        b"{}", b"payload=" + b"%5B" * 20_000, b"payload=NaN", b"payload=%22%5Cud800%22", b"&&&=",
        b"payload=1e999999999", b"ssl_check=1", slack_body({"type": "block_actions"}), slack_body({"type": 7}),
        slack_body({"type": "shortcut"}),
        slack_body({"type": "block_actions", "team": "T1", "user": {}, "actions": []}),
        slack_body({"type": "view_submission", "view": {"private_metadata": "{"}}),
    ):  # fmt: skip
        signed = ((at, seconds), (by, slack_signature(nothing, seconds)))
        yield Bad(f"signed nonsense {nothing[:60]!r}", signed, nothing, is_signed=True)
