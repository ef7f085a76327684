"""One of our processes: at each line it sets its clock, asks for a token three times at once, and says what it got."""

import json
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from seikyu.errors import SeikyuError
from seikyu.store.database import Store
from seikyu.store.presence import Presence
from seikyu.vault.keys import read_key_ring
from seikyu.vault.secrets import Vault
from seikyu.vault.tokens import TokenCustodian
from vault.fakes import FREEE, START, HttpRefresh, SetClock


async def ask(custodian: TokenCustodian, said: list[str]) -> None:
    try:
        said.append((await custodian.access_token(FREEE)).get_secret_value())
    except SeikyuError as error:
        said.append(error.code)


async def main(home: Path, port: int) -> None:
    clock, store, presence = SetClock(), Store(home / "seikyu.db"), Presence(home / "present")
    vault = Vault(store, clock, partial(read_key_ring, home, {}))
    custodian = TokenCustodian(vault, clock, presence, HttpRefresh(port))
    await anyio.to_thread.run_sync(vault.has, FREEE)
    print("ready", flush=True)  # noqa: T201 - the parent waits for it
    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        clock.at = START + timedelta(seconds=float(line))
        said: list[str] = []
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask, custodian, said)
        print(json.dumps(said), flush=True)  # noqa: T201 - … and reads this


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
