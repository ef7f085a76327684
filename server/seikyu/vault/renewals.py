"""The life of a grant, and the right to renew it: one process at a time, across all that share the database.

    ready ── begin ──▶ refreshing ── tokens ──────────────▶ ready (generation + 1)
                           │                                scope_lost (generation + 1, fewer rights)
                           ├── refused ───────────────────▶ needs_login
                           ├── not sent ──────────────────▶ ready
                           └── lost, put off, holder dead ▶ refresh_unknown
    refresh_unknown ── begin, access token over ──▶ retrying
                           ├── tokens ────────────────────▶ ready (generation + 1)
                           ├── not sent, put off ─────────▶ refresh_unknown
                           └── refused, lost, holder dead ▶ needs_login
    any ── a person connects again ──▶ ready (generation + 1)

A refresh token may be good for one use, and a second use may end the whole grant (RFC 9700, 4.14.2; freee's
is good for one). So one that may be used up is sent once more at most, and only when nothing is left to lose:
after the access token, which serves meanwhile in every state but `scope_lost`, is over too. A provider that puts us
off (a page, a redirect, too many requests, trouble of its own) is asked again after a rest: its maintenance must not
cost the login.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import Final

from pydantic import SecretStr

from seikyu.errors import CommitUnknown, StoreBusy
from seikyu.models import Clock, timestamp
from seikyu.spec import Connection
from seikyu.store.database import Tx
from seikyu.store.presence import Presence
from seikyu.vault.grants import TokenAnswer, TokenRefused, TokenResult, TokenUnknown
from seikyu.vault.secrets import Grant, GrantState, OAuthSecret, Vault, life_of

LEASE_S: Final = 15
"""The right to renew; longer than any token call (`tokens.CALL_CAP_S`)."""
EARLY: Final = 0.75
"""The share of its life after which a token is renewed while it still serves."""
MARGIN_S: Final = 30
"""A token is over this long before its time (at most 1/20 of its life): a request in flight needs it good."""
CLOCK_SLACK_S: Final = 60
"""A moment further in the future than it can be tells that the clock was set back."""
REST_UNSENT_S: Final = 5
"""Between two renewals when the provider cannot be reached."""
REST_UNKNOWN_S: Final = 30
"""Before the last try: a request that was given up may still land."""
KEEP_TRIES: Final = 3
"""How often new tokens are written when the database is locked, 30 s each: they exist nowhere else."""
KEEP_PAUSE_S: Final = 15
"""Between two of these: a disk that is full, or a database that is away, says so at once."""

REFUSALS: Final = frozenset(
    {
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)
"""The whole vocabulary of a definite no; any other code proves nothing. Source: RFC 6749, 5.2."""

_BEGINS: Final = {
    GrantState.READY: GrantState.REFRESHING,
    GrantState.REFRESH_UNKNOWN: GrantState.RETRYING,
}
_AFTER_UNSENT: Final = {new: old for old, new in _BEGINS.items()}
_AFTER_LOST: Final = {
    GrantState.REFRESHING: GrantState.REFRESH_UNKNOWN,
    GrantState.RETRYING: GrantState.NEEDS_LOGIN,
}


class Advice(Enum):
    """What to do with a grant as it stands."""

    SERVE = auto()
    RENEW = auto()
    RENEW_EARLY = auto()
    """It serves, and is renewed in good time: whoever is not first uses it as it is."""
    WAIT = auto()
    """Somebody else renews it, and it does not serve meanwhile."""
    REST = auto()
    """It does not serve, and the last try was a moment ago."""
    ABANDONED = auto()
    """Whoever renewed it is gone without a word."""
    STOP = auto()
    """Only a person can help."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to renew `grant`, which is committed: other processes know that a request may leave."""

    grant: Grant
    owner: str
    until: datetime
    state: GrantState
    begun_at: datetime


def serves(grant: Grant, now: datetime, refused: SecretStr | None) -> bool:
    """Whether the access token may be used: in time, not `refused` by the provider, with all its rights."""
    margin = min(timedelta(seconds=MARGIN_S), (grant.expires_at - grant.obtained_at) / 20)
    is_in_time = now < grant.expires_at - margin
    return is_in_time and grant.state is not GrantState.SCOPE_LOST and not _is_same(grant, refused)


