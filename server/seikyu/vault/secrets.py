"""The vault: one sealed row for each connection, an API key or an OAuth grant.

A row that does not open is named and kept: a person may replace it by connecting again, a renewal never does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, ValidationError

from seikyu.errors import ConfigurationError, LoginRequired, StoreDamaged, Text
from seikyu.models import Clock, moment, timestamp
from seikyu.spec import Connection
from seikyu.store.database import Row, Store, Tx
from seikyu.vault.grants import TokenAnswer
from seikyu.vault.keys import KeyRingSource, KnownRing, MasterKey
from seikyu.vault.sealing import next_generation, row_to_open, write_sealed
from seikyu.vault.seals import Label, seal, unseal

LONGEST_LIFE_S: Final = 400 * 86_400

Kind: TypeAlias = Literal["api_key", "oauth"]
SecretState: TypeAlias = Literal["ready", "needs_login", "refresh_unknown", "missing", "undecryptable"]
"""What a person is told of a connection's secret."""


class GrantState(StrEnum):
    """How a grant stands; the road between the states is drawn in `renewals`."""

    READY = "ready"
    REFRESHING = "refreshing"
    """A renewal was begun, perhaps sent; the lease says by whom."""
    REFRESH_UNKNOWN = "refresh_unknown"
    """A renewal was sent and its answer is lost: the refresh token may be used up. One try is left."""
    RETRYING = "retrying"
    """That try was begun."""
    NEEDS_LOGIN = "needs_login"
    SCOPE_LOST = "scope_lost"
    """The provider renewed it with fewer rights, or for another company: nothing is done before a person looked."""


