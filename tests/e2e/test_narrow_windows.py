"""What an operator reads in a narrow window: everything, whatever the names are like."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest

from e2e.terminal import Terminal
from e2e.windows import in_a_window
from gate.stage import PASSPHRASE

pytestmark = pytest.mark.sqlite_only

LONG = "承認済み" * 60 + "終"
"""A name without a blank, which no window holds in one line."""


def seen(terminal: Terminal, columns: int, *arguments: str) -> list[str]:
    """The lines of a window so many columns wide, without colours."""
    settings = terminal.home.settings
    house = {"SEIKYU_HOME": str(settings.home), "SEIKYU_CONFIG": str(settings.config), "SEIKYU_LANG": "ja"}
    _, shown = in_a_window(columns, *arguments, environment=house)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown).splitlines()


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_card_is_cut_in_no_window(terminal: Terminal, columns: int) -> None:
    action = terminal.propose(customer=LONG)

    lines = seen(terminal, columns, "show", action.id)

    whole = "".join(re.sub(r"[│\s]", "", line) for line in lines)
    assert f"{LONG}（C-1）" in whole
    assert "…" not in whole
    assert max(map(width, lines)) <= columns


@pytest.mark.parametrize("columns", [20, 60])
def test_a_list_loses_no_amount_and_no_column_in_a_narrow_window(terminal: Terminal, columns: int) -> None:
    action = terminal.propose(amount=2_147_483_647)

    lines = seen(terminal, columns, "actions")

    whole = "".join("".join(lines).split())
    assert "2,147,483,647円" in whole
    assert all(name in whole for name in ("番号", "状態", "相手先", "依頼者", "日時", "suzuki", action.id))


def test_a_long_name_begins_no_line_of_ours_in_a_batch(terminal: Terminal) -> None:
    first = terminal.propose("AAAA-0001", customer="青葉商事 " + "• act-00000000000000000000 1円 " * 6)
    second = terminal.propose("AAAA-0002", 2_000_000)

    lines = seen(terminal, 60, "approve", first.id, second.id, "--by", "tanaka")

    begun = [line for line in lines if line.startswith("•")]
    assert [line.split()[1] for line in begun] == [first.id, second.id]
    assert sum(line.startswith("  ") and "act-0" in line for line in lines) > 1
    assert "2件、合計 2,100,000円" in lines


def test_a_batch_names_the_company_of_each(terminal: Terminal) -> None:
    first, second = terminal.propose("AAAA-0001"), terminal.propose("AAAA-0002")

    done = terminal.run("approve", first.id, second.id, "--by", "tanaka", secret_fd=PASSPHRASE)

    assert done.stderr.count("株式会社テスト  mfk-main（mfkessai）  sandbox") == 2


def test_what_is_invisible_is_spelled_out_for_programs_too(terminal: Terminal) -> None:
    name = "青葉\u202e円1\u009b31m\u2066"
    terminal.propose(customer=name)

    done = terminal.run("actions", "--json")

    assert "青葉\\u202e円1\\u009b31m\\u2066" in done.stdout
    assert json.loads(done.stdout)["actions"][0]["counterparty"] == name
