"""The approval page, driven as a browser drives it: real Starlette, real gate, real SQLite, no browser."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlencode

import anyio
import httpx2
import pytest
from starlette.applications import Starlette

from gate.stage import PASSPHRASE
from seikyu.errors import Text
from seikyu.gate import audit, freezing, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.cards import CardIndex
from seikyu.gate.happenings import EVENTS
from seikyu.gate.operators import Key
from seikyu.surfaces.doors import Doors, own_hosts, own_origins
from seikyu.surfaces.web import approval_routes, counter, sheets
from seikyu.surfaces.web.session import TOKEN_LIFE
from surfaces.browser import (
    FETCH,
    FORM,
    HOSTILE,
    ORIGIN,
    Browser,
    Page,
    assert_guarded,
    assert_harmless,
    banner,
    close,
    filled,
    hidden_fields,
    move_in,
)

pytestmark = pytest.mark.anyio

# deciding


async def test_an_approval_with_the_passphrase_is_sealed_and_wakes_the_executor(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)

    answer = await page.browser().decide(action, reason="注文書と一致")

    assert (answer.status_code, answer.headers["location"]) == (303, f"/approvals/{action.id}")
    assert page.stage.find(action.id).state is State.APPROVED
    assert page.votes(action) == ["tanaka"]
    assert page.woken == [action.id]


async def test_what_the_page_let_through_is_sent_once(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)

    async def execute(action_id: str) -> None:
        await page.stage.executor.execute(action_id)

    browser = page.browser(dataclasses.replace(page.rooms, wake=execute))
    await browser.decide(action)
    shown = await browser.get(f"/approvals/{action.id}")

    assert page.stage.provider.sends == 1
    assert "完了" in shown.text
    assert "tx-A-1" in shown.text
    assert 'http-equiv="refresh"' not in shown.text


@pytest.mark.parametrize("decision,state", [("reject", State.REJECTED), ("return", State.RETURNED)])
async def test_a_refusal_shows_its_reason_and_sends_nothing(page: Page, decision: str, state: State) -> None:
    action = page.stage.propose("A-1", 200_000)

    browser = page.browser()
    await browser.decide(action, decision, reason="金額が\r\n違います")
    shown = await browser.get(f"/approvals/{action.id}")

    assert page.stage.find(action.id).state is state
    assert page.woken == []
    assert "<q>金額が 違います</q>" in shown.text
    assert "<form" not in shown.text


@pytest.mark.parametrize("decision", ["reject", "return"])
async def test_a_refusal_without_a_reason_is_given_back_and_costs_no_try(page: Page, decision: str) -> None:
    action = page.stage.propose("A-1", 200_000)

    answer = await page.browser().decide(action, decision, reason=" \u3000")

    assert (answer.status_code, banner(answer)) == (400, "却下・差戻しの理由を書いてください。")
    assert page.stage.find(action.id).state is State.AWAITING
    with page.stage.store.read() as tx:
        assert [row["kind"] for row in audit.history(tx, action.id)] == ["proposed"]


async def test_two_operators_are_needed_and_the_first_is_told_so(page: Page) -> None:
    action = page.stage.propose("A-1", 1_100_000)

    browser = page.browser()
    first = await browser.decide(action)
    waiting = await browser.get(first.headers["location"])
    state_after_one = page.stage.find(action.id).state
    await page.browser().decide(action, operator="sato")

    assert state_after_one is State.AWAITING
    assert "tanaka の承認は記録されています。不足している承認: 操作者 1名" in waiting.text
    assert set(page.votes(action)) == {"tanaka", "sato"}
    assert page.woken == [action.id]


async def test_an_approval_that_was_not_executed_can_be_revoked(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser()
    await browser.decide(action)

    plain = await browser.get(f"/approvals/{action.id}")
    answer = await browser.decide(action, "revoke", reason="取り違え")

    # the plain page reloads itself, so it must not hold a field that somebody is filling in
    assert 'http-equiv="refresh"' in plain.text
    assert "<form" not in plain.text
    assert answer.status_code == 303
    assert page.stage.find(action.id).state is State.REVOKED


async def test_a_wrong_passphrase_decides_nothing_and_keeps_the_rest_of_the_form(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)

    answer = await page.browser().decide(action, passphrase="not the passphrase", reason="見ました")

    assert answer.status_code == 403
    assert banner(answer).startswith("操作者名か合言葉が違います。今回の決定は記録されていません。")
    assert 'value="tanaka"' in answer.text
    assert ">見ました</textarea>" in answer.text
    assert "not the passphrase" not in answer.text
    assert page.stage.find(action.id).state is State.AWAITING
    assert page.votes(action) == []


async def test_after_too_many_wrong_passphrases_the_page_names_the_wait(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser()
    for _ in range(4):
        await browser.decide(action, passphrase="not the passphrase")

    answer = await browser.decide(action)

    assert answer.status_code == 403
    assert "秒待ってください" in banner(answer)
    assert page.stage.find(action.id).state is State.AWAITING


async def test_nobody_decides_on_their_own_request(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000, requester="tanaka")

    answer = await page.browser().decide(action)

    assert answer.status_code == 403
    assert "自分の申請は決定できません" in banner(answer)
    assert page.votes(action) == []


@pytest.mark.fault("F52")
async def test_content_that_changed_after_it_was_shown_is_not_approved(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser()
    seen = await browser.read(action)
    other = action.canonical.replace("200000", "900000")
    digest = hashlib.sha256(other.encode()).hexdigest()
    page.sql("UPDATE action SET canonical = ?, digest = ?", other, digest)

    answer = await browser.send(action, filled(seen))

    assert answer.status_code == 409
    assert "表示された内容と現在の内容が違います" in banner(answer)
    assert "900,000円" in answer.text
    assert page.votes(action) == []


async def test_an_action_whose_content_was_tampered_with_is_not_shown(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    page.sql("UPDATE action SET canonical = replace(canonical, '200000', '100000')")

    browser = page.browser()
    answer = await browser.get(f"/approvals/{action.id}")
    listed = await browser.get("/approvals")

    assert answer.status_code == 409
    assert "書き換えられています" in banner(answer)
    assert "何も登録されていません" not in answer.text
    assert "100,000円" not in answer.text
    assert "<form" not in answer.text
    assert "内容が書き換えられています" in listed.text
    assert "100,000円" not in listed.text


async def test_an_operator_smuggled_into_the_database_stops_every_decision(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    page.sql("UPDATE operator SET endorsement = ? WHERE name = 'sato'", "00" * 64)

    answer = await page.browser().decide(action)

    assert answer.status_code == 409
    assert "正しい保証がありません" in banner(answer)
    assert page.stage.find(action.id).state is State.AWAITING


async def test_the_second_press_of_the_button_is_told_that_the_first_is_recorded(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser()
    fields = filled(await browser.read(action))
    await browser.send(action, fields)

    again = await browser.send(action, fields)

    assert again.status_code == 409
    assert banner(again) == "tanaka の承認は既に記録されています（現在:「承認済み・実行前」）。一人は一票です。"
    assert page.votes(action) == ["tanaka"]
    assert page.woken == [action.id]


async def test_an_approval_after_a_colleagues_is_told_that_it_is_decided(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    mine, theirs = page.browser(), page.browser()
    fields = filled(await theirs.read(action), operator="sato")
    await mine.decide(action)

    late = await theirs.send(action, fields)

    assert late.status_code == 409
    assert banner(late) == ("この申請は既に決定済みです（現在:「承認済み・実行前」）。今回の決定は記録されていません。")
    assert page.votes(action) == ["tanaka"]


async def test_the_second_press_before_the_other_operator_is_told_that_it_is_recorded(page: Page) -> None:
    action = page.stage.propose("A-1", 1_100_000)
    browser = page.browser()
    await browser.decide(action)

    again = await browser.decide(action)

    assert again.status_code == 409
    assert "あなたの決定は既に記録されています" in banner(again)
    assert page.votes(action) == ["tanaka"]


@pytest.mark.fault("F51")
async def test_of_an_approval_and_a_rejection_at_once_one_counts(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    one = page.browser()
    other = one.another()
    yes = filled(await one.read(action))
    no = filled(await other.read(action), decision="reject", operator="sato", reason="違います")
    answers: list[httpx2.Response] = []

    async def send(browser: Browser, fields: dict[str, str]) -> None:
        answers.append(await browser.send(action, fields))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, one, yes)
        tasks.start_soon(send, other, no)

    state = page.stage.find(action.id).state
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert state in {State.APPROVED, State.REJECTED}
    assert page.woken == ([action.id] if state is State.APPROVED else [])


async def test_an_expired_action_offers_no_form_and_takes_no_vote(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    page.stage.clock.advance(seconds=page.stage.settings.timing.awaiting_s - 60)
    browser = page.browser()
    seen = await browser.read(action)
    page.stage.clock.advance(seconds=60)

    answer = await browser.send(action, filled(seen))
    shown = await browser.get(f"/approvals/{action.id}")

    assert answer.status_code == 409
    assert "期限切れです" in banner(answer)
    assert "期限切れ" in shown.text
    assert "<form" not in shown.text
    assert page.votes(action) == []


async def test_a_form_holds_for_an_hour(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser()
    fields = filled(await browser.read(action), reason="長い電話のあと")
    page.stage.clock.advance(seconds=int(TOKEN_LIFE.total_seconds()))

    late = await browser.send(action, fields)
    fresh = await browser.send(action, fields | hidden_fields(late.text))

    assert (late.status_code, fresh.status_code) == (403, 303)
    assert ">長い電話のあと</textarea>" in late.text


@pytest.mark.parametrize("lacking", [{"operator": ""}, {"passphrase": ""}, {"reason": "長" * 501}])
async def test_an_incomplete_form_is_given_back_and_costs_no_try(page: Page, lacking: dict[str, str]) -> None:
    action = page.stage.propose("A-1", 200_000)
    before = page.dump()

    answer = await page.browser().decide(action, **lacking)

    assert answer.status_code == 400
    assert banner(answer)
    assert page.dump() == before


# the execution behind it


async def test_a_long_execution_does_not_hold_the_answer_back(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "PATIENCE_S", 0.01)
    action = page.stage.propose("A-1", 200_000)
    finish, finished = anyio.Event(), anyio.Event()

    async def slow(action_id: str) -> None:
        page.stage.claims.take(action_id)
        await finish.wait()
        finished.set()

    browser = page.browser(dataclasses.replace(page.rooms, wake=slow))
    answer = await browser.decide(action)
    shown = await browser.get(f"/approvals/{action.id}")
    finish.set()
    await finished.wait()

    assert answer.status_code == 303
    assert "実行中" in shown.text
    assert '<meta http-equiv="refresh" content="2">' in shown.text


async def test_an_executor_that_fails_does_not_undo_the_approval(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    action = page.stage.propose("A-1", 200_000)

    async def fails(_action_id: str) -> None:
        raise RuntimeError("no executor")

    answer = await page.browser(dataclasses.replace(page.rooms, wake=fails)).decide(action)

    assert answer.status_code == 303
    assert page.stage.find(action.id).state is State.APPROVED
    assert "could not be started at once" in caplog.text


async def test_an_unknown_outcome_warns_against_entering_it_by_hand(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    page.sql("UPDATE action SET state = 'unknown'")

    shown = await page.browser().get(f"/approvals/{action.id}")

    assert "登録された可能性があります" in shown.text
    assert "手作業で登録しないでください" in shown.text


async def test_a_page_with_too_many_decisions_waiting_asks_to_come_back(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter, "MAX_QUEUE", 0)
    action = page.stage.propose("A-1", 200_000)

    answer = await page.browser().decide(action)

    assert answer.status_code == 503
    assert page.stage.find(action.id).state is State.AWAITING


# requests that are not from our page


@dataclass(frozen=True)
class Attempt:
    """A request that would be an approval, with the right passphrase, before a test bends it."""

    path: str
    fields: Mapping[str, str]
    cookie: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"origin": ORIGIN, "content-type": FORM, **FETCH})
    body: bytes | None = None

    def without(self, *names: str) -> Attempt:
        return self.but(headers={name: value for name, value in self.headers.items() if name not in names})

    def says(self, **headers: str) -> Attempt:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.but(headers={**self.headers, **said})

    def fills(self, **fields: str) -> Attempt:
        return self.but(fields={**self.fields, **fields})

    def lacks(self, name: str) -> Attempt:
        return self.but(fields={key: value for key, value in self.fields.items() if key != name})

    def but(self, **changes: Any) -> Attempt:
        return dataclasses.replace(self, **changes)

    def in_the_query(self) -> Attempt:
        return self.but(path=f"{self.path}?{urlencode(self.fields)}", body=b"")

    def as_json(self) -> Attempt:
        return self.but(body=json.dumps(dict(self.fields)).encode()).says(content_type="application/json")

    def as_multipart(self) -> Attempt:
        parts = [
            f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields.items()
        ]
        body = "".join([*parts, "--x--\r\n"]).encode()
        return self.but(body=body).says(content_type="multipart/form-data; boundary=x")

    def as_body(self, before: bytes = b"", after: bytes = b"") -> Attempt:
        return self.but(body=before + urlencode(self.fields).encode() + after)


Bend = Callable[[Attempt], Attempt]


def unbent(attempt: Attempt) -> Attempt:
    return attempt


def without_fetch_metadata(attempt: Attempt) -> Attempt:
    """As a browser of before 2023 asks."""
    return attempt.without(*FETCH)


EVIL: Final = "https://evil.example"
OTHER_ACTION: Final = "OTHER"
"""Put in place of the action's id: the id of another action that waits."""

