"""One request for consent and its one answer, without a wire."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from pydantic import SecretStr

from seikyu.errors import ConfigurationError, InvalidArguments, LoginRequired, SeikyuError
from seikyu.models import Connection
from seikyu.providers.authorization import oauth_server
from seikyu.providers.consent import Consent, request_consent
from seikyu.providers.freee.oauth import chosen_company
from seikyu.providers.misoca.oauth import own_user
from seikyu.providers.oauth import (
    Account,
    ClientAuth,
    OAuthClient,
    code_request,
    refresh_request,
    revoke_request,
)

BACK = "https://connect.example.co.jp/back?of=seikyu"
BASES = {"freee": "https://api.freee.co.jp", "misoca": "https://app.misoca.jp", "invox": "https://api.invox.jp"}
OURSELVES = OAuthClient("us", SecretStr("s3cret"), BACK)
SECRET = SecretStr("t0ken")


def connection(provider: Any, **options: str) -> Connection:
    return Connection("main", provider, "production", "会社", BASES[provider], {"client_id": "us"} | options)


def asked(provider: str = "freee", **options: str) -> Consent:
    row = connection(provider, **options)
    redirect_uri = options.get("redirect_uri", BACK)
    return request_consent(row, oauth_server(row), client_secret=SecretStr("s3cret"), redirect_uri=redirect_uri)


def back(consent: Consent, **more: str) -> str:
    query = {"state": consent.state.get_secret_value(), "code": "c0de"} | more
    return BACK + "".join(f"&{name}={value}" for name, value in query.items())


def test_each_request_has_a_state_and_a_verifier_of_its_own_of_32_random_bytes() -> None:
    one, two = asked(), asked()
    query = parse_qs(urlsplit(one.address).query)

    verifier = one.verifier.get_secret_value() if one.verifier else ""
    digest = hashlib.sha256(verifier.encode()).digest()
    assert query["code_challenge"] == [base64.urlsafe_b64encode(digest).rstrip(b"=").decode()]
    assert query["code_challenge_method"] == ["S256"]
    assert len(base64.urlsafe_b64decode(verifier + "=")) == 32
    assert len({one.state, two.state, one.verifier, two.verifier}) == 4
    assert verifier not in repr(one) + one.address
    assert one.state.get_secret_value() not in repr(one)


def test_pkce_goes_where_it_is_known_or_written_and_nowhere_else() -> None:
    with_pkce = {(name, options): asked(name, **dict(options)).verifier is not None for name, options in [
        ("freee", ()), ("misoca", ()), ("invox", ()), ("freee", (("pkce", "none"),)), ("misoca", (("pkce", "S256"),)),
    ]}  # fmt: skip

    assert list(with_pkce.values()) == [True, False, False, False, True]


def test_the_code_is_taken_once() -> None:
    consent = asked()
    first = consent.code_in(back(consent))

    with pytest.raises(InvalidArguments, match="second time"):
        consent.code_in(back(consent))
    assert first.get_secret_value() == "c0de"


@pytest.mark.parametrize(
    "change",
    [
        ("connect.example.co.jp", "connect.example.com"),
        ("https://", "http://"),
        ("/back", "/back/"),
        ("of=seikyu", "of=other"),
        ("of=seikyu&", ""),
        ("co.jp/", "co.jp:443/"),
        ("co.jp", "CO.JP"),
        ("code=c0de", "code=c0de&code=other"),
        ("state=", "state=x"),
        ("state=", "stat="),
        ("code=c0de", "code=%ff"),
        ("code=c0de", "&".join(f"p{number}=1" for number in range(21))),
    ],
    ids=lambda change: change[1][:20],
)
def test_only_the_exact_redirect_address_with_our_state_is_an_answer(change: tuple[str, str]) -> None:
    consent = asked()
    address = back(consent).replace(*change)

    assert not consent.is_answered_by(address)
    with pytest.raises(InvalidArguments, match="not the answer to this request"):
        consent.code_in(address)
    assert consent.code_in(back(consent)).get_secret_value() == "c0de"


@pytest.mark.parametrize(
    "registered,came",
    [
        ("http://127.0.0.1:8722", "http://127.0.0.1:8722/"),
        ("http://LocalHost:8722/back", "http://localhost:8722/back"),
        ("https://connect.example.co.jp", "https://connect.example.co.jp/"),
        ("https://Connect.Example.co.jp:443/back", "https://connect.example.co.jp/back"),
        ("http://127.0.0.1:80/back", "http://127.0.0.1/back"),
    ],
)
def test_a_registered_address_is_known_again_as_browsers_write_it(registered: str, came: str) -> None:
    consent = asked(redirect_uri=registered)
    query = f"?code=c0de&state={consent.state.get_secret_value()}"

    assert f"redirect_uri={quote_plus(registered)}" in consent.address
    assert consent.is_answered_by(came + query)
    assert consent.is_answered_by(registered + query)
    assert not consent.is_answered_by(came + "more" + query)


def test_a_code_without_its_address_is_not_taken_and_the_address_is_asked_for() -> None:
    consent = asked()

    with pytest.raises(InvalidArguments, match="the whole of what the browser's address bar shows"):
        consent.code_in("c0de")
    assert consent.code_in(back(consent)).get_secret_value() == "c0de"


@pytest.mark.parametrize(
    "came",
    ["https://as.example.com/", "https://AS.example.com", "http://as.example.com", "https%3A%2F%2Fas.example.com.", ""],
)
def test_the_issuer_is_compared_letter_for_letter(came: str) -> None:
    consent = asked(issuer="https://as.example.com")

    with pytest.raises(LoginRequired, match="sent nowhere"):
        consent.code_in(back(consent, iss=came))


def test_the_right_issuer_is_accepted() -> None:
    consent = asked(issuer="https://as.example.com")

    assert consent.code_in(back(consent, iss="https%3A%2F%2Fas.example.com")).get_secret_value() == "c0de"


@pytest.mark.parametrize("text", ["https://example.com/?code=1", "two words", "", "日本語", "c" * 3000])
def test_what_is_no_code_is_not_sent(text: str) -> None:
    with pytest.raises(SeikyuError, match="no authorization code"):
        asked().code_shown(text)


def test_each_provider_gets_our_credentials_in_its_own_way_and_in_one_place() -> None:
    shapes: dict[str, list[tuple[bool, bool, bool]]] = {}
    for provider in BASES:
        server = replace(oauth_server(connection(provider)), revoke_url="https://as.example.com/revoke")
        requests = [
            code_request(server, OURSELVES, SECRET),
            refresh_request(server, OURSELVES, SECRET),
            revoke_request(server, OURSELVES, SECRET),
        ]
        shapes[provider] = [
            ("Authorization" in made.headers, "client_id" in made.form, "client_secret" in made.form)
            for made in requests
            if made is not None
        ]

    assert shapes == {
        "freee": [(False, True, True)] * 3,
        "misoca": [(True, False, False)] * 3,
        "invox": [(True, True, False)] * 2 + [(False, True, True)],
    }


def test_what_is_not_known_of_a_provider_can_be_written() -> None:
    server = oauth_server(
        connection("misoca", client_auth="form", revoke_url="https://app.misoca.jp/oauth2/revoke", scope="read")
    )

    assert (server.client_auth, server.scope) == (ClientAuth.FORM, "read")
    assert server.revoke_url == "https://app.misoca.jp/oauth2/revoke"
    assert oauth_server(connection("misoca")).revoke_url is None


def test_freees_authorization_server_stands_beside_its_api_unless_both_are_elsewhere() -> None:
    own = oauth_server(connection("freee"))
    stand_in = oauth_server(replace(connection("freee"), base_url="http://127.0.0.1:8790/freee"))
    parted = oauth_server(connection("freee", oauth_url="https://proxy.example.com"))

    assert own.token_url == "https://accounts.secure.freee.co.jp/public_api/token"
    assert own.account is not None
    assert own.account.url == "https://api.freee.co.jp/api/1/companies"
    assert stand_in.token_url == "http://127.0.0.1:8790/freee/public_api/token"
    assert parted.revoke_url == "https://proxy.example.com/public_api/revoke"


def test_a_provider_that_is_opened_with_a_key_has_no_authorization_server() -> None:
    with pytest.raises(ConfigurationError, match="API key"):
        oauth_server(Connection("mfk", "mfkessai", "sandbox", "会社", "https://sandbox-api.mfkessai.co.jp/v2"))


COMPANIES = {"companies": [{"id": 1, "name": None, "display_name": "甲"}, {"id": 2, "name": "乙\u202e"}]}


@pytest.mark.parametrize(
    "answer,named,account",
    [
        (COMPANIES, "1", Account("1", "甲")),
        (COMPANIES, "2", Account("2", "乙⟨U+202E⟩")),
        (COMPANIES, "3", None),
        (COMPANIES, None, None),
        ({"companies": [{"id": 1, "name": None}]}, None, Account("1", "—")),
        ({"companies": [{"id": "1"}]}, "1", None),
        ({"companies": []}, None, None),
        ("<html>", "1", None),
    ],
)
def test_freee_names_the_company_the_token_is_for_or_nobody(
    answer: object, named: str | None, account: Account | None
) -> None:
    assert chosen_company(answer, named) == account


@pytest.mark.parametrize(
    "answer,account",
    [
        ({"id": 45, "email": "a@example.co.jp"}, Account("45", "a@example.co.jp")),
        ({"id": True, "email": "a@example.co.jp"}, None),
        ({"email": "a@example.co.jp"}, None),
        ([], None),
    ],
)
def test_misoca_names_its_user_or_nobody(answer: object, account: Account | None) -> None:
    assert own_user(answer, None) == account
