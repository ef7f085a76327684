"""A server in a process of its own: `python -m gate.messenger_program HOME MODE LEDGER`; it may kill itself."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio

from gate.messenger import messenger
from gate.stage import make_stage
from seikyu.gate.notices import Notice


@dataclass(frozen=True)
class Ledger:
    """A channel that writes each id into a file, which two processes may share."""

    path: Path
    is_mortal: bool = False
    name: str = "ledger"

    async def deliver(self, notice: Notice) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{notice.id} {notice.text.en}\n")
        if self.is_mortal:
            os.kill(os.getpid(), signal.SIGKILL)


def main(home: Path, mode: str, ledger: Path) -> None:
    stage = make_stage(home)
    if mode == "die before delivery":
        stage.propose("A-1", 100_000)
        os.kill(os.getpid(), signal.SIGKILL)
    delivery = messenger(stage, Ledger(ledger, is_mortal=mode == "die in delivery"))

    async def drain() -> None:
        sys.stdin.readline()  # so that several begin together
        for _ in range(20):
            await delivery.round()

    anyio.run(drain)
    stage.store.close()
    stage.presence.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