def advise(grant: Grant, now: datetime, *, refused: SecretStr | None, is_gone: Callable[[str], bool]) -> Advice:
    """What to do with `grant`; `is_gone` tells whether the process of a lease is known to be dead."""
    does_serve = serves(grant, now, refused)
    is_leased = _is_near(grant.lease_until, now)
    if grant.state in _AFTER_LOST:
        if not is_leased or grant.lease_owner is None or is_gone(grant.lease_owner):
            return Advice.ABANDONED
        return Advice.SERVE if does_serve else Advice.WAIT
    if does_serve and not _is_due(grant, now):
        return Advice.SERVE
    if grant.state not in _BEGINS or grant.secret.refresh_token is None:
        return Advice.SERVE if does_serve else Advice.STOP
    if is_leased:  # nobody's: a rest
        return Advice.SERVE if does_serve else Advice.REST
    return Advice.RENEW_EARLY if does_serve else Advice.RENEW


def _is_near(until: datetime | None, now: datetime) -> bool:
    """Whether `until` is yet to come; one that nobody can have set tells of a clock that was set back."""
    return until is not None and now < until <= now + timedelta(seconds=REST_UNKNOWN_S + CLOCK_SLACK_S)


def _is_due(grant: Grant, now: datetime) -> bool:
    """Early, and only while it is sure that the refresh token was never sent."""
    early_from = grant.obtained_at + (grant.expires_at - grant.obtained_at) * EARLY
    is_from_the_future = grant.obtained_at > now + timedelta(seconds=CLOCK_SLACK_S)
    return grant.state is GrantState.READY and (now >= early_from or is_from_the_future)


def _is_same(grant: Grant, refused: SecretStr | None) -> bool:
    if refused is None:
        return False
    ours = grant.secret.access_token.get_secret_value().encode()
    return hmac.compare_digest(ours, refused.get_secret_value().encode())


_LEASED: Final = ("sealed", "state", "lease_owner", "lease_until")


def _take(tx: Tx, lease: Lease) -> bool:
    changed = tx.run(
        "lease_secret",
        connection=lease.grant.connection.name,
        generation=lease.grant.generation,
        sealed=lease.grant.sealed,
        from_state=lease.grant.state,
        to_state=lease.state,
        lease_owner=lease.owner,
        lease_until=timestamp(lease.until),
    )
    return changed == 1


def _is_there(tx: Tx, lease: Lease) -> bool:
    row = tx.one("secret", connection=lease.grant.connection.name) or {}
    wanted = (lease.grant.sealed, lease.state, lease.owner, timestamp(lease.until))
    return wanted == tuple(row.get(name) for name in _LEASED)


Pause = Callable[[float], None]
"""Waits so many seconds, in a thread of its own."""


