import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from mcp_types import TextContent, jsonrpc_message_adapter

from seikyu.surfaces.mcp.stdio import MAX_FRAME, Frame, serve_streams
from surfaces.fakes import FakePipeline, build

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-W", "error", "-m", "surfaces.stdio_program"]
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("server", "tools", "tests"))}
PATIENCE_S = 30

Message = dict[str, Any]

ENVELOPE: Message = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
}
INITIALIZE: Message = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Program:
    """The server in a process of its own, spoken to in raw frames."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.stdin = process.stdin
        self.stdout = BufferedByteReceiveStream(process.stdout)
        self.stderr = process.stderr
        self._last_id = 0

    async def say(self, line: str | bytes) -> None:
        await self.stdin.send((line.encode() if isinstance(line, str) else line) + b"\n")

    async def notify(self, method: str, params: Message | None = None) -> None:
        await self.say(json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}}))

    async def request(self, method: str, params: Message | None = None) -> int:
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        await self.say(json.dumps(message))
        return self._last_id

    async def hear(self) -> Message:
        message: Message = json.loads(await self.stdout.receive_until(b"\n", MAX_FRAME))
        return message

    async def ask(self, method: str, params: Message | None = None) -> Message:
        """Send a request and return its whole response; nothing else may come before it."""
        asked = await self.request(method, params)
        heard = await self.hear()
        assert heard["id"] == asked
        return heard

    async def shake_hands(self) -> Message:
        answer = await self.ask("initialize", INITIALIZE)
        await self.notify("notifications/initialized")
        return answer

    async def end(self) -> tuple[int, list[str]]:
        """Wait for the end; the exit code and the lines on stderr."""
        lines = "".join([part.decode() async for part in self.stderr]).splitlines()
        return await self.process.wait(), lines

    async def rest(self) -> list[Message]:
        """Everything the server still says, until it closes its end."""
        heard: list[Message] = []
        try:
            while True:
                heard.append(await self.hear())
        except (anyio.EndOfStream, anyio.IncompleteRead):
            return heard


@asynccontextmanager
async def program() -> AsyncGenerator[Program, None]:
    with anyio.fail_after(PATIENCE_S):
        async with await anyio.open_process(PROGRAM, cwd=ROOT, env=os.environ | ENVIRONMENT) as process:
            try:
                yield Program(process)
            finally:
                if process.returncode is None:
                    process.kill()


def names(answer: Message) -> list[str]:
    return [tool["name"] for tool in answer["result"]["tools"]]


BOTH = ["lookup_customer", "register_invoice"]
ONCE = ["lifespan begins", "lifespan ends"]


@pytest.mark.anyio
async def test_a_client_of_2025_shakes_hands_lists_and_calls() -> None:
    async with program() as server:
        hello = await server.shake_hands()
        listed = await server.ask("tools/list")
        called = await server.ask("tools/call", {"name": "register_invoice", "arguments": {"amount": 1}})
        await server.stdin.aclose()

        assert hello["result"]["serverInfo"] == {"name": "seikyu", "title": "Seikyu 請求", "version": "1.2.3"}
        assert "get_action" in hello["result"]["instructions"]
        assert names(listed) == BOTH
        assert called["result"]["structuredContent"] == {"action_id": "act_1", "note": None}
        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
async def test_a_client_that_probes_may_shake_hands_afterwards() -> None:
    async with program() as server:
        probe = await server.ask("server/discover", ENVELOPE)
        hello = await server.shake_hands()
        listed = await server.ask("tools/list")
        await server.stdin.aclose()

        assert probe["result"]["supportedVersions"] == ["2026-07-28"]
        assert hello["result"]["protocolVersion"] == "2025-11-25"
        assert names(listed) == BOTH
        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
async def test_a_client_that_probes_without_the_envelope_may_shake_hands_afterwards() -> None:
    async with program() as server:
        probe = await server.ask("server/discover")
        hello = await server.shake_hands()
        listed = await server.ask("tools/list")

        assert probe["error"]["code"] == -32601
        assert hello["result"]["protocolVersion"] == "2025-11-25"
        assert names(listed) == BOTH


@pytest.mark.anyio
async def test_a_client_that_pipelines_its_probe_and_its_handshake_is_answered_both() -> None:
    async with program() as server:
        await server.request("server/discover", ENVELOPE)
        await server.request("initialize", INITIALIZE)
        await server.request("tools/list")
        answers = {answer["id"]: answer async for answer in _three(server)}

        assert set(answers[1]["result"]) >= {"supportedVersions"}
        assert answers[2]["result"]["protocolVersion"] == "2025-11-25"
        assert names(answers[3]) == BOTH


async def _three(server: Program) -> AsyncGenerator[Message, None]:
    for _ in range(3):
        yield await server.hear()


@pytest.mark.anyio
async def test_a_modern_client_probes_and_calls() -> None:
    async with program() as server:
        await server.ask("server/discover", ENVELOPE)
        listed = await server.ask("tools/list", ENVELOPE)
        called = await server.ask("tools/call", ENVELOPE | {"name": "lookup_customer", "arguments": {}})
        await server.stdin.aclose()

        assert names(listed) == BOTH
        assert (listed["result"]["ttlMs"], listed["result"]["cacheScope"]) == (300_000, "private")
        assert called["result"]["structuredContent"] == {"name": None, "tags": ["a", None], "count": 1}
        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
async def test_a_modern_client_may_call_without_probing() -> None:
    async with program() as server:
        assert names(await server.ask("tools/list", ENVELOPE)) == BOTH


@pytest.mark.anyio
async def test_a_version_nobody_speaks_is_refused_with_the_ones_we_do_and_then_hands_are_shaken() -> None:
    strange = {"_meta": ENVELOPE["_meta"] | {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}}
    async with program() as server:
        probe = await server.ask("server/discover", strange)
        hello = await server.shake_hands()

        assert probe["error"]["code"] == -32022
        assert probe["error"]["data"]["supported"] == ["2026-07-28"]
        assert hello["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.anyio
async def test_a_call_before_any_handshake_is_refused() -> None:
    async with program() as server:
        assert (await server.ask("tools/list"))["error"]["code"] == -32602


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_own_client_works_in_both_eras(mode: str) -> None:
    parameters = StdioServerParameters(command=PROGRAM[0], args=PROGRAM[1:], env=ENVIRONMENT, cwd=ROOT)
    with anyio.fail_after(PATIENCE_S):
        async with Client(parameters, mode=mode) as client:
            listed = await client.list_tools()
            found = await client.call_tool("lookup_customer", {"name": "x"})
            failed = await client.call_tool("nobody", {})

    assert [tool.name for tool in listed.tools] == BOTH
    assert found.structured_content == {"name": None, "tags": ["a", None], "count": 1}
    assert found.content == [TextContent(type="text", text="One customer found.")]
    assert failed.is_error
    assert (failed.meta or {})["seikyu/error"] == {"code": "not_found"}


GARBAGE = [
    b"not json",
    b"{",
    b"[]",
    b"null",
    b"",
    b'"text"',
    b'{"jsonrpc":"2.0"}',
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}',
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}][{"jsonrpc":"2.0","id":2,"method":"ping"}]',
    b'[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]',
    b'[{"jsonrpc":"2.0","id":1,"method":"ping"}}',
    b'{"jsonrpc":"2.0","method":"notifications/progress","method":"notifications/initialized"}',
    b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
    b'{"jsonrpc":"2.0","id":7,"result":{}}',
    b"\xff\xfe\x00",
    b'{"method":"tools/call","params":{"id":7,"query":"\\ud800"}}',
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
]


@pytest.mark.anyio
async def test_garbage_between_the_frames_costs_nothing_but_itself() -> None:
    async with program() as server:
        for line in GARBAGE:
            await server.say(line)
        await server.shake_hands()
        for line in GARBAGE:
            await server.say(line)

        assert names(await server.ask("tools/list")) == BOTH


@pytest.mark.anyio
@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"1.0","id":7,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}',
        b'{"method":"tools/call","params":{"id":8,"query":"half of one: \\ud83d"},"jsonrpc":"2.0","id":7}',
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"limit":' + b"9" * 5000 + b"}}",
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":"' + b'a\\"' * 300_000,
        b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"lines":[{"amount":1,"\\u0061mount":2}]}}',
    ],
    ids=["version", "list", "surrogate", "digits", "depth", "cut off", "twice"],
)
async def test_a_request_that_cannot_be_read_is_answered_where_it_waits(line: bytes) -> None:
    async with program() as server:
        await server.shake_hands()
        await server.say(line)
        answer = await server.hear()

        assert (answer["id"], answer["error"]["code"]) == (7, -32600)
        assert "Nothing was done" in answer["error"]["message"]
        assert names(await server.ask("tools/list")) == BOTH


@pytest.mark.anyio
async def test_several_messages_in_one_list_are_each_heard() -> None:
    call = {"name": "lookup_customer", "arguments": {"name": "[a, b]"}}
    several = [
        {"jsonrpc": "2.0", "id": 7, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/unheard_of"},
        {"jsonrpc": "1.0", "id": 8, "method": "ping"},
        {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call},
    ]
    async with program() as server:
        await server.shake_hands()
        await server.say(json.dumps(several))
        answers = {answer["id"]: answer for answer in [await server.hear() for _ in range(3)]}

        assert answers[7]["result"] == {}
        assert answers[8]["error"]["code"] == -32600
        assert answers[9]["result"]["content"][0]["text"] == "One customer found."


@pytest.mark.anyio
async def test_a_line_without_end_is_dropped_and_the_next_one_heard() -> None:
    async with program() as server:
        await server.shake_hands()
        piece = b"x" * (1024 * 1024)
        for _ in range(MAX_FRAME // len(piece) + 2):
            await server.stdin.send(piece)
        await server.say("")

        assert names(await server.ask("tools/list")) == BOTH


@pytest.mark.anyio
async def test_what_a_library_prints_cannot_forge_an_answer() -> None:
    async with program() as server:
        await server.shake_hands()
        answer = await server.ask("tools/call", {"name": "print"})
        await server.stdin.aclose()

        assert answer["result"]["isError"]
        assert await server.rest() == []
        code, lines = await server.end()
        assert code == 0
        assert '{"jsonrpc":"2.0","id":99,"result":{"forged":true}}' in lines


@pytest.mark.anyio
@pytest.mark.parametrize("envelope", [{}, ENVELOPE], ids=["2025", "2026"])
async def test_an_unforeseen_failure_says_nothing_of_itself(envelope: Message) -> None:
    async with program() as server:
        await server.shake_hands()
        answer = await server.ask("tools/call", envelope | {"name": "boom"})
        await server.stdin.aclose()
        _, lines = await server.end()

        assert answer["result"]["isError"]
        assert answer["result"]["_meta"]["seikyu/error"] == {"code": "internal_error"}
        assert "secret-token-123" not in json.dumps(answer) + "".join(lines)


@pytest.mark.anyio
async def test_the_end_of_input_ends_the_server_even_before_the_first_frame() -> None:
    async with program() as server:
        await server.stdin.aclose()

        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
async def test_what_was_asked_before_the_end_of_input_is_answered() -> None:
    async with program() as server:
        await server.request("initialize", INITIALIZE)
        await server.request("tools/list")
        await server.request("tools/call", {"name": "lookup_customer", "arguments": {"name": "x"}})
        await server.stdin.aclose()

        assert sorted(answer["id"] for answer in await server.rest() if "result" in answer) == [1, 2, 3]
        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
async def test_the_end_of_input_ends_a_call_that_does_not_end() -> None:
    async with program() as server:
        await server.shake_hands()
        await server.request("tools/call", {"name": "slow"})
        await server.stdin.aclose()

        assert [answer["error"]["message"] for answer in await server.rest()] == ["Connection closed"]
        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
async def test_a_client_that_stops_listening_does_not_keep_the_server_alive() -> None:
    async with program() as server:
        await server.shake_hands()
        assert server.process.stdout is not None
        await server.process.stdout.aclose()
        await server.request("tools/list")
        await server.request("tools/list")
        await server.stdin.aclose()

        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_although_its_input_stays_open(number: signal.Signals) -> None:
    async with program() as server:
        await server.shake_hands()
        await server.request("tools/call", {"name": "slow"})
        await server.ask("ping")  # answered after the slow call has been taken up
        server.process.send_signal(number)

        assert [answer["error"]["message"] for answer in await server.rest()] == ["Connection closed"]
        assert await server.end() == (0, ONCE)


@pytest.mark.anyio
async def test_a_call_is_cancelled_by_its_client_and_others_go_on() -> None:
    async with program() as server:
        await server.shake_hands()
        slow = await server.request("tools/call", {"name": "slow"})
        await server.notify("notifications/cancelled", {"requestId": slow})

        assert names(await server.ask("tools/list")) == BOTH


@pytest.mark.anyio
async def test_the_loop_serves_any_pair_of_streams_and_enters_the_lifespan_once() -> None:
    entered: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Server[Any]) -> AsyncGenerator[None, None]:
        entered.append("begin")
        yield
        entered.append("end")

    server = build(FakePipeline())
    server.lifespan = lifespan
    into_server, from_client = anyio.create_memory_object_stream[Frame]()
    into_client, from_server = anyio.create_memory_object_stream[SessionMessage]()
    frames = [("server/discover", ENVELOPE), ("initialize", INITIALIZE), ("tools/list", ENVELOPE)]
    answers: list[Message] = []
    with anyio.fail_after(PATIENCE_S), into_server, from_client, into_client, from_server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve_streams, server, from_client, into_client)
            for number, (method, params) in enumerate(frames):
                frame = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
                message = jsonrpc_message_adapter.validate_python(frame, by_name=False)
                await into_server.send(SessionMessage(message))
                answers.append((await from_server.receive()).message.model_dump())
            into_server.close()

    assert [("result" in answer, answer["id"]) for answer in answers] == [(True, 0), (True, 1), (True, 2)]
    assert entered == ["begin", "end"]
