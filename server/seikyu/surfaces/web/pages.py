"""The routes of the approval page: a register, a card with its form, and the POST that decides on it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from seikyu.errors import CommitUnknown, NotFound, SeikyuError, StoreBusy, StoreDamaged, Text, VoteRefused
from seikyu.gate.actions import State
from seikyu.gate.batches import Item
from seikyu.gate.operators import Key
from seikyu.gate.votes import Ballot
from seikyu.surfaces.web.batches import BatchPages
from seikyu.surfaces.web.counter import (
    HERE,
    NOT_RECORDED,
    STALE,
    ApprovalRooms,
    Counter,
    banner_of,
    is_https,
    status_of,
)
from seikyu.surfaces.web.forms import DecisionForm, Refusal, read_form
from seikyu.surfaces.web.session import FormSeal, Session, keep, remember_name, remembered_name, session_of
from seikyu.surfaces.web.sheets import Reading, Sheet

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


def approval_routes(web: ApprovalRooms) -> list[BaseRoute]:
    """The routes below /approvals, to be mounted behind `seikyu.surfaces.doors.Doors`."""
    counter = Counter(web)
    pages, batches = _Pages(counter), BatchPages(counter)
    return [
        Route("/approvals", _Page(counter, pages.register)),
        Route("/approvals/", _Page(counter, pages.register)),
        Route("/approvals/static/seikyu.css", _Page(counter, pages.style)),
        Route("/approvals/batch", _Page(counter, batches.sheet)),
        Route("/approvals/batch/decision", _Page(counter, batches.decide, "POST")),
        Route("/approvals/{action_id}", _Page(counter, pages.sheet)),
        Route("/approvals/{action_id}/decision", _Page(counter, pages.decide, "POST")),
        Route("/approvals/{rest:path}", _Page(counter, pages.nowhere)),
    ]


class _Page:
    """One address as an ASGI application: its method, its headers, and what to say when it stops."""

    def __init__(self, counter: Counter, handler: Handler, method: str = "GET") -> None:
        self._counter = counter
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
            response = self._counter.notice(wrong, 405)
            response.headers["allow"] = ", ".join(sorted(self._methods))
            return response
        try:
            return await self._handler(request)
        except SeikyuError as error:
            return self._counter.notice(banner_of(error, is_decision=request.method == "POST"), status_of(error))
        except Exception:
            # the last wall before the browser: an accountant must be told where to look, never a stack
            log.exception("the approval page failed")
            return self._counter.notice(_INTERNAL, 500)


_INTERNAL: Final = Text(
    "Seikyu の内部で問題が起きました。決定が記録されたかどうかは、申請の履歴で確かめてください。",
    "Something failed inside Seikyu. The action's history shows whether a decision was recorded.",
)


class _Pages:
    """What each address answers."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._web = web = counter.web
        self._reading = Reading(web.store, web.clock, web.desk, web.cards)
        self._css = (HERE / "static" / "seikyu.css").read_bytes()

    async def register(self, request: Request) -> Response:
        before, ticked = request.query_params.get("before"), request.query_params.getlist("id")
        register = await self._web.store.run(lambda: self._reading.register(before))
        return self._counter.render(
            "register.html", register=register, is_first=before is None, ticked=ticked, cap=self._web.batches.cap
        )

    async def style(self, _request: Request) -> Response:
        return Response(self._css, media_type="text/css")

    async def nowhere(self, _request: Request) -> Response:
        raise NotFound(Text("そのページはありません。", "There is no such page."))

    async def sheet(self, request: Request) -> Response:
        sheet = await self._read(request)
        return self._show(request, sheet, is_revoking="revoke" in request.query_params)

    async def decide(self, request: Request) -> Response:
        """Take a decision. But for that on a batch, nothing else on these pages changes anything."""
        form = await read_form(request)
        if isinstance(form, Refusal):
            return self._counter.notice(form.reason + NOT_RECORDED, form.status)
        if not self._is_own_form(request, form):
            return await self._again(request, form, STALE, 403)
        if form.lacking is not None:
            return await self._again(request, form, form.lacking, 400)
        try:
            key = await self._counter.unlock(form)
        except (VoteRefused, StoreBusy) as error:
            return await self._again(request, form, banner_of(error, is_decision=True), status_of(error))
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
        await self._counter.wake([action])
        response = RedirectResponse(f"/approvals/{action.id}", status_code=303)
        remember_name(response, key.name, is_https=is_https(request))
        return response

    async def _refused(self, request: Request, form: DecisionForm, error: SeikyuError) -> Response:
        """Say why the gate did not count the decision, above the action as it is now."""
        sheet = await self._read(request)
        banner, status = banner_of(error, is_decision=True), status_of(error)
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
        item = Item(_action_id(request), form.digest, form.revision)
        return self._seal(session_of(request)).holds(form.token, [item], self._web.clock.now())

    def _seal(self, session: Session) -> FormSeal:
        return FormSeal(self._web.key, session, "sheet")

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
        item = Item(card.action_id, card.digest, card.revision)
        response = self._counter.render(
            "sheet.html",
            status,
            sheet=sheet,
            card=card,
            banner=banner,
            token=self._seal(session).token([item], self._web.clock.now()),
            operator=remembered_name(request) if form is None else form.operator,
            reason="" if form is None else form.reason,
            acting_for="" if form is None else form.acting_for or "",
            lenders=sheet.lenders if sheet.ask == "decide" else (),
            is_revoking=is_revoking,
            refresh_s=None if is_still else sheet.refresh_s,
        )
        keep(response, session, is_https=is_https(request))
        return response


def _too_late(sheet: Sheet, form: DecisionForm) -> Text:
    """The action has moved on: decided by somebody, or by the same button pressed twice."""
    state, card = sheet.state_text, sheet.card
    if form.decision == "approve" and form.is_about(card) and form.operator in card.approvals:
        return Text(
            f"{form.operator} の承認は既に記録されています（現在:「{state.ja}」）。一人は一票です。",
            f"The approval of {form.operator} is recorded already; it is now: {state.en}. One person, one vote.",
        )
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
    return said + NOT_RECORDED


def _action_id(request: Request) -> str:
    return str(request.path_params["action_id"])
