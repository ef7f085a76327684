"""Presence is asked for by many threads at once: every claim of a busy server does."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seikyu.store.presence import Presence

THREADS = 16


def test_threads_that_appear_at_the_same_moment_all_come_back_with_the_lock_held(tmp_path: Path) -> None:
    for attempt in range(20):
        presence, names = Presence(tmp_path / str(attempt)), list[str]()
        together = threading.Barrier(THREADS)

        def appear(presence: Presence = presence, names: list[str] = names, at: threading.Barrier = together) -> None:
            at.wait()
            names.append(presence.appear())

        threads = [threading.Thread(target=appear, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=5)

        assert names == [presence.name] * THREADS
        assert not Presence(tmp_path / str(attempt)).is_gone(presence.name)
        presence.leave()


def test_a_home_that_is_not_there_yet_is_made_for_us_alone(tmp_path: Path) -> None:
    presence = Presence(tmp_path / "home" / "alive")

    presence.appear()

    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("home", "home/alive")] == [0o700, 0o700]
    presence.leave()


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "", "..", "../a-file", "{folder}/a-file"])
def test_a_name_that_is_none_of_ours_is_nobody_known_and_no_file_is_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "alive").mkdir()

    assert not Presence(tmp_path / "alive").is_gone(name.format(folder=tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a running program can be opened")
def test_a_file_that_cannot_be_asked_tells_nothing(tmp_path: Path) -> None:
    """Another user's, or of a process that is just leaving. A program that runs cannot be opened by root either."""
    program = tmp_path / "7-busy"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as running:
        is_gone = Presence(tmp_path).is_gone("7-busy")
        running.kill()

    assert not is_gone
