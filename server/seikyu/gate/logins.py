"""Logins: how an account is connected and given up, and what the log tells of it.

A login is stored only once a person knows whose account it opened. Until then it is an `Arrival`, held in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import anyio
from pydantic import SecretStr

from seikyu.errors import (
    NOTHING,
    CommitUnknown,
    ConfigurationError,
    LoginRequired,
    NotAllowed,
    ProviderError,
    ProviderUnavailable,
    SeikyuError,
    StoreBusy,
    StoreDamaged,
    Text,
)
from seikyu.gate import audit
from seikyu.gate.endings import to_its_end
from seikyu.models import Clock, Connection
from seikyu.providers.authorization import oauth_server
from seikyu.providers.consent import KEPT, Consent, again
from seikyu.providers.oauth import Account, OAuthClient, ask_for_token, revoke, revoke_request
from seikyu.providers.proofs import said_in
from seikyu.store.database import Store, Tx
from seikyu.vault.grants import TokenAnswer, TokenRefused, TokenUnknown
from seikyu.vault.renewals import KEEP_TRIES
from seikyu.vault.secrets import GrantState, Mark, Vault

if TYPE_CHECKING:
    from seikyu.providers.http import HttpEdge

REVOKE_TRIES: Final = 3
"""How often a login is given back that was renewed meanwhile."""
CONNECTED: Final = "login.connected"
FORGOTTEN: Final = "login.forgotten"


class LoginStopped(Exception):
    """A person stopped it after the code was sent; `told` says what became of the tokens, if any came."""

    def __init__(self, told: Text) -> None:
        super().__init__(told.en)
        self.told = told


class Revocation(Enum):
    """What became of giving a login back to the provider."""

    DONE = auto()
    UNSURE = auto()
    """What is stored is revoked, and a renewal whose answer never came may have left tokens that are not."""
    NOT_OFFERED = auto()
    """The provider has no way that we know of."""
    UNREADABLE = auto()
    """What is stored does not open, so there is nothing to give back."""
    FAILED = auto()
    """The provider did not say that it is revoked."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """What became of giving a stored login back, and which one it was."""

    revocation: Revocation
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A login that arrived and is not stored yet."""

    consent: Consent
    answer: TokenAnswer
    account: Account | None
    """None: this provider cannot tell."""
    asked_at: datetime
    """Before the code was sent: the tokens' life counts from here."""

    @property
    def connection(self) -> Connection:
        return self.consent.connection


