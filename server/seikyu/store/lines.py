"""Files of one JSON line an entry, only ever appended to, kept beside the database; mode 0600.

A crash may cut the last line short. It is never mended by writing over it: the next line begins after a line end.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

_APPEND: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def append_line(path: Path, line: bytes) -> None:
    """Append `line` (without its end) in one write; durable when this returns. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, _APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        whole = _mended(descriptor, size) + line + b"\n"
        if os.write(descriptor, whole) != len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if size == 0:
        _sync_folder(path.parent)


def last_lines(path: Path, size: int) -> list[bytes]:
    """The last lines of the file that `size` bytes hold, oldest first; no file is no lines. Raises `OSError`."""
    try:
        with path.open("rb") as file:
            whole = file.seek(0, os.SEEK_END)
            # one byte more, to see whether the first line is whole
            start = file.seek(max(0, whole - size - 1))
            lines = file.read(whole - start).split(b"\n")
    except FileNotFoundError:
        return []
    return [line for line in (lines if whole <= size else lines[1:]) if line]


def _mended(descriptor: int, size: int) -> bytes:
    """A line end, when a crash cut the last line short: the next line must not be glued to it."""
    return b"" if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"


def _sync_folder(folder: Path) -> None:
    """The name of a new file is the folder's, and is lost in a power cut with it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
