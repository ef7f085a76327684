"""Opening PostgreSQL: reach it, see that it keeps what it commits, bring its tables up to date."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from pydantic import SecretStr

from seikyu.errors import NOTHING, ConfigurationError, StoreBusy, Text
from seikyu.store.database import AGAIN, BUSY_TIMEOUT_S
from seikyu.store.postgres_plans import USES
from seikyu.store.schema import migrations, newer

Connection: TypeAlias = psycopg.Connection[DictRow]

LOCK: Final = int.from_bytes(b"seikyu")
"""The number of the writers' lock; it counts in one database only."""

_ON_OPENING: Final = (
    f"SET lock_timeout = '{BUSY_TIMEOUT_S}s';"
    # a process that stops or loses its network inside a transaction must not hold up the others for their whole wait
    " SET idle_in_transaction_session_timeout = '20s';"
    " SET timezone = 'UTC';"
    " SET client_min_messages = error;"
    " SELECT current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,"
    " current_setting('synchronous_commit') AS durability"
)
_DEFAULTS: Final = {
    "application_name": "seikyu",
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "target_session_attrs": "read-write",
}
"""What the address does not say: a peer that is gone is noticed within a minute, a standby is never written to."""

_DURABLE: Final = frozenset({"on", "remote_apply"})
"""Values of `synchronous_commit` under which an answered commit is on disk, a synchronous standby's too."""

OUT_OF_REACH: Final = Text("データベースに接続できません。", "The database is out of reach.")
MEND_URL = Text("SEIKYU_DATABASE_URL を確かめてください。", "Check SEIKYU_DATABASE_URL.")
_REASONS: Final = {
    "authentication failed": Text("パスワードか利用者名が違います。", "It does not take the user or the password."),
    "no password supplied": Text("パスワードがありません。", "It asks for a password."),
    "Connection refused": Text("サーバーが動いていません。", "Nothing answers at that address."),
    "No such file": Text("サーバーが動いていません。", "Nothing answers at that address."),
    "could not translate host": Text("ホスト名が見つかりません。", "The host name is not known."),
    "failed to resolve host": Text("ホスト名が見つかりません。", "The host name is not known."),
    "does not exist": Text("利用者かデータベースがありません。", "There is no such user or database."),
    "timeout expired": Text("サーバーが応答しません。", "The server does not answer."),
    "SSL": Text("TLS で接続できません。", "TLS could not be agreed on."),
    "read-only": Text("書き込めるサーバーではありません。", "That server takes no writes."),
}
"""What the driver's own words mean. They are not passed on: with an address that was mistyped they may hold a part
of its password."""


class _WholeNumber(Loader):
    """Sums of yen: PostgreSQL adds BIGINTs up to NUMERIC."""

    def load(self, data: Buffer) -> int:
        return int(bytes(data))


def open_connection(url: SecretStr, *, is_known: bool) -> Connection:
    """A connection in its first rest; one to a database that is not known yet looks at its tables.

    Raises:
        ConfigurationError: the address cannot be read, or the server does not keep what it commits.
        StoreBusy: it cannot be reached. Neither holds the driver's own words.
        StoreDamaged: the database was made by a newer version.
        psycopg.Error: it was lost again.
    """
    connection = _connect(url)
    try:
        connection.adapters.register_loader("numeric", _WholeNumber)
        _check_server(last_row(connection, _ON_OPENING))
        if not is_known:
            migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(url: SecretStr) -> Connection:
    """Raises `ConfigurationError` or `StoreBusy`, without the driver's own words."""
    try:
        given = {key: str(value) for key, value in conninfo_to_dict(url.get_secret_value()).items()}
    except psycopg.Error:
        raise ConfigurationError(
            Text("SEIKYU_DATABASE_URL を読めません。", "SEIKYU_DATABASE_URL cannot be read."),
            Text(
                "postgresql://利用者:パスワード@ホスト/データベース の形で、記号は % で書いてください。",
                "Write it as postgresql://user:password@host/database, with signs in the password as %XX.",
            ),
        ) from None
    settings: dict[str, Any] = _DEFAULTS | given
    try:
        return psycopg.Connection[DictRow].connect(
            make_conninfo(**settings), autocommit=True, row_factory=dict_row, prepare_threshold=USES
        )
    except psycopg.Error as error:
        words = str(error)
        why = next((reason for word, reason in _REASONS.items() if word in words), NOTHING)
    raise StoreBusy(OUT_OF_REACH + why, MEND_URL + AGAIN, written=NOTHING)


def last_row(connection: Connection, statements: str) -> DictRow:
    """Send several statements at once; the row of the last."""
    cursor = connection.execute(statements.encode(), prepare=False)
    while cursor.nextset():
        pass
    return cursor.fetchone() or {}


def _check_server(said: DictRow) -> None:
    if said["encoding"] != "UTF8":
        raise ConfigurationError(
            Text(
                f"データベースの文字コードが {said['encoding']} です。",
                f"The database's encoding is {said['encoding']}.",
            ),
            Text("UTF8 で作り直してください。", "Create it with ENCODING 'UTF8'."),
        )
    check_durable(said["durability"])
    if said["fsync"] != "on":
        raise _not_durable("fsync", said["fsync"])


def check_durable(value: str) -> None:
    if value not in _DURABLE:
        raise _not_durable("synchronous_commit", value)


def _not_durable(name: str, value: str) -> ConfigurationError:
    return ConfigurationError(
        Text(
            f"データベースの {name} が {value} です。記録が後から失われ、二重に送るおそれがあります。",
            f"{name} of the database is {value}: it may lose what it has committed, and something be sent twice.",
        ),
        Text(f"{name} を on にしてください。", f"Set {name} to on."),
    )


def migrate(connection: Connection) -> None:
    """Bring the schema up to date under the writers' lock; several processes may start at once.

    Raises:
        StoreDamaged: the database was made by a newer version.
    """
    known = migrations("postgres")
    newest = known[-1][0]
    if schema_version(connection) == newest:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        at = schema_version(connection)
        if at > newest:
            raise newer()
        if at == 0:
            connection.execute("CREATE TABLE seikyu_schema (version INTEGER NOT NULL)")
            connection.execute("INSERT INTO seikyu_schema VALUES (0)")
        for number, script in known:
            if number > at:
                connection.execute(_by_code_point(script).encode())
        connection.execute("UPDATE seikyu_schema SET version = %s", [newest])


def schema_version(connection: Connection) -> int:
    """The number of the last migration; 0 before the first."""
    # not to_regclass: it may answer from before the wait for the lock
    there = connection.execute(
        "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'seikyu_schema'"
    ).fetchone()
    if there is None:
        return 0
    row = connection.execute("SELECT version FROM seikyu_schema").fetchone()
    return 0 if row is None else int(row["version"])


_TEXT_COLUMN: Final = re.compile(r'^(    \w+ |ALTER TABLE "?\w+"? ADD COLUMN \w+ )TEXT\b', re.MULTILINE)


def _by_code_point(script: str) -> str:
    """Text sorts and compares by code point, as in SQLite, whatever language the database was made for."""
    return _TEXT_COLUMN.sub(r'\1TEXT COLLATE "C"', script)
