import sqlite3
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from seikyu.errors import LoginRequired, ProviderUnavailable, SeikyuError, StoreBusy, Text
from seikyu.store.database import Store, Tx
from seikyu.store.presence import Presence
from seikyu.vault.grants import TokenAnswer, TokenRefused, TokenResult
from seikyu.vault.renewals import KEEP_PAUSE_S, LEASE_S, REFUSALS, REST_UNKNOWN_S, REST_UNSENT_S, Renewals
from seikyu.vault.secrets import GrantState, Vault
from seikyu.vault.tokens import CALL_CAP_S, TokenCustodian
from vault.fakes import (
    CLIENT_ID,
    CLIENT_SECRET,
    FREEE,
    LIFE_S,
    LOST,
    MISOCA,
    PUT_OFF,
    UNSENT,
    HttpRefresh,
    Script,
    SetClock,
    Step,
    StrictServer,
    ring,
    tokens,
    told,
)

pytestmark = pytest.mark.both_stores

EARLY_S = LIFE_S * 3 // 4


@dataclass
class Desk:
    """A connected freee account and all that is around it."""

    vault: Vault
    clock: SetClock
    folder: Path
    presence: Presence
    provider: Script
    custodian: TokenCustodian

    def connect(self, answer: TokenAnswer) -> None:
        self.vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=answer)

    async def token(self, *, refused: str | None = None) -> str:
        return (await self.custodian.access_token(FREEE, refused=refused)).get_secret_value()

    def another(self, *steps: Step) -> "Desk":
        """Another process: its own presence, custodian and script, the same database."""
        provider, presence = Script(list(steps)), Presence(self.folder)
        custodian = TokenCustodian(self.vault, self.clock, presence, provider, sleep=self.sleep)
        return replace(self, presence=presence, provider=provider, custodian=custodian)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def desk(vault: Vault, clock: SetClock, home: Path, presence: Presence) -> Desk:
    provider = Script()
    desk = Desk(vault, clock, home / "present", presence, provider, TokenCustodian(vault, clock, presence, provider))
    desk.custodian = TokenCustodian(vault, clock, presence, provider, sleep=desk.sleep)
    desk.connect(tokens(0))
    return desk


def access(number: int) -> str:
    return tokens(number).access_token.get_secret_value()


def refresh(number: int) -> str:
    return (tokens(number).refresh_token or SecretStr("")).get_secret_value()


# good, early, over


async def test_a_good_token_is_used_as_it_is(desk: Desk) -> None:
    desk.clock.advance(EARLY_S - 1)

    assert await desk.token() == access(0)
    assert desk.provider.sent == []


async def test_a_token_is_renewed_after_three_quarters_of_its_life(desk: Desk) -> None:
    desk.provider.steps = [tokens(1)]
    desk.clock.advance(EARLY_S)

    assert await desk.token() == access(1)
    assert await desk.token() == access(1)
    assert desk.provider.sent == [refresh(0)]
    assert desk.vault.grant(FREEE).generation == 2


async def test_a_token_whose_time_is_over_is_renewed(desk: Desk) -> None:
    desk.provider.steps = [tokens(1), tokens(2)]
    desk.clock.advance(LIFE_S + 1)
    first = await desk.token()
    desk.clock.advance(LIFE_S + 1)

    assert (first, await desk.token()) == (access(1), access(2))
    assert desk.provider.sent == [refresh(0), refresh(1)]


async def test_the_life_of_a_token_counts_from_before_the_request(desk: Desk) -> None:
    async def slow() -> TokenResult:
        desk.clock.advance(9)
        return tokens(1)

    desk.provider.steps = [slow]
    desk.clock.advance(LIFE_S)
    begun_at = desk.clock.now()
    await desk.token()

    assert desk.vault.grant(FREEE).expires_at == begun_at + timedelta(seconds=LIFE_S)


async def test_a_token_in_its_last_seconds_is_not_sent_any_more(desk: Desk) -> None:
    desk.provider.steps = [UNSENT]
    desk.clock.advance(LIFE_S - 29)

    with pytest.raises(ProviderUnavailable, match="No connection"):
        await desk.token()


async def test_a_clock_that_was_set_back_makes_the_token_be_renewed_early(desk: Desk) -> None:
    desk.provider.steps = [tokens(1)]
    desk.clock.advance(-3600)

    assert await desk.token() == access(1)


