"""How PostgreSQL is asked: as any driver, but what costs it more to plan than to run is planned once a connection.

Source: PREPARE, "a generic plan … if its cost is not much more", PostgreSQL 18, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from aiosql.adapters.pyformat import PyFormatAdapter

PLANNED_ONCE: Final = frozenset({"totals", "twins_of"})
"""Statements over many indexes. They name what they answer, so that a newer Seikyu's columns do not change it."""

NEVER_BY_ITSELF: Final = 2**31
"""The driver's threshold: it would plan others once too, and those that answer whole rows fail when a column is new."""


class PlannedOnce(PyFormatAdapter):
    """The adapter by which the statements reach the driver."""

    def select(
        self,
        conn: Any,  # noqa: ANN401 - as the class above has it, here and below
        query_name: str,
        sql: str,
        parameters: Any,  # noqa: ANN401
        record_class: Any = None,  # noqa: ANN401
    ) -> Generator[Any, Any, None]:
        del record_class
        yield from conn.execute(sql, parameters, prepare=query_name in PLANNED_ONCE)

    def select_one(
        self,
        conn: Any,  # noqa: ANN401
        query_name: str,
        sql: str,
        parameters: Any,  # noqa: ANN401
        record_class: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        del record_class
        return conn.execute(sql, parameters, prepare=query_name in PLANNED_ONCE).fetchone()
