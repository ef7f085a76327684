"""One request for a person's consent, and the one answer to it. Made anew for each `seikyu connect`; kept nowhere.

Source: RFC 6749, 4.1; RFC 7636 (PKCE); RFC 9207 (`iss`); RFC 9700, 2.1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import SecretStr

from seikyu.errors import ConfigurationError, InvalidArguments, LoginRequired, Text
from seikyu.models import Connection
from seikyu.providers.oauth import FormRequest, OAuthClient, OAuthServer, authorize_url, code_request

OUT_OF_BAND: Final = "urn:ietf:wg:oauth:2.0:oob"
"""As redirect address: the provider shows the code on its own page. freee, for tests on one's own machine."""
KEPT: Final = Text(
    "ログインは保存していません。以前のログインがあれば、そのままです。",
    "No login was stored; a former one, if there is any, stays as it is.",
)
_CODE: Final = re.compile(r"[\x21-\x7e]{1,2048}", re.ASCII)
"""Visible ASCII (RFC 6749, A.11); the length is our own limit."""
_ERROR: Final = re.compile(r"[a-z_]{1,40}", re.ASCII)
_MOST_PARAMETERS: Final = 20
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_RANDOM_BYTES: Final = 32


@dataclass(slots=True)
class Consent:
    """What we asked, so that nobody else's answer is taken for its own. `code` is taken out of it once."""

    connection: Connection
    server: OAuthServer
    client: OAuthClient
    state: SecretStr = field(default_factory=lambda: SecretStr(secrets.token_urlsafe(_RANDOM_BYTES)))
    verifier: SecretStr | None = None
    _is_answered: bool = False

    @property
    def address(self) -> str:
        """Where the person consents. Holds no secret but `state`, which the browser needs."""
        challenge = None if self.verifier is None else _challenge(self.verifier)
        return authorize_url(self.server, self.client, state=self.state.get_secret_value(), challenge=challenge)

    def is_answered_by(self, address: str) -> bool:
        """Whether somebody who was sent to `address` brings the answer to this request, whatever it says."""
        query = _query_of(address, self.client.redirect_uri)
        return query is not None and self._is_ours(query)

    def code_in(self, address: str) -> SecretStr:
        """The code inside the address the provider sent the person back to.

        Raises:
            InvalidArguments: it answers another request, or this one for the second time, or is no address.
            LoginRequired: consent was denied, or the answer is another authorization server's.
        """
        if "://" not in address:
            raise InvalidArguments(_NO_ADDRESS, again(self.connection), written=KEPT)
        query = _query_of(address, self.client.redirect_uri)
        if query is None or not self._is_ours(query) or self._is_answered:
            raise InvalidArguments(_FOREIGN, again(self.connection), written=KEPT)
        self._is_answered = True
        self._check_issuer(query)
        if "error" in query:
            raise _denied(self.connection, query["error"])
        return self._checked(query.get("code", ""))

    def code_shown(self, text: str) -> SecretStr:
        """The code as the provider showed it on its page. No state comes with it: the verifier binds it to us.

        Raises:
            InvalidArguments: it is an address, or no code at all.
        """
        if self._is_answered or "://" in text:
            raise InvalidArguments(_NO_CODE, again(self.connection), written=KEPT)
        self._is_answered = True
        return self._checked(text.strip())

    def exchange(self, code: SecretStr) -> FormRequest:
        """Trade the code for tokens; good for one try."""
        return code_request(self.server, self.client, code, verifier=self.verifier)

    def _is_ours(self, query: Mapping[str, str]) -> bool:
        ours = self.state.get_secret_value().encode()
        return hmac.compare_digest(ours, query.get("state", "").encode())

    def _check_issuer(self, query: Mapping[str, str]) -> None:
        """A plain comparison of strings, before the code is sent anywhere. Source: RFC 9207, 2.4."""
        expected, came = self.server.issuer, query.get("iss")
        if came == expected:
            return
        what = _NO_ISSUER if came is None else _UNEXPECTED_ISSUER if expected is None else _WRONG_ISSUER
        raise LoginRequired(what, _CHECK_ISSUER + again(self.connection), written=KEPT)

    def _checked(self, code: str) -> SecretStr:
        if not _CODE.fullmatch(code):
            raise InvalidArguments(_NO_CODE, again(self.connection), written=KEPT)
        return SecretStr(code)


