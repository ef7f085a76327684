"""Runs that are killed at each durable step in turn; after each, what a process finds that starts then.

Each begins with a copy of the home as it was. Prints JSON lines: what was found after the kill, what after another run,
and how all of these processes ended.
"""

import importlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seikyu.models import SystemClock
from seikyu.store.database import Store, Tx
from seikyu.store.presence import Presence
from seikyu.vault.holdings import Appraiser, bindings
from seikyu.vault.keys import KeyPlaces
from seikyu.vault.rotation import Rotation
from vault.fakes import FREEE, MFK, SetClock
from vault.rotating import ELSEWHERE, SLACK, House


class Steps:
    """Dies at the step of a number: before and after each change of a file, inside and after each transaction."""

    def __init__(self, last: int) -> None:
        self._left = last

    def take(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any, **named: Any) -> Any:
            self.take()
            done = call(*arguments, **named)
            self.take()
            return done

        return stepped


def run(home: Path, *, is_dropping: bool, last: int) -> None:
    steps = Steps(last)
    os.fsync, os.replace, os.unlink = (steps.around(each) for each in (os.fsync, os.replace, os.unlink))
    store, clock, presence = Store(home / "seikyu.db"), SystemClock(), Presence(home / "alive")

    def tell(_tx: Tx, _kind: str, /, **_record: Any) -> None:
        steps.take()

    def on_progress(_done: int, _total: int) -> None:
        steps.take()

    rotation = Rotation(
        store,
        clock,
        places=KeyPlaces(home, variable=None),
        appraiser=Appraiser(bindings([FREEE, MFK, ELSEWHERE], SLACK), clock, presence),
        tell=tell,
        home=home,
        is_shared=False,
    )
    if is_dropping:
        rotation.drop(on_progress=on_progress)
    else:
        rotation.rotate(makes_key=True, is_sole_machine=False, on_progress=on_progress)


def look(home: Path) -> None:
    """What is in the vault, opened with the ring that is in its place by a process that starts now."""
    house = House(home, Store(home / "seikyu.db"), SetClock(), Presence(home / "alive"))
    print(json.dumps({"found": house.fingerprint(), "keys": len(house.keys())}), flush=True)  # noqa: T201


def forked(work: Callable[[], None]) -> int:
    """Do `work` in a process of its own; how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def killed_at(step: int, copy: Path, *, is_dropping: bool) -> bool:
    """A run that dies at `step`, and one that goes on from there; False when there is no such step."""
    ended = forked(lambda: run(copy, is_dropping=is_dropping, last=step))
    found = forked(lambda: look(copy))
    again = forked(lambda: run(copy, is_dropping=is_dropping, last=-1))
    healed = forked(lambda: look(copy))
    print(json.dumps({"ended": ended, "others": [found, again, healed]}), flush=True)  # noqa: T201
    return ended == signal.SIGKILL


def main(home: Path) -> None:
    for name in ("aiosql", "rfc8785", "sqlite3", "cryptography.hazmat.primitives.kdf.hkdf"):
        importlib.import_module(name)  # once here, not in each process
    for is_dropping in (False, True):
        step, goes_on = 0, True
        while goes_on:
            copy = home.with_name(f"{home.name}-{is_dropping}-{step}")
            shutil.copytree(home, copy)
            goes_on = killed_at(step, copy, is_dropping=is_dropping)
            step += 1
        forked(lambda: run(home, is_dropping=False, last=-1))  # that there is a key to drop


if __name__ == "__main__":
    main(Path(sys.argv[1]))
