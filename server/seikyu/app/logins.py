"""Connecting accounts: the commands' way to the vault, the providers and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seikyu.errors import ConfigurationError, Text
from seikyu.models import Connection
from seikyu.settings import SlackApp

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from pydantic import SecretStr

    from seikyu.app.home import Home
    from seikyu.app.rooms import OpenedRooms
    from seikyu.gate.connections import Checkup
    from seikyu.gate.logins import Arrival, Farewell, Revocation
    from seikyu.providers.consent import Consent
    from seikyu.vault.secrets import Vault


class Accounts:
    """Connecting accounts."""

    def __init__(self, home: Home, opened: OpenedRooms) -> None:
        from seikyu.gate.logins import Logins

        self._home = home
        self._opened = opened
        self._vault: Vault = opened.vault
        self._rooms = Logins(lambda: home.edge, opened.vault, opened.clock)

    def has(self, connection: Connection) -> bool:
        return self._vault.has(connection)

    def state(self, connection: Connection) -> str:
        return self._vault.state(connection)

    def is_shut(self, connection: Connection) -> bool:
        from seikyu.vault.secrets import Vault

        # of its own: a key that goes missing on the way is to be missed when the login is stored
        vault = Vault(self._opened.store, self._opened.clock, self._home.key_ring)
        return vault.state(connection) == "undecryptable"

    async def check(self, connections: Sequence[Connection]) -> list[Checkup]:
        from seikyu.gate.connections import Checkups

        opened = self._opened
        checkups = Checkups(self._home.edge, self._vault, opened.clock, credential_of=opened.credential)
        return await checkups.all(connections)

    def waiting_for_key(self) -> int:
        if self._home.key_places.lacking() is None:
            return 0
        with self._opened.store.read() as tx:
            return len(tx.all("secrets"))

    def prepare_key(self) -> str | None:
        made = self._home.key_places.prepare()
        return None if made is None else made.say(self._home.lang)

    async def put_api_key(self, connection: Connection, api_key: SecretStr) -> None:
        from seikyu.providers.mfkessai.client import MfKessaiClient
        from seikyu.providers.mfkessai.operations import LIST_CUSTOMERS

        trial = MfKessaiClient(self._home.edge, connection, _GivenKey(api_key), self._opened.documents.open)
        await trial.read(LIST_CUSTOMERS, query=[("limit", "1")])
        await self._rooms.put_api_key(connection, api_key)

    def put_webhook_secret(self, connection: Connection, secret: SecretStr) -> None:
        from seikyu.vault.keepsakes import webhook_place

        self._opened.keepsakes.put_signing_secret(webhook_place(connection), secret)

    def forget_webhook_secret(self, connection: Connection) -> bool:
        from seikyu.vault.keepsakes import webhook_place

        return self._opened.keepsakes.forget(webhook_place(connection))

    async def put_slack(self, app: SlackApp, *, token: SecretStr, signing_secret: SecretStr) -> None:
        from seikyu.surfaces.slack.api import SlackApi
        from seikyu.vault.keepsakes import slack_place

        said = await SlackApi(self._home.edge, app, self._home.clock, lambda: token).call("auth.test", {})
        if said.get("team_id") != app.team:
            raise ConfigurationError(
                Text("このトークンは別のチームのものです。", "That token belongs to another Slack team."),
                Text("connections.toml の [slack] を確かめてください。", "Check [slack] in connections.toml."),
            )
        keep = self._opened.keepsakes.put_signing_secret
        await self._opened.store.run(lambda: keep(slack_place(app), signing_secret, token=token))

    def sealing_key(self) -> Ed25519PrivateKey:
        return self._opened.keepsakes.sealing_key(may_make=True)

    def has_tools(self, connection: Connection) -> bool:
        from seikyu_tools import TOOLS

        return connection.provider in {tool.toolset for tool in TOOLS}

    def redirect_uri(self, connection: Connection) -> str:
        from seikyu.providers.authorization import oauth_server
        from seikyu.providers.consent import registered_redirect

        oauth_server(connection)
        self._home.key_ring()
        return registered_redirect(connection)

    def request_consent(self, connection: Connection, *, client_secret: SecretStr, redirect_uri: str) -> Consent:
        from seikyu.providers.authorization import oauth_server
        from seikyu.providers.consent import request_consent

        server = oauth_server(connection)
        return request_consent(connection, server, client_secret=client_secret, redirect_uri=redirect_uri)

    async def arrive(self, consent: Consent, code: SecretStr) -> Arrival:
        return await self._rooms.arrive(consent, code)

    async def keep(self, arrival: Arrival) -> None:
        await self._rooms.keep(arrival)

    async def give_back(self, arrival: Arrival) -> Revocation:
        return await self._rooms.give_back(arrival)

    async def revoke(self, connection: Connection) -> Farewell:
        return await self._rooms.revoke(connection)

    def forget(self, connection: Connection, farewell: Farewell) -> None:
        self._rooms.forget(connection, farewell)


class _GivenKey:
    """An API key on trial, before it is kept."""

    def __init__(self, api_key: SecretStr) -> None:
        self._api_key = api_key

    async def header(self, *, refused: str | None = None) -> tuple[str, str]:
        del refused
        return "apikey", self._api_key.get_secret_value()
