"""A terminal at one installation, with one operator."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from pydantic import SecretStr

from gate.stage import CHEAP, PASSPHRASE, POLICY
from seikyu.app import Home
from seikyu.gate import operators
from seikyu.gate.actions import Action, new_action_id
from seikyu.gate.proposals import Proposal
from seikyu.models import Connection
from seikyu.providers.catalog import WRITE_OPERATIONS
from seikyu.settings import Settings, Timing
from seikyu.spec import Particulars, Plan, Principal, ProviderRequest
from seikyu.surfaces.cli.commands import build

CONNECTION = Connection("mfk-main", "mfkessai", "sandbox", "株式会社テスト", "http://127.0.0.1:9/v2")
CANCEL = "mfkessai.cancel_transaction"


class Terminal:
    """Runs `seikyu` commands against one installation."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def run(self, *arguments: str, **secrets: str) -> Result:
        """`secret_fd="…"` becomes `--secret-fd N` with the secret in a pipe."""
        options: list[str] = []
        descriptors: list[int] = []
        for name, secret in secrets.items():
            source, sink = os.pipe()
            os.write(sink, f"{secret}\n".encode())
            os.close(sink)
            options += [f"--{name.replace('_', '-')}", str(source)]
            descriptors.append(source)
        try:
            return CliRunner().invoke(build(lambda: self.home), [*arguments, *options], obj=self.home)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def json(self, *arguments: str, **secrets: str) -> Any:
        done = self.run(*arguments, "--json", **secrets)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def propose(
        self, transaction_id: str = "ABCD-1234", amount: int = 100_000, *, customer: str = "株式会社青葉商事"
    ) -> Action:
        """A cancellation that waits for one operator."""
        particulars = Particulars(amount=amount, counterparty_id="C-1", counterparty_name=customer)
        request = ProviderRequest(operation=CANCEL, path={"transaction_id": transaction_id})
        proposal = Proposal(
            action_id=new_action_id(self.home.clock.now()),
            tool="cancel_transaction",
            call_digest=f"call-{transaction_id}",
            principal=Principal("suzuki", "test"),
            connection=CONNECTION,
            operation=WRITE_OPERATIONS[CANCEL],
            plan=Plan(request, particulars, natural_key=transaction_id),
        )
        return self.home.rooms().desk.propose(proposal)


@contextmanager
def open_terminal(folder: Path, database_url: SecretStr | None = None) -> Generator[Terminal]:
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    settings = Settings(
        home=folder / "home",
        config=folder,
        requester="suzuki",
        lang="en",
        connections=(CONNECTION,),
        timing=Timing(settle_s=0, quiet_s=0),
        database_url=database_url,
    )
    home = Home(settings)
    made = Terminal(home)
    operators.enrol(home.rooms().store, home.clock, "tanaka", PASSPHRASE, endorser=None, cost=CHEAP)
    yield made
    home.close()
