"""`seikyu` and `python -m seikyu`."""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line.

    Imports make many objects and no garbage: the collector rests until a command has what it needs
    (`app` wakes it before it serves), which is a tenth of the start-up.
    """
    gc.disable()
    _leave_no_core()
    _fill_in()
    _spell_out()
    from seikyu.app import find_patient, open_house, open_to_stop
    from seikyu.surfaces.cli.commands import build

    build(open_house, find_patient, open_to_stop)()


def _leave_no_core() -> None:
    """A process that crashes must not write its memory, keys and tokens in it, to a disk."""
    if os.name == "posix":
        import resource

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _fill_in() -> None:
    """Put nothing in the place of a closed stream: else the next file, the database perhaps, would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _spell_out() -> None:
    """What a window or a file cannot hold is spelled out: a command that did its work must not break off telling it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
