"""Presence is asked for by many threads at once: every claim of a busy server does."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

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