async def test_a_clock_that_was_set_back_does_not_prolong_a_rest(desk: Desk) -> None:
    desk.provider.steps = [UNSENT, tokens(1)]
    with pytest.raises(ProviderUnavailable):
        await desk.token(refused=access(0))
    desk.clock.advance(-3600)

    assert await desk.token(refused=access(0)) == access(1)


async def test_an_answer_without_a_refresh_token_keeps_the_old_one(desk: Desk) -> None:
    desk.provider.steps = [tokens(1, refresh=False, scope=None)] * 2
    for _ in range(2):
        desk.clock.advance(LIFE_S)
        await desk.token()

    assert desk.provider.sent == [refresh(0), refresh(0)]
    assert desk.vault.grant(FREEE).secret.scope == "read write"


async def test_a_grant_without_a_refresh_token_serves_until_it_is_over(desk: Desk) -> None:
    desk.connect(tokens(0, refresh=False))
    desk.clock.advance(EARLY_S)
    served = await desk.token()
    desk.clock.advance(LIFE_S)

    assert served == access(0)
    assert desk.vault.state(FREEE) == "needs_login"
    with pytest.raises(LoginRequired):
        await desk.token()


async def test_connections_are_renewed_apart_from_each_other(desk: Desk) -> None:
    desk.vault.put_grant(MISOCA, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(5))
    desk.clock.advance(LIFE_S)
    waiting = anyio.Event()

    async def blocked() -> TokenResult:
        other = await desk.custodian.access_token(MISOCA)
        assert other.get_secret_value() == access(6)
        waiting.set()
        return tokens(1)

    desk.provider.steps = [blocked, tokens(6)]

    assert await desk.token() == access(1)
    assert waiting.is_set()


# many at once


async def test_twenty_calls_at_once_make_one_request(desk: Desk) -> None:
    desk.clock.advance(LIFE_S)
    desk.provider.steps = [tokens(1)]
    got = await _together(20, desk.token)

    assert got == [access(1)] * 20
    assert desk.provider.sent == [refresh(0)]


async def test_an_early_renewal_keeps_nobody_else_waiting(desk: Desk) -> None:
    desk.clock.advance(EARLY_S)
    during: list[object] = []

    async def slow() -> TokenResult:
        during.extend(await _together(5, desk.token))
        during.append(await desk.another().token())
        return tokens(1)

    desk.provider.steps = [slow]

    assert await desk.token() == access(1)
    assert during == [access(0)] * 6


async def test_a_process_that_lost_the_race_waits_and_takes_what_the_other_stored(desk: Desk) -> None:
    desk.clock.advance(LIFE_S)
    waiting, stored = anyio.Event(), anyio.Event()

    async def until_stored(seconds: float) -> None:
        assert 0.03 <= seconds <= 0.1
        waiting.set()
        await stored.wait()

    other = TokenCustodian(desk.vault, desk.clock, Presence(desk.folder), Script(), sleep=until_stored)
    got: list[object] = []
    async with anyio.create_task_group() as tasks:

        async def slow() -> TokenResult:
            tasks.start_soon(_into, got, lambda: other.access_token(FREEE))
            await waiting.wait()
            return tokens(1)

        desk.provider.steps = [slow]
        got.append(await desk.custodian.access_token(FREEE))
        stored.set()

    assert got == [tokens(1).access_token] * 2


async def test_who_waits_in_vain_is_told_so_and_never_refreshes_anyway(desk: Desk) -> None:
    desk.clock.advance(LIFE_S)
    Renewals(desk.vault, desk.clock, desk.presence).begin(desk.vault.grant(FREEE))
    other = desk.another()
    other.custodian = TokenCustodian(other.vault, other.clock, other.presence, other.provider, sleep=_no_time_passes)

    with pytest.raises(ProviderUnavailable, match="Another process is still renewing"):
        await other.token()
    assert other.provider.sent == []


async def test_a_failure_is_shared_by_all_who_waited_for_it(desk: Desk) -> None:
    desk.clock.advance(LIFE_S)
    desk.provider.steps = [UNSENT]
    got = await _together(5, lambda: _outcome(desk))

    assert got == ["provider_unavailable"] * 5
    assert desk.provider.sent == [refresh(0)]


@pytest.mark.sqlite_only
async def test_no_transaction_is_open_during_the_token_call(desk: Desk, home: Path) -> None:
    async def endpoint() -> TokenResult:
        database = sqlite3.connect(home / "seikyu.db", timeout=0, isolation_level=None)
        database.execute("BEGIN EXCLUSIVE")
        database.execute("UPDATE secret SET provider = provider")
        database.execute("COMMIT")
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0  # no reader either
        database.close()
        return tokens(1)

    desk.clock.advance(LIFE_S)
    desk.provider.steps = [endpoint]

    assert await desk.token() == access(1)


