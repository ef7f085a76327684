"""OAuth 2.0 as our providers speak it: requests built here, answers read strictly, custody left to the vault.

Source: RFC 6749, 4.1, 5 and 6; RFC 7009. What a provider does differently is a field of `OAuthServer`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from urllib.parse import urlencode

from pydantic import SecretStr

from seikyu.errors import Text
from seikyu.providers.answers import HttpAnswer
from seikyu.providers.wire import no_fence
from seikyu.spec import Fence, Lost, NotSent
from seikyu.vault.grants import TokenAnswer, TokenRefused, TokenResult, TokenUnknown

if TYPE_CHECKING:
    from seikyu.providers.http import HttpEdge, Written

_ERROR_CODE: Final = re.compile(r"[a-z0-9_.\-]{1,60}", re.ASCII)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}", re.ASCII)
"""Visible ASCII (RFC 6749, A.12), so that a token can never break out of a header."""
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_OK: Final = 200
_TOO_MANY_REQUESTS: Final = 429


class ClientAuth(StrEnum):
    """How we prove to an endpoint who we are. Source: RFC 6749, 2.3.1."""

    BASIC = "basic"
    BASIC_AND_ID = "basic_and_id"
    """Basic, and `client_id` in the form besides."""
    FORM = "form"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account a login opened, in the provider's own words."""

    id: str
    name: str
    """Safe to show."""


ReadAccount: TypeAlias = Callable[[object, str | None], Account | None]
"""From the answer's JSON and the company the token answer named; None when they do not agree, or say nothing."""


@dataclass(frozen=True, slots=True)
class AccountQuestion:
    """The read by which a provider tells whose account a token opens."""

    url: str
    read: ReadAccount
    what: Text
    """What it names, in the trade's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthServer:
    """The facts of a provider's authorization server."""

    authorize_url: str
    token_url: str
    revoke_url: str | None
    scope: str
    code_lifetime_s: int
    access_lifetime_s: int
    """As documented; what counts is `expires_in` of each answer that has one."""
    client_auth: ClientAuth
    """At the token endpoint."""
    revoke_auth: ClientAuth = ClientAuth.FORM
    takes_pkce: bool = False
    """A challenge (S256) goes with the request for consent, its verifier with the code. Source: RFC 7636."""
    issuer: str | None = None
    """Must come back as `iss`, letter for letter; None: the provider is not known to send one. Source: RFC 9207."""
    account: AccountQuestion | None = None
    """None: nothing this provider offers tells whose account a token opens."""
    more: Mapping[str, str] = field(default_factory=dict[str, str])
    """What else the request for consent carries."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Ourselves, as registered with the provider."""

    client_id: str
    client_secret: SecretStr
    redirect_uri: str
    """Repeated to the letter when the code is exchanged."""


@dataclass(frozen=True, slots=True)
class FormRequest:
    """A form to post. Headers and form hold secrets; the repr shows the address only."""

    url: str
    headers: Mapping[str, str]
    form: Mapping[str, str]

    def __repr__(self) -> str:
        return f"FormRequest({self.url!r})"


def authorize_url(server: OAuthServer, client: OAuthClient, *, state: str, challenge: str | None = None) -> str:
    """Where the person who connects the account is sent. `state` is unguessable and used once."""
    pkce = {} if challenge is None else {"code_challenge": challenge, "code_challenge_method": "S256"}
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "scope": server.scope,
        "state": state,
        **server.more,
        **pkce,
    }
    return f"{server.authorize_url}?{urlencode(query)}"


def code_request(
    server: OAuthServer, client: OAuthClient, code: SecretStr, *, verifier: SecretStr | None = None
) -> FormRequest:
    """Exchange the code of the redirect, within `code_lifetime_s` and only once."""
    proof = {} if verifier is None else {"code_verifier": verifier.get_secret_value()}
    grant = {
        "grant_type": "authorization_code",
        "redirect_uri": client.redirect_uri,
        "code": code.get_secret_value(),
        **proof,
    }
    return _authenticated(server.token_url, client, grant, server.client_auth)


def refresh_request(server: OAuthServer, client: OAuthClient, refresh_token: SecretStr) -> FormRequest:
    """Renew the access token."""
    grant = {"grant_type": "refresh_token", "refresh_token": refresh_token.get_secret_value()}
    return _authenticated(server.token_url, client, grant, server.client_auth)


