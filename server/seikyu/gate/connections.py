"""How the accounts really stand: the stored login, and what its provider says to it just now.

Every connection is asked at the same time and by itself: one that is slow, broken or refused hides no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import anyio

from seikyu.errors import NOTHING, LoginRequired, SeikyuError, Text
from seikyu.gate.facts import counterparty_key
from seikyu.gate.logins import known_account
from seikyu.models import Clock, Connection, shown, timestamp
from seikyu.providers.authorization import has_oauth
from seikyu.providers.oauth import Account
from seikyu.providers.proofs import Header, Proof, prove
from seikyu.spec import Credential
from seikyu.vault.secrets import Grant, GrantState, SecretState, Vault, connect_again
from seikyu.vault.tokens import login_required

if TYPE_CHECKING:
    from seikyu.providers.http import HttpEdge

CHECK_S: Final = 12
"""For everything that is asked about one connection; a renewal that was sent is waited for, 12 s more at most."""


class Standing(StrEnum):
    """How a connection stands, worst first."""

    OTHER_COMPANY = "other_company"
    """The login works, for another company than connections.toml names: what is approved would go astray."""
    UNDECRYPTABLE = "undecryptable"
    MISSING = "missing"
    NEEDS_LOGIN = "needs_login"
    UNKNOWN = "unknown"
    EXPIRES = "expires"
    """It works now and ends at a known time: it cannot be renewed, or nobody knows whether it can."""
    WORKS = "works"

    @property
    def text(self) -> Text:
        return _WORDS[self]

    @property
    def is_good(self) -> bool:
        """Whether the account can be used just now."""
        return self in {Standing.WORKS, Standing.EXPIRES}


_WORDS: Final = {
    Standing.OTHER_COMPANY: Text("別の会社", "another company"),
    Standing.UNDECRYPTABLE: Text("開けません", "does not open"),
    Standing.MISSING: Text("未接続", "not connected"),
    Standing.NEEDS_LOGIN: Text("要ログイン", "needs login"),
    Standing.UNKNOWN: Text("不明", "unknown"),
    Standing.EXPIRES: Text("期限あり", "expires"),
    Standing.WORKS: Text("有効", "works"),
}


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found out about one connection."""

    connection: Connection
    stored: SecretState | None
    """None: it could not be looked up."""
    standing: Standing
    what: Text
    """One sentence: what is."""
    next_step: Text = NOTHING
    account: Account | None = None
    """None: not asked, or this provider does not tell."""
    expires_at: datetime | None = None
    """When the access token ends; None for a key, which does not."""
    was_asked: bool = False
    """Whether the provider answered."""
    skew_s: int | None = None
    """How far our clock is ahead of the provider's, in seconds; None: it did not tell the time."""


@dataclass(slots=True)
class _Login:
    """A stored login while it is tried."""

    connection: Connection
    stored: SecretState | None = None
    grant: Grant | None = None
    header: Header | None = None
    proof: Proof | None = None
    skew_s: int | None = None
    is_renewed: bool = False
    is_in_doubt: bool = False
    """Whether its last renewal came to no answer that can be trusted."""
    confirmed: str | None = None
    """The account that was confirmed when the connection, as it is written today, was last connected."""


