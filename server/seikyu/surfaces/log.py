"""The log on stderr, which nobody has to read: a sink that is full, closed or gone never holds the work up."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from typing import Final

STDERR: Final = 2
ROOM: Final = 1000
"""Lines that may wait for a slow reader; what comes then is counted and dropped."""
LAST_WORDS_S: Final = 1.0
"""How long the end of the process waits for the reader."""


class PatientLog(logging.Handler):
    """Hands lines to a daemon thread that writes them to a descriptor, so that only that thread can be stuck.

    To the descriptor itself: a thread that is stuck inside `sys.stderr` holds a lock the end of the interpreter needs.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes] = queue.Queue(ROOM)
        self._dropped = 0
        threading.Thread(target=self._write, name="seikyu_log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except queue.Full:
            self._dropped += 1
        except Exception:  # noqa: BLE001 - a record that cannot be said must not stop what it tells of
            self._dropped += 1

    def flush(self) -> None:
        """Wait a moment for the reader; called when the process ends."""
        until = time.monotonic() + LAST_WORDS_S
        while self._lines.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            dropped, self._dropped = self._dropped, 0
            if dropped:
                line += f"WARNING {__name__}: {dropped} lines were dropped\n".encode()
            with suppress(OSError):  # nobody reads any more
                while line:
                    line = line[os.write(self._descriptor, line) :]
            self._lines.task_done()


def log_to_stderr() -> None:
    """Warnings and worse of every room. Also makes descriptor 2 ours, should the process have come without one."""
    keep_stderr_open()
    handler = PatientLog(STDERR)
    handler.addFilter(is_news)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(levelname)s %(name)s: %(message)s")


def is_news(record: logging.LogRecord) -> bool:
    """False for a client that hung up in the middle of its request: the SDK tells that as a fault, with a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ != "ClientDisconnect"


def keep_stderr_open() -> None:
    """A closed descriptor 2 would be given to the next socket or file, and errors would be written into that."""
    try:
        os.fstat(STDERR)
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        if nothing != STDERR:
            os.dup2(nothing, STDERR)
            os.close(nothing)


def say(line: str) -> None:
    """One line to whoever started us, if they listen."""
    with suppress(OSError):
        os.write(STDERR, f"{line}\n".encode())