class Renewals:
    """Moves grants from state to state, each in one short transaction: compare with what was read, set."""

    def __init__(self, vault: Vault, clock: Clock, presence: Presence, *, pause: Pause = time.sleep) -> None:
        self._vault = vault
        self._clock = clock
        self._presence = presence
        self._pause = pause

    def look(self, connection: Connection, refused: SecretStr | None) -> tuple[Grant, Advice]:
        """The grant as it is now in the database, and what to do with it."""
        grant = self._vault.grant(connection)
        return grant, advise(grant, self._clock.now(), refused=refused, is_gone=self._presence.is_gone)

    def begin(self, grant: Grant) -> Lease | None:
        """Take the right to renew `grant` for 15 s; None when it is no longer what was read.

        This write also proves, before the old refresh token is used, that the database takes new tokens.

        Raises:
            StoreBusy: the database stayed locked; nothing was begun.
        """
        tried: list[Lease] = []
        return self._vault.store.sure(lambda: self._try(grant, tried), lambda: self._found(tried))

    def _try(self, grant: Grant, tried: list[Lease]) -> Lease | None:
        owner = self._presence.appear()
        with self._vault.store.write() as tx:
            now = self._clock.now()  # inside: waiting for the lock must not eat up the lease
            lease = Lease(grant, owner, now + timedelta(seconds=LEASE_S), _BEGINS[grant.state], now)
            tried.append(lease)
            return lease if _take(tx, lease) else None

    def _found(self, tried: list[Lease]) -> Lease | None:
        """After a commit without an answer: the lease that was tried, if it is there."""
        (lease,) = tried
        with self._vault.store.write() as tx:
            return lease if _is_there(tx, lease) else None

    def holds(self, lease: Lease) -> bool:
        """Whether it lasts, by the clock and by the row: a clock can be set back while another takes over."""
        if self._clock.now() >= lease.until:
            return False
        with self._vault.store.read() as tx:
            return _is_there(tx, lease)

    def finish(self, lease: Lease, result: TokenResult) -> SecretStr | None:
        """Record how the renewal ended; the new access token when it is stored and may be used.

        Tokens are kept even if the lease was lost meanwhile, as long as nobody has stored newer ones.

        Raises:
            StoreBusy: the database stayed locked for all tries; the tokens of a `TokenAnswer` are lost.
        """
        match result:
            case TokenAnswer():
                return self._keep(lease, result)
            case TokenRefused(code=code) if code in REFUSALS:
                self._release(lease, GrantState.NEEDS_LOGIN, rest_s=None)
            case TokenRefused() | TokenUnknown(is_put_off=True):
                self._release(lease, GrantState.REFRESH_UNKNOWN, rest_s=REST_UNKNOWN_S)
            case _:
                state = _AFTER_LOST[lease.state] if result.was_sent else _AFTER_UNSENT[lease.state]
                self._release(lease, state, rest_s=REST_UNKNOWN_S if result.was_sent else REST_UNSENT_S)
        return None

    def give_up(self, grant: Grant) -> None:
        """End the renewal of a holder that is dead or too late: nobody knows whether its request was sent.

        A dead one cannot send any more; a late one may still be about to, or bring its answer.
        """
        if grant.lease_owner is None or grant.lease_until is None:
            return
        lease = Lease(grant, grant.lease_owner, grant.lease_until, grant.state, grant.obtained_at)
        rest_s = None if self._presence.is_gone(lease.owner) else REST_UNKNOWN_S
        self._release(lease, _AFTER_LOST[grant.state], rest_s=rest_s)

    def _keep(self, lease: Lease, answer: TokenAnswer) -> SecretStr | None:
        former = lease.grant.secret
        secret = former.after(answer)
        state = GrantState.SCOPE_LOST if former.is_undone_by(answer) else GrantState.READY
        expires_at = lease.begun_at + life_of(answer)
        is_kept = self._stored(lease, secret, state, expires_at)
        return secret.access_token if is_kept and state is GrantState.READY else None

    def _stored(self, lease: Lease, secret: OAuthSecret, state: GrantState, expires_at: datetime) -> bool:
        left = KEEP_TRIES
        while True:
            try:
                return self._vault.replace_grant(
                    lease.grant, secret, state=state, obtained_at=lease.begun_at, expires_at=expires_at
                )
            except (StoreBusy, CommitUnknown):  # what was stored after all is not stored again
                left -= 1
                if left == 0:
                    raise
                self._pause(KEEP_PAUSE_S)

    def _release(self, lease: Lease, to_state: GrantState, *, rest_s: int | None) -> None:
        """Give the lease back; without effect when it is no longer ours to give."""
        let_go = partial(self._let_go, lease, to_state, rest_s=rest_s)
        self._vault.store.sure(let_go, let_go)

    def _let_go(self, lease: Lease, to_state: GrantState, *, rest_s: int | None) -> None:
        not_before = None if rest_s is None else timestamp(self._clock.now() + timedelta(seconds=rest_s))
        grant = lease.grant
        with self._vault.store.write() as tx:
            tx.run(
                "release_secret",
                connection=grant.connection.name,
                generation=grant.generation,
                sealed=grant.sealed,
                from_state=lease.state,
                to_state=to_state,
                lease_owner=lease.owner,
                lease_until=timestamp(lease.until),
                not_before=not_before,
            )