def request_consent(
    connection: Connection, server: OAuthServer, *, client_secret: SecretStr, redirect_uri: str
) -> Consent:
    """A new request, with a state and, where the provider takes one, a verifier nobody has seen."""
    client = OAuthClient(connection.options["client_id"], client_secret, redirect_uri)
    verifier = SecretStr(secrets.token_urlsafe(_RANDOM_BYTES)) if server.takes_pkce else None
    return Consent(connection, server, client, verifier=verifier)


def registered_redirect(connection: Connection) -> str:
    """The redirect address in the configuration.

    Raises:
        ConfigurationError: `client_id` or `redirect_uri` is missing.
    """
    missing = [name for name in ("client_id", "redirect_uri") if not connection.options.get(name)]
    if not missing:
        return connection.options["redirect_uri"]
    names = ", ".join(missing)
    raise ConfigurationError(
        Text(f"接続 {connection.name} に {names} がありません。", f"Connection {connection.name} lacks {names}."),
        Text("connections.toml に書いてください。", "Write it into connections.toml."),
        written=KEPT,
    )


def again(connection: Connection) -> Text:
    """The next step after every login that came to nothing."""
    name = connection.name
    return Text(f"`seikyu connect {name}` をやり直してください。", f"Run `seikyu connect {name}` again.")


def _challenge(verifier: SecretStr) -> str:
    """S256. Source: RFC 7636, 4.2."""
    digest = hashlib.sha256(verifier.get_secret_value().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _query_of(address: str, redirect_uri: str) -> dict[str, str] | None:
    """The parameters of `address`; None when it is not the redirect address, or repeats one (RFC 6749, 3.1)."""
    try:
        came, ours = urlsplit(address.strip()), urlsplit(redirect_uri)
        as_written = _as_browsers_write(ours)
        pairs = parse_qsl(came.query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        return None
    query = dict(pairs)
    is_same = came._replace(query="", fragment="") in {ours._replace(query=""), as_written}
    has_own = parse_qsl(ours.query, keep_blank_values=True) == pairs[: ours.query.count("&") + 1 if ours.query else 0]
    return query if is_same and has_own and len(query) == len(pairs) else None


def _as_browsers_write(ours: SplitResult) -> SplitResult:
    """Our address without its query, as it comes back: a registered `http://127.0.0.1:8722` has a `/` then.

    Source: WHATWG URL, read 2026-11-21: host in lower case, no default port, at least a slash as path.
    """
    host = ours.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(ours.scheme, ":"))
    return ours._replace(netloc=host, path=ours.path or "/", query="")


def _denied(connection: Connection, error: str) -> LoginRequired:
    if error == "access_denied":
        what = Text(
            f"{connection.provider} の画面で許可されませんでした。", f"Consent was denied at {connection.provider}."
        )
    else:
        code = error if _ERROR.fullmatch(error) else "?"
        what = Text(
            f"{connection.provider} は許可の画面を出しませんでした（{code}）。",
            f"{connection.provider} did not ask for consent ({code}).",
        )
    return LoginRequired(what, again(connection), written=KEPT)


_FOREIGN: Final = Text(
    "これは今回の依頼への応答ではありません（別の依頼のものか、二度目です）。",
    "That is not the answer to this request: it is another one's, or comes a second time.",
)
_NO_ADDRESS: Final = Text(
    "アドレスではありません。ブラウザーのアドレス欄の全体を貼り付けてください。",
    "That is no address: paste the whole of what the browser's address bar shows.",
)
_NO_CODE: Final = Text("認可コードが読み取れません。", "There is no authorization code in that.")
_NO_ISSUER: Final = Text(
    "応答に発行者（iss）がありません。コードは送っていません。",
    "The answer names no issuer (iss) although one is expected; the code was sent nowhere.",
)
_WRONG_ISSUER: Final = Text(
    "応答の発行者（iss）が connections.toml の issuer と違います。コードは送っていません。",
    "The answer's issuer (iss) is not the `issuer` of connections.toml; the code was sent nowhere.",
)
_CHECK_ISSUER: Final = Text(
    "connections.toml の issuer を提供元の資料どおりにして、",
    "Write `issuer` into connections.toml as the provider's own documents have it, if they do.",
)
_UNEXPECTED_ISSUER: Final = Text(
    "想定していない発行者（iss）の応答です。コードは送っていません。",
    "The answer names an issuer (iss) although none is expected; the code was sent nowhere.",
)
