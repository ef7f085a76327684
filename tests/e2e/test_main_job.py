"""The main job, through a real client, a real server process and the providers' twins."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client

from e2e.assistant import CREATE, assistant, call, draft, effects, refused
from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, Stage

CRASH_PROGRAM = Path(__file__).with_name("crash_program.py")
SECRET = {"--secret-fd": PASSPHRASE}
CHECKS_OF_THE_STORY = 10


async def resolved(stage: Stage, action_id: str) -> dict[str, Any]:
    """Watch the action until its outcome is known; bounded."""
    card: dict[str, Any] = {"state": "unknown"}
    with anyio.fail_after(30):
        while card["state"] in {"unknown", "executing", "approved"}:
            await stage.run("reconcile")
            card = await stage.run_json("show", action_id)
    return card


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_registration_waits_for_the_seal_and_is_booked_once_in_both_eras(stage: Stage, mode: Any) -> None:
    async with assistant(stage, mode) as client:
        waiting = await call(client, "register_transaction", **draft(1_000_000))
        before = effects(stage)
        await stage.run("approve", waiting["action_id"], "--by", OPERATOR, secrets=SECRET)
        done = await call(client, "get_action", action_id=waiting["action_id"])
        again = await call(client, "register_transaction", **draft(1_000_000))

    assert (waiting["status"], waiting["written"], before) == ("awaiting_approval", "no", 0)
    assert (done["status"], done["written"], done["amount_yen"]) == ("succeeded", "yes", 1_100_000)
    assert (again["action_id"], effects(stage)) == (waiting["action_id"], 1)
    assert (await stage.run_json("audit", "verify"))["fault"] is None


async def test_a_running_server_anchors_its_log_outside_the_database(stage: Stage) -> None:
    anchors = anyio.Path(stage.environment["SEIKYU_HOME"]) / "anchors.jsonl"
    async with assistant(stage) as client:
        await call(client, "register_transaction", **draft())
        with anyio.fail_after(30):
            while not await anchors.exists():
                await call(client, "list_connections")

    assert (await stage.run_json("audit", "verify"))["anchors"] >= 1


async def test_an_answer_cut_off_after_booking_is_unknown_then_found_and_the_same_call_is_the_same_action(
    stage: Stage,
) -> None:
    stage.twins.faults.add(Fault(operation=CREATE, kind=FaultKind.CUT_AFTER_EFFECT))
    async with assistant(stage) as client:
        told = await call(client, "register_transaction", **draft())
        seen = dict(told)
        with anyio.fail_after(20):
            while seen["status"] == "unknown":
                seen = await call(client, "get_action", action_id=told["action_id"])
        again = await call(client, "register_transaction", **draft())

    assert (told["status"], told["written"]) == ("unknown", "unknown")
    assert "Do not repeat" in told["next"]
    assert (seen["status"], seen["written"]) == ("succeeded", "yes")
    assert (again["action_id"], again["status"], effects(stage)) == (told["action_id"], "succeeded", 1)


@pytest.mark.parametrize("step,booked_at_death", [("claimed", 0), ("answered", 1)])
async def test_a_process_killed_in_the_middle_leaves_one_effect_and_a_sound_log(
    stage: Stage, step: str, booked_at_death: int
) -> None:
    program = [sys.executable, str(CRASH_PROGRAM), step, json.dumps(draft())]
    died = await anyio.to_thread.run_sync(
        lambda: subprocess.run(program, env=stage.environment, capture_output=True, timeout=60, check=False)
    )
    at_death = effects(stage)

    [action] = (await stage.run_json("actions"))["actions"]
    async with assistant(stage) as client:
        same = await call(client, "register_transaction", **draft())
    card = await resolved(stage, action["action_id"])

    assert died.returncode == -signal.SIGKILL
    assert (action["state"], at_death) == ("executing", booked_at_death)
    assert same["action_id"] == action["action_id"]
    assert (card["state"], effects(stage)) == ("succeeded", 1)
    assert (await stage.run_json("audit", "verify"))["fault"] is None


WRONG_ARGUMENTS = [
    (draft(amuont=33_000), "no argument amuont"),
    (draft(amount="NaN"), "amount"),
    (draft(amount=True), "amount"),
    (draft(amount=1e5), "amount"),
    (draft(amount="33000"), "amount"),
    (draft(amount="三万三千円"), "amount"),
    (draft(amount=0), "amount"),
    (draft(price="NaN"), "unit_price"),
    (draft(price=True), "unit_price"),
    (draft(1e5), "unit_price"),
    (draft(19.99), "unit_price"),
    (draft("1_000"), "unit_price"),
    (draft(" 100 "), "unit_price"),
    (draft("千円"), "unit_price"),
    (draft("１００"), "unit_price"),
    (draft(date="2026-02-30"), "date"),
    (draft(date="2026/02/03"), "date"),
    (draft(lines=[]), "lines"),
    (draft(destination_id="../../admin"), "destination_id"),
    (draft(invoice_delivery_methods=["fax"]), "invoice_delivery_methods"),
]


async def test_arguments_that_do_not_fit_are_refused_by_name_and_nothing_is_proposed(shared_stage: Stage) -> None:
    async with assistant(shared_stage) as client:
        texts = [await refused(client, "register_transaction", **arguments) for arguments, _ in WRONG_ARGUMENTS]

    not_named = [text for (_, said), text in zip(WRONG_ARGUMENTS, texts, strict=True) if said not in text]
    assert not_named == []
    assert all("Nothing was written" in text for text in texts)
    assert (await shared_stage.run_json("actions"))["total"] == 0


async def test_a_misspelt_name_is_answered_with_the_nearest_one(shared_stage: Stage) -> None:
    async with assistant(shared_stage) as client:
        argument = await refused(client, "register_transaction", **draft(amuont=33_000))
        tool = await refused(client, "register_transaktion")

    assert "Did you mean amount?" in argument
    assert "Did you mean register_transaction?" in tool


async def test_a_preview_of_many_lines_shows_the_first_and_the_last_and_says_how_many_there_are(
    shared_stage: Stage,
) -> None:
    lines = draft()["lines"] * 500
    async with assistant(shared_stage) as client:
        seen = await call(client, "preview_transaction", **draft(lines=lines))

    assert (len(seen["lines"]), seen["truncated"]) == (40, True)
    assert seen["lines_total"] > 500
    assert seen["lines"][0].startswith("Number: ")
    assert seen["lines"][-1].startswith("Total with tax: 16,500,000円")


async def test_a_cursor_that_is_none_is_refused_instead_of_answered_with_some_page(shared_stage: Stage) -> None:
    async with assistant(shared_stage) as client:
        text = await refused(client, "list_actions", cursor="zzz")

    assert "cursor: must be a next_cursor" in text


async def test_nothing_a_model_can_call_approves(shared_stage: Stage) -> None:
    async with assistant(shared_stage) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}

    assert not {name for name in names if "approve" in name or "vote" in name or "resolve" in name}


async def test_the_cancellation_of_a_transaction_is_approved_too_and_frees_the_same_call(stage: Stage) -> None:
    async with assistant(stage) as client:
        done = await call(client, "register_transaction", **draft())
        cancel = await call(
            client, "cancel_transaction", transaction_id=done["provider_ref"], reason="二重に登録したため"
        )
        await stage.run("approve", cancel["action_id"], "--by", OPERATOR, secrets=SECRET)
        seen = await call(client, "get_transaction", transaction_id=done["provider_ref"])
        anew = await call(client, "register_transaction", **draft())

    assert (done["status"], cancel["status"], seen["status"]) == ("succeeded", "awaiting_approval", "canceled")
    assert anew["action_id"] != done["action_id"]


async def test_what_only_a_person_can_find_out_names_the_command_that_records_it(stage: Stage) -> None:
    fault = Fault(operation="invox.register_e_storage_document", kind=FaultKind.CUT_AFTER_EFFECT)
    async with assistant(stage) as client:
        waiting = await call(
            client, "upload_e_storage_document", path="領収書-青葉商事.pdf", doc_type="領収書", partner_name="青葉商事"
        )
        stage.twins.faults.add(fault)
        approve = [*stage.command, "approve", waiting["action_id"], "--by", OPERATOR, "--secret-fd", "0"]
        done = await anyio.run_process(approve, input=PASSPHRASE.encode(), env=stage.environment, check=False)

    assert done.returncode == 3
    assert f"`seikyu resolve {waiting['action_id']}`" in done.stdout.decode()


async def test_a_document_of_35_mb_is_stored_and_the_server_hardly_grows(stage: Stage) -> None:
    let_documents_run(stage)
    size = 35_000_000
    with (stage.home / "inbox" / "大きな書類.pdf").open("wb") as document:
        document.write(b"%PDF-1.7\n")
        document.write(os.urandom(size - 9))
    async with assistant(stage) as client:
        await call(client, "list_connections")
        small = await call(client, "upload_e_storage_document", path="領収書-青葉商事.pdf", doc_type="領収書")
        pid = server_process()
        before = peak_kib(pid)
        stored = await call(client, "upload_e_storage_document", path="大きな書類.pdf", doc_type="契約書")
        grown_kib = peak_kib(pid) - before

    assert (small["status"], stored["status"]) == ("succeeded", "succeeded")
    assert stage.twins.invox.documents[-1].size == size
    assert grown_kib < 16 * 1024


async def test_a_server_told_to_stop_in_the_middle_of_a_write_records_its_outcome_first(stage: Stage) -> None:
    stage.twins.faults.add(Fault(operation=CREATE, kind=FaultKind.HOLD))
    command = [*stage.command, "serve", "--http", "127.0.0.1:0"]
    async with await anyio.open_process(command, env=stage.environment, stdin=subprocess.DEVNULL) as server:
        assert server.stderr is not None
        origin = (await server.stderr.receive()).decode().split()[1].removesuffix("/mcp")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_and_be_cut_off, f"{origin}/mcp")
            await stage.twins.faults.wait_until_held(1)
            server.terminate()
            await anyio.sleep(0.5)  # long enough for a server that would not wait to be gone
            stage.twins.faults.release()
        ended = await server.wait()

    [action] = (await stage.run_json("actions"))["actions"]
    assert (ended, action["state"], effects(stage)) == (0, "succeeded", 1)


async def ask_and_be_cut_off(url: str) -> None:
    """An assistant whose server goes away while it waits."""
    with contextlib.suppress(Exception):
        async with Client(url) as client:
            await client.call_tool("register_transaction", draft())


def let_documents_run(stage: Stage) -> None:
    """A policy that stores documents without a vote, so that the serving process itself uploads."""
    stage.policy_file.write_text(
        """
