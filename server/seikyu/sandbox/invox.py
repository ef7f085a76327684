"""The twin of invox API 1.0.3, as far as Seikyu speaks it: OAuth and the electronic-book storage.

Source: invox API 1.0.3, authentication and 書類登録, read 2026-11-21. Statuses and bodies of errors are not
documented there; those of the twin are guesses.
"""

import binascii
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from seikyu.sandbox.authorization import AuthorizationServer
from seikyu.sandbox.clock import Clock
from seikyu.sandbox.effects import Effect, EffectLog
from seikyu.sandbox.invox_oauth import INVOX_CLIENT
from seikyu.sandbox.wire import Answer, Call, Json, Route, html_answer, json_answer, parse_json

COMPANY_CODE: Final = "SANDBOX-0001"
# "50 MB for the whole request"; the smaller reading of the unit
MAX_REQUEST_BYTES: Final = 50_000_000

_ENTRY_METHODS: Final = ("user", "ocr", "operator")
_MAX_FILE_NAME: Final = 250
_AMOUNT_TEXT: Final = re.compile(r"-?[0-9]+(\.[0-9]{1,3})?")
_MAX_AMOUNT_DIGITS: Final = 15
_DAY_TEXT: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})-|/([0-9]{2})/|([0-9]{2}))([0-9]{2})")
_CUT_AT: Final = {"partner_name": 250, "voucher_number": 30} | {
    f"extension_param{place}": 250 for place in range(1, 11)
}
_KEPT_TEXTS: Final = (
    "corporate_tax_no",
    "transaction_code",
    "transaction_name",
    "department_code",
    "department_name",
    "project_code",
    "project_name",
    "staff_code",
    "staff_name",
    "tag",
)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One document as kept: of the file only its digest and its size in bytes.

    `fields` are the optional ones that were understood, `ignored` the names of those that were not.
    """

    id: str
    url: str
    doc_type: str
    entry_method: str
    file_name: str
    sha256: str
    size: int
    fields: Mapping[str, str]
    tags: tuple[str, ...]
    ignored: tuple[str, ...]
    stored_at: datetime


class _Unfit(Exception):
    """Why a document was not taken."""


@dataclass(slots=True)
class InvoxTwin:
    """`oauth` holds what a test may change about tokens; `documents` is what was stored, oldest first."""

    clock: Clock
    log: EffectLog
    base_url: str = ""
    prefix: str = "/invox"
    body_limit_bytes: int = MAX_REQUEST_BYTES
    company_code: str = COMPANY_CODE
    documents: list[StoredDocument] = field(default_factory=list[StoredDocument])
    oauth: AuthorizationServer = field(init=False)
    routes: Sequence[Route] = field(init=False)

    def __post_init__(self) -> None:
        self.oauth = AuthorizationServer(self.clock, INVOX_CLIENT)
        ways: list[tuple[str, str, str, Callable[[Call], Answer]]] = [
            # the OAuth paths end with a slash, the storage does not; invox API 1.0.3, read 2026-11-21
            ("GET", "/oauth2/authorize/", "authorize", self.oauth.authorize),
            ("POST", "/oauth2/token/", "token", self.oauth.token),
            ("POST", "/oauth2/revoke_token/", "revoke_token", self.oauth.revoke),
            ("POST", "/api/public/e_storage", "register_e_storage_document", self._register),
            ("GET", "/api/public/e_storage", "look_at_e_storage", self._look),
        ]
        self.routes = [
            Route(method, f"{self.prefix}{path}", f"invox.{name}", handle) for method, path, name, handle in ways
        ]

    @property
    def effects(self) -> list[Effect]:
        return self.log.of("invox")

    def reset(self) -> None:
        """Forget documents and tokens; the settings stay."""
        self.documents.clear()
        self.oauth.forget()

    def failure(self, status: int, call: Call) -> Answer:
        if status >= 500:  # noqa: PLR2004 - from here on it is the server's own fault
            return html_answer(status, f"{status} Service trouble")
        return _refused(status, f"{call.method} refused")

    def _look(self, call: Call) -> Answer:
        """There is nothing to read; a guess: the token is judged before the method."""
        return self._stranger(call) or _refused(405, "GET refused")

    def _stranger(self, call: Call) -> Answer | None:
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.oauth.accepts(token):
            return None
        challenge = ("www-authenticate", 'Bearer error="invalid_token"')
        return _refused(401, "access token is missing, unknown or expired", challenge)

    def _register(self, call: Call) -> Answer:
        """Store a document. The same request again stores another one."""
        if refusal := self._stranger(call):
            return refusal
        token = call.headers["authorization"].partition(" ")[2]
        if "write" not in self.oauth.scope_of(token):
            return _refused(403, "the scope does not allow this")
        if call.body_too_large:
            return _refused(413, f"the request is larger than {MAX_REQUEST_BYTES} bytes")
        try:
            document = self._read(call)
        except _Unfit as unfit:
            return _refused(400, str(unfit))
        self.documents.append(document)
        self.log.record(
            "invox.register_e_storage_document",
            natural_key=document.file_name,
            resource_id=document.id,
            body=call.body,
        )
        return json_answer(200, {"id": document.id, "url": document.url})

    def _read(self, call: Call) -> StoredDocument:
        body = _object(call)
        if body.get("invox_company_code") != self.company_code:
            raise _Unfit("invox_company_code is missing or unknown")
        sent = body.get("e_storage")
        if not isinstance(sent, Mapping):
            raise _Unfit("e_storage is missing")
        content = _content(sent)
        number = str(1_000_001 + len(self.documents))
        fields, ignored = _optional_fields(sent)
        return StoredDocument(
            id=number,
            url=f"{self.base_url}/e_storage/documents/{number}",
            doc_type=_required(sent, "doc_type"),
            entry_method=_entry_method(sent),
            file_name=_file_name(sent),
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            fields=fields,
            tags=_tags(sent),
            ignored=ignored,
            stored_at=self.clock.now(),
        )


def _refused(status: int, detail: str, *headers: tuple[str, str]) -> Answer:
    return json_answer(status, {"detail": detail}, headers=headers)


def _object(call: Call) -> Mapping[str, Json]:
    if call.media_type != "application/json":
        raise _Unfit("content type must be application/json")
    try:
        body = parse_json(call.body)
    except ValueError as error:
        raise _Unfit("the body is not JSON") from error
    if not isinstance(body, Mapping):
        raise _Unfit("the body is not an object")
    return body


def _required(sent: Mapping[str, Json], name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str) or not value:
        raise _Unfit(f"{name} is required")
    return value


def _entry_method(sent: Mapping[str, Json]) -> str:
    method = _required(sent, "entry_method")
    if method not in _ENTRY_METHODS:
        raise _Unfit(f"entry_method must be one of {', '.join(_ENTRY_METHODS)}")
    return method


def _file_name(sent: Mapping[str, Json]) -> str:
    name = _required(sent, "file_name")
    stem, dot, extension = name.rpartition(".")
    if len(name) > _MAX_FILE_NAME or not (stem and dot and extension):
        raise _Unfit(f"file_name needs an extension and at most {_MAX_FILE_NAME} characters")
    return name


def _content(sent: Mapping[str, Json]) -> bytes:
    try:
        return binascii.a2b_base64(_required(sent, "file_content").encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise _Unfit("file_content is not base64") from error


def _optional_fields(sent: Mapping[str, Json]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read what is optional; what does not fit is passed over and the registration still succeeds."""
    fields = {"currency_code": "JPY"}
    ignored: list[str] = []
    for name, read in _READERS.items():
        value = sent.get(name)
        text = read(value) if isinstance(value, str) else None
        if text is not None:
            fields[name] = text
        elif value is not None:
            ignored.append(name)
    return fields, tuple(ignored)


def _tags(sent: Mapping[str, Json]) -> tuple[str, ...]:
    tags = sent.get("tags")
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def _amount(text: str) -> str | None:
    digits = sum(letter.isdigit() for letter in text)
    return text if _AMOUNT_TEXT.fullmatch(text) and digits <= _MAX_AMOUNT_DIGITS else None


def _day(text: str) -> str | None:
    found = _DAY_TEXT.fullmatch(text)
    if found is None:
        return None
    year, dashed, slashed, bare, day = found.groups()
    try:
        return date(int(year), int(dashed or slashed or bare), int(day)).isoformat()
    except ValueError:
        return None


def _currency(text: str) -> str | None:
    return text if re.fullmatch("[A-Z]{3}", text) else None


def _cut(at: int) -> Callable[[str], str | None]:
    return lambda text: text[:at]


_READERS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "transaction_amount": _amount,
    "transaction_date": _day,
    "currency_code": _currency,
    **{name: _cut(at) for name, at in _CUT_AT.items()},
    **dict.fromkeys(_KEPT_TEXTS, _cut(_MAX_FILE_NAME)),
}