async def test_a_caller_that_is_cancelled_does_not_lose_the_answer(desk: Desk) -> None:
    desk.clock.advance(LIFE_S)
    async with anyio.create_task_group() as tasks:

        async def cancelled_meanwhile() -> TokenResult:
            tasks.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint()
            return tokens(1)

        desk.provider.steps = [cancelled_meanwhile]
        tasks.start_soon(desk.token)

    assert await desk.token() == access(1)
    assert desk.provider.sent == [refresh(0)]


# the provider called it expired


async def test_a_refused_token_is_renewed_once_for_all_who_held_it(desk: Desk) -> None:
    desk.provider.steps = [tokens(1)]
    got = await _together(5, lambda: desk.token(refused=access(0)))

    assert got == [access(1)] * 5
    assert await desk.token(refused=access(0)) == access(1)
    assert desk.provider.sent == [refresh(0)]


async def test_a_refused_token_is_not_handed_out_again_when_it_cannot_be_renewed(desk: Desk) -> None:
    desk.provider.steps = [UNSENT]

    with pytest.raises(ProviderUnavailable):
        await desk.token(refused=access(0))
    assert await desk.token() == access(0)


# the provider says no


@pytest.mark.parametrize("code", sorted(REFUSALS))
async def test_a_refusal_asks_for_a_login_and_keeps_the_row(desk: Desk, code: str) -> None:
    desk.provider.steps = [TokenRefused(code)]
    desk.clock.advance(LIFE_S)

    with pytest.raises(LoginRequired, match="freee-tokyo") as caught:
        await desk.token()
    assert "seikyu connect freee-tokyo" in caught.value.say("en")
    assert desk.vault.state(FREEE) == "needs_login"
    assert desk.vault.grant(FREEE).secret.access_token == tokens(0).access_token


async def test_after_a_refusal_nothing_is_asked_again(desk: Desk) -> None:
    desk.provider.steps = [TokenRefused("invalid_grant")]
    desk.clock.advance(LIFE_S)
    got = await _together(5, lambda: _outcome(desk))
    desk.clock.advance(86_400)

    assert [*got, await _outcome(desk)] == ["login_required"] * 6
    assert desk.provider.sent == [refresh(0)]


async def test_a_refused_early_renewal_lets_the_old_token_serve_to_its_end(desk: Desk) -> None:
    desk.provider.steps = [TokenRefused("invalid_grant")]
    desk.clock.advance(EARLY_S)
    served = [await desk.token(), await desk.token()]

    assert served == [access(0), access(0)]
    assert desk.vault.state(FREEE) == "needs_login"
    with pytest.raises(LoginRequired):
        await desk.token(refused=access(0))
    desk.clock.advance(LIFE_S)
    with pytest.raises(LoginRequired):
        await desk.token()


@pytest.mark.fault("F45")
async def test_a_refusal_because_another_process_renewed_is_not_shown(desk: Desk) -> None:
    async def renewed_elsewhere() -> TokenResult:
        desk.clock.advance(LEASE_S + 1)  # our process slept
        other = desk.another(tokens(1))
        await desk.sleep(31)
        assert await _outcome(other) == "provider_unavailable"
        desk.clock.advance(31)
        assert await other.token() == access(1)
        return TokenRefused("invalid_grant")

    desk.clock.advance(LIFE_S)
    desk.provider.steps = [renewed_elsewhere]

    assert await desk.token() == access(1)
    assert desk.vault.state(FREEE) == "ready"


async def test_a_code_that_is_no_refusal_proves_nothing(desk: Desk) -> None:
    desk.provider.steps = [TokenRefused("temporarily_unavailable")]
    desk.clock.advance(EARLY_S)

    assert await desk.token() == access(0)
    assert desk.vault.state(FREEE) == "refresh_unknown"


async def test_a_login_mends_every_state(desk: Desk) -> None:
    desk.provider.steps = [TokenRefused("invalid_grant")]
    desk.clock.advance(LIFE_S)
    with pytest.raises(LoginRequired):
        await desk.token()
    desk.connect(tokens(9))

    assert desk.vault.state(FREEE) == "ready"
    assert await desk.token() == access(9)


