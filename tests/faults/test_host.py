"""What may happen to the machine we run on: a loop that stands still, no thread, a log nobody reads, a clock."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client

from e2e.assistant import call, draft
from faults.between import altered
from faults.house import FREE_DOCUMENTS, POST, STORE, TOKEN, UPLOAD, House, document, open_house
from gate.stage import PretendClock, make_stage
from seikyu.errors import VoteRefused
from seikyu.gate.actions import State
from seikyu.models import SystemClock
from seikyu.settings import Timing
from seikyu.surfaces.mcp.http import serve_http


@asynccontextmanager
async def served(house: House) -> AsyncGenerator[str]:
    """The real HTTP server, in this event loop."""
    port, ready = free_port(), asyncio.Event()
    app = house.home.web_app("127.0.0.1", port)
    server = asyncio.create_task(serve_http(app, "127.0.0.1", port, on_ready=lambda _port: ready.set()))
    await ready.wait()
    yield f"http://127.0.0.1:{port}"
    server.cancel()
    await asyncio.wait([server])


async def health(origin: str) -> dict[str, Any]:
    async with httpx2.AsyncClient(trust_env=False) as watcher:
        return dict((await watcher.get(f"{origin}/healthz", timeout=5)).json())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.fault("F63")
async def test_a_loop_that_stood_still_is_told_by_the_health_and_a_claim_it_outlived_sends_nothing(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path, timing=Timing(lease_s=1, settle_s=1, write_s=5)) as house, served(house) as origin:
        before = await health(origin)
        house.steps.at["claimed"] = lambda: time.sleep(2.2)
        told = await house.register()
        after = await health(origin)
        sends = house.wire.count(POST)

    assert (before["status"], after["status"]) == ("ok", "degraded")
    assert after["why"] == ["the event loop stood still for 2 s"]
    # the worker may have taken it over in the same moment: then it is unknown, for it cannot know
    assert (told["status"], sends) in {("approved", 0), ("unknown", 0)}


@pytest.mark.fault("F63")
async def test_without_a_free_thread_a_write_loses_its_claim_and_the_health_says_why(
    tmp_path: Path,
) -> None:
    threads, holders = anyio.to_thread.current_default_thread_limiter(), [object() for _ in range(100)]
    taken: list[object] = []
    all_taken = asyncio.Event()

    def take_all() -> None:
        while threads.available_tokens:
            taken.append(holders.pop())
            threads.acquire_on_behalf_of_nowait(taken[-1])

        all_taken.set()

    async with open_house(tmp_path, timing=Timing(lease_s=2, settle_s=1, write_s=5)) as house:
        async with served(house) as origin:
            house.steps.at["claimed"] = take_all
            calling = asyncio.create_task(house.register())
            await all_taken.wait()
            during = await health(origin)
            await asyncio.sleep(2.5)
            for holder in taken:
                threads.release_on_behalf_of(holder)
            told = await calling
            sends = house.wire.count(POST)
        seen = await house.settled(told["action_id"])

        assert during == {"status": "degraded", "why": ["every thread is taken"]}
        assert (told["status"], sends) in {("approved", 0), ("unknown", 0)}
        assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


def fill(descriptor: int) -> None:
    """Fill a pipe to the brim, through a description of our own: the child's stays one that blocks."""
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(own, b"." * 4096)
    with suppress(BlockingIOError):
        while True:
            os.write(own, b".")
    os.close(own)


@pytest.mark.fault("F64")
@pytest.mark.skipif(sys.platform != "linux", reason="fills the pipe through /proc")
@pytest.mark.parametrize("sink", ["full", "closed", "reader gone"])
async def test_a_log_that_nobody_takes_holds_nothing_up_and_loses_no_outcome(house: House, sink: str) -> None:
    house.wire.plays(POST, altered(house.wire, lambda answer: answer | {"amount": 1}))  # an alarm for the log
    port, (reading, writing) = free_port(), os.pipe()
    if sink == "reader gone":
        os.close(reading)
    words = [sys.executable, "-m", "seikyu", "serve", "--http", f"127.0.0.1:{port}"]
    command = ["sh", "-c", f'exec "$@"{" 2>&-" if sink == "closed" else ""}', "sh", *words]
    server = await asyncio.create_subprocess_exec(
        *command, env=house.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writing
    )
    try:
        origin = f"http://127.0.0.1:{port}"
        await answered(origin)
        if sink == "full":
            fill(writing)
        with anyio.fail_after(15):
            async with Client(f"{origin}/mcp") as client:
                told = await call(client, "register_transaction", **draft())
                again = await call(client, "register_transaction", **draft(40_000))
        server.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(server.wait(), 15)
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
        os.close(writing)
        if sink != "reader gone":
            os.close(reading)

    assert (told["status"], again["status"], code) == ("manual_review", "succeeded", 0)
    assert (house.effects(), house.wire.count(POST)) == (2, 2)
    assert (await house.status(told["action_id"]), house.is_log_sound()) == ("manual_review", True)


