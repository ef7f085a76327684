import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretBytes, SecretStr

from seikyu.errors import ConfigurationError, LoginRequired, StoreDamaged, Text
from seikyu.models import timestamp
from seikyu.store.database import Store
from seikyu.vault.keys import KeyRing, MasterKey
from seikyu.vault.seals import Label, seal, unseal
from seikyu.vault.secrets import GrantState, Vault
from vault.fakes import (
    API_KEY,
    CLIENT_ID,
    CLIENT_SECRET,
    FREEE,
    LIFE_S,
    MFK,
    MISOCA,
    START,
    SetClock,
    ring,
    tokens,
    told,
)

LABEL = Label("mfk-main", "mfkessai", MFK.base_url, "api_key", 1)


def connect(vault: Vault, number: int = 0) -> None:
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(number))


def put_key(vault: Vault) -> None:
    vault.put_api_key(MFK, SecretStr(API_KEY))


def tamper(home: Path, statement: str, *values: str) -> None:
    with sqlite3.connect(home / "seikyu.db") as database:
        database.execute(statement, values)
    database.close()


def rows(home: Path) -> list[tuple[str, ...]]:
    database = sqlite3.connect(home / "seikyu.db")
    found = database.execute("SELECT * FROM secret ORDER BY connection").fetchall()
    database.close()
    return found


# what goes in comes out


def test_an_api_key_comes_back(vault: Vault) -> None:
    put_key(vault)

    assert vault.api_key(MFK).get_secret_value() == API_KEY
    assert vault.state(MFK) == "ready"


def test_a_grant_comes_back(vault: Vault) -> None:
    connect(vault)
    grant = vault.grant(FREEE)

    assert grant.secret.client_id == CLIENT_ID
    assert grant.secret.client_secret.get_secret_value() == CLIENT_SECRET
    assert grant.secret.access_token == tokens(0).access_token
    assert grant.secret.refresh_token == tokens(0).refresh_token
    assert (grant.generation, (grant.expires_at - grant.obtained_at).total_seconds()) == (1, LIFE_S)


def test_a_provider_that_names_an_endless_life_is_not_taken_at_its_word(vault: Vault) -> None:
    answer = tokens(0)
    endless = type(answer)(answer.access_token, 10**18, answer.refresh_token, answer.scope)
    vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=endless)

    assert vault.state(FREEE) == "ready"


def test_connecting_again_replaces_the_secret(vault: Vault) -> None:
    connect(vault, 0)
    connect(vault, 1)

    assert vault.grant(FREEE).secret.access_token == tokens(1).access_token
    assert vault.grant(FREEE).generation == 2


def test_what_was_never_stored_or_was_forgotten_is_missing(vault: Vault) -> None:
    before = vault.state(MFK), vault.has(MFK), vault.forget(MFK)
    put_key(vault)
    forgotten = vault.has(MFK), vault.forget(MFK), vault.has(MFK)

    assert before == ("missing", False, False)
    assert forgotten == (True, True, False)
    with pytest.raises(LoginRequired, match="mfk-main") as caught:
        vault.api_key(MFK)
    assert "seikyu connect mfk-main" in caught.value.say("en")


def test_a_secret_is_not_used_for_another_provider_than_it_was_given_for(vault: Vault) -> None:
    put_key(vault)
    moved = type(MFK)(MFK.name, "freee", MFK.environment, MFK.company, MFK.base_url)

    assert (vault.has(moved), vault.state(moved)) == (False, "missing")
    with pytest.raises(LoginRequired):
        vault.grant(moved)


# a row that is not ours, or not as we wrote it


def test_a_row_moved_to_another_connection_does_not_open(vault: Vault, home: Path) -> None:
    put_key(vault)
    tamper(home, "UPDATE secret SET connection = 'mfk-other'")
    other = type(MFK)("mfk-other", MFK.provider, MFK.environment, MFK.company, MFK.base_url)

    assert vault.state(other) == "undecryptable"
    with pytest.raises(StoreDamaged, match="mfk-other"):
        vault.api_key(other)


def test_two_rows_that_changed_their_seals_do_not_open(vault: Vault, home: Path) -> None:
    connect(vault)
    vault.put_grant(MISOCA, client_id=CLIENT_ID, client_secret=SecretStr("other"), answer=tokens(7))
    seals = {row[0]: row[4] for row in rows(home)}
    tamper(home, "UPDATE secret SET sealed = ? WHERE connection = ?", seals[MISOCA.name], FREEE.name)

    assert vault.state(FREEE) == "undecryptable"
    assert vault.state(MISOCA) == "ready"


