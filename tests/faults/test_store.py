"""What may happen to the database's file: no room, locked, read-only, damaged, of another version."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from e2e.assistant import draft
from faults.children import begun, calls, ended
from faults.house import LOOK, POST, SUZUKI, House, open_house
from seikyu.errors import StoreBusy, StoreDamaged
from seikyu.store.database import Store
from seikyu.store.schema import migrations


@pytest.mark.fault("F09")
async def test_without_room_for_a_proposal_it_is_refused_and_nothing_is_sent(house: House) -> None:
    plan: list[Any] = [["list_actions", {}], *calls()]
    code, [_, told], log = await ended(await begun(house, calls=plan, at={"call 1": "full"}))
    total = (await house.view("list_actions"))["total"]
    later = await house.register()

    assert (code, told["code"]) == (0, "store_busy"), log
    assert "cannot be written" in told["text"]
    assert "Make room" in told["text"]
    assert (total, later["status"]) == (0, "succeeded")
    assert (house.effects(), house.wire.count(POST), house.is_log_sound()) == (1, 1, True)


@pytest.mark.fault("F10")
async def test_without_room_for_an_outcome_it_is_told_as_possible_alarmed_and_found_later(house: House) -> None:
    plan = {"calls": calls(), "at": {"answered": "full"}, "record_waits_s": [0, 0]}
    code, [told], log = await ended(await begun(house, **plan))
    [left] = (await house.view("list_actions"))["actions"]
    effects = house.effects()
    seen = await house.settled(left["action_id"])
    reference = house.twins.effects[0].resource_id

    assert (code, told["code"], effects) == (0, "outcome_not_recorded", 1)
    assert "may have been written" in told["text"]
    assert f"the outcome of {left['action_id']} could not be stored: Done {reference}" in log
    assert (left["status"], left["written"]) == ("executing", "unknown")
    assert (seen["status"], seen["provider_ref"]) == ("succeeded", reference)
    assert (house.effects(), house.wire.count(POST), house.wire.count(LOOK)) == (1, 1, 1)


@pytest.mark.fault("F11")
async def test_a_database_locked_too_long_sends_nothing_and_goes_on_when_it_is_free(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.steps.at["claimed"] = house.wire.deafen
    waiting = await house.register(40_000)
    await house.wire.listen()
    house.clock.move(seconds=10)
    monkeypatch.setattr("seikyu.store.sqlite.BUSY_TIMEOUT_S", 1)
    other = house.another()
    with closing(sqlite3.connect(house.home.settings.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        told = await other.call(SUZUKI, "register_transaction", draft())
        with pytest.raises(StoreBusy):
            await other.rooms().executor.execute(waiting["action_id"])
        holder.execute("ROLLBACK")
    before = house.effects(), house.wire.count(POST), (await house.view("list_actions"))["total"]
    await other.rooms().executor.execute(waiting["action_id"])
    await other.edge.aclose()
    other.close()

    assert (told.is_error, told.code) == (True, "store_busy")
    assert before == (0, 0, 1)
    assert (await house.status(waiting["action_id"]), house.effects()) == ("succeeded", 1)


@pytest.mark.fault("F11")
@pytest.mark.skipif(os.geteuid() == 0, reason="for root no file is read-only")
async def test_a_read_only_database_sends_nothing(house: House) -> None:
    house.home.close()
    house.home.settings.database.chmod(0o400)
    told = await house.call("register_transaction", **draft())
    house.home.close()
    house.home.settings.database.chmod(0o600)

    assert (told.is_error, told.code) == (True, "store_busy")
    assert house.wire.count(POST) == 0


def overwritten(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def something_else(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


@pytest.mark.fault("F12")
@pytest.mark.parametrize("damage", [overwritten, halved, something_else])
async def test_a_damaged_database_refuses_every_write_and_names_the_backup(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async with open_house(tmp_path) as house:
        house.home.close()
        whole = house.home.settings.database.read_bytes()
        damage(house.home.settings.database)
        other = house.another()
        listed = {tool.name for tool in other.tools}
        told = [await other.call(SUZUKI, "register_transaction", draft(price)) for price in (30_000, 31_000)]
        await other.edge.aclose()
        other.close()
        house.home.settings.database.write_bytes(whole)
        restored = await house.register()

        assert "register_transaction" in listed
        assert {(answer.is_error, answer.code) for answer in told} == {(True, "store_damaged")}
        assert "Restore it from a backup" in told[0].text
        assert (restored["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


@pytest.mark.fault("F12")
async def test_a_database_of_a_newer_seikyu_is_left_as_it_is(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        house.home.close()
        set_version(house, 9_999)
        other = house.another()
        told = await other.call(SUZUKI, "register_transaction", draft())
        await other.edge.aclose()
        other.close()
        kept = version(house)
        set_version(house, migrations("sqlite")[-1][0])

        assert (told.code, kept, house.wire.count(POST)) == ("store_damaged", 9_999, 0)
        assert "newer Seikyu" in told.text


@pytest.mark.fault("F12")
def test_an_older_database_that_cannot_be_brought_up_whole_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        for _, script in [each for each in migrations("sqlite") if each[0] == 1]:
            made.executescript(script)
        made.execute("PRAGMA user_version = 1")
        made.execute("CREATE TABLE event (in_the_way TEXT)")  # of the eighth migration, so that six succeed first
        before = made.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    store = Store(path)
    with pytest.raises(StoreDamaged) as told, store.write():
        pass
    store.close()
    with closing(sqlite3.connect(path)) as seen:
        after = seen.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        (at,) = seen.execute("PRAGMA user_version").fetchone()

    assert "backup" in told.value.say("en")
    assert (at, after) == (1, before)


def version(house: House) -> int:
    with closing(sqlite3.connect(house.home.settings.database)) as raw:
        return int(raw.execute("PRAGMA user_version").fetchone()[0])


def set_version(house: House, number: int) -> None:
    with closing(sqlite3.connect(house.home.settings.database)) as raw:
        raw.execute(f"PRAGMA user_version = {number:d}")
