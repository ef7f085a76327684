"""An authorization server as the twins need one: code grant, PKCE, refresh, revocation, errors of RFC 6749.

What differs between the providers is a `Registration`; what a test may want otherwise is a field of the server.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from seikyu.sandbox.clock import Clock
from seikyu.sandbox.wire import Answer, Call, Json, html_answer, json_answer

OUT_OF_BAND: Final = "urn:ietf:wg:oauth:2.0:oob"

# RFC 6749, 5.1: token answers must not be cached
_NO_STORE: Final = (("cache-control", "no-store"), ("pragma", "no-cache"))

Way = Literal["basic", "basic_and_id", "form"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One client as a provider knows it, and the rules it plays by."""

    realm: str
    client_id: str
    client_secret: str
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    code_life_s: int
    access_token_life_s: int
    token_ways: tuple[Way, ...]
    """How the client may authenticate at the token endpoint; one way at a time (RFC 6749, 2.3)."""
    revoke_way: Way = "form"
    takes_pkce: bool = False
    """False: a challenge is passed over, as any parameter that is not known (RFC 6749, 3.1)."""
    company: str | None = None
    """The company a person chooses at first; named in token answers. None: this provider names none."""
    reuse_status: int = 400
    """Of the answer to a refresh token that comes a second time."""


@dataclass(frozen=True, slots=True)
class Tokens:
    access_token: str
    refresh_token: str
    expires_in: int
    scope: str
    company: str | None = None


@dataclass(slots=True)
class _Family:
    """All tokens that descend from one consent."""

    scope: str
    company: str | None = None
    is_alive: bool = True


@dataclass(frozen=True, slots=True)
class _Access:
    family: _Family
    expires_at: datetime


@dataclass(slots=True)
class _Code:
    redirect_uri: str
    challenge: str | None
    expires_at: datetime
    family: _Family
    is_used: bool = False


class TokenRefusal(Exception):
    """An error answer of the token endpoint; `status` where a provider has its own."""

    def __init__(self, error: str, description: str, status: int = 0) -> None:
        super().__init__(description)
        self.error = error
        self.status = status

    def answer(self, realm: str) -> Answer:
        # RFC 6749, 5.2: a client that failed to authenticate gets 401 and is told how
        is_client = self.error == "invalid_client"
        challenge = (("www-authenticate", f'Basic realm="{realm}"'),) if is_client else ()
        body: Json = {"error": self.error, "error_description": str(self)}
        return json_answer(self.status or (401 if is_client else 400), body, headers=(*_NO_STORE, *challenge))


