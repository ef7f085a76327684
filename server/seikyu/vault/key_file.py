"""The master key in a file: `master.key` in the home, mode 0600, one key a line."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from seikyu.errors import ConfigurationError, Text
from seikyu.settings import KeyPlaceName
from seikyu.vault.rings import MOST_BYTES, KeyRing, MasterKey, new_key, no_key, ring_of

FILE_NAME: Final = "master.key"
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Never through a symbolic link, and never waiting for a pipe."""
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_DRAFT: Final = f".{FILE_NAME}."
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_RIGHT: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class KeyFile:
    """`<home>/master.key`. Whoever reads it finds it whole: it is made aside, made durable, then given its name."""

    def __init__(self, home: Path) -> None:
        self.kind: KeyPlaceName = "file"
        self._path = home / FILE_NAME

    @property
    def place(self) -> Text:
        return Text(str(self._path), str(self._path))

    @property
    def is_given(self) -> bool:
        """Whether there is anything of that name, be it a key file or not."""
        return os.path.lexists(self._path)

    def read(self) -> KeyRing | None:
        """The keys; None when there is no file.

        Raises:
            ConfigurationError: it is not a plain file of ours with mode 0600, or no key is in it.
        """
        try:
            descriptor = os.open(self._path, _OPEN)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unusable(self._path, error) from error
        try:
            _refuse_exposed(self._path, os.fstat(descriptor))
            text = SecretStr(os.read(descriptor, MOST_BYTES + 1).decode("ascii", "replace"))
        finally:
            os.close(descriptor)
        if len(text) > MOST_BYTES:
            raise no_key(self.place)
        return ring_of(text, self.place)

    def create(self) -> KeyRing:
        """Make the file with a new key; durable when this returns.

        Raises:
            ConfigurationError: there is such a file already (it is left as it is), or it cannot be written.
        """
        ring = KeyRing(new_key())
        _make_folder(self._path.parent)
        try:
            with self._draft(ring) as draft:
                os.link(draft, self._path, follow_symlinks=False)
        except FileExistsError:
            raise _taken(self._path) from None
        except OSError as error:
            raise unusable(self._path, error) from error
        return ring

    def replace(self, ring: KeyRing) -> None:
        """Put `ring` in the place of what was there; a crash leaves the one or the other, whole.

        Raises:
            ConfigurationError: it cannot be written; the file is as it was.
        """
        try:
            for leftover in self._path.parent.glob(f"{_DRAFT}*"):  # of a process that was killed
                leftover.unlink(missing_ok=True)
            with self._draft(ring) as draft:
                draft.replace(self._path)
        except OSError as error:
            raise unusable(self._path, error) from error

    @contextmanager
    def _draft(self, ring: KeyRing) -> Generator[Path]:
        """The ring in a file aside, durable; what is done with it is durable afterwards."""
        path = self._path.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        descriptor = os.open(path, _NEW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(ring.text().get_secret_value().encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            _sync_folder(path.parent)


def create_key_file(home: Path) -> MasterKey:
    """Make `<home>/master.key`. Raises as `KeyFile.create`."""
    return KeyFile(home).create().current


def _refuse_exposed(path: Path, status: os.stat_result) -> None:
    """A key that somebody else can read or replace is no key. Windows keeps no such modes."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(
            Text(f"{path} は通常のファイルではありません。", f"{path} is not a plain file."),
            Text("マスターキーのファイルに置き換えてください。", "Put the key file in its place."),
        )
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            Text(f"{path} の所有者が違います。", f"{path} belongs to another user."),
            Text(f"`chown {os.geteuid()} {path}` を実行してください。", f"Run `chown {os.geteuid()} {path}`."),
        )
    if stat.S_IMODE(status.st_mode) != stat.S_IRUSR | stat.S_IWUSR:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise ConfigurationError(
            Text(f"{path} の権限が {mode} です（0600 が必要）。", f"{path} has mode {mode}, not 0600."),
            Text(f"`chmod 600 {path}` を実行してください。", f"Run `chmod 600 {path}`."),
        )


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = _reason(error)
        raise ConfigurationError(
            Text(
                f"{home} をフォルダーとして使えません（{reason}）。", f"{home} cannot be used as a folder ({reason})."
            ),
            Text("SEIKYU_HOME に自分のフォルダーを指定してください。", "Name a folder of your own in SEIKYU_HOME."),
        ) from error


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _taken(path: Path) -> ConfigurationError:
    return ConfigurationError(
        Text(f"{path} はすでにあります。", f"{path} exists already."),
        Text("そのまま使うか、中身を確かめてください。", "Use it as it is, or look into why it does not serve."),
    )


def unusable(path: Path, error: OSError) -> ConfigurationError:
    """What it means that a file of ours cannot be read or written."""
    reason = _reason(error)
    if error.errno in _NO_ROOM:
        step = Text("ディスクの空きを作ってください。", "Make room on the disk.")
    elif error.errno in _NO_RIGHT:
        step = Text(
            f"{path.parent} に書き込めるようにしてください。", f"See that {path.parent} can be read and written by you."
        )
    else:
        step = Text(
            "自分が所有する通常のファイル（0600）にしてください。",
            "Make it a plain file of your own with mode 0600.",
        )
    return ConfigurationError(Text(f"{path} を使えません（{reason}）。", f"{path} cannot be used ({reason})."), step)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
