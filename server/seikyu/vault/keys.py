"""The master key, where it comes from, and the keys derived from it.

There is no fallback: without a master key nothing is stored and nothing is read.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import SecretBytes

from seikyu.errors import ConfigurationError, Text

VARIABLE: Final = "SEIKYU_MASTER_KEY"
FILE_NAME: Final = "master.key"
_SIZE: Final = 32
"""Bytes: AES-256."""
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_BASE64URL: Final = re.compile(r"[0-9A-Za-z_-]{43}=?", re.ASCII)
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Never through a symbolic link, and never waiting for a pipe."""
_READ_CAP: Final = 2000


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 random bytes. They encrypt nothing themselves: each use has a key of its own."""

    raw: SecretBytes

    @property
    def id(self) -> str:
        """16 hex digits that name the key and tell nothing of it."""
        return hashlib.sha256(b"seikyu master key id\0" + self.raw.get_secret_value()).hexdigest()[:16]

    def purpose_key(self, purpose: bytes) -> bytes:
        """32 bytes for one use, such as `b"web-session"`; no use learns another's. Source: RFC 5869."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), _SIZE, salt=None, info=b"seikyu 1 " + purpose).derive(self.raw.get_secret_value())


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The key that seals, and those that still open what they sealed."""

    current: MasterKey
    retired: tuple[MasterKey, ...] = ()

    def by_id(self, key_id: str) -> MasterKey | None:
        return next((key for key in (self.current, *self.retired) if key.id == key_id), None)


KeyRingSource: TypeAlias = Callable[[], KeyRing]
"""Reads the ring anew; raises `ConfigurationError` when there is no usable key."""


def read_key_ring(home: Path, environ: Mapping[str, str] = os.environ) -> KeyRing:
    """The keys of `SEIKYU_MASTER_KEY`, else of `<home>/master.key`: the one that seals, then those that still open.

    A source that is present and wrong is never passed over for the next one.

    Raises:
        ConfigurationError: no key, one that is not 32 bytes, or a key file that others can reach.
    """
    keys = _from_variable(environ) or _from_file(home / FILE_NAME)
    if not keys:
        raise ConfigurationError(
            Text("マスターキーがありません。", "There is no master key."),
            Text(
                f"`seikyu connect` で作るか、{VARIABLE} を設定してください。",
                f"Let `seikyu connect` make one, or set {VARIABLE}.",
            ),
        )
    return KeyRing(keys[0], keys[1:])


def create_key_file(home: Path) -> MasterKey:
    """Make `<home>/master.key`, 0600, durable when this returns. Only `seikyu connect` asks for it.

    Raises:
        ConfigurationError: there is such a file already (it is left as it is), or it cannot be written.
    """
    path, key = home / FILE_NAME, MasterKey(SecretBytes(os.urandom(_SIZE)))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(home, error) from error
    try:
        _write_new(path, _text_of(key))
    except FileExistsError:
        raise ConfigurationError(
            Text(f"{path} はすでにあります。", f"{path} exists already."),
            Text(
                "そのまま使うか、中身を確かめてください。",
                "Use it as it is, or look into why it does not serve.",
            ),
        ) from None
    except OSError as error:
        raise _unusable(path, error) from error
    return key


def _from_variable(environ: Mapping[str, str]) -> tuple[MasterKey, ...]:
    text = environ.get(VARIABLE, "")
    return _all_of(text, VARIABLE) if text.strip() else ()


def _from_file(path: Path) -> tuple[MasterKey, ...]:
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unusable(path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        _refuse_exposed(path, os.fstat(file.fileno()))
        return _all_of(file.read(_READ_CAP).decode("ascii", "replace"), str(path))


def _all_of(text: str, where: str) -> tuple[MasterKey, ...]:
    """Every word of `text` as a key; one that is none spoils them all."""
    keys = tuple(_parsed(word) or _refuse_content(where) for word in text.split())
    return keys or (_refuse_content(where),)


def _parsed(text: str) -> MasterKey | None:
    if _HEX.fullmatch(text):
        return MasterKey(SecretBytes(bytes.fromhex(text)))
    if not _BASE64URL.fullmatch(text):
        return None
    try:
        return MasterKey(SecretBytes(base64.urlsafe_b64decode(text.rstrip("=") + "=")))
    except binascii.Error:
        return None


def _refuse_content(where: str) -> MasterKey:
    raise ConfigurationError(
        Text(f"{where} は32バイトの鍵ではありません。", f"{where} does not hold a key of 32 bytes."),
        Text(
            "base64url 43文字か16進数64文字で書いてください。",
            "Write 43 characters of base64url or 64 hexadecimal digits.",
        ),
    )


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


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _no_folder(home: Path, error: OSError) -> ConfigurationError:
    reason = _reason(error)
    return ConfigurationError(
        Text(f"{home} をフォルダーとして使えません（{reason}）。", f"{home} cannot be used as a folder ({reason})."),
        Text("SEIKYU_HOME に自分のフォルダーを指定してください。", "Name a folder of your own in SEIKYU_HOME."),
    )


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    reason = _reason(error)
    return ConfigurationError(
        Text(f"{path} を使えません（{reason}）。", f"{path} cannot be used ({reason})."),
        Text(
            "自分が所有する通常のファイル（0600）にしてください。",
            "Make it a plain file of your own with mode 0600.",
        ),
    )


def _text_of(key: MasterKey) -> SecretBytes:
    return SecretBytes(base64.urlsafe_b64encode(key.raw.get_secret_value()).rstrip(b"=") + b"\n")


def _write_new(path: Path, content: SecretBytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.get_secret_value())
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()  # half a key would stand in the way of a whole one
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
