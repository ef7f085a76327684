"""The state folder: who can reach it, who owns what is in it, and whether there is room for more."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from seikyu.errors import Text
from seikyu.surfaces.doctor.findings import Finding, Findings, fault, note, ok, warning
from seikyu.surfaces.doctor.patient import Patient

MOST_FILES: Final = 20_000
"""Looked at; kept documents can be many."""
NO_ROOM: Final = 100 * 1024**2
LITTLE_ROOM: Final = 1024**3
_FOLDERS: Final = ("alive", "documents", "sent")
_NAMED: Final = 3
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(slots=True)
class _Seen:
    """What was found inside the folder."""

    count: int = 0
    exposed: list[Path] = field(default_factory=list[Path])
    foreign: list[Path] = field(default_factory=list[Path])


def look_at_files(patient: Patient) -> Findings:
    """`SEIKYU_HOME` itself, then everything below it but the folders documents come from."""
    home = patient.settings.home
    try:
        status = home.stat()
    except FileNotFoundError:
        yield note(
            "files.home",
            Text(f"状態フォルダー {home} はまだありません。", f"The state folder {home} is not there yet."),
            Text("最初に使う時に作られます。", "It is made at the first use."),
        )
        return
    except OSError as error:
        yield _unusable(home, error)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield _unusable(home, NotADirectoryError())
        return
    yield from _home(home, stat.S_IMODE(status.st_mode))
    yield from _no_folders(home)
    yield from _inside(home, patient.settings.file_roots, is_shut=not status.st_mode & _OTHERS)


def _unusable(home: Path, error: OSError) -> Finding:
    return fault(
        "files.home",
        Text(
            f"{home} を状態フォルダーとして使えません（{type(error).__name__}）。",
            f"{home} cannot be used as the state folder ({type(error).__name__}).",
        ),
        Text("SEIKYU_HOME に自分のフォルダーを指定してください。", "Name a folder of your own in SEIKYU_HOME."),
    )


def _home(home: Path, mode: int) -> Findings:
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield fault(
            "files.home",
            Text(f"{home} に書き込めません。", f"{home} cannot be written to."),
            Text("所有者と権限を確かめてください。", "Check its owner, its permissions and its disk."),
        )
    elif os.name == "posix" and mode & _OTHERS:
        yield fault(
            "files.home",
            Text(f"{home} に他の利用者が入れます（{mode:04o}）。", f"Others can reach into {home} ({mode:04o})."),
            Text(f"`chmod 700 {home}` を実行してください。", f"Run `chmod 700 {home}`."),
        )
    else:
        yield ok("files.home", Text(f"{home} には本人だけが入れます。", f"Nobody else can reach into {home}."))


def _no_folders(home: Path) -> Findings:
    """What stands in the place of a folder, without which nothing is renewed, sent or kept."""
    for name in _FOLDERS:
        path = home / name
        if os.path.lexists(path) and not path.is_dir():
            yield fault(
                "files.folders",
                Text(f"{path} はフォルダーではありません。", f"{path} is not a folder."),
                Text(
                    "別の場所へ移してください。必要な時に作られます。",
                    "Move it away; the folder is made when it is needed.",
                ),
                about=name,
            )


def _inside(home: Path, roots: tuple[Path, ...], *, is_shut: bool) -> Findings:
    if os.name != "posix":
        return
    seen = _look_inside(home, roots)
    if seen.exposed:
        level = warning if is_shut else fault
        yield level(
            "files.modes",
            Text(
                f"{len(seen.exposed)}個のファイルかフォルダーの権限が緩すぎます: {_names(home, seen.exposed)}",
                f"{len(seen.exposed)} file(s) or folder(s) are open to others: {_names(home, seen.exposed)}.",
            ),
            Text(
                f"`chmod -R go-rwx {home}` を実行してください。",
                f"Run `chmod -R go-rwx {home}`.",
            ),
        )
    if seen.foreign:
        yield warning(
            "files.owner",
            Text(
                f"{len(seen.foreign)}個の所有者が別の利用者です: {_names(home, seen.foreign)}",
                f"{len(seen.foreign)} of them belong to another user: {_names(home, seen.foreign)}.",
            ),
            Text(f"`chown -R {os.geteuid()} {home}` を実行してください。", f"Run `chown -R {os.geteuid()} {home}`."),
        )
    if not seen.exposed and not seen.foreign:
        yield ok(
            "files.modes", Text(f"{seen.count}個の権限は正しいです。", f"{seen.count} files and folders are private.")
        )


def _look_inside(home: Path, roots: tuple[Path, ...]) -> _Seen:
    seen, ours = _Seen(), os.geteuid()
    for path, status in _walk(home, {root.absolute() for root in roots}):
        seen.count += 1
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & _OTHERS:
            seen.exposed.append(path)
        if status.st_uid != ours:
            seen.foreign.append(path)
        if seen.count >= MOST_FILES:
            break
    return seen


def _walk(folder: Path, left_out: set[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Whatever disappears meanwhile is not told."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if (Path(where) / name).absolute() not in left_out]
        for name in (*folders, *names):
            path = Path(where) / name
            with suppress(FileNotFoundError):
                yield path, path.lstat()


def _names(home: Path, paths: list[Path]) -> str:
    shown = ", ".join(str(path.relative_to(home)) for path in sorted(paths)[:_NAMED])
    return f"{shown}, …" if len(paths) > _NAMED else shown


def look_at_space(patient: Patient) -> Findings:
    """Of the disk the state folder is on, or would be."""
    home = patient.settings.home.absolute()
    there = next(path for path in (home, *home.parents) if path.exists())
    yield room(shutil.disk_usage(there).free)


def room(free: int) -> Finding:
    """What it means that so many bytes are free."""
    mib = free // 1024**2
    said = Text(f"ディスクの空きは{mib:,} MiB です。", f"There are {mib:,} MiB of room on the disk.")
    step = Text(
        "場所を空けてください。記録できなければ何も送信しません。",
        "Make room: what cannot be recorded is not sent.",
    )
    if free >= LITTLE_ROOM:
        return ok("files.space", said)
    return (fault if free < NO_ROOM else warning)("files.space", said, step)
