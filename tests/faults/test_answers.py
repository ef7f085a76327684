"""What a provider may answer to a write, and what the assistant and the operator are told of it."""

from __future__ import annotations

import json
import logging
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import pytest

from e2e.assistant import CREATE, draft
from faults.between import JSON, Script, after, altered, resets, says
from faults.house import FREE_DOCUMENTS, LOOK, POST, SECRET, STORE, UPLOAD, House, document, open_house
from gate.stage import CONNECTION as STAGE_CONNECTION
from gate.stage import make_stage
from providers.raw_server import Peer, answering, http, raw_server
from seikyu.providers.answers import says as says_phrase
from seikyu.providers.http import HttpEdge
from seikyu.providers.mfkessai.client import MfKessaiClient
from seikyu.providers.wire import no_fence
from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.settings import Timing
from seikyu.spec import Done, Lost, NotSent, ProviderRequest

Change = Callable[[dict[str, Any]], dict[str, Any]]


async def short(peer: Peer, _request: bytes) -> None:
    """Promises more than it sends."""
    await peer.say(http("201 Created", b'{"id": "x"', JSON).replace(b"Length: 10", b"Length: 900"))


async def head_only(peer: Peer, _request: bytes) -> None:
    """Cuts the wire after the headers."""
    await peer.say(b"HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n")
    peer.cut()


async def bomb(peer: Peer, _request: bytes) -> None:
    await peer.say(http("201 Created", b"\x1f\x8b" + b"\0" * 500, JSON, "Content-Encoding: gzip"))


async def endless(peer: Peer, _request: bytes) -> None:
    await peer.say(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.say(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


async def trickle(peer: Peer, _request: bytes) -> None:
    """A byte now and then: no single wait is long."""
    await peer.say(b"HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n")
    while True:
        await peer.say(b" ")
        await anyio.sleep(0.1)


def of_another_customer(page: dict[str, Any]) -> dict[str, Any]:
    return page | {"items": [item | {"customer_id": "CUST-9999"} for item in page["items"]]}


LOG_IN: Script = says("200 OK", b"<!doctype html><title>Log in</title>", "Content-Type: text/html")


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(resets, marks=pytest.mark.fault("F22")),
        pytest.param(head_only, marks=pytest.mark.fault("F26")),
        pytest.param(short, marks=pytest.mark.fault("F26")),
        pytest.param(says("201 Created", b'{"id": '), marks=pytest.mark.fault("F26")),
        pytest.param(LOG_IN, marks=pytest.mark.fault("F27")),
        pytest.param(says("200 OK", b'{"items": []}'), marks=pytest.mark.fault("F27")),
        pytest.param(says("500 Internal Server Error"), marks=pytest.mark.fault("F30")),
        pytest.param(says("502 Bad Gateway", b"<html>", "Content-Type: text/html"), marks=pytest.mark.fault("F30")),
        pytest.param(says("503 Service Unavailable", b"{}"), marks=pytest.mark.fault("F30")),
        pytest.param(
            says("500 Internal Server Error", b'[{"code": "internal_error"}]'), marks=pytest.mark.fault("F30")
        ),
        pytest.param(says("504 Gateway Timeout"), marks=pytest.mark.fault("F30")),
        pytest.param(bomb, marks=pytest.mark.fault("F37")),
        pytest.param(endless, marks=pytest.mark.fault("F37")),
        pytest.param(trickle, marks=pytest.mark.fault("F38")),
    ],
)
async def test_a_write_that_was_done_and_not_answered_well_is_unknown_and_then_found(
    house: House, then: Script
) -> None:
    house.wire.plays(POST, after(house.wire, then))
    told = await house.register()
    before = house.effects()
    card = await house.operator_json("show", told["action_id"])
    seen = await house.settled(told["action_id"])

    assert (told["status"], told["written"], before, card["state"]) == ("unknown", "unknown", 1, "unknown")
    assert "Do not repeat" in told["next"]
    assert (seen["status"], seen["written"]) == ("succeeded", "yes")
    assert (house.effects(), house.wire.count(POST), house.wire.count(LOOK)) == (1, 1, 1)
    assert house.is_log_sound()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(resets, marks=pytest.mark.fault("F23")),
        pytest.param(says("503 Service Unavailable", b"{}", "Retry-After: 0"), marks=pytest.mark.fault("F31")),
    ],
)
async def test_a_write_that_was_not_done_is_unknown_and_absent_only_after_the_quiet_period(
    house: House, script: Script
) -> None:
    house.wire.plays(POST, script)
    told = await house.register()
    for _ in range(5):
        await house.pass_time(10)
    looks, sends = house.wire.count(LOOK), house.wire.count(POST)
    meanwhile = await house.view("get_action", action_id=told["action_id"])
    seen = await house.settled(told["action_id"])

    assert (told["status"], meanwhile["status"], meanwhile["written"]) == ("unknown", "unknown", "unknown")
    assert (looks, sends) == (5, 1)
    assert (seen["status"], house.wire.count(POST), house.effects()) == ("succeeded", 2, 1)


