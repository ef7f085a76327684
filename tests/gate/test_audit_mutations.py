"""Random changes to the store, each of which the log and its anchors must find.

300 in every run of the tests; `make audit-mutations N=10000` for more. Each works on a copy in memory.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from gate.forgery import write_log
from gate.stage import Stage
from seikyu.errors import Text
from seikyu.gate import audit
from seikyu.gate.anchors import AnchorFile, Anchoring, AnchorLines
from seikyu.gate.votes import Ballot
from seikyu.gate.witness import TIMING_COLUMNS, WAITING
from seikyu.spec import Lost, Principal
from seikyu.store.database import Tx
from seikyu.store.sqlite import SQLITE

COUNT = int(os.environ.get("SEIKYU_AUDIT_MUTATIONS") or 300)
SEED = 20261121
LOST = Lost(Text("切断", "cut"))

Log = list[tuple[Any, ...]]


async def lived_in(stage: Stage) -> AnchorLines:
    """A store in which everything happened once, anchored as it went."""
    keeper, first = Anchoring(stage.store, stage.clock, AnchorFile(stage.settings.anchors_file)), stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    for number in range(4):
        done = stage.propose(f"D-{number}", 60_000 + number)
        await stage.executor.execute(stage.approve(done, first).id)
        keeper.keep_up(at_once=True)
    stage.provider.answers.append(lambda _request: LOST)
    await stage.executor.execute(stage.propose("L-1", 50_000, counterparty_id="C-2", counterparty_name="みどり").id)
    large = stage.propose("B-1", 2_000_000)
    stage.approve(stage.approve(large, first), second)
    rejected, returned = stage.propose("N-1", 90_000), stage.propose("N-2", 95_000)
    stage.ballots.cast(Ballot(rejected.id, rejected.digest, "reject", "no"), first)
    stage.ballots.cast(Ballot(returned.id, returned.digest, "return", "date"), first)
    stage.desk.withdraw(stage.propose("W-1", 80_000).id, Principal("suzuki", "test"))
    stage.propose("T-1", 9_000_000)
    edited = stage.revisions.revise(stage.draft(stage.propose("O-1", 70_000), 65_000), key=first)
    stage.revisions.revise(stage.draft(edited, 66_000))
    keeper.keep_up(at_once=True)
    return AnchorFile(stage.settings.anchors_file).read()


class Copy:
    """A copy of the store in memory, in the hands of somebody who owns it."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        with stage.store.read() as tx:
            tx.connection.backup(self.db)
        self.db.row_factory = sqlite3.Row
        self.db.execute("DROP TRIGGER audit_is_never_updated")
        self.db.execute("DROP TRIGGER audit_is_never_deleted")
        self.rng = rng

    @contextmanager
    def undone(self) -> Generator[None]:
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("ROLLBACK")

    def content(self) -> list[Log]:
        return [[tuple(row) for row in self.db.execute(f"SELECT * FROM {name} ORDER BY rowid")] for name in TABLES]  # noqa: S608

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.db.execute(f"SELECT rowid AS rowid_, * FROM {table}")]  # noqa: S608

    def another(self, table: str, column: str, value: object) -> object:
        """Another value: somebody else's, none, or nearly the same."""
        others = [row[column] for row in self.rows(table) if row[column] != value]
        nearly = value + self.rng.choice([-1, 1]) if isinstance(value, int) else f"{value or ''}x"
        return self.rng.choice([*others[:3], nearly, nearly, None, "", b"\x00", 1.5])


WITNESSED = ("action", "vote", "revision", "mandate", "operator")
TABLES = ("audit", *WITNESSED)


def edit(copy: Copy) -> str:
    """Change one column of one action, vote, edit, mandate or operator."""
    table = copy.rng.choice(WITNESSED)
    row = copy.rng.choice(copy.rows(table))
    free = {"rowid_", "failures", "locked_until", *(TIMING_COLUMNS if row.get("state") in WAITING else ())}
    column = copy.rng.choice([name for name in row if name not in free])
    value = copy.another(table, column, row[column])
    copy.db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row["rowid_"]))  # noqa: S608
    return f"edit {table}.{column} to {value!r}"


def delete(copy: Copy) -> str:
    table = copy.rng.choice(WITNESSED)
    row = copy.rng.choice(copy.rows(table))
    copy.db.execute(f"DELETE FROM {table} WHERE rowid = ?", (row["rowid_"],))  # noqa: S608
    return f"a row of {table} deleted"


