"""A person at a real terminal: a pseudo-terminal of their own, a process of ours on the other side."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE_S = 60
PAUSE_S = 5


@dataclass
class Typist:
    """Reads what the screen shows, and types."""

    process: subprocess.Popen[bytes]
    screen: int
    seen: str = ""

    @property
    def said(self) -> str:
        """All that was shown, however the lines were broken."""
        return " ".join(self.seen.split())

    def reads(self, pattern: str) -> re.Match[str]:
        """Look until the screen shows `pattern`; bounded."""
        until = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self.seen)) is None:
            if time.monotonic() > until or not self._look():
                raise AssertionError(f"{pattern!r} never came:\n{self.seen}")
        return found

    def sees(self, is_so: Callable[[], bool]) -> None:
        """Look at the screen until something is so elsewhere; bounded."""
        until = time.monotonic() + PATIENCE_S
        while not is_so():
            if time.monotonic() > until or not self._look():
                raise AssertionError(f"it never came to that:\n{self.seen}")

    def types(self, line: str) -> None:
        os.write(self.screen, f"{line}\n".encode())

    def stops(self, said: str) -> None:
        """Ctrl+C until `said` is shown."""
        self.presses("\x03", until=said)

    def presses(self, key: str, *, until: str) -> None:
        """`key`, again while `until` is not shown: one that falls between a prompt and the reading of it is lost."""
        for _ in range(PATIENCE_S // PAUSE_S):
            os.write(self.screen, key.encode())
            pause_ends = time.monotonic() + PAUSE_S
            while time.monotonic() < pause_ends:
                if until in self.said or not self._look():
                    return
        raise AssertionError(f"it does not stop:\n{self.seen}")

    def leaves(self) -> int:
        """Wait for the end, bounded; the exit code."""
        until = time.monotonic() + PATIENCE_S
        while self._look():
            if time.monotonic() > until:
                raise AssertionError(f"it does not end:\n{self.seen}")
        return self.process.wait(PATIENCE_S)

    def _look(self) -> bool:
        """A second at most; False when the other side is gone."""
        if not select.select([self.screen], [], [], 1)[0]:
            return self.process.poll() is None
        try:
            shown = os.read(self.screen, 4096)
        except OSError:  # how Linux says that the terminal has nobody left
            return False
        self.seen += shown.decode(errors="replace").replace("\r\n", "\n")
        return bool(shown)


@contextmanager
def at_a_terminal(*arguments: str, environment: Mapping[str, str]) -> Generator[Typist]:
    """`seikyu ARGUMENTS` with a controlling terminal, as a person has one."""
    screen, behind = pty.openpty()

    def take_the_terminal() -> None:
        fcntl.ioctl(behind, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup; a person's shell does not

    process = subprocess.Popen(
        [sys.executable, "-m", "seikyu", *arguments],
        env=dict(environment),
        stdin=behind,
        stdout=behind,
        stderr=behind,
        start_new_session=True,
        preexec_fn=take_the_terminal,  # noqa: PLW1509 - the child is Python still, and alone
    )
    os.close(behind)
    try:
        yield Typist(process, screen)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        os.close(screen)
