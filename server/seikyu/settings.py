"""Everything a person configures, read once and checked as a whole.

The environment (and `.env` in the configuration folder) says where things are; `connections.toml` says which
accounts exist. Secrets are never here: they are in the vault.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from seikyu.errors import ConfigurationError, Lang, Text
from seikyu.models import Connection, Environment, ProviderName

DEFAULT_BASE_URLS: Final[Mapping[tuple[ProviderName, Environment], str]] = {
    ("mfkessai", "production"): "https://api.mfkessai.co.jp/v2",
    ("mfkessai", "sandbox"): "https://sandbox-api.mfkessai.co.jp/v2",
    ("invox", "production"): "https://api.invox.jp",
    ("misoca", "production"): "https://app.misoca.jp",
    ("freee", "production"): "https://api.freee.co.jp",
}
"""Where each provider answers. Source: MFK API v2, invox API 1.0.3, Misoca API v3 and freee API references, read
2026-11-21. invox, Misoca and freee have no sandbox host."""

_PUBLIC_NAME: Final = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")

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


class _ConnectionRow(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    provider: ProviderName
    environment: Environment
    company: str = Field(min_length=1, max_length=100)
    base_url: str | None = None
    invoice_mode: str | None = Field(default=None, pattern=r"^(kubun|billing|transaction)$")
    tax_rounding: str | None = Field(default=None, pattern=r"^(floor|round|ceil)$")
    company_code: str | None = Field(default=None, max_length=30)
    client_id: str | None = None
    redirect_uri: str | None = None
    scope: str | None = None
    oauth_url: str | None = None
    revoke_url: str | None = None
    pkce: Literal["S256", "none"] | None = None
    issuer: str | None = None
    client_auth: Literal["basic", "form"] | None = None

    @field_validator("base_url", "oauth_url")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        return None if value is None else _safe_address(value)

    @field_validator("revoke_url")
    @classmethod
    def _is_safe_as_written(cls, value: str | None) -> str | None:
        return value if value is None or _safe_address(value) else None


def _safe_address(value: str) -> str:
    """Raises `ValueError`."""
    parts = urlsplit(value)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS):
        msg = "must begin with https:// (http:// only for 127.0.0.1, ::1 or localhost)"
        raise ValueError(msg)
    if not parts.hostname or parts.username or parts.query or parts.fragment or parts.port == 0:
        msg = "must be an address without user, query or fragment, its port from 1 to 65535"
        raise ValueError(msg)
    return value.rstrip("/")


class _SlackRow(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    team: str = Field(pattern=r"^T[A-Z0-9]{1,30}$")
    app: str = Field(pattern=r"^A[A-Z0-9]{1,30}$")
    channel: str = Field(pattern=r"^[CGD][A-Z0-9]{1,30}$")
    base_url: str = "https://slack.com/api"

    @field_validator("base_url")
    @classmethod
    def _is_safe(cls, value: str) -> str:
        return _safe_address(value)


class _ConnectionsFile(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    schema_: int = Field(alias="schema", ge=1, le=1)
    connection: list[_ConnectionRow] = []
    slack: _SlackRow | None = None


_OPTIONS: Final = (
    *("invoice_mode", "tax_rounding", "company_code"),
    *("client_id", "redirect_uri", "scope", "oauth_url", "revoke_url", "pkce", "issuer", "client_auth"),
)


def _connection(row: _ConnectionRow) -> Connection:
    base_url = row.base_url or DEFAULT_BASE_URLS.get((row.provider, row.environment))
    if base_url is None:
        raise ConfigurationError(
            Text(
                f"接続 {row.name}: {row.provider} の {row.environment} には既定の接続先がありません。",
                f"Connection {row.name}: {row.provider} has no default address for {row.environment}.",
            ),
            Text("connections.toml に base_url を書いてください。", "Write base_url in connections.toml."),
        )
    values = row.model_dump(include=set(_OPTIONS), exclude_none=True)
    return Connection(row.name, row.provider, row.environment, row.company, base_url, values)


def fault_lines(error: ValidationError) -> list[str]:
    """Each fault of a file as `place: what is wrong`, without the value that was read."""
    return [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]


def read_toml(path: Path) -> Mapping[str, Any]:
    """The file as a table.

    Raises:
        ConfigurationError: missing, not UTF-8, or not TOML; names file, line and column.
    """
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise ConfigurationError(
            Text(f"{path} を読めません（{reason}）。", f"{path} cannot be read ({reason})."),
            Text("ファイルを直してください。", "Mend the file."),
        ) from error


def _accounts(path: Path) -> _ConnectionsFile:
    """Raises `ConfigurationError` with all faults of the file in one message."""
    try:
        return _ConnectionsFile.model_validate(read_toml(path))
    except ValidationError as error:
        faults = "; ".join(fault_lines(error))
        raise ConfigurationError(
            Text(f"{path} に誤りがあります: {faults}", f"{path} has faults: {faults}."),
            Text("ファイルを直してください。", "Mend the file."),
        ) from None


def read_slack(path: Path) -> SlackApp | None:
    """The Slack app of `connections.toml`, when there is one. Raises `ConfigurationError`."""
    row = _accounts(path).slack if path.exists() else None
    return None if row is None else SlackApp(**row.model_dump())


def read_connections(path: Path) -> tuple[Connection, ...]:
    """The accounts of `connections.toml`; a missing file means none.

    Raises:
        ConfigurationError: all faults of the file in one message.
    """
    if not path.exists():
        return ()
    rows = _accounts(path).connection
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(
            Text(
                f"{path}: 接続名が重複しています: {', '.join(twice)}",
                f"{path}: connection names used twice: {', '.join(twice)}.",
            ),
            Text("名前を変えてください。", "Rename one of them."),
        )
    return tuple(_connection(row) for row in rows)


def _lang(value: str | None) -> Lang:
    chosen = (value or os.environ.get("LANG", "ja")).lower()
    return "en" if chosen.startswith("en") else "ja"


def _flag(value: str | None) -> bool:
    return (value or "").strip().lower() in {"1", "true", "yes", "on"}


def _words(value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


def _user_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def read_environment(config: Path) -> dict[str, str]:
    """The variables of the process, and those of `.env` that it does not set. Raises `ConfigurationError`."""
    file = config / ".env"
    if not file.exists():
        return dict(os.environ)
    from dotenv import dotenv_values

    try:
        if file.is_dir():  # which would be taken for an empty file; a pipe is how some password managers hand it out
            raise IsADirectoryError
        given = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = type(error).__name__  # its words may hold what was read
        raise ConfigurationError(
            Text(f"{file} を読めません（{reason}）。", f"{file} cannot be read ({reason})."),
            Text("UTF-8 の普通のファイルにしてください。", "Make it a plain file in UTF-8 that you may read."),
        ) from None
    return {key: value for key, value in given.items() if value is not None} | dict(os.environ)


def _path(name: str, value: str | Path) -> Path:
    """Raises `ConfigurationError`: it begins with `~` or `~user`, and this machine does not know whose home that is."""
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            Text(
                f"{name} の「~」が誰のフォルダーか分かりません。", f"{name}: nobody here knows whose folder the ~ is."
            ),
            Text("/srv/seikyu のように絶対パスで書いてください。", "Write the whole path, such as /srv/seikyu."),
        ) from None


def _roots(value: str | None, home: Path) -> tuple[Path, ...]:
    given: Sequence[str] = [part for part in (value or "").split(os.pathsep) if part]
    return tuple(_path("SEIKYU_FILE_ROOTS", part) for part in given) or (home / "inbox",)


def _anchors(value: str | None, home: Path) -> Path | None:
    given = _path("SEIKYU_AUDIT_ANCHORS", value) if value else None
    if given is not None and given.name.startswith("seikyu.db") and given.parent.resolve() == home.resolve():
        # opened and closed beside SQLite, it would cost SQLite its locks
        raise ConfigurationError(
            Text("SEIKYU_AUDIT_ANCHORS がデータベースを指しています。", "SEIKYU_AUDIT_ANCHORS names the database."),
            Text("別のファイルを指定してください。", "Name another file, such as /var/log/seikyu/anchors.jsonl."),
        )
    return given


def _public_host(value: str | None) -> str | None:
    """`name:port` of a public name; a browser, Slack and MFK leave port 443 out."""
    if not value:
        return None
    name, _, port = value.strip().lower().partition(":")
    is_name = _PUBLIC_NAME.fullmatch(name) is not None and not re.fullmatch(r"[0-9.]+", name)
    is_port = not port or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)  # noqa: PLR2004 - TCP ports
    if not is_name or not is_port or name in LOOPBACK_HOSTS:
        raise ConfigurationError(
            Text(
                "SEIKYU_PUBLIC_HOST は公開名（例: hooks.example.co.jp）だけを書いてください。",
                "SEIKYU_PUBLIC_HOST must be a public name alone, such as hooks.example.co.jp.",
            ),
            Text("https:// やパスは書きません。", "Leave out https:// and any path."),
        )
    return f"{name}:{port or 443}"


def _command(name: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """A program and its arguments, cut into words as a shell would; no shell ever sees them."""
    try:
        words = tuple(shlex.split(env.get(name) or ""))
    except ValueError:  # a quotation mark that is not closed
        words = ("",)
    if words and not words[0]:
        raise ConfigurationError(
            Text(f"{name} を読めません。", f"{name} cannot be read as a program and its arguments."),
            Text("引用符を確かめてください。", "Check its quotation marks, such as /opt/notify 'two words'."),
        )
    if words and _depends_on_folder(words[0]):
        raise ConfigurationError(
            Text(
                f"{name} が相対パスです。起動した場所ごとに別のプログラムになります。",
                f"{name} is not a whole path: started from elsewhere, Seikyu would run another program.",
            ),
            Text("/opt/notify のように絶対パスで書いてください。", "Write the whole path, such as /opt/notify."),
        )
    return words


def _depends_on_folder(program: str) -> bool:
    """Clients start servers in the folder of a project, where an agent writes. A bare name is found by PATH."""
    return bool(os.path.dirname(program)) and not os.path.isabs(program)  # noqa: PTH117, PTH120 - words, not a path


def _retention_years(env: Mapping[str, str]) -> int:
    """Fewer than the law's 10 years only when the operator says so twice."""
    given = (env.get("SEIKYU_RETENTION_YEARS") or str(LEAST_YEARS)).strip()
    years = int(given) if given.isascii() and given.isdigit() and len(given) <= len(str(MOST_YEARS)) else 0
    if not 1 <= years <= MOST_YEARS:
        raise ConfigurationError(
            Text(
                f"SEIKYU_RETENTION_YEARS は 1〜{MOST_YEARS} の整数（年）で書いてください。",
                f"SEIKYU_RETENTION_YEARS must be a whole number of years from 1 to {MOST_YEARS}, such as 10.",
            )
        )
    if years < LEAST_YEARS and not _flag(env.get("SEIKYU_RETENTION_SHORTER")):
        raise ConfigurationError(
            Text(
                f"SEIKYU_RETENTION_YEARS={years} は会社法・電帳法の {LEAST_YEARS} 年より短い期間です。",
                f"SEIKYU_RETENTION_YEARS={years} is shorter than the {LEAST_YEARS} years that the law may ask for.",
            ),
            Text(
                "短くしてよいと確かめたら SEIKYU_RETENTION_SHORTER=yes も設定してください。",
                "Once you know that it may be, set SEIKYU_RETENTION_SHORTER=yes as well.",
            ),
        )
    return years


