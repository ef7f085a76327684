"""How many faults planted in the code that guards money the tests would miss.

`python bench/mutants.py [PATTERN …] [--sample N] [--seed N] [--workers N] [--minutes N] [--folder F] [--json]`
lays a copy of the project out in a folder of its own and lets mutmut change one expression at a time in `models.py`,
`gate/`, `vault/` and the code that checks signatures; each mutant meets the tests that run its function. A folder that
is kept is taken up where it was left; what had no verdict, because it hung or its tests did not start, is tried again.
Words that people read (`Text`, log lines, messages of our own faults) are not changed: no test should depend on every
letter of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET_PERCENT: Final = 95

GUARDED: Final = ("models.py", "gate/*", "vault/*", "surfaces/signatures.py", "surfaces/envelopes.py")
"""Under `server/seikyu`: what is mutated unless a pattern says otherwise."""

_SIGNED: Final = ("tests/surfaces/test_slack.py", "tests/surfaces/test_webhooks.py")
_JOURNEYS: Final = ("tests/e2e/test_connections_check.py", "tests/e2e/test_connecting.py")
TESTS: Final = ("tests/test_models.py", "tests/gate", "tests/vault", *_SIGNED, *_JOURNEYS)
"""Those that run the guarded code in their own process, the twins beside it on real sockets."""
_ALSO: Final = (
    "config",
    "tests",
    "bench",
    "README.md",
    "README.ja.md",
    "Makefile",
    "SECURITY.md",
    "CHANGELOG.md",
    "LICENSE",
)
_UNTOUCHED: Final = (r"\bText\(", r"\blog\.\w+", r"\bmsg = ")

WORDS: Final = ("killed", "survived", "no test", "timeout", "broken", "not tried")
_WORD: Final = {1: "killed", 0: "survived", 5: "no test", 33: "no test", None: "not tried"}
"""Of the exit codes of a mutant's tests: only a test that failed is a kill."""
_TIMEOUT: Final = {-signal.SIGXCPU, int(signal.SIGXCPU), 128 + signal.SIGXCPU}
"""A mutant that hangs where no test's own limit ends it, or a machine that was busy: so it is no kill."""


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # mutmut is ended with us
    folder = options.folder.resolve()
    lay_out(folder, options.patterns or GUARDED)
    deadline = time.monotonic() + 60 * options.minutes
    chosen = _chosen(folder, options, deadline) if options.sample else []
    _run(folder, options.workers, chosen, deadline)
    found = outcomes(folder)
    report = _report(found)
    if set(report["total"]) == {"not tried"}:
        raise SystemExit(f"no mutant was tried, perhaps because a test fails without one; see {folder / 'mutmut.log'}")
    print(json.dumps(report, indent=2) if options.json else _told(report))
    return 1 if options.check and report["percent"] < TARGET_PERCENT else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="under server/seikyu, such as gate/votes.py")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="mutants tried at the same time")
    parser.add_argument("--minutes", type=int, default=60, help="stop after so long; what was not tried is said")
    parser.add_argument("--sample", type=int, default=0, help="try only so many, drawn at random (default all)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutants", help="kept from run to run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 below the target")
    return parser.parse_args()


def lay_out(folder: Path, patterns: Sequence[str]) -> None:
    """Our sources below `src`, as mutmut wants them, the tests and a configuration beside; unchanged files stay."""
    for package, place in (("server/seikyu", "src/seikyu"), ("tools/seikyu_tools", "src/seikyu_tools")):
        _mirror(ROOT / package, folder / place)
    for name in _ALSO:
        _mirror(ROOT / name, folder / name)
    _refresh(folder)
    _try_again(folder)
    _keep(folder / "pyproject.toml", _configuration(patterns).encode())


def _refresh(folder: Path) -> None:
    """SQL, for example: what is no Python mutmut copies once and never looks at again."""
    for path in (folder / "src").rglob("*.*"):
        copy = folder / "mutants" / path.relative_to(folder)
        if path.suffix != ".py" and copy.is_file():
            _keep(copy, path.read_bytes())


def _try_again(folder: Path) -> None:
    """Mutants without a verdict: the machine was busy, or their tests could not be started."""
    for path in (folder / "mutants").rglob("*.meta"):
        known = json.loads(path.read_text(encoding="utf-8"))
        codes: dict[str, int | None] = known["exit_code_by_key"]
        known["exit_code_by_key"] = {
            mutant: None if _word(code) in {"timeout", "broken"} else code for mutant, code in codes.items()
        }
        _keep(path, json.dumps(known, indent=4).encode())


