"""What a process of a watched test run knew as a secret, and what it let others see.

Every process of the run writes into the folder `CANARY_DIARY` names: each value that was ever held as a secret into
`secrets/`, and what it showed into `shown/`: its log at DEBUG, stdout and stderr, tools' results, pages, and the
arguments of the programs it started. `canary.scan` then looks for the first in the second. Nothing here imports what
it watches: a module is dressed when, and if, the process imports it.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from canary.dresses import DRESSES

VARIABLE: Final = "CANARY_DIARY"
"""Not a name of ours: tests hand no variable of ours on to the programs they start."""
SECRETS: Final = "secrets"
SHOWN: Final = "shown"

_SHORTEST: Final = 10
"""Bytes. What is shorter stands in innocent words too."""


class Diary:
    """One process's, appended to line by line, so that a kill loses nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[bytes] = set()

    def secret(self, value: object) -> None:
        """Note a value that nobody may ever see."""
        raw = value.encode(errors="surrogatepass") if isinstance(value, str) else value
        if isinstance(raw, bytes) and len(raw) >= _SHORTEST and raw not in self._known:
            self._known.add(raw)
            self._append(SECRETS, "values", base64.b64encode(raw) + b"\n")

    def shown(self, kind: str, what: str | bytes) -> None:
        """Note something that left the process where others read it."""
        self._append(SHOWN, kind, what if isinstance(what, bytes) else what.encode(errors="surrogateescape"))

    def file(self, kind: str) -> Path:
        return self._folder / SHOWN / f"{os.getpid()}.{kind}"

    def _append(self, part: str, kind: str, what: bytes) -> None:
        path = self._folder / part / f"{os.getpid()}.{kind}"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, what)
        finally:
            os.close(descriptor)


_write: Final = os.write


_begun: list[Diary] = []


def keep_diary() -> None:
    """Begin, if this process belongs to a watched run."""
    folder = os.environ.get(VARIABLE)
    if folder:
        diary = begun(Path(folder))
        watch_output(diary)
        watch_log(diary)


def begun(folder: Path) -> Diary:
    """The diary of this process, begun now if it is not yet."""
    if not _begun:
        _begun.append(Diary(folder))
        watch_imports(_begun[0])
        watch_arguments(_begun[0])
    return _begun[0]


def watch_imports(diary: Diary) -> None:
    """Dress the modules in which secrets are made and results leave, now or when they are imported."""
    for name, dress in DRESSES.items():
        if name in sys.modules:
            dress(sys.modules[name], diary)
    sys.meta_path.insert(0, _Dresser(diary))


def watch_arguments(diary: Diary) -> None:
    """Every program this process starts: its arguments can be read in the process table."""

    def hear(event: str, details: tuple[Any, ...]) -> None:
        if event in {"subprocess.Popen", "os.posix_spawn", "os.exec"}:
            diary.shown("arguments", repr(details[1]) + "\n")

    sys.addaudithook(hear)


def watch_output(diary: Diary) -> None:
    """What this process writes to descriptors 1 and 2, by `os.write` or by the streams of Python."""

    def write(descriptor: int, what: bytes) -> int:
        done = _write(descriptor, what)
        if descriptor in {1, 2}:
            diary.shown("output", bytes(what)[:done])
        return done

    os.write = write  # type: ignore[assignment]
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _copied(cast("io.TextIOWrapper", stream), diary))


def _copied(stream: io.TextIOWrapper, diary: Diary) -> io.TextIOWrapper:
    class Copied(io.FileIO):
        def write(self, what: Any, /) -> int:
            diary.shown("output", bytes(what))
            return super().write(what) or 0

    raw = Copied(stream.fileno(), "wb", closefd=False)
    is_raw = isinstance(stream.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        raw if is_raw else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def watch_log(diary: Diary) -> None:
    """Everything from DEBUG up, beside the handlers the process chooses for itself."""
    keeper = logging.FileHandler(diary.file("log"), delay=True)
    keeper.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root, configure = logging.getLogger(), logging.basicConfig

    @wraps(configure)
    def configured(**options: Any) -> None:
        root.removeHandler(keeper)
        configure(**options)
        for handler in root.handlers:
            handler.setLevel(max(handler.level, options.get("level", logging.WARNING)))
        _listen()

    def _listen() -> None:
        root.addHandler(keeper)
        root.setLevel(logging.DEBUG)

    logging.basicConfig = configured
    _listen()


class _Dresser(MetaPathFinder):
    """Lets the others find a module, and dresses it once it is loaded."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self._looking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname not in DRESSES or fullname in self._looking:
            return None
        self._looking.add(fullname)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            _after(spec.loader, lambda module: DRESSES[fullname](module, self._diary))
        return spec


def _after(loader: Loader, dress: Callable[[ModuleType], None]) -> None:
    load = loader.exec_module

    def loaded(module: ModuleType) -> None:
        load(module)
        dress(module)

    loader.exec_module = loaded  # type: ignore[method-assign]
