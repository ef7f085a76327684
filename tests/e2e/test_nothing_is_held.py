"""While a provider thinks, nothing of ours is held that another call or another process may need."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from e2e.assistant import CREATE, assistant, call, draft
from seikyu.sandbox.delivery import Line
from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.sandbox.switchboard import Switchboard, Twin
from seikyu.sandbox.wire import Call
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, Stage

LOOKS = 40
"""A twin holds its answer back for so many looks of 25 ms: longer than any transaction."""


def is_free(database: Path) -> bool:
    """Whether nobody holds the writers' lock, nor a view of the database that keeps its log from being emptied."""
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as visitor:
        try:
            (version,) = visitor.execute("PRAGMA user_version").fetchone()
            visitor.execute(f"PRAGMA user_version = {version:d}")  # a write, so that the log is not empty
        except sqlite3.OperationalError:
            return False
        busy, *_ = visitor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy


async def was_free(database: Path) -> bool:
    """Whether there was one moment of the wait at which nothing was held; work beside it may hold things shortly."""
    for _ in range(LOOKS):
        if await anyio.to_thread.run_sync(is_free, database):
            return True
        await anyio.sleep(0.025)
    return False


@pytest.fixture
def held(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bool]]:
    """Of each path the provider was asked at, whether something was held all the while, once for each request."""
    database, answer = stage.home / "seikyu.db", Switchboard.answer
    held: dict[str, list[bool]] = {}

    async def looked(self: Switchboard, twin: Twin, asked: Call, line: Line) -> None:
        place = f"{asked.method} /{'/'.join(asked.path.split('/')[1:4])}"
        held.setdefault(place, []).append(not await was_free(database))
        await answer(self, twin, asked, line)

    monkeypatch.setattr(Switchboard, "answer", looked)
    return held


async def test_no_lock_transaction_or_view_is_held_during_any_call_of_a_provider(
    stage: Stage, held: dict[str, list[bool]]
) -> None:
    stage.twins.invox.oauth.access_token_life_s = 1  # so that the upload renews its token first
    await stage.run("connect", "mfk-demo", secrets={"--secret-fd": API_KEY})
    await stage.connect_invox()
    async with assistant(stage) as client:
        booked = await call(client, "register_transaction", **draft())
        asked = await call(client, "upload_e_storage_document", path="領収書-青葉商事.pdf", doc_type="領収書")
        await stage.run("approve", asked["action_id"], "--by", OPERATOR, secrets={"--secret-fd": PASSPHRASE})
        stage.twins.faults.add(Fault(operation=CREATE, kind=FaultKind.CUT_AFTER_EFFECT))
        lost = await call(client, "register_transaction", **draft(40_000))
        await call(client, "get_transaction", transaction_id=booked["provider_ref"])
    await stage.run("reconcile")
    await stage.run("disconnect", "invox-demo")

    assert lost["status"] == "unknown"
    assert {place for place, found in held.items() if any(found)} == set()
    assert {"POST /mfkessai/v2/transactions", "GET /mfkessai/v2/transactions"} <= set(held)
    assert {"POST /invox/oauth2/token", "POST /invox/oauth2/revoke_token"} <= set(held)
    assert len(held["POST /invox/oauth2/token"]) >= 2


async def test_what_is_held_all_the_while_would_be_seen(stage: Stage, held: dict[str, list[bool]]) -> None:
    with closing(sqlite3.connect(stage.home / "seikyu.db", isolation_level=None)) as somebody:
        somebody.execute("BEGIN")
        somebody.execute("SELECT count(*) FROM action").fetchall()
        await stage.run("connections", "--check")

    assert any(any(found) for found in held.values())