class Checkups:
    """Looks at connections. With credentials a token that is over is renewed, once at most; without, never."""

    def __init__(
        self,
        http: HttpEdge,
        vault: Vault,
        clock: Clock,
        *,
        credential_of: Callable[[Connection], Credential] | None = None,
        limit_s: int = CHECK_S,
    ) -> None:
        self._http = http
        self._vault = vault
        self._clock = clock
        self._credential_of = credential_of
        self._limit_s = limit_s

    async def all(self, connections: Sequence[Connection]) -> list[Checkup]:
        """One for each, in their order."""
        found: dict[str, Checkup] = {}

        async def note(connection: Connection) -> None:
            found[connection.name] = await self.one(connection)

        async with anyio.create_task_group() as tasks:
            for connection in connections:
                tasks.start_soon(note, connection)
        return [found[connection.name] for connection in connections]

    async def one(self, connection: Connection) -> Checkup:
        """Raises nothing for what is wrong with the connection."""
        login = _Login(connection)
        try:
            if (without_a_call := await self._looked_up(login)) is not None:
                return without_a_call
            with anyio.move_on_after(self._limit_s):
                return await self._checkup(login)
        except LoginRequired as error:
            return _checkup(login, Standing.NEEDS_LOGIN, error.what, error.next_step)
        except SeikyuError as error:
            return _checkup(login, Standing.UNKNOWN, error.what, error.next_step)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one row must not hide the others
            return _checkup(login, Standing.UNKNOWN, _broke_off(error))
        return _checkup(login, Standing.UNKNOWN, _too_slow(connection, self._limit_s), _LATER)

    async def _looked_up(self, login: _Login) -> Checkup | None:
        """What is known without a call. It has no limit: the time a master key's place takes is not the provider's."""
        connection, store = login.connection, self._vault.store
        login.stored = await store.run(lambda: self._vault.state(connection))
        if login.stored == "missing":
            return _checkup(login, Standing.MISSING, _NONE_STORED, connect_again(connection))
        if login.stored == "undecryptable":
            return _checkup(login, Standing.UNDECRYPTABLE, *await store.run(lambda: self._why_shut(connection)))
        return None

    async def _checkup(self, login: _Login) -> Checkup:
        connection, store = login.connection, self._vault.store
        if has_oauth(connection):
            login.grant = await store.run(lambda: self._vault.grant(connection))
        if login.stored == "needs_login" and login.grant is not None:
            raise login_required(login.grant)
        await self._try(login)
        if login.proof is None:
            return _checkup(login, Standing.UNKNOWN, _OVER, _RENEW)
        if login.proof.is_accepted is False and login.grant is not None and not login.is_renewed:
            await self._try(login, refused=login.header)
        login.is_in_doubt = await store.run(lambda: self._vault.state(connection)) == "refresh_unknown"
        login.confirmed = await store.run(lambda: self._confirmed(connection))
        return _judged(login, login.proof)

    def _why_shut(self, connection: Connection) -> tuple[Text, Text]:
        """What is wrong, and the next step: a key that can be mended must not cost anybody a new login."""
        try:
            (self._vault.grant if has_oauth(connection) else self._vault.api_key)(connection)
        except SeikyuError as error:
            return error.what, error.next_step
        return _OPENS_NOW, _LATER

    def _confirmed(self, connection: Connection) -> str | None:
        with self._vault.store.read() as tx:
            return known_account(tx, connection)

    async def _try(self, login: _Login, *, refused: Header | None = None) -> None:
        """Ask with the stored login; one that was refused, or is over, is renewed first if that is allowed."""
        header = await self._header(login, refused)
        if header is None or header == refused:
            return
        login.header = header
        began, ticks = self._clock.now(), time.monotonic_ns()
        company = None if login.grant is None else login.grant.secret.company
        login.proof = await prove(self._http, login.connection, header, company=company)
        login.skew_s = _skew_s(login.proof.date, began, time.monotonic_ns() - ticks)

    async def _header(self, login: _Login, refused: Header | None) -> Header | None:
        connection, grant = login.connection, login.grant
        if self._credential_of is not None:
            header = await self._credential_of(connection).header(refused=None if refused is None else refused[1])
            if grant is not None:
                now = await self._vault.store.run(lambda: self._vault.grant(connection))
                login.is_renewed = now.generation != grant.generation
                login.grant = now
            return header
        if grant is None:
            key = await self._vault.store.run(lambda: self._vault.api_key(connection))
            return "apikey", key.get_secret_value()
        if refused is not None or grant.state is GrantState.SCOPE_LOST or self._clock.now() >= grant.expires_at:
            return None
        return "Authorization", f"Bearer {grant.secret.access_token.get_secret_value()}"


