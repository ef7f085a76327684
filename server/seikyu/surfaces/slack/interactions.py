"""`POST /slack/interactions`: clicks and forms, answered once the decision is in the database.

Slack waits 3 s for an answer and does not send a click again: one that we could not take shows an error to the person
who clicked, and the action visibly waits still. Source: docs.slack.dev, handling user interaction, read 2026-11-21.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from seikyu.errors import Lang, SeikyuError, Text, VoteRefused
from seikyu.gate import slack
from seikyu.gate.actions import Action, State
from seikyu.gate.cards import Card, CardIndex
from seikyu.gate.keys import Key
from seikyu.gate.votes import MAX_REASON, Ballot, BallotBox, Decision
from seikyu.models import Clock
from seikyu.settings import SlackApp
from seikyu.store.database import Store
from seikyu.surfaces.envelopes import answer, read_envelope
from seikyu.surfaces.signatures import Envelope, slack_mark
from seikyu.surfaces.slack.api import SlackApi, escaped
from seikyu.surfaces.slack.blocks import REASON_BLOCK, message, modal
from seikyu.surfaces.slack.errands import Errands
from seikyu.surfaces.slack.payloads import Interaction, read_interaction

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = logging.getLogger(__name__)

ACK_MS: Final = 500
"""How long Slack waits for us to store a decision; then it is told that we could not, and the person later."""

_DECIDED: Final = frozenset({"approved", "rejected", "returned", "voted", "revoked", "withdrawn"})
_NOT_LINKED: Final = Text(
    "この Slack 利用者は操作者に対応していません（seikyu operator slack）。",
    "This Slack user speaks for no operator (seikyu operator slack).",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackRooms:
    """What the Slack routes walk through; built by `app`."""

    store: Store
    clock: Clock
    cards: CardIndex
    ballots: BallotBox
    app: SlackApp
    api: SlackApi
    secrets_of: Callable[[], Sequence[str]]
    """The app's signing secrets, the newest first."""
    sealing_key: Callable[[], Ed25519PrivateKey]
    wake: Callable[[str], Awaitable[None]]
    """Tells the executor that an action was approved; may last as long as the execution."""
    errands: Errands
    lang: Lang = "ja"


def slack_routes(rooms: SlackRooms) -> list[BaseRoute]:
    """To be mounted behind `seikyu.surfaces.doors.Doors`."""
    return [Route("/slack/interactions", _Interactions(rooms).take, methods=["POST"])]