def _mirror(source: Path, target: Path) -> None:
    if source.is_file():
        _keep(target, source.read_bytes())
        return
    wanted = {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    for path in wanted:
        _keep(target / path, (source / path).read_bytes())
    for old in [path for path in target.rglob("*.py") if path.relative_to(target) not in wanted]:
        old.unlink()


def _keep(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _configuration(patterns: Sequence[str]) -> str:
    whole = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pytest = tomllib.loads(whole)["tool"]["pytest"]["ini_options"] | {"pythonpath": ["tests"], "testpaths": ["tests"]}
    lines = [f"{name} = {json.dumps(value)}" for name, value in pytest.items()]
    tests = [name for name in TESTS if (ROOT / name).exists()]
    mutmut = {
        "source_paths": ["src"],
        "only_mutate": [f"src/seikyu/{pattern}" for pattern in patterns],
        "also_copy": list(_ALSO),
        "do_not_mutate_patterns": list(_UNTOUCHED),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-k", "not postgres"],
        "pytest_add_cli_args_test_selection": tests,
        "process_isolation": "forkserver",
        "timeout_multiplier": 5.0,
        "timeout_constant": 30.0,  # times five: a test's own limit of two minutes comes first, and fails it
        "debug": True,
    }
    lines = ["[tool.pytest.ini_options]", *lines, "", "[tool.mutmut]"]
    return "\n".join([*lines, *(f"{name} = {json.dumps(value)}" for name, value in mutmut.items()), ""])


def _chosen(folder: Path, options: argparse.Namespace, deadline: float) -> list[str]:
    """A sample of all mutants there are; the same for the same seed and code."""
    _run(folder, options.workers, ["made.only"], deadline)
    every = sorted(mutant for words in outcomes(folder).values() for mutant in words)
    return Random(options.seed).sample(every, min(options.sample, len(every)))  # noqa: S311 - a draw, no secret


def _run(folder: Path, workers: int, chosen: Sequence[str], deadline: float) -> None:
    """Let mutmut try every mutant (or the chosen) not tried yet; it remembers what it knows in the folder."""
    mutmut = shutil.which("mutmut", path=str(Path(sys.executable).parent)) or "mutmut"
    command = [mutmut, "run", "--max-children", str(workers), *chosen]
    clean = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    clean["PYTHONPATH"] = str(folder / "src")  # programs that tests start run the code as it is
    with (
        (folder / "mutmut.log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=clean, stdout=log, stderr=log, start_new_session=True) as running,
    ):
        try:
            running.wait(timeout=max(1, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(running.pid, signal.SIGTERM)
            print("stopped before the end", file=sys.stderr)


def outcomes(folder: Path) -> dict[str, dict[str, str]]:
    """Of each file, what came of each of its mutants.

    Raises:
        SystemExit: mutmut made none; its own words are in the folder.
    """
    mutated = folder / "mutants" / "src" / "seikyu"
    found: dict[str, dict[str, str]] = {}
    for meta in sorted(mutated.rglob("*.meta")):
        codes: dict[str, int | None] = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            name = str(meta.relative_to(mutated).with_suffix(""))
            found[name] = {mutant: _word(code) for mutant, code in codes.items()}
    if not found:
        raise SystemExit(f"no mutants; see {folder / 'mutmut.log'}")
    return found


def _word(code: int | None) -> str:
    """Broken: its tests did not run to a verdict, which says nothing about them."""
    return "timeout" if code in _TIMEOUT else _WORD.get(code, "broken")


def _report(found: dict[str, dict[str, str]]) -> dict[str, Any]:
    files = {name: Counter(words.values()) for name, words in found.items()}
    total = Counter(word for words in found.values() for word in words.values())
    alive = [
        f"{mutant} ({word})"
        for words in found.values()
        for mutant, word in words.items()
        if word not in {"killed", "not tried"}
    ]
    return {
        "files": {name: dict(counted) | {"percent": _percent(counted)} for name, counted in files.items()},
        "total": dict(total),
        "percent": _percent(total),
        "target": TARGET_PERCENT,
        "alive": alive,
    }


def _percent(counted: Counter[str]) -> int:
    """Killed of those tried, rounded down."""
    tried = counted.total() - counted["not tried"]
    return counted["killed"] * 100 // tried if tried else 0


def _told(report: dict[str, Any]) -> str:
    def line(name: str, counted: dict[str, int]) -> str:
        figures = [f"{counted.get(word, 0):>10}" for word in WORDS]
        return f"{name:<28}{''.join(figures)}{counted['percent']:>6} %"

    heading = f"{'':<28}{''.join(f'{word:>10}' for word in WORDS)}"
    rows = [line(name, counted) for name, counted in report["files"].items()]
    total = line("total", report["total"] | {"percent": report["percent"]})
    return "\n".join([heading, *rows, total, f"target {report['target']} %", *report["alive"]])


if __name__ == "__main__":
    raise SystemExit(main())
