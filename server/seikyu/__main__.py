"""`seikyu` and `python -m seikyu`."""

from __future__ import annotations

from seikyu.app import open_house
from seikyu.surfaces.cli.commands import build


def main() -> None:
    """Run the command line."""
    build(open_house)()


if __name__ == "__main__":
    main()