def _database_url(value: str | None) -> SecretStr | None:
    if not value:
        return None
    if not value.startswith("postgresql://"):
        # what was written is not repeated: it may hold a password
        raise ConfigurationError(
            Text(
                "SEIKYU_DATABASE_URL は postgresql:// で始めてください（SQLite には設定しません）。",
                "SEIKYU_DATABASE_URL must begin with postgresql:// (for SQLite, leave it out).",
            ),
        )
    return SecretStr(value)


def _master_key_source(value: str | None) -> KeyPlaceName | None:
    names: tuple[KeyPlaceName, ...] = get_args(KeyPlaceName)
    found: KeyPlaceName | None = next((name for name in names if name == value), None)
    if value and found is None:
        raise ConfigurationError(
            Text(
                f"SEIKYU_MASTER_KEY_SOURCE は {'、'.join(names)} のどれかです。",
                f"SEIKYU_MASTER_KEY_SOURCE must be one of {', '.join(names)}.",
            ),
        )
    return found


def default_config() -> Path:
    """`SEIKYU_CONFIG`, or the user's own configuration folder. Raises `ConfigurationError`."""
    return _path("SEIKYU_CONFIG", os.environ.get("SEIKYU_CONFIG") or "~/.config/seikyu")


def read_settings(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment (`environ` in the place of the process's own and of `.env`) and the configuration folder.

    Raises:
        ConfigurationError: a file or a variable is wrong.
    """
    folder = config or default_config()
    env = read_environment(folder) if environ is None else environ
    home = _path("SEIKYU_HOME", env.get("SEIKYU_HOME") or "~/.local/share/seikyu")
    key = env.get("SEIKYU_MASTER_KEY")
    return Settings(
        home=home,
        config=folder,
        requester=env.get("SEIKYU_REQUESTER") or _user_name(),
        lang=_lang(env.get("SEIKYU_LANG")),
        toolsets=_words(env.get("SEIKYU_TOOLSETS")),
        is_read_only=_flag(env.get("SEIKYU_READ_ONLY")),
        file_roots=_roots(env.get("SEIKYU_FILE_ROOTS"), home),
        approvals_url=env.get("SEIKYU_APPROVALS_URL") or None,
        public_host=_public_host(env.get("SEIKYU_PUBLIC_HOST")),
        connections=read_connections(folder / "connections.toml"),
        slack=read_slack(folder / "connections.toml"),
        anchors=_anchors(env.get("SEIKYU_AUDIT_ANCHORS"), home),
        notify_command=_command("SEIKYU_NOTIFY_COMMAND", env),
        escalate_to=_words(env.get("SEIKYU_ESCALATE_TO")),
        anchor_command=_command("SEIKYU_ANCHOR_COMMAND", env),
        retention_years=_retention_years(env),
        legal_hold=(env.get("SEIKYU_LEGAL_HOLD") or "").strip() or None,
        database_url=_database_url(env.get("SEIKYU_DATABASE_URL")),
        master_key=None if not key else SecretStr(key),
        master_key_command=_command("SEIKYU_MASTER_KEY_COMMAND", env),
        master_key_source=_master_key_source(env.get("SEIKYU_MASTER_KEY_SOURCE")),
        timing=_timing(env),
        batch=_batch(env),
    )


def _batch(env: Mapping[str, str]) -> BatchCap:
    cap = BatchCap()
    count, yen = (
        env.get(f"SEIKYU_BATCH_{name}") or str(usual) for name, usual in (("COUNT", cap.count), ("YEN", cap.yen))
    )
    if not all(re.fullmatch(r"[0-9]{1,15}", value) for value in (count, yen)) or not 1 <= int(count) <= MAX_BATCH:
        raise ConfigurationError(
            Text(
                f"SEIKYU_BATCH_COUNT は1から{MAX_BATCH}、SEIKYU_BATCH_YEN は0以上の整数で書いてください。",
                f"SEIKYU_BATCH_COUNT must be 1 to {MAX_BATCH} and SEIKYU_BATCH_YEN whole yen, such as 50 and 10000000.",
            )
        )
    return BatchCap(int(count), int(yen))


def _timing(env: Mapping[str, str]) -> Timing:
    """`SEIKYU_TIMING_<NAME>` overrides one wait, in whole seconds."""
    given = {name: env[key] for name in Timing.__slots__ if (key := f"SEIKYU_TIMING_{name.upper()}") in env}
    wrong = [name for name, value in given.items() if not value.isascii() or not value.isdigit()]
    if wrong:
        names = ", ".join(f"SEIKYU_TIMING_{name.upper()}" for name in wrong)
        raise ConfigurationError(
            Text(f"{names} は整数（秒か%）で書いてください。", f"{names} must be whole numbers, such as 60."),
        )
    timing = Timing(**{name: int(value) for name, value in given.items()})
    if timing.lease_s <= timing.write_s or min(timing.poll_s, timing.read_s, timing.write_s) < 1:
        raise ConfigurationError(
            Text(
                f"SEIKYU_TIMING_LEASE_S は WRITE_S（{timing.write_s}）より大きく、"
                "POLL_S・READ_S・WRITE_S は1以上にしてください。",
                f"SEIKYU_TIMING_LEASE_S must be over WRITE_S ({timing.write_s}), "
                "and POLL_S, READ_S and WRITE_S at least 1.",
            )
        )
    return timing
