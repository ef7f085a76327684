"""What callers may do: go away, ask again, ask without end, change the document; and what operators may."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp import Client

from e2e.assistant import draft
from faults.between import Script
from faults.house import POST, SECRET, STORE, SUZUKI, UPLOAD, House, document, open_house
from providers.raw_server import Peer
from seikyu.gate.actions import State
from seikyu.gate.proposals import MAX_AWAITING
from seikyu.spec import Principal
from seikyu.surfaces.mcp.server import build_server


def held(house: House, began: asyncio.Event, go_on: asyncio.Event) -> Script:
    async def script(peer: Peer, request: bytes) -> None:
        began.set()
        await go_on.wait()
        await peer.say(await house.wire.ask(request))

    return script


@pytest.mark.fault("F59")
@pytest.mark.parametrize("leaving", ["cancels", "disconnects"])
async def test_a_client_that_leaves_during_a_write_does_not_stop_it_or_lose_its_outcome(
    house: House, leaving: str
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    house.wire.plays(POST, held(house, began, go_on))
    server = build_server(house.home, version="test", principal_of=lambda _context: SUZUKI)
    async with Client(server) as client:
        calling = asyncio.create_task(client.call_tool("register_transaction", draft()))
        await began.wait()
        if leaving == "cancels":
            calling.cancel()
            await asyncio.wait([calling])
    if leaving == "disconnects":
        calling.cancel()
        await asyncio.wait([calling])
    [meanwhile] = (await house.view("list_actions"))["actions"]
    go_on.set()
    await house.home.rooms().executor.drain()
    [seen] = (await house.view("list_actions"))["actions"]

    assert (meanwhile["status"], meanwhile["written"]) == ("executing", "unknown")
    assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


@pytest.mark.fault("F60")
async def test_the_same_call_again_at_once_or_later_or_elsewhere_is_the_same_action(house: House) -> None:
    arguments = draft()
    at_once = await gathered(house, *[arguments] * 4)
    later = await house.view("register_transaction", **arguments)
    elsewhere = house.another()
    other = await elsewhere.call(SUZUKI, "register_transaction", arguments)
    await elsewhere.edge.aclose()
    elsewhere.close()
    ids = {action["action_id"] for action in [*at_once, later, dict(other.structured or {})]}

    assert len(ids) == 1
    assert (later["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


@pytest.mark.fault("F60")
async def test_a_repeated_preview_sends_nothing_and_stores_nothing(house: House) -> None:
    answers = [await house.call("preview_transaction", **draft()) for _ in range(3)]

    assert not any(answer.is_error for answer in answers)
    assert (house.effects(), house.wire.count(POST)) == (0, 0)
    assert (await house.view("list_actions"))["total"] == 0


async def gathered(house: House, *calls: dict[str, object]) -> list[dict[str, object]]:
    return list(await asyncio.gather(*(house.view("register_transaction", **each) for each in calls)))


@pytest.mark.fault("F61")
async def test_a_looping_agent_is_capped_its_repeats_merged_and_its_count_shown(house: House) -> None:
    first = await house.register(60_001)
    for extra in range(2, MAX_AWAITING + 1):
        await house.register(60_000 + extra)
    again = await house.register(60_001)
    beyond = await house.call("register_transaction", **draft(70_000))
    other = await house.home.call(Principal("mori", "test", "en"), "register_transaction", draft(80_000))
    shown = await house.operator_json("actions", "--state", "awaiting_approval", "--limit", "5")

    assert (again["action_id"], again["status"]) == (first["action_id"], "awaiting_approval")
    assert (beyond.is_error, beyond.code) == (True, "not_allowed")
    assert f"{MAX_AWAITING} requests are waiting" in beyond.text
    assert not other.is_error, "another requester is not buried with them"
    assert (shown["total"], shown["returned"], house.wire.count(POST)) == (MAX_AWAITING + 1, 5, 0)


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"% more")


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Catalog", b"Cat4log"))


@pytest.mark.fault("F62")
@pytest.mark.parametrize("change", [grown, changed, Path.unlink])
async def test_what_was_approved_is_sent_whatever_becomes_of_the_file_it_came_from(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    async with open_house(tmp_path, with_invox=True, with_operator=True) as house:
        told = await house.view("upload_e_storage_document", **document(house))
        source = house.home.settings.home / "inbox" / "領収書.pdf"
        approved = hashlib.sha256(source.read_bytes()).hexdigest()
        change(source)
        seen = await house.approve(told["action_id"])

        assert (told["status"], seen["status"]) == ("awaiting_approval", "succeeded")
        assert [kept.sha256 for kept in house.twins.invox.documents] == [approved]


@pytest.mark.fault("F62")
@pytest.mark.parametrize("change", [grown, changed, Path.unlink])
async def test_a_kept_document_that_is_no_longer_the_approved_one_is_never_sent(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    async with open_house(tmp_path, with_invox=True, with_operator=True) as house:
        told = await house.view("upload_e_storage_document", **document(house))
        [kept] = [path for path in (house.home.settings.home / "documents").rglob("*") if path.is_file()]
        kept.chmod(0o600)
        change(kept)
        seen = await house.approve(told["action_id"])
        for _ in range(5):
            await house.pass_time(400)
        house.clock.move(days=2)
        await house.sweep()
        card = await house.operator_json("show", told["action_id"])

        assert (seen["status"], seen["written"]) == ("approved", "no")
        assert (house.wire.count(UPLOAD), house.effects(STORE)) == (0, 0)
        assert card["state"] == "expired"


@pytest.mark.fault("F52")
async def test_an_approval_after_the_expiry_is_refused_with_its_reason(tmp_path: Path) -> None:
    async with open_house(tmp_path, with_operator=True) as house:
        told = await house.register(100_000)
        house.clock.move(hours=73)
        late = await house.operator("approve", told["action_id"], "--by", "tanaka", secrets=SECRET)
        await house.sweep()

        assert late.exit_code == 1
        assert "has expired" in late.output
        assert (await house.status(told["action_id"]), house.wire.count(POST)) == ("expired", 0)


@pytest.mark.fault("F52", "F02")
async def test_an_approval_after_a_restart_counts_as_ever(tmp_path: Path) -> None:
    async with open_house(tmp_path, with_operator=True) as house:
        told = await house.register(100_000)
        house.home.close()
        before = house.wire.count(POST)
        seen = await house.approve(told["action_id"])

        assert (told["status"], before, seen["status"]) == ("awaiting_approval", 0, "succeeded")
        assert (house.effects(), house.wire.count(POST)) == (1, 1)


@pytest.mark.fault("F16")
async def test_processes_that_take_the_same_approved_action_send_it_once(tmp_path: Path) -> None:
    async with open_house(tmp_path, with_operator=True) as house:
        homes = [house.another() for _ in range(4)]
        ends: list[State] = []
        for number in range(5):
            house.steps.at["claimed"] = house.wire.deafen
            told = (await house.register(30_000 + number))["action_id"]
            house.clock.move(seconds=10)
            await house.wire.listen()
            took = await asyncio.gather(*(home.rooms().executor.execute(told) for home in homes))
            ends.append(house.find(told).state)
            assert sum(action.state is State.SUCCEEDED for action in took) >= 1
        for home in homes:
            await home.edge.aclose()
            home.close()

        assert ends == [State.SUCCEEDED] * 5
        assert (house.effects(), house.wire.count(POST)) == (5, 5)
