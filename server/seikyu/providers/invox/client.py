"""Speaks invox's HTTP: sends claimed requests once and says what became of them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, Final, TypeVar, cast

from anyio import to_thread
from pydantic import BaseModel, ValidationError

from seikyu.errors import ConfigurationError, LoginRequired, ProviderRefused, SeikyuError, StoreDamaged, Text
from seikyu.providers.addresses import build_url, checked_base_url
from seikyu.providers.answers import HttpAnswer
from seikyu.providers.bodies import Body, body_with_document, json_body
from seikyu.providers.http import HttpEdge, Written
from seikyu.providers.invox.rules import api_root
from seikyu.spec import (
    Connection,
    Credential,
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
from seikyu.vault.secrets import connect_again

AnswerT = TypeVar("AnswerT", bound=BaseModel)

_CODE: Final = re.compile(r"[a-z0-9_.\-]{1,60}", re.ASCII)
_MAX_CODES: Final = 5
_UNAUTHORIZED: Final = 401
_TOO_MANY_REQUESTS: Final = 429
_CLIENT_CANCELED: Final = 499
_HINTS: Final = {
    403: Text(
        "契約プラン（プロフェッショナル）とAPIの権限を確認してください。",
        "Check the plan (professional) and the scopes of the connection.",
    ),
    413: Text("書類を小さくしてください。", "Make the document smaller."),
}
"""What a status means is assumed, from public notes: invox's reference has no table of them."""


class InvoxClient:
    """One invox account. `http` is shared; the rest is this connection's own."""

    def __init__(self, http: HttpEdge, connection: Connection, credential: Credential, open_file: OpenFile) -> None:
        self._http = http
        self._connection = connection
        self._root = api_root(checked_base_url(connection.base_url))
        self._credential = credential
        self._open_file = open_file
        self._renewed: str | None = None
        """What the last refusal brought, until invox takes it: refused as well, no other would heal it."""

    async def read(
        self,
        operation: Operation[AnswerT],
        *,
        path: Mapping[str, str] | None = None,  # noqa: ARG002 - the shape of spec.Reader
        query: Sequence[tuple[str, str]] = (),  # noqa: ARG002 - the shape of spec.Reader
    ) -> AnswerT:
        """Raise `ProviderRefused`: the API, version 1.0.3, registers and reads nothing back."""
        raise ProviderRefused(
            Text(
                f"invoxのAPIでは登録済みの書類を読み取れません({operation.name})。",
                f"invox's API cannot read documents back ({operation.name}).",
            ),
            Text("invoxの画面で確認してください。", "Look at them on invox's own screen."),
        )

    async def send(self, operation: WriteOperation[Any], request: ProviderRequest, *, fence: Fence) -> Sent:
        """Send `request` once and judge what came back; see `spec.Sender`."""
        try:
            name, secret = await self._credential.header()
            url = build_url(self._root, operation.path, request.path)
            async with self._body_of(request) as body:
                written = await self._http.write(operation.method, url, headers={name: secret}, body=body, fence=fence)
            if _is_expired(written):
                return self._still_refused() if secret == self._renewed else await self._renew(secret)
        except SeikyuError as error:  # before the first byte, or after a 401: invox did nothing
            is_for_a_person = isinstance(error, LoginRequired | ConfigurationError | StoreDamaged)
            return NotSent(error.what + error.next_step, needs_person=is_for_a_person)
        if isinstance(written, HttpAnswer):
            self._renewed = None
        return _judge(operation, request, written)

    async def _renew(self, refused: str) -> NotSent:
        """A 401 is given before anything is done (RFC 9110, 15.5.2), so the claim may be used again."""
        _, self._renewed = await self._credential.header(refused=refused)
        return NotSent(
            Text(
                "invoxがアクセストークンの期限切れを告げたため、更新しました。書類は登録されていません。",
                "invox called the access token expired, so it was renewed. The document was not stored.",
            )
        )

    def _still_refused(self) -> NotSent:
        what = Text(
            "invoxが、更新したばかりのアクセストークンも受け付けません(HTTP 401)。書類は登録されていません。"
            "invoxの契約と権限を確認するか、",
            "invox refuses the renewed access token as well (HTTP 401). The document was not stored. Check the plan and"
            " the rights at invox, or connect again.",
        )
        return NotSent(what + connect_again(self._connection))  # tried less and less often: the document travels along

    @asynccontextmanager
    async def _body_of(self, request: ProviderRequest) -> AsyncGenerator[Body]:
        data = request.body or {}
        if not request.files:
            yield json_body(data)
            return
        (file,) = request.files  # invox takes one document a call
        with closing(await to_thread.run_sync(self._open_file, file.sha256)) as content:
            yield body_with_document(data, file, content)


