import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.sandbox.invox_oauth import CLIENT_ID, CLIENT_SECRET
from seikyu.sandbox.mfkessai_data import AOBA_NUMBER, API_KEY
from seikyu.sandbox.twins import Twins, running_twins

pytestmark = pytest.mark.anyio

Sale = Callable[..., dict[str, Any]]
CREATE = "mfkessai.create_transaction"


async def _renew(browser: httpx2.AsyncClient, refresh_token: str) -> httpx2.Response:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": refresh_token}
    return await browser.post("/invox/oauth2/token/", data=form, auth=(CLIENT_ID, CLIENT_SECRET))


@pytest.mark.parametrize(
    "kind,effects",
    [(FaultKind.CUT_BEFORE_EFFECT, 0), (FaultKind.CUT_AFTER_EFFECT, 1), (FaultKind.LATE_EFFECT, 0)],
)
async def test_a_cut_connection_gives_no_answer(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
    kind: FaultKind,
    effects: int,
) -> None:
    twins.faults.add(Fault(CREATE, kind))

    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        await kessai.post("/transactions", json=sale())

    assert len(twins.log.entries) == effects
    assert twins.requests["POST /mfkessai/v2/transactions"] == 1


async def test_a_late_effect_happens_when_the_clock_gets_there(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.LATE_EFFECT, seconds=30))
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        await kessai.post("/transactions", json=sale())

    twins.advance(29)
    early = (await kessai.get("/transactions", params={"number": "INV-2026-0001"})).json()["items"]
    twins.advance(1)
    late = (await kessai.get("/transactions", params={"number": "INV-2026-0001"})).json()["items"]

    assert early == []
    assert [one["number"] for one in late] == ["INV-2026-0001"]


async def test_settling_lets_a_late_effect_happen_now(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.LATE_EFFECT, seconds=3_600))
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        await kessai.post("/transactions", json=sale())

    twins.settle()

    assert len(twins.effects) == 1


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_status_comes_before_or_after_the_effect(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
    status: int,
    after_effect: bool,  # noqa: FBT001 - a column of the table
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.STATUS, status=status, retry_after=7, after_effect=after_effect))

    answer = await kessai.post("/transactions", json=sale())

    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    assert isinstance(answer.json(), list) if status < 500 else "<html>" in answer.text
    assert len(twins.effects) == after_effect


async def test_a_truncated_answer_promises_more_than_it_sends(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.TRUNCATED))

    with pytest.raises(httpx2.RemoteProtocolError, match="peer closed"):
        await kessai.post("/transactions", json=sale())

    assert len(twins.effects) == 1


@pytest.mark.parametrize("kind", [FaultKind.HTML_200, FaultKind.BROKEN_JSON])
async def test_a_200_without_json_is_a_200_without_json(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    kind: FaultKind,
) -> None:
    twins.faults.add(Fault("mfkessai.list_customers", kind))

    answer = await kessai.get("/customers")

    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()


async def test_json_of_another_shape_has_nothing_of_the_answer(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.WRONG_JSON, after_effect=True))

    answer = await kessai.post("/transactions", json=sale())

    assert "id" not in answer.json()
    assert len(twins.effects) == 1


@pytest.mark.parametrize("status", [None, 307])
async def test_a_redirect_points_to_another_host_where_a_follower_is_seen(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    status: int | None,
) -> None:
    twins.faults.add(Fault("mfkessai.list_customers", FaultKind.REDIRECT, status=status))

    answer = await kessai.get("/customers")

    port = twins.origin.rpartition(":")[2]
    assert answer.status_code == (status or 302)
    assert answer.headers["location"] == f"http://localhost:{port}/mfkessai/v2/customers"


