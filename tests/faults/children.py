"""Processes of an installation that a test starts; see `program.py`."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from e2e.assistant import draft
from faults.house import House
from providers.raw_server import Peer

PROGRAM = Path(__file__).with_name("program.py")


async def begun(house: House, **plan: Any) -> asyncio.subprocess.Process:
    pipe = subprocess.PIPE
    command = [sys.executable, str(PROGRAM), json.dumps(plan)]
    return await asyncio.create_subprocess_exec(*command, env=house.environment, stdout=pipe, stderr=pipe)


async def ended(process: asyncio.subprocess.Process) -> tuple[int, list[dict[str, Any]], str]:
    """Its exit code, what it was answered, and its log."""
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in (out or b"").splitlines()], err.decode()


async def killed(house: House, **plan: Any) -> None:
    code, _, log = await ended(await begun(house, **plan))
    assert code == -signal.SIGKILL, log


def calls(**arguments: Any) -> list[Any]:
    return [["register_transaction", arguments or draft()]]


async def held_for_ever(peer: Peer, _request: bytes) -> None:
    await peer.until_end()
