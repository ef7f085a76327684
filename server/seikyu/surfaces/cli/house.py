"""What the commands may ask of the house; `app` builds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from seikyu.errors import Lang

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from pydantic import SecretStr

    from seikyu.gate.anchor_copies import AnchorCopies
    from seikyu.gate.anchors import Anchoring
    from seikyu.gate.batches import Batches
    from seikyu.gate.cards import CardIndex
    from seikyu.gate.connections import Checkup
    from seikyu.gate.execution import Executor
    from seikyu.gate.logins import Arrival, Farewell, Revocation
    from seikyu.gate.policy import PolicyBook
    from seikyu.gate.proposals import Desk
    from seikyu.gate.restoration import Restoration
    from seikyu.gate.revisions import Draft, Revisions
    from seikyu.gate.votes import BallotBox
    from seikyu.models import Clock, Connection
    from seikyu.providers.consent import Consent
    from seikyu.settings import Settings, SlackApp
    from seikyu.spec import OpenFile, Tool, WriteOperation
    from seikyu.store.database import Store
    from seikyu.vault.rotation import Rotation

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """The rooms an operator's command walks into."""

    store: Store
    clock: Clock
    desk: Desk
    revisions: Revisions
    cards: CardIndex
    ballots: BallotBox
    batches: Batches
    executor: Executor
    anchors: Anchoring
    anchor_copies: AnchorCopies | None
    restoration: Restoration
    open_document: OpenFile
    operations: Mapping[str, WriteOperation[Any]]


class Logins(Protocol):
    """Connecting accounts; secrets go in here and never come out."""

    def has(self, connection: Connection) -> bool: ...

    def state(self, connection: Connection) -> str:
        """`ready`, `missing`, `needs_login`, `refresh_unknown` or `undecryptable`."""
        ...

    def is_shut(self, connection: Connection) -> bool:
        """Whether something is stored that does not open with the keys as they are now."""
        ...

    async def check(self, connections: Sequence[Connection]) -> list[Checkup]:
        """Ask each provider, all at once, whether it accepts the login; see `gate.connections`."""
        ...

    def waiting_for_key(self) -> int:
        """How many stored secrets open with a master key that is nowhere; 0 while there is one."""
        ...

    def prepare_key(self) -> str | None:
        """Make the master key file when there is no key at all; its path when one was made."""
        ...

    async def put_api_key(self, connection: Connection, api_key: SecretStr) -> None:
        """Try the key at the provider, then keep it.

        Raises:
            ProviderError, LoginRequired: the provider does not take it; nothing was kept.
        """
        ...

    def put_webhook_secret(self, connection: Connection, secret: SecretStr) -> None:
        """Keep what the provider signs its events with; the former secret stays good for two days."""
        ...

    def forget_webhook_secret(self, connection: Connection) -> bool:
        """False when there was none."""
        ...

    async def put_slack(self, app: SlackApp, *, token: SecretStr, signing_secret: SecretStr) -> None:
        """Try the bot's token, then keep it and the signing secret; a former one stays good for two days.

        Raises:
            NotDelivered, ConfigurationError: Slack does not take the token, or it is another team's.
        """
        ...

    def sealing_key(self) -> Ed25519PrivateKey:
        """The key that seals votes from Slack; made when there is none."""
        ...

    def has_tools(self, connection: Connection) -> bool:
        """False: an account of this provider can be connected, and no tool uses it yet."""
        ...

    def redirect_uri(self, connection: Connection) -> str:
        """The redirect address in the configuration.

        Raises:
            ConfigurationError: something is missing that a login needs, the master key included.
        """
        ...

    def request_consent(self, connection: Connection, *, client_secret: SecretStr, redirect_uri: str) -> Consent:
        """A new request for the person's consent, to be answered at `redirect_uri`."""
        ...

    async def arrive(self, consent: Consent, code: SecretStr) -> Arrival:
        """Trade the code for tokens and ask whose account they open; see `gate.logins`."""
        ...

    async def keep(self, arrival: Arrival) -> None:
        """Store a login that a person has looked at."""
        ...

    async def give_back(self, arrival: Arrival) -> Revocation:
        """Revoke a login nobody wants."""
        ...

    async def revoke(self, connection: Connection) -> Farewell:
        """Give the stored login back to the provider; here it stays as it is."""
        ...

    def forget(self, connection: Connection, farewell: Farewell) -> None:
        """Delete the stored login, whatever its state. Asks nobody.

        Raises:
            NotAllowed: another one is stored by now, and stays.
        """
        ...


class House(Protocol):
    """One installation."""

    @property
    def settings(self) -> Settings: ...

    @property
    def lang(self) -> Lang: ...

    @property
    def in_doubt(self) -> int:
        """Writes that were being sent when `run` or `serve_…` ended, and whose outcome is not known."""
        ...

    @property
    def tools(self) -> Sequence[Tool]: ...

    def rooms(self) -> Operations: ...

    def book(self) -> PolicyBook: ...

    async def draft(self, action_id: str, changes: Mapping[str, object]) -> Draft:
        """An edit, planned by the action's own tool; nothing is stored."""
        ...

    def logins(self) -> Logins: ...

    def browse(self, address: str) -> bool:
        """Show `address` in the person's browser; False when there is no display."""
        ...

    def rotation(self, os_user: str) -> Rotation:
        """What gives the vault a new key, in the name of that user of the operating system."""
        ...

    def run(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run asynchronous work to its end and close what it opened at the providers."""
        ...

    def serve_stdio(self) -> None:
        """Serve one client over stdin and stdout until it leaves."""
        ...

    def serve_http(self, host: str, port: int) -> None:
        """Serve MCP, the approval page and health until interrupted."""
        ...

    def listed_tools(self) -> list[dict[str, Any]]:
        """The tools as they go over the wire."""
        ...