async def test_a_gzip_bomb_is_small_on_the_wire_and_large_behind_it(
    kessai: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    twins.faults.add(Fault("mfkessai.list_customers", FaultKind.GZIP_BOMB))

    unpacked = 0
    async with kessai.stream("GET", "/customers") as answer:
        async for part in answer.aiter_bytes():
            unpacked += len(part)
            if unpacked > 10_000_000:
                break

    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 1_000_000
    assert unpacked > 10_000_000


async def test_a_huge_body_does_not_end_before_the_client_hangs_up(
    kessai: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    twins.faults.add(Fault("mfkessai.list_customers", FaultKind.HUGE_BODY))

    taken = 0
    async with kessai.stream("GET", "/customers") as answer:
        async for part in answer.aiter_raw():
            taken += len(part)
            if taken > 5_000_000:
                break

    assert answer.headers["transfer-encoding"] == "chunked"
    assert (await kessai.get("/customers")).status_code == 200


async def test_a_mismatch_answers_with_another_amount_than_was_stored(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.MISMATCH))

    answered = (await kessai.post("/transactions", json=sale())).json()
    stored = (await kessai.get(f"/transactions/{answered['id']}")).json()

    assert (answered["amount"], stored["amount"]) == (11_001, 11_000)


async def test_a_dropped_id_is_missing_in_objects_and_in_lists(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.faults.add(Fault("mfkessai.*", FaultKind.DROP_ID, times=2))

    made = (await kessai.post("/transactions", json=sale())).json()
    listed = (await kessai.get("/transactions")).json()
    honest = (await kessai.get("/transactions")).json()

    assert "id" not in made
    assert all("id" not in one for one in listed["items"])
    assert all("id" in one for one in honest["items"])


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_slow_answer_waits_on_the_chosen_side_of_the_effect(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
    after_effect: bool,  # noqa: FBT001 - a column of the table
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.SLOW, seconds=Decimal(30), after_effect=after_effect))

    with pytest.raises(httpx2.ReadTimeout):
        await kessai.post("/transactions", json=sale(), timeout=0.2)

    assert len(twins.effects) == after_effect


async def test_a_slow_answer_comes_in_the_end(kessai: httpx2.AsyncClient, twins: Twins, sale: Sale) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.SLOW, seconds=Decimal("0.05")))

    assert (await kessai.post("/transactions", json=sale())).json()["status"] == "passed"


async def test_a_slow_body_comes_byte_by_byte(kessai: httpx2.AsyncClient, twins: Twins) -> None:
    twins.faults.add(Fault("mfkessai.list_customers", FaultKind.SLOW_BODY, times=2))

    whole = (await kessai.get("/customers", params={"number": AOBA_NUMBER})).json()
    async with kessai.stream("GET", "/customers", params={"number": AOBA_NUMBER}) as answer:
        sizes = [len(part) async for part in answer.aiter_raw()]

    assert whole["pagination"]["total"] == 1
    assert len(sizes) > 1


async def test_held_requests_stand_still_until_they_are_released(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.faults.add(Fault(CREATE, FaultKind.HOLD, times=2))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(kessai.post("/transactions", json=sale())) for _ in range(2)]
        await twins.faults.wait_until_held(2)
        before = len(twins.effects)
        twins.faults.release()

    assert before == 0
    assert sorted(task.result().status_code for task in tasks) == [200, 409]
    assert len(twins.effects) == 1


@pytest.mark.parametrize("after_effect,uses", [(False, 0), (True, 1)])
async def test_a_refused_token_may_have_been_rotated_all_the_same(
    browser: httpx2.AsyncClient,
    twins: Twins,
    after_effect: bool,  # noqa: FBT001 - a column of the table
    uses: int,
) -> None:
    tokens = twins.invox.oauth.grant()
    twins.faults.add(Fault("invox.token", FaultKind.REFUSE_TOKEN, after_effect=after_effect))

    answer = await _renew(browser, tokens.refresh_token)

    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})
    assert twins.invox.oauth.refreshes == uses


