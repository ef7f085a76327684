"""Which of our processes are alive: each holds a lock on a file of its own, and the kernel lets go when it dies."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from pathlib import Path
from typing import Final

if os.name == "posix":
    import fcntl


_NAME: Final = re.compile(r"[0-9a-z-]{1,60}", re.ASCII)
"""A lease that names anything else, such as a path, names no process of ours, and no file to be opened."""


class Presence:
    """This process's name, for leases. A name is never used twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._one_at_a_time = threading.Lock()
        self.name = f"{os.getpid()}-{secrets.token_hex(6)}"

    def appear(self) -> str:
        """Take the lock, once; the name others can ask about."""
        # a second descriptor of the same file would wait for the first one's lock for ever
        with self._one_at_a_time:
            if self._descriptor is None and os.name == "posix":
                # with PostgreSQL nobody else may have made the home yet; parents of a folder take no mode
                self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._descriptor = os.open(self._folder / self.name, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self.name

    def is_gone(self, name: str) -> bool:
        """True when the process of that name ran on this machine and is dead.

        False when it lives, or when nobody here can know; its lease decides then.
        """
        path = self._folder / name
        if name == self.name or os.name != "posix" or not _NAME.fullmatch(name) or not path.is_file():
            return False
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:  # it has just left, or is another user's
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def leave(self) -> None:
        """Let go of the lock and remove the file."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                (self._folder / self.name).unlink()
            os.close(self._descriptor)
            self._descriptor = None
