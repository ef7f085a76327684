"""Operators' keys: Ed25519, wrapped by a passphrase only their holder knows; and what was signed with them."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from seikyu.gate.canonical import canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Cost: TypeAlias = Mapping[str, int]
"""What one guess at a passphrase costs: `iterations`, `lanes`, `memory_cost` (KiB)."""

ARGON2: Final[Cost] = {"iterations": 4, "lanes": 1, "memory_cost": 64 * 1024}
"""64 MiB as in RFC 9106, 4, with one lane and one pass more: two derivations with several lanes at the same time
never return (seen with cryptography 50.0.2 on OpenSSL 4.0.3)."""


@dataclass(frozen=True, slots=True)
class Key:
    """An unlocked key. Lives as long as one decision."""

    name: str
    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> str:
        """Hex of the 64-byte signature."""
        return self.private.sign(message).hex()


def _derive(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    hasher = Argon2id(
        salt=salt,
        length=32,
        iterations=cost["iterations"],
        lanes=cost["lanes"],
        memory_cost=cost["memory_cost"],
    )
    # typed on another keyboard or system, the same Japanese passphrase may come in other code points
    return hasher.derive(unicodedata.normalize("NFKC", passphrase).encode())


def wrap(private: Ed25519PrivateKey, passphrase: str, name: str, cost: Cost = ARGON2) -> str:
    """The key as it is stored, bound to its holder's name; `cost` is stored with it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(16), os.urandom(12)
    key = _derive(passphrase, salt, cost)
    sealed = AESGCM(key).encrypt(nonce, private.private_bytes_raw(), name.encode())
    return canonical({"cost": dict(cost), "salt": salt.hex(), "nonce": nonce.hex(), "sealed": sealed.hex()}).decode()


def unwrap(wrapped: str, passphrase: str, name: str) -> Ed25519PrivateKey | None:
    """None when the passphrase is wrong (or the record was changed: nobody can tell the two apart)."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    record: dict[str, Any] = json.loads(wrapped)
    key = _derive(passphrase, bytes.fromhex(record["salt"]), record["cost"])
    try:
        raw = AESGCM(key).decrypt(bytes.fromhex(record["nonce"]), bytes.fromhex(record["sealed"]), name.encode())
    except InvalidTag:
        return None
    return Ed25519PrivateKey.from_private_bytes(raw)


@lru_cache(maxsize=4096)  # a list of actions asks the same of the same statements, once for each
def is_signed(public_key: str, message: bytes, signature: str) -> bool:
    """Whether `signature` (hex) is the key's over `message`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
