"""What the gate costs, and whether it grows with what is stored.

`python bench/cost.py [--store sqlite|postgres] [--stored N] [--actions N] [--json] [--check]` (tests/ on the path)
walks actions through the real gate: propose, one operator's sealed vote, claim, send to a provider that takes no time,
outcome recorded. Two homes take turns, one that holds 1,000 older actions and one that holds N; bare durable commits
in a database of the same kind, as many as a life needs, are the baseline of the run. Unlocking an operator's key is
not counted: it is slow on purpose, once for each decision, against whoever guesses.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import psycopg
from pydantic import SecretStr

from gate.stage import PretendClock, Stage, make_stage
from postgres import STORES, databases
from seikyu.gate.actions import State
from seikyu.gate.operators import Key

FEW: Final = 1_000
MANY: Final = 1_000_000
TARGET_MS: Final = {"sqlite": 15, "postgres": 30}
GROWTH_TARGET: Final = 1.5
COMMITS: Final = 4
"""Proposed, voted, claimed, recorded: fewer durable steps cannot keep the promise."""
WARM_UP: Final = 20
YEARS: Final = 10
CUSTOMERS: Final = 5_000
REQUESTERS: Final = 5

_POLICY: Final = """
schema = 1
version = "bench"
operations = ["mfkessai.create_transaction", "mfkessai.cancel_transaction"]
[[deny]]
id = "too-large"
why = "too large"
amount_over = 5_000_000
[[ask]]
id = "duplicate"
why = "looks like a duplicate"
duplicate = true
[[ask]]
id = "month"
why = "over the month's limit"
monthly_total_over = 900_000_000_000
[[ask]]
id = "every"
why = "every write"
amount_over = 0
"""

_ROW: Final = "INSERT INTO bare VALUES ('a row of its own')"
_NUMBERS: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"


def _padded(store: str, number: str, width: int) -> str:
    return f"printf('%0{width}d', {number})" if store == "sqlite" else f"lpad(({number})::text, {width}, '0')"


def _different(store: str) -> dict[str, dict[str, str]]:
    """What tells one stored action from the next; every other column is as the gate wrote it."""
    id_ = f"'act-0' || {_padded(store, 'n.i', 19)}"
    ago = f"n.i % {365 * YEARS}"
    day = f"date('2026-11-20', '-' || ({ago}) || ' days')"
    day = day if store == "sqlite" else f"to_char(date '2026-11-20' - ({ago})::int, 'YYYY-MM-DD')"
    whose = f"n.i % {REQUESTERS}"
    return {
        "action": {
            "id": id_,
            "call_digest": "'call-' || n.i",
            "digest": _padded(store, "n.i", 64),
            "natural_key": "'OLD-' || n.i",
            "requester": f"CASE {whose} WHEN 0 THEN 'suzuki' ELSE 'requester-' || ({whose}) END",
            "counterparty_id": f"'C-' || (n.i % {CUSTOMERS})",
            "counterparty_key": f"'customer-' || (n.i % {CUSTOMERS})",
            "reference": "'tx-OLD-' || n.i",
            "transaction_date": day,
            "business_day": day,
            "jst_day": day,
        },
        "vote": {"action_id": id_},
        "attempt": {"action_id": id_},
        "audit": {
            "seq": "{head} + n.i * {rows} + audit.seq - {first}",
            "action_id": id_,
            "hash": f"{_padded(store, 'n.i', 32)} || {_padded(store, 'audit.seq', 32)}",
        },
    }


@dataclass(frozen=True, slots=True)
class Home:
    """A gate over a database that already holds `stored` finished actions."""

    stored: int
    stage: Stage
    key: Key
    numbers: Iterator[int]


def main() -> int:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="seikyu-bench-") as folder,
        databases(options.store, 3) as (small, large, bare),
    ):
        homes = [
            _furnish(Path(folder) / name, stored, url)
            for name, stored, url in (("few", FEW, small), ("many", options.stored, large))
        ]
        with _raw(Path(folder) / "bare.db", bare) as plain:
            took, commits = anyio.run(_run, homes, plain, options.actions)
        for home in homes:
            home.stage.store.close()
    report = _report(options.store, homes, took, commits)
    print(json.dumps(report, indent=2) if options.json else _told(report))
    return 1 if options.check and report["is_missed"] else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=int, default=MANY, help="actions in the larger home (default 1,000,000)")
    parser.add_argument("--actions", type=int, default=200, help="actions measured in each home (default 200)")
    parser.add_argument("--store", choices=STORES, default="sqlite", help="the database (default sqlite)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    return parser.parse_args()


def _furnish(folder: Path, stored: int, url: SecretStr | None) -> Home:
    """A home with `stored` copies of one action that went through the whole gate."""
    began = time.monotonic()
    stage = make_stage(folder, _POLICY, clock=PretendClock(), database_url=url)
    home = Home(stored, stage, stage.enrol("tanaka"), iter(range(10**9)))
    anyio.run(_walk, home)
    stage.store.close()
    with _raw(folder / "seikyu.db", url) as raw:
        _copy(raw, "sqlite" if url is None else "postgres", stored)
    print(f"{stored:>9,} actions stored in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return home


@contextmanager
def _raw(path: Path, url: SecretStr | None) -> Generator[Any]:
    """The driver's own connection, each statement by itself."""
    if url is None:
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
            yield raw
    else:
        with psycopg.connect(url.get_secret_value(), autocommit=True) as raw:
            yield raw


