"""The counter behind every page: prints it, unlocks keys one after the other, sends approved actions on their way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse

from seikyu.errors import (
    NOTHING,
    CommitUnknown,
    Lang,
    NotFound,
    SeikyuError,
    StoreBusy,
    StoreDamaged,
    Text,
    VoteRefused,
)
from seikyu.gate.actions import Action, State
from seikyu.gate.batches import Batches
from seikyu.gate.cards import CardIndex
from seikyu.gate.operators import Key, unlock
from seikyu.gate.proposals import Desk
from seikyu.gate.votes import BallotBox
from seikyu.models import Clock, shown, yen_text
from seikyu.store.database import Store
from seikyu.surfaces.web.forms import SignedForm
from seikyu.surfaces.web.sheets import linked

if TYPE_CHECKING:
    from jinja2 import Environment

log = logging.getLogger(__name__)

HERE: Final = Path(__file__).parent

UNLOCKS_AT_ONCE: Final = 1
"""Each takes 0.1 s of a core and 64 MiB: a flood of guesses waits in line instead of taking the machine."""

MAX_QUEUE: Final = 8
"""Decisions that may wait for their turn to be unlocked; more are asked to come back."""

PATIENCE_S: Final = 2
"""How long a decision waits for its execution before it answers with 実行中."""

NOT_RECORDED: Final = Text("今回の決定は記録されていません。", "This decision was not recorded.")

STALE: Final = (
    Text(
        "このページは古くなったか、別の画面で開き直されています。内容をもう一度確かめて決定してください。",
        "This page is too old, or was opened anew elsewhere. Read it again and decide.",
    )
    + NOT_RECORDED
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRooms:
    """What the approval pages walk through; built by `app`."""

    store: Store
    clock: Clock
    desk: Desk
    cards: CardIndex
    ballots: BallotBox
    batches: Batches
    wake: Callable[[str], Awaitable[None]]
    """Tells the executor that an action was approved; may last as long as the execution."""
    key: bytes
    """32 bytes for the form tokens."""
    lang: Lang = "ja"


class Counter:
    """What the pages share."""

    def __init__(self, web: ApprovalRooms) -> None:
        self.web = web
        self._templates = _templates(web.lang)
        self._turns = anyio.CapacityLimiter(UNLOCKS_AT_ONCE)
        self._waking: set[asyncio.Future[None]] = set()

    def render(self, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:  # noqa: ANN401 - what a template reads
        context = {"refresh_s": None, **values}
        return HTMLResponse(self._templates.get_template(name).render(context), status)

    def notice(self, banner: Text, status: int) -> HTMLResponse:
        """One sentence and the way back, where there is no action to show."""
        return self.render("notice.html", status, banner=banner)

    async def unlock(self, form: SignedForm) -> Key:
        """The operator's key; one attempt, however much is decided with it.

        Raises:
            VoteRefused: wrong name or passphrase, or locked for a while.
            StoreBusy: too many decisions are waiting for their turn.
        """
        if self._turns.statistics().tasks_waiting >= MAX_QUEUE:
            raise StoreBusy(_CROWDED, written=NOT_RECORDED)
        work = partial(unlock, self.web.store, self.web.clock, form.operator, form.passphrase)
        return await anyio.to_thread.run_sync(work, limiter=self._turns)

    async def wake(self, actions: Iterable[Action]) -> None:
        """Start the executions and watch them for a moment; they go on without us, and without the browser."""
        approved = [action.id for action in actions if action.state is State.APPROVED]
        if not approved:
            return
        waking = asyncio.ensure_future(self._one_by_one(approved))
        self._waking.add(waking)
        waking.add_done_callback(self._waking.discard)
        await asyncio.wait({waking}, timeout=PATIENCE_S)

    async def _one_by_one(self, action_ids: Iterable[str]) -> None:
        for action_id in action_ids:
            try:
                await self.web.wake(action_id)
            except Exception:
                # the vote stands; the executor's own rounds find the action
                log.exception("an approved action could not be started at once")


def _templates(lang: Lang) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: object) -> object:
        """Every value a template prints: in the reader's language, nothing hidden in it, never cut."""
        if isinstance(value, Markup):
            return value
        text = value.say(lang) if isinstance(value, Text) else str(value)
        return shown(text, limit=1_000_000)

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words: dict[str, Any] = {"t": Text, "lang": lang, "linked": partial(_linked, lang), "yen": yen_text}
    environment.globals.update(words)
    return environment


def _linked(lang: Lang, text: Text) -> list[tuple[str, bool]]:
    return linked(text.say(lang))


_CROWDED: Final = Text(
    "決定が混み合っています。少し待ってもう一度送ってください。",
    "Many decisions are waiting. Send it again in a moment.",
)


def banner_of(error: SeikyuError, *, is_decision: bool) -> Text:
    """What happened, and what an operator can do; next steps that name a tool are the agent's, not theirs."""
    written = error.written if isinstance(error, CommitUnknown) else NOT_RECORDED if is_decision else NOTHING
    return error.what + written + (NOTHING if isinstance(error, NotFound) else error.next_step)


def status_of(error: SeikyuError) -> int:
    statuses: tuple[tuple[type[SeikyuError], int], ...] = (
        (NotFound, 404),
        (StoreDamaged, 409),
        (VoteRefused, 403),
        (StoreBusy, 503),
        (CommitUnknown, 503),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


def is_https(request: Request) -> bool:
    return request.url.scheme == "https"