SHAPES: Final[dict[str, tuple[int, Bend]]] = {
    # origin
    "no origin": (403, lambda a: a.without("origin")),
    "no origin and no fetch metadata, like curl": (403, lambda a: a.without("origin", *FETCH)),
    "null origin, like a sandboxed frame": (403, lambda a: a.says(origin="null")),
    "empty origin": (403, lambda a: a.says(origin="")),
    "foreign origin": (403, lambda a: a.says(origin=EVIL)),
    "foreign origin of an old browser": (403, lambda a: a.without(*FETCH).says(origin=EVIL)),
    "another port of this machine": (403, lambda a: a.says(origin="http://127.0.0.1:3000")),
    "another name of this machine": (403, lambda a: a.says(origin="http://localhost:8765")),
    "no port": (403, lambda a: a.says(origin="http://127.0.0.1")),
    "https for http": (403, lambda a: a.says(origin="https://127.0.0.1:8765")),
    "our origin as a prefix": (403, lambda a: a.says(origin=f"{ORIGIN}.evil.example")),
    "our origin with a path": (403, lambda a: a.says(origin=f"{ORIGIN}/")),
    "our origin in capitals": (403, lambda a: a.says(origin=ORIGIN.upper())),
    "two origins in one header": (403, lambda a: a.says(origin=f"{ORIGIN}, {EVIL}")),
    "a rebound host with our origin": (403, lambda a: a.says(host="evil.example:8765")),
    # fetch metadata
    "cross-site": (403, lambda a: a.says(sec_fetch_site="cross-site")),
    "same-site, such as another port": (403, lambda a: a.says(sec_fetch_site="same-site")),
    "typed into the address bar": (403, lambda a: a.says(sec_fetch_site="none")),
    "made-up site": (403, lambda a: a.says(sec_fetch_site="same-origin, same-origin")),
    "in an iframe": (403, lambda a: a.says(sec_fetch_dest="iframe")),
    "in an object": (403, lambda a: a.says(sec_fetch_dest="object")),
    "fetch with cors": (403, lambda a: a.says(sec_fetch_mode="cors", sec_fetch_dest="empty")),
    "fetch with no-cors": (403, lambda a: a.says(sec_fetch_mode="no-cors", sec_fetch_dest="empty")),
    # form
    "multipart": (415, lambda a: a.as_multipart()),
    "text/plain": (415, lambda a: a.says(content_type="text/plain")),
    "json": (415, lambda a: a.as_json()),
    "no content type": (415, lambda a: a.without("content-type")),
    "a form type that only begins like ours": (415, lambda a: a.says(content_type=f"{FORM}-not")),
    "a compressed body": (415, lambda a: a.says(content_encoding="gzip")),
    "oversized": (413, lambda a: a.fills(reason="x" * 20_000)),
    "not a form": (400, lambda a: a.but(body=b"decision")),
    "bytes that are not UTF-8": (400, lambda a: a.as_body(after=b"%ff")),
    "raw bytes": (400, lambda a: a.lacks("reason").as_body(before=b"reason=\xff&")),
    "a field twice": (400, lambda a: a.lacks("reason").as_body(after=b"&decision=approve")),
    "a field too many": (400, lambda a: a.fills(next="//evil.example")),
    "a field too few": (400, lambda a: a.lacks("reason")),
    "a decision we do not know": (400, lambda a: a.fills(decision="resolve")),
    "a digest that is none": (400, lambda a: a.fills(digest="x")),
    "the fields in the query": (400, lambda a: a.in_the_query()),
    # token and cookie
    "empty token": (403, lambda a: a.fills(token="")),
    "forged token": (403, lambda a: a.fills(token=f"{a.fields['token'][:-64]}{'0' * 64}")),
    "prolonged token": (403, lambda a: a.fills(token=f"9{a.fields['token']}")),
    "token of another digest": (403, lambda a: a.fills(digest="0" * 64)),
    "token of another action": (403, lambda a: a.but(path=f"/approvals/{OTHER_ACTION}/decision")),
    "an action that is not there": (404, lambda a: a.but(path="/approvals/act-none/decision")),
    "missing cookie": (403, lambda a: a.but(cookie="")),
    "cookie of another browser": (403, lambda a: a.but(cookie=f"seikyu_page={'A' * 43}")),
    "a cookie set by another site": (403, lambda a: a.but(cookie="seikyu_page=chosen")),
    "a name's cookie alone": (403, lambda a: a.but(cookie="seikyu_operator=tanaka")),
    # method and address
    "GET with the parameters": (405, lambda a: a.in_the_query().but(method="GET")),
    "GET with a method override": (405, lambda a: a.but(method="GET").says(x_http_method_override="POST")),
    "HEAD": (405, lambda a: a.but(method="HEAD")),
    "OPTIONS": (405, lambda a: a.but(method="OPTIONS")),
    "PUT": (405, lambda a: a.but(method="PUT")),
    "PATCH": (405, lambda a: a.but(method="PATCH")),
    "DELETE": (405, lambda a: a.but(method="DELETE")),
    "POST to the card": (405, lambda a: a.but(path=a.path.removesuffix("/decision"))),
    "POST to the register": (405, lambda a: a.but(path="/approvals")),
}


