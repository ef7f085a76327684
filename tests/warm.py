"""`seikyu` commands in processes of their own that need not import Seikyu first.

Each is forked from a process that has imported everything and done nothing else: as separate as one that was started
by its name, in a twentieth of the time. That a command also starts from nothing is for tests of the program to see.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import seikyu

PATIENCE_S: Final = 60
_WARM: Final = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that is over: its exit code and what it said."""

    code: int | None
    out: str
    err: str


def run(arguments: Sequence[str], environment: Mapping[str, str], secrets: Mapping[str, str]) -> Ended:
    """`secrets` go over file descriptors, by their options: `{"--secret-fd": …}`."""
    _WARM.set_forkserver_preload([name for name in _modules() if not name.endswith("__main__")])
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _WARM.Process(target=_live, args=(list(arguments), dict(environment), dict(secrets), out, err))
        process.start()
        process.join(PATIENCE_S)
        if process.is_alive():
            process.kill()
            process.join()
        return Ended(process.exitcode, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def _modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(seikyu.__path__, "seikyu.")]


def _live(arguments: list[str], environment: dict[str, str], secrets: dict[str, str], out: Path, err: Path) -> None:
    from seikyu.__main__ import main

    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["seikyu", *arguments]
    for option, secret in secrets.items():
        source, sink = os.pipe()
        os.write(sink, f"{secret}\n".encode())
        os.close(sink)
        sys.argv += [option, str(source)]
    main()
