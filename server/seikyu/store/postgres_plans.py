"""How PostgreSQL is asked: as any driver, but a statement that is used often is planned once a connection.

Two kinds are planned each time: those with conditions that a NULL takes away, whose best plan depends on what is
asked; and those that answer whole rows, for a plan that was kept fails once a newer Seikyu has added a column. The
rows of `action`, read at every step, are planned once all the same: the plans are given up when it has grown.
A transaction that writes keeps what was planned for any value: PostgreSQL would plan the totals of a million actions
anew each time, which takes longer than to add them up.
Source: PostgreSQL 18, PREPARE and "cached plan must not change result type", read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, Final

from aiosql.adapters.pyformat import PyFormatAdapter

USES: Final = 3
"""Of a statement, on one connection, before its plan is kept: a command that ends soon would pay for it in vain."""

COLUMNS: Final = "SELECT relnatts FROM pg_class WHERE oid = to_regclass('action')"
"""How many columns `action` has; no row without the table."""

_WHOLE_ROWS: Final = re.compile(r"SELECT (\w+\.)?\*")
_OPTIONAL: Final = re.compile(r"IS NULL\s+OR\b")
_OF_ACTIONS: Final = re.compile(r"SELECT (a\.\*.*CROSS JOIN action AS a\b|\* FROM action\b)", re.DOTALL)


class PlannedOnce(PyFormatAdapter):
    """The adapter by which the statements reach the driver."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # pyright: ignore[reportUnknownMemberType]
        self._planned = set[str]()

    def process_sql(self, query_name: str, op_type: Any, sql: str) -> str:  # noqa: ANN401
        is_steady = not _WHOLE_ROWS.search(sql) or _OF_ACTIONS.search(sql) is not None
        if is_steady and not _OPTIONAL.search(sql):
            self._planned.add(query_name)
        return str(super().process_sql(query_name, op_type, sql))  # type: ignore[no-untyped-call] # pyright: ignore[reportUnknownMemberType]

    def _is_kept(self, query_name: str) -> bool | None:
        """None: once it was used often enough, as the driver counts."""
        return None if query_name in self._planned else False

    def select(
        self,
        conn: Any,  # noqa: ANN401 - as the class above has it, here and below
        query_name: str,
        sql: str,
        parameters: Any,  # noqa: ANN401
        record_class: Any = None,  # noqa: ANN401
    ) -> Generator[Any, Any, None]:
        del record_class
        yield from conn.execute(sql, parameters, prepare=self._is_kept(query_name))

    def select_one(
        self,
        conn: Any,  # noqa: ANN401
        query_name: str,
        sql: str,
        parameters: Any,  # noqa: ANN401
        record_class: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        del record_class
        return conn.execute(sql, parameters, prepare=self._is_kept(query_name)).fetchone()

    def insert_update_delete(self, conn: Any, query_name: str, sql: str, parameters: Any) -> int:  # noqa: ANN401
        return int(conn.execute(sql, parameters, prepare=self._is_kept(query_name)).rowcount)