@dataclass(slots=True)
class AuthorizationServer:
    """`redirect_uris` match exactly, but for the port of 127.0.0.1 with `ignores_loopback_port` (RFC 8252, 7.3)."""

    clock: Clock
    ours: Registration
    redirect_uris: list[str] = field(init=False)
    access_token_life_s: int = field(init=False)
    company: str | None = field(init=False)
    """Which company the next person chooses."""
    rotates: bool = True
    kills_on_reuse: bool = True
    denies: bool = False
    """The next person says no."""
    issuer: str | None = None
    """Comes back as `iss` (RFC 9207)."""
    ignores_loopback_port: bool = False
    refreshes: int = 0
    reuses: int = 0
    _codes: dict[str, _Code] = field(default_factory=dict[str, _Code])
    _access: dict[str, _Access] = field(default_factory=dict[str, _Access])
    _refresh: dict[str, _Family] = field(default_factory=dict[str, _Family])
    _spent: dict[str, _Family] = field(default_factory=dict[str, _Family])

    def __post_init__(self) -> None:
        self.redirect_uris = list(self.ours.redirect_uris)
        self.access_token_life_s = self.ours.access_token_life_s
        self.company = self.ours.company

    def forget(self) -> None:
        for tokens in (self._codes, self._access, self._refresh, self._spent):
            tokens.clear()
        self.refreshes = self.reuses = 0

    def grant(self, scope: str = "") -> Tokens:
        """Give tokens as after a consent, without the walk through a browser."""
        return self._issue(_Family(scope or " ".join(self.ours.scopes), self.company))

    @property
    def living(self) -> int:
        """How many logins can still be renewed."""
        return sum(family.is_alive for family in self._refresh.values())

    def accepts(self, access_token: str) -> bool:
        access = self._access.get(access_token)
        return access is not None and access.family.is_alive and self.clock.now() < access.expires_at

    def opens(self, call: Call) -> bool:
        """Whether a call of the API carries a good access token."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.accepts(token)

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
        if asked.get("client_id") != self.ours.client_id or not self._is_registered(redirect_uri):
            return html_answer(400, "Unknown client or redirect URI")
        answer = self._consent(asked)
        if redirect_uri == OUT_OF_BAND:
            return html_answer(200, answer.get("code") or answer["error"])
        issuer = {} if self.issuer is None else {"iss": self.issuer}
        state = {"state": asked["state"]} if "state" in asked else {}
        return Answer(302, b"", "text/html", (("location", _with_query(redirect_uri, answer | state | issuer)),))

    def token(self, call: Call) -> Answer:
        try:
            tokens = self._tokens_for(call)
        except TokenRefusal as refusal:
            return refusal.answer(self.ours.realm)
        return json_answer(200, self._shown(tokens), headers=_NO_STORE)

    def revoke(self, call: Call) -> Answer:
        """End a token: a refresh token with its whole family. An unknown token is fine (RFC 7009, 2.2)."""
        try:
            form = _form(call)
            self._check_client(call, form, (self.ours.revoke_way,))
            self._end(_required(form, "token"))
        except TokenRefusal as refusal:
            return refusal.answer(self.ours.realm)
        return Answer(200, b"", "text/plain")

    def _is_registered(self, redirect_uri: str) -> bool:
        plain = _without_port(redirect_uri) if self.ignores_loopback_port else redirect_uri
        known = [_without_port(uri) if self.ignores_loopback_port else uri for uri in self.redirect_uris]
        return plain in known

    def _tokens_for(self, call: Call) -> Tokens:
        form = _form(call)
        self._check_client(call, form, self.ours.token_ways)
        match _required(form, "grant_type"):
            case "authorization_code":
                return self._redeem(form)
            case "refresh_token":
                return self._renew(form)
            case _:
                raise TokenRefusal("unsupported_grant_type", "authorization_code or refresh_token")

    def _consent(self, asked: Mapping[str, str]) -> dict[str, str]:
        scope = asked.get("scope", " ".join(self.ours.scopes))
        if self.denies:
            return {"error": "access_denied"}
        if asked.get("response_type") != "code":
            return {"error": "unsupported_response_type"}
        if not scope.split() or not set(scope.split()) <= set(self.ours.scopes):
            return {"error": "invalid_scope"}
        challenge = asked.get("code_challenge") if self.ours.takes_pkce else None
        if challenge is not None and asked.get("code_challenge_method") != "S256":
            return {"error": "invalid_request"}
        code = secrets.token_urlsafe(24)
        expires_at = self.clock.now() + timedelta(seconds=self.ours.code_life_s)
        self._codes[code] = _Code(asked["redirect_uri"], challenge, expires_at, _Family(scope, self.company))
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
        if self.ours.takes_pkce:
            _check_verifier(code.challenge, form.get("code_verifier"))
        code.is_used = True
        return self._issue(code.family)

    def _renew(self, form: Mapping[str, str]) -> Tokens:
        sent = _required(form, "refresh_token")
        if sent in self._spent:
            self.reuses += 1
            self._spent[sent].is_alive = not self.kills_on_reuse and self._spent[sent].is_alive
            raise TokenRefusal("invalid_grant", "the refresh token was used before", self.ours.reuse_status)
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
            family.company,
        )
        self._access[tokens.access_token] = _Access(family, self.clock.now() + timedelta(seconds=life_s))
        self._refresh[tokens.refresh_token] = family
        return tokens

    def _end(self, token: str) -> None:
        self._access.pop(token, None)
        family = self._refresh.get(token) or self._spent.get(token)
        if family is not None:
            family.is_alive = False

    def _check_client(self, call: Call, form: Mapping[str, str], ways: tuple[Way, ...]) -> None:
        """Demand the client in one of `ways`; two ways at once are forbidden (RFC 6749, 2.3)."""
        is_basic = "authorization" in call.headers
        if is_basic and "client_secret" in form:
            raise TokenRefusal("invalid_request", "the secret belongs in one place only")
        if is_basic and "basic_and_id" in ways:
            _required(form, "client_id")
        way: Way = "form" if not is_basic else "basic_and_id" if "client_id" in form else "basic"
        given = _basic(call) if is_basic else (form.get("client_id", ""), form.get("client_secret", ""))
        ours = (self.ours.client_id, self.ours.client_secret)
        if way not in ways or given != ours or form.get("client_id", ours[0]) != ours[0]:
            raise TokenRefusal("invalid_client", f"the client authenticates by {' or '.join(ways)}")

    def _shown(self, tokens: Tokens) -> Json:
        said: dict[str, Json] = {
            "access_token": tokens.access_token,
            "expires_in": tokens.expires_in,
            "token_type": "Bearer",
            "scope": tokens.scope,
            "refresh_token": tokens.refresh_token,
        }
        return said if tokens.company is None else said | {"company_id": tokens.company}


def _check_verifier(challenge: str | None, verifier: str | None) -> None:
    """Source: RFC 7636, 4.6; a verifier without a challenge is a downgrade (RFC 9700, 2.1.1)."""
    if challenge is None and verifier is None:
        return
    digest = hashlib.sha256((verifier or "").encode()).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if not hmac.compare_digest(made, challenge or ""):
        raise TokenRefusal("invalid_grant", "code_verifier does not fit the challenge")


def _form(call: Call) -> dict[str, str]:
    try:
        return call.form()
    except ValueError as error:
        raise TokenRefusal("invalid_request", str(error)) from error


def _basic(call: Call) -> tuple[str, str]:
    scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (name, secret) if scheme.lower() == "basic" else ("", "")


def _required(form: Mapping[str, str], name: str) -> str:
    if not form.get(name):
        raise TokenRefusal("invalid_request", f"{name} is missing")
    return form[name]


def _with_query(uri: str, more: Mapping[str, str]) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *more.items()])))


def _without_port(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc="127.0.0.1")) if parts.hostname == "127.0.0.1" else uri
