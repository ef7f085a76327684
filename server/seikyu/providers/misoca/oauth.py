"""The facts of Misoca's OAuth.

Source unless said otherwise: Misoca API v3, its Swagger document and the page on applications, read 2026-11-21.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from seikyu.errors import Text
from seikyu.models import shown
from seikyu.providers.addresses import checked_base_url
from seikyu.providers.oauth import Account, AccountQuestion, ClientAuth, OAuthServer

_API_PATH: Final = "/api/v3"
_USER: Final = Text("ユーザー（会社は API が答えません）", "user (its API names no company)")


def misoca_oauth(base_url: str, oauth_url: str | None = None) -> OAuthServer:
    """The authorization server that stands beside the API at `base_url`, which may name the API itself.

    `write` includes `read`. An access token lives a day. Every token answer brings a refresh token; whether it is
    rotated and how long it lives is not said, so the newest is kept (assumed). The redirect address must be one of
    those registered. Assumed, for nothing is written: a code lives 10 minutes; credentials go into a Basic header
    (public clients do both, the form as well); no PKCE; no `iss`; nowhere to revoke. `pkce`, `issuer`,
    `client_auth` and `revoke_url` of the connection change that.

    Raises:
        ConfigurationError: an address cannot be used.
    """
    root = checked_base_url(base_url).removesuffix(_API_PATH)
    oauth = f"{checked_base_url(oauth_url or root)}/oauth2"
    return OAuthServer(
        authorize_url=f"{oauth}/authorize",
        token_url=f"{oauth}/token",
        revoke_url=None,
        scope="write",
        code_lifetime_s=600,
        access_lifetime_s=86_400,
        client_auth=ClientAuth.BASIC,
        revoke_auth=ClientAuth.BASIC,
        account=AccountQuestion(f"{root}{_API_PATH}/user/me", own_user, _USER),
    )


class _User(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    id: int
    email: str


def own_user(answer: object, _named: str | None) -> Account | None:
    """Misoca's API knows no company: the user's id and address are all that tells one account from another.

    Source: Misoca API v3, GET /user/me.
    """
    try:
        user = _User.model_validate(answer)
    except ValidationError:
        return None
    return Account(str(user.id), shown(user.email, 100))