@pytest.fixture(scope="module")
def besieged(
    enrolled: tuple[Path, Key, Key], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Page, Action, Action]]:
    made = move_in(enrolled, tmp_path_factory.mktemp("besieged") / "home")
    yield made, made.stage.propose("A-1", 200_000), made.stage.propose("A-2", 210_000)
    close(made)


async def _attempt(page: Page, action: Action) -> Attempt:
    browser = page.browser()
    fields = filled(await browser.read(action))
    return Attempt(f"/approvals/{action.id}/decision", fields, f"seikyu_page={browser.client.cookies['seikyu_page']}")


async def _make(page: Page, attempt: Attempt) -> httpx2.Response:
    cookie = {"cookie": attempt.cookie} if attempt.cookie else {}
    body = urlencode(attempt.fields).encode() if attempt.body is None else attempt.body
    client = page.browser().client
    return await client.request(attempt.method, attempt.path, headers={**attempt.headers, **cookie}, content=body)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_request_that_is_not_from_our_page_changes_nothing(
    besieged: tuple[Page, Action, Action], shape: str
) -> None:
    page, action, other = besieged
    status, bend = SHAPES[shape]
    bent = bend(await _attempt(page, action))
    before = page.dump()

    answer = await _make(page, bent.but(path=bent.path.replace(OTHER_ACTION, other.id)))

    assert page.dump() == before
    assert page.woken == []
    assert answer.status_code == status
    assert PASSPHRASE not in answer.text


