"""Money Forward Kessai's events: in by the HTTP door, real gate, real SQLite, a pretend provider to re-read."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from gate.stage import PretendClock, Stage, make_stage
from seikyu.errors import StoreBusy, Text
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.gate.events import KEPT, Event, EventBook, Receipt
from seikyu.models import Connection
from seikyu.spec import Lost
from seikyu.surfaces import envelopes
from seikyu.surfaces.doors import Doors
from seikyu.surfaces.signatures import Envelope, is_signed_by_mfk, slack_mark
from seikyu.surfaces.webhooks import Hooks, webhook_routes
from surfaces.signing import (
    MFK_SECRET,
    SLACK_SECRET,
    Headers,
    bad_for_mfk,
    bad_for_slack,
    mfk_signature,
    slack_headers,
    slack_signature,
)

pytestmark = pytest.mark.anyio

PATH: Final = "/webhooks/mfkessai/mfk-main"


@dataclass
class Office:
    """A gate with a webhook in front of it."""

    stage: Stage
    secrets: list[str] = field(default_factory=lambda: [MFK_SECRET])

    @property
    def events(self) -> EventBook:
        stage = self.stage
        return EventBook(stage.store, stage.clock, stage.claims, stage.executor, lambda _connection: stage.provider)

    def secrets_of(self, _connection: Connection) -> list[str]:
        return self.secrets

    def client(self, events: Any = None) -> httpx2.AsyncClient:
        hooks = Hooks(self.stage.store, events or self.events, self.stage.settings.connections, self.secrets_of)
        app = Doors(Starlette(routes=webhook_routes(hooks)), ["127.0.0.1:8787"], [], ["hooks.example.jp:443"])
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8787")

    async def post(self, body: bytes, headers: Headers | None = None, path: str = PATH, events: Any = None) -> int:
        given = headers if headers is not None else [(b"x-mfkessai-signature", mfk_signature(body))]
        async with self.client(events) as client:
            return (await client.post(path, content=body, headers=list(given))).status_code

    async def done(self, number: str = "N-1", amount: int = 10_000) -> Action:
        """An action that took effect."""
        return await self.stage.executor.execute(self.stage.propose(number, amount).id)

    def records(self, kind: str) -> list[dict[str, Any]]:
        with self.stage.store.read() as tx:
            rows = tx.all("audit_page", after=0, limit=1000)
        return [json.loads(row["record"]) for row in rows if row["kind"] == kind]

    def verified(self) -> str | None:
        return audit.verify(self.stage.store).fault


@pytest.fixture
async def office(tmp_path: Path, database_url: SecretStr | None) -> AsyncGenerator[Office]:
    stage = make_stage(tmp_path, database_url=database_url)
    yield Office(stage)
    stage.store.close()


def examined(event_id: str = "9NV9-PVP6", number: str = "N-1", **changes: object) -> bytes:
    """Like the example in MFK's reference."""
    told = {
        "event_id": event_id,
        "type": "transaction.examined",
        "transaction_id": f"tx-{number}",
        "transaction_number": number,
        "result": "passed",
        "created_at": "2026-11-21T12:00:00+09:00",
    }
    return json.dumps(told | changes, ensure_ascii=False).encode()


# who sent it

NOW: Final = PretendClock().now()
NOW_S: Final = int(NOW.timestamp())
SOME_BODY: Final = examined()


def test_the_examples_of_both_references_are_signed() -> None:
    kessai = Envelope(
        [(b"X-MFKessai-Signature", b"43597a97960d4c05d4c4bc2fe5bf8ffbb7b38d844b2dda9927ca62afe1b0fe0e")],
        b"your request body",
    )
    # docs.slack.dev, verifying requests from Slack, read 2026-11-21
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
        b"47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )

    assert is_signed_by_mfk(kessai, secrets=["your secret"])
    assert slack_signature(body, b"1531420618") == (
        b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    )


