"""The house itself: what is shipped, what is pinned, who may import whom, how far a test may reach."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"seikyu": ROOT / "server" / "seikyu", "seikyu_tools": ROOT / "tools" / "seikyu_tools"}
# TEST-NET-1 (RFC 5737): an address that belongs to nobody
ELSEWHERE = ("192.0.2.1", 9)


# what is shipped


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all files in a freshly built wheel."""
    dist = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_two_packages_and_nothing_else(shipped: set[str]) -> None:
    version = _pyproject()["project"]["version"]

    assert {name.split("/")[0] for name in shipped} == {*PACKAGES, f"seikyu-{version}.dist-info"}


def test_the_wheel_holds_every_source_and_data_file(shipped: set[str]) -> None:
    source = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and not _is_cache(path.relative_to(folder))
    }

    assert source - shipped == set()
    assert {"seikyu/py.typed", "seikyu_tools/py.typed"} <= source


def test_no_file_of_the_operator_is_in_the_wheel(shipped: set[str]) -> None:
    operators = {path.name for path in (ROOT / "config").rglob("*") if path.is_file()}

    assert not any(name.startswith("config/") for name in shipped)
    assert operators & {Path(name).name for name in shipped} == set()


# what is pinned


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.txt")), ids=lambda lock: lock.name)
def test_a_lock_pins_by_hash_and_names_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    requirements = text.replace("\\\n", "").splitlines()

    assert "://" not in text
    assert requirements
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_the_locks_agree_with_each_other() -> None:
    everything = _pins(ROOT / "requirements-dev.txt")

    assert _pins(ROOT / "requirements.txt").items() <= everything.items()
    assert _pins(ROOT / "requirements-build.txt").items() <= everything.items()


# who may import whom


def test_the_import_contracts_are_kept(tmp_path: Path) -> None:
    _copy_of_the_house(tmp_path)

    verdict = _lint_imports(tmp_path)

    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize(
    "statement,reached",
    [
        ("from seikyu.providers.http import HttpEdge", "seikyu.providers.http"),
        ("from seikyu.providers.mfkessai.client import MfKessaiClient", "seikyu.providers.mfkessai.client"),
        ("from seikyu.providers.invox.client import InvoxClient", "seikyu.providers.invox.client"),
        ("from seikyu import pipeline", "seikyu.pipeline"),
        ("from seikyu.vault import keys", "seikyu.vault"),
        ("import httpx2", "httpx2"),
        ("import sqlite3", "sqlite3"),
        ("import socket", "socket"),
    ],
)
def test_a_tool_that_reaches_for_a_client_breaks_the_contracts(tmp_path: Path, statement: str, reached: str) -> None:
    _copy_of_the_house(tmp_path)
    (tmp_path / "tools" / "seikyu_tools" / "planted.py").write_text(statement + "\n", encoding="utf-8")

    verdict = _lint_imports(tmp_path)

    assert verdict.returncode == 1, verdict.stdout
    assert f"seikyu_tools.planted -> {reached}" in verdict.stdout


# how far a test may reach


@pytest.mark.parametrize("call", ["connect", "connect_ex"])
def test_a_test_cannot_connect_to_another_machine(call: str) -> None:
    with socket.socket() as sock, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        getattr(sock, call)(ELSEWHERE)


def test_a_test_cannot_send_a_datagram_to_another_machine() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        sock.sendto(b"", ELSEWHERE)


def test_a_test_cannot_connect_to_a_name() -> None:
    with socket.socket() as sock, pytest.raises(AssertionError, match=r"api\.example"):
        sock.connect(("api.example", 443))


async def test_an_event_loop_cannot_connect_to_another_machine() -> None:
    with pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        await asyncio.open_connection(*ELSEWHERE)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost"])
def test_a_test_may_connect_to_this_machine(host: str) -> None:
    with socket.create_server((host, 0)) as server, socket.socket() as sock:
        sock.connect((host, server.getsockname()[1]))

        assert sock.getpeername() == server.getsockname()


def test_one_process_may_run_the_tests_twice() -> None:
    """As the search for faults that no test finds does: each time with files of its own."""
    test = "tests/vault/test_key_command.py::test_the_key_is_what_the_program_prints"
    twice = f"import pytest, sys; sys.exit(max(pytest.main(['-q', '-p', 'no:cacheprovider', {test!r}]) for _ in '12'))"
    ours = {name: value for name, value in os.environ.items() if name != "TMPDIR"}

    ran = subprocess.run([sys.executable, "-c", twice], cwd=ROOT, env=ours, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.count("1 passed") == 2


# the tools behind the tests


def _is_cache(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def _copy_of_the_house(to: Path) -> None:
    """What lint-imports judges."""
    for folder in ("server", "tools"):
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(ROOT / "pyproject.toml", to)


def _lint_imports(house: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    roots = os.pathsep.join(str(house / folder) for folder in ("server", "tools"))
    return subprocess.run(
        [program, "--no-cache", "--no-logo"],
        cwd=house,
        env=os.environ | {"PYTHONPATH": roots, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
