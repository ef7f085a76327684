"""`seikyu` and `python -m seikyu`."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command line.

    Imports make many objects and no garbage: the collector rests until a command has what it needs
    (`app` wakes it before it serves), which is a tenth of the start-up.
    """
    gc.disable()
    from seikyu.app import find_patient, open_house
    from seikyu.surfaces.cli.commands import build

    build(open_house, find_patient)()


if __name__ == "__main__":
    main()
