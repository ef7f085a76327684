"""invox's authorization server: code grant, refresh, revocation, errors in the form of RFC 6749.

Source: invox API 1.0.3, authentication, read 2026-11-21. Rotation of refresh tokens is not mentioned there;
the twin rotates by default, because a client that survives that survives the other way too.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from seikyu.sandbox.clock import Clock
from seikyu.sandbox.wire import Answer, Call, Json, html_answer, json_answer

CLIENT_ID: Final = "sandbox-invox-client"
CLIENT_SECRET: Final = "sandbox-invox-secret"  # noqa: S105 - made up, opens nothing but this twin
REDIRECT_URI: Final = "http://127.0.0.1:8721/oauth/callback"
SCOPES: Final = ("read", "write")
CODE_LIFE_S: Final = 60
ACCESS_TOKEN_LIFE_S: Final = 36_000

# RFC 6749, 5.1: token answers must not be cached
_NO_STORE: Final = (("cache-control", "no-store"), ("pragma", "no-cache"))


@dataclass(frozen=True, slots=True)
class Tokens:
    access_token: str
    refresh_token: str
    expires_in: int
    scope: str


@dataclass(slots=True)
class _Family:
    """All tokens that descend from one consent."""

    scope: str
    is_alive: bool = True


@dataclass(frozen=True, slots=True)
class _Access:
    family: _Family
    expires_at: datetime


@dataclass(slots=True)
class _Code:
    redirect_uri: str
    expires_at: datetime
    family: _Family
    is_used: bool = False


class TokenRefusal(Exception):
    """An error answer of the token endpoint."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        # RFC 6749, 5.2: a client that failed to authenticate gets 401 and is told how
        is_client = error == "invalid_client"
        challenge = (("www-authenticate", 'Basic realm="invox"'),) if is_client else ()
        self.answer = json_answer(
            401 if is_client else 400,
            {"error": error, "error_description": description},
            headers=(*_NO_STORE, *challenge),
        )


