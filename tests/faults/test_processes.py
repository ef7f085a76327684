"""What may happen to a process: kill -9 at each durable step, SIGTERM in a write, SIGSTOP past its lease."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from mcp import Client

from e2e.assistant import draft
from faults.between import Script, after
from faults.children import begun, calls, ended, held_for_ever, killed
from faults.house import LOOK, POST, House, open_house
from providers.raw_server import Peer


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with open_house(tmp_path, with_operator=True) as made:
        yield made


@pytest.mark.fault("F01")
async def test_killed_before_its_proposal_is_committed_nothing_is_recorded_and_asking_again_proposes_it(
    house: House,
) -> None:
    await killed(house, calls=calls(), at={"proposed before commit": "kill"})
    before = (await house.view("list_actions"))["total"], house.wire.count(POST)
    told = await house.register()

    assert before == (0, 0)
    assert (told["status"], house.effects(), house.is_log_sound()) == ("succeeded", 1, True)


@pytest.mark.fault("F02")
async def test_killed_after_its_proposal_it_waits_and_expires_as_ever(house: House) -> None:
    await killed(house, calls=calls(**draft(100_000)), at={"proposed after commit": "kill"})
    [waiting] = (await house.view("list_actions"))["actions"]
    same = await house.register(100_000)
    house.clock.move(hours=73)
    await house.sweep()

    assert (waiting["status"], same["action_id"]) == ("awaiting_approval", waiting["action_id"])
    assert (await house.status(waiting["action_id"]), house.wire.count(POST)) == ("expired", 0)


@pytest.mark.fault("F03")
@pytest.mark.parametrize("days", [0, 2])
async def test_killed_after_the_approval_it_is_sent_once_as_approved_or_expires(house: House, days: int) -> None:
    told = await house.register(100_000)
    await killed(house, approve=told["action_id"], at={"approved after commit": "kill"})
    left = house.find(told["action_id"])
    house.clock.move(days=days)
    await house.sweep()
    await house.sweep()
    now = house.find(told["action_id"])

    assert (left.state, now.digest) == ("approved", left.digest)
    assert (now.state, house.effects()) == (("expired", 0) if days else ("succeeded", 1))
    assert house.wire.count(POST) == house.effects()


@pytest.mark.fault("F04")
async def test_killed_after_the_claim_nothing_is_sent_before_the_provider_was_asked_for_the_quiet_period(
    house: House,
) -> None:
    await killed(house, calls=calls(), at={"claimed": "kill"})
    [left] = (await house.view("list_actions"))["actions"]
    for _ in range(5):
        await house.pass_time(10)
    meanwhile, looks = house.wire.count(POST), house.wire.count(LOOK)
    seen = await house.settled(left["action_id"])

    assert (left["status"], left["written"]) == ("executing", "unknown")
    assert meanwhile == 0
    assert looks >= 4
    assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


@pytest.mark.fault("F05")
@pytest.mark.parametrize("has_effect", [True, False])
async def test_killed_in_the_middle_of_its_request_only_the_providers_data_says_done(
    house: House, *, has_effect: bool
) -> None:
    reached = asyncio.Event()

    async def holds(peer: Peer, request: bytes) -> None:
        reached.set()
        await held_for_ever(peer, request)

    script: Script = after(house.wire, holds) if has_effect else holds
    house.wire.plays(POST, script)
    process = await begun(house, calls=calls())
    await asyncio.wait_for(reached.wait(), 30)
    await anyio.sleep(random.uniform(0, 0.05))  # noqa: S311 - any moment
    process.kill()
    await ended(process)
    [left] = (await house.view("list_actions"))["actions"]
    await house.pass_time(10)  # noticed
    await house.pass_time(10)  # looked up
    first = await house.status(left["action_id"])
    seen = await house.settled(left["action_id"])

    assert (left["written"], first) == ("unknown", "succeeded" if has_effect else "unknown")
    assert (seen["status"], house.effects()) == ("succeeded", 1)
    assert house.wire.count(POST) == (1 if has_effect else 2)


@pytest.mark.fault("F06")
async def test_killed_with_the_answer_in_its_hand_it_is_found_at_the_provider(house: House) -> None:
    await killed(house, calls=calls(), at={"answered": "kill"})
    [left] = (await house.view("list_actions"))["actions"]
    seen = await house.settled(left["action_id"])

    assert (left["status"], left["written"]) == ("executing", "unknown")
    assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)
    assert house.is_log_sound()


@pytest.mark.fault("F07")
async def test_killed_after_the_commit_the_same_call_is_answered_with_the_result(house: House) -> None:
    arguments = draft()
    await killed(house, calls=calls(**arguments), at={"recorded": "kill"})
    again = await house.view("register_transaction", **arguments)
    await house.pass_time(10)

    assert (again["status"], again["written"]) == ("succeeded", "yes")
    assert again["provider_ref"] == house.twins.effects[0].resource_id
    assert (house.effects(), house.wire.count(POST), house.wire.count(LOOK)) == (1, 1, 0)


@pytest.mark.fault("F08")
async def test_told_to_stop_in_a_write_that_never_answers_it_ends_at_the_deadline_and_its_exit_code_tells(
    house: House,
) -> None:
    reached = asyncio.Event()

    async def holds(peer: Peer, request: bytes) -> None:
        reached.set()
        await held_for_ever(peer, request)

    house.wire.plays(POST, after(house.wire, holds))
    command = [sys.executable, "-m", "seikyu", "serve", "--http", "127.0.0.1:0"]
    server = await asyncio.create_subprocess_exec(
        *command, env=house.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert server.stderr is not None
    url = (await server.stderr.readline()).decode().split()[1]

    async def ask_and_be_cut_off() -> None:
        with suppress(Exception):
            async with Client(url) as client:
                await client.call_tool("register_transaction", draft())

    asking = asyncio.create_task(ask_and_be_cut_off())
    await asyncio.wait_for(reached.wait(), 30)
    loop = asyncio.get_running_loop()
    began = loop.time()
    server.terminate()
    code, _, _ = await ended(server)
    took_s = loop.time() - began
    await asking
    [left] = (await house.view("list_actions"))["actions"]
    seen = await house.settled(left["action_id"])

    assert (code, left["status"], left["written"]) == (3, "unknown", "unknown")
    assert took_s < house.home.settings.timing.write_s + 6
    assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


async def stopped(process: asyncio.subprocess.Process) -> None:
    """Return once the process stands still."""
    state = Path(f"/proc/{process.pid}/stat")
    for _ in range(1000):
        if state.read_text().rsplit(")", 1)[1].split()[0] == "T":  # noqa: ASYNC240 - /proc does not block
            return
        await anyio.sleep(0.02)
    raise AssertionError("it went on")


@pytest.mark.fault("F17")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_paused_past_its_lease_before_its_first_byte_it_sends_nothing(house: House) -> None:
    process = await begun(house, calls=calls(), at={"claimed": "stop"})
    await stopped(process)
    await house.pass_time(house.home.settings.timing.lease_s + 1)
    [taken_over] = (await house.view("list_actions"))["actions"]
    process.send_signal(signal.SIGCONT)
    _, [told], _ = await ended(process)
    sends = house.wire.count(POST)
    seen = await house.settled(taken_over["action_id"])

    assert (taken_over["status"], told["result"]["status"], sends) == ("unknown", "unknown", 0)
    assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


@pytest.mark.fault("F17")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_paused_past_its_lease_when_its_bytes_had_left_its_answer_comes_too_late_to_count(house: House) -> None:
    process = await begun(house, calls=calls(), at={"answered": "stop"})
    await stopped(process)
    await house.pass_time(house.home.settings.timing.lease_s + 1)
    [taken_over] = (await house.view("list_actions"))["actions"]
    process.send_signal(signal.SIGCONT)
    await ended(process)
    seen = await house.settled(taken_over["action_id"])
    kinds = [event["kind"] for event in (await house.operator_json("show", taken_over["action_id"]))["history"]]

    assert taken_over["status"] == "unknown"
    assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)
    assert "fenced" in kinds