async def test_fewer_rights_stop_the_work_and_the_new_tokens_are_kept(desk: Desk) -> None:
    desk.provider.steps = [tokens(1, scope="read")]
    desk.clock.advance(EARLY_S)

    for _ in range(2):
        with pytest.raises(LoginRequired, match="fewer rights"):
            await desk.token()
    assert desk.vault.state(FREEE) == "needs_login"
    assert desk.vault.grant(FREEE).secret.refresh_token == tokens(1).refresh_token
    assert desk.provider.sent == [refresh(0)]


async def test_the_same_rights_in_another_order_or_more_of_them_go_on(desk: Desk) -> None:
    desk.provider.steps = [tokens(1, scope="write read extra")]
    desk.clock.advance(LIFE_S)

    assert await desk.token() == access(1)


# the provider says nothing


async def test_what_was_not_sent_may_be_sent_again_after_a_moment(desk: Desk) -> None:
    desk.provider.steps = [UNSENT, UNSENT, tokens(1)]
    desk.clock.advance(LIFE_S)
    first = await _outcome(desk)
    resting = await _outcome(desk)
    desk.clock.advance(6)
    second = await _outcome(desk)
    desk.clock.advance(6)

    assert [first, resting, second] == ["provider_unavailable"] * 3
    assert await desk.token() == access(1)
    assert desk.provider.sent == [refresh(0)] * 3


@pytest.mark.parametrize("answer", [LOST, PUT_OFF], ids=["lost", "put off"])
async def test_an_answer_that_says_nothing_lets_the_old_token_serve_and_asks_nothing_while_it_lives(
    desk: Desk, answer: TokenResult
) -> None:
    desk.provider.steps = [answer]
    desk.clock.advance(EARLY_S)
    served = [await desk.token()]
    desk.clock.advance(600)
    served.append(await desk.token())

    assert served == [access(0), access(0)]
    assert desk.vault.state(FREEE) == "refresh_unknown"
    assert desk.provider.sent == [refresh(0)]


async def test_a_used_up_refresh_token_is_tried_once_more_when_nothing_is_left_to_lose(desk: Desk) -> None:
    desk.provider.steps = [LOST, tokens(1)]
    desk.clock.advance(EARLY_S)
    await desk.token()
    desk.clock.advance(LIFE_S)

    assert await desk.token() == access(1)
    assert desk.vault.state(FREEE) == "ready"


async def test_after_a_lost_answer_the_last_try_waits_for_the_first_to_land(desk: Desk) -> None:
    desk.provider.steps = [LOST, tokens(1)]
    desk.clock.advance(LIFE_S)
    got = [await _outcome(desk), await _outcome(desk)]
    desk.clock.advance(31)

    assert got == ["provider_unavailable"] * 2
    assert await desk.token() == access(1)


@pytest.mark.parametrize("last", [LOST, TokenRefused("invalid_grant")])
async def test_no_refresh_token_is_sent_a_third_time(desk: Desk, last: TokenResult) -> None:
    desk.provider.steps = [LOST, last]
    desk.clock.advance(EARLY_S)
    await desk.token()
    desk.clock.advance(LIFE_S)
    got: list[str] = []
    for _ in range(3):
        got.append(await _outcome(desk))
        desk.clock.advance(3600)

    assert got == ["login_required"] * 3
    assert desk.vault.state(FREEE) == "needs_login"
    assert desk.provider.sent == [refresh(0)] * 2


@pytest.mark.parametrize("put_off", [PUT_OFF, TokenRefused("server_error")])
async def test_a_provider_in_maintenance_costs_no_login_however_long_it_takes(desk: Desk, put_off: TokenResult) -> None:
    desk.provider.steps = [put_off, put_off, put_off, put_off, tokens(1)]
    desk.clock.advance(LIFE_S)
    got: list[str] = []
    for _ in range(4):
        got += [await _outcome(desk), await _outcome(desk)]  # the second one finds it resting
        desk.clock.advance(REST_UNKNOWN_S)

    assert got == ["provider_unavailable"] * 8
    assert await desk.token() == access(1)
    assert desk.provider.sent == [refresh(0)] * 5


async def test_a_last_try_that_was_not_sent_is_not_used_up(desk: Desk) -> None:
    desk.provider.steps = [LOST, UNSENT, tokens(1)]
    for _ in range(2):
        desk.clock.advance(LIFE_S)
        assert await _outcome(desk) == "provider_unavailable"
    desk.clock.advance(60)

    assert await desk.token() == access(1)


