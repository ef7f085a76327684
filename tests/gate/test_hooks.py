"""The hooks out of the house, with real programs at their ends."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from gate.stage import Stage
from seikyu.errors import ConfigurationError, NotDelivered, Text
from seikyu.gate.anchors import Anchor
from seikyu.gate.hooks import AnchorCommand, CommandNotifier
from seikyu.gate.notices import Notice, NoticeKind
from seikyu.gate.programs import tell_program
from seikyu.settings import read_settings

pytestmark = pytest.mark.anyio


IMPORTS = "import json, os, sys, time, subprocess"


class Program:
    """A Python program of the operator's, and what it left behind."""

    def __init__(self, folder: Path, source: str) -> None:
        self.folder = folder
        path = folder / "program.py"
        path.write_text(
            f"import json, os, sys, time, subprocess\nfolder = {str(folder)!r}\n{source}\n", encoding="utf-8"
        )
        self.command = (sys.executable, str(path))

    def left(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def program(folder: Path, source: str) -> Program:
    return Program(folder, source)


KEEPS = """
with open(folder + "/kept", "w") as file:
    json.dump({"stdin": sys.stdin.read(), "env": dict(os.environ), "argv": sys.argv[1:]}, file)
"""
HANGS = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(folder + "/pids.part", "w") as file:
    json.dump([os.getpid(), child.pid, os.getpgid(0)], file)
os.rename(folder + "/pids.part", folder + "/pids")
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    """A process that was killed and waits for its new parent to bury it does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> bool:
    """Whether it ends; the kernel may take a moment to deliver the signal."""
    end = time.monotonic_ns() + 10_000_000_000
    while is_running(pid) and time.monotonic_ns() < end:
        await anyio.lowlevel.checkpoint()
    return not is_running(pid)


def notice_of(stage: Stage, action_id: str | None) -> Notice:
    return Notice("log-7", NoticeKind.ASKED, action_id, stage.clock.now(), Text("承認待ち", "asked"))


async def test_a_program_gets_the_notice_as_one_json_line_with_the_action_as_data(stage: Stage, tmp_path: Path) -> None:
    keeps = program(tmp_path, KEEPS)
    action = stage.propose("A-1", 100_000, counterparty_name="株式会社\u202eあおば\n")
    notifier = CommandNotifier(keeps.command, stage.store, link_of=lambda one: f"http://127.0.0.1:1/approvals/{one.id}")

    await notifier.deliver(notice_of(stage, action.id))

    line = keeps.left("kept")["stdin"]
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "kind": "asked",
        "id": "log-7",
        "action_id": action.id,
        "at": "2026-11-21T03:00:00.000000Z",
        "text": {"ja": "承認待ち", "en": "asked"},
        "action": {
            "state": "awaiting_approval",
            "operation": "mfkessai.create_transaction",
            "connection": "mfk-main",
            "requester": "suzuki",
            "amount_yen": 100_000,
            "counterparty": "株式会社⟨U+202E⟩あおば⟨U+000A⟩",
            "expires_at": "2026-11-24T03:00:00.000000Z",
            "digest": action.digest[:12],
            "approval_url": f"http://127.0.0.1:1/approvals/{action.id}",
        },
    }


async def test_a_notice_is_told_even_if_its_action_was_made_unreadable_or_is_gone(stage: Stage, tmp_path: Path) -> None:
    keeps = program(tmp_path, KEEPS)
    action = stage.propose("A-1", 100_000)
    with stage.store.write() as tx:
        tx.connection.execute("UPDATE action SET state = 'x'")
    notifier = CommandNotifier(keeps.command, stage.store, link_of=lambda _: None)

    await notifier.deliver(notice_of(stage, action.id))
    spoilt = json.loads(keeps.left("kept")["stdin"])
    await notifier.deliver(notice_of(stage, "act-gone"))
    gone_ = json.loads(keeps.left("kept")["stdin"])

    assert (spoilt["action"], gone_["action"]) == (None, None)


async def test_a_notice_about_no_action_has_none(stage: Stage, tmp_path: Path) -> None:
    keeps = program(tmp_path, KEEPS)

    await CommandNotifier(keeps.command, stage.store, link_of=lambda _: None).deliver(notice_of(stage, None))

    assert json.loads(keeps.left("kept")["stdin"])["action"] is None


async def test_a_program_sees_three_variables_of_ours_and_its_arguments_meet_no_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEIKYU_MASTER_KEY", "top secret")
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    keeps = program(tmp_path, KEEPS)

    await tell_program([*keeps.command, "$HOME; touch x", "`id`"], b"{}")

    kept = keeps.left("kept")
    assert kept["argv"] == ["$HOME; touch x", "`id`"]
    # what Python adds to its own environment is not from us
    assert set(kept["env"]) - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"} == {"PATH", "HOME", "LANG"}
    assert "top secret" not in json.dumps(kept)


async def test_what_a_program_prints_reaches_neither_our_stdout_nor_our_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loud = program(tmp_path, "print('out'); print('err', file=sys.stderr)")

    await tell_program(loud.command, b"{}")

    assert capfd.readouterr() == ("", "")


async def test_a_program_that_does_not_read_its_input_is_fine(tmp_path: Path) -> None:
    deaf = program(tmp_path, "os.close(0)\nopen(folder + '/ended', 'w').write('true')")

    await tell_program(deaf.command, b"x" * 1_000_000)

    assert deaf.left("ended")


@pytest.mark.parametrize("source,said", [("sys.exit(3)", "exit 3"), ("os.kill(os.getpid(), 9)", "exit -9")])
async def test_a_program_that_ends_badly_did_not_deliver(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(NotDelivered, match=said):
        await tell_program(program(tmp_path, source).command, b"{}")


async def test_a_program_that_is_not_there_did_not_deliver(tmp_path: Path) -> None:
    with pytest.raises(NotDelivered, match="No such file"):
        await tell_program([str(tmp_path / "nothing")], b"{}")


async def test_a_program_that_takes_too_long_did_not_deliver_and_is_killed() -> None:
    with pytest.raises(NotDelivered, match="sleep failed \\(0 s\\)"):
        await tell_program(["sleep", "600"], b"{}", limit_s=0)


async def test_a_program_that_is_stopped_ends_with_its_children_and_nobody_else(tmp_path: Path) -> None:
    hangs = program(tmp_path, HANGS)
    bystander = await anyio.open_process(["sleep", "600"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell_program, hangs.command, b"{}")
        with anyio.fail_after(30):
            while not (tmp_path / "pids").exists():
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    leader, child, group = hangs.left("pids")

    assert group == leader
    assert [await gone(leader), await gone(child)] == [True, True]
    assert bystander.returncode is None
    bystander.kill()
    await bystander.aclose()


def test_a_command_is_cut_into_words_once_when_the_settings_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEIKYU_HOME", str(tmp_path))
    monkeypatch.setenv("SEIKYU_NOTIFY_COMMAND", "/opt/notify --to '経理 部' $HOME")
    monkeypatch.setenv("SEIKYU_ESCALATE_TO", "sato, 経理部長")
    settings = read_settings(tmp_path)

    assert settings.notify_command == ("/opt/notify", "--to", "経理 部", "$HOME")
    assert settings.escalate_to == ("sato", "経理部長")
    assert settings.anchor_command == ()

    monkeypatch.setenv("SEIKYU_ANCHOR_COMMAND", "/opt/anchor 'open")
    with pytest.raises(ConfigurationError, match="SEIKYU_ANCHOR_COMMAND"):
        read_settings(tmp_path)


async def test_a_notice_is_japanese_as_people_read_it_and_a_requester_with_an_endless_name_is_cut(
    stage: Stage, tmp_path: Path
) -> None:
    keeps = program(tmp_path, KEEPS)
    action = stage.propose("A-1", 100_000, requester="鈴" * 99, counterparty_name="青" * 200)
    notifier = CommandNotifier(keeps.command, stage.store, link_of=lambda _: None)

    await notifier.deliver(notice_of(stage, action.id))

    line = keeps.left("kept")["stdin"]
    assert notifier.name == "command"
    assert f'"requester": "{"鈴" * 59}…"' in line
    assert f'"counterparty": "{"青" * 99}…"' in line


async def test_a_notifier_waits_for_its_program_no_longer_than_it_was_told(stage: Stage) -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    notifier = CommandNotifier(sleeper, stage.store, link_of=lambda _: None, limit_s=0)

    with pytest.raises(NotDelivered, match="0 s"):
        await notifier.deliver(notice_of(stage, None))


async def test_an_anchor_waits_for_its_program_no_longer_than_it_was_told() -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    anchor = Anchor(at="2026-11-21T03:00:00.000000Z", records=1, head="a" * 64)

    with pytest.raises(NotDelivered, match="0 s"):
        await AnchorCommand(sleeper, limit_s=0).keep(anchor)
