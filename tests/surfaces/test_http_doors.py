import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from seikyu.errors import ConfigurationError
from seikyu.settings import read_settings
from seikyu.surfaces.doors import Doors, own_hosts, own_origins
from seikyu.surfaces.mcp import visitors
from seikyu.surfaces.mcp.http import MAX_BODY, build_app, check_bind, listen, serve_http, serve_socket
from surfaces.fakes import FakePipeline, build

PATIENCE_S = 30
MISDIRECTED, FORBIDDEN = 421, 403
REFUSALS = {
    MISDIRECTED: "This server does not answer to that host name.\n",
    FORBIDDEN: "Requests from that origin are not allowed.\n",
}
ROUTES = ["/mcp", "/healthz", "/approvals", "/approvals/act_1", "/no-such-page", "/static/app.css", "/"]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"]

Headers = list[tuple[str, str]]

WRONG_HOSTS: list[Headers] = [
    [("host", host)]
    for host in (
        "evil.example",
        "evil.example:8787",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:8788",
        "localhost:80",
        "localhost:08787",
        "127.0.0.1:8787.evil.example",
        "127.0.0.1:8787:8787",
        "127.0.0.1.evil.example:8787",
        "evil.127.0.0.1:8787",
        "evil-localhost:8787",
        "localhost.:8787",
        "localhost.localdomain:8787",
        "user@localhost:8787",
        "localhost:8787/",
        "localhost:8787, evil.example",
        "127.1:8787",
        "127.0.0.2:8787",
        "0.0.0.0:8787",
        "2130706433:8787",
        "[::1]:8787",
        "[::ffff:127.0.0.1]:8787",
        "::1:8787",
        "loc\u00e1lhost:8787",
        "localhost:\uff18787".encode().decode("latin-1"),
        "localhost :8787",
        "",
    )
] + [
    [],
    [("host", "localhost:8787"), ("host", "localhost:8787")],
    [("host", "localhost:8787"), ("host", "evil.example")],
    [("host", "evil.example"), ("x-forwarded-host", "localhost:8787"), ("forwarded", "host=localhost:8787")],
]
WRONG_ORIGINS = [
    "null",
    "NULL",
    "",
    "http://evil.example",
    "http://localhost:8788",
    "http://localhost",
    "http://127.0.0.1",
    "https://localhost:8787",
    "https://127.0.0.1:8787",
    "http://localhost:8787/",
    "http://localhost:8787.evil.example",
    "http://localhost:8787@evil.example",
    "http://evil.example/http://localhost:8787",
    "http://127.0.0.1.evil.example:8787",
    "HTTP://LOCALHOST:8787",
    "http://localhost:8787 http://evil.example",
    "http://localhost:8787, null",
    "localhost:8787",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "http://[::1]:8787",
    "http://0.0.0.0:8787",
]


@dataclass
class Reached:
    """An app that only notes what came through the doors."""

    scopes: list[Scope] = field(default_factory=list[Scope])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await PlainTextResponse("in")(scope, receive, send)


async def knock(doors: Doors, headers: Headers, *, method: str = "GET", path: str = "/mcp") -> list[Message]:
    """What an HTTP server would send for this request."""
    sent: list[Message] = []
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": raw,
        "server": ("127.0.0.1", 8787),
        "client": ("127.0.0.1", 5000),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await doors(scope, receive, send)
    return sent


def eight_seven(app: Reached) -> Doors:
    hosts = own_hosts("127.0.0.1", 8787)
    return Doors(app, hosts, own_origins(hosts))


def assert_refused(sent: list[Message], status: int) -> None:
    [start, body] = sent
    headers = dict(start["headers"])
    assert (start["status"], body["body"].decode()) == (status, REFUSALS[status])
    assert headers == {
        b"content-type": b"text/plain; charset=utf-8",
        b"cache-control": b"no-store",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"referrer-policy": b"no-referrer",
        b"x-content-type-options": b"nosniff",
        b"content-length": str(len(body["body"])).encode(),
    }


@pytest.mark.anyio
@pytest.mark.parametrize("headers", WRONG_HOSTS, ids=str)
async def test_a_wrong_host_never_reaches_the_app(headers: Headers) -> None:
    app = Reached()

    for method in METHODS:
        for path in ROUTES:
            assert_refused(await knock(eight_seven(app), headers, method=method, path=path), MISDIRECTED)
    assert app.scopes == []


