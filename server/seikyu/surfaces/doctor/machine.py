"""What Seikyu runs on."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

from seikyu import __version__
from seikyu.errors import Text
from seikyu.surfaces.doctor.findings import Finding, Findings, fault, note, ok
from seikyu.surfaces.doctor.patient import Patient

OLDEST: Final = (3, 11)


def look_at_machine(patient: Patient) -> Findings:
    """Python, and the extras the configuration needs."""
    yield python(sys.version_info[:3])
    settings = patient.settings
    yield extra("postgres", "psycopg", is_needed=settings.database_url is not None)
    yield extra("keyring", "keyring", is_needed=settings.master_key_source == "keyring")


def python(version: tuple[int, ...]) -> Finding:
    """What it means to run on that version."""
    name = ".".join(map(str, version))
    if version < OLDEST:
        return fault(
            "machine.python",
            Text(f"Python {name} は古すぎます。", f"Python {name} is too old."),
            Text("Python 3.11 以降にしてください。", "Use Python 3.11 or newer."),
        )
    return ok("machine.python", Text(f"Seikyu {__version__}、Python {name}。", f"Seikyu {__version__}, Python {name}."))


def extra(name: str, module: str, *, is_needed: bool) -> Finding:
    """Whether an optional part is installed."""
    is_there = find_spec(module) is not None
    if is_there:
        return ok(
            "machine.extras", Text(f"追加機能 {name} があります。", f"The extra {name} is installed."), about=name
        )
    absent = Text(f"追加機能 {name} がありません。", f"The extra {name} is not installed.")
    step = Text(f"pip install 'seikyu[{name}]'", f"Run `pip install 'seikyu[{name}]'`.")
    if is_needed:
        return fault("machine.extras", absent, step, about=name)
    unneeded = Text("今の設定では要りません。", "This configuration does not need it.")
    return note("machine.extras", absent + unneeded, about=name)