class Logins:
    """Stores and gives up logins; each change and its audit row in one transaction."""

    def __init__(self, http: Callable[[], HttpEdge], vault: Vault, clock: Clock) -> None:
        self._http = http
        self._vault = vault
        self._store: Store = vault.store
        self._clock = clock

    async def arrive(self, consent: Consent, code: SecretStr) -> Arrival:
        """Trade the code for tokens, once, and ask the provider whose account they open. Nothing is stored.

        Raises:
            StoreBusy: the database would not have taken the tokens; the code was not sent.
            LoginRequired: the provider does not take the code, or nobody knows whether it did.
            ProviderUnavailable: the provider did not say whose account it is; the login was given back.
            NotAllowed: another account than this connection's; the login was given back.
            LoginStopped: the caller was cancelled once the code may have been sent; the login was given back.
        """
        await self._store.run(lambda: self._prove(consent.connection))
        asked_at = self._clock.now()
        life_s = consent.server.access_lifetime_s
        exchange = consent.exchange(code)
        result, is_stopped = await to_its_end(lambda: ask_for_token(self._http(), exchange, life_s=life_s))
        if not isinstance(result, TokenAnswer):
            raise LoginStopped(_left_behind(consent, result)) if is_stopped else _no_tokens(consent, result)
        arrival = Arrival(consent, result, None, asked_at)
        if is_stopped:
            raise await self.stop(arrival)
        try:
            account = await self._account(arrival)
            await self._store.run(lambda: self._check_account(consent.connection, account))
        except SeikyuError as error:
            raise await self._refused(arrival, error) from error
        except anyio.get_cancelled_exc_class():
            raise await self.stop(arrival) from None
        return replace(arrival, account=account)

    async def keep(self, arrival: Arrival) -> None:
        """Store the login in place of any former one; a renewal under way cannot undo it.

        Raises:
            CommitUnknown: it may be stored.
            NotAllowed: another process has connected another account meanwhile; the login was given back.
            SeikyuError: it could not be stored, and was given back.
        """
        try:
            await to_its_end(lambda: self._store.run(lambda: self._keep(arrival)))
        except CommitUnknown:
            raise
        except SeikyuError as error:
            raise await self._refused(arrival, error) from error

    async def give_back(self, arrival: Arrival) -> Revocation:
        """Revoke a login that is not wanted after all."""
        token = arrival.answer.refresh_token or arrival.answer.access_token
        return await self._revoke(arrival.connection, arrival.consent.client, token)

    async def stop(self, arrival: Arrival) -> LoginStopped:
        """Give back a login because its person stopped; what to tell them."""
        told = NOTHING
        with anyio.CancelScope(shield=True):
            told = given_back(arrival.connection, await self.give_back(arrival))
        return LoginStopped(told)

    async def put_api_key(self, connection: Connection, api_key: SecretStr) -> None:
        """Store a key that was tried. Raises as `Vault.put_api_key`."""

        def put() -> None:
            self._vault.put_api_key(connection, api_key, also=lambda tx: self._tell(tx, connection, None))

        await to_its_end(lambda: self._store.run(put))

    async def revoke(self, connection: Connection) -> Farewell:
        """Give the stored login back to the provider, and what a renewal puts in its place meanwhile.

        What is stored stays as it is.

        Raises:
            StoreBusy: the database would not let it be forgotten here; nothing was given back.
        """
        await self._store.run(self._write_nothing)
        revocation, mark = Revocation.UNSURE, await self._mark(connection)
        for _ in range(REVOKE_TRIES):
            revocation, before = await self._revoke_stored(connection), mark
            mark = await self._mark(connection)
            if mark == before:
                return Farewell(revocation, mark)
        return Farewell(Revocation.UNSURE if revocation is Revocation.DONE else revocation, mark)

    async def _mark(self, connection: Connection) -> Mark | None:
        return await self._store.run(lambda: self._vault.mark(connection))

    async def _revoke_stored(self, connection: Connection) -> Revocation:
        try:
            grant = await self._store.run(lambda: self._vault.grant(connection))
        except LoginRequired:
            return Revocation.NOT_OFFERED  # an API key: it ends on the provider's own screen
        except (StoreDamaged, ConfigurationError):
            return Revocation.UNREADABLE
        secret = grant.secret
        client = OAuthClient(secret.client_id, secret.client_secret, "")
        revocation = await self._revoke(connection, client, secret.refresh_token or secret.access_token)
        is_newest = grant.state in {GrantState.READY, GrantState.SCOPE_LOST}
        return revocation if is_newest or revocation is not Revocation.DONE else Revocation.UNSURE

    def forget(self, connection: Connection, farewell: Farewell) -> None:
        """Delete the login here, whatever its state; its history stays. Asks nobody.

        Raises:
            NotAllowed: another one is stored by now; it was not given back, and nothing is deleted.
        """

        def tell(tx: Tx) -> None:
            said = {"connection": connection.name, "revoked": farewell.revocation.name.lower()}
            audit.append(tx, self._clock.now(), FORGOTTEN, **said)

        is_gone = self._vault.forget(connection, only=farewell.mark, also=tell)
        if not is_gone and self._vault.mark(connection) is not None:
            raise _changed(connection)

    def _prove(self, connection: Connection) -> None:
        """The code is spent only when the database can take what comes for it."""
        try:
            self._write_nothing()
        except StoreBusy as error:
            raise StoreBusy(error.what, again(connection), written=KEPT) from error

    def _write_nothing(self) -> None:
        """Raises `StoreBusy`: the database takes nothing now."""
        with self._store.write():
            pass

    async def _account(self, arrival: Arrival) -> Account | None:
        """Raises `ProviderUnavailable`: no answer, or one that names no account, or another than the token's."""
        question = arrival.consent.server.account
        if question is None:
            return None
        header = {"Authorization": f"Bearer {arrival.answer.access_token.get_secret_value()}"}
        answer = await self._http().read(question.url, headers=header)
        account = question.read(answer.json, arrival.answer.company) if answer.is_success else None
        if account is None:
            raise ProviderUnavailable(_nobody(arrival.connection, said_in(answer)), again(arrival.connection))
        return account

    def _check_account(self, connection: Connection, account: Account | None) -> None:
        """Raises `NotAllowed`: what was approved for one account would be sent to another."""
        if account is None:
            return
        written = connection.company
        if written.isascii() and written.isdigit() and written != account.id:
            raise _other_account(connection, account, written)
        with self._store.read() as tx:
            _check_known(tx, connection, account)

    def _keep(self, arrival: Arrival) -> None:
        """As `Renewals` does for new tokens: they exist nowhere else, so a locked database gets several tries."""
        account = None if arrival.account is None else arrival.account.id
        answer = replace(arrival.answer, company=account or arrival.answer.company)
        client, connection = arrival.consent.client, arrival.connection

        def tell(tx: Tx) -> None:
            _check_known(tx, connection, arrival.account)  # a person looked for minutes, and so may another
            self._tell(tx, connection, account)

        left = KEEP_TRIES
        while True:
            try:
                self._vault.put_grant(
                    connection,
                    client_id=client.client_id,
                    client_secret=client.client_secret,
                    answer=answer,
                    obtained_at=arrival.asked_at,
                    also=tell,
                )
            except (StoreBusy, CommitUnknown):  # to store it once more changes nothing but the generation
                left -= 1
                if left == 0:
                    raise
            else:
                return

    def _tell(self, tx: Tx, connection: Connection, account: str | None) -> None:
        audit.append(tx, self._clock.now(), CONNECTED, **_place(connection), account=account)

    async def _refused(self, arrival: Arrival, error: SeikyuError) -> SeikyuError:
        """`error`, with what became of the tokens nobody keeps. The code is spent: trying again is a new walk."""
        step = again(arrival.connection) if isinstance(error, StoreBusy | ProviderError) else error.next_step
        said = given_back(arrival.connection, await self.give_back(arrival))
        return type(error)(error.what + said, step, written=KEPT)

    async def _revoke(self, connection: Connection, client: OAuthClient, token: SecretStr) -> Revocation:
        request = revoke_request(oauth_server(connection), client, token)
        if request is None:
            return Revocation.NOT_OFFERED
        is_revoked = await revoke(self._http(), request)
        return Revocation.DONE if is_revoked else Revocation.FAILED


