"""Commands whose input or output somebody closed, or that nobody can write to; and what a crash leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    row = ["[[connection]]", 'name = "mfk-main"', 'provider = "mfkessai"', 'environment = "sandbox"', 'company = "A"']
    (tmp_path / "connections.toml").write_text("\n".join(["schema = 1", *row]), encoding="utf-8")
    ours = {"SEIKYU_HOME": str(tmp_path / "home"), "SEIKYU_CONFIG": str(tmp_path), "SEIKYU_LANG": "en"}
    return {**os.environ, **ours, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(environment: dict[str, str], streams: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command with `streams` as a shell writes them."""
    script = f'exec "$0" -m seikyu "$@" {streams}'
    return subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_changes_nothing_else(environment: dict[str, str], streams: str) -> None:
    done = run(environment, streams, "connections")

    assert (done.returncode, done.stderr) == (0, "")


def test_without_an_input_nobody_is_asked(environment: dict[str, str]) -> None:
    done = run(environment, "<&-", "connect", "mfk-main")

    assert done.returncode == 1
    assert done.stderr.startswith("There is no terminal to ask on.")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_an_output_that_is_full_is_one_sentence_and_the_next_step(environment: dict[str, str]) -> None:
    done = run(environment, ">/dev/full", "connections")

    assert done.returncode == 1
    assert done.stderr == (
        "Something could not be read or written (ENOSPC).\n"
        "What was done so far stays done; `seikyu doctor` looks for the cause.\n"
    )


def test_a_process_that_crashes_leaves_no_memory_on_the_disk(environment: dict[str, str]) -> None:
    code = """
import resource, sys
from seikyu.__main__ import main
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
sys.argv = ["seikyu", "--version"]
try:
    main()
finally:
    print(resource.getrlimit(resource.RLIMIT_CORE)[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout.splitlines()[-1] == "0"
