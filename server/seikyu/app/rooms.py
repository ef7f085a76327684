"""The rooms over one database, each built from those below it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from seikyu.errors import CommitUnknown, ConfigurationError, StoreBusy, StoreDamaged, Text
from seikyu.models import Connection
from seikyu.spec import Credential, Fence

if TYPE_CHECKING:
    from pydantic import SecretStr
    from starlette.routing import BaseRoute

    from seikyu.app.home import Home
    from seikyu.gate.anchor_copies import AnchorCopies
    from seikyu.gate.delivery import Delivery
    from seikyu.gate.execution import Client
    from seikyu.gate.notices import Notifier
    from seikyu.pipeline import Rooms
    from seikyu.store.database import Tx
    from seikyu.surfaces.cli.house import Operations
    from seikyu.surfaces.slack import Errands
    from seikyu.surfaces.slack.api import SlackApi
    from seikyu.vault.grants import TokenResult
    from seikyu.vault.rotation import Rotation
    from seikyu.vault.secrets import Vault
    from seikyu.vault.tokens import TokenCustodian


class OpenedRooms:
    """The rooms over one database."""

    def __init__(self, home: Home) -> None:
        from seikyu.gate.anchors import AnchorFile, Anchoring
        from seikyu.gate.batches import Batches
        from seikyu.gate.cards import CardIndex
        from seikyu.gate.claims import Claims, mark_reversed
        from seikyu.gate.events import EventBook
        from seikyu.gate.execution import Executor, no_steps
        from seikyu.gate.journal import Journal
        from seikyu.gate.proposals import Desk
        from seikyu.gate.reconciliation import Reconciliation
        from seikyu.gate.restoration import Restoration
        from seikyu.gate.revisions import Revisions
        from seikyu.gate.votes import BallotBox
        from seikyu.providers.catalog import WRITE_OPERATIONS
        from seikyu.store.database import Store
        from seikyu.store.files import DocumentStore
        from seikyu.store.presence import Presence
        from seikyu.vault.keepsakes import Keepsakes
        from seikyu.vault.secrets import Vault
        from seikyu.vault.tokens import TokenCustodian

        settings, book = home.settings, home.book()
        self.home = home
        self.store = Store(settings.store_place)
        self.clock = clock = self.store.clock(home.clock)
        self.anchor_file = AnchorFile(settings.anchors_file)
        self.anchors = Anchoring(self.store, clock, self.anchor_file)
        self.restoration = Restoration(
            self.store, clock, settings.timing, journal=Journal(settings.sent_folder), anchors=self.anchor_file
        )
        self.presence = Presence(settings.home / "alive")
        self.documents = DocumentStore(
            settings.home / "documents", settings.file_roots, settings.file_cap_bytes, keep_out=(settings.home,)
        )
        self.vault: Vault = Vault(self.store, clock, home.known_ring, is_gone=self.presence.is_gone)
        self.custodian: TokenCustodian = TokenCustodian(self.vault, clock, self.presence, self._refresh)
        claims = Claims(
            self.store,
            clock,
            settings,
            book=book,
            operations=WRITE_OPERATIONS,
            presence=self.presence,
            restoration=self.restoration,
        )
        reconciliation = Reconciliation(self.store, clock, settings.timing, claims, self.presence)
        told = home.on_step or no_steps
        self.executor = Executor(
            self.store, clock, claims, reconciliation=reconciliation, client_of=self.client, on_step=told
        )
        self.events = EventBook(self.store, clock, claims, self.executor, self.client)
        self.keepsakes = Keepsakes(self.store, clock, home.known_ring)
        self.desk = Desk(self.store, clock, settings, book)
        self.revisions = Revisions(self.store, clock, settings, book)
        self.cards = CardIndex(self.store, WRITE_OPERATIONS, settings.approvals_url)
        self.ballots = BallotBox(
            self.store, clock, settings.timing, lambda tx, action: mark_reversed(tx, action, WRITE_OPERATIONS)
        )
        self.batches = Batches(self.store, clock, self.cards, self.ballots, settings.batch)
        self._clients: dict[str, Client] = {}

    @cached_property
    def notifiers(self) -> Sequence[Notifier]:
        """The channels that carry notices out of the house."""
        from seikyu.gate.hooks import CommandNotifier
        from seikyu.surfaces.slack.notifier import SlackNotifier

        command, api, home = self.home.settings.notify_command, self.slack_api, self.home
        by_command = [CommandNotifier(command, self.store, link_of=self.cards.link)] if command else []
        by_slack = [] if api is None else [SlackNotifier(api, self.store, self.clock, self.cards, home.lang)]
        return [*by_command, *by_slack]

    @cached_property
    def delivery(self) -> Delivery:
        from seikyu.gate.delivery import Delivery
        from seikyu.gate.gathering import Gathering
        from seikyu.gate.outbox import Outbox
        from seikyu.gate.reminders import Reminders
        from seikyu.providers.catalog import WRITE_OPERATIONS

        settings, clock, timing = self.home.settings, self.clock, self.home.settings.timing
        channels = [notifier.name for notifier in self.notifiers]
        gathering = Gathering(self.store, clock, channels=channels, operations=WRITE_OPERATIONS)
        return Delivery(
            self.store,
            gathering=gathering,
            reminders=Reminders(self.store, clock, timing, gathering, escalate_to=settings.escalate_to),
            outbox=Outbox(self.store, clock, timing, self.presence, escalate_to=settings.escalate_to),
            notifiers=self.notifiers,
        )

    @cached_property
    def copies(self) -> AnchorCopies | None:
        """Where anchors are brought to; None when there is no other place."""
        from seikyu.gate.anchor_copies import AnchorCopies
        from seikyu.gate.hooks import AnchorCommand

        command = self.home.settings.anchor_command
        if not command:
            return None
        return AnchorCopies(self.store, self.clock, self.anchor_file, AnchorCommand(command))

    @cached_property
    def rooms(self) -> Rooms:
        """What the pipeline walks through."""
        from seikyu.pipeline import Rooms
        from seikyu.providers.catalog import WRITE_OPERATIONS

        return Rooms(
            settings=self.home.settings,
            store=self.store,
            clock=self.clock,
            desk=self.desk,
            revisions=self.revisions,
            cards=self.cards,
            executor=self.executor,
            vault=self.vault,
            inbox=self.documents,
            reader_of=self.client,
            operations=WRITE_OPERATIONS,
        )

    @cached_property
    def operations(self) -> Operations:
        """What the operators' commands walk through."""
        from seikyu.providers.catalog import WRITE_OPERATIONS
        from seikyu.surfaces.cli.house import Operations

        return Operations(
            store=self.store,
            clock=self.clock,
            desk=self.desk,
            revisions=self.revisions,
            cards=self.cards,
            ballots=self.ballots,
            batches=self.batches,
            executor=self.executor,
            anchors=self.anchors,
            anchor_copies=self.copies,
            restoration=self.restoration,
            open_document=self.documents.open,
            operations=WRITE_OPERATIONS,
        )

    def client(self, connection: Connection) -> Client:
        """The client of a connection; kept, so that its reads share connections."""
        if connection.name not in self._clients:
            self._clients[connection.name] = self._new_client(connection)
        return self._clients[connection.name]

    def _new_client(self, connection: Connection) -> Client:
        from seikyu.providers.invox.client import InvoxClient
        from seikyu.providers.mfkessai.client import MfKessaiClient

        edge, documents = self.home.edge, self.documents.open
        if connection.provider == "mfkessai":
            return MfKessaiClient(edge, connection, self.credential(connection), documents)
        if connection.provider == "invox":
            return InvoxClient(edge, connection, self.credential(connection), documents)
        raise ConfigurationError(
            Text(f"{connection.provider} はまだ使えません。", f"{connection.provider} cannot be used yet.")
        )

    def credential(self, connection: Connection) -> Credential:
        """What opens the provider's door for a connection."""
        from seikyu.providers.authorization import has_oauth
        from seikyu.vault.credentials import ApiKeyCredential, BearerCredential

        if has_oauth(connection):
            return BearerCredential(self.custodian, connection)
        return ApiKeyCredential(self.vault, connection)

    async def _refresh(
        self,
        connection: Connection,
        *,
        client_id: str,
        client_secret: SecretStr,
        refresh_token: SecretStr,
        fence: Fence,
    ) -> TokenResult:
        from seikyu.providers.authorization import oauth_server
        from seikyu.providers.oauth import OAuthClient, ask_for_token, refresh_request

        server = oauth_server(connection)
        ourselves = OAuthClient(client_id, client_secret, connection.options.get("redirect_uri", ""))
        request = refresh_request(server, ourselves, refresh_token)
        return await ask_for_token(self.home.edge, request, life_s=server.access_lifetime_s, fence=fence)

    def rotation(self, os_user: str) -> Rotation:
        """What gives the vault a new key, in the name of `os_user`."""
        from seikyu.gate import audit
        from seikyu.vault.holdings import Appraiser, bindings
        from seikyu.vault.rotation import Rotation

        def tell(tx: Tx, kind: str, /, **record: Any) -> None:  # noqa: ANN401 - JSON
            audit.append(tx, self.clock.now(), kind, os_user=os_user, **record)

        settings = self.home.settings
        return Rotation(
            self.store,
            self.clock,
            places=self.home.key_places,
            appraiser=Appraiser(bindings(settings.connections, settings.slack), self.clock, self.presence),
            tell=tell,
            home=settings.home,
            is_shared=settings.database_url is not None,
        )

    def approval_rooms(self) -> Any:  # noqa: ANN401 - seikyu.surfaces.web.ApprovalRooms
        """What the approval page walks into."""
        from seikyu.surfaces.web import ApprovalRooms

        return ApprovalRooms(
            store=self.store,
            clock=self.clock,
            desk=self.desk,
            cards=self.cards,
            ballots=self.ballots,
            batches=self.batches,
            wake=self._wake,
            key=self._page_key(),
            lang=self.home.lang,
        )

    def hooks(self) -> Any:  # noqa: ANN401 - seikyu.surfaces.webhooks.Hooks
        """What the webhooks walk into."""
        from seikyu.surfaces.webhooks import Hooks
        from seikyu.vault.keepsakes import webhook_place

        return Hooks(
            store=self.store,
            events=self.events,
            connections=self.home.settings.connections,
            secrets_of=lambda connection: self.keepsakes.signing_secrets(webhook_place(connection)),
        )

    @cached_property
    def slack_api(self) -> SlackApi | None:
        """What speaks to Slack, when an app is configured."""
        from seikyu.surfaces.slack.api import SlackApi
        from seikyu.vault.keepsakes import slack_place

        app = self.home.settings.slack
        if app is None:
            return None
        place = slack_place(app)
        return SlackApi(self.home.edge, app, self.clock, lambda: self.keepsakes.word(place, "token"))

    def slack_routes(self) -> list[BaseRoute]:
        """Where Slack's clicks come in; nowhere without an app."""
        from seikyu.surfaces.slack import SlackRooms, slack_routes
        from seikyu.vault.keepsakes import slack_place

        app, api = self.home.settings.slack, self.slack_api
        if app is None or api is None:
            return []
        rooms = SlackRooms(
            store=self.store,
            clock=self.clock,
            cards=self.cards,
            ballots=self.ballots,
            app=app,
            api=api,
            secrets_of=lambda: self.keepsakes.signing_secrets(slack_place(app)),
            sealing_key=self.keepsakes.sealing_key,
            wake=self._wake,
            errands=self.errands,
            lang=self.home.lang,
        )
        return slack_routes(rooms)

    @cached_property
    def errands(self) -> Errands:
        """What goes on after Slack was answered."""
        from seikyu.surfaces.slack import Errands

        return Errands()

    async def _wake(self, action_id: str) -> None:
        await self.executor.execute(action_id)

    def _page_key(self) -> bytes:
        """For the tokens of the page's forms: from the vault, so that replicas agree; else for this process."""
        try:
            return self.keepsakes.page_key()
        except (ConfigurationError, StoreBusy, StoreDamaged, CommitUnknown):  # the page is there to say what is wrong
            return os.urandom(32)

    def close(self) -> None:
        self.store.close()
        self.presence.leave()
