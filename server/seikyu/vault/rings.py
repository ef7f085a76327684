"""Master keys: what one is, how it is written down, and the ring of those a process holds."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from pydantic import SecretBytes, SecretStr

from seikyu.errors import NOTHING, ConfigurationError, NotAllowed, Text

KEY_BYTES: Final = 32
"""AES-256."""
MOST_KEYS: Final = 24
"""In one ring: the smallest of the keyrings, Windows', holds 1,280 characters, and a key takes 44."""
MOST_BYTES: Final = 2000
"""That a source is read for; all keys of a ring, as hexadecimal digits, are fewer."""
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_BASE64URL: Final = re.compile(r"[0-9A-Za-z_-]{43}=?", re.ASCII)
_REST_NS: Final = 10 * 10**9
_SLOW_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 random bytes. They encrypt nothing themselves: each use has a key of its own."""

    raw: SecretBytes

    @property
    def id(self) -> str:
        """16 hex digits that name the key and tell nothing of it."""
        return hashlib.sha256(b"seikyu master key id\0" + self.raw.get_secret_value()).hexdigest()[:16]

    def purpose_key(self, purpose: bytes) -> bytes:
        """32 bytes for one use, such as `b"secret-row"`; no use learns another's. Source: RFC 5869."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"seikyu 1 " + purpose).derive(self.raw.get_secret_value())


def new_key() -> MasterKey:
    return MasterKey(SecretBytes(os.urandom(KEY_BYTES)))


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The key that seals, and those that still open what they sealed."""

    current: MasterKey
    retired: tuple[MasterKey, ...] = ()

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        return (self.current, *self.retired)

    def by_id(self, key_id: str) -> MasterKey | None:
        return next((key for key in self.keys if key.id == key_id), None)

    def led_by(self, key: MasterKey) -> KeyRing:
        """With a new key that seals; the one before opens from now on.

        Raises:
            NotAllowed: there are too many keys already.
        """
        if len(self.keys) >= MOST_KEYS:
            raise NotAllowed(
                Text(f"鍵束にはすでに{MOST_KEYS}本の鍵があります。", f"The ring holds {MOST_KEYS} keys already."),
                Text(
                    "`seikyu vault rotate --drop-retired` で不要な鍵を外してください。",
                    "Drop those that nothing needs with `seikyu vault rotate --drop-retired`.",
                ),
                written=NOTHING,
            )
        return KeyRing(key, self.keys)

    def text(self) -> SecretStr:
        """As a source holds it: one key a line, the one that seals first."""
        lines = [base64.urlsafe_b64encode(key.raw.get_secret_value()).rstrip(b"=").decode() for key in self.keys]
        return SecretStr("".join(f"{line}\n" for line in lines))


def ring_of(text: SecretStr, where: Text) -> KeyRing:
    """Every word of `text` as a key; one that is none spoils them all.

    Raises:
        ConfigurationError: none, too many, or one that is not 32 bytes; says `where`, never what was read.
    """
    keys = tuple(dict.fromkeys(map(_parsed, text.get_secret_value().split())))
    known = tuple(key for key in keys if key is not None)
    if not known or len(known) < len(keys) or len(known) > MOST_KEYS:
        raise no_key(where)
    return KeyRing(known[0], known[1:])


def _parsed(text: str) -> MasterKey | None:
    if _HEX.fullmatch(text):
        return MasterKey(SecretBytes(bytes.fromhex(text)))
    if not _BASE64URL.fullmatch(text):
        return None
    try:
        return MasterKey(SecretBytes(base64.urlsafe_b64decode(text.rstrip("=") + "=")))
    except binascii.Error:
        return None


def no_key(where: Text) -> ConfigurationError:
    return ConfigurationError(
        Text(f"{where.ja} は32バイトの鍵ではありません。", f"{where.en} does not hold a key of 32 bytes."),
        Text(
            f"base64url 43文字か16進数64文字で書いてください（{MOST_KEYS}本まで、先頭の鍵で封印）。",
            f"Write 43 characters of base64url or 64 hexadecimal digits; at most {MOST_KEYS}, and the first seals.",
        ),
    )


KeyRingSource: TypeAlias = Callable[[], KeyRing]
"""Reads the ring anew; raises `ConfigurationError` when there is no usable key."""


class KnownRing:
    """The ring as this process knows it: read when it is first needed, and again when a row names an unknown key.

    Reading may take a program or a keyring seconds. Who needs it meanwhile waits, and shares what came of it. One that
    failed slowly rests for as long as it took: a command with many rows must not wait that long for each.
    """

    def __init__(self, source: KeyRingSource, *, ticks: Callable[[], int] = time.monotonic_ns) -> None:
        self._source = source
        self._ticks = ticks
        self._ring: KeyRing | None = None
        self._last: KeyRing | ConfigurationError = ConfigurationError(NOTHING)
        self._reads = 0
        self._rests: dict[str, int] = {}
        self._rest_ends = 0
        self._one_at_a_time = threading.Lock()

    @classmethod
    def of(cls, source: KeyRingSource | KnownRing) -> KnownRing:
        return source if isinstance(source, KnownRing) else cls(source)

    @property
    def current(self) -> MasterKey:
        """The key that seals. Raises `ConfigurationError`."""
        return self.ring().current

    def ring(self) -> KeyRing:
        """Raises `ConfigurationError` when there is no usable key; the next caller tries again, unless it rests."""
        return self._ring or self.again()

    def again(self) -> KeyRing:
        """The ring as its source has it now. Raises `ConfigurationError`; what is known stays in use then."""
        seen = self._reads
        with self._one_at_a_time:
            return self._read_since(seen)

    def by_id(self, key_id: str) -> MasterKey | None:
        """The key of that id. For one not in the ring it is read again, at most once in 10 s for the same id.

        Raises:
            ConfigurationError: the source cannot be read now; what is known stays in use.
        """
        ring, seen = self.ring(), self._reads
        return ring.by_id(key_id) or self._by_id_again(key_id, seen)

    def _by_id_again(self, key_id: str, seen: int) -> MasterKey | None:
        with self._one_at_a_time:
            # a row that nobody can open must not start the operator's program each time it is looked at
            if self._ticks() >= self._rests.get(key_id, 0):
                try:
                    return self._read_since(seen).by_id(key_id)
                finally:
                    self._rests[key_id] = self._ticks() + _REST_NS
            known = self._ring and self._ring.by_id(key_id)  # it may have come while we waited
            return known or self._of_last_read().by_id(key_id)

    def _read_since(self, seen: int) -> KeyRing:
        """Read, unless somebody did while we waited."""
        began = self._ticks()
        if self._reads == seen and began >= self._rest_ends:
            try:
                self._last = self._ring = self._source()
            except ConfigurationError as error:
                self._last = error
                ended = self._ticks()
                self._rest_ends = 2 * ended - began if ended - began >= _SLOW_NS else 0
            self._reads += 1
        return self._of_last_read()

    def _of_last_read(self) -> KeyRing:
        if isinstance(self._last, KeyRing):
            return self._last
        # its own error for each who waited: one that is raised twice grows the traceback of all of them
        raise ConfigurationError(self._last.what, self._last.next_step, written=self._last.written)