async def test_a_token_endpoint_may_show_a_log_in_page(browser: httpx2.AsyncClient, twins: Twins) -> None:
    twins.faults.add(Fault("invox.token", FaultKind.TOKEN_HTML))

    answer = await _renew(browser, twins.invox.oauth.grant().refresh_token)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_a_fault_hits_its_operation_and_only_as_often_as_ordered(
    kessai: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    twins.faults.add(Fault("mfkessai.list_transactions", FaultKind.STATUS, times=2))

    statuses = [
        (await kessai.get(path)).status_code
        for path in ("/customers", "/transactions", "/transactions", "/transactions")
    ]

    assert statuses == [200, 503, 503, 200]
    assert twins.faults.pending == []


@pytest.mark.parametrize("wrong", [{"times": 0}, {"seconds": -1}, {"status": 99}, {"seconds": 10**9}])
def test_an_order_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"times|status"):
        Fault("*", FaultKind.SLOW, **wrong)


async def test_another_process_orders_faults_and_reads_what_happened(
    kessai: httpx2.AsyncClient,
    browser: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    order = {"operation": CREATE, "kind": "late_effect", "seconds": "10"}
    ordered = (await browser.post("/_twin/faults", json=order)).json()
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        await kessai.post("/transactions", json=sale())
    before = (await browser.get("/_twin/effects")).json()
    clock = (await browser.post("/_twin/clock", json={"advance_s": 10})).json()
    after = (await browser.get("/_twin/effects", params={"provider": "mfkessai"})).json()
    other = (await browser.get("/_twin/effects", params={"provider": "invox"})).json()
    counts = (await browser.get("/_twin/requests")).json()

    assert ordered["faults"][0] == {
        "operation": CREATE,
        "kind": "late_effect",
        "after_effect": False,
        "times": 1,
        "seconds": "10",
        "status": None,
        "retry_after": None,
    }
    assert before == other == {"effects": []}
    assert clock == {"now": "2026-11-18T03:00:10+00:00"}
    assert [effect["natural_key"] for effect in after["effects"]] == ["INV-2026-0001"]
    assert counts == {"requests": {"POST /mfkessai/v2/transactions": 1}}


async def test_a_reset_goes_back_to_the_seed(
    kessai: httpx2.AsyncClient,
    browser: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    await kessai.post("/transactions", json=sale())
    twins.faults.add(Fault("*", FaultKind.STATUS))

    await browser.post("/_twin/reset")

    assert (twins.effects, twins.requests, twins.faults.pending) == ([], {}, [])
    assert (await kessai.get("/transactions")).json()["pagination"]["total"] == 3


@pytest.mark.parametrize(
    "order",
    [
        {"operation": "*", "kind": "explode"},
        {"operation": "*", "kind": "slow", "sceonds": 1},
        {"operation": "*", "kind": "slow", "times": "2"},
        {"operation": "*", "kind": "slow", "times": 0},
        {"kind": "slow"},
        [],
    ],
)
async def test_a_wrong_order_is_refused_in_json(browser: httpx2.AsyncClient, order: object) -> None:
    answer = await browser.post("/_twin/faults", json=order)

    assert (answer.status_code, list(answer.json())) == (400, ["error"])


async def test_the_control_surface_is_not_for_web_pages(browser: httpx2.AsyncClient) -> None:
    answers = [
        await browser.post("/_twin/reset", headers={"origin": "https://example.com"}),
        await browser.get("/_twin/nothing"),
        await browser.get("/_twin/reset"),
        await browser.delete("/_twin/faults"),
    ]

    assert [answer.status_code for answer in answers] == [403, 404, 405, 200]


async def test_the_twins_stop_while_requests_are_still_open() -> None:
    async with running_twins() as twins, httpx2.AsyncClient(trust_env=False) as client:
        twins.faults.add(Fault("*", FaultKind.HOLD))
        url = f"{twins.mfkessai.base_url}/customers"
        request = asyncio.create_task(client.get(url, headers={"apikey": API_KEY}))
        await twins.faults.wait_until_held()
        port = int(twins.origin.rpartition(":")[2])
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        await request

    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_the_foreground_entry_prints_nothing_and_returns_when_interrupted() -> None:
    program = (
        "import os, signal\n"
        "from seikyu.sandbox.twins import serve_twins\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what runs in the background may ignore it
        "serve_twins(0, ready=lambda twins: os.kill(os.getpid(), signal.SIGINT))\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
