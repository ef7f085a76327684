"""The configuration, read as far as it can be: each faulty variable or file is named, and left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from seikyu.errors import ConfigurationError, Lang, Text
from seikyu.settings import Settings, default_config, read_connections, read_environment, read_settings

_PREFIX: Final = "SEIKYU_"
_ALSO_KNOWN: Final = frozenset({"SEIKYU_CONFIG", "SEIKYU_RETENTION_SHORTER"})
"""Read before, or only now and then."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a configuration says, and what is wrong with it."""

    settings: Settings
    """Without what is faulty."""
    variables: Mapping[str, ConfigurationError]
    """Faulty ones, by name."""
    files: Mapping[str, ConfigurationError]
    """Faulty ones, by name: `.env`, `connections.toml`."""
    unknown: tuple[str, ...]
    """Variables that begin like ours and that nothing reads."""
    known: frozenset[str]


def unread() -> Reading:
    """In the place of a configuration that cannot be read in time."""
    folder, _ = _folder()
    hangs = ConfigurationError(
        Text(f"{folder} を時間内に読めません。", f"{folder} could not be read, or not in time."),
        Text(
            "通常のフォルダーとファイルか確かめてください。", "See that it holds plain files, on a disk that answers."
        ),
    )
    home = _expanded(os.environ.get("SEIKYU_HOME") or "~/.local/share/seikyu")
    lang: Lang = "en" if os.environ.get("SEIKYU_LANG", "ja").startswith("en") else "ja"
    return Reading(Settings(home, folder, requester="", lang=lang), {}, {"connections.toml": hangs}, (), _ALSO_KNOWN)


def _folder() -> tuple[Path, dict[str, ConfigurationError]]:
    """The configuration folder, and what is wrong with its name."""
    try:
        return default_config(), {}
    except ConfigurationError as error:
        return _expanded(os.environ.get("SEIKYU_CONFIG") or "~/.config/seikyu"), {"SEIKYU_CONFIG": error}


def _expanded(value: str) -> Path:
    return Path(os.path.expanduser(value))  # noqa: PTH111 - Path's own raises for a user nobody knows


class _Asked(dict[str, str]):
    """Variables that note which of them were asked for: what reading asks for is what there is."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.names.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.names.add(str(key))
        return super().__contains__(key)


def read_all() -> Reading:
    """Raises nothing for what is wrong with the configuration."""
    folder, misnamed = _folder()
    files: dict[str, ConfigurationError] = {}
    try:
        environ: Mapping[str, str] = read_environment(folder)
    except ConfigurationError as error:
        files[".env"], environ = error, dict(os.environ)
    try:
        read_connections(folder / "connections.toml")
        read_from = folder
    except ConfigurationError as error:
        files["connections.toml"], read_from = error, folder / "connections.toml" / "is-faulty"
    asked = _Asked(environ)
    variables = misnamed | _drop_faulty(read_from, asked)
    settings = replace(read_settings(read_from, asked), config=folder)
    known = frozenset(name for name in asked.names if name.startswith(_PREFIX)) | _ALSO_KNOWN
    ours = sorted(name for name in environ if name.startswith(_PREFIX))
    unknown = tuple(name for name in ours if name not in known)
    return Reading(settings, variables, files, unknown, known)


def _drop_faulty(folder: Path, asked: _Asked) -> dict[str, ConfigurationError]:
    """Take variables out until the rest can be read; each of them, with what was wrong with it."""
    dropped: dict[str, ConfigurationError] = {}
    while (error := _fault(folder, asked)) is not None:
        culprit = next(_culprits(folder, asked, error), None)
        if culprit is None:
            # several of them, only together: then none is kept
            culprit = next(name for name in sorted(asked) if name.startswith(_PREFIX))
        dropped[culprit] = error
        del asked[culprit]
    return dropped


def _culprits(folder: Path, asked: _Asked, error: ConfigurationError) -> Iterator[str]:
    """Variables without which this fault is not there."""
    for name in sorted(asked):
        rest = {other: value for other, value in asked.items() if other != name}
        left = _fault(folder, rest) if name.startswith(_PREFIX) else error
        if left is None or left.what != error.what:
            yield name


def _fault(folder: Path, environ: Mapping[str, str]) -> ConfigurationError | None:
    try:
        read_settings(folder, environ)
    except ConfigurationError as error:
        return error
    return None
