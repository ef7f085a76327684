"""The routes of the approval page: a register, a card with its form, and the one POST that decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

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
from seikyu.gate.cards import CardIndex
from seikyu.gate.operators import Key, unlock
from seikyu.gate.proposals import Desk
from seikyu.gate.votes import Ballot, BallotBox
from seikyu.models import Clock, shown
from seikyu.store.database import Store
from seikyu.surfaces.web.forms import DecisionForm, Refusal, read_form
from seikyu.surfaces.web.session import FormSeal, keep, remember_name, remembered_name, session_of
from seikyu.surfaces.web.sheets import Reading, Sheet, linked

if TYPE_CHECKING:
    from jinja2 import Environment

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not `no-referrer`: under it a browser sends `Origin: null` with our own form (Chromium 150, tried 2026-11-21)
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=(), usb=()"
    ),
}
"""On every answer of these routes."""

UNLOCKS_AT_ONCE: Final = 1
"""Each takes 0.1 s of a core and 64 MiB: a flood of guesses waits in line instead of taking the machine."""

MAX_QUEUE: Final = 8
"""Decisions that may wait for their turn to be unlocked; more are asked to come back."""

PATIENCE_S: Final = 2
"""How long a decision waits for its execution before it answers with 実行中."""

_HERE: Final = Path(__file__).parent
_NOT_RECORDED: Final = Text("今回の決定は記録されていません。", "This decision was not recorded.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRooms:
    """What the approval page walks through; built by `app`."""

    store: Store
    clock: Clock
    desk: Desk
    cards: CardIndex
    ballots: BallotBox
    wake: Callable[[str], Awaitable[None]]
    """Tells the executor that an action was approved; may last as long as the execution."""
    key: bytes
    """32 bytes for the form tokens."""
    lang: Lang = "ja"


def approval_routes(web: ApprovalRooms) -> list[BaseRoute]:
    """The routes below /approvals, to be mounted behind `seikyu.surfaces.doors.Doors`."""
    pages = _Pages(web, _templates(web.lang))
    return [
        Route("/approvals", _Page(pages, pages.register)),
        Route("/approvals/", _Page(pages, pages.register)),
        Route("/approvals/static/seikyu.css", _Page(pages, pages.style)),
        Route("/approvals/{action_id}", _Page(pages, pages.sheet)),
        Route("/approvals/{action_id}/decision", _Page(pages, pages.decide, "POST")),
        Route("/approvals/{rest:path}", _Page(pages, pages.nowhere)),
    ]


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
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words: dict[str, Any] = {"t": Text, "lang": lang, "linked": partial(_linked, lang)}
    environment.globals.update(words)
    return environment


def _linked(lang: Lang, text: Text) -> list[tuple[str, bool]]:
    return linked(text.say(lang))


class _Page:
    """One address as an ASGI application: its method, its headers, and what to say when it stops."""

    def __init__(self, pages: _Pages, handler: Handler, method: str = "GET") -> None:
        self._pages = pages
        self._handler = handler
        self._methods = {"GET", "HEAD"} if method == "GET" else {method}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        response.headers.update(HEADERS)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in self._methods:
            wrong = Text("この操作はできません。", "That cannot be done here.")
            response = self._pages.notice(wrong, 405)
            response.headers["allow"] = ", ".join(sorted(self._methods))
            return response
        try:
            return await self._handler(request)
        except SeikyuError as error:
            return self._pages.notice(_banner(error, is_decision=request.method == "POST"), _status(error))
        except Exception:
            # the last wall before the browser: an accountant must be told where to look, never a stack
            log.exception("the approval page failed")
            return self._pages.notice(_INTERNAL, 500)


_INTERNAL: Final = Text(
    "Seikyu の内部で問題が起きました。決定が記録されたかどうかは、申請の履歴で確かめてください。",
    "Something failed inside Seikyu. The action's history shows whether a decision was recorded.",
)


class _Pages:
    """What each address answers."""

    def __init__(self, web: ApprovalRooms, templates: Environment) -> None:
        self._web = web
        self._templates = templates
        self._reading = Reading(web.store, web.clock, web.desk, web.cards)
        self._turns = anyio.CapacityLimiter(UNLOCKS_AT_ONCE)
        self._waking: set[asyncio.Future[None]] = set()
        self._css = (_HERE / "static" / "seikyu.css").read_bytes()

    async def register(self, request: Request) -> Response:
        before = request.query_params.get("before")
        register = await self._web.store.run(lambda: self._reading.register(before))
        return self._render("register.html", register=register, is_first=before is None)

    async def style(self, _request: Request) -> Response:
        return Response(self._css, media_type="text/css")

    async def nowhere(self, _request: Request) -> Response:
        raise NotFound(Text("そのページはありません。", "There is no such page."))

    async def sheet(self, request: Request) -> Response:
        sheet = await self._read(request)
        return self._show(request, sheet, is_revoking="revoke" in request.query_params)

    async def decide(self, request: Request) -> Response:
        """Take a decision. Nothing else on these pages changes anything."""
        form = await read_form(request)
        if isinstance(form, Refusal):
            return self.notice(form.reason + _NOT_RECORDED, form.status)
        if not self._is_own_form(request, form):
            return await self._again(request, form, _STALE, 403)
        if form.fault is not None:
            return await self._again(request, form, form.fault, 400)
        try:
            key = await self._unlock(form)
        except (VoteRefused, StoreBusy) as error:
            return await self._again(request, form, _banner(error, is_decision=True), _status(error))
        return await self._cast(request, form, key)

    async def _cast(self, request: Request, form: DecisionForm, key: Key) -> Response:
        ballot = Ballot(
            _action_id(request),
            form.digest,
            form.decision,
            form.reason,
            via="web",
            acting_for=form.acting_for,
            revision=form.revision,
        )
        try:
            action = await self._web.store.run(lambda: self._web.ballots.cast(ballot, key))
        except (VoteRefused, StoreDamaged, StoreBusy, CommitUnknown) as error:
            return await self._refused(request, form, error)
        await self._wake(action)
        response = RedirectResponse(f"/approvals/{action.id}", status_code=303)
        remember_name(response, key.name, is_https=_is_https(request))
        return response

    async def _unlock(self, form: DecisionForm) -> Key:
        """The operator's key.

        Raises:
            VoteRefused: wrong name or passphrase, or locked for a while.
            StoreBusy: too many decisions are waiting for their turn.
        """
        if self._turns.statistics().tasks_waiting >= MAX_QUEUE:
            raise StoreBusy(_CROWDED, written=_NOT_RECORDED)
        work = partial(unlock, self._web.store, self._web.clock, form.operator, form.passphrase)
        return await anyio.to_thread.run_sync(work, limiter=self._turns)

    async def _wake(self, action: Action) -> None:
        """Start the execution and watch it for a moment; it goes on without us, and without the browser."""
        if action.state is not State.APPROVED:
            return
        waking = asyncio.ensure_future(self._web.wake(action.id))
        self._waking.add(waking)
        waking.add_done_callback(self._woken)
        await asyncio.wait({waking}, timeout=PATIENCE_S)

    def _woken(self, waking: asyncio.Future[None]) -> None:
        self._waking.discard(waking)
        if not waking.cancelled() and waking.exception() is not None:
            # the vote stands; the executor's own rounds find the action
            log.error("an approved action could not be started at once", exc_info=waking.exception())

    async def _refused(self, request: Request, form: DecisionForm, error: SeikyuError) -> Response:
        """Say why the gate did not count the decision, above the action as it is now."""
        sheet = await self._read(request)
        banner, status = _banner(error, is_decision=True), _status(error)
        if isinstance(error, VoteRefused) and not form.is_answer_to(sheet.ask):
            banner, status = _too_late(sheet, form), 409
        elif not form.is_about(sheet.card) or form.operator in sheet.card.approvals:
            status = 409
        return self._show(request, sheet, form=form, banner=banner, status=status)

    async def _again(self, request: Request, form: DecisionForm, banner: Text, status: int) -> Response:
        sheet = await self._read(request)
        return self._show(request, sheet, form=form, banner=banner, status=status)

    async def _read(self, request: Request) -> Sheet:
        action_id = _action_id(request)
        return await self._web.store.run(lambda: self._reading.sheet(action_id))

    def _is_own_form(self, request: Request, form: DecisionForm) -> bool:
        seal = FormSeal(self._web.key, session_of(request))
        return seal.holds(form.token, _action_id(request), form.digest, form.revision, self._web.clock.now())

    def _show(
        self,
        request: Request,
        sheet: Sheet,
        *,
        form: DecisionForm | None = None,
        banner: Text | None = None,
        status: int = 200,
        is_revoking: bool = False,
    ) -> Response:
        session = session_of(request)
        card = sheet.card
        is_revoking = is_revoking or (form is not None and form.decision == "revoke")
        # a page that reloads itself would empty a half-filled form, and wipe out what it just said
        is_still = sheet.ask == "decide" or is_revoking or banner is not None
        response = self._render(
            "sheet.html",
            status,
            sheet=sheet,
            card=card,
            banner=banner,
            token=FormSeal(self._web.key, session).token(
                card.action_id, card.digest, card.revision, self._web.clock.now()
            ),
            operator=remembered_name(request) if form is None else form.operator,
            reason="" if form is None else form.reason,
            acting_for="" if form is None else form.acting_for or "",
            is_revoking=is_revoking,
            refresh_s=None if is_still else sheet.refresh_s,
        )
        keep(response, session, is_https=_is_https(request))
        return response

    def notice(self, banner: Text, status: int) -> Response:
        """One sentence and the way back, where there is no action to show."""
        return self._render("notice.html", status, banner=banner)

    def _render(self, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:  # noqa: ANN401 - what a template reads
        context = {"refresh_s": None, **values}
        return HTMLResponse(self._templates.get_template(name).render(context), status)


_STALE: Final = (
    Text(
        "このページは古くなったか、別の画面で開き直されています。内容をもう一度確かめて決定してください。",
        "This page is too old, or was opened anew elsewhere. Read it again and decide.",
    )
    + _NOT_RECORDED
)
_CROWDED: Final = Text(
    "決定が混み合っています。少し待ってもう一度送ってください。",
    "Many decisions are waiting. Send it again in a moment.",
)


def _too_late(sheet: Sheet, form: DecisionForm) -> Text:
    """The action has moved on: decided by somebody, or by the same button pressed twice."""
    state = sheet.state_text
    if form.decision == "revoke":
        said = Text(
            f"もう取り消せません（現在:「{state.ja}」）。", f"It cannot be revoked any more; it is now: {state.en}."
        )
    elif sheet.state is State.EXPIRED:
        said = Text(
            "この申請は期限切れです。申請し直してもらってください。", "It has expired. Ask for it to be proposed again."
        )
    else:
        said = Text(
            f"この申請は既に決定済みです（現在:「{state.ja}」）。", f"It is decided already; it is now: {state.en}."
        )
    return said + _NOT_RECORDED


def _banner(error: SeikyuError, *, is_decision: bool) -> Text:
    """What happened, and what an operator can do; next steps that name a tool are the agent's, not theirs."""
    written = error.written if isinstance(error, CommitUnknown) else _NOT_RECORDED if is_decision else NOTHING
    return error.what + written + (NOTHING if isinstance(error, NotFound) else error.next_step)


def _status(error: SeikyuError) -> int:
    statuses: tuple[tuple[type[SeikyuError], int], ...] = (
        (NotFound, 404),
        (StoreDamaged, 409),
        (VoteRefused, 403),
        (StoreBusy, 503),
        (CommitUnknown, 503),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


def _action_id(request: Request) -> str:
    return str(request.path_params["action_id"])


def _is_https(request: Request) -> bool:
    return request.url.scheme == "https"
