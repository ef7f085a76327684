"""`seikyu` and `python -m seikyu`."""

from __future__ import annotations

import gc
import io
import sys


def main() -> None:
    """Run the command line.

    Imports make many objects and no garbage: the collector rests until a command has what it needs
    (`app` wakes it before it serves), which is a tenth of the start-up.
    """
    gc.disable()
    _spell_out()
    from seikyu.app import find_patient, open_house
    from seikyu.surfaces.cli.commands import build

    build(open_house, find_patient)()


def _spell_out() -> None:
    """What a window or a file cannot hold is spelled out: a command that did its work must not break off telling it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