async def test_a_call_that_breaks_counts_as_a_lost_answer(desk: Desk) -> None:
    desk.provider.steps = [RuntimeError("a bug")]
    desk.clock.advance(LIFE_S)

    with pytest.raises(RuntimeError, match="a bug"):
        await desk.token()
    assert desk.vault.state(FREEE) == "refresh_unknown"


def test_a_token_call_is_cut_off_before_its_lease_ends() -> None:
    assert CALL_CAP_S < LEASE_S


# the holder of the lease


async def test_a_process_that_stood_still_past_its_lease_sends_nothing(desk: Desk) -> None:
    async def stand_still() -> None:
        desk.clock.advance(LEASE_S)

    desk.clock.advance(LIFE_S)
    desk.provider.before_sending = stand_still
    with pytest.raises(ProviderUnavailable):
        await desk.token()
    desk.clock.advance(REST_UNSENT_S)

    assert desk.provider.sent == []
    assert await desk.another(tokens(1)).token() == "access-1-5ec4e7"


async def test_a_process_whose_right_another_took_sends_nothing_even_if_the_clock_was_set_back(desk: Desk) -> None:
    async def stand_still() -> None:
        desk.clock.advance(LEASE_S + 1)
        assert await _outcome(desk.another()) == "provider_unavailable"
        desk.clock.advance(-LEASE_S - 1)

    desk.clock.advance(LIFE_S)
    desk.provider.before_sending = stand_still

    assert await _outcome(desk) == "provider_unavailable"
    assert desk.provider.sent == []
    assert desk.vault.state(FREEE) == "refresh_unknown"


async def test_a_login_that_was_given_up_just_before_its_renewal_leaves_is_not_renewed(desk: Desk) -> None:
    async def disconnected() -> None:
        desk.vault.forget(FREEE)

    desk.clock.advance(LIFE_S)
    desk.provider.before_sending = disconnected

    assert await _outcome(desk) == "login_required"
    assert desk.provider.sent == []


async def test_a_late_answer_is_kept_as_long_as_nobody_stored_a_newer_one(desk: Desk) -> None:
    async def overslept() -> TokenResult:
        desk.clock.advance(LEASE_S + 1)
        assert await _outcome(desk.another()) == "provider_unavailable"
        assert desk.vault.state(FREEE) == "refresh_unknown"
        return tokens(1)

    desk.clock.advance(LIFE_S)
    desk.provider.steps = [overslept]

    assert await desk.token() == access(1)
    assert desk.vault.state(FREEE) == "ready"


async def test_a_late_answer_does_not_undo_a_login(desk: Desk) -> None:
    async def connected_again() -> TokenResult:
        desk.vault.forget(FREEE)
        desk.connect(tokens(9))
        return tokens(1)

    desk.clock.advance(LIFE_S)
    desk.provider.steps = [connected_again]

    assert await desk.token() == access(9)
    assert desk.vault.grant(FREEE).secret.refresh_token == tokens(9).refresh_token


async def test_a_late_failure_does_not_undo_a_login(desk: Desk) -> None:
    async def connected_again() -> TokenResult:
        desk.connect(tokens(9))
        return TokenRefused("invalid_grant")

    desk.clock.advance(LIFE_S)
    desk.provider.steps = [connected_again]

    assert await desk.token() == access(9)
    assert desk.vault.state(FREEE) == "ready"


def test_a_lease_is_given_up_only_by_who_saw_that_very_lease(desk: Desk) -> None:
    ours = Renewals(desk.vault, desk.clock, desk.presence)
    first = ours.begin(desk.vault.grant(FREEE))
    assert first is not None
    seen = desk.vault.grant(FREEE)
    ours.finish(first, UNSENT)
    desk.clock.advance(1)
    second = ours.begin(desk.vault.grant(FREEE))
    assert second is not None

    ours.give_up(seen)
    assert desk.vault.grant(FREEE).state is GrantState.REFRESHING
    assert ours.finish(second, tokens(1)) == tokens(1).access_token


async def test_new_tokens_are_kept_even_if_the_database_was_locked_at_first(
    desk: Desk, home: Path, clock: SetClock, database_url: SecretStr | None
) -> None:
    store = BusyStore(database_url or home / "seikyu.db")
    pauses: list[float] = []
    custodian = TokenCustodian(Vault(store, clock, ring), clock, desk.presence, desk.provider, pause=pauses.append)

    async def locked_meanwhile() -> TokenResult:
        store.times_busy = 2
        return tokens(1)

    clock.advance(LIFE_S)
    desk.provider.steps = [locked_meanwhile]
    got = await custodian.access_token(FREEE)
    store.close()

    assert (got, store.times_busy) == (tokens(1).access_token, 0)
    assert pauses == [KEEP_PAUSE_S] * 2
    assert await desk.token() == access(1)


