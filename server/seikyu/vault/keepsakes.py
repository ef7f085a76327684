"""What the house keeps besides logins: secrets of webhook endpoints, of the Slack app, and its own sealing key.

They lie sealed in the same table as the connections' secrets, under names no connection can have.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretBytes, SecretStr

from seikyu.errors import LoginRequired, StoreDamaged, Text
from seikyu.models import Clock, Connection, moment, timestamp
from seikyu.settings import SlackApp
from seikyu.store.database import Row, Store, Tx
from seikyu.vault.keys import KeyRingSource, KnownRing, MasterKey
from seikyu.vault.sealing import next_generation, row_to_open, write_sealed
from seikyu.vault.seals import Label, seal, unseal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMER_LIVES: Final = timedelta(hours=48)
"""How long the former secret still counts after a new one was given: MFK sends an event again for 31 hours."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is kept: it opens under this name, for this address, as this kind only."""

    name: str
    provider: str
    address: str
    kind: str


def webhook_place(connection: Connection) -> Place:
    """Of the secret with which a connection's provider signs its events."""
    return Place(f"{connection.name}/webhook", connection.provider, connection.base_url, "webhook")


SEALING_KEY: Final = Place("house/seal", "seikyu", "", "seal")
"""Of the Ed25519 key with which this server seals votes from Slack."""


PAGE_KEY: Final = Place("house/page", "seikyu", "", "page")
"""Of the key that binds the page's forms to browser and content."""


def slack_place(app: SlackApp) -> Place:
    """Of the bot token and the signing secret of the Slack app."""
    return Place("house/slack", "slack", app.base_url, "slack")