@dataclass(slots=True)
class AuthorizationServer:
    """`rotates` and `kills_on_reuse` are what a test may want otherwise; `redirect_uris` match exactly."""

    clock: Clock
    redirect_uris: list[str] = field(default_factory=lambda: [REDIRECT_URI])
    access_token_life_s: int = ACCESS_TOKEN_LIFE_S
    rotates: bool = True
    kills_on_reuse: bool = True
    refreshes: int = 0
    reuses: int = 0
    _codes: dict[str, _Code] = field(default_factory=dict[str, _Code])
    _access: dict[str, _Access] = field(default_factory=dict[str, _Access])
    _refresh: dict[str, _Family] = field(default_factory=dict[str, _Family])
    _spent: dict[str, _Family] = field(default_factory=dict[str, _Family])

    def forget(self) -> None:
        for tokens in (self._codes, self._access, self._refresh, self._spent):
            tokens.clear()
        self.refreshes = self.reuses = 0

    def grant(self, scope: str = "read write") -> Tokens:
        """Give tokens as after a consent, without the walk through a browser."""
        return self._issue(_Family(scope))

    def accepts(self, access_token: str) -> bool:
        access = self._access.get(access_token)
        return access is not None and access.family.is_alive and self.clock.now() < access.expires_at

    def scope_of(self, access_token: str) -> tuple[str, ...]:
        return tuple(self._access[access_token].family.scope.split())

    def authorize(self, call: Call) -> Answer:
        """Send the browser back with a code; the consent of the person is implied.

        A wrong client or redirect URI gets an error page, never a redirect (RFC 6749, 4.1.2.1).
        """
        asked = dict(call.query_pairs)
        if len(asked) != len(call.query_pairs):
            return html_answer(400, "A parameter is repeated")
        redirect_uri = asked.get("redirect_uri", "")
        if asked.get("client_id") != CLIENT_ID or redirect_uri not in self.redirect_uris:
            return html_answer(400, "Unknown client or redirect URI")
        answer = self._consent(asked)
        state = {"state": asked["state"]} if "state" in asked else {}
        return Answer(302, b"", "text/html", (("location", _with_query(redirect_uri, answer | state)),))

    def token(self, call: Call) -> Answer:
        try:
            tokens = self._tokens_for(call)
        except TokenRefusal as refusal:
            return refusal.answer
        return json_answer(200, _shown(tokens), headers=_NO_STORE)

    def revoke(self, call: Call) -> Answer:
        """End a token: a refresh token with its whole family. An unknown token is fine (RFC 7009, 2.2)."""
        try:
            form = _form(call)
            _check_body_client(call, form)
            self._end(_required(form, "token"))
        except TokenRefusal as refusal:
            return refusal.answer
        return Answer(200, b"", "text/plain")

    def _tokens_for(self, call: Call) -> Tokens:
        form = _form(call)
        _check_basic(call, form)
        match _required(form, "grant_type"):
            case "authorization_code":
                return self._redeem(form)
            case "refresh_token":
                return self._renew(form)
            case _:
                raise TokenRefusal("unsupported_grant_type", "authorization_code or refresh_token")

    def _consent(self, asked: Mapping[str, str]) -> dict[str, str]:
        scope = asked.get("scope", " ".join(SCOPES))
        if asked.get("response_type") != "code":
            return {"error": "unsupported_response_type"}
        if not scope.split() or not set(scope.split()) <= set(SCOPES):
            return {"error": "invalid_scope"}
        code = secrets.token_urlsafe(24)
        expires_at = self.clock.now() + timedelta(seconds=CODE_LIFE_S)
        self._codes[code] = _Code(asked["redirect_uri"], expires_at, _Family(scope))
        return {"code": code}

    def _redeem(self, form: Mapping[str, str]) -> Tokens:
        code = self._codes.get(_required(form, "code"))
        redirect_uri = _required(form, "redirect_uri")
        if code is None or self.clock.now() >= code.expires_at:
            raise TokenRefusal("invalid_grant", "the code is unknown or expired")
        if code.is_used:
            # RFC 6749, 4.1.2: a code seen twice may be stolen, so what it gave is taken back
            code.family.is_alive = False
            raise TokenRefusal("invalid_grant", "the code was used before")
        if redirect_uri != code.redirect_uri:
            raise TokenRefusal("invalid_grant", "redirect_uri differs from the authorization request")
        code.is_used = True
        return self._issue(code.family)

    def _renew(self, form: Mapping[str, str]) -> Tokens:
        sent = _required(form, "refresh_token")
        if sent in self._spent:
            self.reuses += 1
            self._spent[sent].is_alive = not self.kills_on_reuse and self._spent[sent].is_alive
            raise TokenRefusal("invalid_grant", "the refresh token was used before")
        family = self._refresh.get(sent)
        if family is None or not family.is_alive:
            raise TokenRefusal("invalid_grant", "the refresh token is unknown or revoked")
        self.refreshes += 1
        if not self.rotates:
            return self._issue(family, refresh_token=sent)
        self._spent[sent] = self._refresh.pop(sent)
        return self._issue(family)

    def _issue(self, family: _Family, refresh_token: str = "") -> Tokens:
        life_s = self.access_token_life_s
        tokens = Tokens(
            secrets.token_urlsafe(32),
            refresh_token or secrets.token_urlsafe(32),
            life_s,
            family.scope,
        )
        self._access[tokens.access_token] = _Access(family, self.clock.now() + timedelta(seconds=life_s))
        self._refresh[tokens.refresh_token] = family
        return tokens

    def _end(self, token: str) -> None:
        self._access.pop(token, None)
        family = self._refresh.get(token) or self._spent.get(token)
        if family is not None:
            family.is_alive = False


def _shown(tokens: Tokens) -> Json:
    return {
        "access_token": tokens.access_token,
        "expires_in": tokens.expires_in,
        "token_type": "Bearer",
        "scope": tokens.scope,
        "refresh_token": tokens.refresh_token,
    }


def _form(call: Call) -> dict[str, str]:
    try:
        return call.form()
    except ValueError as error:
        raise TokenRefusal("invalid_request", str(error)) from error


def _check_basic(call: Call, form: Mapping[str, str]) -> None:
    """Demand the client twice: in the Basic header, and its id in the form."""
    scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        decoded = ""
    if scheme.lower() != "basic" or decoded != f"{CLIENT_ID}:{CLIENT_SECRET}":
        raise TokenRefusal("invalid_client", "Basic authentication of the client failed")
    if _required(form, "client_id") != CLIENT_ID:
        raise TokenRefusal("invalid_client", "client_id in the form is another one")


def _check_body_client(call: Call, form: Mapping[str, str]) -> None:
    """Demand the client in the body alone; two ways at once are forbidden (RFC 6749, 2.3)."""
    if "authorization" in call.headers:
        raise TokenRefusal("invalid_request", "no Basic authentication here")
    if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
        raise TokenRefusal("invalid_client", "client_id and client_secret belong in the body")


def _required(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise TokenRefusal("invalid_request", f"{name} is missing")
    return form[name]


def _with_query(uri: str, more: Mapping[str, str]) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *more.items()])))
