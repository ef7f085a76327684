"""What a server does: it answers on stdio or HTTP, sends what was approved, looks up, tells and anchors."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from seikyu import __version__
from seikyu.spec import Principal

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from seikyu.app.home import Home


log = logging.getLogger(__name__)


class Service:
    """A server of this installation: its surfaces, and what it does beside them."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def serve_stdio(self) -> None:
        """Serve one client over stdin and stdout until it leaves.

        Raises:
            ConfigurationError: the policy is wrong; nothing is served, never something looser.
        """
        from seikyu.surfaces.log import log_to_stderr
        from seikyu.surfaces.mcp.server import build_server
        from seikyu.surfaces.mcp.stdio import serve_stdio

        log_to_stderr()
        self._check_policy()
        principal = Principal(self._home.settings.requester, "stdio", self._home.lang)
        server = build_server(self._home, version=__version__, principal_of=lambda _context: principal)

        async def serve() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                await serve_stdio(server)
                tasks.cancel_scope.cancel()

        self._home.serve(serve)

    def serve_http(self, host: str, port: int) -> None:
        """Serve MCP at /mcp, the approval page at /approvals and /healthz, until interrupted.

        Raises:
            ConfigurationError: not a loopback address, the port is taken, or the policy is wrong.
        """
        from seikyu.surfaces.log import log_to_stderr
        from seikyu.surfaces.mcp.http import listen, serve_socket

        log_to_stderr()
        self._check_policy()
        listener = listen(host, port)
        bound = listener.getsockname()[1]
        app = self.web_app(host, bound)
        self._home.serve(lambda: serve_socket(app, listener, on_ready=lambda taken: self._say_ready(host, taken)))

    def web_app(self, host: str, port: int) -> Starlette:
        """The HTTP app, with the worker inside its lifespan."""
        from seikyu.surfaces.doors import own_hosts, own_origins
        from seikyu.surfaces.mcp.http import build_app
        from seikyu.surfaces.mcp.server import build_server
        from seikyu.surfaces.web import approval_routes
        from seikyu.surfaces.webhooks import webhook_routes

        principal = Principal(self._home.settings.requester, "http", self._home.lang)
        server = build_server(self._home, version=__version__, principal_of=lambda _context: principal)
        hosts = own_hosts(host, port)

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                yield
                tasks.cancel_scope.cancel()

        public = self._home.settings.public_host
        return build_app(
            server,
            extra_routes=[
                *approval_routes(self._home.opened.approval_rooms()),
                *webhook_routes(self._home.opened.hooks()),
                *self._home.opened.slack_routes(),
            ],
            hosts=hosts,
            origins=own_origins(hosts),
            public_hosts=() if public is None else (public,),
            lifespan=lifespan,
            health=self._health,
        )

    def _health(self) -> dict[str, Any]:
        """Whether a restored database is held; how many anchors have not reached their other place, where there is one.

        None when nobody can know.
        """
        copies, held = self._home.opened.copies, self._home.opened.restoration.held
        said: dict[str, Any] = {"why": [held.text.en]} if held is not None else {}
        try:
            return said if copies is None else said | {"anchors_behind": len(copies.behind())}
        except OSError:
            return said | {"anchors_behind": None}

    def _check_policy(self) -> None:
        """A policy that is wrong stops the start; one that is missing means read-only."""
        if self._home.settings.policy_file.exists():
            self._home.book().current()
        else:
            log.warning("there is no policy file at %s: nothing can be written", self._home.settings.policy_file)

    async def _work(self) -> None:
        """What a server does beside its surfaces."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_and_look_up)
            tasks.start_soon(self._look_into_events)
            tasks.start_soon(self._anchor)
            tasks.start_soon(self._tell)
            tasks.start_soon(self._copy_anchors)

    async def _tell(self) -> None:
        """Keep delivering what there is to tell, when there is a channel."""
        poll_s = self._home.settings.timing.poll_s
        while True:
            await anyio.sleep(poll_s)
            if not self._home.opened.notifiers:
                return
            try:
                await self._home.opened.delivery.work(poll_s=poll_s)
            except Exception:
                log.exception("the delivery of notices stopped and starts again")

    async def _copy_anchors(self) -> None:
        """Keep bringing anchors to the other place, when there is one."""
        while True:
            await anyio.sleep(self._home.settings.timing.poll_s)
            if self._home.opened.copies is None:
                return
            try:
                await self._home.opened.copies.keep_up()
            except Exception:
                log.exception("anchors are not copied")

    async def _anchor(self) -> None:
        """Keep writing down, outside the database, what the head of the audit log is."""
        while True:
            await anyio.sleep(self._home.settings.timing.poll_s)
            try:
                await self._home.opened.store.run(self._home.opened.anchors.keep_up)
            except Exception:
                log.exception("the audit log is not anchored")

    async def _look_into_events(self) -> None:
        """Keep asking the providers about what they told us by themselves."""
        poll_s = self._home.settings.timing.poll_s
        while True:
            await anyio.sleep(poll_s)
            try:
                await self._home.opened.events.work(poll_s=poll_s)
            except Exception:
                log.exception("events wait")

    async def _send_and_look_up(self) -> None:
        """Keep sending what was approved and looking up what is unknown."""
        poll_s = self._home.settings.timing.poll_s
        while True:
            # first a pause: a client that only lists the tools should not wait for a database
            await anyio.sleep(poll_s)
            try:
                await self._home.opened.executor.work(poll_s=poll_s)
            except Exception:
                log.exception("the worker stopped and starts again")

    def _say_ready(self, host: str, port: int) -> None:
        from seikyu.surfaces.log import say

        shown_host = f"[{host}]" if ":" in host else host
        say(f"Seikyu: http://{shown_host}:{port}/mcp  approvals: http://{shown_host}:{port}/approvals")
