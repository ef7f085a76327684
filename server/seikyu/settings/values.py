"""What is configured, as the rest of the house reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pydantic import SecretStr

from seikyu.errors import Lang
from seikyu.models import Connection

LEAST_YEARS: Final = 10
"""Books: 10 years (会社法432条2項); electronic transactions: 7, or 10 after a loss (電帳法)."""

MOST_YEARS: Final = 100

MAX_BATCH: Final = 100
"""Requests in one batch, whatever the configuration says."""

KeyPlaceName: TypeAlias = Literal["variable", "command", "file", "keyring"]
"""Where a master key can be; see `vault.keys`."""

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the gate waits, in seconds."""

    awaiting_s: int = 72 * 3600
    """An unanswered request expires; expiry never approves."""
    approved_s: int = 24 * 3600
    """An approval that was not executed expires."""
    read_s: int = 20
    """A read with all its tries."""
    write_s: int = 60
    """A write, from the first word to the last of its answer; then its outcome is unknown."""
    lease_s: int = 90
    """A claim's right to send; longer than a write may take."""
    settle_s: int = 2
    """Before the first look-up after a lost answer."""
    quiet_s: int = 60
    """Before a look-up that finds nothing counts as absent: an effect may land late."""
    consent_s: int = 600
    """For a person to consent in the browser, when an account is connected."""
    poll_s: int = 1
    """Between two looks of the worker."""
    remind_percent: int = 50
    """Of `awaiting_s`: when the operators are reminded; 0 or 100 is never."""
    remind_again_percent: int = 90
    escalate_percent: int = 95
    """… and when the fallback group is asked."""
    notice_s: int = 24 * 3600
    """A notice that a channel has not taken for so long is given up."""


@dataclass(frozen=True, slots=True)
class BatchCap:
    """How much may be approved with one passphrase."""

    count: int = 50
    """`SEIKYU_BATCH_COUNT`: requests, 1 to 100; the page's form holds no more."""
    yen: int = 10_000_000
    """`SEIKYU_BATCH_YEN`: their amounts together."""


@dataclass(frozen=True, slots=True)
class SlackApp:
    """The Slack app that speaks for this house; its secrets are in the vault."""

    team: str
    app: str
    channel: str
    """Where requests are posted."""
    base_url: str = "https://slack.com/api"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and who is asking. Frozen: read once at start."""

    home: Path
    config: Path
    requester: str
    lang: Lang = "ja"
    toolsets: tuple[str, ...] = ()
    """Which toolsets a model sees; empty means all."""
    is_read_only: bool = False
    file_roots: tuple[Path, ...] = ()
    file_cap_bytes: int = 50_000_000
    approvals_url: str | None = None
    """Where the operator's page is, told to the requester."""
    public_host: str | None = None
    """`SEIKYU_PUBLIC_HOST`, as `name:port`: what the proxy in front of us is called. Opens the signed routes only."""
    connections: tuple[Connection, ...] = ()
    slack: SlackApp | None = None
    timing: Timing = field(default_factory=Timing)
    batch: BatchCap = field(default_factory=BatchCap)
    anchors: Path | None = None
    """`SEIKYU_AUDIT_ANCHORS`: where the heads of the audit log are written down."""
    notify_command: tuple[str, ...] = ()
    """`SEIKYU_NOTIFY_COMMAND`: a program that is told of every notice."""
    escalate_to: tuple[str, ...] = ()
    """`SEIKYU_ESCALATE_TO`: operators, or a group, that an escalation names; empty means every operator."""
    anchor_command: tuple[str, ...] = ()
    """`SEIKYU_ANCHOR_COMMAND`: a program that takes each anchor to another place."""
    retention_years: int = LEAST_YEARS
    """`SEIKYU_RETENTION_YEARS`: how long records and documents are kept at least; see `gate.retention`."""
    legal_hold: str | None = None
    """`SEIKYU_LEGAL_HOLD`: why nothing may be deleted for now, whatever its age."""
    database_url: SecretStr | None = None
    """`SEIKYU_DATABASE_URL`, from the environment or `.env`: PostgreSQL; without it a SQLite file in `home` counts."""
    master_key: SecretStr | None = None
    """`SEIKYU_MASTER_KEY`, from the environment or `.env`."""
    master_key_command: tuple[str, ...] = ()
    """`SEIKYU_MASTER_KEY_COMMAND`: a program that prints the master key."""
    master_key_source: KeyPlaceName | None = None
    """`SEIKYU_MASTER_KEY_SOURCE`: which place counts; without it, the one that is given, else the key file."""

    @property
    def database(self) -> Path:
        """The SQLite file; there is none when `database_url` is set."""
        return self.home / "seikyu.db"

    @property
    def store_place(self) -> Path | SecretStr:
        """Where the state is, for `Store`."""
        return self.database_url or self.database

    @property
    def sent_folder(self) -> Path:
        """The journal of sends; beside the database, and never restored with it."""
        return self.home / "sent"

    @property
    def anchors_file(self) -> Path:
        return self.anchors or self.home / "anchors.jsonl"

    @property
    def policy_file(self) -> Path:
        return self.config / "policy.toml"

    def connection(self, name: str) -> Connection | None:
        return next((row for row in self.connections if row.name == name), None)
