"""How long a client waits for us, and how much of a model's attention our tools cost.

`python bench/start.py [--rounds N] [--json] [--check]` starts the bare SDK (`bare.py`) and `seikyu serve` in turns,
each on a fresh state, and times process start → `initialize` → `tools/list` answered. Then it counts the tokens of
our `tools/list`. This process imports neither the SDK nor ours, so that what it measures is what it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parent.parent
BARE: Final = [sys.executable, str(ROOT / "bench" / "bare.py")]
SEIKYU: Final = [sys.executable, "-m", "seikyu", "serve"]

START_TARGET: Final = 1.25
"""Our start as a multiple of the bare SDK's."""
TOKEN_TARGET: Final = 4_000
TOKENIZER: Final = "o200k_base"

ANSWER_S: Final = 60.0
"""A server that has not answered by then is killed, and the benchmark fails."""
TOTAL_S: Final = 240.0
"""No new round begins after this long."""

_INITIALIZE: Final[Json] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


@dataclass(frozen=True, slots=True)
class Race:
    """Milliseconds from process start to the answered `tools/list`, round by round."""

    bare: list[float]
    ours: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.bare)

    @property
    def ratios(self) -> list[float]:
        """Of the two neighbours of each round, so that a slow moment of the machine hits both."""
        return [ours / bare for bare, ours in zip(self.bare, self.ours, strict=True)]


@dataclass(frozen=True, slots=True)
class Weight:
    """Tokens of the compact JSON of each tool, and of the whole result."""

    tools: dict[str, int]
    total: int


def main() -> int:
    options = _options()
    with fresh_state() as environment:
        race, listed = run_race(options.command, rounds=options.rounds, environment=environment)
    weight = weigh(listed)
    if options.json:
        print(json.dumps(_report(race, weight), indent=2))
    else:
        show(race, weight)
    print(
        f"start ratio {race.ratio:.2f} (target {START_TARGET}) · "
        f"tools/list {weight.total} tokens (target {TOKEN_TARGET})",
        file=sys.stderr if options.json else sys.stdout,
    )
    is_missed = race.ratio > START_TARGET or weight.total > TOKEN_TARGET
    return 1 if options.check and is_missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="pairs of starts after the warm-up (default 9)")
    parser.add_argument("--json", action="store_true", help="print JSON; the closing line goes to stderr")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--command", type=shlex.split, default=SEIKYU, help="what to start instead of seikyu serve")
    return parser.parse_args()


@contextmanager
def fresh_state() -> Generator[dict[str, str], None, None]:
    """An environment with an empty home and a copy of the operator's configuration."""
    with tempfile.TemporaryDirectory(prefix="seikyu-bench-") as folder:
        home, config = Path(folder) / "home", Path(folder) / "config"
        home.mkdir(mode=0o700)
        if (ROOT / "config").is_dir():
            shutil.copytree(ROOT / "config", config)
        else:
            config.mkdir()
        ours = {"SEIKYU_HOME": str(home), "SEIKYU_CONFIG": str(config), "PYTHONPATH": _path()}
        others = {name: value for name, value in os.environ.items() if not name.startswith("SEIKYU_")}
        yield others | ours


def _path() -> str:
    """Our sources first; both servers get the same path."""
    found = [str(ROOT / "server"), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(part for part in found if part)


def run_race(command: list[str], *, rounds: int, environment: dict[str, str]) -> tuple[Race, Json]:
    """Start both in turns. The first pair is not counted: it writes the bytecode, for both alike."""
    began = time.monotonic()
    start(BARE, environment)
    _, listed = start(command, environment)
    race = Race([], [])
    while len(race.bare) < rounds and (not race.bare or time.monotonic() - began < TOTAL_S):
        race.bare.append(start(BARE, environment)[0])
        race.ours.append(start(command, environment)[0])
    return race, listed


def start(command: list[str], environment: dict[str, str]) -> tuple[float, Json]:
    """Milliseconds until `tools/list` is answered, and its result. The process is gone afterwards.

    Raises:
        RuntimeError: the server ended, or did not answer within `ANSWER_S`.
    """
    with tempfile.TemporaryFile() as complaints:
        began = time.perf_counter()
        with _server(command, environment, complaints.fileno()) as server:
            result = _tools_list(server)
            took = (time.perf_counter() - began) * 1000
        if result is None:
            complaints.seek(0)
            raise RuntimeError(f"{shlex.join(command)} gave no answer:\n{complaints.read().decode(errors='replace')}")
    return took, result


@contextmanager
def _server(
    command: list[str], environment: dict[str, str], stderr: int
) -> Generator[subprocess.Popen[bytes], None, None]:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment, cwd=ROOT
    ) as server:
        watchdog = threading.Timer(ANSWER_S, server.kill)
        watchdog.start()
        try:
            yield server
            assert server.stdin is not None
            with suppress(OSError):
                server.stdin.close()
            server.wait()
        finally:
            watchdog.cancel()
            server.kill()