@pytest.mark.parametrize("bend", [unbent, without_fetch_metadata])
async def test_the_same_request_unbent_is_an_approval(page: Page, bend: Bend) -> None:
    action = page.stage.propose("A-1", 200_000)

    answer = await _make(page, bend(await _attempt(page, action)))

    assert answer.status_code == 303
    assert page.stage.find(action.id).state is State.APPROVED


async def test_a_body_without_an_announced_length_is_cut_off(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)

    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    answer = await page.browser().client.post(
        f"/approvals/{action.id}/decision", content=endless(), headers={"origin": ORIGIN, "content-type": FORM}
    )

    assert answer.status_code == 413


async def test_behind_the_doors_the_page_works_and_a_rebound_host_does_not(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    hosts = own_hosts("127.0.0.1", 8765)
    app = Doors(Starlette(routes=approval_routes(page.rooms)), hosts, own_origins(hosts))
    transport = httpx2.ASGITransport(app=app)
    browser = Browser(transport, httpx2.AsyncClient(transport=transport, base_url=ORIGIN), ORIGIN)

    rebound = await browser.client.get("/approvals", headers={"host": "evil.example:8765"})
    answer = await browser.decide(action)

    assert (rebound.status_code, answer.status_code) == (421, 303)


# what leaves the page


EVERY_ANSWER: Final = [
    ("GET", "/approvals", 200),
    ("GET", "/approvals/", 200),
    ("GET", "/approvals?before=act-9", 200),
    ("GET", "/approvals/ID", 200),
    ("HEAD", "/approvals/ID", 200),
    ("GET", "/approvals/act-00000000000000000000", 404),
    ("GET", "/approvals/..%2f..%2fetc%2fpasswd", 404),
    ("GET", "/approvals/static/seikyu.css", 200),
    ("GET", "/approvals/static/other.css", 404),
    ("GET", "/approvals/ID/decision", 405),
    ("POST", "/approvals/ID/decision", 403),
    ("DELETE", "/approvals/ID", 405),
]


@pytest.mark.parametrize("method,path,status", EVERY_ANSWER)
async def test_every_answer_carries_the_guarding_headers(
    besieged: tuple[Page, Action, Action], method: str, path: str, status: int
) -> None:
    page, action, _other = besieged

    answer = await page.browser().client.request(method, path.replace("ID", action.id))

    assert answer.status_code == status
    assert_guarded(answer)


async def test_the_redirect_after_a_decision_carries_the_guarding_headers_too(page: Page) -> None:
    assert_guarded(await page.browser().decide(page.stage.propose("A-1", 200_000)))


class BrokenCards(CardIndex):
    """A card index with a fault of ours in it."""

    def card(self, action_id: str) -> NoReturn:
        raise RuntimeError(f"secret detail of {action_id}")


async def test_a_fault_of_ours_tells_where_to_look_and_nothing_else(page: Page) -> None:
    broken = BrokenCards(page.stage.store, {}, None)
    answer = await page.browser(dataclasses.replace(page.rooms, cards=broken)).get("/approvals/act-1")

    assert answer.status_code == 500
    assert "履歴で確かめてください" in banner(answer)
    assert "secret detail" not in answer.text
    assert_guarded(answer)


async def test_the_cookies_stay_in_the_browser_and_hold_no_secret_but_their_own(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser(origin="https://seikyu.example")

    shown = await browser.get(f"/approvals/{action.id}")
    answer = await browser.decide(action)

    for cookie in (shown.headers["set-cookie"], answer.headers["set-cookie"]):
        assert {"HttpOnly", "SameSite=strict", "Path=/approvals", "Secure"} <= set(cookie.split("; "))
    assert answer.headers["set-cookie"].startswith("seikyu_operator=tanaka;")


async def test_a_browser_that_has_a_session_keeps_it(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser()
    await browser.read(action)

    again = await browser.get(f"/approvals/{action.id}")

    assert "set-cookie" not in again.headers


async def test_the_passphrase_is_nowhere_but_in_the_request(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong, right = "canary of a wrong passphrase", PASSPHRASE
    action, browser = page.stage.propose("A-1", 200_000), page.browser()

    answers = [
        await browser.decide(action, passphrase=wrong),
        await browser.decide(action, passphrase=right, reason="長" * 501),
        await browser.decide(action, passphrase=right, token="0.0"),
        await browser.decide(action, passphrase=right),
        await browser.decide(action, "revoke", passphrase=wrong),
        await browser.get(f"/approvals/{action.id}"),
        await browser.get("/approvals"),
    ]

    kept = [page.dump(), caplog.text, *(f"{answer.headers}{answer.text}" for answer in answers)]
    for canary in (wrong, right):
        assert not any(canary in text for text in kept)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_shown_and_never_run(page: Page, name: str) -> None:
    action = page.stage.propose("A-1", 200_000, counterparty_name=name, requester=f"r{name}")

    browser = page.browser()
    pages_shown = [
        await browser.get("/approvals"),
        await browser.get(f"/approvals/{action.id}"),
        await browser.decide(action, passphrase="wrong passphrase", operator=name, reason=name),
    ]
    await browser.decide(action, "return", reason=name)
    pages_shown.append(await browser.get(f"/approvals/{action.id}"))

    for shown in pages_shown:
        assert_harmless(shown)
    assert "200,000円" in pages_shown[1].text


async def test_a_name_of_any_length_and_the_amount_are_never_cut_by_the_page(page: Page) -> None:
    name = "株式会社" + "長" * 230 + "末尾"
    action = page.stage.propose("A-1", 2_147_483, counterparty_name=name, counterparty_id="C" * 100)

    shown = await page.browser().get(f"/approvals/{action.id}")

    assert "2,147,483円" in shown.text
    assert f"{name}（{'C' * 100}）" in shown.text
    assert action.digest in shown.text


async def test_the_page_needs_no_script_no_inline_style_and_nobody_else(page: Page) -> None:
    action = page.stage.propose("A-1", 1_100_000)
    browser = page.browser()

    shown = [await browser.get("/approvals"), await browser.get(f"/approvals/{action.id}")]
    css = await browser.get("/approvals/static/seikyu.css")

    for text in (*(one.text for one in shown), css.text):
        assert "<script" not in text
        assert "style=" not in text
        assert "://" not in text
        assert "@import" not in text
        assert "url(" not in text


async def test_enter_in_a_field_presses_no_decision(page: Page) -> None:
    shown = await page.browser().get(f"/approvals/{page.stage.propose('A-1', 200_000).id}")

    first = re.search(r"<button[^>]*>", shown.text)
    assert first is not None
    assert first[0] == '<button type="submit" hidden disabled>'


# the register


async def test_an_empty_register_says_so(page: Page) -> None:
    shown = await page.browser().get("/approvals")

    assert "承認待ちの申請はありません。" in shown.text


async def test_the_register_puts_what_waits_first_and_counts_it(page: Page) -> None:
    done = page.stage.propose("A-1", 40_000)
    waiting = [page.stage.propose(f"B-{n}", 200_000 + n, counterparty_name=f"取引先{n}") for n in range(3)]

    shown = (await page.browser().get("/approvals")).text

    assert "3件" in shown
    assert shown.index(waiting[0].id) < shown.index("最近の申請") < shown.index(done.id)
    assert '<td class="number" data-label="金額">200,001円</td>' in shown
    assert shown.count("サンドボックス") == 4


async def test_the_register_is_turned_page_by_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "RECENT", 2)
    actions: list[Action] = []
    for number in range(3):
        page.stage.clock.advance(seconds=1)
        actions.append(page.stage.propose(f"A-{number}", 40_000 + number))
    browser = page.browser()

    first = (await browser.get("/approvals")).text
    link = re.search(r'href="(/approvals\?before=[^"]+)"', first)
    assert link is not None
    second = (await browser.get(link[1])).text

    assert [action.id in first for action in actions] == [False, True, True]
    assert [action.id in second for action in actions] == [True, False, False]


async def test_production_is_marked_on_the_card_and_in_the_register(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    content = action.canonical.replace('"sandbox"', '"production"')
    page.sql("UPDATE action SET canonical = ?, digest = ?", content, hashlib.sha256(content.encode()).hexdigest())
    browser = page.browser()

    card, register = await browser.get(f"/approvals/{action.id}"), await browser.get("/approvals")

    assert '<p class="band production"><strong>本番</strong>' in card.text
    assert '<span class="tag production">本番</span>' in register.text


async def test_a_likeness_to_another_action_is_a_link_to_it(page: Page) -> None:
    twin = page.stage.propose("A-1", 200_000)
    action = page.stage.propose("A-2", 200_000)

    shown = await page.browser().get(f"/approvals/{action.id}")

    assert f'似た申請があります: <a href="/approvals/{twin.id}">{twin.id}</a>' in shown.text
    assert "looks like a duplicate" in shown.text


async def test_the_page_speaks_english_when_the_house_does(page: Page) -> None:
    page.lang = "en"
    action = page.stage.propose("A-1", 200_000)

    shown = await page.browser().get(f"/approvals/{action.id}")
    wrong = await page.browser().decide(action, passphrase="not the passphrase")

    assert '<html lang="en">' in shown.text
    assert ">Approve</button>" in shown.text
    assert banner(wrong).startswith("The operator's name or passphrase is wrong. This decision was not recorded.")


async def test_an_operation_this_version_does_not_know_is_listed_and_not_shown(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    cards = CardIndex(page.stage.store, {}, None)
    browser = page.browser(dataclasses.replace(page.rooms, cards=cards))

    listed, shown = await browser.get("/approvals"), await browser.get(f"/approvals/{action.id}")

    assert "この版にありません" in listed.text
    assert shown.status_code == 404


def test_the_template_engine_is_loaded_only_when_the_routes_are_built() -> None:
    code = "import sys, seikyu.surfaces.web; sys.exit('jinja2' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], env=_environment(), check=False)

    assert loaded.returncode == 0


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_every_event_and_advice_is_in_both_languages() -> None:
    texts: list[Text] = [*EVENTS.values(), *sheets.NEXT.values()]

    assert all(text.ja and text.en for text in texts)


async def test_both_pages_say_that_everything_is_frozen_and_why(page: Page) -> None:
    stage, browser = page.stage, page.browser()
    action = stage.propose("A-1", 50_000)
    before = (await browser.get("/approvals")).text + (await browser.get(f"/approvals/{action.id}")).text
    freezing.freeze(stage.store, stage.clock, os_user="ito", operator=None, reason="<b>疑い</b>")

    register, sheet = await browser.get("/approvals"), await browser.get(f"/approvals/{action.id}")

    said = "緊急停止中です。何も送信されません（ito: &lt;b&gt;疑い&lt;/b&gt;）。"
    assert said in register.text
    assert said in sheet.text
    assert "緊急停止が解除されるまで送信されません" in sheet.text
    assert "緊急停止" not in before


async def test_a_delegate_chooses_for_whom_and_the_page_says_so(page: Page) -> None:
    stage = page.stage
    operators.grant(stage.store, stage.clock, "sato", roles=[], ceiling=0, by=page.tanaka)
    action = stage.propose("A-1", 2_000_000)
    browser = page.browser()
    before = await browser.client.get(f"/approvals/{action.id}")
    operators.lend(stage.store, stage.clock, "sato", until=date(2026, 12, 1), ceiling=None, by=page.tanaka)
    offered = await browser.client.get(f"/approvals/{action.id}")

    above = await browser.decide(action, operator="sato")
    await browser.decide(action, operator="sato", acting_for="tanaka")
    after = await browser.client.get(f"/approvals/{action.id}")

    assert 'name="acting_for"' not in before.text
    assert '<option value="tanaka">' in offered.text
    assert "不足: 操作者 2名" in offered.text
    assert (above.status_code, "承認できるのは 0円 まで" in banner(above)) == (403, True)
    assert "sato（tanaka の代理、2026-12-01 まで）" in after.text
    assert "不足: 操作者 1名" in after.text
    assert page.votes(action) == ["sato"]


async def test_somebody_who_was_lent_nothing_decides_for_nobody(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)

    answer = await page.browser().decide(action, operator="sato", acting_for="tanaka")

    assert answer.status_code == 403
    assert "tanaka の代理として決定できません" in banner(answer)
    assert page.votes(action) == []
