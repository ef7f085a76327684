"""invox's operation table: what Seikyu can ask of it, how a person reads it, and what its answer proves."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast
from urllib.parse import urlsplit

from seikyu.errors import Text
from seikyu.models import shown
from seikyu.providers.invox.commands import UploadEStorageDocument
from seikyu.providers.invox.models import EStorageRegistered
from seikyu.providers.invox.rules import DOCUMENT_FIELD, check_request_size, checked_file_name, company_code
from seikyu.spec import (
    CardLine,
    Connection,
    Different,
    Done,
    FileDigest,
    Json,
    OutcomeClass,
    ProviderRequest,
    StoredFile,
    WriteOperation,
)

DEFAULT_BASE_URL: Final = "https://api.invox.jp"

_LABELS: Final = {
    "doc_type": Text("書類名", "Document"),
    "file_name": Text("ファイル名", "File name"),
    "partner_name": Text("取引先", "Partner"),
    "transaction_amount": Text("金額", "Amount"),
    "currency_code": Text("通貨", "Currency"),
    "transaction_date": Text("取引日", "Transaction date"),
    "corporate_tax_no": Text("登録番号", "Registration number"),
    "voucher_number": Text("伝票番号", "Voucher number"),
    "tags": Text("タグ", "Tags"),
    "entry_method": Text("データ化方法", "Entry method"),
}
_ENTRY_METHODS: Final = {
    "user": "自分で入力 (user)",
    "ocr": "AI OCR (ocr)",
    "operator": "オペレーター入力 (operator)",
}
_LONGEST_VALUE: Final = 6000
"""Code points: 20 tags of 250 and their commas; a card never hides a part of what is sent."""
_OPTIONAL: Final = (
    "partner_name",
    "transaction_amount",
    "currency_code",
    "transaction_date",
    "corporate_tax_no",
    "voucher_number",
    "tags",
)

_PINNED: Final = ("partner_name", "corporate_tax_no", "transaction_amount", "currency_code")
_NOT_REPEATED: Final = (None, "")
_DAY: Final = re.compile(r"^(\d{4})[-/](\d\d)[-/](\d\d)$", re.ASCII)


def e_storage_request(command: UploadEStorageDocument, connection: Connection, document: StoredFile) -> ProviderRequest:
    """The exact request for 書類登録; the document's base64 joins it when it is sent.

    Raises:
        InvalidArguments: the file name or the size does not fit invox.
        ConfigurationError: the connection has no company code.
    """
    said = command.model_dump(mode="json", include=set(_OPTIONAL), exclude_none=True)
    e_storage = {
        "doc_type": command.doc_type,
        "entry_method": command.entry_method,
        "file_name": checked_file_name(document.name),
        **said,
    }
    body = {"invox_company_code": company_code(connection), "e_storage": e_storage}
    check_request_size(body, document.size)
    digest = FileDigest(name=document.name, size=document.size, sha256=document.sha256, field=DOCUMENT_FIELD)
    return ProviderRequest(operation=REGISTER_E_STORAGE_DOCUMENT.name, body=body, files=(digest,))


def _describe(request: ProviderRequest) -> tuple[CardLine, ...]:
    """Every field of the stored request, the ones we know first: nothing is sent that is not shown."""
    body: Mapping[str, Any] = request.body or {}
    e_storage: Mapping[str, Any] = body.get("e_storage", {})
    known = [key for key in _LABELS if key in e_storage]
    others = sorted(e_storage.keys() - _LABELS.keys())
    return (
        *(CardLine(_label(key), _value(key, e_storage[key])) for key in (*known, *others)),
        *_file_lines(request.files),
        CardLine(Text("企業ID", "Company id"), shown(str(body.get("invox_company_code", "")), 30)),
    )


def _file_lines(files: tuple[FileDigest, ...]) -> tuple[CardLine, ...]:
    return tuple(
        line
        for file in files
        for line in (
            CardLine(Text("サイズ", "Size"), f"{file.size:,} bytes"),
            CardLine(Text("SHA-256", "SHA-256"), shown(file.sha256, 64)),
        )
    )


def _pinned(request: ProviderRequest) -> Json:
    """Account, partner and money; an operator who finds these wrong sends the request back."""
    body: Mapping[str, Any] = request.body or {}
    e_storage: Mapping[str, Any] = body.get("e_storage", {})
    return [body.get("invox_company_code"), *(e_storage.get(name) for name in _PINNED)]


def _label(key: str) -> Text:
    return _LABELS.get(key) or Text(shown(key, 40), shown(key, 40))


def _value(key: str, value: object) -> str:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    text = shown(", ".join(str(item) for item in items), _LONGEST_VALUE)
    return _ENTRY_METHODS.get(text, text) if key == "entry_method" else text


def _settle(request: ProviderRequest, answer: EStorageRegistered) -> Done | Different:
    """An id is all the proof invox gives: its answer is documented to repeat nothing.

    One that names an error beside the id, or repeats another account, file, partner or amount, is for a person.
    """
    reference, url = shown(answer.id, 200), answer.url
    if odd := _contradictions(request, answer.model_extra or {}):
        return Different(_not_as_sent(odd), reference)
    is_invox_page = isinstance(url, str) and _is_invox_page(url)
    return Done(reference, {"url": shown(str(url), 500)} if is_invox_page else {})


def _contradictions(request: ProviderRequest, beside: Mapping[str, object]) -> list[str]:
    """Our names of what the answer says otherwise."""
    body: Mapping[str, Any] = request.body or {}
    sent = {**body.get("e_storage", {}), "invox_company_code": body.get("invox_company_code")}
    inner = beside.get("e_storage")
    said = {**beside, **(cast("Mapping[str, object]", inner) if isinstance(inner, dict) else {})}
    errors = [name for name in ("error", "errors") if said.get(name)]
    others = [
        name
        for name in ("invox_company_code", "file_name", "transaction_date", *_PINNED)
        if said.get(name) not in _NOT_REPEATED and sent.get(name) and not _is_same(said[name], sent[name])
    ]
    return errors + others


def _is_same(said: object, sent: object) -> bool:
    """The same text in whatever width and spacing, the same number, or the same day in one of invox's three forms."""
    ours, theirs = _plain(sent), _plain(said)
    return ours == theirs or _DAY.sub(r"\1\2\3", ours) == _DAY.sub(r"\1\2\3", theirs) or _is_same_number(ours, theirs)


