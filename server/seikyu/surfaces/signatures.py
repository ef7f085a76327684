"""Who sent this? The signatures of Slack and of Money Forward Kessai, over the bytes as they came.

Pure functions, asked before anything of a body is parsed. They answer None or False and never raise: whatever is
wrong with a request, its sender only learns that it is not signed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MAX_SKEW_S: Final = 300
"""How far Slack's time may be from ours. Source: docs.slack.dev, verifying requests, read 2026-11-21."""

_HEX: Final = re.compile(rb"[0-9a-f]{64}", re.ASCII)
# lower case only: another spelling of the same signature would pass for another request
_SLACK_SIGNATURE: Final = re.compile(rb"v0=([0-9a-f]{64})", re.ASCII)
_SECONDS: Final = re.compile(rb"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request as it came: its headers, in order, and its body."""

    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def only(self, name: bytes) -> bytes | None:
        """The value of a header that is there exactly once; `name` in lower case."""
        values = [value for key, value in self.headers if key.lower() == name]
        return values[0] if len(values) == 1 else None


def slack_mark(envelope: Envelope, *, secrets: Sequence[str], now: datetime) -> str | None:
    """What only a replay of this request would repeat; None unless Slack signed it in the last five minutes.

    `X-Slack-Signature` is `v0=` and the hex HMAC-SHA256, under the app's signing secret, of `v0:`, the
    `X-Slack-Request-Timestamp`, `:` and the raw body.
    Source: docs.slack.dev, verifying requests from Slack, and its example, read 2026-11-21.
    """
    seconds = envelope.only(b"x-slack-request-timestamp") or b""
    signature = _SLACK_SIGNATURE.fullmatch(envelope.only(b"x-slack-signature") or b"")
    if signature is None or not _SECONDS.fullmatch(seconds):
        return None
    message = b"v0:" + seconds + b":" + envelope.body
    is_ours = _is_signed(secrets, message, signature[1])
    is_fresh = abs(int(now.timestamp()) - int(seconds)) <= MAX_SKEW_S
    return hashlib.sha256(seconds + b":" + signature[1]).hexdigest() if is_ours and is_fresh else None


def is_signed_by_mfk(envelope: Envelope, *, secrets: Sequence[str]) -> bool:
    """Whether MFK signed the body: `x-mfkessai-signature` is its hex HMAC-SHA256 under the endpoint's secret.

    No time is signed, so a replay is as good as the first; the event's id tells them apart.
    Source: MFK API v2 reference, webhooks, read 2026-11-21. That the hex is in lower case is what its example shows.
    """
    signature = envelope.only(b"x-mfkessai-signature") or b""
    return _HEX.fullmatch(signature) is not None and _is_signed(secrets, envelope.body, signature)


def _is_signed(secrets: Sequence[str], message: bytes, signature: bytes) -> bool:
    """Whether one of `secrets` made `signature`; an empty one makes none."""
    made = [hmac.digest(secret.encode(), message, "sha256").hex().encode() for secret in secrets if secret]
    return any(hmac.compare_digest(one, signature) for one in made)
