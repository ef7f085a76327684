"""How far a long run is, on stderr: one line that changes in a terminal, a line now and then anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Final

TERMINAL_S: Final = 1
ELSEWHERE_S: Final = 20


class Progress:
    """Told after each step; says how many are done, how fast, and what went wrong so far."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._is_terminal = sys.stderr.isatty()
        self._began = self._said = time.monotonic()

    def at(self, done: int, faults: int) -> None:
        now = time.monotonic()
        if now - self._said < (TERMINAL_S if self._is_terminal else ELSEWHERE_S):
            return
        self._said = now
        begin, end = ("\r", "\033[K") if self._is_terminal else ("", "\n")
        rate = done / (now - self._began)
        sys.stderr.write(f"{begin}  {done} of {self._total} {self._unit}, {rate:.1f} a second, {faults} faults{end}")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line to whoever writes next."""
        if self._is_terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
