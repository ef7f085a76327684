"""The operator's own programs: one line in, an exit code out. They are told, not asked, and learn no secret of ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

import anyio

from seikyu.errors import NotDelivered, Text
from seikyu.models import shown

LIMIT_S: Final = 20
"""The longest a program may run."""

PASSED_ON: Final = ("PATH", "HOME", "LANG")
"""All that a program sees of our environment; the rest may hold the master key."""


async def tell_program(command: Sequence[str], line: bytes, *, limit_s: int = LIMIT_S) -> None:
    """Run `command`, without a shell, with `line` and a line end on its stdin; what it prints is thrown away.

    It runs in a process group of its own, which is killed when the time is over or the caller is cancelled.

    Raises:
        NotDelivered: it cannot be started, took too long, or ended with another exit code than 0.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(os.environ),
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(command, f"{error.strerror} ({error.errno})") from error
    try:
        async with asyncio.timeout(limit_s):
            await process.communicate(line + b"\n")
    except TimeoutError:
        raise _failed(command, f"{limit_s} s") from None
    finally:
        await _end(process)
    if process.returncode != 0:
        raise _failed(command, f"exit {process.returncode}")


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: ours[name] for name in PASSED_ON if name in ours}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing of a program behind that is still running."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.wait()


def _failed(command: Sequence[str], why: str) -> NotDelivered:
    name = shown(os.path.basename(command[0]), 60)  # noqa: PTH119 - a name, not a path
    return NotDelivered(Text(f"プログラム {name} が失敗しました（{why}）。", f"The program {name} failed ({why})."))