schema = 1
version = "documents run"
operations = ["invox.register_e_storage_document"]
[[allow]]
id = "documents"
why = "documents may be stored"
operation = "invox.register_e_storage_document"
""",
        encoding="utf-8",
    )


def server_process() -> int:
    """The `seikyu serve` this test's client started: the only child that serves."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                continue
            if b"serve" in words and int(parent) == os.getpid():
                return int(entry.name)
    raise AssertionError("no server process")


def peak_kib(pid: int) -> int:
    """The most memory the process ever held, in KiB."""
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_the_demo_tells_its_whole_story_without_a_terminal_and_leaves_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "SEIKYU_LANG": "en", "HOME": str(tmp_path)}
    started = time.monotonic()

    done = subprocess.run(
        [sys.executable, "-m", "seikyu", "demo"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count("✓") == CHECKS_OF_THE_STORY
    assert "✗" not in done.stdout
    assert time.monotonic() - started < 60
    assert list(tmp_path.iterdir()) == []


def test_the_demo_that_keeps_running_clears_up_when_it_is_told_to_stop(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "SEIKYU_LANG": "en"}
    with subprocess.Popen(
        [sys.executable, "-m", "seikyu", "demo", "--keep"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        line = demo.stderr.readline()
        demo.terminate()
        code = demo.wait(30)

    assert "approvals: http://127.0.0.1:" in line
    assert code == 130
    assert list(tmp_path.iterdir()) == []