@pytest.mark.anyio
@pytest.mark.parametrize("origin", WRONG_ORIGINS)
async def test_a_wrong_origin_never_reaches_the_app(origin: str) -> None:
    app = Reached()
    headers = [("host", "localhost:8787"), ("origin", origin)]

    for method in METHODS:
        for path in ROUTES:
            assert_refused(await knock(eight_seven(app), headers, method=method, path=path), FORBIDDEN)
    assert app.scopes == []


@pytest.mark.anyio
async def test_two_origins_never_reach_the_app() -> None:
    app = Reached()
    good = ("origin", "http://localhost:8787")

    assert_refused(await knock(eight_seven(app), [("host", "localhost:8787"), good, good]), FORBIDDEN)
    assert app.scopes == []


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["http://evil.example/mcp", "http://localhost:8787/mcp", "*", ""])
async def test_a_target_that_is_not_a_path_never_reaches_the_app(path: str) -> None:
    app = Reached()

    assert_refused(await knock(eight_seven(app), [("host", "localhost:8787")], path=path), MISDIRECTED)
    assert app.scopes == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        [("host", "localhost:8787")],
        [("host", "127.0.0.1:8787")],
        [("host", "LOCALHOST:8787")],
        [("Host", "LocalHost:8787")],
        [("host", "localhost:8787"), ("origin", "http://localhost:8787")],
        [("host", "localhost:8787"), ("origin", "http://127.0.0.1:8787")],
    ],
    ids=str,
)
async def test_our_own_names_come_through(headers: Headers) -> None:
    app = Reached()

    assert (await knock(eight_seven(app), headers))[0]["status"] == 200
    assert len(app.scopes) == 1


@pytest.mark.anyio
async def test_null_stays_out_even_when_someone_lists_it() -> None:
    app = Reached()
    doors = Doors(app, ["localhost:8787"], ["null"])

    assert_refused(await knock(doors, [("host", "localhost:8787"), ("origin", "null")]), FORBIDDEN)


@pytest.mark.anyio
@pytest.mark.parametrize("host,status", [("pay.example", 200), ("pay.example:443", 200), ("pay.example:80", 421)])
async def test_the_default_port_may_be_left_out_of_the_host(host: str, status: int) -> None:
    doors = Doors(Reached(), ["pay.example:443"], ["https://pay.example"])

    sent = await knock(doors, [("host", host), ("origin", "https://pay.example")])

    assert sent[0]["status"] == status


@pytest.mark.anyio
async def test_websockets_are_refused_without_reaching_the_app() -> None:
    app = Reached()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/mcp", "headers": [(b"host", b"localhost:8787")]}
    await eight_seven(app)(scope, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert app.scopes == []


def test_our_own_names_depend_on_where_we_listen() -> None:
    assert own_hosts("127.0.0.1", 8787) == {"127.0.0.1:8787", "localhost:8787"}
    assert own_hosts("::1", 8787) == own_hosts("[::1]", 8787) == {"127.0.0.1:8787", "localhost:8787", "[::1]:8787"}
    assert own_origins({"localhost:8787", "localhost:80"}) == {"http://localhost:8787", "http://localhost"}


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.168.1.2", "10.0.0.1", "example.com", "", "::ffff:127.0.0.1", "127.0.0.1 "],  # noqa: S104 — refused
)
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="without authentication it stays on this machine"):
        check_bind(host)


@pytest.mark.parametrize(
    "host,address",
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("LOCALHOST", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.5", "127.0.0.5"),
    ],
)
def test_an_address_of_this_machine_is_taken(host: str, address: str) -> None:
    assert check_bind(host) == address


@pytest.mark.anyio
async def test_a_taken_port_is_a_configuration_error() -> None:
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(ConfigurationError, match=r"port \d+ \(Address already in use\)"),
    ):
        await serve_http(Starlette(), "127.0.0.1", taken.getsockname()[1], on_ready=lambda _: None)


