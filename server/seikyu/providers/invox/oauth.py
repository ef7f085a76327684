"""The facts of invox's OAuth. Source: invox API 1.0.3 reference, read 2026-11-21."""

from __future__ import annotations

from seikyu.providers.addresses import checked_base_url
from seikyu.providers.invox.rules import oauth_root
from seikyu.providers.oauth import ClientAuth, OAuthServer


def invox_oauth(base_url: str, oauth_url: str | None = None) -> OAuthServer:
    """The authorization server that stands beside the API at `base_url`.

    The trailing slashes are invox's own. The token endpoint wants Basic and `client_id` in the form;
    revocation wants the credentials in the form, no Basic. A refresh token does not expire. Whether it is
    rotated is not said, so the newest is kept (assumed). PKCE and `iss` are not mentioned, so neither is sent or
    expected; `pkce` and `issuer` of the connection change that. Nothing tells whose account a token opens: version
    1.0.3 has no read at all.

    Raises:
        ConfigurationError: the base address cannot be used.
    """
    root = f"{oauth_root(checked_base_url(oauth_url or base_url))}/oauth2"
    return OAuthServer(
        authorize_url=f"{root}/authorize/",
        token_url=f"{root}/token/",
        revoke_url=f"{root}/revoke_token/",
        scope="read write",
        code_lifetime_s=60,
        access_lifetime_s=36_000,
        client_auth=ClientAuth.BASIC_AND_ID,
    )
