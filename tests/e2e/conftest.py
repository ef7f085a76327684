"""A whole installation with provider twins on real sockets, for each test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from pydantic import SecretStr

from e2e.beside import twins_beside
from e2e.furnished import furnished_stage
from e2e.terminal import Terminal, open_terminal
from seikyu.sandbox.twins import Twins
from seikyu.surfaces.demo.stage import Stage


@pytest.fixture
async def stage() -> AsyncGenerator[Stage]:
    async with furnished_stage() as made:
        yield made


@pytest.fixture(scope="module")
async def shared_stage() -> AsyncGenerator[Stage]:
    """One installation for tests that change nothing in it."""
    async with furnished_stage() as made:
        yield made


@pytest.fixture
def terminal(tmp_path: Path, database_url: SecretStr | None) -> Generator[Terminal]:
    with open_terminal(tmp_path, database_url) as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Generator[Twins]:
    with twins_beside() as made:
        yield made


@pytest.fixture
def twins(running: Twins) -> Twins:
    """The twins beside, as new."""
    running.reset()
    return running
