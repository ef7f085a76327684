"""A Slack that records what it is asked, shows what was posted, and signs what people click."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from surfaces.signing import slack_body, slack_headers
from surfaces.sockets import on_socket

TEAM, APP, CHANNEL = "T0TEAM", "A0APP", "C0CHANNEL"
TOKEN: Final = "xoxb-canary-0123456789-bot-token"


@dataclass
class SlackTwin:
    """Answers as Slack does, unless `answers` says otherwise for a method."""

    now_s: Callable[[], int]
    client: httpx2.AsyncClient
    origin: str = ""
    target: str = ""
    """Where clicks are sent: our own server."""
    posts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    updates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    views: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    told: list[str] = field(default_factory=list[str])
    """What people were told privately."""
    tokens: set[str] = field(default_factory=set[str])
    answers: dict[str, Callable[[], Response]] = field(default_factory=dict[str, Callable[[], Response]])
    changed: anyio.Event = field(default_factory=anyio.Event)

    async def api(self, request: Request) -> Response:
        method = request.path_params["method"]
        self.tokens.add(request.headers.get("authorization", ""))
        if method in self.answers:
            return self.answers[method]()
        asked: dict[str, Any] = await request.json()
        answer = self._take(method, asked)
        self._wake()
        return JSONResponse({"ok": True, **answer})

    def _take(self, method: str, asked: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "auth.test":
                return {"team_id": TEAM}
            case "chat.postMessage":
                ts = f"{1_795_000_000 + len(self.posts)}.000100"
                self.posts.append(asked | {"ts": ts})
                return {"channel": asked["channel"], "ts": ts}
            case "chat.update":
                self.updates.append(asked)
            case "views.open":
                self.views.append(asked["view"])
            case "chat.postEphemeral":
                self.told.append(asked["text"])
            case _:
                return {"ok": False, "error": "unknown_method"}
        return {}

    async def respond(self, request: Request) -> Response:
        self.told.append((await request.json())["text"])
        self._wake()
        return PlainTextResponse("ok")

    def _wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something is true that a call from Seikyu makes true."""
        with anyio.fail_after(20):
            while not holds():
                await self.changed.wait()

    def buttons(self) -> dict[str, str]:
        """The values of the newest card's buttons, by action id."""
        card = next(post for post in reversed(self.posts) if "blocks" in post)
        return {
            button["action_id"]: button["value"]
            for block in card["blocks"]
            if block["type"] == "actions"
            for button in block["elements"]
        }

    def clicked(self, who: str, button: str, **changes: Any) -> dict[str, Any]:
        """What a click on the newest card sends. Source: docs.slack.dev, block_actions payload, read 2026-11-21."""
        card = next(post for post in reversed(self.posts) if "blocks" in post)
        payload: dict[str, Any] = {
            "type": "block_actions",
            "user": {"id": who, "username": "someone", "team_id": TEAM},
            "api_app_id": APP,
            "token": "deprecated",
            "container": {"type": "message", "message_ts": card["ts"], "channel_id": CHANNEL, "is_ephemeral": False},
            "trigger_id": "12345.98765.abcd",
            "team": {"id": TEAM, "domain": "example"},
            "enterprise": None,
            "channel": {"id": CHANNEL, "name": "keiri"},
            "response_url": f"{self.origin}/actions/{TEAM}/1/x",
            "actions": [{"action_id": button, "block_id": "b", "value": self.buttons()[button], "type": "button"}],
        }
        return payload | changes

    def submitted(self, user: str, reason: str | None) -> dict[str, Any]:
        """What the newest form sends. Source: docs.slack.dev, view_submission payload, read 2026-11-21."""
        view = self.views[-1]
        block = view["blocks"][0]
        values = {block["block_id"]: {block["element"]["action_id"]: {"type": "plain_text_input", "value": reason}}}
        return {
            "type": "view_submission",
            "team": {"id": TEAM, "domain": "example"},
            "user": {"id": user, "username": "someone", "team_id": TEAM},
            "api_app_id": APP,
            "trigger_id": "1.2.3",
            "view": view | {"id": "V1", "state": {"values": values}},
        }

    async def send(self, payload: object) -> httpx2.Response:
        """Sign and send."""
        body = slack_body(payload)
        return await self.send_raw(body, slack_headers(body, self.now_s()))

    async def send_raw(self, body: bytes, headers: Any) -> httpx2.Response:
        return await self.client.post(f"{self.target}/slack/interactions", content=body, headers=list(headers))


@asynccontextmanager
async def running_slack(now_s: Callable[[], int]) -> AsyncGenerator[SlackTwin]:
    client = httpx2.AsyncClient(trust_env=False, timeout=30)
    twin = SlackTwin(now_s, client)
    routes = [
        Route("/api/{method}", twin.api, methods=["POST"]),
        Route("/actions/{rest:path}", twin.respond, methods=["POST"]),
    ]
    async with client, on_socket(Starlette(routes=routes)) as origin:
        twin.origin = origin
        yield twin


def rate_limited(after: str) -> Callable[[], Response]:
    """Slack's answer to somebody who asks too often."""
    return lambda: JSONResponse({"ok": False, "error": "ratelimited"}, 429, headers={"retry-after": after})


def texts_of(post: dict[str, Any]) -> list[dict[str, Any]]:
    """Every text object of a message."""
    found: list[dict[str, Any]] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            table = cast("dict[str, Any]", value)
            found.extend([table] if table.get("type") in {"plain_text", "mrkdwn"} else [])
            walk(list(table.values()))
        elif isinstance(value, list):
            for part in cast("list[object]", value):
                walk(part)

    walk(json.loads(json.dumps(post.get("blocks", []))))
    return found