def _is_same_number(ours: str, theirs: str) -> bool:
    try:
        return Decimal(ours) == Decimal(theirs.replace(",", ""))
    except InvalidOperation:
        return False


def _plain(text: object) -> str:
    return " ".join(unicodedata.normalize("NFKC", str(text)).split())


def _not_as_sent(names: list[str]) -> Text:
    said = ", ".join(names)
    return Text(
        f"invoxの応答が書類IDと矛盾しています（{said}）。invoxの画面で確認してください。",
        f"invox's answer contradicts the document id it gives ({said}). Look at invox's own screen.",
    )


def _is_invox_page(url: str) -> bool:
    """Only invox's own pages are passed on; any other address in an answer could be bait."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and (parts.hostname or "").endswith(".invox.jp") and "@" not in parts.netloc


REGISTER_E_STORAGE_DOCUMENT: Final = WriteOperation(
    name="invox.register_e_storage_document",
    provider="invox",
    method="POST",
    path="/e_storage",
    answer=EStorageRegistered,
    title=Text("電子帳簿保存に書類を登録", "Store a document in e-storage"),
    outcome_class=OutcomeClass.D,  # no key, no list and no get in 1.0.3: only a person can look
    describe=_describe,
    settle=_settle,
    pinned=_pinned,
)

OPERATIONS: Final = (REGISTER_E_STORAGE_DOCUMENT,)
