"""Who may look into the home: its owner and nobody else. Folders have mode 0700, files 0600."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seikyu.errors import ConfigurationError, Text

FOLDER: Final = 0o700
FILE: Final = 0o600
_OTHERS_FILES: Final = frozenset({"inbox"})
"""Folders of the home whose files a person puts there; only the folder is ours."""
_MANY_FILES: Final = frozenset({"documents"})
"""Folders that may hold thousands of files, which nobody reaches through a folder of mode 0700."""
_KEY_FILE: Final = "master.key"
"""Left as it is: a key that others could read is refused by whoever reads it, and not made fit in silence."""


@dataclass(frozen=True, slots=True)
class Mended:
    """Something others could reach until now."""

    path: Path
    was: int

    def __str__(self) -> str:
        return f"{self.path} had mode {self.was:04o}"


def make_private(home: Path) -> list[Mended]:
    """Make the home if there is none, and close what is open in it; what was open, so that somebody can be told.

    SQLite gives its -wal and -shm the mode of the database. Links are not followed. Windows keeps no such modes.

    Raises:
        ConfigurationError: the home cannot be made, or what is open belongs to somebody else.
    """
    if os.name != "posix":
        return []
    try:
        home.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        return list(_mended_in(home))
    except OSError as error:
        raise _unusable(home, error) from error


def _mended_in(home: Path) -> Iterator[Mended]:
    was_open = yield from _folder(home)
    for entry in _entries(home):
        if not entry.is_dir(follow_symlinks=False):
            if entry.name != _KEY_FILE:
                yield from _file(entry)
            continue
        is_open = yield from _folder(Path(entry.path))
        if entry.name in _OTHERS_FILES or (entry.name in _MANY_FILES and not (is_open or was_open)):
            continue
        for inner in _entries(Path(entry.path)):
            yield from _file(inner)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _folder(path: Path) -> Generator[Mended, None, bool]:
    """Whether it was open."""
    was = stat.S_IMODE(path.stat().st_mode)
    if was != FOLDER:
        path.chmod(FOLDER)
        yield Mended(path, was)
    return was != FOLDER


def _file(entry: os.DirEntry[str]) -> Iterator[Mended]:
    with suppress(FileNotFoundError):  # another process has just removed it
        found = entry.stat(follow_symlinks=False)
        was = stat.S_IMODE(found.st_mode)
        if stat.S_ISREG(found.st_mode) and was != FILE:
            Path(entry.path).chmod(FILE)
            yield Mended(Path(entry.path), was)


def _unusable(home: Path, error: OSError) -> ConfigurationError:
    path = error.filename or home
    return ConfigurationError(
        Text(
            f"{path} を自分だけのものにできません（{error.strerror}）。",
            f"{path} cannot be kept from others ({error.strerror}).",
        ),
        Text(
            f"`chown -R {os.geteuid()} {home}` を実行するか、SEIKYU_HOME に自分のフォルダーを指定してください。",
            f"Run `chown -R {os.geteuid()} {home}`, or name a folder of your own in SEIKYU_HOME.",
        ),
    )