def _skew_s(theirs: datetime | None, began: datetime, elapsed_ns: int) -> int | None:
    """Whole seconds that our clock is ahead; what the answer's way took, and their rounding, excuse as much.

    What passed between question and answer is counted by a clock that nobody sets.
    """
    if theirs is None:
        return None
    ended = began + timedelta(microseconds=elapsed_ns // 1000)
    if began > theirs + timedelta(seconds=1):
        return (began - theirs) // timedelta(seconds=1)
    return -((theirs - ended) // timedelta(seconds=1)) if ended < theirs else 0


def _judged(login: _Login, proof: Proof) -> Checkup:
    connection, grant = login.connection, login.grant
    if proof.is_accepted is None:
        until = Text("", "") if grant is None else _stored_until(grant)
        return _checkup(login, Standing.UNKNOWN, proof.why + until, _SEE)
    if not proof.is_accepted:
        what = Text(
            f"{connection.provider} がこのログインを受け付けません。", f"{connection.provider} refuses this login."
        )
        if login.grant is not None and not login.is_renewed:
            return _checkup(login, Standing.UNKNOWN, what, _RENEW)
        return _checkup(login, Standing.NEEDS_LOGIN, what, connect_again(connection))
    if other := _other_company(login, proof.account):
        return _checkup(login, Standing.OTHER_COMPANY, *other)
    if grant is not None and (login.is_in_doubt or grant.secret.refresh_token is None):
        what = _in_doubt(grant) if login.is_in_doubt else _ends(grant)
        return _checkup(login, Standing.EXPIRES, what, connect_again(connection))
    return _checkup(login, Standing.WORKS, _works(connection, proof.account))


def _other_company(login: _Login, account: Account | None) -> tuple[Text, Text] | None:
    """A company is known by its id where the configuration holds one, else by its name.

    A name may change, and a person may call a company otherwise: the account they confirmed is theirs all the same.
    """
    if account is None:
        return None
    connection, grant = login.connection, login.grant
    written = connection.company
    stored = None if grant is None else grant.secret.company
    if is_id(written):
        is_ours = account.id == written
    else:
        is_ours = not has_another_name(connection, account) or account.id == login.confirmed
    if is_ours and stored in (None, account.id):
        return None
    theirs = f"{shown(account.name, 60)}（{shown(account.id, 40)}）"
    what = Text(
        f"ログインは別の会社 {theirs} のものです。connections.toml では {written} です。",
        f"The login opens another company, {theirs}; connections.toml says {written}.",
    )
    step = Text(
        f"何も承認せず、`seikyu connect {connection.name}` で {written} に接続し直すか、company を直してください。",
        f"Approve nothing; run `seikyu connect {connection.name}` as {written}, or mend `company`.",
    )
    return what, step


def is_id(written: str) -> bool:
    """Whether a company is written by its number."""
    return written.isascii() and written.isdigit()


def has_another_name(connection: Connection, account: Account) -> bool:
    """Whether the configuration calls the company otherwise than its provider does, their spelling folded."""
    written = connection.company
    if is_id(written) or connection.provider not in NAME_COMPANIES:
        return False
    return counterparty_key(written) != counterparty_key(account.name)


def _checkup(login: _Login, standing: Standing, what: Text, next_step: Text = NOTHING) -> Checkup:
    proof, grant = login.proof, login.grant
    return Checkup(
        connection=login.connection,
        stored=login.stored,
        standing=standing,
        what=what,
        next_step=next_step,
        account=None if proof is None else proof.account,
        expires_at=None if grant is None else grant.expires_at,
        was_asked=proof is not None,
        skew_s=login.skew_s,
    )


def _works(connection: Connection, account: Account | None) -> Text:
    if account is None:
        return Text(
            f"{connection.provider} が受け付けました（会社名は答えません）。",
            f"{connection.provider} accepts it (and does not tell whose account it is).",
        )
    accepted = Text(
        f"{connection.provider} が受け付けました: {account.name}（{account.id}）。",
        f"{connection.provider} accepts it: {account.name} ({account.id}).",
    )
    if not has_another_name(connection, account):
        return accepted
    return accepted + Text(
        f"接続時に確認された会社ですが、connections.toml では {connection.company} です。",
        f"It is the company confirmed when it was connected, though connections.toml calls it {connection.company}.",
    )


def _ends(grant: Grant) -> Text:
    at = timestamp(grant.expires_at)
    return Text(f"有効ですが {at} に切れ、更新できません。", f"It works until {at} and cannot be renewed.")


def _in_doubt(grant: Grant) -> Text:
    at = timestamp(grant.expires_at)
    return Text(
        f"{at} まで有効ですが、前回の更新の応答を得られず、その後に更新できるか分かりません。",
        f"It works until {at}. Whether it can be renewed then is not known: the last renewal came to no sure answer.",
    )


def _stored_until(grant: Grant) -> Text:
    at = timestamp(grant.expires_at)
    return Text(f"手元の記録では {at} まで有効です。", f"By our own record it is good until {at}.")


def _too_slow(connection: Connection, limit_s: int) -> Text:
    return Text(
        f"{connection.provider} が{limit_s}秒以内に答えません。",
        f"{connection.provider} did not answer within {limit_s} s.",
    )


def _broke_off(error: Exception) -> Text:
    name = type(error).__name__  # its words may hold anything
    return Text(f"確認が途中で止まりました（{name}）。", f"The check broke off ({name}).")


NAME_COMPANIES: Final = frozenset({"freee"})
"""Whose answer names a company; elsewhere the name is a person's, and only an id can be compared."""

_NONE_STORED: Final = Text("ログインが登録されていません。", "No login is stored.")
_OPENS_NOW: Final = Text("保存したログインを開けませんでした。", "The stored login did not open just now.")
_OVER: Final = Text("アクセストークンの期限が切れています。", "The access token is over.")
_RENEW: Final = Text(
    "次に使う時に更新されます。今確かめるには `seikyu connections --check`。",
    "It is renewed at the next use; to try now, run `seikyu connections --check`.",
)
_LATER: Final = Text("しばらくしてからもう一度試してください。", "Try again in a while.")
_SEE: Final = Text("提供元の画面で確かめてください。", "Look at the provider's own screen.")
