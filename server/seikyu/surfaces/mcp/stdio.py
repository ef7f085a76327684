"""MCP over stdin and stdout, or over any other pair of streams, tolerant of clients that probe first.

The SDK's own loop pins a connection to the era of its first request, so a client that probes with
`server/discover` and then sends `initialize` is refused (-32022). Here every request says its own era: one
that carries the 2026-07-28 envelope is served by it, any other belongs to the handshake era.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, Final, TypeAlias

import anyio
from anyio import from_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.lowlevel import EventLoopToken, current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import ServerRunner, aclose_shielded, modern_on_request
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    INVALID_REQUEST,
    PROTOCOL_VERSION_META_KEY,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from seikyu.surfaces.log import keep_stderr_open
from seikyu.surfaces.mcp.misshapen import Misshapen, messages, misshapen, says_two_things

Frame: TypeAlias = SessionMessage | Exception
"""A message, or why a line was not one."""

MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes of one line; longer ones are dropped. Documents travel as paths, so an honest line is far shorter."""

LAST_ANSWERS_S: Final = 1.0
"""How long calls may finish after the end of input; the SDK's client waits 2 s before it sends SIGTERM."""

_OVER: Final = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    asyncio.CancelledError,
    futures.CancelledError,
    RuntimeError,
)
"""How a thread learns that its streams or its event loop are closed."""


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client on stdin and stdout until the end of input, SIGTERM or SIGINT; then return.

    Takes file descriptors 0 and 1 for the life of the process: whoever prints later prints to stderr, and a
    child reads nothing. Run it in the main thread.

    The two pipes are worked by daemon threads. A thread blocked in `read` cannot be cancelled, and one that
    the event loop or the interpreter waits for keeps a server alive after Ctrl+C until its client closes
    stdin (python-sdk #3551); nobody waits for a daemon.
    """
    source, sink = _claim_pipes()
    into_server, from_client = anyio.create_memory_object_stream[Frame]()
    into_client, from_server = anyio.create_memory_object_stream[SessionMessage]()
    written = anyio.Event()
    with into_server, from_client, into_client, from_server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
            _daemon(_read, source, into_server, current_token())
            _daemon(_write, sink, from_server, current_token(), written.set)
            try:
                await serve_streams(server, from_client, into_client)
                await written.wait()
            finally:
                # the threads leave the event loop before it closes
                from_client.close()
                into_client.close()
                with anyio.move_on_after(LAST_ANSWERS_S, shield=True):
                    await written.wait()
            tasks.cancel_scope.cancel()


async def serve_streams(
    server: Server[Any],
    read_stream: ObjectReceiveStream[Frame],
    write_stream: ObjectSendStream[SessionMessage],
) -> None:
    """Serve one client over a pair of streams until the first one ends, in either era and in any order.

    Enters the server's lifespan once. Closes both streams.
    """
    calls = _OpenCalls()
    async with server.lifespan(server) as state:
        dispatcher: JSONRPCDispatcher[TransportContext] = JSONRPCDispatcher(
            _Asked(read_stream, calls, write_stream),
            _Answered(write_stream, calls),
            inline_methods=frozenset({"initialize"}),  # a client may send its next request without waiting
        )
        connection = Connection.for_loop(dispatcher)
        handshake = ServerRunner(server, connection, state)
        envelope = modern_on_request(server, state)

        async def on_request(
            context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
        ) -> dict[str, Any]:
            if method == "initialize" or not _is_enveloped(params):
                return await handshake.on_request(context, method, params)
            _refuse_bad_envelope(method, params)
            return await envelope(context, method, params)

        try:
            await dispatcher.run(on_request, handshake.on_notify)
        finally:
            await aclose_shielded(connection)


async def cancel_on_signal(scope: anyio.CancelScope) -> None:
    """Cancel `scope` at the first SIGINT or SIGTERM; a second one kills, as usual.

    Where signals cannot be received (Windows), wait for ever: there Ctrl+C cancels the main task by itself.
    """
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await anext(signals)
            scope.cancel()
    except NotImplementedError:
        await anyio.sleep_forever()


def _is_enveloped(params: Mapping[str, Any] | None) -> bool:
    meta = (params or {}).get("_meta")
    return isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta


def _refuse_bad_envelope(method: str, params: Mapping[str, Any] | None) -> None:
    """Raise what the protocol answers to an incomplete envelope or a version nobody speaks."""
    verdict = classify_inbound_request({"method": method, "params": params})
    if isinstance(verdict, InboundLadderRejection):
        raise MCPError(code=verdict.code, message=verdict.message, data=verdict.data)


class _OpenCalls:
    """Counts the requests that wait for their answer."""

    def __init__(self) -> None:
        self._count = 0
        self._none = anyio.Event()

    def open(self) -> None:
        self._count += 1

    def close(self) -> None:
        self._count -= 1
        if self._count == 0:
            self._none.set()
            self._none = anyio.Event()

    async def none(self) -> None:
        if self._count > 0:
            await self._none.wait()


class _Asked(ObjectReceiveStream[Frame]):
    """What the client sends; its end waits a moment for open calls, as in `printf … | seikyu serve`."""

    def __init__(
        self, stream: ObjectReceiveStream[Frame], calls: _OpenCalls, answers: ObjectSendStream[SessionMessage]
    ) -> None:
        self._stream = stream
        self._calls = calls
        self._answers = answers

    async def receive(self) -> Frame:
        try:
            frame = await self._stream.receive()
        except anyio.EndOfStream:
            with anyio.move_on_after(LAST_ANSWERS_S):
                await self._calls.none()
            raise
        if isinstance(frame, Misshapen):
            await self._answers.send(_refusal(frame))
        if isinstance(frame, SessionMessage) and isinstance(frame.message, JSONRPCRequest):
            self._calls.open()
        return frame

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Answered(ObjectSendStream[SessionMessage]):
    """What the client is sent."""

    def __init__(self, stream: ObjectSendStream[SessionMessage], calls: _OpenCalls) -> None:
        self._stream = stream
        self._calls = calls

    async def send(self, item: SessionMessage) -> None:
        await self._stream.send(item)
        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._calls.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _refusal(frame: Misshapen) -> SessionMessage:
    error = ErrorData(code=INVALID_REQUEST, message=str(frame))
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=frame.request_id, error=error))


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The client's two pipes, moved away from where a stray print or a child process would find them."""
    keep_stderr_open()  # or the client's pipe would be copied to descriptor 2, and errors would go to the client
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(source, "rb", closefd=False), os.fdopen(sink, "wb", closefd=False)


def _daemon(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=partial(work, *arguments), name=f"seikyu{work.__name__}", daemon=True).start()


def _read(source: BinaryIO, into: MemoryObjectSendStream[Frame], loop: EventLoopToken) -> None:
    """Hand every message to the event loop, one at a time, until the end of input or of the loop."""
    with suppress(*_OVER):
        for message in chain.from_iterable(map(messages, _lines(source))):
            from_thread.run(into.send, _frame(message), token=loop)
        from_thread.run_sync(into.close, token=loop)


def _write(
    sink: BinaryIO,
    source: MemoryObjectReceiveStream[SessionMessage],
    loop: EventLoopToken,
    done: Callable[[], None],
) -> None:
    """Write every message the event loop hands over, until it has no more or the client has gone."""
    with suppress(*_OVER):
        with suppress(OSError, anyio.EndOfStream):
            while True:
                item = from_thread.run(source.receive, token=loop)
                sink.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                sink.flush()
        from_thread.run_sync(source.close, token=loop)
        from_thread.run_sync(done, token=loop)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """The lines of `source`; one that is longer than `MAX_FRAME` is skipped."""
    while line := source.readline(MAX_FRAME):
        if line.endswith(b"\n") or len(line) < MAX_FRAME:
            yield line
        else:
            _skip_rest_of_line(source)


def _skip_rest_of_line(source: BinaryIO) -> None:
    while (part := source.readline(MAX_FRAME)) and not part.endswith(b"\n"):
        pass


def _frame(line: bytes) -> Frame:
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError as error:
        return misshapen(line) or error
    if says_two_things(line):
        return misshapen(line) or ValueError("a name is given twice")
    return SessionMessage(message)
