"""Waits on this machine for the one answer to a request for consent. Source: RFC 8252, 7.3 and 8.3.

Whatever else knocks (another path, another state, another name for this machine, the browser's own curiosity) gets
a plain refusal and changes nothing.
"""

from __future__ import annotations

import errno
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import SplitResult, urlsplit

from seikyu.errors import NOTHING, ConfigurationError, Text
from seikyu.providers.consent import KEPT

_HOST: Final = "127.0.0.1"
_NAME: Final = "localhost"
_NAMES: Final = frozenset({_HOST, _NAME})
_NO_IPV6: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_PEER_S: Final = 5
"""For a peer to say what it wants; a browser may open connections it never uses."""
_LOOK_S: Final = 0.05
"""Between two looks whether to stop."""
_PAGE: Final = """<!doctype html>
<html lang="ja"><head><meta charset="utf-8"><title>Seikyu</title></head>
<body><p>受け取りました。このページを閉じて、端末に戻ってください。</p>
<p lang="en">Received. Close this page and go back to the terminal.</p></body></html>
"""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


def is_loopback(redirect_uri: str) -> bool:
    """Whether we can wait at `redirect_uri` ourselves: http, on this machine, by IPv4."""
    try:
        parts = urlsplit(redirect_uri)
        has_port = parts.port is not None
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in _NAMES and has_port and "@" not in parts.netloc


class Loopback:
    """A port of our own. It answers nobody until `listen`, and a free one that is only held is closed to all.

    A browser may take `localhost` for ::1, so there the port is ours as well: else a stranger would get the answer.
    """

    def __init__(self, redirect_uri: str, *, instead: Text = NOTHING) -> None:
        """Take the port of `redirect_uri`; 0 takes a free one. `instead` is the next step when it is taken.

        Raises:
            ConfigurationError: another program has it.
        """
        parts = urlsplit(redirect_uri)
        self._box = _Box()
        self._serving: list[threading.Thread] = []
        self._servers: list[_Server] = []
        self._is_any = not parts.port
        try:
            port = self._take(_Server, _HOST, parts.port or 0)
            if parts.hostname == _NAME:
                self._take_ipv6(port)
        except OSError as error:
            self.close()
            raise ConfigurationError(_no_port(parts.port or 0, error), instead, written=KEPT) from error
        self.redirect_uri = _with_port(parts, port) if self._is_any else redirect_uri
        """Where the answer comes to: with the port that was taken, else to the letter."""

    def listen(self, is_answer: Callable[[str], bool]) -> None:
        """Begin to hear whoever comes: before anybody is sent on the way."""
        self._box.is_answer = is_answer
        for server in self._servers:
            if self._is_any:
                server.server_activate()
            serving = threading.Thread(target=server.serve_forever, args=(_LOOK_S,), daemon=True)
            serving.start()
            self._serving.append(serving)

    def wait(self, seconds: int) -> str | None:
        """The address at which the answer came; None when none came in time."""
        self._box.is_answered.wait(seconds)
        return self._box.answer

    def close(self) -> None:
        """Hear nobody any more, and give the port back."""
        for server, serving in zip(self._servers, self._serving, strict=False):
            server.shutdown()
            serving.join()
        for server in self._servers:
            server.server_close()

    def _take(self, kind: type[_Server], host: str, port: int) -> int:
        """Raises `OSError`."""
        server = kind(host, port, self._box)
        self._servers.append(server)
        # a fixed port may linger after a former login; two that may linger are only kept apart by listening
        server.allow_reuse_address = os.name == "posix" and not self._is_any
        server.server_bind()
        if not self._is_any:
            server.server_activate()
        taken: int = server.socket.getsockname()[1]
        return taken

    def _take_ipv6(self, port: int) -> None:
        """Raises `OSError`: somebody else has it; a machine without IPv6 has nobody there."""
        try:
            self._take(_Server6, "::1", port)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            if len(self._servers) > 1:
                self._servers.pop().server_close()


class _Box:
    """Where the answer is put, at whichever address it comes."""

    is_answer: Callable[[str], bool]

    def __init__(self) -> None:
        self.is_answered = threading.Event()
        self.answer: str | None = None
        self._turn = threading.Lock()

    def offer(self, address: str) -> bool:
        """Whether `address` is the answer, and the first one."""
        with self._turn:
            if self.answer is not None or not self.is_answer(address):
                return False
            self.answer = address
            return True


class _Server(socketserver.ThreadingTCPServer):
    """One thread a peer: whoever says nothing keeps nobody waiting."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, box: _Box) -> None:
        super().__init__((host, port), _Peer, bind_and_activate=False)
        self.box = box

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer that went away is no news; what it asked must not be printed."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Peer(BaseHTTPRequestHandler):
    timeout = _PEER_S

    @property
    def _box(self) -> _Box:
        assert isinstance(self.server, _Server)  # noqa: S101 - the only server that makes this handler
        return self.server.box

    def do_GET(self) -> None:
        is_first = self._box.offer(f"http://{self.headers.get('Host', '')}{self.path}")
        if not is_first:
            self._say(404, "text/plain; charset=utf-8", "Not here.\n")
            return
        try:
            self._say(200, "text/html; charset=utf-8", _PAGE)
            self.wfile.flush()
        finally:
            self._box.is_answered.set()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no GET, without the words of the request."""
        del message, explain
        self._say(code, "text/plain; charset=utf-8", "Not here.\n")

    def version_string(self) -> str:
        return "seikyu"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the parent's
        """Say nothing: the address holds the code."""

    def _say(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.close_connection = True
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": content_type, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _with_port(parts: SplitResult, port: int) -> str:
    return parts._replace(netloc=f"{parts.hostname}:{port}").geturl()


def _no_port(port: int, error: OSError) -> Text:
    if error.errno == errno.EADDRINUSE:
        return Text(f"ポート {port} は別のプログラムが使っています。", f"Another program uses port {port}.")
    reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return Text(f"ポート {port} を使えません（{reason}）。", f"Port {port} cannot be used ({reason}).")