class _ApiKey(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    api_key: SecretStr


class OAuthSecret(BaseModel):
    """What is sealed of a grant."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    client_id: str
    client_secret: SecretStr
    access_token: SecretStr
    refresh_token: SecretStr | None
    scope: str | None
    company: str | None = None

    def after(self, answer: TokenAnswer) -> OAuthSecret:
        """With the tokens of `answer`; what the provider did not say stays as it was. Source: RFC 6749, 6."""
        return self.model_copy(
            update={
                "access_token": answer.access_token,
                "refresh_token": answer.refresh_token or self.refresh_token,
                "scope": answer.scope or self.scope,
                "company": self.company or answer.company,
            }
        )

    def is_undone_by(self, answer: TokenAnswer) -> bool:
        """Whether `answer` lacks a right that was granted, or is for another company."""
        is_narrower = bool(answer.scope) and not _words(self.scope) <= _words(answer.scope)
        return is_narrower or (answer.company or self.company) != (self.company or answer.company)


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as it was read: the row and, opened, what is sealed in it."""

    connection: Connection
    generation: int
    sealed: str
    """Never the same twice, so it tells this grant from any other, even of the same generation."""
    state: GrantState
    obtained_at: datetime
    expires_at: datetime
    """By our clock, counted from before the request: never later than the provider's own count."""
    lease_owner: str | None
    lease_until: datetime | None
    """With an owner: until when its right to renew lasts. Without: no renewal before this moment."""
    secret: OAuthSecret


SecretT = TypeVar("SecretT", bound=BaseModel)

Mark: TypeAlias = tuple[str, ...]
"""Tells a row from what it was before: another seal, another state, another renewal under way."""

Also: TypeAlias = Callable[[Tx], None]
"""What else is stored in the transaction of a change, such as its audit row."""


def _nothing(_tx: Tx) -> None:
    pass


_KINDS: Final[Mapping[type[BaseModel], Kind]] = {_ApiKey: "api_key", OAuthSecret: "oauth"}


class Vault:
    """Seals and opens the secrets of connections. The master key is read when it is first needed."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        key_ring: KeyRingSource | KnownRing,
        *,
        is_gone: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        """`is_gone` tells whether the process of a lease is known to be dead; see `store.presence`."""
        self.store = store
        self._clock = clock
        self._ring = KnownRing.of(key_ring)
        self._is_gone = is_gone

    def put_api_key(self, connection: Connection, api_key: SecretStr, *, also: Also = _nothing) -> None:
        """Store what the operator gave, in place of any former secret.

        Raises:
            ConfigurationError: no usable master key; nothing was stored.
        """
        self._put(connection, _ApiKey(api_key=api_key), obtained_at=self._clock.now(), expires_at=None, also=also)

    def put_grant(
        self,
        connection: Connection,
        *,
        client_id: str,
        client_secret: SecretStr,
        answer: TokenAnswer,
        obtained_at: datetime | None = None,
        also: Also = _nothing,
    ) -> None:
        """Store the grant of a login, in place of any former secret; a renewal in progress cannot undo it.

        Its life counts from `obtained_at`: a person may have looked at it since; None is now.

        Raises:
            ConfigurationError: no usable master key; nothing was stored.
        """
        secret = OAuthSecret(
            client_id=client_id,
            client_secret=client_secret,
            access_token=answer.access_token,
            refresh_token=answer.refresh_token,
            scope=answer.scope,
            company=answer.company,
        )
        since = obtained_at or self._clock.now()
        self._put(connection, secret, obtained_at=since, expires_at=since + life_of(answer), also=also)

    def has(self, connection: Connection) -> bool:
        """Whether a secret is stored; needs no key."""
        row = self._row(connection)
        return row is not None and row["provider"] == connection.provider

    def mark(self, connection: Connection) -> Mark | None:
        """Of what is stored now, whether it opens or not; None when nothing is."""
        return _mark(self._row(connection))

    def forget(self, connection: Connection, *, only: Mark | None = None, also: Also = _nothing) -> bool:
        """Delete the secret, in every process at once; False when there was none, or not `only` that. Needs no key."""
        with self.store.write() as tx:
            if only is not None and _mark(tx.one("secret", connection=connection.name)) != only:
                return False
            was_there = tx.run("forget_secret", connection=connection.name) == 1
            if was_there:
                also(tx)
            return was_there

    def state(self, connection: Connection) -> SecretState:
        """How the secret stands, in the words a person is told. Raises nothing for what is wrong with it."""
        try:
            row = self._row_to_open(connection)
            if row is not None and row["kind"] == "oauth":
                return self._told(self._grant(connection, row))
            self.api_key(connection)
        except LoginRequired:
            return "missing"
        except (StoreDamaged, ConfigurationError):
            return "undecryptable"
        return "ready"

    def api_key(self, connection: Connection) -> SecretStr:
        """The stored API key.

        Raises:
            LoginRequired: none is stored.
            StoreDamaged: the row does not open.
            ConfigurationError: no usable master key.
        """
        return self._opened(connection, self._row_to_open(connection), _ApiKey).api_key

    def grant(self, connection: Connection) -> Grant:
        """The stored grant, as it is now in the database.

        Raises:
            LoginRequired: none is stored.
            StoreDamaged: the row does not open.
            ConfigurationError: no usable master key.
        """
        return self._grant(connection, self._row_to_open(connection))

    def replace_grant(
        self,
        grant: Grant,
        secret: OAuthSecret,
        *,
        state: GrantState,
        obtained_at: datetime,
        expires_at: datetime,
    ) -> bool:
        """Put the next generation in the place of `grant`; False when that grant is no longer the stored one.

        The key was loaded when `grant` was opened: one that is gone meanwhile does not lose the new tokens. Neither
        does a rotation, which seals the same grant anew.
        """

        def write(tx: Tx, key: MasterKey) -> int:
            return tx.run(
                "renew_secret",
                connection=grant.connection.name,
                generation=grant.generation,
                was_sealed=grant.sealed,
                key_id=key.id,
                sealed=_sealed(key, grant.connection, secret, grant.generation + 1),
                state=state,
                expires_at=timestamp(expires_at),
                obtained_at=timestamp(obtained_at),
            )

        if write_sealed(self.store, self._ring, write) == 1:
            return True
        same = self._sealed_anew(grant)
        return same is not None and self.replace_grant(
            same, secret, state=state, obtained_at=obtained_at, expires_at=expires_at
        )

    def _sealed_anew(self, grant: Grant) -> Grant | None:
        """The very grant under another seal; None when it is another one, or does not open."""
        try:
            found = self.grant(grant.connection)
        except (LoginRequired, StoreDamaged, ConfigurationError):
            return None
        is_same = (found.generation, found.secret) == (grant.generation, grant.secret)
        return found if is_same and found.sealed != grant.sealed else None

    def _put(
        self,
        connection: Connection,
        secret: BaseModel,
        *,
        obtained_at: datetime,
        expires_at: datetime | None,
        also: Also,
    ) -> None:
        def write(tx: Tx, key: MasterKey) -> None:
            former = tx.one("secret", connection=connection.name)
            generation = next_generation(former)
            tx.run(
                "put_secret",
                connection=connection.name,
                provider=connection.provider,
                kind=_KINDS[type(secret)],
                key_id=key.id,
                sealed=_sealed(key, connection, secret, generation),
                generation=generation,
                expires_at=None if expires_at is None else timestamp(expires_at),
                obtained_at=timestamp(obtained_at),
            )
            also(tx)

        write_sealed(self.store, self._ring, write)

    def _told(self, grant: Grant) -> SecretState:
        is_renewing = self._is_renewing(grant)
        match grant.state:
            case GrantState.READY:
                is_over = grant.secret.refresh_token is None and self._clock.now() >= grant.expires_at
                return "needs_login" if is_over else "ready"
            case GrantState.REFRESHING:
                return "ready" if is_renewing else "refresh_unknown"
            case GrantState.REFRESH_UNKNOWN:
                return "refresh_unknown"
            case GrantState.RETRYING:
                return "refresh_unknown" if is_renewing else "needs_login"
            case GrantState.NEEDS_LOGIN | GrantState.SCOPE_LOST:
                return "needs_login"

    def _is_renewing(self, grant: Grant) -> bool:
        """Whether somebody who lives may bring an answer yet."""
        is_leased = grant.lease_until is not None and self._clock.now() < grant.lease_until
        return is_leased and not (grant.lease_owner is not None and self._is_gone(grant.lease_owner))

    def _row_to_open(self, connection: Connection) -> Row | None:
        return row_to_open(self.store, self._ring, connection.name)

    def _row(self, connection: Connection) -> Row | None:
        with self.store.read() as tx:
            return tx.one("secret", connection=connection.name)

    def _grant(self, connection: Connection, row: Row | None) -> Grant:
        secret = self._opened(connection, row, OAuthSecret)
        try:
            return _grant_of(connection, row or {}, secret)
        except (ValueError, TypeError):
            raise _damaged(connection, _CHANGED) from None

    def _opened(self, connection: Connection, row: Row | None, model: type[SecretT]) -> SecretT:
        if row is None or row["provider"] != connection.provider or row["kind"] != _KINDS[model]:
            raise _not_connected(connection)
        key = self._key(connection, row["key_id"])
        label = Label(connection.name, row["provider"], addresses_of(connection), row["kind"], row["generation"])
        plain = unseal(key, label, str(row["sealed"]))
        if plain is None:
            raise _damaged(connection, _CHANGED)
        try:
            return model.model_validate_json(plain.get_secret_value())
        except ValidationError:
            raise _damaged(connection, _CHANGED) from None

    def _key(self, connection: Connection, key_id: str) -> MasterKey:
        """The key that sealed a row; for one we do not know the ring is read again, it may have grown."""
        key = self._ring.by_id(key_id)
        if key is None:
            raise _damaged(connection, _foreign(key_id, self._ring.current.id))
        return key


def _mark(row: Row | None) -> Mark | None:
    return None if row is None else tuple(str(row[name]) for name in ("sealed", "state", "lease_owner", "lease_until"))


def life_of(answer: TokenAnswer) -> timedelta:
    """As the provider says, but never beyond what a calendar holds."""
    return timedelta(seconds=min(answer.expires_in_s, LONGEST_LIFE_S))


def _words(scope: str | None) -> frozenset[str]:
    return frozenset((scope or "").split())


def _sealed(key: MasterKey, connection: Connection, secret: BaseModel, generation: int) -> str:
    label = Label(connection.name, connection.provider, addresses_of(connection), _KINDS[type(secret)], generation)
    return seal(key, label, _plain(secret))


def addresses_of(connection: Connection) -> str:
    """Everywhere a secret may be sent: who changes one of these addresses in the configuration gets nothing."""
    others = (f"{name}={connection.options[name]}" for name in _ADDRESSES if name in connection.options)
    return " ".join((connection.base_url, *others))


_ADDRESSES: Final = ("oauth_url", "revoke_url")


def _plain(secret: BaseModel) -> SecretBytes:
    """Secrets print as asterisks everywhere, JSON included; only here they are spelled out."""
    return SecretBytes(json.dumps({name: _revealed(value) for name, value in secret}).encode())


def _revealed(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _grant_of(connection: Connection, row: Row, secret: OAuthSecret) -> Grant:
    return Grant(
        connection=connection,
        generation=row["generation"],
        sealed=row["sealed"],
        state=GrantState(row["state"]),
        obtained_at=moment(row["obtained_at"]),
        expires_at=moment(row["expires_at"]),
        lease_owner=row["lease_owner"],
        lease_until=None if row["lease_until"] is None else moment(row["lease_until"]),
        secret=secret,
    )


_CHANGED: Final = Text(
    "記録か接続先（base_url など）が、接続した時から変わっています。",
    "The row, or the connection's base_url (or another address of it), has changed since it was connected.",
)


def _foreign(sealed_with: str, ours: str) -> Text:
    return Text(
        f"別のマスターキーで封印されています（鍵 {sealed_with}、手元の鍵 {ours}）。",
        f"It was sealed with another master key ({sealed_with}; ours is {ours}).",
    )


def _damaged(connection: Connection, why: Text) -> StoreDamaged:
    name = connection.name
    return StoreDamaged(
        Text(f"接続 {name} の秘密情報を開けません。", f"The stored secret of connection {name} does not open.") + why,
        Text(
            f"記録は残してあります。正しい鍵を用意するか、`seikyu connect {name}` で接続し直します。",
            f"Provide the right master key, or run `seikyu connect {name}` to replace it. The row is kept.",
        ),
    )


def _not_connected(connection: Connection) -> LoginRequired:
    return LoginRequired(
        Text(
            f"接続 {connection.name}（{connection.provider}）の秘密情報が登録されていません。",
            f"Connection {connection.name} ({connection.provider}) has no stored secret.",
        ),
        connect_again(connection),
    )


def connect_again(connection: Connection) -> Text:
    """The next step of everybody whose grant or key is no longer good."""
    return Text(f"`seikyu connect {connection.name}` を実行してください。", f"Run `seikyu connect {connection.name}`.")
