"""The doctor's rounds: every check alone in a thread of its own, for a bounded time, whatever becomes of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from seikyu.errors import SeikyuError, Text
from seikyu.surfaces.doctor import clients, configuration, database, files, house, keys, logins, machine, records
from seikyu.surfaces.doctor.findings import Finding, Findings, Level, failed, fault, note
from seikyu.surfaces.doctor.patient import Patient

ResultT = TypeVar("ResultT")

Look: TypeAlias = Callable[[Patient], Findings]


@dataclass(frozen=True, slots=True)
class Check:
    """One look, and how long it may take."""

    name: str
    look: Look
    limit_s: int = 6


FIRST: Final = (
    Check("configuration", configuration.look_at_configuration),
    Check("policy", configuration.look_at_policy),
    Check("files", files.look_at_files),
    Check("space", files.look_at_space),
    Check("machine", machine.look_at_machine),
    Check("clients", clients.look_at_clients),
    Check("doors", house.look_at_doors),
)
"""Need neither network nor database."""

KEY: Final = Check("key", keys.look_at_key, limit_s=25)
"""A program of the operator's may be asked for it."""

KEY_UNASKED: Final = Check("key", keys.tell_what_is_unasked)
DATABASE: Final = Check("database", database.look_at_database)
DATABASE_UNASKED: Final = Check("database", database.tell_what_is_unasked)
"""In the place of those that offline would ask somebody."""

SOUND: Final = Check("soundness", database.look_at_soundness)

INSIDE: Final = (
    Check("rows", keys.look_at_rows, limit_s=25),
    Check("log", records.look_at_log),
    Check("clock", records.look_at_last_record),
    Check("freeze", house.look_at_freeze),
    Check("actions", house.look_at_actions),
    Check("outbox", house.look_at_outbox),
    Check("operators", house.look_at_operators),
)
"""Need a database of our version."""

UNSEEN: Final = Check("contents", database.tell_what_is_unseen)
"""In the place of all those, where it is of another version."""

NEW: Final = Check("connections", logins.look_at_new_connections)
"""… and where there is none yet."""

TWINS: Final = Check("twins", logins.look_at_twins)
ONLINE: Final = (
    Check("connections", logins.look_at_connections, limit_s=30),
    Check("slack", logins.look_at_slack, limit_s=15),
)
"""Ask others, with what the database holds."""


def examine(patient: Patient, *, is_offline: bool) -> list[Finding]:
    """Everything, in two rounds: what is found of the database says what comes after. Raises nothing."""
    is_remote = patient.settings.database_url is not None
    key = KEY_UNASKED if is_offline and patient.settings.master_key_command else KEY
    outside = () if is_offline else (TWINS,)
    its_database = DATABASE_UNASKED if is_offline and is_remote else DATABASE
    found = run(patient, [*FIRST, key, its_database, *outside])
    online = () if is_offline else ONLINE
    found += run(patient, [check for check in (*_inside(found), *online) if _can(check, found, has_key=key is KEY)])
    patient.close()
    return found + ([_OFFLINE] if is_offline else [])


def _inside(found: Sequence[Finding]) -> Sequence[Check]:
    """What to look at, once it is known how the database is."""
    levels = {each.check: each.level for each in found}
    if levels.get("database.schema") is Level.OK:
        return (SOUND, *INSIDE)
    if "database.schema" in levels:
        return (SOUND, UNSEEN)
    return (NEW,) if levels.get("database.opens") is Level.NOTE else ()


def _can(check: Check, found: Sequence[Finding], *, has_key: bool) -> bool:
    """Whether there is what the check needs."""
    is_open = any(each.check == "database.schema" and each.level is Level.OK for each in found)
    return (check not in ONLINE or is_open) and (check.name != "rows" or has_key)


@dataclass(slots=True)
class _Round:
    """One check under way, or done."""

    check: Check
    found: list[Finding] = field(default_factory=list[Finding])
    is_done: threading.Event = field(default_factory=threading.Event)

    def walk(self, patient: Patient) -> None:
        try:
            for finding in self.check.look(patient):
                self.found.append(finding)
        except SeikyuError as error:
            self.found.append(failed(f"{self.check.name}.failed", error))
        except Exception as error:  # noqa: BLE001 - the next check has to come, and this one's words may hold anything
            self.found.append(_broke_off(self.check, type(error).__name__))
        finally:
            self.is_done.set()

    def result(self) -> list[Finding]:
        found = list(self.found)
        return found if self.is_done.is_set() else [*found, _too_slow(self.check)]


def run(patient: Patient, checks: Sequence[Check]) -> list[Finding]:
    """All at once; a thread that hangs is left behind, and dies with the process."""
    began = time.monotonic()
    rounds = [_Round(check) for check in checks]
    for each in rounds:
        threading.Thread(target=each.walk, args=(patient,), name=f"seikyu_{each.check.name}", daemon=True).start()
    for each in rounds:
        each.is_done.wait(max(0, began + each.check.limit_s - time.monotonic()))
    return [finding for each in rounds for finding in each.result()]


def bounded(work: Callable[[], ResultT], *, limit_s: int, instead: Callable[[], ResultT]) -> ResultT:
    """What `work` returns, or else, when it hangs or breaks off, what `instead` does."""
    done: list[ResultT] = []

    def tried() -> None:
        with suppress(Exception):
            done.append(work())

    thread = threading.Thread(target=tried, daemon=True)
    thread.start()
    thread.join(limit_s)
    return done[0] if done else instead()


def _broke_off(check: Check, name: str) -> Finding:
    return fault(
        f"{check.name}.failed",
        Text(f"「{check.name}」の確認が途中で止まりました（{name}）。", f"The check {check.name} broke off ({name})."),
        Text("Seikyu の不具合として知らせてください。", "Report it as a fault of Seikyu's."),
    )


def _too_slow(check: Check) -> Finding:
    return fault(
        f"{check.name}.failed",
        Text(
            f"「{check.name}」の確認が{check.limit_s}秒以内に終わりません。",
            f"The check {check.name} did not end within {check.limit_s} s.",
        ),
        Text(
            "応答しないディスク・データベース・プログラムがないか確かめてください。",
            "Look for a disk, a database or a program that does not answer.",
        ),
    )


_OFFLINE: Final = note(
    "machine.offline",
    Text("ネットワークは使っていません（--offline）。", "Nothing was asked over the network (--offline)."),
)
