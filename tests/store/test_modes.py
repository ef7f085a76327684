import os
import stat
from pathlib import Path

import pytest

from seikyu.errors import ConfigurationError
from seikyu.store.modes import make_private


def modes(home: Path) -> dict[str, str]:
    found = [home, *home.rglob("*")]
    return {str(path.relative_to(home)): f"{stat.S_IMODE(path.lstat().st_mode):04o}" for path in found}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Left open by an older day: a restored backup, a copy."""
    home = tmp_path / "home"
    for folder in ("sent", "documents", "inbox"):
        (home / folder).mkdir(parents=True)
    for file in ("seikyu.db", "seikyu.db-wal", "seikyu.db-shm", "anchors.jsonl", "master.key"):
        (home / file).write_text("x")
    for folder in ("sent", "documents", "inbox"):
        (home / folder / "file").write_text("x")
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return home


def test_what_others_could_reach_is_closed_and_told(home: Path) -> None:
    told = [str(mended) for mended in make_private(home)]

    assert modes(home) == {
        ".": "0700",
        "anchors.jsonl": "0600",
        "documents": "0700",
        "documents/file": "0600",
        "inbox": "0700",
        "inbox/file": "0644",
        "master.key": "0644",
        "seikyu.db": "0600",
        "seikyu.db-shm": "0600",
        "seikyu.db-wal": "0600",
        "sent": "0700",
        "sent/file": "0600",
    }
    assert (told[0], len(told)) == (f"{home} had mode 0755", 10)
    assert make_private(home) == []


def test_a_home_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    told = make_private(tmp_path / "home")
    os.umask(before)

    assert (told, modes(tmp_path / "home")) == ([], {".": "0700"})


def test_thousands_of_documents_are_not_looked_at_one_by_one_while_nobody_reaches_them(home: Path) -> None:
    make_private(home)
    (home / "documents" / "file").chmod(0o644)

    assert make_private(home) == []


def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "elsewhere" / "file").write_text("x")
    (home / "linked").symlink_to(tmp_path / "elsewhere")
    (home / "link").symlink_to(tmp_path / "elsewhere" / "file")
    before = modes(tmp_path / "elsewhere")
    make_private(home)

    assert modes(tmp_path / "elsewhere") == before


def test_a_home_that_cannot_be_made_is_told_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(ConfigurationError, match="cannot be kept from others") as caught:
        make_private(tmp_path / "file" / "home")
    assert "SEIKYU_HOME" in caught.value.say("ja")
