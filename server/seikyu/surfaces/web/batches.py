"""Many requests on one page: what was ticked is read together, approved with one passphrase, and each result told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from seikyu.errors import StoreBusy, Text, VoteRefused
from seikyu.gate.batches import Result
from seikyu.gate.operators import Key
from seikyu.surfaces.web.batch_sheets import BatchReading, BatchSheet
from seikyu.surfaces.web.counter import NOT_RECORDED, STALE, Counter, banner_of, is_https, status_of
from seikyu.surfaces.web.forms import BatchForm, Refusal, read_batch_form
from seikyu.surfaces.web.session import FormSeal, Session, keep, remember_name, remembered_name, session_of

_ACTION_ID: Final = re.compile(r"act-[0-9a-z]{20}", re.ASCII)

_NONE_CHOSEN: Final = Text(
    "申請が選ばれていません。一覧で、まとめて承認する申請を選んでください。",
    "No request was chosen. Tick those to approve together in the list.",
)
_NO_SUCH_LIST: Final = Text(
    "アドレスが正しくありません。一覧で申請を選び直してください。",
    "This address is not one of ours. Choose the requests in the list again.",
)
_CHANGED: Final = Text(
    "表示したあとで内容が変わった申請があります。印のある申請をもう一度読んでください。",
    "Something changed since it was shown. Read what is marked again.",
)


class BatchPages:
    """The page of a batch, and the one POST that approves it."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._web = counter.web
        self._reading = BatchReading(counter.web.store, counter.web.clock, counter.web.batches)

    async def sheet(self, request: Request) -> Response:
        wanted = request.query_params.getlist("id")
        if not wanted:
            return self._counter.notice(_NONE_CHOSEN, 400)
        if not all(map(_ACTION_ID.fullmatch, wanted)):
            return self._counter.notice(_NO_SUCH_LIST, 400)
        read = self._reading.standing if "state" in request.query_params else self._reading.sheet
        sheet = await self._web.store.run(lambda: read(wanted))
        return self._show(request, sheet, status=200 if sheet.fault is None else 400)

    async def decide(self, request: Request) -> Response:
        """Approve what was shown; each item is judged alone."""
        form = await read_batch_form(request)
        if isinstance(form, Refusal):
            return self._counter.notice(form.reason + NOT_RECORDED, form.status)
        if not self._seal(session_of(request)).holds(form.token, form.items, self._web.clock.now()):
            return await self._again(request, form, STALE, 403)
        if form.fault is not None:
            return await self._again(request, form, form.fault, 400)
        try:
            key = await self._counter.unlock(form)
            results = await self._cast(form, key)
        except (VoteRefused, StoreBusy) as error:
            return await self._again(request, form, banner_of(error, is_decision=True), status_of(error))
        await self._counter.wake(result.action for result in results if result.action is not None)
        return await self._tell(request, form, key, results)

    async def _cast(self, form: BatchForm, key: Key) -> Sequence[Result]:
        """Raises `VoteRefused` or `StoreBusy` before anything was cast; after that every item has its own result."""
        return await self._web.store.run(
            lambda: self._web.batches.approve(
                form.items, key, reason=form.reason, via="web", acting_for=form.acting_for
            )
        )

    async def _tell(self, request: Request, form: BatchForm, key: Key, results: Sequence[Result]) -> Response:
        told = await self._web.store.run(lambda: self._reading.told(form.items, results, key.name))
        response = self._counter.render("batch_results.html", told.status, told=told)
        remember_name(response, key.name, is_https=is_https(request))
        return response

    async def _again(self, request: Request, form: BatchForm, banner: Text, status: int) -> Response:
        """The page as it is now, with what was filled in and why it has to be sent again."""
        sheet = await self._web.store.run(
            lambda: self._reading.sheet([item.action_id for item in form.items], shown=form.items)
        )
        if any(row.is_changed for row in sheet.rows):
            banner += _CHANGED
        return self._show(request, sheet, form=form, banner=banner, status=status)

    def _show(
        self,
        request: Request,
        sheet: BatchSheet,
        *,
        form: BatchForm | None = None,
        banner: Text | None = None,
        status: int,
    ) -> Response:
        session = session_of(request)
        operator = remembered_name(request) if form is None else form.operator
        response = self._counter.render(
            "batch.html",
            status,
            sheet=sheet,
            banner=banner,
            token=self._seal(session).token(sheet.items, self._web.clock.now()),
            operator=operator,
            reason="" if form is None else form.reason,
            acting_for="" if form is None else form.acting_for or "",
            lenders=sheet.lenders,
            own=sheet.own_of(operator),
            refresh_s=sheet.refresh_s if banner is None else None,
        )
        keep(response, session, is_https=is_https(request))
        return response

    def _seal(self, session: Session) -> FormSeal:
        return FormSeal(self._web.key, session, "batch")
