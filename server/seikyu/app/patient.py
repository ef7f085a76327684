"""An installation as `seikyu doctor` looks at it."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from seikyu.app.home import Home
from seikyu.errors import Lang
from seikyu.models import Clock, SystemClock

if TYPE_CHECKING:
    from seikyu.gate.anchors import AnchorFile
    from seikyu.gate.connections import Checkup
    from seikyu.gate.restoration import Restoration
    from seikyu.providers.http import HttpEdge
    from seikyu.store.database import Store
    from seikyu.store.looking import Condition, Soundness
    from seikyu.store.presence import Presence
    from seikyu.surfaces.doctor.reading import Reading
    from seikyu.vault.holdings import Appraiser
    from seikyu.vault.keys import KeyRing

ResultT = TypeVar("ResultT")


class Examined:
    """An installation as `seikyu doctor` looks at it: each room opened by the check that needs it, none changed."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.settings = reading.settings
        self.lang: Lang = reading.settings.lang
        self.clock: Clock = SystemClock()
        self.environ: Mapping[str, str] = os.environ
        self._home = Home(reading.settings)
        self.key_places = self._home.key_places
        self.book = self._home.book()
        self._store: Store | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def store(self) -> Store:
        from seikyu.store.looking import store_to_look_at

        with self._one_at_a_time:
            if self._store is None:
                self._store = store_to_look_at(self.settings.store_place)
            return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def ring(self) -> KeyRing:
        return self._home.known_ring.ring()

    @property
    def _presence(self) -> Presence:
        from seikyu.store.presence import Presence

        return Presence(self.settings.home / "alive")

    @property
    def appraiser(self) -> Appraiser:
        from seikyu.vault.holdings import Appraiser, bindings

        addresses = bindings(self.settings.connections, self.settings.slack)
        return Appraiser(addresses, self.clock, self._presence)

    @property
    def anchors(self) -> AnchorFile:
        from seikyu.gate.anchors import AnchorFile

        return AnchorFile(self.settings.anchors_file)

    @property
    def restoration(self) -> Restoration:
        from seikyu.gate.journal import Journal
        from seikyu.gate.restoration import Restoration

        settings = self.settings
        journal = Journal(settings.sent_folder)
        return Restoration(self.store, self.clock, settings.timing, journal=journal, anchors=self.anchors)

    def condition(self) -> Condition | None:
        from seikyu.store.looking import condition

        return condition(self.settings.store_place)

    def soundness(self, *, seconds: int) -> Soundness | None:
        from seikyu.store.looking import soundness

        place = self.settings.store_place
        return soundness(place, seconds=seconds) if isinstance(place, Path) else None

    def anchors_behind(self) -> int:
        from seikyu.gate.anchor_copies import AnchorCopies
        from seikyu.gate.hooks import AnchorCommand

        sink = AnchorCommand(self.settings.anchor_command)
        return len(AnchorCopies(self.store, self.clock, self.anchors, sink).behind())

    def checkups(self) -> Sequence[Checkup]:
        from seikyu.gate.connections import Checkups
        from seikyu.vault.secrets import Vault

        connections, is_gone = self.settings.connections, self._presence.is_gone
        vault = Vault(self.store, self.clock, self._home.known_ring, is_gone=is_gone)
        return self._asking(lambda edge: Checkups(edge, vault, self.clock).all(connections))

    def ask_slack(self) -> Mapping[str, Any]:
        from seikyu.surfaces.slack.api import SlackApi
        from seikyu.vault.keepsakes import Keepsakes, slack_place

        app = self.settings.slack
        if app is None:
            return {}
        token = Keepsakes(self.store, self.clock, self._home.known_ring).word(slack_place(app), "token")
        return self._asking(lambda edge: SlackApi(edge, app, self.clock, lambda: token).call("auth.test", {}))

    def _asking(self, work: Callable[[HttpEdge], Awaitable[ResultT]]) -> ResultT:
        """Ask somebody outside, over connections of this question's own: each check has a thread and a loop."""
        from seikyu.providers.http import HttpEdge, quiet_http_logs

        async def asked() -> ResultT:
            edge = HttpEdge(clock=self.clock)
            try:
                return await work(edge)
            finally:
                await edge.aclose()

        quiet_http_logs()
        return anyio.run(asked)


def find_patient() -> Examined:
    """The installation the environment describes, as far as it can be read. Raises nothing for what is wrong."""
    from seikyu.surfaces.doctor.reading import read_all, unread
    from seikyu.surfaces.doctor.rounds import bounded

    return Examined(bounded(read_all, limit_s=5, instead=unread))
