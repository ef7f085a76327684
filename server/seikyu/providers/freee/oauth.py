"""The facts of freee's OAuth.

Source unless said otherwise: freee Developers Community, "認可コード" and "アクセストークンの有効期限", read
2026-11-21. The authorization server stands at a host of its own, beside the API's.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from seikyu.errors import Text
from seikyu.models import shown
from seikyu.providers.addresses import checked_base_url
from seikyu.providers.oauth import Account, AccountQuestion, ClientAuth, OAuthServer

API: Final = "https://api.freee.co.jp"
ACCOUNTS: Final = "https://accounts.secure.freee.co.jp"


def freee_oauth(base_url: str, oauth_url: str | None = None) -> OAuthServer:
    """The authorization server for the API at `base_url`.

    A code lives 10 minutes, an access token 6 hours. A refresh token lives 90 days and is good for one use. The
    client's credentials go into the form; at the revocation endpoint that is assumed (the page names the token only).
    `prompt=select_company` lets the person choose the company, whose id the token answer then names.

    PKCE: not in the documentation; freee's own MCP server sends it (github.com/freee/freee-mcp,
    `src/server/freee-callback.ts`, read 2026-11-21). `iss` is not mentioned and not expected.

    Raises:
        ConfigurationError: an address cannot be used.
    """
    api = checked_base_url(base_url)
    root = checked_base_url(oauth_url or (ACCOUNTS if api == API else api)) + "/public_api"
    return OAuthServer(
        authorize_url=f"{root}/authorize",
        token_url=f"{root}/token",
        revoke_url=f"{root}/revoke",
        scope="read write",
        code_lifetime_s=600,
        access_lifetime_s=21_600,
        client_auth=ClientAuth.FORM,
        takes_pkce=True,
        account=AccountQuestion(f"{api}/api/1/companies", chosen_company, Text("事業所", "company")),
        more={"prompt": "select_company"},
    )


class _Company(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    id: int
    display_name: str | None = None
    name: str | None = None


class _Companies(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    companies: list[_Company]


def chosen_company(answer: object, named: str | None) -> Account | None:
    """The company the token is for, with its name as freee shows it.

    A person may belong to many: it is the one the token answer names, or the only one there is.

    Source: freee accounting API, GET /api/1/companies, schema of 2026-08-21.
    """
    try:
        companies = _Companies.model_validate(answer).companies
    except ValidationError:
        return None
    chosen = [company for company in companies if named in (None, str(company.id))]
    if len(chosen) != 1:
        return None
    (company,) = chosen
    return Account(str(company.id), shown(company.display_name or company.name or "—", 100))
