"""The demo's installation, furnished in this process; its commands run in warm ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from pydantic import SecretStr

import warm
from gate.stage import CHEAP
from seikyu.app import Home
from seikyu.gate import operators
from seikyu.sandbox.invox_oauth import CLIENT_SECRET
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.sandbox.twins import running_twins
from seikyu.settings import read_settings
from seikyu.spec import Connection
from seikyu.surfaces.demo.stage import OPERATOR, PASSPHRASE, CommandFailed, Stage


class Furnished(Stage):
    """Waits less than the demo, where somebody watches."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"SEIKYU_TIMING_QUIET_S": "1"}

    def _run(self, arguments: Sequence[str], secrets: Mapping[str, str]) -> str:
        ended = warm.run(arguments, self.environment, secrets)
        if ended.code != 0:
            raise CommandFailed(f"seikyu {' '.join(arguments)}: {ended.err}")
        return ended.out

    async def furnish(self) -> None:
        """Both accounts with their logins, and the operator, whose passphrase is cheap to try."""
        home = Home(read_settings(self.folder / "config", self.environment))
        kessai, invox = home.settings.connections
        logins = home.logins()
        logins.prepare_key()
        await logins.put_api_key(kessai, SecretStr(API_KEY))
        await consent(home, invox)
        operators.enrol(home.rooms().store, home.clock, OPERATOR, PASSPHRASE, endorser=None, cost=CHEAP)
        await home.edge.aclose()
        home.close()


async def consent(home: Home, invox: Connection) -> None:
    """Connect invox as a person does."""
    logins = home.logins()
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False) as browser:
        asked = logins.request_consent(
            invox, client_secret=SecretStr(CLIENT_SECRET), redirect_uri=logins.redirect_uri(invox)
        )
        answer = await browser.get(asked.address)
    await logins.keep(await logins.arrive(asked, asked.code_in(answer.headers["location"])))


@asynccontextmanager
async def furnished_stage() -> AsyncGenerator[Stage]:
    """Twins and a fresh installation, as `set_stage` makes with commands; all of it is gone afterwards."""
    with TemporaryDirectory(prefix="seikyu-") as folder:
        async with running_twins() as twins:
            stage = Furnished(twins, Path(folder), "en")
            stage.build()
            await stage.furnish()
            yield stage
