"""The forms on their way in: what a browser showing our own page sends, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypedDict, TypeGuard
from urllib.parse import parse_qsl

from starlette.requests import Request

from seikyu.errors import Text
from seikyu.gate.batches import Item
from seikyu.gate.cards import Card
from seikyu.gate.votes import MAX_REASON, Decision
from seikyu.settings import MAX_BATCH
from seikyu.surfaces.web.session import MAX_NAME

MAX_BODY: Final = 16 * 1024
"""Bytes of a whole form."""

MAX_BATCH_BODY: Final = MAX_BODY + 128 * MAX_BATCH
"""The same of a batch: an item takes 97."""

MAX_PASSPHRASE: Final = 1024
"""Characters."""

DECISIONS: Final[Sequence[Decision]] = ("approve", "reject", "return", "revoke")

_SIGNED: Final = frozenset({"token", "decision", "operator", "passphrase", "reason"})
_FIELDS: Final = _SIGNED | {"digest", "revision"}
_MAY_BE: Final = frozenset({"acting_for"})
"""On the form only while somebody has lent their right."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REVISION: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_ITEM: Final = re.compile(rf"(act-[0-9a-z]{{20}})\.({_REVISION.pattern})\.({_DIGEST.pattern})", re.ASCII)
_FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "application/x-www-form-urlencoded;charset=utf-8"})
_Pairs: TypeAlias = Sequence[tuple[str, str]]
_FETCH_HEADERS: Final = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
"""What a browser says of a form sent from our own page. Older browsers say nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not from our page, or not a form of ours."""

    status: int
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedForm:
    """What an operator filled in, whatever it is about. The passphrase is in no `repr`."""

    token: str
    operator: str
    reason: str
    passphrase: str = field(repr=False)
    acting_for: str | None = None
    """Whose lent right is used."""

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


class _Signature(TypedDict):
    """The fields of `SignedForm`."""

    token: str
    operator: str
    reason: str
    passphrase: str
    acting_for: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionForm(SignedForm):
    """A decision on one request."""

    digest: str
    """All 64 hex digits of what was shown."""
    revision: int
    """The one that was shown."""
    decision: Decision

    @property
    def lacking(self) -> Text | None:
        """What still has to be filled in: who is refused hears why, here as in a terminal and in Slack."""
        if self.fault is None and self.decision in {"reject", "return"} and not self.reason:
            return Text("却下・差戻しの理由を書いてください。", "Say why you reject it or send it back.")
        return self.fault

    def is_answer_to(self, ask: str | None) -> bool:
        """Whether the page's question, `decide` or `revoke`, is the one that was answered."""
        return ask == ("revoke" if self.decision == "revoke" else "decide")

    def is_about(self, card: Card) -> bool:
        """Whether the card still says what the form's page showed."""
        return (self.digest, self.revision) == (card.digest, card.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchForm(SignedForm):
    """An approval of many requests."""

    items: tuple[Item, ...]
    """What was shown, in the order it was shown in; each request once."""


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
    pairs = await _pairs(request, max_body=MAX_BODY, max_fields=len(_FIELDS | _MAY_BE))
    return pairs if isinstance(pairs, Refusal) else _decision_form(pairs)


async def read_batch_form(request: Request) -> BatchForm | Refusal:
    """The form of a batch, when the browser says that our own page sent it."""
    pairs = await _pairs(request, max_body=MAX_BATCH_BODY, max_fields=len(_SIGNED | _MAY_BE) + MAX_BATCH)
    return pairs if isinstance(pairs, Refusal) else _batch_form(pairs)


async def _pairs(request: Request, *, max_body: int, max_fields: int) -> _Pairs | Refusal:
    if not _is_from_own_page(request):
        return _ELSEWHERE
    if not _is_form(request):
        return _NOT_A_FORM
    body = await _body(request, max_body)
    return _TOO_LARGE if body is None else _parse(body, max_fields)


def _is_from_own_page(request: Request) -> bool:
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if request.headers.getlist("origin") != [own]:
        return False
    return all(request.headers.getlist(name) in ([], [value]) for name, value in _FETCH_HEADERS.items())


def _is_form(request: Request) -> bool:
    kinds = [kind.lower().replace(" ", "") for kind in request.headers.getlist("content-type")]
    return len(kinds) == 1 and kinds[0] in _FORM_TYPES and "content-encoding" not in request.headers


async def _body(request: Request, limit: int) -> bytes | None:
    """The body, or None as soon as it is larger than `limit` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def _parse(body: bytes, max_fields: int) -> _Pairs | Refusal:
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=max_fields,
        )
    except ValueError:
        return _GARBLED


def _decision_form(pairs: _Pairs) -> DecisionForm | Refusal:
    values = _values(pairs, _FIELDS)
    if values is None or not _DIGEST.fullmatch(values["digest"]) or not _REVISION.fullmatch(values["revision"]):
        return _GARBLED
    decision = values["decision"]
    if not _is_decision(decision):
        return _GARBLED
    return DecisionForm(
        digest=values["digest"], revision=int(values["revision"]), decision=decision, **_signature(values)
    )


def _batch_form(pairs: _Pairs) -> BatchForm | Refusal:
    values = _values([pair for pair in pairs if pair[0] != "item"], _SIGNED)
    items = _items(value for name, value in pairs if name == "item")
    if values is None or items is None or values["decision"] != "approve":
        return _GARBLED
    return BatchForm(items=items, **_signature(values))


def _items(values: Iterable[str]) -> tuple[Item, ...] | None:
    """What was shown; None when it is nothing, a request twice, or not an item."""
    found = [_ITEM.fullmatch(value) for value in values]
    items = tuple(Item(match[1], match[3], int(match[2])) for match in found if match is not None)
    are_each_once = len({item.action_id for item in items}) == len(found)
    return items if found and are_each_once else None


def _values(pairs: _Pairs, fields: frozenset[str]) -> dict[str, str] | None:
    """Exactly these fields, each once and none too long, or None."""
    values = dict(pairs)
    if len(pairs) != len(values) or frozenset(values) - _MAY_BE != fields:
        return None
    names = (values["operator"].strip(), values.get("acting_for", "").strip())
    is_short = max(map(len, names)) <= MAX_NAME and len(values["passphrase"]) <= MAX_PASSPHRASE
    return values if is_short else None


def _signature(values: Mapping[str, str]) -> _Signature:
    return _Signature(
        token=values["token"],
        operator=values["operator"].strip(),
        reason=" ".join(values["reason"].split()),
        passphrase=values["passphrase"],
        acting_for=values.get("acting_for", "").strip() or None,
    )


def _is_decision(value: str) -> TypeGuard[Decision]:
    return value in DECISIONS