def double(copy: Copy) -> str:
    """A second action or vote like one that is there."""
    table, key, value = copy.rng.choice([("action", "id", "act-forged"), ("vote", "operator", "mallory")])
    row = copy.rng.choice(copy.rows(table))
    row |= {key: value}
    if table == "action":
        row |= {"natural_key": None, "call_digest": "forged"}
    names = [name for name in row if name != "rowid_"]
    marks = ", ".join("?" for _ in names)
    copy.db.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", [row[name] for name in names])  # noqa: S608
    return f"double a row of {table}"


def edit_log(copy: Copy) -> str:
    log, column = read_log(copy), copy.rng.randrange(7)
    place = copy.rng.randrange(len(log))
    row = list(log[place])
    row[column] = copy.another("audit", COLUMNS[column], row[column])
    log[place] = tuple(row)
    return rewrite(copy, log, f"edit audit.{COLUMNS[column]} of {place + 1} to {row[column]!r}")


def delete_log(copy: Copy) -> str:
    log = read_log(copy)
    place = copy.rng.randrange(len(log))
    del log[place]
    return rewrite(copy, log, f"delete record {place + 1}")


def swap_log(copy: Copy) -> str:
    log = read_log(copy)
    one, other = copy.rng.sample(range(len(log)), 2)
    log[one], log[other] = (log[one][0], *log[other][1:]), (log[other][0], *log[one][1:])
    return rewrite(copy, log, f"swap records {one + 1} and {other + 1}")


def truncate_log(copy: Copy) -> str:
    log = read_log(copy)
    left = copy.rng.randrange(len(log))
    return rewrite(copy, log[:left], f"cut the log after {left}")


def double_log(copy: Copy) -> str:
    """A record twice, within what was anchored: one that is appended after the anchored head is as good as any."""
    log = read_log(copy)
    place, into = copy.rng.randrange(len(log) - 1), copy.rng.randrange(len(log))
    log.insert(into, (*log[place][:6], f"{log[place][6]}x"))
    numbered = [(number, *row[1:]) for number, row in enumerate(log, 1)]
    return rewrite(copy, numbered, f"double record {place + 1} at {into + 1}")


COLUMNS = ("seq", "at", "kind", "action_id", "record", "prev", "hash")
MUTATIONS: tuple[Callable[[Copy], str], ...] = (
    edit, edit, edit, delete, double, edit_log, edit_log, delete_log, swap_log, truncate_log, double_log,
)  # fmt: skip


def read_log(copy: Copy) -> Log:
    return [tuple(row) for row in copy.db.execute("SELECT * FROM audit ORDER BY seq")]


def rewrite(copy: Copy, log: Log, what: str) -> str:
    """Write the log back as it is now, or with its whole chain made anew."""
    is_stamped = copy.rng.random() < 1 / 2
    write_log(copy.db, log, is_stamped=is_stamped)
    return f"{what}{', restamped' if is_stamped else ''}"


def mutated(copy: Copy, before: list[Log]) -> str | None:
    """What was changed; None when the database refused it, or nothing is different in the end."""
    try:
        what = copy.rng.choice(MUTATIONS)(copy)
    except (sqlite3.Error, ValueError):  # a column of another type, a key that is taken, a value JSON has not
        return None
    return None if copy.content() == before else what


async def test_every_random_change_is_found(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    anchored = await lived_in(stage)
    copy = Copy(stage, random.Random(SEED))  # noqa: S311 - a test that can be repeated
    before, missed, tried = copy.content(), list[str](), Counter[str]()
    assert audit.check(Tx(copy.db, SQLITE), anchored).faults == ()

    while tried.total() < COUNT:
        with copy.undone():
            what = mutated(copy, before)
            if what is not None:
                tried["log" if "record" in what or "log" in what or "audit" in what else "rows"] += 1
                if not audit.check(Tx(copy.db, SQLITE), anchored).faults:
                    missed.append(what)

    if "SEIKYU_AUDIT_MUTATIONS" in os.environ:
        with capsys.disabled():
            sys.stdout.write(f"\nfound {COUNT - len(missed)} of {COUNT} {dict(tried)}\n")
    assert missed == []
    copy.db.close()
