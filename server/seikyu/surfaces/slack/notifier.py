"""The channel that carries notices to Slack: a request is a card with buttons, kept up to date; the rest are lines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from seikyu.errors import Lang, NotDelivered, NotFound, StoreDamaged
from seikyu.gate import slack
from seikyu.gate.actions import State
from seikyu.gate.cards import Card, CardIndex
from seikyu.gate.notices import Notice, NoticeKind
from seikyu.models import Clock
from seikyu.store.database import Row, Store
from seikyu.surfaces.slack.api import SlackApi, escaped
from seikyu.surfaces.slack.blocks import message

log = logging.getLogger(__name__)

_REMINDERS: Final = frozenset({NoticeKind.REMINDER, NoticeKind.ESCALATION})
"""They change nothing on the card."""


class SlackNotifier:
    """Implements `gate.notices.Notifier`."""

    name = "slack"

    def __init__(self, api: SlackApi, store: Store, clock: Clock, cards: CardIndex, lang: Lang) -> None:
        self._api = api
        self._lang: Lang = lang
        self._store = store
        self._clock = clock
        self._cards = cards

    async def deliver(self, notice: Notice) -> None:
        """Post the card once, bring it up to date after; every other notice is a line below it, or by itself.

        Raises:
            NotDelivered: Slack did not take it.
        """
        card = None if notice.action_id is None else await self._card(notice.action_id)
        posted = [] if card is None else await self._store.run(lambda: self._posted(card))
        shown = [row for row in posted if card is not None and row["digest"] == card.digest]
        if card is not None and not shown and card.state is State.AWAITING:
            await self._post_card(card)
            await self._update(card, posted)  # what was edited since is not left standing with its buttons
        elif card is not None and notice.kind not in _REMINDERS:
            await self._update(card, posted)
        if notice.kind is not NoticeKind.ASKED or card is None:
            await self._post_line(notice, posted[-1]["ts"] if posted else None)

    async def _card(self, action_id: str) -> Card | None:
        try:
            return await self._store.run(lambda: self._cards.card(action_id))
        except (NotFound, StoreDamaged):  # nothing trustworthy to show; the notice itself is still told
            return None

    def _posted(self, card: Card) -> list[Row]:
        with self._store.read() as tx:
            return tx.all("slack_messages_of", action_id=card.action_id)

    async def _post_card(self, card: Card) -> None:
        body: dict[str, Any] = {"channel": self._api.app.channel, **message(card, self._lang)}
        said = await self._api.call("chat.postMessage", body)
        # until this is stored, clicks on the message are refused: it is not known as ours
        place = {"channel": str(said.get("channel", "")), "ts": str(said.get("ts", ""))}
        action = (card.action_id, card.digest)
        await self._store.run(lambda: slack.note_message(self._store, self._clock, action=action, **place))

    async def _update(self, card: Card, posted: Sequence[Row]) -> None:
        for row in posted:
            place = {"channel": row["channel"], "ts": row["ts"]}
            try:
                shown = message(card, self._lang, posted_for=row["digest"])
                await self._api.call("chat.update", place | shown)
            except NotDelivered as error:
                if error.retry_after_s is not None:
                    raise
                # somebody deleted the message: the card is lost, the line that follows tells
                log.info("a message about %s is not up to date: %s", card.action_id, error.what.en)

    async def _post_line(self, notice: Notice, below: str | None) -> None:
        thread = {} if below is None else {"thread_ts": below}
        text = escaped(notice.text.say(self._lang))
        quiet = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
        await self._api.call("chat.postMessage", {"channel": self._api.app.channel, "text": text, **quiet, **thread})
