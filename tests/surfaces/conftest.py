"""Fixtures of the approval pages' tests."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from seikyu.gate.operators import Key
from surfaces.browser import Page, close, enrol_two, move_in


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key, Key]:
    """A house with two operators, made once: a passphrase is slow to wrap on purpose."""
    return enrol_two(tmp_path_factory.mktemp("enrolled") / "home")


@pytest.fixture
def page(enrolled: tuple[Path, Key, Key], tmp_path: Path) -> Generator[Page]:
    made = move_in(enrolled, tmp_path / "home")
    yield made
    close(made)
