"""`connections.toml`: which accounts exist."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from seikyu.errors import ConfigurationError, Text
from seikyu.models import Connection, Environment, ProviderName
from seikyu.settings.values import LOOPBACK_HOSTS, SlackApp

DEFAULT_BASE_URLS: Final[Mapping[tuple[ProviderName, Environment], str]] = {
    ("mfkessai", "production"): "https://api.mfkessai.co.jp/v2",
    ("mfkessai", "sandbox"): "https://sandbox-api.mfkessai.co.jp/v2",
    ("invox", "production"): "https://api.invox.jp",
    ("misoca", "production"): "https://app.misoca.jp",
    ("freee", "production"): "https://api.freee.co.jp",
}
"""Where each provider answers. Source: MFK API v2, invox API 1.0.3, Misoca API v3 and freee API references, read
2026-11-21. invox, Misoca and freee have no sandbox host."""


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
