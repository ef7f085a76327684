"""What the environment says, where a guess would loosen a guardrail."""

from __future__ import annotations

from pathlib import Path

import pytest

from seikyu.errors import ConfigurationError
from seikyu.settings import read_settings


@pytest.mark.parametrize(
    "word,is_on",
    [("1", True), ("TRUE", True), (" on ", True), ("yes", True), ("0", False), ("off", False), ("", False)],
)
def test_read_only_is_on_or_off(tmp_path: Path, word: str, *, is_on: bool) -> None:
    assert read_settings(tmp_path, {"SEIKYU_READ_ONLY": word}).is_read_only is is_on


@pytest.mark.parametrize("word", ["y", "はい", "enabled", "2", "tru"])
def test_a_word_that_may_mean_read_only_is_never_taken_for_no(tmp_path: Path, word: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(tmp_path, {"SEIKYU_READ_ONLY": word})

    assert refused.value.what.en == "SEIKYU_READ_ONLY must be 1, for yes, or 0, for no."