@pytest.mark.fault("F23", "F21")
@pytest.mark.parametrize("script", [resets, "stalls"])
async def test_what_nobody_can_look_up_is_for_a_person_with_evidence_and_never_sent_again(
    tmp_path_factory: pytest.TempPathFactory, script: Any
) -> None:
    async def stalls(peer: Peer, _request: bytes) -> None:
        await peer.until_end()

    folder = tmp_path_factory.mktemp("house")
    async with open_house(folder, FREE_DOCUMENTS, with_invox=True, with_operator=True) as house:
        house.wire.plays(UPLOAD, stalls if script == "stalls" else script)
        told = await house.view("upload_e_storage_document", **document(house))
        for _ in range(10):
            await house.pass_time(60)
        waits = await house.view("get_action", action_id=told["action_id"])
        said = ("--outcome", "failed", "--evidence", "not on invox's screen")
        closed = await house.operator_json("resolve", told["action_id"], *said, "--by", "tanaka", secrets=SECRET)

        assert (told["status"], waits["status"], waits["written"]) == ("unknown", "manual_review", "unknown")
        assert closed["state"] == "failed"
        assert (house.wire.count(UPLOAD), house.effects(STORE)) == (1, 0)


@pytest.mark.fault("F24")
@pytest.mark.parametrize("quiet_s,sends", [(60, 2), (900, 1)])
async def test_an_effect_that_lands_ten_minutes_late_is_one_effect_and_never_said_to_be_absent(
    tmp_path_factory: pytest.TempPathFactory, quiet_s: int, sends: int
) -> None:
    timing = Timing(settle_s=1, quiet_s=quiet_s, read_s=3, write_s=2)
    async with open_house(tmp_path_factory.mktemp("house"), timing=timing) as house:
        house.twins.faults.add(Fault(operation=CREATE, kind=FaultKind.LATE_EFFECT, seconds=600))
        told = await house.register()
        said: set[str] = set()
        for _ in range(25):
            await house.pass_time(30)
            said.add((await house.view("get_action", action_id=told["action_id"]))["written"])
        seen = await house.view("get_action", action_id=told["action_id"])

        assert said == {"unknown", "yes"}
        assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, sends)


@pytest.mark.fault("F24")
async def test_what_may_still_land_is_not_said_to_be_absent_while_it_waits_to_be_sent_again(house: House) -> None:
    house.twins.faults.add(Fault(operation=CREATE, kind=FaultKind.LATE_EFFECT, seconds=600))
    told = await house.register()
    house.steps.at["claimed"] = house.wire.deafen  # the provider is out of reach when it is sent again
    while "claimed" in house.steps.at:
        await house.pass_time(10)
    await house.wire.listen()
    waiting = await house.view("get_action", action_id=told["action_id"])
    await house.pass_time(600)
    seen = await house.settled(told["action_id"])

    assert (waiting["status"], waiting["written"]) == ("approved", "unknown")
    assert (seen["status"], house.effects()) == ("succeeded", 1)


@pytest.mark.fault("F35")
async def test_a_look_up_that_lags_behind_is_not_taken_for_absence(house: House) -> None:
    house.wire.plays(POST, after(house.wire, resets))
    house.wire.plays(LOOK, says("200 OK", b'{"object": "list", "items": []}'), times=4)
    told = await house.register()
    for _ in range(4):
        await house.pass_time(10)
    lagging = await house.status(told["action_id"])
    seen = await house.settled(told["action_id"])

    assert (lagging, seen["status"]) == ("unknown", "succeeded")
    assert (house.wire.count(POST), house.wire.count(LOOK), house.effects()) == (1, 5, 1)


