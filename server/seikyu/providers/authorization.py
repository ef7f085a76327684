"""Where a connection logs in: the facts of its provider, and what the configuration says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from seikyu.errors import ConfigurationError, Text
from seikyu.models import Connection, ProviderName
from seikyu.providers.freee.oauth import freee_oauth
from seikyu.providers.invox.oauth import invox_oauth
from seikyu.providers.misoca.oauth import misoca_oauth
from seikyu.providers.oauth import ClientAuth, OAuthServer

_SERVERS: Final[Mapping[ProviderName, Callable[[str, str | None], OAuthServer]]] = {
    "freee": freee_oauth,
    "invox": invox_oauth,
    "misoca": misoca_oauth,
}


def has_oauth(connection: Connection) -> bool:
    """False for a provider that is opened with a key."""
    return connection.provider in _SERVERS


def oauth_server(connection: Connection) -> OAuthServer:
    """The authorization server of a connection.

    Raises:
        ConfigurationError: a provider without OAuth, or an address that cannot be used.
    """
    if not has_oauth(connection):
        raise ConfigurationError(
            Text(
                f"{connection.provider} は API キーで接続します。", f"{connection.provider} is opened with an API key."
            )
        )
    options = connection.options
    server = _SERVERS[connection.provider](connection.base_url, options.get("oauth_url"))
    auth = options.get("client_auth")
    return replace(
        server,
        scope=options.get("scope", server.scope),
        issuer=options.get("issuer", server.issuer),
        takes_pkce=options["pkce"] == "S256" if "pkce" in options else server.takes_pkce,
        client_auth=server.client_auth if auth is None else ClientAuth(auth),
        revoke_url=options.get("revoke_url", server.revoke_url),
    )
