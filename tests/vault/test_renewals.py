from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from gate.lost_store import LostStore
from seikyu.errors import ConfigurationError, LoginRequired, ProviderUnavailable, StoreBusy, Text
from seikyu.store.database import Store
from seikyu.store.presence import Presence
from seikyu.vault.credentials import ApiKeyCredential
from seikyu.vault.grants import TokenRefused, TokenResult
from seikyu.vault.keys import create_key_file
from seikyu.vault.renewals import (
    CLOCK_SLACK_S,
    KEEP_TRIES,
    REST_UNKNOWN_S,
    REST_UNSENT_S,
    Advice,
    Renewals,
    advise,
)
from seikyu.vault.secrets import GrantState, Vault
from seikyu.vault.tokens import TokenCustodian
from vault.fakes import (
    API_KEY,
    CLIENT_ID,
    CLIENT_SECRET,
    FREEE,
    LIFE_S,
    LOST,
    MFK,
    UNSENT,
    Script,
    SetClock,
    ring,
    tokens,
)


@pytest.fixture
def connected(vault: Vault) -> Vault:
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(0))
    return vault


@pytest.fixture
def renewals(connected: Vault, clock: SetClock, presence: Presence) -> Renewals:
    return Renewals(connected, clock, presence)


def _begun(renewals: Renewals, vault: Vault) -> Any:
    lease = renewals.begin(vault.grant(FREEE))
    assert lease is not None
    return lease


@pytest.mark.parametrize(
    "result, ended",
    [
        (LOST, (GrantState.REFRESH_UNKNOWN, REST_UNKNOWN_S)),
        (TokenRefused("server_error"), (GrantState.REFRESH_UNKNOWN, REST_UNKNOWN_S)),
        (UNSENT, (GrantState.READY, REST_UNSENT_S)),
        (TokenRefused("invalid_grant"), (GrantState.NEEDS_LOGIN, None)),
    ],
)
def test_how_a_renewal_ended_says_how_long_it_rests(
    renewals: Renewals, connected: Vault, clock: SetClock, result: TokenResult, ended: tuple[GrantState, int | None]
) -> None:
    lease = _begun(renewals, connected)
    clock.advance(2)
    token = renewals.finish(lease, result)

    grant, (state, rest_s) = connected.grant(FREEE), ended
    until = None if rest_s is None else clock.now() + timedelta(seconds=rest_s)
    assert (token, grant.state, grant.lease_owner, grant.lease_until) == (None, state, None, until)


def test_a_grant_that_is_no_longer_what_was_read_is_not_leased(renewals: Renewals, connected: Vault) -> None:
    seen = connected.grant(FREEE)
    _begun(renewals, connected)

    assert renewals.begin(seen) is None


def test_nobody_s_lease_cannot_be_given_up(renewals: Renewals, connected: Vault) -> None:
    renewals.finish(_begun(renewals, connected), UNSENT)
    resting = connected.grant(FREEE)
    renewals.give_up(resting)

    assert resting.lease_until is not None
    assert connected.grant(FREEE) == resting


@pytest.mark.parametrize("ahead_s, advice", [(CLOCK_SLACK_S, Advice.SERVE), (CLOCK_SLACK_S + 1, Advice.RENEW_EARLY)])
def test_only_a_clock_set_back_by_more_than_its_slack_makes_a_token_old(
    connected: Vault, clock: SetClock, ahead_s: int, advice: Advice
) -> None:
    now: datetime = clock.now() - timedelta(seconds=ahead_s)

    assert advise(connected.grant(FREEE), now, refused=None, is_gone=lambda _name: False) is advice


class LockedVault(Vault):
    """Its database takes no new tokens."""

    tries = 0

    def replace_grant(self, *_grant: Any, **_told: Any) -> bool:
        self.tries += 1
        raise StoreBusy(Text("", "Locked."))


def test_new_tokens_are_written_three_times_and_then_the_loss_is_told(
    connected: Vault, store: Store, clock: SetClock, presence: Presence
) -> None:
    vault = LockedVault(store, clock, ring)
    renewals = Renewals(vault, clock, presence, pause=lambda _seconds: None)
    lease = _begun(renewals, connected)

    with pytest.raises(StoreBusy, match="Locked"):
        renewals.finish(lease, tokens(1))
    assert vault.tries == KEEP_TRIES


async def test_the_provider_is_asked_for_the_connection_whose_token_is_over(
    connected: Vault, clock: SetClock, presence: Presence
) -> None:
    asked: list[object] = []

    async def refresh(connection: object, **_secrets: object) -> TokenResult:
        asked.append(connection)
        return TokenRefused("temporarily_unavailable")

    clock.advance(LIFE_S)
    with pytest.raises(ProviderUnavailable) as told:
        await TokenCustodian(connected, clock, presence, refresh).access_token(FREEE)

    assert asked == [FREEE]
    assert told.value.what.en == (
        "The token of connection freee-tokyo could not be renewed. The renewal of the token was refused."
    )


async def test_a_grant_without_a_refresh_token_is_told_as_a_login_that_is_over(
    vault: Vault, clock: SetClock, presence: Presence
) -> None:
    answer = tokens(0, refresh=False)
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=answer)
    clock.advance(LIFE_S)
    provider = Script()

    with pytest.raises(LoginRequired) as told:
        await TokenCustodian(vault, clock, presence, provider).access_token(FREEE)
    assert told.value.next_step.en == "Run `seikyu connect freee-tokyo`."
    assert provider.sent == []


async def test_a_refused_api_key_names_the_command_that_mends_it(vault: Vault) -> None:
    vault.put_api_key(MFK, SecretStr(API_KEY))

    with pytest.raises(LoginRequired) as told:
        await ApiKeyCredential(vault, MFK).header(refused=API_KEY)
    assert told.value.next_step.en == "Run `seikyu connect mfk-main`."


@pytest.mark.parametrize("place, fault", [("home", "EEXIST"), ("home/below", "ENOTDIR")])
def test_a_home_that_is_no_folder_is_named_with_its_fault(tmp_path: Path, place: str, fault: str) -> None:
    (tmp_path / "home").write_text("not a folder", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=rf"{place} cannot be used as a folder \({fault}\)"):
        create_key_file(tmp_path / place)


@pytest.mark.parametrize("loses", ["commit", "answer"])
def test_a_right_to_renew_is_taken_only_when_it_is_there_and_given_back_in_any_case(
    home: Path, clock: SetClock, presence: Presence, loses: Literal["commit", "answer"]
) -> None:
    store = LostStore(home / "seikyu.db")
    vault = Vault(store, clock, ring)
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(0))
    renewals, seen = Renewals(vault, clock, presence), vault.grant(FREEE)
    store.loses = loses
    lease = renewals.begin(seen)
    begun = vault.grant(FREEE)
    held = lease or renewals.begin(seen)
    assert held is not None

    store.loses = loses
    renewals.finish(held, UNSENT)
    ended = vault.grant(FREEE)

    assert (lease is not None) is (loses == "answer")
    assert (begun.state, begun.lease_owner) == (
        (GrantState.REFRESHING, presence.name) if loses == "answer" else (GrantState.READY, None)
    )
    rest = clock.now() + timedelta(seconds=REST_UNSENT_S)
    assert (ended.state, ended.lease_owner, ended.lease_until) == (GrantState.READY, None, rest)
    store.close()
