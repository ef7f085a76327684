"""One installation: what it is made of, opened as a command needs it."""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from seikyu.errors import ConfigurationError, Lang, Text
from seikyu.models import Clock, SystemClock
from seikyu.settings import Settings, read_place, read_settings
from seikyu.spec import Effect, Principal, Tool, ToolAnswer

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from seikyu.app.logins import Accounts
    from seikyu.app.rooms import OpenedRooms
    from seikyu.app.service import Service
    from seikyu.gate.execution import OnStep
    from seikyu.gate.policy import PolicyBook
    from seikyu.gate.revisions import Draft
    from seikyu.pipeline import Pipeline
    from seikyu.providers.http import HttpEdge
    from seikyu.surfaces.cli.house import Operations
    from seikyu.vault.keys import KeyPlaces, KeyRing, KnownRing
    from seikyu.vault.rotation import Rotation

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

FAREWELL_S: Final = 5
"""How long messages under way to Slack may take when the server ends; a decision in them is stored already."""


class Home:
    """One installation, opened room by room as a command needs them."""

    def __init__(
        self,
        settings: Settings,
        on_step: OnStep | None = None,
        *,
        clock: Clock | None = None,
        browse: Callable[[str], bool] | None = None,
    ) -> None:
        self.settings = settings
        self._browse = browse
        self.clock: Clock = clock or SystemClock()
        self.on_step = on_step
        """Told of each durable step of an execution; see `gate.execution`."""
        self.in_doubt = 0
        """Writes that were being sent when the work ended, and whose outcome is not known."""

    @property
    def lang(self) -> Lang:
        return self.settings.lang

    @property
    def tools(self) -> Sequence[Tool]:
        """What a model sees: the chosen toolsets, and no writes when read-only."""
        from seikyu_tools import TOOLS

        known = {tool.toolset for tool in TOOLS}
        unknown = sorted(set(self.settings.toolsets) - known)
        if unknown:
            names, there = ", ".join(unknown), ", ".join(sorted(known))
            raise ConfigurationError(
                Text(
                    f"SEIKYU_TOOLSETS の {names} はありません。",
                    f"There is no toolset {names}.",
                ),
                Text(f"使えるのは {there} です。", f"There are: {there}."),
            )
        chosen = [tool for tool in TOOLS if not self.settings.toolsets or tool.toolset in self.settings.toolsets]
        return tuple(tool for tool in chosen if not (self.settings.is_read_only and tool.effect is Effect.WRITE))

    @cached_property
    def _book(self) -> PolicyBook:
        from seikyu.gate.policy import PolicyBook

        return PolicyBook(self.settings.policy_file, [row.name for row in self.settings.connections])

    def book(self) -> PolicyBook:
        return self._book

    @cached_property
    def key_places(self) -> KeyPlaces:
        """Where the master key may be."""
        from seikyu.vault.keys import KeyPlaces

        given = self.settings
        return KeyPlaces(
            given.home, variable=given.master_key, command=given.master_key_command, named=given.master_key_source
        )

    @cached_property
    def known_ring(self) -> KnownRing:
        """The master keys as this process knows them; read when the first is needed."""
        from seikyu.vault.keys import KnownRing

        return KnownRing(self.key_places)

    def key_ring(self) -> KeyRing:
        """The master keys, read anew. Raises `ConfigurationError` when there is none."""
        return self.key_places()

    @cached_property
    def edge(self) -> HttpEdge:
        from seikyu.providers.http import HttpEdge, quiet_http_logs

        quiet_http_logs()
        timing = self.settings.timing
        return HttpEdge(read_deadline_s=timing.read_s, write_deadline_s=timing.write_s, clock=self.clock)

    @cached_property
    def opened(self) -> OpenedRooms:
        """The rooms over the database."""
        from seikyu.app.rooms import OpenedRooms
        from seikyu.store.modes import make_private

        for mended in make_private(self.settings.home):
            log.warning("%s: others could reach it, and cannot any more", mended)
        return OpenedRooms(self)

    def rooms(self) -> Operations:
        return self.opened.operations

    async def draft(self, action_id: str, changes: Mapping[str, object]) -> Draft:
        return await self.pipeline.draft(action_id, changes, lang=self.lang)

    def rotation(self, os_user: str) -> Rotation:
        return self.opened.rotation(os_user)

    def logins(self) -> Accounts:
        from seikyu.app.logins import Accounts

        return Accounts(self, self.opened)

    def browse(self, address: str) -> bool:
        """Show `address` to the person; False when there is no display to show it on."""
        from seikyu.surfaces.cli.browser import open_browser

        return (self._browse or open_browser)(address)

    @cached_property
    def pipeline(self) -> Pipeline:
        from seikyu.pipeline import Pipeline

        return Pipeline(self.tools, lambda: self.opened.rooms)

    async def call(self, principal: Principal, name: str, arguments: Mapping[str, object] | None) -> ToolAnswer:
        """Hand a call to the pipeline, which is imported by the first one: a client that only lists need not wait."""
        return await self.pipeline.call(principal, name, arguments)

    def run(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run a command's asynchronous work to its end and close what it opened at the providers.

        A window that is closed, or an order to end, is heard like Ctrl+C: what was sent is waited for and recorded.
        """
        from seikyu.surfaces.cli.stopping import ended_like_ctrl_c

        with ended_like_ctrl_c():
            return self.serve(work)

    def serve(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """As `run`, for work that hears signals itself."""

        async def whole() -> ResultT:
            gc.freeze()  # what start-up made stays; the collector need not look at it again
            gc.enable()
            try:
                return await work()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._finish()

        try:
            return anyio.run(whole)
        finally:
            self.close()

    async def _finish(self) -> None:
        """Let what is being sent end with a recorded outcome, deaf to signals, then close what reads keep open."""
        if "opened" in self.__dict__:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT):
                if "errands" in self.opened.__dict__:
                    with anyio.move_on_after(FAREWELL_S):
                        await self.opened.errands.drain()
                self.in_doubt = await self.opened.executor.drain()
        if "edge" in self.__dict__:
            await self.edge.aclose()

    def close(self) -> None:
        """Close the database; a later use opens it again."""
        if "opened" in self.__dict__:
            self.opened.close()

    def serve_stdio(self) -> None:
        """As `Service.serve_stdio`."""
        self._service.serve_stdio()

    def serve_http(self, host: str, port: int) -> None:
        """As `Service.serve_http`."""
        self._service.serve_http(host, port)

    def web_app(self, host: str, port: int) -> Starlette:
        """As `Service.web_app`."""
        return self._service.web_app(host, port)

    @cached_property
    def _service(self) -> Service:
        from seikyu.app.service import Service

        return Service(self)

    def listed_tools(self) -> list[dict[str, Any]]:
        """The tools as they go over the wire."""
        from seikyu.surfaces.mcp.wire import mcp_tool

        return [mcp_tool(tool).model_dump(by_alias=True, mode="json", exclude_none=True) for tool in self.tools]


def open_house() -> Home:
    """The installation the environment describes.

    Raises:
        ConfigurationError: a file or a variable is wrong.
    """
    return Home(read_settings())


def open_to_stop() -> Home:
    """As `open_house`, whatever else of the configuration is wrong: only the database is needed to stop everything.

    Raises:
        ConfigurationError: where the database is cannot be told.
    """
    return Home(read_place())
