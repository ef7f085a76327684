"""Children by fork: they inherit what is imported, and nothing that is open."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import TypeAlias

from crash.upstream import Wire

Body: TypeAlias = Callable[[socket.socket], None]
"""What a child does with its end of the wire."""


def bear(body: Body) -> tuple[int, Wire]:
    """Fork a child that runs `body` and ends; its id and our end of the wire to it.

    The caller has no thread, no event loop and no database open.
    """
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os._exit(_run(body, theirs))
    theirs.close()
    return pid, Wire(ours)


def _run(body: Body, end: socket.socket) -> int:
    try:
        body(end)
    except BaseException:  # noqa: BLE001 - nothing may reach the parent's code that stands below the fork
        traceback.print_exc()
        return 1
    return 0


def bury(pid: int) -> int:
    """Wait for a child; its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
