"""Our command line in a window of a person's own width."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress


def in_a_window(columns: int, *arguments: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run it at a terminal so many columns wide; its exit code, and all it wrote."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    hidden = ("SEIKYU_", "COLUMNS", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    process = subprocess.Popen(
        [sys.executable, "-m", "seikyu", *arguments],
        env={**kept, "TERM": "xterm-256color", **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux says so when the other end is closed
        while part := os.read(ours, 65_536):
            shown += part
    os.close(ours)
    return process.wait(60), shown.decode()
