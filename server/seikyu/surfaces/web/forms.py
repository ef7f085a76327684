"""The decision form on its way in: what a browser showing our own page sends, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeGuard
from urllib.parse import parse_qsl

from starlette.requests import Request

from seikyu.errors import Text
from seikyu.gate.cards import Card
from seikyu.gate.votes import MAX_REASON, Decision
from seikyu.surfaces.web.session import MAX_NAME

MAX_BODY: Final = 16 * 1024
"""Bytes of a whole form."""

MAX_PASSPHRASE: Final = 1024
"""Characters."""

DECISIONS: Final[Sequence[Decision]] = ("approve", "reject", "return", "revoke")

_FIELDS: Final = frozenset({"token", "digest", "revision", "decision", "operator", "passphrase", "reason"})
_MAY_BE: Final = frozenset({"acting_for"})
"""On the form only while somebody has lent their right."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REVISION: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "application/x-www-form-urlencoded;charset=utf-8"})
_FETCH_HEADERS: Final = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
"""What a browser says of a form sent from our own page. Older browsers say nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not from our page, or not a form of ours."""

    status: int
    reason: Text


@dataclass(frozen=True, slots=True)
class DecisionForm:
    """What an operator filled in. The passphrase is in no `repr`."""

    token: str
    digest: str
    """All 64 hex digits of what was shown."""
    revision: int
    """The one that was shown."""
    decision: Decision
    operator: str
    reason: str
    passphrase: str = field(repr=False)
    acting_for: str | None = None
    """Whose lent right is used."""

    def is_answer_to(self, ask: str | None) -> bool:
        """Whether the page's question, `decide` or `revoke`, is the one that was answered."""
        return ask == ("revoke" if self.decision == "revoke" else "decide")

    def is_about(self, card: Card) -> bool:
        """Whether the card still says what the form's page showed."""
        return (self.digest, self.revision) == (card.digest, card.revision)

    @property
    def fault(self) -> Text | None:
        """What the operator has to fill in otherwise; None when the form is complete."""
        if not self.operator or not self.passphrase:
            return Text("操作者名と合言葉を入力してください。", "Enter your operator name and passphrase.")
        if len(self.reason) > MAX_REASON:
            return Text(
                f"理由は{MAX_REASON}文字以内で書いてください。", f"Keep the reason within {MAX_REASON} characters."
            )
        return None


_ELSEWHERE: Final = Refusal(
    403,
    Text(
        "このページ以外から送られた決定は受け付けません。承認ページを開いて決定してください。",
        "A decision has to come from this page itself. Open the approval page and decide there.",
    ),
)
_NOT_A_FORM: Final = Refusal(415, Text("フォームの形式が違います。", "This is not the form of this page."))
_TOO_LARGE: Final = Refusal(413, Text("送信された内容が大きすぎます。", "What was sent is too large."))
_GARBLED: Final = Refusal(400, Text("フォームの内容を読み取れません。", "The form cannot be read."))


async def read_form(request: Request) -> DecisionForm | Refusal:
    """The form, when the browser says that our own page sent it."""
    if not _is_from_own_page(request):
        return _ELSEWHERE
    if not _is_form(request):
        return _NOT_A_FORM
    body = await _body(request)
    return _TOO_LARGE if body is None else _parse(body)


def _is_from_own_page(request: Request) -> bool:
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if request.headers.getlist("origin") != [own]:
        return False
    return all(request.headers.getlist(name) in ([], [value]) for name, value in _FETCH_HEADERS.items())


def _is_form(request: Request) -> bool:
    kinds = [kind.lower().replace(" ", "") for kind in request.headers.getlist("content-type")]
    return len(kinds) == 1 and kinds[0] in _FORM_TYPES and "content-encoding" not in request.headers


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is larger than `MAX_BODY`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _parse(body: bytes) -> DecisionForm | Refusal:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=len(_FIELDS | _MAY_BE),
        )
    except ValueError:
        return _GARBLED
    values = dict(pairs)
    if len(pairs) != len(values) or frozenset(values) - _MAY_BE != _FIELDS:
        return _GARBLED
    return _form(values)


def _form(values: dict[str, str]) -> DecisionForm | Refusal:
    decision, operator, passphrase = values["decision"], values["operator"].strip(), values["passphrase"]
    acting_for = values.get("acting_for", "").strip()
    is_sound = _DIGEST.fullmatch(values["digest"]) and _REVISION.fullmatch(values["revision"])
    is_short = max(len(operator), len(acting_for)) <= MAX_NAME and len(passphrase) <= MAX_PASSPHRASE
    if not _is_decision(decision) or not is_sound or not is_short:
        return _GARBLED
    return DecisionForm(
        token=values["token"],
        digest=values["digest"],
        revision=int(values["revision"]),
        decision=decision,
        operator=operator,
        reason=" ".join(values["reason"].split()),
        passphrase=passphrase,
        acting_for=acting_for or None,
    )


def _is_decision(value: str) -> TypeGuard[Decision]:
    return value in DECISIONS
