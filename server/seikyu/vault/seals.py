"""How a secret lies in the database: AES-256-GCM, bound to the row it was sealed for."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import asdict, dataclass
from typing import Final

from pydantic import SecretBytes

from seikyu.vault.keys import MasterKey

FORMAT: Final = 1
"""Written before every seal; a later format cannot be mistaken for this one."""
_PREFIX: Final = f"{FORMAT}."
_PURPOSE: Final = b"secret-row"
_NONCE_SIZE: Final = 12
"""Bytes, random for each seal: a row is sealed far fewer than 2^32 times. Source: NIST SP 800-38D, 8.3."""


@dataclass(frozen=True, slots=True)
class Label:
    """Where a sealed secret belongs. Not secret, but authenticated: a seal opens under its own label only."""

    connection: str
    provider: str
    address: str
    """The base address the secret was given for; it is sent to no other."""
    kind: str
    generation: int


def seal(key: MasterKey, label: Label, plain: SecretBytes) -> str:
    """`plain` for the database; never twice the same text, even for the same secret."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_SIZE)
    sealed = AESGCM(key.purpose_key(_PURPOSE)).encrypt(nonce, plain.get_secret_value(), _bytes_of(label, key))
    return _PREFIX + base64.urlsafe_b64encode(nonce + sealed).decode("ascii")


def unseal(key: MasterKey, label: Label, sealed: str) -> SecretBytes | None:
    """What was sealed; None for another key, another row, or a single changed bit."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    packed = _packed(sealed)
    if packed is None:
        return None
    nonce, rest = packed[:_NONCE_SIZE], packed[_NONCE_SIZE:]
    try:
        return SecretBytes(AESGCM(key.purpose_key(_PURPOSE)).decrypt(nonce, rest, _bytes_of(label, key)))
    except InvalidTag:
        return None


def _packed(sealed: str) -> bytes | None:
    """Strict: a text that says the same in other characters is a changed text."""
    try:
        packed = base64.b64decode(sealed.removeprefix(_PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    is_ours = sealed == _PREFIX + base64.urlsafe_b64encode(packed).decode("ascii")
    return packed if is_ours and len(packed) > _NONCE_SIZE else None


def _bytes_of(label: Label, key: MasterKey) -> bytes:
    import rfc8785

    # as text: a number no JSON can hold, written into the row by somebody else, is a broken seal and no crash
    return rfc8785.dumps({**asdict(label), "generation": str(label.generation), "format": FORMAT, "key_id": key.id})