@pytest.mark.parametrize(
    "change",
    [
        "generation = 2",
        "generation = 9223372036854775807",
        "generation = 'one'",
        "sealed = ''",
        "sealed = '1.'",
        "sealed = X'00'",
        "sealed = substr(sealed, 3)",
        "sealed = sealed || '='",
        "sealed = '2' || substr(sealed, 2)",
        "expires_at = 'never'",
        "expires_at = NULL",
        "state = 'splendid'",
    ],
)
def test_a_row_that_was_changed_is_named_and_kept(vault: Vault, home: Path, change: str) -> None:
    connect(vault)
    tamper(home, f"UPDATE secret SET {change}")  # noqa: S608 - the changes stand above
    before = rows(home)

    assert vault.state(FREEE) == "undecryptable"
    with pytest.raises(StoreDamaged, match="freee-tokyo does not open"):
        vault.grant(FREEE)
    assert rows(home) == before


def test_a_seal_does_not_open_with_a_single_bit_flipped() -> None:
    key = ring().current
    sealed = seal(key, LABEL, SecretBytes(b"{}"))
    opened = [unseal(key, LABEL, flipped) for flipped in _with_one_bit_flipped(sealed)]

    assert unseal(key, LABEL, sealed) == SecretBytes(b"{}")
    assert opened == [None] * (7 * len(sealed))


def _with_one_bit_flipped(text: str) -> list[str]:
    return [text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :] for at in range(len(text)) for bit in range(7)]


@pytest.mark.parametrize(
    "label",
    [
        Label("mfk-other", "mfkessai", "https://api.example.com", "api_key", 1),
        Label("mfk-main", "freee", "https://api.example.com", "api_key", 1),
        Label("mfk-main", "mfkessai", "https://evil.example.com", "api_key", 1),
        Label("mfk-main", "mfkessai", "https://api.example.com", "oauth", 1),
        Label("mfk-main", "mfkessai", "https://api.example.com", "api_key", 2),
    ],
)
def test_a_seal_opens_under_its_own_label_only(label: Label) -> None:
    key = ring().current
    sealed = seal(key, LABEL, SecretBytes(b"{}"))

    assert unseal(key, label, sealed) is None


def test_the_same_secret_never_looks_the_same_twice() -> None:
    key = ring().current
    sealed = {seal(key, LABEL, SecretBytes(b"{}")) for _ in range(100)}

    assert len(sealed) == 100
    assert len({each[:18] for each in sealed}) == 100


@pytest.mark.parametrize("generation", ["1", "'one'", "X'00'", "1.5", "-3", "9223372036854775807"])
def test_a_damaged_row_is_mended_by_connecting_again(vault: Vault, home: Path, generation: str) -> None:
    connect(vault)
    damage = "sealed = 'x', state = 'needs_login', lease_owner = 'x', lease_until = 'x'"
    tamper(home, f"UPDATE secret SET {damage}, generation = {generation}")  # noqa: S608 - the changes stand above
    connect(vault, 1)

    assert vault.state(FREEE) == "ready"


# keys


def test_a_row_sealed_with_another_key_is_named_with_both_key_ids(store: Store, clock: SetClock) -> None:
    connect(Vault(store, clock, lambda: ring(1)))
    vault = Vault(store, clock, lambda: ring(2))

    assert vault.state(FREEE) == "undecryptable"
    with pytest.raises(StoreDamaged, match=f"{ring(1).current.id}; ours is {ring(2).current.id}"):
        vault.grant(FREEE)


def test_a_row_that_names_our_key_but_was_sealed_with_another_does_not_open(
    store: Store, clock: SetClock, home: Path
) -> None:
    connect(Vault(store, clock, lambda: ring(1)))
    tamper(home, "UPDATE secret SET key_id = ?", ring(2).current.id)

    assert Vault(store, clock, lambda: ring(2)).state(FREEE) == "undecryptable"


def test_a_retired_key_still_opens_and_the_current_one_seals(store: Store, clock: SetClock, home: Path) -> None:
    connect(Vault(store, clock, lambda: ring(1)))
    vault = Vault(store, clock, lambda: ring(2, 1))
    put_key(vault)

    assert (vault.state(FREEE), vault.state(MFK)) == ("ready", "ready")
    assert [row[3] for row in rows(home)] == [ring(1).current.id, ring(2).current.id]


def test_a_key_that_another_process_brought_in_is_found_without_a_restart(store: Store, clock: SetClock) -> None:
    rings = [ring(1)]
    vault = Vault(store, clock, lambda: rings[-1])
    put_key(vault)
    rings.append(ring(2, 1))
    connect(Vault(store, clock, lambda: rings[-1]))

    assert vault.state(FREEE) == "ready"


def test_without_a_key_nothing_is_stored_and_presence_is_still_known(store: Store, clock: SetClock) -> None:
    put_key(Vault(store, clock, ring))
    keyless = Vault(store, clock, _no_key)

    assert keyless.has(MFK)
    assert keyless.state(MFK) == "undecryptable"
    with pytest.raises(ConfigurationError):
        connect(keyless)
    assert not keyless.has(FREEE)


def _no_key() -> KeyRing:
    raise ConfigurationError(Text("", "There is no master key."))


# nothing secret is seen


