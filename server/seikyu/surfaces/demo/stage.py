"""What the demo plays on: provider twins in this process, an installation in a temporary folder, real commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import anyio.to_thread

from seikyu.errors import Lang
from seikyu.sandbox.invox import COMPANY_CODE
from seikyu.sandbox.invox_oauth import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.sandbox.twins import Twins, running_twins

OPERATOR: Final = "tanaka"
PASSPHRASE: Final = "demo: hanko wa hito no te ni"  # noqa: S105 - of the demo's throw-away operator
REQUESTER: Final = "suzuki"
COMPANY: Final = "株式会社デモ商会"

POLICY: Final = """
schema = 1
version = "demo"
operations = ["mfkessai.create_transaction", "mfkessai.cancel_transaction", "invox.register_e_storage_document"]
[[deny]]
id = "over-ten-million"
why = "1,000万円を超える取引は登録できません"
amount_over = 10_000_000
[[ask]]
id = "over-50k"
why = "5万円を超える取引には承認が必要です"
operation = "mfkessai.create_transaction"
amount_over = 50_000
[[ask]]
id = "documents"
why = "書類の保存には承認が必要です"
operation = "invox.register_e_storage_document"
[[ask]]
id = "duplicate"
why = "同じ取引先・金額の取引が近い日付にあります"
duplicate = true
[[allow]]
id = "small"
why = "5万円以下は自動"
operation = "mfkessai.create_transaction"
amount_at_most = 50_000
[[example]]
name = "5万円ちょうどは自動"
given = { operation = "mfkessai.create_transaction", provider = "mfkessai", amount = 50_000 }
expect = "allow"
[[example]]
name = "5万円を超えたら承認"
given = { operation = "mfkessai.create_transaction", provider = "mfkessai", amount = 50_001 }
expect = "ask"
[[example]]
name = "1,000万円超は拒否"
given = { operation = "mfkessai.create_transaction", provider = "mfkessai", amount = 10_000_001 }
expect = "deny"
"""


def _connections(twins: Twins) -> str:
    return f"""
schema = 1
[[connection]]
name = "mfk-demo"
provider = "mfkessai"
environment = "sandbox"
company = "{COMPANY}"
base_url = "{twins.mfkessai.base_url}"
[[connection]]
name = "invox-demo"
provider = "invox"
environment = "sandbox"
company = "{COMPANY}"
company_code = "{COMPANY_CODE}"
client_id = "{CLIENT_ID}"
redirect_uri = "{REDIRECT_URI}"
base_url = "{twins.invox.base_url}"
"""


class CommandFailed(Exception):
    """A command of the demo did not do what it should."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A playing field: the twins and an installation that talks to them."""

    twins: Twins
    folder: Path
    lang: Lang

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def policy_file(self) -> Path:
        return self.folder / "config" / "policy.toml"

    @property
    def environment(self) -> dict[str, str]:
        """For every process of the demo. No secret is in it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SEIKYU_")}
        return kept | {
            "SEIKYU_HOME": str(self.home),
            "SEIKYU_CONFIG": str(self.folder / "config"),
            "SEIKYU_REQUESTER": REQUESTER,
            "SEIKYU_LANG": self.lang,
            "SEIKYU_TIMING_SETTLE_S": "1",
            "SEIKYU_TIMING_QUIET_S": "3",
            "PYTHONUTF8": "1",
        }

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "seikyu"]

    def build(self) -> None:
        """Write the configuration and put a document into the inbox."""
        (self.folder / "config").mkdir(parents=True)
        (self.home / "inbox").mkdir(parents=True, mode=0o700)
        self.policy_file.write_text(POLICY, encoding="utf-8")
        (self.folder / "config" / "connections.toml").write_text(_connections(self.twins), encoding="utf-8")
        (self.home / "inbox" / "領収書-青葉商事.pdf").write_bytes(_receipt())

    async def run(self, *arguments: str, secrets: Mapping[str, str] | None = None) -> str:
        """Run a `seikyu` command as an operator would; secrets go over file descriptors."""
        return await anyio.to_thread.run_sync(lambda: self._run(arguments, secrets or {}))

    async def run_json(self, *arguments: str, secrets: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        return json.loads(await self.run(*arguments, "--json", secrets=secrets))

    def _run(self, arguments: Sequence[str], secrets: Mapping[str, str]) -> str:
        options, descriptors = _over_descriptors(secrets)
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                [*self.command, *arguments, *options],
                env=self.environment,
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if done.returncode != 0:
            raise CommandFailed(f"seikyu {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    async def connect_invox(self) -> None:
        """Consent as a person would: open the address the command prints, paste the one that comes back."""
        await anyio.to_thread.run_sync(self._connect_invox)

    def _connect_invox(self) -> None:
        options, descriptors = _over_descriptors({"--secret-fd": CLIENT_SECRET})
        answer, paste = os.pipe()
        named = ["--company", COMPANY_CODE]
        with subprocess.Popen(  # noqa: S603 - our own command
            [*self.command, "connect", "invox-demo", *options, "--code-fd", str(answer), *named],
            env=self.environment,
            pass_fds=[*descriptors, answer],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            for descriptor in (*descriptors, answer):
                os.close(descriptor)
            stop = threading.Timer(30, process.kill)
            stop.start()
            assert process.stdout is not None  # noqa: S101 - asked for above
            address = next((line.strip() for line in process.stdout if line.startswith("http")), "")
            os.write(paste, f"{_consent(address)}\n".encode())
            os.close(paste)
            _, problems = process.communicate()
            stop.cancel()
        if process.returncode != 0:
            raise CommandFailed(f"seikyu connect invox-demo: {problems.strip()[-500:]}")


def _over_descriptors(secrets: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Options and descriptors: each secret in a pipe of its own."""
    options: list[str] = []
    descriptors: list[int] = []
    for option, secret in secrets.items():
        source, sink = os.pipe()
        os.write(sink, f"{secret}\n".encode())
        os.close(sink)
        options += [option, str(source)]
        descriptors.append(source)
    return options, descriptors


def _consent(address: str) -> str:
    """Open the provider's page; where it sends the browser back to."""
    import httpx2

    from seikyu.providers.http import quiet_http_logs

    quiet_http_logs()  # the address it is sent back to holds the code
    with httpx2.Client(trust_env=False, follow_redirects=False) as browser:
        return browser.get(address).headers["location"]


def _receipt() -> bytes:
    return b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@asynccontextmanager
async def set_stage(lang: Lang) -> AsyncGenerator[Stage]:
    """Twins and a fresh installation; all of it is gone afterwards."""
    with TemporaryDirectory(prefix="seikyu-demo-") as folder:
        async with running_twins() as twins:
            stage = Stage(twins, Path(folder), lang)
            stage.build()
            await stage.run("connect", "mfk-demo", secrets={"--secret-fd": API_KEY})
            await stage.connect_invox()
            await stage.run("operator", "add", OPERATOR, secrets={"--secret-fd": PASSPHRASE})
            yield stage
