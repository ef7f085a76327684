"""Fixtures of the gate's tests."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from pydantic import SecretStr

from gate.stage import Stage, make_stage


@pytest.fixture
def stage(tmp_path: Path, database_url: SecretStr | None) -> Generator[Stage]:
    made = make_stage(tmp_path / "home", database_url=database_url)
    yield made
    made.store.close()
    made.presence.leave()
