"""A whole installation with provider twins on real sockets, for each test."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from seikyu.surfaces.demo.stage import Stage, set_stage


@pytest.fixture
async def stage() -> AsyncGenerator[Stage]:
    async with set_stage("en") as made:
        yield made


@pytest.fixture(scope="module")
async def shared_stage() -> AsyncGenerator[Stage]:
    """One installation for tests that change nothing in it."""
    async with set_stage("en") as made:
        yield made
