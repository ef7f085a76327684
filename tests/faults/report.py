"""`python -m faults.report [--json] [F01 …]`: run the tests that prove the catalogue, and show number by number."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pytest

from faults.catalogue import CATALOGUE, NOT_YET, TESTS, proofs

ROOT: Final = TESTS.parent


@dataclass(eq=False)
class Results:
    """What pytest said: `passed`, `failed` or `skipped` for each run of each test, by the numbers it carries."""

    asked: frozenset[str]
    by_number: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _numbers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._numbers[item.nodeid] = [str(arg) for mark in item.iter_markers("fault") for arg in mark.args]
        items[:] = [item for item in items if self.asked & set(self._numbers[item.nodeid])]

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for number in self._numbers.get(report.nodeid, []):
            runs = self.by_number.setdefault(number, {})
            if report.when == "call" or report.outcome != "passed":
                runs[report.nodeid] = (
                    "failed" if "failed" in (runs.get(report.nodeid), report.outcome) else report.outcome
                )


def run(asked: frozenset[str]) -> tuple[Results, int]:
    """Run exactly the tests marked with one of `asked`; pytest's own words go to stderr."""
    results, files = Results(asked), sorted({str(proof.file) for proof in proofs() if proof.number in asked})
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        code = pytest.main(["-q", "--rootdir", str(ROOT), *files], plugins=[results])
    finally:
        sys.stdout = out
    return results, int(code)


def result_of(runs: Mapping[str, str]) -> str:
    """`failed` when any run failed, `skipped` when nothing ran."""
    for told in ("failed", "passed", "skipped"):
        if told in runs.values():
            return told
    return "no test"


def tests_of(runs: Mapping[str, str]) -> list[str]:
    """The tests' names without their parameters, each with how often it ran."""
    names = [name.rpartition("::")[2].partition("[")[0] for name in runs]
    return [name if names.count(name) == 1 else f"{name} ×{names.count(name)}" for name in dict.fromkeys(names)]


def as_json(results: Results, took_s: int) -> str:
    rows = [
        {
            "fault": fault.number,
            "what": fault.what,
            "outcome": fault.outcome,
            "result": result_of(results.by_number.get(fault.number, {})),
            "tests": results.by_number.get(fault.number, {}),
            "why_not": NOT_YET.get(fault.number),
        }
        for fault in CATALOGUE
        if fault.number in results.asked
    ]
    return json.dumps({"took_s": took_s, "faults": rows}, ensure_ascii=False, indent=2)


STYLE: Final = {"passed": "green", "failed": "bold red", "skipped": "yellow", "no test": "dim"}


def show(results: Results, took_s: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="F01 – F64", title_justify="left", show_lines=True)
    for heading in ("fault", "what must come of it", "proved by", "result"):
        table.add_column(heading)
    counts: dict[str, int] = {}
    asked = [fault for fault in CATALOGUE if fault.number in results.asked]
    for fault in asked:
        runs = results.by_number.get(fault.number, {})
        result = result_of(runs)
        counts[result] = counts.get(result, 0) + 1
        proved = "\n".join(tests_of(runs)) or NOT_YET.get(fault.number, "")
        what = Text.assemble((fault.number, "bold"), " ", fault.what)
        table.add_row(what, fault.outcome, proved.replace("test_", "").replace("_", " "), Text(result, STYLE[result]))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    tests = len({name for runs in results.by_number.values() for name in runs})
    said = ", ".join(f"{count} {result}" for result, count in counts.items())
    console.print(f"{len(asked)} faults: {said}; {tests} tests in {took_s} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("numbers", nargs="*", metavar="F01", help="only these")
    asked = parser.parse_args()
    if strange := sorted(set(asked.numbers) - {fault.number for fault in CATALOGUE}):
        parser.error(f"no fault is called {', '.join(strange)}; they are F01 to F64")
    began = time.monotonic()
    results, code = run(frozenset(asked.numbers or [fault.number for fault in CATALOGUE]))
    took_s = round(time.monotonic() - began)
    if asked.json:
        sys.stdout.write(as_json(results, took_s) + "\n")
    else:
        show(results, took_s)
    return code


if __name__ == "__main__":
    sys.exit(main())
