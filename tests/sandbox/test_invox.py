import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from seikyu.sandbox.invox import COMPANY_CODE, MAX_REQUEST_BYTES
from seikyu.sandbox.invox_oauth import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI
from seikyu.sandbox.twins import Twins

pytestmark = pytest.mark.anyio

BASIC = httpx2.BasicAuth(CLIENT_ID, CLIENT_SECRET)


def _request(**changes: object) -> dict[str, Any]:
    document: dict[str, Any] = {
        "doc_type": "見積書(受領)",
        "entry_method": "user",
        "file_name": "見積.pdf",
        "file_content": base64.b64encode(b"%PDF-1.7").decode(),
    }
    kept = {name: value for name, value in {**document, **changes}.items() if value is not ...}
    return {"invox_company_code": COMPANY_CODE, "e_storage": kept}


async def _code(browser: httpx2.AsyncClient, **changes: str) -> str:
    answer = await _authorize(browser, **changes)
    assert answer.status_code == 302
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


async def _authorize(browser: httpx2.AsyncClient, **changes: str) -> httpx2.Response:
    asked = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "scope": "read write",
        "state": "s t+a&te",
    }
    return await browser.get("/invox/oauth2/authorize/", params={**asked, **changes})


async def _redeem(browser: httpx2.AsyncClient, code: str, **changes: str) -> httpx2.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "code": code,
    }
    return await browser.post("/invox/oauth2/token/", data={**form, **changes}, auth=BASIC)


async def _renew(browser: httpx2.AsyncClient, refresh_token: str) -> httpx2.Response:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": refresh_token}
    return await browser.post("/invox/oauth2/token/", data=form, auth=BASIC)


async def _store(browser: httpx2.AsyncClient, token: str, body: dict[str, Any]) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}"}
    return await browser.post("/invox/api/public/e_storage", json=body, headers=headers)


async def test_consent_sends_the_browser_back_with_a_code_and_the_same_state(
    browser: httpx2.AsyncClient,
) -> None:
    answer = await _authorize(browser)

    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert answer.headers["location"].startswith(f"{REDIRECT_URI}?")
    assert query["state"] == ["s t+a&te"]


async def test_another_callback_can_be_registered(browser: httpx2.AsyncClient) -> None:
    callback = "http://127.0.0.1:5000/back?tenant=1"
    await browser.post("/_twin/redirect_uris", json={"uri": callback})

    answer = await _authorize(browser, redirect_uri=callback)

    assert answer.headers["location"].startswith(f"{callback}&code=")


