"""Proposes a registration and dies, by its own kill -9, right after the step named in the first argument."""

from __future__ import annotations

import json
import os
import signal
import sys

import anyio

from seikyu.app import Home
from seikyu.gate.actions import Action
from seikyu.settings import read_settings
from seikyu.spec import Principal


def die_after(step: str) -> Home:
    def told(reached: str, _action: Action) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return Home(read_settings(), on_step=told)


async def main() -> None:
    home = die_after(sys.argv[1])
    principal = Principal(home.settings.requester, "test", "en")
    await home.call(principal, "register_transaction", json.loads(sys.argv[2]))


if __name__ == "__main__":
    anyio.run(main)