@pytest.mark.fault("F36")
async def test_a_look_up_that_finds_two_shows_both_to_a_person_and_does_nothing_more(house: House) -> None:
    def twice(page: dict[str, Any]) -> dict[str, Any]:
        [item] = page["items"]
        return page | {"items": [item, item | {"id": "ZZZZ-9999"}]}

    house.wire.plays(POST, after(house.wire, resets))
    house.wire.plays(LOOK, altered(house.wire, twice), times=99)
    told = await house.register()
    await house.pass_time(10)
    card = await house.operator_json("show", told["action_id"])
    for _ in range(10):
        await house.pass_time(60)
    ours = house.twins.effects[0].resource_id

    assert (card["state"], await house.status(told["action_id"])) == ("manual_review", "manual_review")
    assert ours in json.dumps(card)
    assert "ZZZZ-9999" in json.dumps(card)
    assert (house.wire.count(POST), house.effects()) == (1, 1)


@pytest.mark.fault("F28")
@pytest.mark.parametrize("change", [{"amount": 33_001}, {"destination_id": "DEST-0000"}])
async def test_an_answer_about_something_else_raises_an_alarm_and_nothing_more_is_done(
    house: House, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    house.wire.plays(POST, altered(house.wire, lambda answer: answer | change))
    told = await house.register()
    for _ in range(10):
        await house.pass_time(60)
    card = await house.operator_json("show", told["action_id"])

    assert (told["status"], told["written"], card["state"]) == ("manual_review", "unknown", "manual_review")
    assert "is not what was asked" in told["next"] + json.dumps(card)
    assert (house.wire.count(POST), house.wire.count(LOOK), house.effects()) == (1, 0, 1)
    alarms = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(alarms) == 1
    assert told["action_id"] in alarms[0]


@pytest.mark.fault("F28")
async def test_a_registration_answered_with_another_customer_is_for_a_person(house: House) -> None:
    house.wire.plays(POST, altered(house.wire, lambda answer: answer | {"customer_id": "CUST-9999"}))
    told = await house.register()
    card = await house.operator_json("show", told["action_id"])

    assert (told["status"], told["written"], card["state"]) == ("manual_review", "unknown", "manual_review")
    assert "not what was approved: customer id differ" in json.dumps(card)
    assert (house.wire.count(POST), house.effects()) == (1, 1)


@pytest.mark.fault("F28")
async def test_a_look_up_that_finds_another_customers_transaction_is_for_a_person(house: House) -> None:
    house.wire.plays(POST, after(house.wire, resets))
    house.wire.plays(LOOK, altered(house.wire, of_another_customer), times=9)
    told = await house.register()
    seen = await house.settled(told["action_id"])

    assert (seen["status"], seen["written"]) == ("manual_review", "unknown")
    assert (house.wire.count(POST), house.wire.count(LOOK)) == (1, 1)


@pytest.mark.fault("F28")
@pytest.mark.parametrize("change", [{"amount": 1}, {"customer_id": "CUST-9999"}])
async def test_a_cancellation_answered_with_another_amount_or_customer_is_for_a_person(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    async with open_house(tmp_path, with_operator=True) as house:
        booked = await house.register()
        cancel = f"DELETE /mfkessai/v2/transactions/{booked['provider_ref']}"
        house.wire.plays(cancel, altered(house.wire, lambda answer: answer | change))
        asked = await house.view("cancel_transaction", transaction_id=booked["provider_ref"], reason="wrong")
        told = await house.approve(asked["action_id"])

    assert (told["status"], told["written"]) == ("manual_review", "unknown")
    assert house.wire.count(cancel) == 1


@pytest.mark.fault("F29")
@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"])
async def test_a_redirected_write_is_not_followed_and_its_key_goes_nowhere(house: House, status: str) -> None:
    other = f"Location: {house.twins.origin}/mfkessai/v2/transactions"
    house.wire.plays(POST, says(status, b"{}", other))
    told = await house.register()

    assert (told["status"], told["written"]) == ("unknown", "unknown")
    assert house.effects() == 0, "the twin's own address is another host, and would have booked it"
    assert house.twins.requests.get(POST, 0) == 0
    assert sum(API_KEY.encode() in head for head in house.wire.heads) == len(house.wire.heads)


RETRY_AFTER = ["", "0", "1000000000", "-5", "Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"]
BUSY = json.dumps([{"code": "too_many_requests", "message": "later"}]).encode()


@pytest.mark.fault("F32")
@pytest.mark.parametrize("value", RETRY_AFTER)
async def test_a_busy_provider_is_asked_again_in_seconds_whatever_it_says_to_wait(house: House, value: str) -> None:
    headers = [f"Retry-After: {value}"] if value else []
    house.wire.plays(POST, says("429 Too Many Requests", BUSY, *headers), times=2)
    told = await house.register()
    await house.pass_time(4)
    early = house.wire.count(POST)
    await house.pass_time(2)
    second = house.wire.count(POST)
    await house.pass_time(11)

    assert (told["status"], told["written"]) == ("approved", "no")
    assert (early, second, house.wire.count(POST)) == (1, 2, 3)
    assert (await house.status(told["action_id"]), house.effects()) == ("succeeded", 1)


@pytest.mark.fault("F32", "F31")
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("value", ["0", "1000000000", "-5"])
async def test_a_read_from_a_busy_provider_waits_within_its_time(house: House, status: str, value: str) -> None:
    busy = says(status, BUSY, f"Retry-After: {value}")
    house.wire.plays("GET /mfkessai/v2/customers", busy, times=2)
    patient = await house.call("lookup_customer", query="青葉商事")
    house.wire.plays("GET /mfkessai/v2/customers", busy, times=99)
    before = house.wire.count("GET /mfkessai/v2/customers")
    told = await house.call("lookup_customer", query="青葉商事")

    assert not patient.is_error
    assert told.is_error
    assert "Nothing was written" in told.text
    assert house.wire.count("GET /mfkessai/v2/customers") - before == 3


EXISTS = json.dumps([{"code": "already_exists", "message": "taken"}]).encode()


@pytest.mark.fault("F34")
async def test_a_conflict_with_our_own_transaction_is_done(house: House) -> None:
    house.wire.plays(POST, after(house.wire, says("409 Conflict", EXISTS)))
    told = await house.register()

    assert (told["status"], told["written"]) == ("succeeded", "yes")
    assert (house.wire.count(POST), house.wire.count(LOOK), house.effects()) == (1, 1, 1)


@pytest.mark.fault("F34")
async def test_a_conflict_with_somebody_elses_transaction_is_a_refusal(house: House) -> None:
    other = altered(house.wire, lambda page: page | {"items": [page["items"][0] | {"amount": 99_999}]})
    house.wire.plays(POST, after(house.wire, says("409 Conflict", EXISTS)))
    house.wire.plays(LOOK, other)
    told = await house.register()
    await house.pass_time(600)

    assert (told["status"], told["written"]) == ("failed", "no")
    assert house.wire.count(POST) == 1


@pytest.mark.fault("F27")
@pytest.mark.parametrize("script", [LOG_IN, says("200 OK", b'{"hello": "world"}')])
async def test_a_read_answered_with_something_else_is_an_error_of_the_provider(house: House, script: Script) -> None:
    house.wire.plays("GET /mfkessai/v2/customers", script, times=9)
    told = await house.call("lookup_customer", query="青葉商事")

    assert (told.is_error, told.code) == (True, "provider_unavailable")
    assert "Log in" not in told.text


CHANGES: dict[str, Change] = {
    "new field": lambda answer: answer | {"brand_new": {"deep": [1, None]}},
    "new status": lambda answer: answer | {"status": "brand_new_status"},
    "nulls": lambda answer: answer | {"canceled_at": None, "billing_id": None, "amounts_per_tax_rate_type": None},
    "fewer fields": lambda answer: {key: answer[key] for key in answer if key not in {"billing_id", "canceled_at"}},
}


NO_ID: dict[str, Change] = {
    "null": lambda answer: answer | {"id": None},
    "missing": lambda answer: {key: answer[key] for key in answer if key != "id"},
}


@pytest.mark.fault("F39")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_an_answer_with_more_or_less_in_it_is_still_an_answer(house: House, change: Change) -> None:
    house.wire.plays(POST, altered(house.wire, change))
    told = await house.register()
    house.wire.plays("GET /mfkessai/v2/transactions/", altered(house.wire, change))
    seen = await house.view("get_transaction", transaction_id=told["provider_ref"])

    assert (told["status"], house.wire.count(POST), house.effects()) == ("succeeded", 1, 1)
    assert seen["transaction_id"] == told["provider_ref"]


@pytest.mark.fault("F39")
@pytest.mark.parametrize("change", NO_ID.values(), ids=NO_ID)
async def test_an_answer_without_its_id_leaves_the_write_unknown(house: House, change: Change) -> None:
    house.wire.plays(POST, altered(house.wire, change))
    told = await house.register()
    seen = await house.settled(told["action_id"])

    assert (told["status"], seen["status"], house.wire.count(POST), house.effects()) == ("unknown", "succeeded", 1, 1)


@pytest.mark.fault("F40")
async def test_a_list_that_never_ends_is_cut_and_said_to_be_incomplete(house: House) -> None:
    first: list[str] = []

    def again(page: dict[str, Any]) -> dict[str, Any]:
        first.append(page["items"][0]["id"])
        return page | {"pagination": page["pagination"] | {"has_next": True, "end": first[0]}}

    house.wire.plays("GET /mfkessai/v2/customers?limit", altered(house.wire, again), times=999)
    found = await house.view("lookup_customer", query="株式会社", limit=50)
    ids = [customer["id"] for customer in found["customers"]]

    assert found["truncated"] is True
    assert len(ids) == len(set(ids))
    assert house.wire.count("GET /mfkessai/v2/customers?limit") <= 3


@pytest.mark.fault("F37")
@pytest.mark.parametrize("script", [bomb, endless])
async def test_a_body_made_to_fill_the_memory_fills_at_most_the_cap(house: House, script: Script) -> None:
    arguments = draft()
    house.wire.plays(POST, after(house.wire, script))
    tracemalloc.start()
    told = await house.view("register_transaction", **arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert told["status"] == "unknown"
    assert peak < 32 * 1024 * 1024, "the cap is 8 MiB"


@pytest.mark.fault("F38")
async def test_a_byte_at_a_time_ends_a_write_and_a_read_at_the_deadline_of_the_whole(house: House) -> None:
    timing = house.home.settings.timing
    house.wire.plays(POST, after(house.wire, trickle))
    began = time.monotonic()
    told = await house.register()
    wrote_s, began = time.monotonic() - began, time.monotonic()
    house.wire.plays("GET /mfkessai/v2/customers", trickle, times=9)
    read = await house.call("lookup_customer", query="青葉商事")
    read_s = time.monotonic() - began

    assert (told["status"], read.code) == ("unknown", "provider_unavailable")
    assert timing.write_s <= wrote_s < timing.write_s + 2
    assert timing.read_s <= read_s < timing.read_s + 2


TOO_OFTEN = {"status_code": 400, "errors": [{"type": "status", "messages": ["アップロードは1分間に30回が上限です"]}]}
INVALID = {"status_code": 400, "errors": [{"type": "validation", "messages": ["請求日が正しくありません"]}]}


def no_document(sha256: str) -> BinaryIO:
    raise AssertionError(sha256)


class Key:
    """A credential that is always good."""

    async def header(self, *, refused: str | None = None) -> tuple[str, str]:
        del refused
        return "apikey", "k"


@pytest.mark.fault("F33")
@pytest.mark.parametrize("body,is_later", [(TOO_OFTEN, True), (INVALID, False)])
async def test_a_400_that_says_too_often_in_the_rows_own_words_is_tried_again_later(
    tmp_path: Path, *, body: dict[str, Any], is_later: bool
) -> None:
    stage = make_stage(tmp_path / "home")
    row = replace(stage.operation, is_too_often=says_phrase("1分間に.*上限", status=400))
    async with raw_server(
        answering(http("400 Bad Request", json.dumps(body).encode(), JSON)),
        answering(http("201 Created", b'{"id": "tx-1"}', JSON)),
    ) as server:
        connection = replace(STAGE_CONNECTION, base_url=f"{server.url}/v2")
        client = MfKessaiClient(HttpEdge(), connection, Key(), no_document)
        request = ProviderRequest(operation=row.name, body={"number": "A-1", "amount": 1})
        first = await client.send(row, request, fence=no_fence)
        second = await client.send(row, request, fence=no_fence)
    stage.store.close()
    stage.presence.leave()

    assert isinstance(first, NotSent if is_later else Lost)
    assert isinstance(second, Done)
