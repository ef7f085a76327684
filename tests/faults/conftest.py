"""Installations for the tests of the catalogue."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from faults.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with open_house(tmp_path) as made:
        yield made
