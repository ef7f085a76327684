"""Whether a provider accepts a login now, and whose account it opens: one cheap read, which changes nothing there."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias, cast

from seikyu.errors import NOTHING, Text
from seikyu.models import Connection, shown
from seikyu.providers.addresses import build_url, checked_base_url
from seikyu.providers.authorization import oauth_server
from seikyu.providers.http import HttpAnswer, HttpEdge
from seikyu.providers.invox.rules import api_root
from seikyu.providers.oauth import Account

Header: TypeAlias = tuple[str, str]
"""Name and value, as a credential gives them."""

_UNAUTHORIZED: Final = 401
_STORAGE: Final = "/e_storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a provider's answer proves about a login."""

    is_accepted: bool | None
    """None: the answer does not tell; `why` says so."""
    account: Account | None = None
    """None: this provider cannot tell."""
    why: Text = NOTHING
    date: datetime | None = None
    """When the provider says it answered."""


async def prove(http: HttpEdge, connection: Connection, header: Header, *, company: str | None = None) -> Proof:
    """Ask the connection's provider; `company` is the one its token was given for, where that was told.

    Raises:
        ProviderError: no answer that can be used.
        ConfigurationError: the address cannot be used.
    """
    match connection.provider:
        case "mfkessai":
            return await _prove_kessai(http, connection, header)
        case "invox":
            return await _prove_invox(http, connection, header)
        case "freee" | "misoca":
            return await _prove_by_account(http, connection, header, company)


async def _prove_kessai(http: HttpEdge, connection: Connection, header: Header) -> Proof:
    """One customer is asked for; MFK's API names no seller. Source: MFK API v2 reference, read 2026-11-21."""
    url = build_url(connection.base_url, "/customers", {})
    answer = await http.read(url, headers=dict([header]), query=[("limit", "1")])
    said = answer.json
    body = cast("dict[str, object]", said) if isinstance(said, dict) else {}
    if answer.is_success and isinstance(body.get("items"), list):
        return Proof(is_accepted=True, date=_date(answer))
    return _refused_or_odd(answer)


async def _prove_invox(http: HttpEdge, connection: Connection, header: Header) -> Proof:
    """Invox's API 1.0.3 has nothing to read, so what is compared is how it answers our token and one it never gave.

    It refuses only the latter with a 401 when it judges the token first, which is not documented: where both get the
    same answer, nothing is proved. A GET stores no document.
    """
    url = build_url(api_root(checked_base_url(connection.base_url)), _STORAGE, {})
    ours = await http.read(url, headers=dict([header]))
    if ours.status == _UNAUTHORIZED:
        return _refused_or_odd(ours)
    strangers = await http.read(url, headers={"Authorization": f"Bearer {secrets.token_urlsafe(32)}"})
    if strangers.status == _UNAUTHORIZED:
        return Proof(is_accepted=True, date=_date(ours))
    return Proof(is_accepted=None, why=_NOTHING_TO_READ, date=_date(ours))


async def _prove_by_account(http: HttpEdge, connection: Connection, header: Header, company: str | None) -> Proof:
    """The read that tells whose account it is; see the provider's `oauth.py`."""
    question = oauth_server(connection).account
    if question is None:
        return Proof(is_accepted=None, why=_NO_QUESTION)
    answer = await http.read(question.url, headers=dict([header]))
    if not answer.is_success:
        return _refused_or_odd(answer)
    account = question.read(answer.json, company)
    if account is None:
        return Proof(is_accepted=None, why=_NOBODY, date=_date(answer))
    return Proof(is_accepted=True, account=account, date=_date(answer))


def _refused_or_odd(answer: HttpAnswer) -> Proof:
    """A 401 in JSON or in OAuth's word is the API's own; any other answer, or a page, may come from before it."""
    is_own = answer.is_json or answer.says_token_is_over
    if answer.status == _UNAUTHORIZED and is_own and _code(answer) in _HEALED_BY_A_NEW_TOKEN:
        return Proof(is_accepted=False, date=_date(answer))
    said = said_in(answer)
    why = Text(
        f"応答（{said}）では、ログインが有効か分かりません。",
        f"Its answer ({said}) does not tell whether the login works.",
    )
    return Proof(is_accepted=None, why=why, date=_date(answer))


def said_in(answer: HttpAnswer) -> str:
    """The status, and the code in which the provider says why: freee has several that only a person can heal."""
    code = _code(answer)
    return f"HTTP {answer.status}" if code is None else f"HTTP {answer.status}, {shown(code, 60)}"


def _code(answer: HttpAnswer) -> str | None:
    read = answer.json
    code = cast("dict[str, object]", read).get("code") if isinstance(read, dict) else None
    return code if isinstance(code, str) else None


_HEALED_BY_A_NEW_TOKEN: Final = frozenset({None, "expired_access_token", "invalid_access_token"})
"""The `code` of a 401. freee has others, such as `source_ip_address_limit`, that no renewal heals.

Source: freee Developers Community, "アクセストークンの有効期限", read 2026-11-21.
"""


def _date(answer: HttpAnswer) -> datetime | None:
    """Source: RFC 9110, 6.6.1: it has whole seconds."""
    try:
        moment = parsedate_to_datetime(answer.date or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_NOTHING_TO_READ: Final = Text(
    "invox の API には読み取りがなく、応答からはログインが有効か分かりません。",
    "invox's API has nothing to read, and its answers do not tell whether the login works.",
)
_NOBODY: Final = Text(
    "どの会社のログインかを答えないか、この会社が見えなくなっています。",
    "It does not say whose account this is, or the login no longer sees that company.",
)
_NO_QUESTION: Final = Text("この提供元には確かめる方法がまだありません。", "There is no way yet to ask this provider.")