def _copy(raw: Any, store: str, count: int) -> None:  # noqa: ANN401 - either driver's connection
    first, rows = raw.execute("SELECT min(seq), count(*) FROM audit WHERE action_id IS NOT NULL").fetchone()
    (head,) = raw.execute("SELECT max(seq) FROM audit").fetchone()
    known = {"head": head - rows + 1, "rows": rows, "first": first}
    is_lite = store == "sqlite"
    raw.execute("PRAGMA synchronous=OFF" if is_lite else "SET synchronous_commit = off")
    for table, different in _different(store).items():
        values = {name: f"{table}.{name}" for name in _columns(raw, table)} | different
        where = "WHERE audit.action_id IS NOT NULL" if table == "audit" else ""
        raw.execute(
            f"{_NUMBERS.format(count=count)} INSERT INTO {table} ({', '.join(values)}) "  # noqa: S608 - our own columns
            f"SELECT {', '.join(value.format(**known) for value in values.values())} FROM n, {table} {where}"
        )
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)" if is_lite else "VACUUM ANALYZE")
    raw.execute("PRAGMA synchronous=FULL" if is_lite else "CHECKPOINT")


def _columns(raw: Any, table: str) -> list[str]:  # noqa: ANN401 - either driver's connection
    return [column[0] for column in raw.execute(f"SELECT * FROM {table} LIMIT 1").description]  # noqa: S608 - our table


async def _walk(home: Home) -> float:
    """One action from its proposal to its recorded outcome; milliseconds."""
    number, stage = next(home.numbers), home.stage
    began = time.perf_counter()
    action = await stage.store.run(lambda: stage.propose(f"NEW-{number}", 100_000 + number))
    await stage.store.run(lambda: stage.approve(action, home.key))
    done = await stage.executor.execute(action.id)
    took = (time.perf_counter() - began) * 1000
    assert done.state is State.SUCCEEDED, done
    stage.clock.advance(seconds=1)
    return took


async def _run(homes: Sequence[Home], plain: Any, actions: int) -> tuple[list[list[float]], list[float]]:  # noqa: ANN401 - either driver's connection
    """Every home and the baseline in turns, so that a slow moment of the machine hits all alike."""
    took: list[list[float]] = [[] for _ in homes]
    commits: list[float] = []
    plain.execute("CREATE TABLE bare (words TEXT)")
    for index in range(WARM_UP + actions):
        figures = [await _walk(home) for home in homes]
        baseline = _bare_commits(plain)
        if index >= WARM_UP:
            commits.append(baseline)
            for times, figure in zip(took, figures, strict=True):
                times.append(figure)
    return took, commits


def _bare_commits(plain: Any) -> float:  # noqa: ANN401 - either driver's connection
    began = time.perf_counter()
    for _ in range(COMMITS):
        plain.execute("BEGIN")
        plain.execute(_ROW)
        plain.execute("COMMIT")
    return (time.perf_counter() - began) * 1000


def _report(store: str, homes: Sequence[Home], took: Sequence[list[float]], bare: list[float]) -> dict[str, Any]:
    p50 = [statistics.median(times) for times in took]
    growth = p50[-1] / p50[0]
    rows = [
        {"stored": home.stored, "p50_ms": statistics.median(times), "p95_ms": statistics.quantiles(times, n=20)[-1]}
        for home, times in zip(homes, took, strict=True)
    ]
    return {
        "store": store,
        "actions": len(bare),
        "homes": rows,
        "bare_commits_p50_ms": statistics.median(bare),
        "ratio_to_bare": p50[0] / statistics.median(bare),
        "target_ms": TARGET_MS[store],
        "growth": growth,
        "growth_target": GROWTH_TARGET,
        "is_missed": max(p50) > TARGET_MS[store] or growth > GROWTH_TARGET,
    }


def _told(report: dict[str, Any]) -> str:
    lines = [
        f"{home['stored']:>9,} stored: propose → approved → recorded "
        f"p50 {home['p50_ms']:.1f} ms, p95 {home['p95_ms']:.1f} ms"
        for home in report["homes"]
    ]
    return "\n".join(
        [
            f"{report['actions']} actions in each home on {report['store']}",
            *lines,
            f"{COMMITS} bare commits p50 {report['bare_commits_p50_ms']:.1f} ms; ratio {report['ratio_to_bare']:.1f}",
            f"p50 target {report['target_ms']} ms · growth {report['growth']:.2f} (target {report['growth_target']})",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