async def answered(origin: str) -> None:
    with anyio.fail_after(30):
        while True:
            with suppress(httpx2.TransportError):
                await health(origin)
                return
            await asyncio.sleep(0.05)


@pytest.mark.fault("F18")
def test_for_one_process_time_never_goes_back_and_a_step_forward_is_believed() -> None:
    start = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    seen = [(start, 0), (start + timedelta(seconds=10), 10), (start - timedelta(hours=1), 20)]
    seen += [(start - timedelta(minutes=59), 80), (start + timedelta(days=1), 90), (start + timedelta(seconds=20), 100)]
    wall, elapsed = iter([at for at, _ in seen]), iter([count for _, count in seen])
    clock = SystemClock(lambda: next(wall), lambda: next(elapsed))

    told = [clock.now() - start for _ in seen[1:]]

    assert told == [timedelta(seconds=count) for count in (10, 20, 80)] + [
        timedelta(days=1),
        timedelta(days=1, seconds=10),
    ]


class Machine(PretendClock):
    """A wall clock that a test sets, and the time that really passes; told by the clock of the house."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)  # half past one in New York, just before its DST ends
        self.passed = 0
        self._clock = SystemClock(lambda: self.wall, lambda: self.passed)

    def now(self) -> datetime:
        return self._clock.now()

    def passes(self, **by: int) -> None:
        self.wall += timedelta(**by)
        self.passed += int(timedelta(**by).total_seconds())


@pytest.mark.fault("F18")
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=1), timedelta(0)])
async def test_a_clock_that_jumps_sends_nothing_twice_and_lets_no_approval_live_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, jump: timedelta
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    machine = Machine()
    stage = make_stage(tmp_path / "home", clock=machine)
    heir = make_stage(tmp_path / "home", clock=machine, provider=stage.provider)
    key = stage.enrol("tanaka")
    stale = stage.propose("A-1", 100_000)
    fresh = stage.propose("A-2", 40_000)

    def jumps() -> None:
        machine.wall += jump
        machine.passes(seconds=stage.settings.timing.lease_s - 1)  # its own lease still holds
        heir.reconciliation.abandon()

    stage.provider.before_answer = jumps
    sent = await stage.executor.execute(fresh.id)
    stage.provider.before_answer = lambda: None
    for _ in range(10):
        machine.passes(seconds=20)
        await heir.executor.sweep()
    machine.passes(hours=72)
    with pytest.raises(VoteRefused, match="expired"):
        stage.approve(stage.find(stale.id), key)
    await heir.executor.sweep()
    ends = stage.find(stale.id).state, stage.find(fresh.id).state
    for made in (stage, heir):
        made.store.close()
        made.presence.leave()
    monkeypatch.undo()
    time.tzset()

    assert sent.state is (State.UNKNOWN if jump > timedelta(0) else State.SUCCEEDED)
    assert ends == (State.EXPIRED, State.SUCCEEDED)
    assert (stage.provider.sends, len(stage.provider.booked)) == (1, 1)


@pytest.mark.fault("F18")
@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(days=1)])
async def test_a_clock_that_jumps_costs_a_login_at_most_one_renewal(tmp_path: Path, jump: timedelta) -> None:
    async with open_house(tmp_path, FREE_DOCUMENTS, with_invox=True) as house:
        house.clock.offset += jump
        ends = [
            await house.view("upload_e_storage_document", **document(house, f"{number}.pdf", b"%d" % number))
            for number in range(3)
        ]

        assert [end["status"] for end in ends] == ["succeeded"] * 3
        assert (house.wire.count(TOKEN) <= 1, house.twins.invox.oauth.reuses) == (True, 0)
        assert (house.effects(STORE), house.wire.count(UPLOAD)) == (3, 3)
