"""Speaks Money Forward Kessai's HTTP: reads, and sends what was claimed, once.

What an answer proves: a 200 that is the documented object was done; a 4xx in MFK's own format was refused; a
429 in that format was not processed. Everything else about a write is unknown.
Source: MFK API v2 reference, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from seikyu import settings
from seikyu.errors import ConfigurationError, LoginRequired, ProviderBusy, ProviderUnavailable, SeikyuError, Text
from seikyu.providers.http import HttpAnswer, HttpEdge, build_url, json_body
from seikyu.providers.mfkessai.refusals import CONFLICT, MfkRefused, error_codes, refusal_text
from seikyu.spec import (
    Connection,
    Credential,
    Environment,
    Fence,
    Lost,
    NotSent,
    OpenFile,
    Operation,
    ProviderRequest,
    Refused,
    Sent,
    WriteOperation,
)

AnswerT = TypeVar("AnswerT", bound=BaseModel)

DEFAULT_BASE_URLS: Final[Mapping[Environment, str]] = {
    environment: url for (provider, environment), url in settings.DEFAULT_BASE_URLS.items() if provider == "mfkessai"
}

_UNAUTHORIZED: Final = 401
_CONFLICT: Final = 409
_TOO_MANY_REQUESTS: Final = 429
_CLIENT_CANCELED: Final = 499
_HALF_DONE: Final = "request_canceled"
"""A refusal that refuses nothing: the processing "may be incomplete"."""
_KEY_REFUSED: Final = Text("MFKがAPIキーを受け付けません。", "MFK does not accept the API key.")


class MfKessaiClient:
    """One MFK account: a `spec.Reader` and a `spec.Sender`. `http` is shared, the rest is its own."""

    def __init__(
        self,
        http: HttpEdge,
        connection: Connection,
        credential: Credential,
        open_file: OpenFile,  # noqa: ARG002 - the shape of every client; MFK takes documents another way
    ) -> None:
        self._http = http
        self._connection = connection
        self._credential = credential

    async def read(
        self,
        operation: Operation[AnswerT],
        *,
        path: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
    ) -> AnswerT:
        """Run a read.

        Raises:
            MfkRefused: MFK said no; 404 for what does not exist.
            ProviderBusy, ProviderUnavailable: no answer that can be used.
            LoginRequired: the key is not accepted.
            InvalidArguments: a path parameter is not an id.
        """
        url = build_url(self._connection.base_url, operation.path, path or {})
        name, secret = await self._credential.header()
        answer = await self._http.read(url, headers={name: secret}, query=query)
        if not answer.is_success:
            raise self._read_error(operation, answer)
        try:
            model = operation.answer.model_validate(answer.json)
        except ValidationError:
            raise _not_understood(answer.status) from None
        if path and getattr(model, "id", None) not in path.values():  # the answer is about another object
            raise _not_understood(answer.status)
        return model

    async def send(self, operation: WriteOperation[Any], request: ProviderRequest, *, fence: Fence) -> Sent:
        """Send `request` once and judge what came back; see `spec.Sender`."""
        try:
            name, secret = await self._credential.header()
            url = build_url(self._connection.base_url, operation.path, request.path)
        except SeikyuError as error:  # before the first byte
            is_for_a_person = isinstance(error, LoginRequired | ConfigurationError)
            return NotSent(error.what + error.next_step, needs_person=is_for_a_person)
        body = None if request.body is None else json_body(request.body)
        written = await self._http.write(operation.method, url, headers={name: secret}, body=body, fence=fence)
        if not isinstance(written, HttpAnswer):
            return written
        if written.is_success:
            return _settled(operation, request, written)
        return _refused(operation, written)

    def _read_error(self, operation: Operation[AnswerT], answer: HttpAnswer) -> SeikyuError:
        codes = error_codes(answer.json)
        if answer.status == _UNAUTHORIZED:
            name = self._connection.name
            step = Text(f"seikyu connect {name} で接続し直してください。", f"Connect again: seikyu connect {name}")
            return LoginRequired(_KEY_REFUSED, step)
        if answer.status == _TOO_MANY_REQUESTS:
            return ProviderBusy(_BUSY, Text("少し待ってからもう一度お試しください。", "Wait a little and try again."))
        if codes is None:
            return _not_understood(answer.status)
        return MfkRefused(refusal_text(operation.title, codes), status=answer.status, codes=codes)


def _settled(operation: WriteOperation[Any], request: ProviderRequest, answer: HttpAnswer) -> Sent:
    try:
        model: BaseModel = operation.answer.model_validate(answer.json)
    except ValidationError:
        return Lost(_UNLIKE_MFK, answer.status)
    return operation.settle(request, model)


def _refused(operation: WriteOperation[Any], answer: HttpAnswer) -> NotSent | Refused | Lost:
    if operation.is_too_often is not None and operation.is_too_often(answer.status, answer.json):
        return NotSent(_BUSY)
    codes = error_codes(answer.json)
    if codes is None or not answer.is_client_error:
        return Lost(_UNLIKE_MFK, answer.status)
    if answer.status == _TOO_MANY_REQUESTS:
        return NotSent(_BUSY)  # errors page: nothing was processed
    if answer.status == _CLIENT_CANCELED or _HALF_DONE in codes:
        return Lost(Text("MFKの処理が途中で打ち切られました。", "MFK broke the processing off midway."), answer.status)
    reason = refusal_text(operation.title, codes)
    if answer.status == _UNAUTHORIZED:
        reason = _KEY_REFUSED + Text("接続し直してください。", "Connect the account again.")
    conflict = (CONFLICT,) if answer.status == _CONFLICT else ()
    return Refused(reason, answer.status, codes + conflict)


def _not_understood(status: int) -> ProviderUnavailable:
    return ProviderUnavailable(
        Text(
            f"MFKの応答（HTTP {status}）が仕様の形ではありません。",
            f"MFK's answer (HTTP {status}) is not in the documented format.",
        ),
        Text("しばらくしてからもう一度お試しください。", "Try again in a while."),
    )


_BUSY: Final = Text("MFKが混み合っていて処理しませんでした。", "MFK is busy and processed nothing.")
_UNLIKE_MFK: Final = Text(
    "応答がMFKの形式ではないため、登録されたかどうか分かりません。",
    "The answer is not in MFK's format, so whether it took effect is not known.",
)
