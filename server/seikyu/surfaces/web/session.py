"""Who is in front of the page: a random cookie, and form tokens that hold for one browser, page, content and hour.

Neither gives a right to decide; the passphrase does. They keep other sites from speaking through the browser.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from seikyu.gate.batches import Item

COOKIE: Final = "seikyu_page"
NAME_COOKIE: Final = "seikyu_operator"
"""The operator's name, so that it need not be typed again. Never anything else."""

FormPage: TypeAlias = Literal["sheet", "batch"]
"""A token of one page is none of the other."""

TOKEN_LIFE: Final = timedelta(hours=1)
MAX_NAME: Final = 100
"""Characters of an operator's name."""

_NAME_LIFE_S: Final = 30 * 24 * 3600
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_TOKEN: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """One browser."""

    secret: str
    is_new: bool


def session_of(request: Request) -> Session:
    """The browser's session; a new one when it brings none, or one we did not make."""
    sent = request.cookies.get(COOKIE, "")
    if _SECRET.fullmatch(sent):
        return Session(sent, is_new=False)
    return Session(secrets.token_urlsafe(32), is_new=True)


def remembered_name(request: Request) -> str:
    """The operator's name as last used in this browser, or nothing."""
    return unquote(request.cookies.get(NAME_COOKIE, ""), errors="ignore")[:MAX_NAME]


def keep(response: Response, session: Session, *, is_https: bool) -> None:
    """Hand a new session to the browser; it ends with the browser."""
    if session.is_new:
        _set(response, COOKIE, session.secret, is_https=is_https, max_age=None)


def remember_name(response: Response, name: str, *, is_https: bool) -> None:
    _set(response, NAME_COOKIE, quote(name, safe=""), is_https=is_https, max_age=_NAME_LIFE_S)


def _set(response: Response, name: str, value: str, *, is_https: bool, max_age: int | None) -> None:
    response.set_cookie(
        name, value, max_age=max_age, path="/approvals", secure=is_https, httponly=True, samesite="strict"
    )


@dataclass(frozen=True, slots=True)
class FormSeal:
    """Makes and checks the tokens of the forms shown to one browser."""

    key: bytes
    session: Session

    page: FormPage

    def token(self, items: Sequence[Item], now: datetime) -> str:
        """A token for the form that shows exactly `items`; holds for `TOKEN_LIFE`."""
        until = int((now + TOKEN_LIFE).timestamp())
        return f"{until}.{self._mac(items, until)}"

    def holds(self, token: str, items: Sequence[Item], now: datetime) -> bool:
        """Whether this browser was shown exactly this form, within the hour."""
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            return False
        until = int(parts[1])
        is_ours = hmac.compare_digest(parts[2], self._mac(items, until))
        return is_ours and now.timestamp() < until

    def _mac(self, items: Sequence[Item], until: int) -> str:
        shown = [[item.action_id, item.digest, item.revision] for item in items]
        message = json.dumps(["seikyu-form", self.page, self.session.secret, shown, until])
        return hmac.new(self.key, message.encode(), hashlib.sha256).hexdigest()
