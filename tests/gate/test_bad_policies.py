"""Policy files that are wrong, one for each way. Each says in its head what is told; `HERE` marks the line.

Whatever is wrong, the policy is never looser than a right one: there is none, so nothing can be written.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.stage import POLICY, make_stage
from seikyu.errors import ConfigurationError
from seikyu.gate.actions import State
from seikyu.gate.policy import MAX_BYTES, PolicyBook

BAD = Path(__file__).parent / "bad_policies"
FILES = sorted(path.stem for path in BAD.glob("*.toml"))


def refused(path: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        PolicyBook(path, ["mfk-main"]).current()
    return caught.value


def after(word: str, lines: list[str]) -> str:
    return next(line.partition(f"{word}: ")[2] for line in lines if f"{word}: " in line)


def test_there_are_at_least_sixty_ways() -> None:
    assert len(FILES) >= 60


@pytest.mark.parametrize("name", FILES)
def test_a_fault_is_told_with_file_line_and_both_values_in_both_languages(name: str) -> None:
    path = BAD / f"{name}.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    [line] = [number for number, text in enumerate(lines, 1) if "# HERE" in text]

    said = refused(path).what

    assert str(path) in said.en
    assert str(path) in said.ja
    assert f": line {line}: " in said.en
    assert f": {line}行目: " in said.ja
    assert after("en", lines) in said.en
    assert after("ja", lines) in said.ja
    assert "; line" not in said.en, "one fault, told once"


def not_utf8(path: Path) -> None:
    path.write_bytes(b'schema = 1\nversion = "\x83\x65"\n')


def in_shift_jis(path: Path) -> None:
    path.write_bytes('schema = 1\nversion = "1"\nwhy = "方針"\n'.encode("shift_jis"))


def with_a_bom(path: Path) -> None:
    path.write_text(POLICY, encoding="utf-8-sig")


def in_utf16(path: Path) -> None:
    path.write_text(POLICY, encoding="utf-16")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    path.write_bytes(b"\n\n  \n")


def with_a_nul(path: Path) -> None:
    path.write_bytes(b"schema = 1\n\x00\n")


def a_directory(path: Path) -> None:
    path.mkdir()


def ten_megabytes(path: Path) -> None:
    path.write_text(POLICY + "# 十分に長い\n" * 600_000, encoding="utf-8")


def deeply_nested(path: Path) -> None:
    path.write_text("schema = " + "[" * 20_000, encoding="utf-8")


def a_huge_number(path: Path) -> None:
    path.write_text(f"schema = {'9' * 10_000}\n", encoding="utf-8")


def half_written(path: Path) -> None:
    path.write_bytes(POLICY.encode()[:-20])


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.toml"))


MADE: dict[Callable[[Path], None], tuple[str, str]] = {
    not_utf8: ("line 2: not UTF-8 (byte 0x83)", "2行目: UTF-8 ではありません"),
    in_shift_jis: ("line 3: not UTF-8", "3行目: UTF-8 ではありません"),
    with_a_bom: ("line 1: a byte-order mark", "1行目: 先頭に BOM があります"),
    in_utf16: ("line 1: not UTF-8", "1行目: UTF-8 ではありません"),
    empty: ("line 1: schema: it is needed and not there", "1行目: schema: 必要な項目がありません"),
    blank: ("line 1: schema: it is needed and not there", "1行目: schema: 必要な項目がありません"),
    with_a_nul: ("line 2: column 1, not TOML", "2行目: 1文字目、TOML として読めません"),
    a_directory: ("cannot be read: a directory", "読み取れません"),
    ten_megabytes: (f"too large; expected at most {MAX_BYTES:,} bytes", f"期待: {MAX_BYTES:,} バイト以下"),
    deeply_nested: ("line 1: brackets within brackets", "1行目: 入れ子が深すぎます"),
    a_huge_number: ("line 1: ", "1行目: "),
    half_written: ("not TOML", "TOML として読めません"),
    a_dangling_link: ("There is no policy file", "がないため、読み取り専用です"),
}


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_a_file_that_is_no_policy_at_all_is_told_as_such(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "policy.toml"
    make(path)

    said = refused(path).what

    english, japanese = MADE[make]
    assert (english in said.en, japanese in said.ja) == (True, True), said
    assert str(path) in said.en


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_a_file_that_may_not_be_read_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY, encoding="utf-8")
    path.chmod(0)

    assert "no right to read it" in refused(path).what.en


@pytest.mark.parametrize("name", ["misspelt-condition", "approvers-zero", "example-that-fails", "broken-string"])
async def test_a_policy_that_turns_bad_while_serving_lets_nothing_more_be_written(tmp_path: Path, name: str) -> None:
    stage = make_stage(tmp_path / "home")
    key = stage.enrol("tanaka")
    approved = stage.approve(stage.propose("A-1", 100_000), key)
    (tmp_path / "home" / "policy.toml").write_bytes((BAD / f"{name}.toml").read_bytes())

    with pytest.raises(ConfigurationError):
        stage.propose("A-2", 1)
    with pytest.raises(ConfigurationError):
        await stage.executor.execute(approved.id)

    assert (stage.find(approved.id).state, stage.provider.sends) == (State.APPROVED, 0)
    stage.store.close()
    stage.presence.leave()


@pytest.mark.parametrize("name", ["misspelt-condition", "unknown-section", "allow-with-approvers"])
def test_a_server_does_not_start_with_a_bad_policy_and_says_why(tmp_path: Path, name: str) -> None:
    (tmp_path / "policy.toml").write_bytes((BAD / f"{name}.toml").read_bytes())
    environment = os.environ | {
        "SEIKYU_HOME": str(tmp_path / "home"), "SEIKYU_CONFIG": str(tmp_path), "SEIKYU_LANG": "en",
        "SEIKYU_REQUESTER": "suzuki",
    }  # fmt: skip

    done = subprocess.run(
        [sys.executable, "-m", "seikyu", "serve"],
        env=environment, input=b"", capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert b"not a word of the policy" in done.stderr
    assert done.stdout == b""
