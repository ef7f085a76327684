"""The header that opens a provider's door, for one connection. Implements `spec.Credential`."""

from __future__ import annotations

import hmac
from functools import partial
from typing import Final

from seikyu.errors import LoginRequired, Text
from seikyu.spec import Connection
from seikyu.vault.secrets import Vault, connect_again
from seikyu.vault.tokens import TokenCustodian

_BEARER: Final = "Bearer "


class ApiKeyCredential:
    """Money Forward Kessai's `apikey` header. Source: MFK API v2 reference, read 2026-11-21."""

    def __init__(self, vault: Vault, connection: Connection) -> None:
        self._vault = vault
        self._connection = connection

    async def header(self, *, refused: str | None = None) -> tuple[str, str]:
        """Name and value. An API key is never renewed: a refused one that is still ours needs a person.

        Raises:
            LoginRequired: no key is stored, or the stored one was refused.
            StoreDamaged: the row does not open.
            ConfigurationError: no usable master key.
        """
        stored = await self._vault.store.run(partial(self._vault.api_key, self._connection))
        value = stored.get_secret_value()
        if refused is not None and hmac.compare_digest(value.encode(), refused.encode()):
            raise _refused_key(self._connection)
        return "apikey", value


class BearerCredential:
    """An OAuth access token, renewed when it is due. Source: RFC 6750, 2.1."""

    def __init__(self, custodian: TokenCustodian, connection: Connection) -> None:
        self._custodian = custodian
        self._connection = connection

    async def header(self, *, refused: str | None = None) -> tuple[str, str]:
        """Name and value. `refused` is a value this returned and the provider called expired.

        Raises:
            LoginRequired: the grant is over, or has lost rights; a person must connect again.
            ProviderUnavailable: the provider gave no tokens just now; the grant is kept.
        """
        token = None if refused is None else refused.removeprefix(_BEARER)
        fresh = await self._custodian.access_token(self._connection, refused=token)
        return "Authorization", _BEARER + fresh.get_secret_value()


def _refused_key(connection: Connection) -> LoginRequired:
    return LoginRequired(
        Text(
            f"接続 {connection.name} のAPIキーを {connection.provider} が受け付けません。",
            f"{connection.provider} does not accept the API key of connection {connection.name}.",
        ),
        connect_again(connection),
    )
