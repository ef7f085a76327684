"""What the pages show: one action as a sheet, many as a register. Read from the store, decided nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from seikyu.errors import NOTHING, NotFound, StoreDamaged, Text
from seikyu.gate import audit, freezing
from seikyu.gate.actions import STATE_TEXT, Action, State, find
from seikyu.gate.cards import Card, CardIndex, japan_time
from seikyu.gate.happenings import EVENTS, NOT_SHOWN
from seikyu.gate.mandates import trusted
from seikyu.gate.proposals import Desk
from seikyu.gate.votes import check_digest
from seikyu.models import Clock, jst_date, moment, shown, yen_text
from seikyu.spec import CardLine
from seikyu.store.database import Store, Tx

Ask: TypeAlias = Literal["decide", "revoke"]
"""Which form the sheet offers."""

MAX_WAITING: Final = 200
"""Open actions on one page; the count above the table is of all of them."""

RECENT: Final = 50
"""Actions looked at for one page of decided ones."""

_DAMAGED: Final = Text("内容が書き換えられています", "the content was changed")
_MOVING: Final = frozenset({State.APPROVED, State.EXECUTING, State.UNKNOWN})
_FRESH: Final = timedelta(seconds=60)
_ACTION_ID: Final = re.compile(r"(act-[0-9a-z]{20})", re.ASCII)

NEXT: Final[Mapping[State, Text]] = {
    State.APPROVED: Text(
        "まもなく送信されます。このページは自動で更新されます。", "It will be sent soon. This page refreshes itself."
    ),
    State.EXECUTING: Text(
        "提供元に送信しています。このページは自動で更新されます。",
        "It is being sent to the provider. This page refreshes itself.",
    ),
    State.UNKNOWN: Text(
        "登録された可能性があります。Seikyu が提供元に照会しています。結果が出るまで手作業で登録しないでください。",
        "It may have been written. Seikyu is asking the provider; do not enter it by hand meanwhile.",
    ),
    State.MANUAL_REVIEW: Text(
        "登録された可能性があります。提供元の画面で有無を確かめ、seikyu resolve で結果を記録してください。",
        "It may have been written. Look at the provider's own screen, then record the result with seikyu resolve.",
    ),
    State.SUCCEEDED: Text("提供元のデータで完了を確認しました。", "The provider's own data says it is done."),
}
"""What an operator should know in this state, besides its name."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the history."""

    at: str
    """In Japan, to the second."""
    what: Text
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """One action, ready to be read and decided."""

    card: Card
    is_production: bool
    state: State
    """`EXPIRED` from the second the time is over, even before the row says so."""
    facts: tuple[CardLine, ...]
    """The card's head without amount, counterparty and environment, which stand apart."""
    proposed: str
    left: Text | None
    """Time left to decide, or to execute."""
    ask: Ask | None
    history: tuple[Happening, ...]
    refresh_s: int | None
    """How soon the page should look again; None when nothing happens by itself."""
    frozen: Text | None
    """Why nothing is sent at the moment."""
    lenders: tuple[str, ...]
    """Operators for whom somebody else may decide today."""

    @property
    def state_text(self) -> Text:
        return STATE_TEXT[self.state]

    @property
    def advice(self) -> Text | None:
        if self.frozen is not None and self.state is State.APPROVED:
            return Text(
                "承認済みです。緊急停止が解除されるまで送信されません。",
                "Approved; it waits until the freeze is lifted.",
            )
        return NEXT.get(self.state)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the register."""

    action_id: str
    state: State
    state_text: Text
    title: Text
    amount: str
    counterparty: str
    connection: str
    environment: Literal["production", "sandbox"] | None
    """None when the row is damaged: nothing in it can be believed."""
    requester: str
    proposed: str
    left: Text | None
    votes: str | None
    is_for_a_batch: bool
    """Whether it can be approved together with others."""


@dataclass(frozen=True, slots=True)
class Register:
    """The list of actions: what waits for a decision, and what was decided."""

    waiting: tuple[Entry, ...]
    waiting_total: int
    decided: tuple[Entry, ...]
    older: str | None
    """Where the next page begins."""
    frozen: Text | None
    """Why nothing is sent at the moment."""


class Reading:
    """Reads sheets and registers. Blocking; call it in a thread."""

    def __init__(self, store: Store, clock: Clock, desk: Desk, cards: CardIndex) -> None:
        self._store = store
        self._clock = clock
        self._desk = desk
        self._cards = cards

    def sheet(self, action_id: str) -> Sheet:
        """One action.

        Raises:
            NotFound: no such action, or an operation this version does not know.
            StoreDamaged: its content is not what its digest says.
        """
        card = self._cards.card(action_id)
        with self._store.read() as tx:
            action = find(tx, action_id)
            rows = audit.history(tx, action_id)
            frozen = freezing.standing(tx)
            now = self._clock.now()
            lent = lenders(tx, now)
        is_over = card.state in {State.AWAITING, State.APPROVED} and moment(action.expires_at) <= now
        state = State.EXPIRED if is_over else card.state
        return Sheet(
            card=card,
            is_production=_environment(action) == "production",
            state=state,
            facts=tuple(line for line in card.head[2:] if line.label.en != "Environment"),
            proposed=japan_time(action.created_at),
            left=_left(action, now) if state in {State.AWAITING, State.APPROVED} else None,
            ask=_ask(state),
            history=tuple(_happening(row) for row in rows if row["kind"] not in NOT_SHOWN),
            refresh_s=_refresh_s(state, rows, now),
            frozen=None if frozen is None else frozen.text,
            lenders=lent,
        )

    def register(self, before: str | None) -> Register:
        """What waits, the soonest to expire first; and what does not, newest first, older than the id `before`."""
        waiting = self._desk.page(requester=None, state=State.AWAITING.value, limit=MAX_WAITING, cursor=None)
        recent = self._desk.page(requester=None, state=None, limit=RECENT, cursor=before)
        decided = [action for action in recent.actions if action.state is not State.AWAITING]
        frozen = freezing.current(self._store)
        soonest = sorted(waiting.actions, key=lambda action: action.expires_at)
        have = self._desk.have_votes(soonest)
        return Register(
            waiting=tuple(self._entry(action, have[action.id]) for action in soonest),
            waiting_total=waiting.total,
            decided=(*map(_damaged, recent.damaged), *(self._entry(action) for action in decided)),
            older=recent.older,
            frozen=None if frozen is None else frozen.text,
        )

    def _entry(self, action: Action, have: int = 0) -> Entry:
        try:
            check_digest(action)
            title = self._cards.operation(action).title + _which(action)
        except (StoreDamaged, NotFound) as error:
            why = _DAMAGED if isinstance(error, StoreDamaged) else error.what
            return replace(_damaged(action.id), state=action.state, state_text=why, proposed=_proposed(action))
        particulars, now = action.particulars, self._clock.now()
        state = State.EXPIRED if action.is_over(now) else action.state
        is_open = state is State.AWAITING
        return Entry(
            action_id=action.id,
            state=state,
            state_text=STATE_TEXT[state],
            title=title,
            amount="—" if particulars.amount is None else yen_text(particulars.amount),
            counterparty=shown(particulars.counterparty_name or "—"),
            connection=shown(action.connection),
            environment=_environment(action),
            requester=shown(action.requester, 60),
            proposed=_proposed(action),
            left=_left(action, now) if is_open else None,
            votes=f"{have} / {action.approvers}" if is_open else None,
            is_for_a_batch=is_open and particulars.amount is not None,
        )


def lenders(tx: Tx, now: datetime) -> tuple[str, ...]:
    """Operators for whom somebody else may decide now."""
    try:
        people = trusted(tx)
    except StoreDamaged:
        return ()
    return tuple(name for name, one in people.items() if one.lent_now(jst_date(now)))


def linked(text: str) -> list[tuple[str, bool]]:
    """`text` in parts, each with whether it is the id of an action."""
    return [(part, place % 2 == 1) for place, part in enumerate(_ACTION_ID.split(text)) if part]


def _environment(action: Action) -> Literal["production", "sandbox"]:
    """Anything that is not plainly the sandbox is shown as production."""
    return "sandbox" if action.content["environment"] == "sandbox" else "production"


def _which(action: Action) -> Text:
    return NOTHING if action.revision == 1 else Text(f"（第{action.revision}版）", f"(revision {action.revision})")


def _proposed(action: Action) -> str:
    return japan_time(action.created_at)[:16]


def _damaged(action_id: str) -> Entry:
    """A row of which nothing but its id can be told."""
    return Entry(
        action_id=shown(action_id, 60),
        state=State.MANUAL_REVIEW,
        state_text=_DAMAGED,
        title=Text("—", "—"),
        amount="—",
        counterparty="—",
        connection="—",
        environment=None,
        requester="—",
        proposed="—",
        left=None,
        votes=None,
        is_for_a_batch=False,
    )


def _ask(state: State) -> Ask | None:
    if state is State.AWAITING:
        return "decide"
    return "revoke" if state is State.APPROVED else None


def _left(action: Action, now: datetime) -> Text:
    minutes = max(0, int((moment(action.expires_at) - now).total_seconds() // 60))
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return Text(f"あと{days}日{hours}時間", f"{days} d {hours} h left")
    return Text(f"あと{hours}時間{minutes % 60}分", f"{hours} h {minutes % 60} min left")


def _happening(row: Mapping[str, Any]) -> Happening:
    kind = str(row["kind"])
    who = str(row.get("by") or row.get("operator") or row.get("requester") or "Seikyu")
    reason = str(row.get("reason") or row.get("evidence") or "")
    return Happening(japan_time(row["at"]), EVENTS.get(kind, Text(kind, kind)), shown(who, 60), shown(reason, 600))


def _refresh_s(state: State, rows: list[dict[str, Any]], now: datetime) -> int | None:
    """Every 2 s while it is fresh, then every 15 s."""
    if state not in _MOVING:
        return None
    is_fresh = bool(rows) and now - moment(rows[-1]["at"]) < _FRESH
    return 2 if is_fresh else 15