@pytest.mark.parametrize("wrong", [{"client_id": "x"}, {"redirect_uri": REDIRECT_URI + "/"}])
async def test_a_wrong_client_or_redirect_is_an_error_page_and_no_redirect(
    browser: httpx2.AsyncClient,
    wrong: dict[str, str],
) -> None:
    answer = await _authorize(browser, **wrong)

    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_code_buys_tokens_once_and_a_second_try_takes_them_back(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    code = await _code(browser)
    first = await _redeem(browser, code)
    worked = twins.invox.oauth.accepts(first.json()["access_token"])
    second = await _redeem(browser, code)

    assert first.headers["cache-control"] == "no-store"
    assert {key: first.json()[key] for key in ("expires_in", "token_type", "scope")} == {
        "expires_in": 36_000,
        "token_type": "Bearer",
        "scope": "read write",
    }
    assert worked is True
    assert (second.status_code, second.json()["error"]) == (400, "invalid_grant")
    assert twins.invox.oauth.accepts(first.json()["access_token"]) is False


@pytest.mark.parametrize("age_s,status", [(59, 200), (60, 400)])
async def test_a_code_lives_sixty_seconds(
    browser: httpx2.AsyncClient,
    twins: Twins,
    age_s: int,
    status: int,
) -> None:
    code = await _code(browser)
    twins.advance(age_s)

    assert (await _redeem(browser, code)).status_code == status


async def test_the_redirect_uri_must_be_repeated_exactly(browser: httpx2.AsyncClient) -> None:
    answer = await _redeem(browser, await _code(browser), redirect_uri=REDIRECT_URI + "/")

    assert answer.json()["error"] == "invalid_grant"


async def test_the_client_must_stand_in_the_header_and_in_the_form(browser: httpx2.AsyncClient) -> None:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": "x"}
    path = "/invox/oauth2/token/"

    no_basic = await browser.post(path, data=form)
    wrong_basic = await browser.post(path, data=form, auth=(CLIENT_ID, "wrong"))
    no_form_id = await browser.post(path, data={**form, "client_id": ""}, auth=BASIC)

    assert (no_basic.status_code, no_basic.json()["error"]) == (401, "invalid_client")
    assert wrong_basic.headers["www-authenticate"].startswith("Basic")
    assert (no_form_id.status_code, no_form_id.json()["error"]) == (400, "invalid_request")


async def test_json_or_a_missing_slash_is_not_a_token_request(browser: httpx2.AsyncClient) -> None:
    as_json = await browser.post("/invox/oauth2/token/", json={"grant_type": "refresh_token"}, auth=BASIC)
    no_slash = await browser.post("/invox/oauth2/token", data={"grant_type": "refresh_token"}, auth=BASIC)
    unknown = await browser.post(
        "/invox/oauth2/token/", data={"grant_type": "password", "client_id": CLIENT_ID}, auth=BASIC
    )

    assert as_json.json()["error"] == "invalid_request"
    assert no_slash.status_code == 404
    assert unknown.json()["error"] == "unsupported_grant_type"


async def test_refreshing_rotates_and_reuse_ends_the_whole_family(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    first = twins.invox.oauth.grant()
    second = (await _renew(browser, first.refresh_token)).json()
    reused = await _renew(browser, first.refresh_token)
    newest = await _renew(browser, second["refresh_token"])

    assert second["refresh_token"] != first.refresh_token
    assert reused.json()["error"] == newest.json()["error"] == "invalid_grant"
    assert twins.invox.oauth.accepts(second["access_token"]) is False
    assert (twins.invox.oauth.refreshes, twins.invox.oauth.reuses) == (1, 1)


async def test_rotation_and_the_penalty_can_be_switched_off(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    twins.invox.oauth.kills_on_reuse = False
    first = twins.invox.oauth.grant()
    second = (await _renew(browser, first.refresh_token)).json()
    reused = await _renew(browser, first.refresh_token)
    twins.invox.oauth.rotates = False
    third = (await _renew(browser, second["refresh_token"])).json()

    assert reused.status_code == 400
    assert third["refresh_token"] == second["refresh_token"]


async def test_an_access_token_expires_and_the_refresh_token_does_not(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    tokens = twins.invox.oauth.grant()
    twins.advance(36_000)

    expired = await _store(browser, tokens.access_token, _request())
    renewed = (await _renew(browser, tokens.refresh_token)).json()
    stored = await _store(browser, renewed["access_token"], _request())

    assert (expired.status_code, list(expired.json())) == (401, ["detail"])
    assert stored.status_code == 200


async def test_revoking_the_refresh_token_ends_everything_it_gave(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    tokens = twins.invox.oauth.grant()
    path = "/invox/oauth2/revoke_token/"
    form = {"token": tokens.refresh_token, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}

    with_basic = await browser.post(path, data=form, auth=BASIC)
    wrong = await browser.post(path, data={**form, "client_secret": "x"})
    worked_until_then = twins.invox.oauth.accepts(tokens.access_token)
    right = await browser.post(path, data=form)
    unknown = await browser.post(path, data={**form, "token": "unheard of"})

    assert [with_basic.status_code, wrong.status_code] == [400, 401]
    assert worked_until_then is True
    assert [right.status_code, unknown.status_code] == [200, 200]
    assert twins.invox.oauth.accepts(tokens.access_token) is False


async def test_a_document_is_kept_by_digest_and_a_repeat_makes_a_second_one(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    token = twins.invox.oauth.grant().access_token
    first = await _store(browser, token, _request())
    second = await _store(browser, token, _request())

    assert set(first.json()) == {"id", "url"}
    assert first.json()["id"] != second.json()["id"]
    assert [document.sha256 for document in twins.invox.documents] == [
        hashlib.sha256(b"%PDF-1.7").hexdigest(),
    ] * 2
    assert twins.invox.documents[0].size == 8
    assert [effect.resource_id for effect in twins.invox.effects] == [first.json()["id"], second.json()["id"]]


async def test_optional_fields_that_do_not_fit_are_passed_over_in_silence(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    body = _request(
        partner_name="あ" * 300,
        voucher_number="9" * 40,
        transaction_amount="1234567890123.4567",
        transaction_date="2026/11/18",
        currency_code=392,
        tag=None,
        tags=["経費", 7],
    )

    answer = await _store(browser, twins.invox.oauth.grant().access_token, body)

    document = twins.invox.documents[0]
    assert answer.status_code == 200
    assert document.fields == {
        "currency_code": "JPY",
        "partner_name": "あ" * 250,
        "voucher_number": "9" * 30,
        "transaction_date": "2026-11-18",
    }
    assert (document.ignored, document.tags) == (("transaction_amount", "currency_code"), ("経費",))


@pytest.mark.parametrize(
    "changes",
    [
        {"doc_type": ...},
        {"doc_type": ""},
        {"entry_method": "auto"},
        {"file_name": "見積"},
        {"file_name": ".pdf"},
        {"file_name": "あ" * 247 + ".pdf"},
        {"file_content": ...},
        {"file_content": "JVBERg"},
        {"file_content": "JVBE Rg=="},
        {"file_content": "JVBERg==="},
        {"file_content": "全角"},
    ],
)
async def test_a_document_without_what_is_required_is_refused(
    browser: httpx2.AsyncClient,
    twins: Twins,
    changes: dict[str, Any],
) -> None:
    answer = await _store(browser, twins.invox.oauth.grant().access_token, _request(**changes))

    assert answer.status_code == 400
    assert twins.effects == []


@pytest.mark.parametrize("company", [{}, {"invox_company_code": "OTHER"}, {"invox_company_code": 1}])
async def test_a_missing_or_unknown_company_is_refused(
    browser: httpx2.AsyncClient,
    twins: Twins,
    company: dict[str, object],
) -> None:
    body = {"e_storage": _request()["e_storage"], **company}

    assert (await _store(browser, twins.invox.oauth.grant().access_token, body)).status_code == 400


async def test_the_whole_request_may_have_fifty_million_bytes_and_no_more(
    browser: httpx2.AsyncClient,
    twins: Twins,
) -> None:
    headers = {
        "authorization": f"Bearer {twins.invox.oauth.grant().access_token}",
        "content-type": "application/json",
    }
    path = "/invox/api/public/e_storage"

    allowed = await browser.post(path, content=b" " * MAX_REQUEST_BYTES, headers=headers)
    too_large = await browser.post(path, content=b" " * (MAX_REQUEST_BYTES + 1), headers=headers)

    assert [allowed.status_code, too_large.status_code] == [400, 413]


async def test_a_token_for_reading_does_not_store(browser: httpx2.AsyncClient, twins: Twins) -> None:
    answer = await _store(browser, twins.invox.oauth.grant("read").access_token, _request())

    assert answer.status_code == 403
