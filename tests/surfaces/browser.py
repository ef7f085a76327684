"""A browser without a screen, and the house whose approval page it opens: real Starlette, real gate, real SQLite."""

from __future__ import annotations

import html
import re
import shutil
import sqlite3
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import httpx2
from starlette.applications import Starlette

from gate.stage import PASSPHRASE, Stage, make_stage
from seikyu.errors import Lang
from seikyu.gate.actions import Action
from seikyu.gate.operators import Key
from seikyu.gate.votes import approvals
from seikyu.surfaces.web import ApprovalRooms, approval_routes

ORIGIN: Final = "http://127.0.0.1:8765"
FORM: Final = "application/x-www-form-urlencoded"
HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "{{ 7*7 }}{% raw %}",
    "株式会社\u202e業商葉青",
    "青葉\u200b商事\u2066\u2069",
    "青葉\x00\x07\x1b[31m\r\n商事",
    "\U000e0041\ufe0f\u3164",
    "</title></textarea></style><svg/onload=alert(1)>",
    "&lt;b&gt;&#x3C;",
)


@dataclass
class Page:
    """A stage with two operators and the page in front of it."""

    stage: Stage
    tanaka: Key
    sato: Key
    woken: list[str] = field(default_factory=list[str])
    lang: Lang = "ja"

    async def wake(self, action_id: str) -> None:
        self.woken.append(action_id)

    @property
    def rooms(self) -> ApprovalRooms:
        return ApprovalRooms(
            store=self.stage.store,
            clock=self.stage.clock,
            desk=self.stage.desk,
            cards=self.stage.cards,
            ballots=self.stage.ballots,
            batches=self.stage.batches,
            wake=self.wake,
            key=b"k" * 32,
            lang=self.lang,
        )

    def browser(self, rooms: ApprovalRooms | None = None, origin: str = ORIGIN) -> Browser:
        transport = httpx2.ASGITransport(app=Starlette(routes=approval_routes(rooms or self.rooms)))
        return Browser(transport, httpx2.AsyncClient(transport=transport, base_url=origin), origin)

    def votes(self, action: Action) -> list[str]:
        """The operators whose seals on the action hold."""
        with self.stage.store.read() as tx:
            return [right.operator for right in approvals(tx, self.stage.find(action.id))]

    def dump(self) -> str:
        """Everything the database holds."""
        connection = sqlite3.connect(self.stage.settings.database)
        try:
            return "\n".join(connection.iterdump())
        finally:
            connection.close()

    def sql(self, statement: str, *values: str) -> None:
        """Do what somebody with the database file could do."""
        connection = sqlite3.connect(self.stage.settings.database)
        with connection:
            connection.execute(statement, values)
        connection.close()


@dataclass
class Browser:
    """Opens a page, reads its form, sends it."""

    transport: httpx2.ASGITransport
    client: httpx2.AsyncClient
    origin: str

    def another(self) -> Browser:
        """A second browser at the same server."""
        client = httpx2.AsyncClient(transport=self.transport, base_url=self.origin)
        return Browser(self.transport, client, self.origin)

    async def get(self, path: str) -> httpx2.Response:
        return await self.client.get(path)

    async def read(self, action: Action, query: str = "") -> dict[str, str]:
        """The hidden fields of the form that the page shows."""
        shown = await self.get(f"/approvals/{action.id}{query}")
        return hidden_fields(shown.text)

    async def send(self, action: Action, fields: dict[str, str]) -> httpx2.Response:
        return await self.client.post(
            f"/approvals/{action.id}/decision", data=fields, headers={"origin": self.origin, **FETCH}
        )

    async def decide(self, action: Action, decision: str = "approve", **more: str) -> httpx2.Response:
        query = "?revoke" if decision == "revoke" else ""
        return await self.send(action, filled(await self.read(action, query), decision=decision, **more))


FETCH: Final = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def hidden_fields(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))


def filled(fields: dict[str, str], **more: str) -> dict[str, str]:
    given = {"operator": "tanaka", "passphrase": PASSPHRASE, "decision": "approve", "reason": ""}
    return fields | given | more


def banner(response: httpx2.Response) -> str:
    found = re.search(r'<p class="banner" role="alert">(.*?)</p>', response.text, re.DOTALL)
    return html.unescape(found[1]) if found else ""


def close(page: Page) -> None:
    page.stage.store.close()
    page.stage.presence.leave()


def enrol_two(folder: Path) -> tuple[Path, Key, Key]:
    """A house with two operators, tanaka and sato, to be moved into."""
    stage = make_stage(folder)
    tanaka = stage.enrol("tanaka")
    sato = stage.enrol("sato", tanaka)
    stage.store.close()
    stage.presence.leave()
    return folder, tanaka, sato


def move_in(enrolled: tuple[Path, Key, Key], folder: Path) -> Page:
    house, tanaka, sato = enrolled
    shutil.copytree(house, folder)
    return Page(make_stage(folder), tanaka, sato)


def assert_guarded(answer: httpx2.Response) -> None:
    policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    assert answer.headers["content-security-policy"] == policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]


OUR_TAGS: Final = frozenset(
    re.findall(
        r"\w+",
        """html head meta title link body a header span small nav p strong main div article h1 h2 dl dt dd section ul
        ol li table thead tbody tr th td code details summary form button input label textarea br q footer
        select option""",
    )
)
OUR_ATTRIBUTES: Final = frozenset(
    re.findall(
        r"[\w-]+",
        """lang charset name content rel href class id tabindex scope role value type method action maxlength required
        hidden disabled autocomplete autocapitalize spellcheck for rows title aria-hidden aria-label aria-labelledby
        aria-describedby aria-busy accept-charset data-label checked selected open""",
    )
)
HIDDEN: Final = frozenset({0xFE0F, 0x3164, 0xE0041, 0x200B, 0x202E, 0x2066, 0x2069})


class Outline(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


def assert_harmless(shown: httpx2.Response) -> None:
    """Nothing on the page is anything but what our templates write, and nothing in it is hidden."""
    outline = Outline()
    outline.feed(shown.text)
    assert outline.tags <= OUR_TAGS
    assert outline.attributes <= OUR_ATTRIBUTES
    assert all(char == "\n" or (char.isprintable() and ord(char) not in HIDDEN) for char in shown.text)