class _Interactions:
    def __init__(self, rooms: SlackRooms) -> None:
        self._rooms = rooms

    async def take(self, request: Request) -> Response:
        envelope = await read_envelope(request)
        if envelope is None:
            return answer(400)
        try:
            return await self._answer(envelope)
        except SeikyuError as error:
            log.warning("a Slack interaction was not taken: %s", error.what.en)
        except Exception:
            log.exception("a Slack interaction was not taken: a fault inside Seikyu")
        return answer(503)

    async def _answer(self, envelope: Envelope) -> Response:
        rooms = self._rooms
        secrets = await rooms.store.run(rooms.secrets_of)
        mark = slack_mark(envelope, secrets=secrets, now=rooms.clock.now())
        if mark is None:
            return answer(401)
        asked = read_interaction(envelope.body)
        if asked is None:
            return answer(400)
        if (asked.click.app, asked.click.team) != (rooms.app.app, rooms.app.team) or asked.home_team != rooms.app.team:
            return answer(401)
        if rooms.errands.are_too_many:
            return answer(503)
        if asked.decision != "approve" and asked.reason is None:
            return await self._ask_why(asked, mark)
        return await self._decide(asked, mark)

    async def _ask_why(self, asked: Interaction, mark: str) -> Response:
        """Open the form; nothing is decided by that."""
        if await self._rooms.store.run(lambda: slack.remember(self._rooms.store, self._rooms.clock, mark)):
            self._rooms.errands.start(self._open_form(asked))
        return answer(200)

    async def _open_form(self, asked: Interaction) -> None:
        click = asked.click
        view = modal(asked.about, asked.decision, (click.channel, click.ts), self._rooms.lang)
        try:
            await self._rooms.api.call("views.open", {"trigger_id": asked.trigger_id, "view": view})
        except SeikyuError as error:
            await self._say(asked, error.what + Text("決定は記録されていません。", "No decision was recorded."))

    async def _decide(self, asked: Interaction, mark: str) -> Response:
        """Answer when the decision is stored; if that takes too long, say so to Slack and tell the person after."""
        deciding = self._rooms.errands.start(self._stored(asked, mark))
        done, _ = await asyncio.wait({deciding}, timeout=ACK_MS / 1000)
        if not done:
            self._rooms.errands.start(self._tell_late(asked, deciding))
            return answer(503)
        try:
            refused = deciding.result()
        except SeikyuError as error:
            self._rooms.errands.start(self._say(asked, error.text))
            raise
        self._rooms.errands.start(self._tell(asked, refused))
        if asked.reason is not None and refused is not None:
            said = refused.say(self._rooms.lang)
            return JSONResponse({"response_action": "errors", "errors": {REASON_BLOCK: said}})
        return answer(200)

    async def _stored(self, asked: Interaction, mark: str) -> Text | None:
        """Cast the vote; why it did not count, or None. A replay counts for nothing and says nothing."""
        rooms = self._rooms
        try:
            action = await rooms.store.run(lambda: self._cast(asked, mark))
        except VoteRefused as error:
            return error.text
        if action is not None and action.state is State.APPROVED:
            self._rooms.errands.start(self._wake(action.id))
        return None

    def _cast(self, asked: Interaction, mark: str) -> Action | None:
        rooms = self._rooms
        if not slack.remember(rooms.store, rooms.clock, mark):
            return None
        with rooms.store.read() as tx:
            link = slack.link_of(tx, asked.click.team, asked.click.user)
        if link is None:
            raise VoteRefused(_NOT_LINKED, written=Text("決定は記録されていません。", "No decision was recorded."))
        about, reason = asked.about, (asked.reason or "")[: MAX_REASON + 1]
        decision = cast("Decision", asked.decision)
        ballot = Ballot(about.action_id, about.digest, decision, reason, click=asked.click, revision=about.revision)
        return rooms.ballots.cast(ballot, Key(link.operator, rooms.sealing_key()))

    async def _wake(self, action_id: str) -> None:
        try:
            await self._rooms.wake(action_id)
        except Exception:
            # the vote stands; the executor's own rounds find the action
            log.exception("an approved action could not be started at once")

    async def _tell_late(self, asked: Interaction, deciding: asyncio.Task[Text | None]) -> None:
        try:
            refused = await deciding
        except SeikyuError as error:
            refused = error.text
        late = Text("記録に時間がかかりました。", "Storing your decision took long.")
        await self._say(asked, late + (refused or Text("決定は記録されました。", "It is recorded.")))
        await self._tell(asked, None)

    async def _tell(self, asked: Interaction, refused: Text | None) -> None:
        """Bring the message up to date, and tell the person what became of the click."""
        try:
            card = await self._rooms.store.run(lambda: self._rooms.cards.card(asked.about.action_id))
            if refused is not None:
                await self._say(asked, refused + _who_decided(card))
            place = {"channel": asked.click.channel, "ts": asked.click.ts}
            shown = message(card, self._rooms.lang, posted_for=asked.about.digest)
            await self._rooms.api.call("chat.update", place | shown)
        except SeikyuError as error:
            log.warning("a Slack message is not up to date: %s", error.what.en)

    async def _say(self, asked: Interaction, text: Text) -> None:
        said = text.say(self._rooms.lang)
        if self._rooms.api.is_response_url(asked.response_url):
            await self._rooms.api.respond(asked.response_url, said)
        else:  # a form brings no address for an answer
            place = {"channel": asked.click.channel, "user": asked.click.user}
            await self._rooms.api.call("chat.postEphemeral", place | {"text": escaped(said)})


def _who_decided(card: Card) -> Text:
    """How the action stands, and by whom."""
    stands = Text(f"現在「{card.state_text.ja}」です。", f"It is now: {card.state_text.en}.")
    last = next((event for event in reversed(card.history) if event.kind in _DECIDED and event.who), None)
    if last is None:
        return stands
    return stands + Text(f"（{last.at} {last.who}）", f"({last.who}, {last.at})")