def revoke_request(server: OAuthServer, client: OAuthClient, token: SecretStr) -> FormRequest | None:
    """Give a token back; None where nothing is documented. Source: RFC 7009."""
    if server.revoke_url is None:
        return None
    return _authenticated(server.revoke_url, client, {"token": token.get_secret_value()}, server.revoke_auth)


async def ask_for_token(http: HttpEdge, request: FormRequest, *, life_s: int, fence: Fence = no_fence) -> TokenResult:
    """Post a token request once, within 10 s, unless `fence` raises. Never raises for what the wire does.

    `life_s` is the token's where the answer does not say.
    """
    written = await http.post_form(request.url, headers=request.headers, form=request.form, fence=fence)
    return token_result(written, life_s)


async def revoke(http: HttpEdge, request: FormRequest) -> bool:
    """True only when the endpoint itself answered 200; its body says nothing (RFC 7009, 2.2), but a page is not its."""
    answer = await http.post_form(request.url, headers=request.headers, form=request.form)
    return isinstance(answer, HttpAnswer) and answer.status == _OK and (answer.is_json or answer.is_empty)


def token_result(written: Written, life_s: int) -> TokenResult:
    """Read a token endpoint's answer. Whatever is not exactly a token or a refusal is unknown."""
    match written:
        case NotSent(reason):
            return TokenUnknown(reason, was_sent=False)
        case Lost(reason):
            return TokenUnknown(reason, was_sent=True)
        case HttpAnswer(status, body):
            members = cast("dict[str, object]", body) if isinstance(body, dict) else {}
            read = _token(members, life_s) if status == _OK else _refusal(members) if status in _REFUSES else None
            return read or _unknown(written)


def _authenticated(url: str, client: OAuthClient, form: Mapping[str, str], how: ClientAuth) -> FormRequest:
    """`form` with our credentials: in one place only (RFC 6749, 2.3)."""
    if how is ClientAuth.FORM:
        ours = {"client_id": client.client_id, "client_secret": client.client_secret.get_secret_value()}
        return FormRequest(url, {}, {**form, **ours})
    named = {"client_id": client.client_id} if how is ClientAuth.BASIC_AND_ID else {}
    return FormRequest(url, {"Authorization": _basic(client)}, {**form, **named})


def _basic(client: OAuthClient) -> str:
    pair = f"{client.client_id}:{client.client_secret.get_secret_value()}"
    return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"


def _token(members: Mapping[str, object], life_s: int) -> TokenAnswer | None:
    access, refresh, scope = members.get("access_token"), members.get("refresh_token") or None, members.get("scope")
    if not _is_token(access) or not (refresh is None or _is_token(refresh)):
        return None
    if not _is_bearer(members.get("token_type")):
        return None
    return TokenAnswer(
        access_token=SecretStr(str(access)),
        expires_in_s=_seconds(members.get("expires_in")) or life_s,
        refresh_token=None if refresh is None else SecretStr(str(refresh)),
        scope=scope if isinstance(scope, str) else None,
        company=_company(members.get("company_id")),
    )


def _seconds(value: object) -> int | None:
    """A life that was told. Without one the tokens are kept all the same: the old refresh token is used up by now.

    Source: RFC 6749, 5.1: `expires_in` is recommended, and what stands in the documentation counts without it.
    """
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    return value if type(value) is int and value > 0 else None


def _company(value: object) -> str | None:
    """Freee names the company beside the token, as a number; the others say nothing."""
    is_id = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return str(value) if is_id else None


def _refusal(members: Mapping[str, object]) -> TokenRefused | None:
    code = members.get("error")
    return TokenRefused(code) if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else None


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _is_bearer(token_type: object) -> bool:
    return token_type is None or (isinstance(token_type, str) and token_type.lower() == "bearer")


def _unknown(answer: HttpAnswer) -> TokenUnknown:
    """A 200 in JSON is the endpoint's own, and the refresh token is used up; anything else says nothing of it."""
    status = answer.status
    if status == _TOO_MANY_REQUESTS:
        return TokenUnknown(_TOO_MANY, was_sent=True, is_put_off=True)
    reason = Text(
        f"認可サーバーの応答(HTTP {status})はトークンでも拒否でもありません。",
        f"The authorization server's answer (HTTP {status}) is neither a token nor a refusal.",
    )
    return TokenUnknown(reason, was_sent=True, is_put_off=not (status == _OK and answer.is_json))


_TOO_MANY: Final = Text(
    "認可サーバーが混雑を告げています(HTTP 429)。", "The authorization server asks to wait (HTTP 429)."
)

_REFUSES: Final = frozenset({400, 401, 403})
"""Every other status, 429 among them, says nothing about the grant."""
