"""One of our processes: uses every secret, over and over, until a line comes; then says how often, and what failed."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import SecretStr

from seikyu.errors import SeikyuError
from seikyu.models import SystemClock
from seikyu.store.database import Store
from seikyu.store.presence import Presence
from seikyu.vault.keepsakes import Keepsakes
from seikyu.vault.keys import KeyPlaces, KnownRing
from seikyu.vault.secrets import Vault
from seikyu.vault.tokens import TokenCustodian
from vault.fakes import FREEE, MFK, HttpRefresh
from vault.rotating import WEBHOOK


class Desk:
    """Counts what it was given."""

    def __init__(self, home: Path, port: int) -> None:
        url = os.environ.get("STORE")
        store = Store(SecretStr(url) if url else home / "seikyu.db")
        clock, ring = store.clock(SystemClock()), KnownRing(KeyPlaces(home, variable=None))
        self.vault = Vault(store, clock, ring)
        self._custodian = TokenCustodian(self.vault, clock, Presence(home / "alive"), HttpRefresh(port))
        self._kept = Keepsakes(store, clock, ring)
        self.served = 0
        self.faults: list[str] = []

    async def serve(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(self._custodian.access_token, FREEE)
            await anyio.to_thread.run_sync(partial(self.vault.api_key, MFK))
            await anyio.to_thread.run_sync(partial(self._kept.signing_secrets, WEBHOOK))
        except* SeikyuError as errors:
            self.faults += [error.say("en") for error in errors.exceptions if isinstance(error, SeikyuError)]
        self.served += 1


async def main(home: Path, port: int) -> None:
    desk = Desk(home, port)
    await desk.serve()
    print("ready", flush=True)  # noqa: T201 - the parent waits for it
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            await anyio.to_thread.run_sync(sys.stdin.readline)
            tasks.cancel_scope.cancel()

        tasks.start_soon(listen)
        while True:
            with anyio.CancelScope(shield=True):
                await desk.serve()
            await anyio.sleep(0.01)  # the others want to run as well
    print(json.dumps({"served": desk.served, "faults": desk.faults}), flush=True)  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
