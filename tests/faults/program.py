"""A process of an installation that does what its plan says and meets its fate: `program.py PLAN`.

The plan is JSON: `calls` (tool and arguments each), `approve` (an action), and `at`, which says what happens at a
durable step. Steps are `claimed`, `answered`, `recorded`, and `<audit kind> before commit` or `… after commit`.
Fates: `kill`, `stop` (SIGSTOP), `full` (no file may grow any more), `room` (they may again).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio

from gate.stage import PASSPHRASE
from seikyu.app import Home
from seikyu.gate import operators
from seikyu.gate.actions import Action
from seikyu.gate.votes import Ballot
from seikyu.settings import read_settings
from seikyu.spec import Principal
from seikyu.store import database

PLAN: dict[str, Any] = json.loads(sys.argv[1])


def meet(step: str) -> None:
    fate = PLAN.get("at", {}).pop(step, None)
    if fate == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if fate == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    if fate == "room":
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


class MortalStore(database.Store):
    """Names each transaction after the last audit row it wrote."""

    @contextmanager
    def write(self) -> Generator[database.Tx]:
        kind = ""
        with super().write() as tx:
            before = tx.one("audit_head")
            yield tx
            if (after := tx.one("audit_head")) is not None and after != before:
                [row] = tx.all("audit_page", after=int(after["seq"]) - 1, limit=1)
                kind = str(row["kind"])
                meet(f"{kind} before commit")
        if kind:
            meet(f"{kind} after commit")


def told(step: str, _action: Action) -> None:
    meet(step)


async def main() -> None:
    database.Store = MortalStore  # type: ignore[misc]
    home = Home(read_settings(), told)
    waits = PLAN.get("record_waits_s")
    try:
        if waits is not None:
            vars(home.rooms().executor)["_record_waits_s"] = waits
        for number, (tool, arguments) in enumerate(PLAN.get("calls", [])):
            meet(f"call {number}")
            answer = await home.call(Principal(home.settings.requester, "test", "en"), tool, arguments)
            said = {"text": answer.text, "code": answer.code, "result": answer.structured}
            sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        if "approve" in PLAN:
            rooms = home.rooms()
            key = operators.unlock(rooms.store, rooms.clock, "tanaka", PASSPHRASE)
            digest = rooms.cards.card(PLAN["approve"]).digest
            rooms.ballots.cast(Ballot(PLAN["approve"], digest, "approve"), key)
            await rooms.executor.execute(PLAN["approve"])
    finally:
        await home.edge.aclose()
        home.close()


if __name__ == "__main__":
    anyio.run(main)