class Keepsakes:
    """Puts away and takes out. The master key is read when it is first needed."""

    def __init__(self, store: Store, clock: Clock, key_ring: KeyRingSource | KnownRing) -> None:
        self._store = store
        self._clock = clock
        self._ring = KnownRing.of(key_ring)

    def put(self, place: Place, words: Mapping[str, str]) -> None:
        """Keep `words`, in place of what was there. Raises `ConfigurationError` without a usable master key."""
        write_sealed(self._store, self._ring, lambda tx, key: self._put(tx, key, place, words))

    def put_first(self, place: Place, words: Mapping[str, str]) -> None:
        """Keep `words` unless something is kept there: of two processes the first counts. Raises as `put`."""

        def write(tx: Tx, key: MasterKey) -> None:
            if tx.one("secret", connection=place.name) is None:
                self._put(tx, key, place, words)

        write_sealed(self._store, self._ring, write)

    def _put(self, tx: Tx, key: MasterKey, place: Place, words: Mapping[str, str]) -> None:
        former = tx.one("secret", connection=place.name)
        generation = next_generation(former)
        plain = SecretBytes(json.dumps(dict(words)).encode())
        tx.run(
            "put_secret",
            connection=place.name,
            provider=place.provider,
            kind=place.kind,
            key_id=key.id,
            sealed=seal(key, _label(place, generation), plain),
            generation=generation,
            expires_at=None,
            obtained_at=timestamp(self._clock.now()),
        )

    def get(self, place: Place) -> dict[str, SecretStr] | None:
        """What is kept there; None when nothing is.

        Raises:
            StoreDamaged: it does not open.
            ConfigurationError: no usable master key.
        """
        row = row_to_open(self._store, self._ring, place.name)
        return None if row is None else self._opened(place, row)

    def word(self, place: Place, name: str) -> SecretStr:
        """One secret kept there.

        Raises:
            LoginRequired: it was never stored.
            StoreDamaged, ConfigurationError: as `get`.
        """
        words = self.get(place) or {}
        if name not in words:
            raise _missing(place)
        return words[name]

    def forget(self, place: Place) -> bool:
        """Delete it; False when there was none."""
        with self._store.write() as tx:
            return tx.run("forget_secret", connection=place.name) == 1

    def put_signing_secret(self, place: Place, secret: SecretStr, **others: SecretStr) -> None:
        """Keep a secret others sign with; the one before stays good for `FORMER_LIVES`, if it opens at all."""
        try:
            before = self.get(place) or {}
        except StoreDamaged:
            before = {}
        words = {"secret": secret, **others}
        if "secret" in before and before["secret"] != secret:
            words["former"] = before["secret"]
            words["former_until"] = SecretStr(timestamp(self._clock.now() + FORMER_LIVES))
        self.put(place, {name: word.get_secret_value() for name, word in words.items()})

    def signing_secrets(self, place: Place) -> list[str]:
        """Those that are good now, the newest first. Raises as `get`."""
        return good_secrets(self.get(place) or {}, self._clock.now())

    def sealing_key(self, *, may_make: bool = False) -> Ed25519PrivateKey:
        """The key that seals votes from Slack.

        Raises:
            LoginRequired: there is none.
            StoreDamaged, ConfigurationError: as `get`.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        words = self.get(SEALING_KEY)
        if words is None and not may_make:
            raise _missing(SEALING_KEY)
        if words is not None:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(words["key"].get_secret_value()))
        self.put_first(SEALING_KEY, {"key": Ed25519PrivateKey.generate().private_bytes_raw().hex()})
        return self.sealing_key()

    def page_key(self) -> bytes:
        """32 bytes for the tokens of the page's forms; made when there is none.

        Kept, not derived from the master key: a form that was shown before a rotation counts after it, at every
        replica. Raises as `get`.
        """
        if self.get(PAGE_KEY) is None:
            self.put_first(PAGE_KEY, {"key": secrets.token_hex(32)})
        return bytes.fromhex(self.word(PAGE_KEY, "key").get_secret_value())

    def _opened(self, place: Place, row: Row) -> dict[str, SecretStr]:
        key = self._ring.by_id(row["key_id"])
        plain = None if key is None else unseal(key, _label(place, row["generation"]), str(row["sealed"]))
        if plain is None or row["provider"] != place.provider or row["kind"] != place.kind:
            raise _damaged(place)
        words: dict[str, Any] = json.loads(plain.get_secret_value())
        return {name: SecretStr(str(word)) for name, word in words.items()}


def good_secrets(words: Mapping[str, SecretStr], now: datetime) -> list[str]:
    """The signing secrets among `words` that are good now."""
    plain = {name: word.get_secret_value() for name, word in words.items()}
    is_former_good = "former" in plain and now < moment(plain["former_until"])
    return [plain[name] for name in ("secret", *(["former"] if is_former_good else [])) if name in plain]


def _label(place: Place, generation: int) -> Label:
    return Label(place.name, place.provider, place.address, place.kind, generation)


def mending(name: str) -> str:
    """The command by which a person mends a row of that name that is missing or does not open."""
    if name in _OF_THE_HOUSE:
        return _OF_THE_HOUSE[name]
    connection, _, kept = name.partition("/")
    return f"seikyu webhook {connection}" if kept else f"seikyu connect {connection}"


_OF_THE_HOUSE: Final = {
    "house/slack": "seikyu slack connect",
    SEALING_KEY.name: f"seikyu vault forget {SEALING_KEY.name}",
    PAGE_KEY.name: f"seikyu vault forget {PAGE_KEY.name}",
}
"""The house makes its own keys anew, once those that do not open are given up."""


def _missing(place: Place) -> LoginRequired:
    command = "seikyu operator slack" if place == SEALING_KEY else mending(place.name)
    return LoginRequired(
        Text(f"{place.name} の秘密情報が登録されていません。", f"The secret {place.name} was never stored."),
        Text(f"`{command}` を実行してください。", f"Run `{command}`."),
    )


def _damaged(place: Place) -> StoreDamaged:
    command = mending(place.name)
    return StoreDamaged(
        Text(f"{place.name} の秘密情報を開けません。", f"The stored secret {place.name} does not open."),
        Text(
            f"正しいマスターキーを用意するか、`{command}` を実行してください。",
            f"Provide the right master key, or run `{command}`.",
        ),
    )