def _tools_list(server: subprocess.Popen[bytes]) -> Json | None:
    """Shake hands and ask; None when the server has gone."""
    try:
        _request(server, 1, "initialize", _INITIALIZE)
        if _answer(server, 1) is None:
            return None
        _say(server, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        _request(server, 2, "tools/list", {})
        return _answer(server, 2)
    except BrokenPipeError:
        return None


def _request(server: subprocess.Popen[bytes], number: int, method: str, params: Json) -> None:
    _say(server, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def _say(server: subprocess.Popen[bytes], message: Json) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps(message).encode() + b"\n")
    server.stdin.flush()


def _answer(server: subprocess.Popen[bytes], number: int) -> Json | None:
    """The result with this id; None when the server ends before or refuses."""
    assert server.stdout is not None
    for line in server.stdout:
        message: Json = json.loads(line)
        if message.get("id") == number:
            result: Json | None = message.get("result")
            return result
    return None


def weigh(listed: Json) -> Weight:
    """Count the tokens of a `tools/list` result, offline.

    Raises:
        SystemExit: the tokenizer is not installed.
    """
    try:
        import bpe_openai
    except ImportError:
        raise SystemExit("bench/start.py counts tokens with bpe-openai: pip install bpe-openai") from None
    encoding: Any = bpe_openai.get_encoding(TOKENIZER)

    def tokens(value: object) -> int:
        return len(encoding.encode(json.dumps(value, ensure_ascii=False, separators=(",", ":"))))

    return Weight({tool["name"]: tokens(tool) for tool in listed["tools"]}, tokens(listed))


def show(race: Race, weight: Weight) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    starts = Table(title="start → tools/list answered", box=box.ROUNDED, title_justify="left")
    for heading in ("server", "median ms", "min", "max", "rounds"):
        starts.add_column(heading, justify="left" if heading == "server" else "right")
    for name, times in (("bare SDK", race.bare), ("seikyu", race.ours)):
        figures = (statistics.median(times), min(times), max(times))
        starts.add_row(name, *(f"{figure:,.0f}" for figure in figures), str(len(times)))
    starts.add_section()
    ratios = (race.ratio, min(race.ratios), max(race.ratios))
    starts.add_row("ratio", *(f"{ratio:.2f}" for ratio in ratios), "", style=_colour(race.ratio <= START_TARGET))
    console.print(starts)

    tools = Table(title=f"tokens ({TOKENIZER})", box=box.ROUNDED, title_justify="left")
    tools.add_column("tool", min_width=20)
    tools.add_column("tokens", justify="right")
    for name, count in sorted(weight.tools.items(), key=lambda item: -item[1]):
        tools.add_row(name, f"{count:,}")
    tools.add_section()
    tools.add_row(f"total of {len(weight.tools)}", f"{weight.total:,}", style=_colour(weight.total <= TOKEN_TARGET))
    console.print(tools)


def _colour(is_met: bool) -> str:  # noqa: FBT001 — a verdict becomes a colour
    return "bold green" if is_met else "bold red"


def _report(race: Race, weight: Weight) -> Json:
    return {
        "start": {
            "bare_ms": race.bare,
            "seikyu_ms": race.ours,
            "ratio": race.ratio,
            "ratio_min": min(race.ratios),
            "ratio_max": max(race.ratios),
            "target": START_TARGET,
        },
        "tools_list": {
            "tokenizer": TOKENIZER,
            "tokens": weight.tools,
            "total": weight.total,
            "target": TOKEN_TARGET,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
