"""The custody of OAuth tokens: whoever needs one gets one that is good, and no refresh token is wasted."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from pydantic import SecretStr

from seikyu.errors import NOTHING, LoginRequired, ProviderUnavailable, Text
from seikyu.models import Clock
from seikyu.spec import Connection, Fence
from seikyu.store.presence import Presence
from seikyu.vault.deadlines import cut_off_after
from seikyu.vault.grants import TokenAnswer, TokenRefused, TokenResult, TokenUnknown
from seikyu.vault.renewals import Advice, Lease, Pause, Renewals
from seikyu.vault.secrets import Grant, GrantState, Vault, connect_again

if TYPE_CHECKING:
    import anyio

CALL_CAP_S: Final = 12
"""A token call is cut off here; it has its own limit of 10 s, and its lease lasts 15 s."""
PAUSE_S: Final = (0.03, 0.1)
"""Between two looks at a grant that another process renews; drawn anew each time."""
MAX_LOOKS: Final = 400
"""About 26 s of waiting: longer than a lease. Counted, so that no clock can make it endless."""

_UNFINISHED: Final = TokenUnknown(
    Text("トークン更新の応答がありませんでした。", "No answer to the renewal of the token arrived."),
    was_sent=True,
)


class Refresh(Protocol):
    """Asks the provider of `connection` once for new tokens, within 10 s, and never repeats by itself."""

    async def __call__(
        self,
        connection: Connection,
        *,
        client_id: str,
        client_secret: SecretStr,
        refresh_token: SecretStr,
        fence: Fence,
    ) -> TokenResult:
        """`fence` is awaited immediately before the first byte leaves; when it raises, nothing was sent."""
        ...


Sleep = Callable[[float], Awaitable[None]]


async def _sleep(seconds: float) -> None:
    import anyio

    await anyio.sleep(seconds)


class TokenCustodian:
    """Hands out access tokens and renews them, once for all processes that share the database."""

    def __init__(
        self,
        vault: Vault,
        clock: Clock,
        presence: Presence,
        refresh: Refresh,
        *,
        sleep: Sleep = _sleep,
        pause: Pause = time.sleep,
    ) -> None:
        self._store = vault.store
        self._renewals = Renewals(vault, clock, presence, pause=pause)
        self._refresh = refresh
        self._sleep = sleep
        self._turns: dict[str, anyio.Lock] = {}

    async def access_token(self, connection: Connection, *, refused: SecretStr | str | None = None) -> SecretStr:
        """A token that is good now, renewed first if need be.

        The row is read each time, so that a renewal, a login or a disconnection elsewhere counts at once.
        `refused` is the token the provider just called expired: it is renewed once if it is still stored.

        Raises:
            LoginRequired: the grant is over, or has lost rights; a person must connect again.
            ProviderUnavailable: the provider gave no tokens just now; the grant is kept.
            StoreDamaged: the row does not open.
            StoreBusy: the database stayed locked.
            ConfigurationError: no usable master key.

        Source: RFC 9700, 4.14.2: a rotated refresh token used twice revokes the grant.
        """
        value = SecretStr(refused) if isinstance(refused, str) else refused
        grant, advice = await self._look(connection, value)
        turn = self._turn(connection)
        if advice is Advice.SERVE or (advice is Advice.RENEW_EARLY and turn.locked()):
            return grant.secret.access_token
        async with turn:
            return await self._settle(connection, value)

    def _turn(self, connection: Connection) -> anyio.Lock:
        """One renewal of a connection at a time in this process; the others wait here, not at the store."""
        import anyio

        return self._turns.setdefault(connection.name, anyio.Lock())

    async def _look(self, connection: Connection, refused: SecretStr | None) -> tuple[Grant, Advice]:
        return await self._store.run(partial(self._renewals.look, connection, refused))

    async def _settle(self, connection: Connection, refused: SecretStr | None) -> SecretStr:
        """Look and act until there is a token or a reason why not; each act moves the grant on."""
        why = _RESTS
        for _ in range(MAX_LOOKS):
            grant, advice = await self._look(connection, refused)
            match advice:
                case Advice.SERVE:
                    return grant.secret.access_token
                case Advice.STOP:
                    raise login_required(grant)
                case Advice.REST:
                    raise _unavailable(connection, why)
                case Advice.WAIT:
                    await self._sleep(random.uniform(*PAUSE_S))  # noqa: S311 - to part the waiters, not to hide
                case Advice.ABANDONED:
                    await self._store.run(partial(self._renewals.give_up, grant))
                case Advice.RENEW | Advice.RENEW_EARLY:
                    result = await self._renew(grant)
                    if isinstance(result, SecretStr):
                        return result
                    why = result or why
        raise _unavailable(connection, _BUSY)

    async def _renew(self, grant: Grant) -> SecretStr | Text | None:
        """Renew `grant`, to the end even if the caller is cancelled: an answer nobody stores would be lost.

        The new token, or why there is none; None when another process was first.
        """
        import anyio

        with anyio.CancelScope(shield=True):
            lease = await self._store.run(partial(self._renewals.begin, grant))
            if lease is None:
                return None
            result: TokenResult = _UNFINISHED  # holds if the call raises or is cut off
            try:
                with cut_off_after(CALL_CAP_S):
                    result = await self._ask(lease)
            finally:
                token = await self._store.run(partial(self._renewals.finish, lease, result))
            return token or _reason(result)
        return None

    async def _ask(self, lease: Lease) -> TokenResult:
        secret = lease.grant.secret
        return await self._refresh(
            lease.grant.connection,
            client_id=secret.client_id,
            client_secret=secret.client_secret,
            refresh_token=secret.refresh_token or SecretStr(""),
            fence=partial(self._fence, lease),
        )

    async def _fence(self, lease: Lease) -> None:
        """A process that stood still past its lease, or whose login was given up, sends nothing."""
        if not await self._store.run(partial(self._renewals.holds, lease)):
            raise ProviderUnavailable(_TOO_LATE, NOTHING)


_RESTS: Final = Text(
    "前回の更新は、信頼できる応答を得られずに終わりました。",
    "The last renewal came to no answer that can be trusted.",
)
_TOO_LATE: Final = Text("トークンの更新が間に合いませんでした。", "The renewal of the token came too late.")
_BUSY: Final = Text("別のプロセスがトークンを更新中です。", "Another process is still renewing the token.")


def _reason(result: TokenResult) -> Text | None:
    match result:
        case TokenUnknown(reason=reason):
            return reason
        case TokenRefused():
            return Text("トークンの更新は拒否されました。", "The renewal of the token was refused.")
        case TokenAnswer():
            return None


def login_required(grant: Grant) -> LoginRequired:
    """Why only a person can help."""
    name, provider = grant.connection.name, grant.connection.provider
    if grant.state is GrantState.SCOPE_LOST:
        what = Text(
            f"{provider} が接続 {name} を、許可した時と違う権限または会社で更新しました。",
            f"{provider} renewed connection {name} with fewer rights than were granted, or for another company.",
        )
    else:
        what = Text(
            f"接続 {name} の {provider} へのログインが切れています。",
            f"The login of connection {name} at {provider} is over and could not be renewed.",
        )
    return LoginRequired(what, connect_again(grant.connection))


def _unavailable(connection: Connection, why: Text) -> ProviderUnavailable:
    name = connection.name
    return ProviderUnavailable(
        Text(
            f"接続 {name} のトークンを更新できませんでした。",
            f"The token of connection {name} could not be renewed.",
        )
        + why,
        Text("しばらくしてからもう一度試してください。", "Try again in a minute."),
    )