def known_account(tx: Tx, connection: Connection) -> str | None:
    """The account this connection last opened as it is written today; None when it never did, or nobody could tell.

    Whoever writes another company, environment or address into the configuration starts anew: what was approved
    names the former one.
    """
    wanted = _place(connection)
    for row in tx.all("logins_connected", kind=CONNECTED):
        said = json.loads(row["record"])
        if {name: said[name] for name in wanted} == wanted:
            return None if said["account"] is None else str(said["account"])
    return None


def _check_known(tx: Tx, connection: Connection, account: Account | None) -> None:
    """Raises `NotAllowed`: the connection has opened another account before."""
    known = known_account(tx, connection)
    if account is not None and known not in (None, account.id):
        raise _other_account(connection, account, known or "")


def _place(connection: Connection) -> dict[str, str]:
    """What an approval says of the account it is for."""
    return {
        "connection": connection.name,
        "provider": connection.provider,
        "environment": connection.environment,
        "company": connection.company,
        "base_url": connection.base_url,
    }


def given_back(connection: Connection, revocation: Revocation) -> Text:
    """What became of tokens nobody keeps."""
    provider = connection.provider
    if revocation is Revocation.DONE:
        return Text("新しいログインは取り消しました。", "The new login was revoked.")
    return Text(
        f"新しいログインは取り消せていません。{provider} の画面でアプリの連携を解除してください。",
        f"The new login could not be revoked: end it on {provider}'s own screen.",
    )


def _changed(connection: Connection) -> NotAllowed:
    name = connection.name
    return NotAllowed(
        Text(
            f"{name} のログインは、その間に更新されたか変わりました。",
            f"The login of {name} was renewed or replaced meanwhile.",
        ),
        Text(f"もう一度 `seikyu disconnect {name}` を実行してください。", f"Run `seikyu disconnect {name}` again."),
        written=Text("何も消していません。", "Nothing was forgotten."),
    )


def _left_behind(consent: Consent, result: TokenRefused | TokenUnknown) -> Text:
    """What a login that was stopped may have left at the provider."""
    if isinstance(result, TokenRefused) or not result.was_sent:
        return NOTHING
    return _nobody_knows(consent)


def _nobody_knows(consent: Consent) -> Text:
    provider = consent.connection.provider
    return Text(
        f"{provider} がトークンを出したかどうかは分かりません。", f"Whether {provider} gave tokens is not known."
    )


def _nobody(connection: Connection, said: str) -> Text:
    return Text(
        f"{connection.provider} がどの会社のログインかを答えません（{said}）。",
        f"{connection.provider} does not say whose account this is ({said}).",
    )


def _other_account(connection: Connection, account: Account, expected: str) -> NotAllowed:
    name = connection.name
    return NotAllowed(
        Text(
            f"別の会社のログインです: {account.name}（{account.id}）。接続 {name} は {expected} のものです。",
            f"That is another account: {account.name} ({account.id}); connection {name} is {expected}'s.",
        ),
        Text(
            f"{expected} で `seikyu connect {name}` をやり直してください。",
            f"Run `seikyu connect {name}` again as {expected}.",
        ),
    )


def _no_tokens(consent: Consent, result: TokenRefused | TokenUnknown) -> LoginRequired:
    connection = consent.connection
    return LoginRequired(_why(consent, result), again(connection), written=KEPT)


def _why(consent: Consent, result: TokenRefused | TokenUnknown) -> Text:
    provider, life_s = consent.connection.provider, consent.server.code_lifetime_s
    match result:
        case TokenRefused(code="invalid_grant"):
            return Text(
                f"{provider} は認可コードを受け付けませんでした（誤り、使用済み、または {life_s} 秒の期限切れ）。",
                f"{provider} did not take the code: it is wrong, used already, or older than {life_s} s.",
            )
        case TokenRefused(code="invalid_client"):
            return Text(
                "client_id かクライアントシークレットが違います。", "The client_id or the client secret is wrong."
            )
        case TokenRefused(code=code):
            return Text(f"{provider} はログインを拒否しました（{code}）。", f"{provider} refused the login ({code}).")
        case TokenUnknown(reason=reason, was_sent=False):
            return reason + Text("コードは送られていません。", "The code was not sent.")
        case TokenUnknown(reason=reason):
            return reason + _nobody_knows(consent)
