"""The few calls Seikyu makes at Slack.

Each is a POST of JSON to `https://slack.com/api/METHOD` with the bot's token, answered 200 with `ok`, or 429 with
`Retry-After`. Source: docs.slack.dev, Web API and rate limits, read 2026-11-21.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from pydantic import SecretStr

from seikyu.errors import NotDelivered, Text
from seikyu.models import Clock, shown
from seikyu.providers.http import HttpAnswer, HttpEdge, json_body
from seikyu.providers.patience import retry_after_s
from seikyu.providers.wire import no_fence
from seikyu.settings import LOOPBACK_HOSTS, SlackApp

DEADLINE_S: Final = 10
_TOO_MANY_REQUESTS: Final = 429
_OK: Final = 200
_AGAIN: Final = Text("後でもう一度送ります。", "It is tried again.")


class SlackApi:
    """Speaks as the bot. The token goes to the configured address and nowhere else."""

    def __init__(self, edge: HttpEdge, app: SlackApp, clock: Clock, token_of: Callable[[], SecretStr]) -> None:
        self._edge = edge
        self.app = app
        self._clock = clock
        self._token_of = token_of
        """May raise, as the vault does, and take as long as a key service."""

    async def call(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Slack's answer.

        Raises:
            NotDelivered: not reached, busy, or refused; says for how long to wait when Slack did.
        """
        token = (await anyio.to_thread.run_sync(self._token_of)).get_secret_value()
        answer = await self._post(f"{self.app.base_url}/{method}", body, {"Authorization": f"Bearer {token}"})
        if not isinstance(answer, HttpAnswer):
            raise _not_delivered(method, "no trustworthy answer")
        if answer.status == _TOO_MANY_REQUESTS:
            wait_s = retry_after_s(answer.retry_after, self._clock.now())
            raise _not_delivered(method, "HTTP 429", None if wait_s is None else math.ceil(wait_s))
        read: object = answer.json
        said = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
        if answer.status != _OK or said.get("ok") is not True:
            raise _not_delivered(method, shown(str(said.get("error", f"HTTP {answer.status}")), 60))
        return said

    async def respond(self, url: str, text: str) -> None:
        """Tell the person who clicked, and nobody else. One that does not arrive is not repeated.

        A `response_url` takes five messages within 30 minutes; we send one for each click.
        Source: docs.slack.dev, handling user interaction, read 2026-11-21.
        """
        if self.is_response_url(url):
            await self._post(url, {"response_type": "ephemeral", "replace_original": False, "text": escaped(text)}, {})

    def is_response_url(self, url: str) -> bool:
        """Whether `url` is Slack's; for a twin on this machine, whether it is the twin's."""
        try:
            parts, ours = urlsplit(url), urlsplit(self.app.base_url)
            is_slacks = parts.scheme == "https" and parts.hostname == "hooks.slack.com" and parts.port in (None, 443)
        except ValueError:
            return False
        is_twins = ours.hostname in LOOPBACK_HOSTS and (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
        return "@" not in parts.netloc and (is_slacks or is_twins)

    async def _post(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> object:
        with anyio.move_on_after(DEADLINE_S):
            return await self._edge.write("POST", url, headers=headers, body=json_body(body), fence=no_fence)
        return None


def escaped(text: str) -> str:
    """For the places where Slack reads markup: links, mentions and commands begin with one of these.

    Source: docs.slack.dev, formatting message text, escaping, read 2026-11-21.
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _not_delivered(method: str, why: str, retry_after_s: int | None = None) -> NotDelivered:
    what = Text(f"Slack に送れませんでした（{method}: {why}）。", f"Slack did not take it ({method}: {why}).")
    return NotDelivered(what, _AGAIN, retry_after_s=retry_after_s)
