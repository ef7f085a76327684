"""The HTTP surface of a real server process: its doors, both protocol eras, and the operator's page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client

from e2e.assistant import call, draft, effects, refused
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, Stage
from seikyu.surfaces.slack.blocks import APPROVE
from surfaces.signing import MFK_SECRET, SLACK_SECRET, mfk_signature
from surfaces.slack_twin import APP, CHANNEL, TEAM, TOKEN, running_slack


@asynccontextmanager
async def served(stage: Stage) -> AsyncGenerator[str]:
    """A `seikyu serve --http` process on a free port; its origin."""
    command = [*stage.command, "serve", "--http", "127.0.0.1:0"]
    with subprocess.Popen(  # noqa: ASYNC220 - its first line is awaited in a thread
        command, env=stage.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            line = await anyio.to_thread.run_sync(server.stderr.readline)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, line
            yield found[0]
        finally:
            server.terminate()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_register_over_http_and_the_page_seals(stage: Stage, mode: Any) -> None:
    async with served(stage) as origin, Client(f"{origin}/mcp", mode=mode) as client:
        waiting = await call(client, "register_transaction", **draft(1_000_000))
        page = await seal_on_the_page(origin, waiting["action_id"])
        seen = dict(waiting)
        with anyio.fail_after(20):
            while seen["status"] in {"approved", "executing", "awaiting_approval"}:
                seen = await call(client, "get_action", action_id=waiting["action_id"])

    assert page == httpx2.codes.SEE_OTHER
    assert (seen["status"], seen["written"], effects(stage)) == ("succeeded", "yes", 1)


async def test_what_happens_on_kessais_own_screen_is_known_once_its_event_comes(stage: Stage) -> None:
    await stage.run("webhook", "mfk-demo", secrets={"--secret-fd": MFK_SECRET})
    async with served(stage) as origin, Client(f"{origin}/mcp") as client:
        done = await call(client, "register_transaction", **draft())
        ledger = stage.twins.mfkessai.ledger
        ledger.cancel(done["provider_ref"])
        told = {"event_id": "E-1", "type": "transaction.examined", "transaction_id": done["provider_ref"]}
        body = json.dumps(told).encode()
        async with httpx2.AsyncClient(base_url=origin, trust_env=False) as kessai:
            headers = {"x-mfkessai-signature": mfk_signature(body).decode()}
            taken = await kessai.post("/webhooks/mfkessai/mfk-demo", content=body, headers=headers)
        seen = dict(done)
        with anyio.fail_after(20):
            while seen["provider_status"] != "canceled":
                seen = await call(client, "get_action", action_id=done["action_id"])
        listed = await call(client, "list_actions")

    assert taken.status_code == httpx2.codes.OK
    assert (seen["status"], seen["written"], effects(stage)) == ("succeeded", "yes", 1)
    assert "from passed to canceled" in listed["actions"][0]["summary"]


ALL_ARRIVED = {"status": "ok", "anchors_behind": 0}
KEEP = "import sys; open(sys.argv[1], 'a', encoding='utf-8').write(sys.stdin.buffer.read().decode())"


async def test_the_operators_own_programs_hear_of_a_request_its_approval_its_outcome_and_every_anchor(
    stage: Stage,
) -> None:
    told, away = stage.folder / "told", stage.folder / "away.jsonl"
    program = stage.folder / "keep.py"
    program.write_text(KEEP, encoding="utf-8")
    hooks = {"SEIKYU_NOTIFY_COMMAND": told, "SEIKYU_ANCHOR_COMMAND": away}
    lines = "".join(f"{name}={sys.executable} {program} {file}\n" for name, file in hooks.items())
    (stage.folder / "config" / ".env").write_text(lines, encoding="utf-8")
    async with served(stage) as origin, Client(f"{origin}/mcp") as client:
        waiting = await call(client, "register_transaction", **draft(1_000_000))
        await seal_on_the_page(origin, waiting["action_id"])
        heard: list[dict[str, Any]] = []
        health: dict[str, Any] = {}
        async with httpx2.AsyncClient(base_url=origin, trust_env=False) as watcher:
            with anyio.fail_after(30):
                while [one["kind"] for one in heard][-3:] != ["asked", "decided", "outcome"] or health != ALL_ARRIVED:
                    health = (await watcher.get("/healthz")).json()
                    heard = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []

    listed = await stage.run_json("outbox")
    report = await stage.run_json("audit", "verify", "--anchors", str(away))
    assert {notice["action_id"] for notice in heard[-3:]} == {waiting["action_id"]}
    assert (heard[-1]["action"]["amount_yen"], heard[-1]["action"]["state"]) == (1_100_000, "succeeded")
    assert {notice["state"] for notice in listed["notices"]} == {"delivered"}
    assert (report["fault"], report["anchors"] > 0, report["anchors_behind"]) == (None, True, 0)


async def test_a_database_that_forgot_a_send_is_read_only_and_health_says_why(stage: Stage) -> None:
    sent = stage.home / "sent"
    sent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line: dict[str, Any] = {
        "format": 1,
        "at": "2026-11-21T00:00:00+00:00",
        "approved_by": [],
        "row": {"id": "act-1", "epoch": 1},
    }
    journal = sent / "2026-11.jsonl"
    journal.touch(mode=0o600)
    journal.write_text(json.dumps(line) + "\n", encoding="utf-8")
    async with served(stage) as origin, Client(f"{origin}/mcp") as client:
        told = await refused(client, "register_transaction", **draft())
        async with httpx2.AsyncClient(base_url=origin, trust_env=False) as watcher:
            health = (await watcher.get("/healthz")).json()

    assert "Read-only: the database is older than what was sent from here" in told
    assert (health["status"], health["why"][0][:9], effects(stage)) == ("degraded", "Read-only", 0)


async def seal_on_the_page(origin: str, action_id: str) -> int:
    """Fill the form in as a browser does; the status of the answer."""
    async with httpx2.AsyncClient(base_url=origin, trust_env=False) as browser:
        shown = await browser.get(f"/approvals/{action_id}")
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', shown.text))
        filled = hidden | {"operator": OPERATOR, "passphrase": PASSPHRASE, "reason": "", "decision": "approve"}
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        answer = await browser.post(f"/approvals/{action_id}/decision", data=filled, headers=headers)
        return int(answer.status_code)


WRONG_DOORS = [
    {"host": "evil.example"},
    {"host": "127.0.0.1"},
    {"host": "127.0.0.1:1"},
    {"host": "127.0.0.1:PORT.evil.example"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"origin": "https://127.0.0.1:PORT"},
]


@pytest.mark.parametrize("path", ["/mcp", "/approvals", "/approvals/static/seikyu.css", "/healthz", "/nowhere"])
async def test_a_wrong_host_or_a_foreign_origin_finds_every_door_closed(shared_origin: str, path: str) -> None:
    port = shared_origin.rpartition(":")[2]
    async with httpx2.AsyncClient(base_url=shared_origin, trust_env=False) as browser:
        answers = [
            (await browser.request(method, path, headers=wrong_door(wrong, port))).status_code
            for wrong in WRONG_DOORS
            for method in ("GET", "POST")
        ]

    assert set(answers) <= {403, 421}


def wrong_door(wrong: dict[str, str], port: str) -> dict[str, str]:
    return {name: value.replace("PORT", port) for name, value in wrong.items()}


@pytest.fixture(scope="module")
async def shared_origin(shared_stage: Stage) -> AsyncGenerator[str]:
    async with served(shared_stage) as origin:
        yield origin


async def test_it_refuses_to_listen_where_others_could_reach_it(shared_stage: Stage) -> None:
    def serve_for_all() -> subprocess.CompletedProcess[str]:
        command = [*shared_stage.command, "serve", "--http", "0.0.0.0:0"]
        return subprocess.run(
            command, env=shared_stage.environment, capture_output=True, text=True, timeout=30, check=False
        )

    done = await anyio.to_thread.run_sync(serve_for_all)

    assert done.returncode == 1
    assert "without authentication it stays on this machine" in done.stderr


async def test_an_operator_approves_in_slack_and_the_whole_house_knows(stage: Stage) -> None:
    async with running_slack(lambda: int(datetime.now(UTC).timestamp())) as twin:
        with (stage.folder / "config" / "connections.toml").open("a", encoding="utf-8") as accounts:
            app = f'team = "{TEAM}"\napp = "{APP}"\nchannel = "{CHANNEL}"\nbase_url = "{twin.origin}/api"\n'
            accounts.write(f"[slack]\n{app}")
        await stage.run("slack", "connect", secrets={"--token-fd": TOKEN, "--secret-fd": SLACK_SECRET})
        linked = ["operator", "slack", OPERATOR, "--user", "U0TANAKA", "--up-to", "2000000"]
        await stage.run(*linked, secrets={"--secret-fd": PASSPHRASE})
        [link] = await stage.run_json("slack", "links")
        async with served(stage) as origin, Client(f"{origin}/mcp") as client:
            twin.target = origin
            waiting = await call(client, "register_transaction", **draft(1_000_000))
            await twin.until(lambda: any("blocks" in post for post in twin.posts))
            clicked = await twin.send(twin.clicked("U0TANAKA", APPROVE))
            seen = dict(waiting)
            with anyio.fail_after(20):
                while seen["status"] in {"approved", "executing", "awaiting_approval"}:
                    seen = await call(client, "get_action", action_id=waiting["action_id"])
            await twin.until(lambda: any("done" in update["text"] for update in twin.updates))
    verified = await stage.run("audit", "verify")

    assert (clicked.status_code, seen["status"], effects(stage)) == (200, "succeeded", 1)
    assert "tanaka" in json.dumps(twin.updates[-1]["blocks"])
    assert (link["operator"], link["user"], link["up_to"]) == (OPERATOR, "U0TANAKA", 2_000_000)
    assert not any(secret.encode() in path.read_bytes() for path in files_of(stage) for secret in (TOKEN, SLACK_SECRET))
    assert verified


def files_of(stage: Stage) -> list[Path]:
    return [path for path in stage.home.rglob("*") if path.is_file()]