@dataclass
class House:
    """The whole app on a port of its own."""

    port: int
    pipeline: FakePipeline
    pages: list[str]
    life: list[str]

    async def raw(self, request: str) -> tuple[int, str]:
        """Send bytes as they stand; the status and the body of what comes back."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as wire:
            await wire.send(request.replace("\n", "\r\n").replace("PORT", str(self.port)).encode("latin-1"))
            answer = b"".join([part async for part in wire]).decode("latin-1")
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ", 2)[1]), body

    @asynccontextmanager
    async def client(self, name: str, mode: str, headers: dict[str, str]) -> AsyncGenerator[Client, None]:
        url = f"http://{name}:{self.port}/mcp"
        async with (
            httpx2.AsyncClient(trust_env=False, headers=headers, timeout=PATIENCE_S) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            yield client


@asynccontextmanager
async def house() -> AsyncGenerator[House, None]:
    """A real server on loopback; stopped by cancellation."""
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    here = House(port, FakePipeline(), [], [])
    ready = anyio.Event()

    async def page(request: Request) -> PlainTextResponse:
        here.pages.append(request.url.path)
        return PlainTextResponse("approvals")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        here.life.append("open")
        yield
        here.life.append("closed")

    hosts = own_hosts("127.0.0.1", port)
    routes = [Route("/approvals", page, methods=["GET", "POST"])]
    app = build_app(
        build(here.pipeline), extra_routes=routes, hosts=hosts, origins=own_origins(hosts), lifespan=lifespan
    )
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve_socket, app, listener, on_ready=lambda _: ready.set()))
            await ready.wait()
            yield here
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_the_sdks_own_client_comes_in_by_either_name_in_both_eras(mode: str, name: str) -> None:
    async with house() as here, here.client(name, mode, {"origin": f"http://{name}:{here.port}"}) as client:
        listed = await client.list_tools()
        found = await client.call_tool("lookup_customer", {"name": "x"})
        failed = await client.call_tool("boom", {})

    assert [tool.name for tool in listed.tools] == ["lookup_customer", "register_invoice"]
    assert found.structured_content == {"name": None, "tags": ["a", None], "count": 1}
    assert failed.is_error
    assert "secret-token-123" not in failed.model_dump_json()
    assert [call[1] for call in here.pipeline.calls] == ["lookup_customer", "boom"]


@pytest.mark.anyio
async def test_every_route_is_behind_the_doors_of_the_real_server() -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    tail = f"Content-Type: application/json\nContent-Length: {len(body)}\nConnection: close\n\n{body}"
    wrong = [
        ("Host: evil.example\n", MISDIRECTED),
        ("Host: localhost\n", MISDIRECTED),
        ("Host: 127.0.0.1:PORT0\n", MISDIRECTED),
        ("Host: localhost.:PORT\n", MISDIRECTED),
        ("Host: localhost:PORT\nOrigin: null\n", FORBIDDEN),
        ("Host: localhost:PORT\nOrigin: http://evil.example\n", FORBIDDEN),
        ("Host: localhost:PORT\nOrigin: http://localhost:PORT\nOrigin: http://evil.example\n", FORBIDDEN),
        ("Host: localhost:PORT\nUpgrade: websocket\nOrigin: http://evil.example\n", FORBIDDEN),
    ]
    async with house() as here:
        for path in ("/mcp", "/mcp/", "/healthz", "/approvals", "/no-such-page"):
            for method in ("GET", "POST", "DELETE"):
                for headers, status in wrong:
                    heard = await here.raw(f"{method} {path} HTTP/1.1\n{headers}{tail}")
                    assert heard == (status, REFUSALS[status])

    assert here.pages == []
    assert here.pipeline.calls == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "request_text,status",
    [
        ("GET /healthz HTTP/1.1\nConnection: close\n\n", 400),
        ("GET /healthz HTTP/1.1\nHost: localhost:PORT\nHost: localhost:PORT\nConnection: close\n\n", 400),
        ("GET /healthz HTTP/1.0\n\n", MISDIRECTED),
        ("GET http://evil.example/healthz HTTP/1.1\nHost: localhost:PORT\nConnection: close\n\n", MISDIRECTED),
        ("OPTIONS * HTTP/1.1\nHost: localhost:PORT\nConnection: close\n\n", MISDIRECTED),
    ],
)
async def test_requests_that_do_not_say_where_they_go_are_refused(request_text: str, status: int) -> None:
    async with house() as here:
        assert (await here.raw(request_text))[0] == status


@pytest.mark.anyio
async def test_right_names_reach_health_the_pages_and_the_404() -> None:
    tail = "Host: LOCALHOST:PORT\nConnection: close\n\n"
    async with house() as here:
        health = await here.raw(f"GET /healthz HTTP/1.1\n{tail}")
        page = await here.raw(f"GET /approvals HTTP/1.1\n{tail}")
        missing = await here.raw(f"GET /no-such-page HTTP/1.1\n{tail}")

    assert health == (200, '{"status":"ok"}')
    assert page == (200, "approvals")
    assert missing == (404, "Not Found")
    assert here.pages == ["/approvals"]


@pytest.mark.anyio
async def test_a_body_beyond_the_limit_is_not_read_to_its_end() -> None:
    head = "POST /mcp HTTP/1.1\nHost: localhost:PORT\nContent-Type: application/json\nConnection: close\n"
    async with house() as here:
        declared = await here.raw(f"{head}Content-Length: {MAX_BODY + 1}\n\n")
        size = f"{MAX_BODY + 1:x}"
        chunked = await here.raw(f"{head}Transfer-Encoding: chunked\n\n{size}\n{'x' * (MAX_BODY + 1)}\n0\n\n")

    assert (declared[0], chunked[0]) == (413, 413)


@pytest.mark.anyio
@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_a_call_that_gives_a_name_twice_is_refused_before_anybody_reads_one_of_them(version: str) -> None:
    body = (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"register_invoice",'
        '"arguments":{"lines":[{"amount":1,"amount":2}]}}}'
    )
    head = (
        "POST /mcp HTTP/1.1\nHost: localhost:PORT\nContent-Type: application/json\nConnection: close\n"
        f"Accept: application/json, text/event-stream\nMCP-Protocol-Version: {version}\n"
    )
    async with house() as here:
        whole = await here.raw(f"{head}Content-Length: {len(body)}\n\n{body}")
        parts = f"{20:x}\n{body[:20]}\n{len(body) - 20:x}\n{body[20:]}\n0\n\n"
        chunked = await here.raw(f"{head}Transfer-Encoding: chunked\n\n{parts}")

    assert whole == chunked
    assert whole[0] == 400
    assert "a name given twice" in whole[1]
    assert here.pipeline.calls == []


async def hung_up(wire: anyio.abc.SocketStream) -> None:
    """Hear what the server says until it closes the connection."""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            await wire.receive()


HEAD = "GET /approvals HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"
BODY = "POST /approvals HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 9\r\n\r\nhalf"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "said", ["", "GET", HEAD, BODY, f"{HEAD}\r\n{HEAD}"], ids=["nothing", "word", "head", "body", "next"]
)
async def test_a_request_that_does_not_arrive_is_not_waited_for(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "PATIENCE_S", 0.2)
    async with house() as here, await anyio.connect_tcp("127.0.0.1", here.port) as wire:
        await wire.send(said.replace("PORT", str(here.port)).encode())
        await hung_up(wire)

        assert (await here.raw("GET /healthz HTTP/1.1\nHost: 127.0.0.1:PORT\nConnection: close\n\n"))[0] == 200


@pytest.mark.anyio
async def test_a_client_that_calls_by_the_hundred_is_answered_on_every_connection() -> None:
    health = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n"
    async with house() as here, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", here.port)) for _ in range(200)]
        for wire in wires:
            await wire.send(health.replace("PORT", str(here.port)).encode())

        assert {(await wire.receive())[9:12] for wire in wires} == {b"200"}


@pytest.mark.parametrize("files,most", [(256, 102), (1024, 409)])
def test_fewer_are_let_in_where_few_files_may_be_open(files: int, most: int) -> None:
    program = "import sys; from seikyu.surfaces.mcp.visitors import make_room, places; make_room(); print(places())"
    limited = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", sys.executable, "-c", program]

    server = str(Path(__file__).resolve().parents[2] / "server")
    environment = os.environ | {"PYTHONPATH": server}
    said = subprocess.run(
        limited, capture_output=True, text=True, check=True, timeout=PATIENCE_S, env=environment
    ).stdout

    assert int(said) == most


@pytest.mark.anyio
async def test_beyond_a_number_of_connections_nobody_else_is_let_in_until_one_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visitors, "MAX_VISITORS", 2)
    health = "GET /healthz HTTP/1.1\nHost: 127.0.0.1:PORT\nConnection: close\n\n"
    async with house() as here:
        async with (
            await anyio.connect_tcp("127.0.0.1", here.port),
            await anyio.connect_tcp("127.0.0.1", here.port),
            await anyio.connect_tcp("127.0.0.1", here.port) as third,
        ):
            await hung_up(third)

        with anyio.fail_after(PATIENCE_S):
            while True:
                try:
                    status, _ = await here.raw(health)
                    break
                except (anyio.BrokenResourceError, IndexError):  # the two have left, and are not known to have
                    continue

    assert status == 200


@pytest.mark.anyio
async def test_subscriptions_are_not_served() -> None:
    meta: dict[str, Any] = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params: dict[str, Any] = {"_meta": meta, "notifications": {}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params})
    headers = (
        "Host: localhost:PORT\nContent-Type: application/json\nAccept: application/json, text/event-stream\n"
        "MCP-Protocol-Version: 2026-07-28\nMcp-Method: subscriptions/listen\nConnection: close\n"
    )
    async with house() as here:
        status, answer = await here.raw(f"POST /mcp HTTP/1.1\n{headers}Content-Length: {len(body)}\n\n{body}")

    assert (status, json.loads(answer)["error"]["code"]) == (404, -32601)


@pytest.mark.anyio
async def test_what_the_routes_need_is_opened_once_and_closed_when_the_server_is_cancelled() -> None:
    async with house() as here:
        assert here.life == ["open"]

    assert here.life == ["open", "closed"]


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_the_app_and_the_caller_goes_on(number: signal.Signals) -> None:
    life: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        life.append("open")
        yield
        life.append("closed")

    def ready(port: int) -> None:
        life.append("ready")
        assert port > 0
        signal.raise_signal(number)

    app = build_app(build(FakePipeline()), hosts=[], origins=[], lifespan=lifespan)
    with anyio.fail_after(PATIENCE_S):
        await serve_http(app, "localhost", 0, on_ready=ready)

    assert life == ["open", "ready", "closed"]


# a public name


NEARLY_SIGNED = (
    "/slack", "/slack/", "/slack/interactions/x", "/slack/interactions/../../mcp", "/webhooks", "//webhooks/x",
    "/mcp/webhooks/", "/webhooks/../mcp", "/webhooks/a/../mcp", "/webhooks/a/b/", "/webhooks/a/b/c", "/webhooks/a/..",
    "/webhooks/a/b\n",
)  # fmt: skip


def public_doors(app: Reached) -> Doors:
    hosts = own_hosts("127.0.0.1", 8787)
    return Doors(app, hosts, own_origins(hosts), ["hooks.example.jp:443"])


async def status_of(app: Reached, headers: Headers, method: str, path: str) -> int:
    return int((await knock(public_doors(app), headers, method=method, path=path))[0]["status"])


@pytest.mark.parametrize("host", ["hooks.example.jp", "hooks.example.jp:443", "HOOKS.EXAMPLE.JP"])
async def test_a_public_name_reaches_the_signed_routes_and_nothing_else(host: str) -> None:
    app = Reached()
    paths = [*ROUTES, *NEARLY_SIGNED]

    answers = {
        (method, path): await status_of(app, [("host", host)], method, path) for method in METHODS for path in paths
    }
    let_in = [await status_of(app, [("host", host)], "POST", path) for path in ("/slack/interactions", "/webhooks/a/b")]

    assert set(answers.values()) == {MISDIRECTED}
    assert (let_in, len(app.scopes)) == ([200, 200], 2)


@pytest.mark.parametrize(
    "origin", ["null", "http://127.0.0.1:8787", "https://hooks.example.jp", "https://evil.example"]
)
async def test_no_browser_comes_in_by_the_public_name(origin: str) -> None:
    headers = [("host", "hooks.example.jp"), ("origin", origin)]

    assert await status_of(Reached(), headers, "POST", "/slack/interactions") == MISDIRECTED


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "X-Forwarded-Host", "forwarded", "via", "x-real-ip", "cf-connecting-ip"]
)
@pytest.mark.parametrize("path", ["/mcp", "/approvals", "/slack/interactions"])
async def test_a_tunnel_that_writes_our_own_name_opens_nothing(header: str, path: str) -> None:
    headers = [("host", "127.0.0.1:8787"), (header, "203.0.113.7")]

    assert await status_of(Reached(), headers, "POST", path) == MISDIRECTED


async def test_neighbours_come_in_as_before_when_there_is_a_public_name() -> None:
    assert await status_of(Reached(), [("host", "127.0.0.1:8787")], "POST", "/mcp") == 200


@pytest.mark.parametrize(
    "value", ["https://hooks.example.jp", "hooks.example.jp/x", "localhost", "127.0.0.1", "10.0.0.1:80", "*", "a b.jp",
              "hooks.example.jp:0", "hooks.example.jp:99999", "-x.jp", "hooks.example.jp:443:1", "[::1]:80"]
)  # fmt: skip
def test_a_public_name_that_is_none_stops_the_start(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEIKYU_PUBLIC_HOST", value)

    with pytest.raises(ConfigurationError, match="SEIKYU_PUBLIC_HOST"):
        read_settings(tmp_path)


def test_a_public_name_without_a_port_is_that_of_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEIKYU_PUBLIC_HOST", "Hooks.Example.jp")

    assert read_settings(tmp_path).public_host == "hooks.example.jp:443"
