"""The authorization servers of the freee and Misoca twins are as strict as the real ones, or stricter."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from seikyu.sandbox import freee, misoca
from seikyu.sandbox.authorization import OUT_OF_BAND
from seikyu.sandbox.twins import Twins

pytestmark = pytest.mark.anyio

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
FREEE = {"client_id": freee.CLIENT_ID, "client_secret": freee.CLIENT_SECRET}
MISOCA = httpx2.BasicAuth(misoca.CLIENT_ID, misoca.CLIENT_SECRET)


async def ask(
    browser: httpx2.AsyncClient, path: str = "/freee/public_api/authorize", **changes: str
) -> httpx2.Response:
    twin: Any = freee if path.startswith("/freee") else misoca
    asked = {
        "response_type": "code",
        "client_id": twin.CLIENT_ID,
        "redirect_uri": twin.REDIRECT_URI,
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    query = {name: value for name, value in {**asked, **changes}.items() if value}
    answer: httpx2.Response = await browser.get(path, params=query)
    return answer


async def code_of(browser: httpx2.AsyncClient, path: str = "/freee/public_api/authorize", **changes: str) -> str:
    answer = await ask(browser, path, **changes)
    return str(parse_qs(urlsplit(answer.headers["location"]).query)["code"][0])


async def redeem(browser: httpx2.AsyncClient, code: str, /, **changes: str) -> httpx2.Response:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": freee.REDIRECT_URI,
        "code_verifier": VERIFIER,
        **FREEE,
    }
    sent = {name: value for name, value in {**form, **changes}.items() if value}
    return await browser.post("/freee/public_api/token", data=sent)


async def renew(browser: httpx2.AsyncClient, token: str) -> httpx2.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, **FREEE}
    return await browser.post("/freee/public_api/token", data=form)


@pytest.mark.parametrize(
    "uri", [f"{freee.REDIRECT_URI}/", freee.REDIRECT_URI.replace("8722", "8000"), "https://evil.example/callback", ""]
)
async def test_a_redirect_that_is_not_registered_to_the_letter_gets_an_error_page(
    browser: httpx2.AsyncClient, uri: str
) -> None:
    answer = await ask(browser, redirect_uri=uri)

    assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_freees_token_names_the_company_and_a_code_is_good_once(browser: httpx2.AsyncClient) -> None:
    code = await code_of(browser)
    first, second = await redeem(browser, code), await redeem(browser, code)
    after = await renew(browser, first.json()["refresh_token"])

    assert (first.status_code, first.json()["company_id"]) == (200, freee.COMPANY)
    assert (second.status_code, second.json()["error"]) == (400, "invalid_grant")
    assert after.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changes,error",
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": OUT_OF_BAND}, "invalid_grant"),
        ({"code": "made-up"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_secret": ""}, "invalid_client"),
    ],
)
async def test_freee_gives_nothing_for_a_code_that_is_not_whole(
    browser: httpx2.AsyncClient, changes: dict[str, str], error: str
) -> None:
    answer = await redeem(browser, await code_of(browser), **changes)

    assert answer.json()["error"] == error


async def test_a_verifier_for_a_code_that_was_asked_without_a_challenge_is_a_downgrade(
    browser: httpx2.AsyncClient,
) -> None:
    code = await code_of(browser, code_challenge="", code_challenge_method="")
    with_verifier = await redeem(browser, code)
    plain = await ask(browser, code_challenge_method="plain")

    assert with_verifier.json()["error"] == "invalid_grant"
    assert "error=invalid_request" in plain.headers["location"]


async def test_freee_wants_the_client_in_the_form_alone(browser: httpx2.AsyncClient) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    basic = await browser.post("/freee/public_api/token", data=form, auth=(freee.CLIENT_ID, freee.CLIENT_SECRET))
    both = await browser.post("/freee/public_api/token", data=form | FREEE, auth=("a", "b"))

    assert (basic.status_code, basic.json()["error"]) == (401, "invalid_client")
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")


async def test_a_code_of_freee_lives_ten_minutes(browser: httpx2.AsyncClient, twins: Twins) -> None:
    code = await code_of(browser)
    twins.advance(600)

    assert (await redeem(browser, code)).json()["error"] == "invalid_grant"


async def test_freees_refresh_token_is_good_once_and_a_second_use_ends_the_login(
    browser: httpx2.AsyncClient, twins: Twins
) -> None:
    old = (await redeem(browser, await code_of(browser))).json()["refresh_token"]
    new = (await renew(browser, old)).json()
    again = await renew(browser, old)
    after = await renew(browser, new["refresh_token"])

    assert (again.status_code, again.json()["error"]) == (401, "invalid_grant")
    assert after.json()["error"] == "invalid_grant"
    assert (new["company_id"], twins.freee.oauth.reuses) == (freee.COMPANY, 1)


async def test_freee_shows_the_code_on_its_own_page_for_the_out_of_band_address(browser: httpx2.AsyncClient) -> None:
    page = await ask(browser, redirect_uri=OUT_OF_BAND)
    code = page.text.split("<h1>")[1].split("</h1>")[0]

    assert (await redeem(browser, code, redirect_uri=OUT_OF_BAND)).status_code == 200


async def test_a_revoked_login_opens_nothing(browser: httpx2.AsyncClient) -> None:
    tokens = (await redeem(browser, await code_of(browser))).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    before = await browser.get("/freee/api/1/companies", headers=bearer)
    done = await browser.post("/freee/public_api/revoke", data={"token": tokens["refresh_token"], **FREEE})
    after = await browser.get("/freee/api/1/companies", headers=bearer)

    assert [row["id"] for row in before.json()["companies"]] == [1234567, 7654321]
    assert (done.status_code, after.status_code, after.json()["code"]) == (200, 401, "expired_access_token")


async def test_misoca_takes_the_client_in_the_header_or_in_the_form_and_passes_over_a_challenge(
    browser: httpx2.AsyncClient,
) -> None:
    form = {"grant_type": "authorization_code", "redirect_uri": misoca.REDIRECT_URI}
    in_form = {"client_id": misoca.CLIENT_ID, "client_secret": misoca.CLIENT_SECRET}
    path, token = "/misoca/oauth2/authorize", "/misoca/oauth2/token"

    by_header = await browser.post(token, data={**form, "code": await code_of(browser, path)}, auth=MISOCA)
    by_form = await browser.post(token, data={**form, **in_form, "code": await code_of(browser, path)})
    by_none = await browser.post(token, data={**form, "code": await code_of(browser, path)})

    assert [answer.status_code for answer in (by_header, by_form, by_none)] == [200, 200, 401]
    bearer = {"Authorization": f"Bearer {by_header.json()['access_token']}"}
    user = await browser.get("/misoca/api/v3/user/me", headers=bearer)
    assert user.json() == {"id": misoca.USER_ID, "email": misoca.EMAIL}
    assert (await browser.get("/misoca/api/v3/user/me")).status_code == 401


async def test_a_callback_is_registered_with_each_provider(browser: httpx2.AsyncClient, twins: Twins) -> None:
    answer = await browser.post("/_twin/redirect_uris", json={"uri": "http://127.0.0.1:5000/", "provider": "freee"})

    assert answer.json()["redirect_uris"] == twins.freee.oauth.redirect_uris
    assert "http://127.0.0.1:5000/" in twins.freee.oauth.redirect_uris


async def test_a_person_may_deny_and_the_answer_may_name_its_issuer(browser: httpx2.AsyncClient, twins: Twins) -> None:
    twins.freee.oauth.denies, twins.freee.oauth.issuer = True, "https://accounts.example.com"

    answer = await ask(browser)

    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query == {"error": ["access_denied"], "state": ["s"], "iss": ["https://accounts.example.com"]}
