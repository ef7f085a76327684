"""What a change leaves behind: in the action's row and in the log."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from gate.stage import Stage
from seikyu.gate import audit
from seikyu.gate.actions import Action
from seikyu.gate.claims import Claims
from seikyu.gate.policy import PolicyBook
from seikyu.models import timestamp
from seikyu.settings import Settings
from seikyu.spec import WriteOperation


def warned(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What whoever runs the server reads, however much else is logged."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def claims_with(stage: Stage, settings: Settings, *more: WriteOperation[Any]) -> Claims:
    """Another server's claims, on the same database."""
    return Claims(
        stage.store,
        stage.clock,
        settings,
        book=PolicyBook(settings.policy_file),
        operations={one.name: one for one in (stage.operation, *more)},
        presence=stage.presence,
        restoration=stage.restoration,
    )


def news(before: Action, after: Action) -> dict[str, Any]:
    was = before.model_dump()
    return {name: is_ for name, is_ in after.model_dump().items() if is_ != was[name]}


def last_record(stage: Stage, action: Action) -> dict[str, Any]:
    """What the log said last of the action, without its number and the hash of the row."""
    with stage.store.read() as tx:
        row = audit.history(tx, action.id)[-1]
    return {name: value for name, value in row.items() if name not in {"seq", "row"}}


def later(stage: Stage, **by: int) -> str:
    return timestamp(stage.clock.now() + timedelta(**by))