def test_no_file_of_the_home_holds_a_secret_in_plain_text_and_all_are_private(vault: Vault, home: Path) -> None:
    put_key(vault)
    connect(vault)
    files = [path for path in home.rglob("*") if path.is_file()]
    everything = b"".join(path.read_bytes() for path in files)

    assert {path.name for path in files} == {"seikyu.db", "seikyu.db-wal", "seikyu.db-shm"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert b"freee-tokyo" in everything
    for secret in _secrets():
        assert secret.encode() not in everything


def _secrets() -> list[str]:
    return [API_KEY, CLIENT_SECRET, CLIENT_ID, "access-0-5ec4e7", "refresh-0-5ec4e7"]


@pytest.mark.parametrize("show", [repr, str, "{0!r} {0}".format])
def test_no_repr_shows_a_secret(vault: Vault, show: Callable[[object], str]) -> None:
    put_key(vault)
    connect(vault)
    grant = vault.grant(FREEE)
    shown = " ".join(show(each) for each in (vault, grant, grant.secret, vault.api_key(MFK), vault.__dict__))

    for secret in _secrets():
        assert secret == CLIENT_ID or secret not in shown
    assert "5ec4e7" not in shown


@pytest.mark.parametrize("plain", [b'{"api_key": 5}', b'{"api_key": "mfk-7b1e55c0de", "more": 1}', b"mfk-7b1e55c0de"])
def test_no_traceback_shows_a_secret_even_with_the_variables_of_every_frame(
    vault: Vault, home: Path, plain: bytes
) -> None:
    put_key(vault)
    tamper(home, "UPDATE secret SET sealed = ?", seal(ring().current, LABEL, SecretBytes(plain)))

    with pytest.raises(StoreDamaged) as caught:
        vault.api_key(MFK)
    shown = told(caught.value)

    assert "plain = SecretBytes(b'**********')" in shown
    assert "7b1e55" not in shown


def test_what_an_earlier_version_sealed_opens_in_this_one() -> None:
    key = MasterKey(SecretBytes(b"k" * 32))
    label = Label("mfk-main", "mfkessai", "https://a.example", "api_key", 3)

    opened = unseal(key, label, "1.m8TgzvJ-8Ol4qb7VWMRHlMQEXw6TC4VBPE0rBr56Wdw=")

    assert opened == SecretBytes(b"kept")


def test_the_key_is_read_once_for_many_secrets(store: Store, clock: SetClock) -> None:
    read = list[KeyRing]()

    def source() -> KeyRing:
        read.append(ring())
        return read[-1]

    vault = Vault(store, clock, source)
    put_key(vault)
    connect(vault)
    for _ in range(3):
        assert (vault.state(MFK), vault.state(FREEE)) == ("ready", "ready")

    assert len(read) == 1


def test_a_company_the_provider_names_for_the_first_time_takes_no_right_away(vault: Vault) -> None:
    connect(vault)
    secret = vault.grant(FREEE).secret

    named = secret.after(replace(tokens(1), company="123"))

    assert (secret.company, named.company) == (None, "123")
    assert not secret.is_undone_by(replace(tokens(1), company="123"))
    assert not named.is_undone_by(tokens(2))
    assert named.is_undone_by(replace(tokens(2), company="124"))


@pytest.mark.parametrize(
    "state,left_s,told_as",
    [
        (GrantState.REFRESHING, 1, "ready"),
        (GrantState.REFRESHING, 0, "refresh_unknown"),
        (GrantState.REFRESH_UNKNOWN, 1, "refresh_unknown"),
        (GrantState.RETRYING, 1, "refresh_unknown"),
        (GrantState.RETRYING, 0, "needs_login"),
        (GrantState.NEEDS_LOGIN, 1, "needs_login"),
        (GrantState.SCOPE_LOST, 1, "needs_login"),
    ],
)
def test_a_person_is_told_how_a_renewal_stands(
    vault: Vault, home: Path, state: GrantState, left_s: int, told_as: str
) -> None:
    connect(vault)
    until = timestamp(START + timedelta(seconds=left_s))

    tamper(home, "UPDATE secret SET state = ?, lease_until = ?", state.value, until)

    assert vault.state(FREEE) == told_as


@pytest.mark.parametrize(
    "state,told_as", [(GrantState.REFRESHING, "refresh_unknown"), (GrantState.RETRYING, "needs_login")]
)
def test_a_renewal_whose_process_died_is_told_at_once_and_not_when_its_lease_ends(
    store: Store, clock: SetClock, home: Path, state: GrantState, told_as: str
) -> None:
    vault = Vault(store, clock, ring, is_gone=lambda name: name == "7-dead")
    connect(vault)

    until = timestamp(START + timedelta(seconds=15))
    tamper(home, "UPDATE secret SET state = ?, lease_owner = '7-dead', lease_until = ?", state.value, until)

    assert vault.state(FREEE) == told_as
