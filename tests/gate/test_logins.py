"""What the house keeps and tells of a login, on each store; the provider is a few answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from pydantic import SecretBytes, SecretStr

from gate.stage import Stage
from seikyu.errors import LoginRequired, NotAllowed, ProviderUnavailable, Text
from seikyu.gate.audit import verify
from seikyu.gate.logins import (
    CONNECTED,
    FORGOTTEN,
    Arrival,
    Farewell,
    Logins,
    LoginStopped,
    Revocation,
    known_account,
)
from seikyu.models import Connection
from seikyu.providers.answers import HttpAnswer
from seikyu.providers.authorization import oauth_server
from seikyu.providers.consent import Consent, request_consent
from seikyu.spec import Lost
from seikyu.vault.keys import KeyRing, MasterKey
from seikyu.vault.secrets import GrantState, Vault

pytestmark = [pytest.mark.anyio, pytest.mark.both_stores]

FREEE = Connection("freee-main", "freee", "production", "株式会社甲", "https://api.freee.co.jp", {"client_id": "us"})
CODE = SecretStr("c0de")
RING = KeyRing(MasterKey(SecretBytes(b"k" * 32)))


@dataclass
class Provider:
    """Answers as freee does for company 1; remembers what it was told."""

    company: int = 1
    revokes: bool = True
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    refusal: Any = None
    account_status: int = 200
    while_revoking: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])
    begun: anyio.Event | None = None
    may_answer: anyio.Event | None = None

    async def post_form(self, url: str, *, headers: Any, form: dict[str, str], **_more: Any) -> Any:
        del headers
        self.forms.append({"url": url, **form})
        if url.endswith("/revoke"):
            for meanwhile in self.while_revoking[:1]:
                self.while_revoking.remove(meanwhile)
                meanwhile()
            return HttpAnswer(200, {}, "") if self.revokes else Lost(Text("切断", "cut"))
        if self.refusal is not None:
            return self.refusal
        if self.begun is not None and self.may_answer is not None:
            self.begun.set()
            await self.may_answer.wait()
        number = len(self.forms)
        said = {"access_token": f"a{number}", "refresh_token": f"r{number}", "expires_in": 21_600}
        return HttpAnswer(200, {**said, "company_id": str(self.company), "scope": "read write"}, "")

    async def read(self, url: str, *, headers: dict[str, str]) -> HttpAnswer:
        assert url == "https://api.freee.co.jp/api/1/companies"
        assert headers["Authorization"].startswith("Bearer a")
        return HttpAnswer(self.account_status, {"companies": [{"id": self.company, "display_name": "甲"}]}, "")

    @property
    def revoked(self) -> list[str]:
        return [form["token"] for form in self.forms if form["url"].endswith("/revoke")]


@dataclass
class Office:
    stage: Stage
    provider: Provider
    vault: Vault
    logins: Logins

    def ask(self, connection: Connection = FREEE) -> Consent:
        server = oauth_server(connection)
        return request_consent(
            connection, server, client_secret=SecretStr("s3cret"), redirect_uri="https://example.com/back"
        )

    async def connect(self, connection: Connection = FREEE) -> Arrival:
        arrival = await self.logins.arrive(self.ask(connection), CODE)
        await self.logins.keep(arrival)
        return arrival

    def rows(self, kind: str) -> list[dict[str, Any]]:
        with self.stage.store.read() as tx:
            rows = tx.all("audit_page", after=0, limit=100)
        return [json.loads(row["record"]) for row in rows if row["kind"] == kind]


@pytest.fixture
def office(stage: Stage) -> Office:
    provider, vault = Provider(), Vault(stage.store, stage.clock, lambda: RING)
    return Office(stage, provider, vault, Logins(lambda: cast("Any", provider), vault, stage.clock))


async def test_a_login_is_told_by_its_account_and_holds_nothing_secret(office: Office) -> None:
    await office.connect()

    [row] = office.rows(CONNECTED)
    assert row == {
        "connection": "freee-main",
        "provider": "freee",
        "environment": "production",
        "company": "株式会社甲",
        "base_url": "https://api.freee.co.jp",
        "account": "1",
    }
    assert verify(office.stage.store).fault is None
    assert office.vault.grant(FREEE).secret.company == "1"


async def test_its_life_counts_from_before_the_code_was_sent_however_long_a_person_looked(office: Office) -> None:
    began = office.stage.clock.now()
    arrival = await office.logins.arrive(office.ask(), CODE)
    office.stage.clock.advance(minutes=30)
    await office.logins.keep(arrival)

    grant = office.vault.grant(FREEE)
    assert began <= grant.obtained_at < began + timedelta(minutes=1)
    assert grant.expires_at - grant.obtained_at == timedelta(seconds=21_600)


async def test_until_it_is_kept_nothing_of_it_is_anywhere(office: Office) -> None:
    arrival = await office.logins.arrive(office.ask(), CODE)
    before = office.vault.has(FREEE), office.rows(CONNECTED)
    given = await office.logins.give_back(arrival)

    assert before == (False, [])
    assert (given, office.provider.revoked) == (Revocation.DONE, ["r1"])
    assert "a1" not in repr(arrival)


async def test_the_code_is_sent_once_whatever_comes_of_it(office: Office) -> None:
    office.provider.refusal = Lost(Text("切断", "cut"))
    with pytest.raises(LoginRequired, match="not known"):
        await office.logins.arrive(office.ask(), CODE)

    assert [form["code"] for form in office.provider.forms] == ["c0de"]


@pytest.mark.parametrize("revokes", [True, False])
async def test_another_account_is_refused_and_given_back_and_it_is_said_when_that_failed(
    office: Office, *, revokes: bool
) -> None:
    await office.connect()
    office.provider.company, office.provider.revokes = 2, revokes
    with pytest.raises(NotAllowed) as refused:
        await office.connect()

    assert office.provider.revoked == ["r2"]
    assert ("was revoked" in refused.value.what.en, "end it on freee's own screen" in refused.value.what.en) == (
        revokes,
        not revokes,
    )
    assert (len(office.rows(CONNECTED)), office.vault.grant(FREEE).generation) == (1, 1)


async def test_of_two_logins_that_a_person_looks_at_side_by_side_the_second_to_another_account_is_not_kept(
    office: Office,
) -> None:
    first = await office.logins.arrive(office.ask(), CODE)
    office.provider.company = 2
    second = await office.logins.arrive(office.ask(), CODE)
    await office.logins.keep(first)
    with pytest.raises(NotAllowed, match="connection freee-main is 1's") as refused:
        await office.logins.keep(second)

    assert "The new login was revoked." in refused.value.what.en
    assert (office.provider.revoked, len(office.rows(CONNECTED))) == (["r2"], 1)
    assert (office.vault.grant(FREEE).generation, office.vault.grant(FREEE).secret.company) == (1, "1")


async def test_whoever_is_stopped_after_the_code_was_sent_gives_back_what_came(office: Office) -> None:
    office.provider.begun, office.provider.may_answer = anyio.Event(), anyio.Event()
    told: list[LoginStopped] = []

    async def arrive() -> None:
        try:
            await office.logins.arrive(office.ask(), CODE)
        except LoginStopped as stopped:
            told.append(stopped)

    walk = asyncio.create_task(arrive())
    await office.provider.begun.wait()
    walk.cancel()  # as Ctrl+C does
    await anyio.lowlevel.checkpoint()
    office.provider.may_answer.set()
    await walk

    assert [stopped.told.en for stopped in told] == ["The new login was revoked."]
    assert (office.provider.revoked, office.vault.has(FREEE)) == (["r1"], False)


async def test_a_login_that_is_being_stored_is_stored_although_its_person_stops(office: Office) -> None:
    arrival = await office.logins.arrive(office.ask(), CODE)
    storing = asyncio.create_task(office.logins.keep(arrival))
    await anyio.lowlevel.checkpoint()
    storing.cancel()
    await storing

    assert (office.vault.state(FREEE), len(office.rows(CONNECTED)), office.provider.revoked) == ("ready", 1, [])


async def test_an_account_nobody_names_is_not_kept(office: Office) -> None:
    office.provider.account_status = 403
    with pytest.raises(ProviderUnavailable, match="HTTP 403"):
        await office.connect()

    assert (office.provider.revoked, office.vault.has(FREEE)) == (["r1"], False)


async def test_the_last_account_is_known_for_exactly_what_an_approval_names(office: Office) -> None:
    await office.connect()
    office.provider.company = 2
    await office.connect(replace(FREEE, company="株式会社乙"))
    others = [
        replace(FREEE, name="other"),
        replace(FREEE, environment="sandbox"),
        replace(FREEE, base_url="https://proxy.example.com"),
        replace(FREEE, company="株式会社丙"),
    ]

    with office.stage.store.read() as tx:
        known = [known_account(tx, row) for row in (FREEE, replace(FREEE, company="株式会社乙"), *others)]
    assert known == ["1", "2", None, None, None, None]


async def test_a_company_written_as_an_id_must_be_that_company(office: Office) -> None:
    with pytest.raises(NotAllowed, match="connection freee-main is 9's"):
        await office.connect(replace(FREEE, company="9"))
    await office.connect(replace(FREEE, company="1"))

    assert office.vault.state(replace(FREEE, company="1")) == "ready"


@pytest.mark.parametrize("state", [state for state in GrantState if state is not GrantState.READY])
async def test_a_renewal_that_may_have_left_other_tokens_is_not_called_revoked(
    office: Office, state: GrantState
) -> None:
    await office.connect()
    grant = office.vault.grant(FREEE)
    office.vault.replace_grant(
        grant, grant.secret, state=state, obtained_at=grant.obtained_at, expires_at=grant.expires_at
    )

    said = await office.logins.revoke(FREEE)

    assert said.revocation is (Revocation.DONE if state is GrantState.SCOPE_LOST else Revocation.UNSURE)
    assert office.provider.revoked == ["r1"]


def renew(office: Office, number: int) -> None:
    """As another process does, which gets the tokens of that number."""
    grant, words = office.vault.grant(FREEE), f"{number}"
    tokens = {"access_token": SecretStr("a" + words), "refresh_token": SecretStr("r" + words)}
    office.vault.replace_grant(
        grant,
        grant.secret.model_copy(update=tokens),
        state=GrantState.READY,
        obtained_at=grant.obtained_at,
        expires_at=grant.expires_at,
    )


async def test_a_login_that_was_renewed_while_it_was_given_back_is_given_back_again(office: Office) -> None:
    await office.connect()
    office.provider.while_revoking = [partial(renew, office, 9)]

    said = await office.logins.revoke(FREEE)
    office.logins.forget(FREEE, said)

    assert (said.revocation, office.provider.revoked) == (Revocation.DONE, ["r1", "r9"])
    assert not office.vault.has(FREEE)


async def test_a_login_that_is_renewed_each_time_it_is_given_back_is_not_called_revoked(office: Office) -> None:
    await office.connect()
    office.provider.while_revoking = [partial(renew, office, number) for number in range(2, 9)]

    said = await office.logins.revoke(FREEE)

    assert (said.revocation, len(office.provider.revoked)) == (Revocation.UNSURE, 3)


@pytest.mark.parametrize("again", [False, True])
async def test_what_came_after_it_was_given_back_is_not_forgotten_unasked(office: Office, *, again: bool) -> None:
    await office.connect()
    said = await office.logins.revoke(FREEE)
    if again:
        await office.connect()
    else:
        renew(office, 9)

    with pytest.raises(NotAllowed, match="renewed or replaced meanwhile"):
        office.logins.forget(FREEE, said)

    assert office.vault.state(FREEE) == "ready"
    assert office.rows(FORGOTTEN) == []


async def test_forgetting_is_told_once_and_asks_nobody(office: Office) -> None:
    await office.connect()
    asked = len(office.provider.forms)
    farewell = Farewell(Revocation.FAILED, office.vault.mark(FREEE))
    office.logins.forget(FREEE, farewell)
    office.logins.forget(FREEE, farewell)

    assert office.rows(FORGOTTEN) == [{"connection": "freee-main", "revoked": "failed"}]
    assert (office.vault.has(FREEE), len(office.provider.forms)) == (False, asked)
    assert verify(office.stage.store).fault is None