class BusyStore(Store):
    """A database that stays locked as often as it is told, without the 30 s of waiting."""

    times_busy = 0

    @contextmanager
    def write(self) -> Generator[Tx]:
        if self.times_busy:
            self.times_busy -= 1
            raise StoreBusy(Text("", "Locked."))
        with super().write() as tx:
            yield tx


async def test_a_disconnection_counts_at_once(desk: Desk) -> None:
    await desk.token()
    desk.vault.forget(FREEE)

    with pytest.raises(LoginRequired, match="no stored secret"):
        await desk.token()


@pytest.mark.fault("F47")
async def test_a_lease_of_a_process_that_cannot_be_asked_is_waited_for(desk: Desk) -> None:
    desk.clock.advance(LIFE_S)
    far = Presence(desk.folder / "another-machine")
    Renewals(desk.vault, desk.clock, far).begin(desk.vault.grant(FREEE))
    begun_at = desk.clock.now()
    got = await _outcome(desk)

    assert got == "provider_unavailable"
    assert desk.clock.now() - begun_at >= timedelta(seconds=LEASE_S)
    assert desk.vault.grant(FREEE).state is GrantState.REFRESH_UNKNOWN
    far.leave()


# nothing secret is seen, nothing undecryptable is overwritten


async def test_a_row_that_does_not_open_is_left_as_it_is(desk: Desk, store: Store) -> None:
    other = TokenCustodian(Vault(store, desk.clock, lambda: ring(2)), desk.clock, desk.presence, desk.provider)
    before = _row(store)
    desk.clock.advance(LIFE_S)

    with pytest.raises(SeikyuError, match="does not open"):
        await other.access_token(FREEE)
    assert _row(store) == before
    assert desk.provider.sent == []


async def test_a_key_that_vanishes_during_the_call_does_not_lose_the_new_tokens(desk: Desk, store: Store) -> None:
    rings = [ring()]
    vault = Vault(store, desk.clock, lambda: rings[0])
    custodian = TokenCustodian(vault, desk.clock, desk.presence, desk.provider)

    async def key_vanishes() -> TokenResult:
        rings.clear()
        return tokens(1)

    desk.clock.advance(LIFE_S)
    desk.provider.steps = [key_vanishes]

    assert await custodian.access_token(FREEE) == tokens(1).access_token
    assert await desk.token() == access(1)


async def test_no_repr_and_no_traceback_of_the_custody_shows_a_secret(desk: Desk) -> None:
    desk.provider.steps = [replace(LOST), TokenRefused("invalid_grant")]
    desk.clock.advance(LIFE_S)
    shown = f"{desk.custodian!r} {desk.custodian.__dict__} {desk.vault.grant(FREEE)} {tokens(0)}"
    for _ in range(2):
        with pytest.raises(SeikyuError) as caught:
            await desk.custodian.access_token(FREEE, refused=tokens(0).access_token)
        shown += told(caught.value) + caught.value.say("ja") + caught.value.say("en")
        desk.clock.advance(60)

    assert "freee-tokyo" in shown
    assert CLIENT_SECRET not in shown
    assert refresh(0) not in shown
    assert access(0) not in shown


async def test_over_a_real_socket_each_expiry_is_one_request(
    vault: Vault, clock: SetClock, presence: Presence, server: StrictServer
) -> None:
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=server.login())
    custodian = TokenCustodian(vault, clock, presence, HttpRefresh(server.port))
    for _ in range(20):
        clock.advance(LIFE_S)
        await _together(4, lambda: custodian.access_token(FREEE))

    assert (server.requests, server.reuses) == (20, 0)
    assert (await custodian.access_token(FREEE)).get_secret_value() == "access-20"


async def _together(count: int, call: Callable[[], Awaitable[object]]) -> list[object]:
    got: list[object] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(_into, got, call)
    return got


async def _into(got: list[object], call: Callable[[], Awaitable[object]]) -> None:
    got.append(await call())


async def _outcome(desk: Desk) -> str:
    try:
        return await desk.token()
    except SeikyuError as error:
        return error.code


async def _no_time_passes(seconds: float) -> None:
    del seconds


def _row(store: Store) -> object:
    with store.read() as tx:
        return tx.one("secret", connection=FREEE.name)
