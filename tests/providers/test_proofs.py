"""What an answer proves about a login, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from seikyu.models import Connection, ProviderName
from seikyu.providers.answers import NOT_JSON, HttpAnswer
from seikyu.providers.proofs import prove

COMPANIES = {"companies": [{"id": 7, "name": "株式会社サンプル", "display_name": None}]}


class Answers:
    """An HTTP edge that gives these answers, one after the other."""

    def __init__(self, *answers: HttpAnswer) -> None:
        self.answers = list(answers)
        self.tokens: list[str] = []

    async def read(self, _url: str, *, headers: dict[str, str], query: Any = ()) -> HttpAnswer:
        self.tokens.append(next(iter(headers.values())))
        return self.answers.pop(0)


def answer(status: int, body: object = None, challenge: str | None = None) -> HttpAnswer:
    return HttpAnswer(status, body, "application/json", challenge=challenge)


def empty(status: int, challenge: str | None = None) -> HttpAnswer:
    return HttpAnswer(status, NOT_JSON, "", challenge=challenge, is_empty=True)


async def proved(provider: ProviderName, *answers: HttpAnswer) -> bool | None:
    http: Any = Answers(*answers)
    connection = Connection("main", provider, "production", "7", "https://api.example")
    return (await prove(http, connection, ("Authorization", "Bearer ours"))).is_accepted


@pytest.mark.parametrize(
    "provider,answers,is_accepted",
    [
        ("mfkessai", [answer(200, {"items": []})], True),
        ("mfkessai", [answer(200, {"ok": True})], None),
        ("mfkessai", [answer(401, {"errors": []})], False),
        ("mfkessai", [answer(401, NOT_JSON)], None),
        ("mfkessai", [answer(403, {"errors": []})], None),
        ("invox", [answer(405), answer(401, {})], True),
        ("invox", [answer(405), answer(405)], None),
        ("invox", [answer(404), answer(404)], None),
        ("invox", [answer(401, {})], False),
        ("freee", [answer(200, COMPANIES)], True),
        ("freee", [answer(200, {"companies": []})], None),
        ("freee", [answer(401, {"code": "expired_access_token"})], False),
        ("freee", [answer(401, {"code": "source_ip_address_limit"})], None),
        ("misoca", [answer(200, {"id": 7, "email": "keiri@example.co.jp"})], True),
        ("misoca", [answer(401, {})], False),
        ("misoca", [answer(401, NOT_JSON, 'Bearer realm="Doorkeeper", error="invalid_token"')], False),
        ("misoca", [answer(401, NOT_JSON, "Bearer")], None),
        ("misoca", [empty(401)], False),
        ("misoca", [empty(401, 'Bearer realm="Doorkeeper"')], False),
        ("misoca", [empty(401, 'Bearer realm="Doorkeeper", error="insufficient_scope"')], None),
        ("misoca", [empty(401, 'Basic realm="proxy"')], None),
        ("misoca", [empty(403)], None),
        ("invox", [empty(401)], False),
        ("invox", [answer(405), empty(401)], True),
        ("misoca", [answer(401, NOT_JSON, 'Bearer error="insufficient_scope"')], None),
        ("misoca", [answer(401, NOT_JSON, 'Basic realm="invalid_token"')], None),
        ("misoca", [answer(403, NOT_JSON, 'Bearer error="invalid_token"')], None),
        ("freee", [answer(401, {"code": "company_not_found"}, 'Bearer error="invalid_token"')], None),
    ],
)
async def test_only_what_the_provider_itself_says_proves_anything(
    provider: ProviderName, answers: list[HttpAnswer], *, is_accepted: bool | None
) -> None:
    assert await proved(provider, *answers) is is_accepted


@pytest.mark.parametrize("code", ["source_ip_address_limit", "freee_plan_limit", "user_do_not_have_permission"])
async def test_what_no_new_token_heals_is_told_in_the_providers_own_code(code: str) -> None:
    http: Any = Answers(answer(401, {"code": code, "message": "<b>x</b>"}))
    connection = Connection("main", "freee", "production", "7", "https://api.example")

    proof = await prove(http, connection, ("Authorization", "Bearer ours"))

    assert proof.why.en == f"Its answer (HTTP 401, {code}) does not tell whether the login works."


async def test_invox_is_never_sent_our_token_twice_but_one_it_cannot_know() -> None:
    edge = Answers(answer(405), answer(401, {}))
    http: Any = edge
    connection = Connection("main", "invox", "production", "7", "https://api.example")

    await prove(http, connection, ("Authorization", "Bearer ours"))

    ours, strangers = edge.tokens
    assert ours == "Bearer ours"
    assert strangers.startswith("Bearer ")
    assert "ours" not in strangers
