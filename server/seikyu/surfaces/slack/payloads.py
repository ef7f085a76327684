"""What Slack sends when somebody clicks or submits a form, read strictly.

The body is a form with one field, `payload`, which is JSON. Source: docs.slack.dev, interaction payloads
(block_actions, view_submission), read 2026-11-21. In a shared channel the user's own team stands in `user.team_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from seikyu.gate.slack import Click
from seikyu.providers.answers import NOT_JSON, read_json
from seikyu.surfaces.slack.blocks import DECISION_OF, MODAL, REASON_BLOCK, About, read_metadata, read_value

Id = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[!-~]+$")]
Long = Annotated[str, StringConstraints(max_length=3000)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class _Team(_Part):
    id: Id


class _User(_Part):
    id: Id
    team_id: Id | None = None


class _Container(_Part):
    message_ts: Id
    channel_id: Id


class _Button(_Part):
    action_id: Id
    value: Annotated[str, StringConstraints(max_length=2000)]


class _Clicked(_Part):
    type: Literal["block_actions"]
    api_app_id: Id
    team: _Team
    user: _User
    container: _Container
    actions: Annotated[list[_Button], Field(min_length=1, max_length=1)]
    trigger_id: Annotated[str, StringConstraints(max_length=200)] = ""
    response_url: Long = ""


class _Written(_Part):
    value: Long | None = None


class _State(_Part):
    values: dict[str, dict[str, _Written]]


class _View(_Part):
    callback_id: Id
    private_metadata: Long
    state: _State


class _Submitted(_Part):
    type: Literal["view_submission"]
    api_app_id: Id
    team: _Team
    user: _User
    view: _View


_Payload: Final = TypeAdapter[_Clicked | _Submitted](Annotated[_Clicked | _Submitted, Field(discriminator="type")])


@dataclass(frozen=True, slots=True)
class Interaction:
    """Somebody decided, or wants to."""

    click: Click
    home_team: str
    """Where the user is at home."""
    about: About
    decision: str
    reason: str | None = None
    """None for a button."""
    trigger_id: str = ""
    response_url: str = ""


def read_interaction(body: bytes) -> Interaction | None:
    """None for whatever is no interaction with our own buttons and forms. Never raises."""
    try:
        pairs = parse_qsl(body.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=1)
        [(name, value)] = pairs
        read = read_json(value.encode())
        if name != "payload" or read is NOT_JSON:
            return None
        payload = _Payload.validate_python(read)
    except (ValueError, ValidationError, RecursionError):
        return None
    return _clicked(payload) if isinstance(payload, _Clicked) else _submitted(payload)


def _clicked(payload: _Clicked) -> Interaction | None:
    [button] = payload.actions
    about, decision = read_value(button.value), DECISION_OF.get(button.action_id)
    if about is None or decision is None:
        return None
    return Interaction(
        click=_click(payload, payload.container.channel_id, payload.container.message_ts),
        home_team=payload.user.team_id or payload.team.id,
        about=about,
        decision=decision,
        trigger_id=payload.trigger_id,
        response_url=payload.response_url,
    )


def _submitted(payload: _Submitted) -> Interaction | None:
    form = read_metadata(payload.view.private_metadata)
    written = payload.view.state.values.get(REASON_BLOCK, {}).get(REASON_BLOCK)
    if form is None or written is None or payload.view.callback_id != MODAL:
        return None
    return Interaction(
        click=_click(payload, form.channel, form.ts),
        home_team=payload.user.team_id or payload.team.id,
        about=form.about,
        decision=form.decision,
        reason=" ".join((written.value or "").split()),
    )


def _click(payload: _Clicked | _Submitted, channel: str, ts: str) -> Click:
    return Click(payload.api_app_id, payload.team.id, payload.user.id, channel, ts)
