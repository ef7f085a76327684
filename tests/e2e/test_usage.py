"""Commands that were not written as their help says, and the help itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import click
import pytest

from e2e.terminal import Terminal
from e2e.typist import at_a_terminal
from seikyu.errors import Lang
from seikyu.surfaces.cli.commands import build

PATIENCE_S = 60

pytestmark = pytest.mark.sqlite_only


def in_words(terminal: Terminal, lang: Lang) -> Terminal:
    terminal.home.settings = replace(terminal.home.settings, lang=lang)
    return terminal


def alone(folder: Path, lang: Lang = "en") -> Mapping[str, str]:
    return {**os.environ, "SEIKYU_HOME": str(folder), "SEIKYU_CONFIG": str(folder), "SEIKYU_LANG": lang}


@pytest.mark.parametrize(
    "written,help_of,ja,en",
    [
        (["approve", "act-1"], "approve", "--by が必要です。", "--by is needed."),
        (["approve", "--by", "tanaka"], "approve", "ACTION_ID... が必要です。", "ACTION_ID... is needed."),
        (
            ["actions", "--stat", "x"],
            "actions",
            "--stat というオプションはありません。--state のことですか？",
            "There is no option --stat. Did you mean --state?",
        ),
        (
            ["actions", "--limit", "0"],
            "actions",
            "1 から 500 までの整数で書いてください。",
            "Write a whole number, 1 to 500.",
        ),
        (["actions", "--state", "x"], "actions", "使えるのは denied, ", "There are: denied, "),
        (
            ["delegate", "sato", "--by", "tanaka", "--until", "tomorrow"],
            "delegate",
            "2026-12-31 の形の日付で書いてください。",
            "Write a day such as 2026-12-31.",
        ),
        (
            ["operator", "grnt"],
            "operator",
            "grnt というコマンドはありません。grant のことですか？",
            "There is no command grnt. Did you mean grant?",
        ),
        (["show", "a", "b"], "show", "余分な指定があります: b。", "This is too much: b."),
        (
            ["operator", "grant", "sato", "--by", "tanaka"],
            "operator grant",
            "--ceiling か --no-ceiling のどちらかを指定してください。",
            "Give either --ceiling or --no-ceiling.",
        ),
    ],
)
def test_a_command_that_is_not_written_right_is_told_in_the_readers_language_with_its_help(
    terminal: Terminal, written: list[str], help_of: str, ja: str, en: str
) -> None:
    in_japanese = in_words(terminal, "ja").run(*written)
    in_english = in_words(terminal, "en").run(*written)

    assert (in_japanese.exit_code, in_english.exit_code) == (2, 2)
    assert ja in in_japanese.stderr
    assert f"何も実行していません。書き方は `seikyu {help_of} --help` で確かめられます。" in in_japanese.stderr
    assert en in in_english.stderr
    assert f"Nothing was done. `seikyu {help_of} --help` tells how it is written." in in_english.stderr
    assert (in_japanese.stdout, in_english.stdout) == ("", "")


def test_a_command_that_is_none_is_told_in_the_language_of_the_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seikyu", "approv"]
    done = subprocess.run(command, env=alone(tmp_path), capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("There is no command approv.")


def commands(command: click.Command, ctx: click.Context, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from commands(found, ctx, f"{path} {name}")


def test_every_command_and_every_option_says_what_it_is_in_both_languages() -> None:
    group = build(lambda: pytest.fail("the help opens nothing"))
    told: dict[str, str | None] = {}
    for path, command in commands(group, click.Context(group), "seikyu"):
        options = [each for each in command.params if isinstance(each, click.Option) and each.name != "version"]
        told |= {path: command.help} | {f"{path} {option.name}": option.help for option in options}

    assert [name for name, help_ in told.items() if not help_ or "/ " not in help_ or help_.isascii()] == []


def test_two_passphrases_that_differ_enrol_nobody_and_say_what_to_do(tmp_path: Path) -> None:
    with at_a_terminal("operator", "add", "tanaka", environment=alone(tmp_path, "ja")) as person:
        person.reads("12文字以上）: ")
        person.types("correct horse battery")
        person.reads("もう一度: ")
        person.types("correct horse batterie")
        code = person.leaves()

    assert code == 1
    assert "二つの合言葉が一致しません。" in person.said
    assert person.said.endswith("登録していません。 もう一度実行してください。")


def test_a_question_that_is_stopped_says_so_in_the_readers_language(tmp_path: Path) -> None:
    with at_a_terminal("operator", "add", "tanaka", environment=alone(tmp_path, "ja")) as person:
        person.reads("12文字以上）: ")
        person.stops("中止しました。")
        code = person.leaves()

    assert code == 1
    assert "Aborted" not in person.said


def test_the_stand_ins_tell_the_port_they_took_and_a_taken_one_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "seikyu", "sandbox", "--port"]
    with subprocess.Popen([*command, "0"], env=alone(tmp_path), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        port = int(running.stdout.readline().split("127.0.0.1:")[1].split(",")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S):
            pass
        second = subprocess.run(
            [*command, str(port)], env=alone(tmp_path), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        running.terminate()

    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"The stand-ins cannot listen at port {port}.",
        "Choose another one with --port.",
    ]
