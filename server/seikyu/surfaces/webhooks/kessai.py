"""`POST /webhooks/mfkessai/{connection}`: Money Forward Kessai's events.

Source: MFK API v2 reference, webhooks, read 2026-11-21: delivered at least once, sent again after 1, 2, 4, 8 and
16 hours with the same body. Which answers count as a failure is not written there: assumed is all but a 2xx.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from seikyu.errors import SeikyuError
from seikyu.gate.canonical import sha256
from seikyu.gate.events import Event, EventBook
from seikyu.models import Connection
from seikyu.providers.answers import NOT_JSON, read_json
from seikyu.store.database import Store
from seikyu.surfaces.envelopes import answer, read_envelope
from seikyu.surfaces.signatures import Envelope, is_signed_by_mfk

log = logging.getLogger(__name__)

Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[!-~]+$")]
"""An id of MFK's, or its name for a kind of event: visible ASCII."""

OurNumber = Annotated[str, StringConstraints(min_length=1, max_length=100)]
"""Source: MFK API v2 reference, a transaction's `number`, read 2026-11-21."""

_UNSIGNED: Final = "This is not a signed request of a connection we know.\n"


class _Told(BaseModel):
    """What an event says of itself. Its `result` is not read: the truth is asked for at MFK's API."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    event_id: Word
    type: Word
    transaction_id: Word | None = None
    transaction_number: OurNumber | None = None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the webhooks walk through; built by `app`."""

    store: Store
    events: EventBook
    connections: Sequence[Connection]
    secrets_of: Callable[[Connection], Sequence[str]]
    """The endpoint's secrets, the newest first; none when the operator gave none."""


def webhook_routes(hooks: Hooks) -> list[BaseRoute]:
    """To be mounted behind `seikyu.surfaces.doors.Doors`."""
    return [Route("/webhooks/mfkessai/{connection}", _Endpoint(hooks).take, methods=["POST"])]


class _Endpoint:
    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def take(self, request: Request) -> Response:
        """2xx only after the event is in the database: MFK sends again whatever is answered otherwise."""
        envelope = await read_envelope(request)
        if envelope is None:
            return answer(400, "The body cannot be read.\n")
        try:
            return await self._keep(request.path_params["connection"], envelope)
        except SeikyuError as error:
            log.warning("a webhook was not kept: %s", error.what.en)
            return answer(503, "Not kept; send it again.\n")
        except Exception:
            log.exception("a webhook was not kept: a fault inside Seikyu")
            return answer(503, "Not kept; send it again.\n")

    async def _keep(self, name: str, envelope: Envelope) -> Response:
        connection = self._connection(name)
        store = self._hooks.store
        secrets = () if connection is None else await store.run(lambda: self._hooks.secrets_of(connection))
        if connection is None or not is_signed_by_mfk(envelope, secrets=secrets):
            return answer(401, _UNSIGNED)
        event = _event(connection, envelope)
        if event is None:
            return answer(400, "This is not an event.\n")
        await store.run(lambda: self._hooks.events.receive(event))
        return answer(200, "kept\n")

    def _connection(self, name: str) -> Connection | None:
        rows = (row for row in self._hooks.connections if row.provider == "mfkessai")
        return next((row for row in rows if row.name == name), None)


def _event(connection: Connection, envelope: Envelope) -> Event | None:
    """The event as its signed body names it; the header is not signed and may only say the same."""
    read = read_json(envelope.body)
    try:
        told = None if read is NOT_JSON else _Told.model_validate(read)
    except ValidationError:
        return None
    named = envelope.only(b"x-mfkessai-event-id")
    if told is None or named not in (None, told.event_id.encode()):
        return None
    return Event(
        connection=connection.name,
        id=told.event_id,
        kind=told.type,
        body_sha256=sha256(envelope.body),
        reference=told.transaction_id,
        number=told.transaction_number,
    )
