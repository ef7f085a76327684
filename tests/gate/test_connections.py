"""Checkups at the pace and in the order of the tests: everybody at once, each by itself, for a bounded time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from pydantic import SecretStr

from e2e.beside import Installation, vault_of
from seikyu.errors import ConfigurationError, ProviderUnavailable, Text
from seikyu.gate.connections import Checkups, Standing, is_id
from seikyu.models import Connection
from seikyu.providers.answers import HttpAnswer
from seikyu.vault.grants import TokenAnswer
from seikyu.vault.keys import KeyRing
from seikyu.vault.secrets import GrantState, Vault

ROWS = [
    Connection(name, "mfkessai", "sandbox", "株式会社テスト", f"http://127.0.0.1:9/{name}") for name in ("a", "b", "c")
]


class Meeting:
    """A provider that answers nobody before everybody has asked."""

    def __init__(self, people: int) -> None:
        self.people = people
        self.is_full = anyio.Event()

    async def read(self, _url: str, **_more: Any) -> HttpAnswer:
        self.people -= 1
        if self.people == 0:
            self.is_full.set()
        await self.is_full.wait()
        return HttpAnswer(200, {"items": []}, "application/json")


class Broken:
    """Ours, with a fault nobody has thought of, for one connection."""

    async def read(self, url: str, **_more: Any) -> HttpAnswer:
        if "/b/" in url:
            raise ZeroDivisionError("hush")
        return HttpAnswer(200, {"items": []}, "application/json")


class Away:
    """A provider that is out of reach, and why."""

    async def read(self, _url: str, **_more: Any) -> HttpAnswer:
        raise ProviderUnavailable(Text("閉店", "It is closed."), Text("明日", "Come back tomorrow."))


class Told:
    """A provider that knows everybody, and whether it was asked."""

    was_asked = False

    async def read(self, _url: str, **_more: Any) -> HttpAnswer:
        self.was_asked = True
        return HttpAnswer(200, {"id": 1, "email": "a@example.com"}, "application/json")


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    made = Installation(tmp_path)
    made.build()
    return made


async def checked(place: Installation, http: Any, *, limit_s: int = 20) -> list[Standing]:
    with place.opened() as home:
        vault = vault_of(home)
        for row in ROWS:
            vault.put_api_key(row, SecretStr("a key"))
        found = await Checkups(http, vault, home.clock, limit_s=limit_s).all(ROWS)
    assert [each.connection for each in found] == ROWS
    assert not any("hush" in each.what.en for each in found)
    return [each.standing for each in found]


async def test_all_providers_are_asked_at_the_same_time(place: Installation) -> None:
    with anyio.fail_after(20):
        found = await checked(place, Meeting(len(ROWS)))

    assert found == [Standing.WORKS] * 3


async def test_a_fault_nobody_thought_of_stands_in_its_own_row(place: Installation) -> None:
    found = await checked(place, Broken())

    assert found == [Standing.WORKS, Standing.UNKNOWN, Standing.WORKS]


async def test_what_a_provider_cannot_do_now_is_told_with_what_to_do_next(place: Installation) -> None:
    with place.opened() as home:
        vault = vault_of(home)
        vault.put_api_key(ROWS[0], SecretStr("a key"))
        found = await Checkups(cast("Any", Away()), vault, home.clock).one(ROWS[0])

    assert (found.standing, found.what.en, found.next_step.en) == (
        Standing.UNKNOWN,
        "It is closed.",
        "Come back tomorrow.",
    )


async def test_a_provider_that_never_answers_is_given_up(place: Installation) -> None:
    found = await checked(place, Meeting(-1), limit_s=1)

    assert found == [Standing.UNKNOWN] * 3


async def test_the_time_that_a_master_keys_place_takes_is_not_counted_against_the_provider(place: Installation) -> None:
    def gives_none() -> KeyRing:
        raise ConfigurationError(Text("", "The program did not end."), Text("", "Run it yourself."))

    with place.opened() as home:
        vault_of(home).put_api_key(ROWS[0], SecretStr("a key"))
        vault = Vault(home.rooms().store, home.clock, gives_none)
        found = await Checkups(cast("Any", Away()), vault, home.clock, limit_s=0).one(ROWS[0])

    assert (found.standing, found.what.en, found.next_step.en) == (
        Standing.UNDECRYPTABLE,
        "The program did not end.",
        "Run it yourself.",
    )


@pytest.mark.parametrize("state, standing", [("ready", Standing.WORKS), ("scope_lost", Standing.NEEDS_LOGIN)])
async def test_a_login_whose_rights_are_gone_is_not_tried_though_its_token_lives(
    place: Installation, state: str, standing: Standing
) -> None:
    login = Connection("misoca-main", "misoca", "sandbox", "1", "http://127.0.0.1:9")
    with place.opened() as home:
        vault = vault_of(home)
        answer = TokenAnswer(SecretStr("access"), 3600, SecretStr("refresh"), "read write")
        vault.put_grant(login, client_id="us", client_secret=SecretStr("secret"), answer=answer)
        grant = vault.grant(login)
        vault.replace_grant(
            grant, grant.secret, state=GrantState(state), obtained_at=grant.obtained_at, expires_at=grant.expires_at
        )
        provider = Told()
        [found] = await Checkups(cast("Any", provider), vault, home.clock).all([login])

    assert found.standing is standing
    assert provider.was_asked == (standing is Standing.WORKS)


@pytest.mark.parametrize("written", ["12345", "0"])
def test_a_company_of_digits_alone_is_written_by_its_number(written: str) -> None:
    assert is_id(written)


@pytest.mark.parametrize("written", ["ACME", "１２３", "No. 12", ""])
def test_a_company_of_anything_else_is_written_by_its_name(written: str) -> None:
    assert not is_id(written)
