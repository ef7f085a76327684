"""The composition root: the one place that names concrete classes and builds things."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from seikyu import __version__
from seikyu.errors import CommitUnknown, ConfigurationError, Lang, StoreBusy, StoreDamaged, Text
from seikyu.models import Clock, Connection, SystemClock
from seikyu.settings import Settings, SlackApp, read_settings
from seikyu.spec import Credential, Effect, Fence, Principal, Tool, ToolAnswer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from pydantic import SecretStr
    from starlette.applications import Starlette
    from starlette.routing import BaseRoute

    from seikyu.gate.anchor_copies import AnchorCopies
    from seikyu.gate.anchors import AnchorFile
    from seikyu.gate.connections import Checkup
    from seikyu.gate.delivery import Delivery
    from seikyu.gate.execution import Client, OnStep
    from seikyu.gate.logins import Arrival, Farewell, Revocation
    from seikyu.gate.notices import Notifier
    from seikyu.gate.policy import PolicyBook
    from seikyu.gate.restoration import Restoration
    from seikyu.gate.revisions import Draft
    from seikyu.pipeline import Pipeline, Rooms
    from seikyu.providers.consent import Consent
    from seikyu.providers.http import HttpEdge
    from seikyu.store.database import Store, Tx
    from seikyu.store.looking import Condition, Soundness
    from seikyu.surfaces.cli.house import Operations
    from seikyu.surfaces.doctor.reading import Reading
    from seikyu.surfaces.slack import Errands
    from seikyu.surfaces.slack.api import SlackApi
    from seikyu.vault.grants import TokenResult
    from seikyu.vault.holdings import Appraiser
    from seikyu.vault.keys import KeyPlaces, KeyRing, KnownRing
    from seikyu.vault.rotation import Rotation
    from seikyu.vault.secrets import Vault
    from seikyu.vault.tokens import TokenCustodian

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

FAREWELL_S: Final = 5
"""How long messages under way to Slack may take when the server ends; a decision in them is stored already."""


class Home:
    """One installation, opened room by room as a command needs them."""

    def __init__(
        self,
        settings: Settings,
        on_step: OnStep | None = None,
        *,
        clock: Clock | None = None,
        browse: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self._browse = browse
        self.clock: Clock = clock or SystemClock()
        self.on_step = on_step
        """Told of each durable step of an execution; see `gate.execution`."""
        self.in_doubt = 0
        """Writes that were being sent when the work ended, and whose outcome is not known."""

    @property
    def lang(self) -> Lang:
        return self.settings.lang

    @property
    def tools(self) -> Sequence[Tool]:
        """What a model sees: the chosen toolsets, and no writes when read-only."""
        from seikyu_tools import TOOLS

        known = {tool.toolset for tool in TOOLS}
        unknown = sorted(set(self.settings.toolsets) - known)
        if unknown:
            names, there = ", ".join(unknown), ", ".join(sorted(known))
            raise ConfigurationError(
                Text(
                    f"SEIKYU_TOOLSETS の {names} はありません。",
                    f"There is no toolset {names}.",
                ),
                Text(f"使えるのは {there} です。", f"There are: {there}."),
            )
        chosen = [tool for tool in TOOLS if not self.settings.toolsets or tool.toolset in self.settings.toolsets]
        return tuple(tool for tool in chosen if not (self.settings.is_read_only and tool.effect is Effect.WRITE))

    @cached_property
    def _book(self) -> PolicyBook:
        from seikyu.gate.policy import PolicyBook

        return PolicyBook(self.settings.policy_file, [row.name for row in self.settings.connections])

    def book(self) -> PolicyBook:
        return self._book

    @cached_property
    def key_places(self) -> KeyPlaces:
        """Where the master key may be."""
        from seikyu.vault.keys import KeyPlaces

        given = self.settings
        return KeyPlaces(
            given.home, variable=given.master_key, command=given.master_key_command, named=given.master_key_source
        )

    @cached_property
    def known_ring(self) -> KnownRing:
        """The master keys as this process knows them; read when the first is needed."""
        from seikyu.vault.keys import KnownRing

        return KnownRing(self.key_places)

    def key_ring(self) -> KeyRing:
        """The master keys, read anew. Raises `ConfigurationError` when there is none."""
        return self.key_places()

    @cached_property
    def edge(self) -> HttpEdge:
        from seikyu.providers.http import HttpEdge, quiet_http_logs

        quiet_http_logs()
        timing = self.settings.timing
        return HttpEdge(read_deadline_s=timing.read_s, write_deadline_s=timing.write_s, clock=self.clock)

    @cached_property
    def _opened(self) -> _Opened:
        from seikyu.store.modes import make_private

        for mended in make_private(self.settings.home):
            log.warning("%s: others could reach it, and cannot any more", mended)
        return _Opened(self)

    def rooms(self) -> Operations:
        return self._opened.operations

    async def draft(self, action_id: str, changes: Mapping[str, object]) -> Draft:
        return await self.pipeline.draft(action_id, changes, lang=self.lang)

    def rotation(self, os_user: str) -> Rotation:
        return self._opened.rotation(os_user)

    def logins(self) -> _Logins:
        return _Logins(self, self._opened)

    def browse(self, address: str) -> bool:
        """Show `address` to the person; False when there is no display to show it on."""
        from seikyu.surfaces.cli.browser import open_browser

        return (self._browse or open_browser)(address)

    @cached_property
    def pipeline(self) -> Pipeline:
        from seikyu.pipeline import Pipeline

        return Pipeline(self.tools, lambda: self._opened.rooms)

    async def call(self, principal: Principal, name: str, arguments: Mapping[str, object] | None) -> ToolAnswer:
        """Hand a call to the pipeline, which is imported by the first one: a client that only lists need not wait."""
        return await self.pipeline.call(principal, name, arguments)

    def run(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run asynchronous work to its end and close what it opened at the providers."""

        async def whole() -> ResultT:
            gc.freeze()  # what start-up made stays; the collector need not look at it again
            gc.enable()
            try:
                return await work()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._finish()

        try:
            return anyio.run(whole)
        finally:
            self.close()

    async def _finish(self) -> None:
        """Let what is being sent end with a recorded outcome, deaf to signals, then close what reads keep open."""
        if "_opened" in self.__dict__:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT):
                if "errands" in self._opened.__dict__:
                    with anyio.move_on_after(FAREWELL_S):
                        await self._opened.errands.drain()
                self.in_doubt = await self._opened.executor.drain()
        if "edge" in self.__dict__:
            await self.edge.aclose()

    def close(self) -> None:
        """Close the database; a later use opens it again."""
        if "_opened" in self.__dict__:
            self._opened.close()

    def serve_stdio(self) -> None:
        """Serve one client over stdin and stdout until it leaves.

        Raises:
            ConfigurationError: the policy is wrong; nothing is served, never something looser.
        """
        from seikyu.surfaces.log import log_to_stderr
        from seikyu.surfaces.mcp.server import build_server
        from seikyu.surfaces.mcp.stdio import serve_stdio

        log_to_stderr()
        self._check_policy()
        principal = Principal(self.settings.requester, "stdio", self.lang)
        server = build_server(self, version=__version__, principal_of=lambda _context: principal)

        async def serve() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                await serve_stdio(server)
                tasks.cancel_scope.cancel()

        self.run(serve)

    def serve_http(self, host: str, port: int) -> None:
        """Serve MCP at /mcp, the approval page at /approvals and /healthz, until interrupted.

        Raises:
            ConfigurationError: not a loopback address, the port is taken, or the policy is wrong.
        """
        from seikyu.surfaces.log import log_to_stderr
        from seikyu.surfaces.mcp.http import listen, serve_socket

        log_to_stderr()
        self._check_policy()
        listener = listen(host, port)
        bound = listener.getsockname()[1]
        app = self.web_app(host, bound)
        self.run(lambda: serve_socket(app, listener, on_ready=lambda taken: self._say_ready(host, taken)))

    def web_app(self, host: str, port: int) -> Starlette:
        """The HTTP app, with the worker inside its lifespan."""
        from seikyu.surfaces.doors import own_hosts, own_origins
        from seikyu.surfaces.mcp.http import build_app
        from seikyu.surfaces.mcp.server import build_server
        from seikyu.surfaces.web import approval_routes
        from seikyu.surfaces.webhooks import webhook_routes

        principal = Principal(self.settings.requester, "http", self.lang)
        server = build_server(self, version=__version__, principal_of=lambda _context: principal)
        hosts = own_hosts(host, port)

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                yield
                tasks.cancel_scope.cancel()

        public = self.settings.public_host
        return build_app(
            server,
            extra_routes=[
                *approval_routes(self._opened.approval_rooms()),
                *webhook_routes(self._opened.hooks()),
                *self._opened.slack_routes(),
            ],
            hosts=hosts,
            origins=own_origins(hosts),
            public_hosts=() if public is None else (public,),
            lifespan=lifespan,
            health=self._health,
        )

    def _health(self) -> dict[str, Any]:
        """Whether a restored database is held; how many anchors have not reached their other place, where there is one.

        None when nobody can know.
        """
        copies, held = self._opened.copies, self._opened.restoration.held
        said: dict[str, Any] = {"why": [held.text.en]} if held is not None else {}
        try:
            return said if copies is None else said | {"anchors_behind": len(copies.behind())}
        except OSError:
            return said | {"anchors_behind": None}

    def listed_tools(self) -> list[dict[str, Any]]:
        """The tools as they go over the wire."""
        from seikyu.surfaces.mcp.wire import mcp_tool

        return [mcp_tool(tool).model_dump(by_alias=True, mode="json", exclude_none=True) for tool in self.tools]

    def _check_policy(self) -> None:
        """A policy that is wrong stops the start; one that is missing means read-only."""
        if self.settings.policy_file.exists():
            self._book.current()
        else:
            log.warning("there is no policy file at %s: nothing can be written", self.settings.policy_file)

    async def _work(self) -> None:
        """What a server does beside its surfaces."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_and_look_up)
            tasks.start_soon(self._look_into_events)
            tasks.start_soon(self._anchor)
            tasks.start_soon(self._tell)
            tasks.start_soon(self._copy_anchors)

    async def _tell(self) -> None:
        """Keep delivering what there is to tell, when there is a channel."""
        poll_s = self.settings.timing.poll_s
        while True:
            await anyio.sleep(poll_s)
            if not self._opened.notifiers:
                return
            try:
                await self._opened.delivery.work(poll_s=poll_s)
            except Exception:
                log.exception("the delivery of notices stopped and starts again")

    async def _copy_anchors(self) -> None:
        """Keep bringing anchors to the other place, when there is one."""
        while True:
            await anyio.sleep(self.settings.timing.poll_s)
            if self._opened.copies is None:
                return
            try:
                await self._opened.copies.keep_up()
            except Exception:
                log.exception("anchors are not copied")

    async def _anchor(self) -> None:
        """Keep writing down, outside the database, what the head of the audit log is."""
        while True:
            await anyio.sleep(self.settings.timing.poll_s)
            try:
                await self._opened.store.run(self._opened.anchors.keep_up)
            except Exception:
                log.exception("the audit log is not anchored")

    async def _look_into_events(self) -> None:
        """Keep asking the providers about what they told us by themselves."""
        while True:
            await anyio.sleep(self.settings.timing.poll_s)
            try:
                await self._opened.events.sweep()
            except Exception:
                log.exception("events wait")

    async def _send_and_look_up(self) -> None:
        """Keep sending what was approved and looking up what is unknown."""
        poll_s = self.settings.timing.poll_s
        while True:
            # first a pause: a client that only lists the tools should not wait for a database
            await anyio.sleep(poll_s)
            try:
                await self._opened.executor.work(poll_s=poll_s)
            except Exception:
                log.exception("the worker stopped and starts again")

    def _say_ready(self, host: str, port: int) -> None:
        from seikyu.surfaces.log import say

        shown_host = f"[{host}]" if ":" in host else host
        say(f"Seikyu: http://{shown_host}:{port}/mcp  approvals: http://{shown_host}:{port}/approvals")


class _Opened:
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
        self.vault: Vault = Vault(self.store, clock, home.known_ring)
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

        ourselves = OAuthClient(client_id, client_secret, connection.options.get("redirect_uri", ""))
        request = refresh_request(oauth_server(connection), ourselves, refresh_token)
        return await ask_for_token(self.home.edge, request, fence=fence)

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


class _Logins:
    """Connecting accounts."""

    def __init__(self, home: Home, opened: _Opened) -> None:
        from seikyu.gate.logins import Logins

        self._home = home
        self._opened = opened
        self._vault: Vault = opened.vault
        self._rooms = Logins(lambda: home.edge, opened.vault, opened.clock)

    def has(self, connection: Connection) -> bool:
        return self._vault.has(connection)

    def state(self, connection: Connection) -> str:
        return self._vault.state(connection)

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


class _Examined:
    """An installation as `seikyu doctor` looks at it: each room opened by the check that needs it, none changed."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.settings = reading.settings
        self.lang: Lang = reading.settings.lang
        self.clock: Clock = SystemClock()
        self.environ: Mapping[str, str] = os.environ
        self._home = Home(reading.settings)
        self.key_places = self._home.key_places
        self.book = self._home.book()
        self._store: Store | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def store(self) -> Store:
        from seikyu.store.looking import store_to_look_at

        with self._one_at_a_time:
            if self._store is None:
                self._store = store_to_look_at(self.settings.store_place)
            return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def ring(self) -> KeyRing:
        return self._home.known_ring.ring()

    @property
    def appraiser(self) -> Appraiser:
        from seikyu.store.presence import Presence
        from seikyu.vault.holdings import Appraiser, bindings

        settings = self.settings
        addresses = bindings(settings.connections, settings.slack)
        return Appraiser(addresses, self.clock, Presence(settings.home / "alive"))

    @property
    def anchors(self) -> AnchorFile:
        from seikyu.gate.anchors import AnchorFile

        return AnchorFile(self.settings.anchors_file)

    @property
    def restoration(self) -> Restoration:
        from seikyu.gate.journal import Journal
        from seikyu.gate.restoration import Restoration

        settings = self.settings
        journal = Journal(settings.sent_folder)
        return Restoration(self.store, self.clock, settings.timing, journal=journal, anchors=self.anchors)

    def condition(self) -> Condition | None:
        from seikyu.store.looking import condition

        return condition(self.settings.store_place)

    def soundness(self, *, seconds: int) -> Soundness | None:
        from seikyu.store.looking import soundness

        place = self.settings.store_place
        return soundness(place, seconds=seconds) if isinstance(place, Path) else None

    def anchors_behind(self) -> int:
        from seikyu.gate.anchor_copies import AnchorCopies
        from seikyu.gate.hooks import AnchorCommand

        sink = AnchorCommand(self.settings.anchor_command)
        return len(AnchorCopies(self.store, self.clock, self.anchors, sink).behind())

    def checkups(self) -> Sequence[Checkup]:
        from seikyu.gate.connections import Checkups
        from seikyu.vault.secrets import Vault

        connections, vault = self.settings.connections, Vault(self.store, self.clock, self._home.known_ring)
        return self._asking(lambda edge: Checkups(edge, vault, self.clock).all(connections))

    def ask_slack(self) -> Mapping[str, Any]:
        from seikyu.surfaces.slack.api import SlackApi
        from seikyu.vault.keepsakes import Keepsakes, slack_place

        app = self.settings.slack
        if app is None:
            return {}
        token = Keepsakes(self.store, self.clock, self._home.known_ring).word(slack_place(app), "token")
        return self._asking(lambda edge: SlackApi(edge, app, self.clock, lambda: token).call("auth.test", {}))

    def _asking(self, work: Callable[[HttpEdge], Awaitable[ResultT]]) -> ResultT:
        """Ask somebody outside, over connections of this question's own: each check has a thread and a loop."""
        from seikyu.providers.http import HttpEdge, quiet_http_logs

        async def asked() -> ResultT:
            edge = HttpEdge(clock=self.clock)
            try:
                return await work(edge)
            finally:
                await edge.aclose()

        quiet_http_logs()
        return anyio.run(asked)


def find_patient() -> _Examined:
    """The installation the environment describes, as far as it can be read. Raises nothing for what is wrong."""
    from seikyu.surfaces.doctor.reading import read_all, unread
    from seikyu.surfaces.doctor.rounds import bounded

    return _Examined(bounded(read_all, limit_s=5, instead=unread))


def open_house() -> Home:
    """The installation the environment describes.

    Raises:
        ConfigurationError: a file or a variable is wrong.
    """
    return Home(read_settings())