def _judge(operation: WriteOperation[Any], request: ProviderRequest, written: Written) -> Sent:
    if not isinstance(written, HttpAnswer):
        return written
    if written.is_success:
        return _settled(operation, request, written)
    if not _is_refusal(written):
        return Lost(_not_from_invox(written.status), written.status)
    if operation.is_too_often is not None and operation.is_too_often(written.status, written.json):
        return NotSent(_TOO_OFTEN)
    if written.status == _TOO_MANY_REQUESTS:
        # invox documents no rate limit, so nothing says that a 429 comes before the document is stored
        return Lost(_busy(), written.status)
    return Refused(_refusal(written.status), written.status, _codes(written.json))


def _settled(operation: WriteOperation[Any], request: ProviderRequest, answer: HttpAnswer) -> Sent:
    try:
        model: BaseModel = operation.answer.model_validate(answer.json)
    except ValidationError:
        return Lost(_no_id(answer.status), answer.status)
    return operation.settle(request, model)


def _is_refusal(answer: HttpAnswer) -> bool:
    """Whether it can be invox's own no: an object, or a list with something in it. A broken-off call is none."""
    has_a_form = type(answer.json) in {dict, list} and answer.json != []
    return has_a_form and answer.status != _CLIENT_CANCELED


def _is_expired(written: Written) -> bool:
    return isinstance(written, HttpAnswer) and _is_refused_token(written)


def _is_refused_token(answer: HttpAnswer) -> bool:
    """A body that is no JSON may be empty, as OAuth allows: then the challenge, or its silence, is invox's own word."""
    is_its_own = _is_refusal(answer) if answer.is_json else answer.says_token_is_over
    return answer.status == _UNAUTHORIZED and is_its_own


def _codes(body: object) -> tuple[str, ...]:
    """Error codes in invox's answer: only what has the shape of a code. Where they stand is assumed."""
    found: list[str] = []
    for entry in _entries(body):
        for key in ("code", "error", "error_code"):
            code = entry.get(key)
            if isinstance(code, str) and _CODE.fullmatch(code):
                found.append(code)
    return tuple(dict.fromkeys(found[:_MAX_CODES]))


def _entries(body: object) -> list[Mapping[str, object]]:
    if isinstance(body, dict):
        members = cast("dict[str, object]", body)
        return [members, *_entries(members.get("errors"))]
    if isinstance(body, list):
        items = cast("list[object]", body)
        return [cast("dict[str, object]", item) for item in items if isinstance(item, dict)]
    return []


def _refusal(status: int) -> Text:
    hint = _HINTS.get(status) or Text("内容を確認してください。", "Check the fields of the request.")
    return Text(f"invoxが登録を拒否しました(HTTP {status})。", f"invox refused the document (HTTP {status}).") + hint


def _not_from_invox(status: int) -> Text:
    return Text(
        f"APIの形式ではない応答(HTTP {status})です。invoxの手前の機器が返した可能性があります。",
        f"An answer (HTTP {status}) that is not in the API's format; it may come from before invox.",
    )


_TOO_OFTEN: Final = Text(
    "invoxが回数の上限を告げ、登録しませんでした。", "invox says it is asked too often and stored nothing."
)


def _busy() -> Text:
    return Text(
        "invoxが混雑を告げました(HTTP 429)。登録されたかどうかは文書化されていません。",
        "invox asks to wait (HTTP 429); whether it stored the document is not documented.",
    )


def _no_id(status: int) -> Text:
    return Text(
        f"invoxの応答(HTTP {status})に書類IDがありません。",
        f"invox's answer (HTTP {status}) holds no document id.",
    )
