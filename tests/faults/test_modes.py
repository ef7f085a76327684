"""A whole life with a umask that hides nothing: nobody else may look into any of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from e2e.assistant import draft
from faults.house import House, document, open_house


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def exposed(home: Path) -> list[str]:
    """What is not 0600, or 0700 for a folder; a person's own files in the inbox are theirs."""
    paths = [home, *(path for path in home.rglob("*") if path.parent != home / "inbox")]
    return [f"{path} {path.stat().st_mode:o}" for path in paths if stat.S_IMODE(path.stat().st_mode) != _wanted(path)]


def _wanted(path: Path) -> int:
    return 0o700 if path.is_dir() else 0o600


@pytest.mark.usefixtures("open_umask")
async def test_a_whole_life_leaves_nothing_that_others_can_look_into(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(tmp_path, with_invox=True, with_operator=True) as house:
        home = house.home.settings.home
        await live(house)
        during = exposed(home)
        names = {path.name for path in home.iterdir()}
    after = exposed(home)

    assert (during, after) == ([], [])
    assert names >= {"alive", "anchors.jsonl", "documents", "inbox", "master.key", "rotation.lock", "sent"}
    assert names >= {"seikyu.db", "seikyu.db-wal", "seikyu.db-shm"}
    assert any((home / "documents").iterdir())
    assert any((home / "sent").iterdir())
    assert f"{home} had mode 0777" in caplog.text  # somebody made it, and the inbox in it, before Seikyu began


async def live(house: House) -> None:
    """A login, a document that is stored, a transaction, an approval, a renewal, an anchor, a new key."""
    told = await house.view("upload_e_storage_document", **document(house))
    await house.approve(str(told["action_id"]))
    await house.view("register_transaction", **draft(30_000))
    await house.pass_time(10)
    house.home.logins().put_webhook_secret(house.home.settings.connections[0], SecretStr("x" * 20))
    for command in (["audit", "anchor"], ["vault", "rotate"], ["vault", "rotate", "--drop-retired"]):
        done = await house.operator(*command)
        assert done.exit_code == 0, done.output