async def test_what_mfk_did_not_sign_is_refused_and_leaves_no_trace(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cases = list(bad_for_mfk(SOME_BODY))

    answered = {case.why: await office.post(case.body, case.headers) for case in cases}

    assert len(answered) >= 55
    assert {why: status for why, status in answered.items() if status not in {400, 401}} == {}
    assert office.records("event.received") == []
    assert mfk_signature(SOME_BODY).decode() not in caplog.text


def test_what_slack_did_not_sign_is_not_even_parsed() -> None:
    cases = [case for case in bad_for_slack(b"payload=%7B%7D", NOW_S) if not case.is_signed]

    believed = [
        case.why
        for case in cases
        if slack_mark(Envelope(case.headers, case.body), secrets=[SLACK_SECRET], now=NOW) is not None
    ]

    assert len(cases) >= 60
    assert believed == []


def test_a_slack_request_holds_for_five_minutes_either_way_and_has_a_mark_of_its_own() -> None:
    body = b"payload=%7B%7D"
    marks = [
        slack_mark(Envelope(slack_headers(body, NOW_S + skew), body), secrets=["", "old", SLACK_SECRET], now=NOW)
        for skew in (-300, 0, 0, 300)
    ]

    assert None not in marks
    assert len(set(marks)) == 3


@pytest.mark.parametrize("path", ["/webhooks/mfkessai/", "/webhooks/mfkessai/other", "/webhooks/invox/mfk-main"])
async def test_an_endpoint_nobody_set_up_takes_nothing(office: Office, path: str) -> None:
    assert await office.post(SOME_BODY, path=path) in {401, 404}


async def test_a_connection_without_a_secret_takes_nothing(office: Office) -> None:
    office.secrets.clear()

    assert await office.post(SOME_BODY) == 401


async def test_both_secrets_hold_while_one_takes_over_from_the_other(office: Office) -> None:
    office.secrets.insert(0, "the-new-endpoint-secret")
    by_new = [(b"x-mfkessai-signature", mfk_signature(SOME_BODY, "the-new-endpoint-secret"))]

    assert (await office.post(SOME_BODY), await office.post(SOME_BODY, by_new)) == (200, 200)


# what it does


@pytest.mark.both_stores
async def test_an_event_about_a_finished_action_makes_seikyu_ask_how_it_stands(office: Office) -> None:
    action = await office.done()
    office.stage.provider.standing["tx-N-1"] = "rejected"

    status = await office.post(examined(result="passed"))
    await office.events.sweep()

    found = office.stage.find(action.id)
    view = office.stage.cards.view(found, have=0, lang="en")
    assert status == 200
    assert (view.status, view.written, view.provider_status) == ("succeeded", "yes", "rejected")
    assert "from passed to rejected" in view.summary
    assert office.verified() is None


async def test_what_an_event_claims_changes_nothing(office: Office) -> None:
    action = await office.done()
    before = office.stage.find(action.id)

    await office.post(examined(result="rejected", status="canceled", amount=1))
    await office.events.sweep()

    assert office.stage.find(action.id) == before
    assert office.stage.provider.reads == 1


@pytest.mark.both_stores
@pytest.mark.fault("F56")
async def test_f56_six_deliveries_at_once_and_out_of_order_are_one_look_each(office: Office) -> None:
    action = await office.done()
    office.stage.provider.standing["tx-N-1"] = "rejected"
    late, early = examined("E-2", result="rejected"), examined("E-1", result="passed")

    statuses: list[int] = []

    async def deliver(body: bytes) -> None:
        statuses.append(await office.post(body))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(deliver, late)
            tasks.start_soon(deliver, early)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(office.events.sweep)

    assert statuses == [200] * 12
    assert office.stage.provider.reads == 2
    assert len(office.records("event.received")) == 2
    assert len(office.records("provider_says")) == 1
    assert json.loads(office.stage.find(action.id).provider_facts or "")["status"] == "rejected"


@pytest.mark.fault("F56")
async def test_f56_the_event_is_kept_before_it_is_answered_and_refused_while_it_cannot_be(office: Office) -> None:
    class Full:
        """A database that takes nothing."""

        def receive(self, _event: Event) -> Receipt:
            raise StoreBusy(Text("満杯です。", "It is full."))

    refused = await office.post(SOME_BODY, events=Full())
    taken = await office.post(SOME_BODY)

    assert (refused, taken) == (503, 200)
    assert [record["event"] for record in office.records("event.received")] == ["9NV9-PVP6"]


@pytest.mark.both_stores
@pytest.mark.fault("F57")
async def test_f57_the_same_event_with_another_body_is_kept_flagged_and_not_followed(office: Office) -> None:
    await office.done("N-1")
    await office.done("N-2")
    await office.post(examined("E-1", "N-1"))
    await office.events.sweep()

    status = await office.post(examined("E-1", "N-2"))
    again = await office.post(examined("E-1", "N-2"))
    looked = await office.events.sweep()

    flagged = office.records("event.conflict")
    assert (status, again, looked, office.stage.provider.reads) == (200, 200, 0, 1)
    assert [record["event"] for record in flagged] == ["E-1"]


@pytest.mark.fault("F57")
async def test_f57_the_header_cannot_give_a_signed_body_another_name(office: Office) -> None:
    body = examined("E-1")
    signature = (b"x-mfkessai-signature", mfk_signature(body))

    first = await office.post(body, [signature, (b"x-mfkessai-event-id", b"E-1")])
    renamed = await office.post(body, [signature, (b"x-mfkessai-event-id", b"E-2")])

    assert (first, renamed) == (200, 400)


@pytest.mark.both_stores
@pytest.mark.fault("F58")
async def test_f58_an_event_that_overtakes_our_own_answer_is_about_the_same_action(office: Office) -> None:
    stage = office.stage
    statuses: list[int] = []
    looked: list[int] = []

    def overtake() -> None:
        async def tell() -> None:
            statuses.append(await office.post(examined()))
            looked.append(await office.events.sweep())

        anyio.run(tell)

    stage.provider.before_answer = lambda: run_elsewhere(overtake)
    action = await office.done()
    stage.clock.advance(seconds=5)
    looked.append(await office.events.sweep())

    assert (statuses, looked) == ([200], [1, 1])
    assert (stage.find(action.id).state, stage.provider.sends) == (State.SUCCEEDED, 1)
    assert stage.desk.page(requester="suzuki", state=None, limit=5, cursor=None).total == 1


def run_elsewhere(work: Callable[[], None]) -> None:
    """In a thread with a loop of its own, to its end: another process, as far as the database can tell."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=30)


async def test_an_event_about_a_lost_answer_makes_seikyu_look_it_up_at_once(office: Office) -> None:
    stage = office.stage
    stage.provider.answers = [lambda request: (stage.provider.book(request), Lost(Text("切断", "cut")))[1]]
    action = await office.done()
    assert action.state is State.UNKNOWN

    await office.post(examined())
    await office.events.sweep()

    assert (stage.find(action.id).state, stage.provider.sends) == (State.SUCCEEDED, 1)


@pytest.mark.both_stores
async def test_an_event_about_a_number_we_say_is_not_written_is_an_alarm(office: Office) -> None:
    action = office.stage.propose("N-1", 100_000)

    await office.post(examined())
    await office.events.sweep()

    assert office.stage.find(action.id).state is State.AWAITING
    assert [record["event"] for record in office.records("contradicted")] == ["9NV9-PVP6"]
    assert office.verified() is None


@pytest.mark.parametrize(
    "body",
    [
        examined(number="N-99"),
        json.dumps({"event_id": "E-5", "type": "invoice.issued", "billing_id": "B-1"}).encode(),
        json.dumps({"event_id": "E-6", "type": "something.new", "unknown": {"deep": [1.5]}}).encode(),
    ],
)
async def test_an_event_that_is_not_about_us_is_kept_and_closed(office: Office, body: bytes) -> None:
    await office.done()

    status = await office.post(body)
    swept = [await office.events.sweep(), await office.events.sweep()]

    assert (status, swept, office.stage.provider.reads) == (200, [1, 0], 0)


@pytest.mark.both_stores
async def test_an_event_waits_while_the_provider_does_not_answer(office: Office) -> None:
    stage = office.stage
    await office.done()
    stage.provider.is_down = True
    await office.post(examined())
    tries: list[int] = []
    for _ in range(4):
        tries.append(await office.events.sweep())
        stage.clock.advance(seconds=6)
    stage.provider.is_down = False
    stage.clock.advance(hours=2)

    tries += [await office.events.sweep(), await office.events.sweep()]

    assert tries == [1, 1, 1, 0, 1, 0]
    assert len(office.records("event.looked_into")) == 1


@pytest.mark.both_stores
async def test_an_events_id_is_known_for_at_least_ninety_days(office: Office) -> None:
    await office.done()
    await office.post(examined("E-1"))
    await office.events.sweep()
    office.stage.clock.advance(days=90)
    known = await office.post(examined("E-1"))
    swept = await office.events.sweep()
    office.stage.clock.advance(days=KEPT.days)
    await office.post(examined("E-2"))

    assert (known, swept) == (200, 0)
    with office.stage.store.read() as tx:
        assert tx.all("events_named", connection="mfk-main", event_id="E-1") == []


# how much, and for how long


async def test_a_body_of_just_the_size_limit_is_taken(office: Office) -> None:
    body = SOME_BODY.ljust(envelopes.MAX_BODY)

    assert await office.post(body) == 200


async def test_a_body_that_says_it_is_packed_is_not_read_though_its_bytes_are_signed(office: Office) -> None:
    signed = (b"x-mfkessai-signature", mfk_signature(SOME_BODY))

    assert await office.post(SOME_BODY, [signed, (b"content-encoding", b"gzip")]) == 400
    assert office.records("event.received") == []


async def test_a_body_that_never_ends_is_refused_after_a_while_though_what_came_is_signed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelopes, "PATIENCE_S", 0.01)

    async def slow() -> AsyncGenerator[bytes]:
        yield SOME_BODY
        await anyio.sleep_forever()

    async with office.client() as client:
        with anyio.fail_after(10):
            signed = {"x-mfkessai-signature": mfk_signature(SOME_BODY).decode()}
            refused = await client.post(PATH, content=slow(), headers=signed)

    assert (refused.status_code, refused.text) == (400, "The body cannot be read.\n")
    assert office.records("event.received") == []


async def test_no_answer_is_kept_by_a_cache_or_read_as_anything_but_text(office: Office) -> None:
    async with office.client() as client:
        signed = {"x-mfkessai-signature": mfk_signature(SOME_BODY).decode()}
        kept, refused = await client.post(PATH, content=SOME_BODY, headers=signed), await client.post(PATH, content=b"")

    assert (kept.status_code, kept.text, refused.status_code) == (200, "kept\n", 401)
    for given in (kept, refused):
        assert given.headers["cache-control"] == "no-store"
        assert given.headers["x-content-type-options"] == "nosniff"


# the door


async def test_the_public_name_opens_the_signed_routes_only(office: Office) -> None:
    async with office.client() as client:
        public = {"host": "hooks.example.jp", "x-forwarded-for": "203.0.113.7"}
        signed = {"x-mfkessai-signature": mfk_signature(SOME_BODY).decode()}
        taken = await client.post(PATH, content=SOME_BODY, headers=public | signed)
        browser = await client.post(
            PATH, content=SOME_BODY, headers=public | signed | {"origin": "https://evil.example"}
        )
        looked = await client.get(PATH, headers=public)
        elsewhere = [
            (await client.request(method, path, headers=public)).status_code
            for path in ("/mcp", "/approvals", "/approvals/x/decision", "/healthz", "/webhooks", "/slack", "/")
            for method in ("GET", "POST")
        ]

    assert (taken.status_code, browser.status_code, looked.status_code) == (200, 421, 421)
    assert set(elsewhere) == {421}
