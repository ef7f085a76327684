"""Who sent this? Each part of a signed request, on its own."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from seikyu.surfaces.signatures import Envelope, is_signed_by_mfk, slack_mark

NOW = datetime.fromtimestamp(1531420618, UTC)
SECONDS = b"1531420618"


def signed(secret: str, message: bytes) -> bytes:
    return hmac.digest(secret.encode(), message, hashlib.sha256).hex().encode()


def from_slack(body: bytes = b"payload=1", seconds: bytes = SECONDS, **changes: bytes) -> Envelope:
    signature = b"v0=" + signed("secret", b"v0:" + seconds + b":" + body)
    said = {"signature": signature, "seconds": seconds} | changes
    return Envelope([(b"X-Slack-Request-Timestamp", said["seconds"]), (b"x-slack-signature", said["signature"])], body)


def mark(envelope: Envelope, *secrets: str) -> str | None:
    return slack_mark(envelope, secrets=secrets or ("secret",), now=NOW)


def test_the_mark_of_a_slack_request_is_the_hash_of_its_time_and_signature() -> None:
    signature = signed("secret", b"v0:1531420618:payload=1")

    assert mark(from_slack()) == hashlib.sha256(b"1531420618:" + signature).hexdigest()
    assert mark(from_slack(), "", "other", "secret") == mark(from_slack())
    assert mark(from_slack(), "other") is None


@pytest.mark.parametrize("skew,is_fresh", [(-301, False), (-300, True), (300, True), (301, False)])
def test_a_slack_request_holds_five_minutes_before_and_after(skew: int, *, is_fresh: bool) -> None:
    assert (mark(from_slack(seconds=str(1531420618 + skew).encode())) is not None) is is_fresh


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope([], b"payload=1"),
        Envelope(from_slack().headers[:1], b"payload=1"),
        Envelope(from_slack().headers[1:], b"payload=1"),
        Envelope([*from_slack().headers, from_slack().headers[0]], b"payload=1"),
        Envelope([*from_slack().headers, from_slack().headers[1]], b"payload=1"),
        Envelope(from_slack().headers, b"payload=2"),
        from_slack(seconds=b"-1531420618"),
        from_slack(seconds=b"1531420618 "),
        from_slack(seconds=b"0001531420618"),
        from_slack(signature=b"v0=" + signed("secret", b"v0:1531420618:payload=1").upper()),
        from_slack(signature=signed("secret", b"v0:1531420618:payload=1")),
        from_slack(signature=b"v0=" + signed("secret", b"v0:1531420618:payload=1") + b"00"),
        from_slack(signature=b"v0=" + b"\xff" * 64),
    ],
)
def test_a_slack_request_with_a_part_that_is_missing_twice_or_another_is_nobodys(envelope: Envelope) -> None:
    assert mark(envelope) is None


def from_mfk(*signatures: bytes) -> Envelope:
    return Envelope([(b"X-MFKessai-Signature", one) for one in signatures], b"{}")


@pytest.mark.parametrize(
    "signatures,is_theirs",
    [
        ([signed("secret", b"{}")], True),
        ([], False),
        ([signed("secret", b"{}")] * 2, False),
        ([signed("secret", b"[]")], False),
        ([signed("secret", b"{}").upper()], False),
        ([signed("secret", b"{}") + b"\n"], False),
        ([signed("", b"{}")], False),
        ([b"\xff"], False),
    ],
)
def test_mfk_signs_the_body_once_with_the_endpoints_secret(signatures: list[bytes], *, is_theirs: bool) -> None:
    assert is_signed_by_mfk(from_mfk(*signatures), secrets=["", "old", "secret"]) is is_theirs


def test_no_secret_and_an_empty_one_sign_nothing() -> None:
    empty = from_mfk(signed("", b"{}"))

    assert [is_signed_by_mfk(empty, secrets=secrets) for secrets in ([], [""])] == [False, False]


def test_a_header_that_is_there_once_has_its_value_and_one_that_is_not_has_none() -> None:
    envelope = Envelope([(b"One", b"1"), (b"two", b"2"), (b"TWO", b"3")], b"")

    assert [envelope.only(name) for name in (b"one", b"two", b"three")] == [b"1", None, None]
