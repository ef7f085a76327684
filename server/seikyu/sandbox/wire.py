"""A request as a twin sees it, an answer as it gives it, and JSON in which money stays exact."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NoReturn, TypeAlias
from urllib.parse import parse_qsl

Json: TypeAlias = "bool | int | Decimal | str | Sequence[Json] | Mapping[str, Json] | None"

_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read to its end. Header names are lower case; `path_ids` come from the route."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    body_too_large: bool = False
    path_ids: tuple[str, ...] = ()

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def query_pairs(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query, keep_blank_values=True)

    def form(self) -> dict[str, str]:
        """Return the form fields.

        Raises:
            ValueError: not a form, not UTF-8, or a field given twice (RFC 6749, 3.2 forbids it).
        """
        if self.media_type != _FORM:
            raise ValueError(f"content type must be {_FORM}")
        pairs = parse_qsl(self.body.decode("utf-8"), keep_blank_values=True)
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a parameter is repeated")
        return dict(pairs)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of a twin. `template` holds `{name}` where a path has an id without a slash."""

    method: str
    template: str
    operation: str
    handle: Callable[[Call], Answer]

    def path_ids(self, path: str) -> tuple[str, ...] | None:
        """Return the ids that `path` carries, or None when it is another path."""
        pattern = re.sub(r"\{\w+\}", "([^/]+)", re.escape(self.template).replace(r"\{", "{").replace(r"\}", "}"))
        found = re.fullmatch(pattern, path)
        return found.groups() if found else None


def json_answer(status: int, value: Json, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, dump_json(value).encode(), headers=headers)


def html_answer(status: int, text: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    page = f"<!doctype html><html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return Answer(status, page.encode(), "text/html; charset=utf-8", headers)


def dump_json(value: Json) -> str:
    """Write `value` with every decimal as the number it is; the standard encoder would need a float."""
    match value:
        case None | bool() | str() | int():
            return json.dumps(value, ensure_ascii=False)
        case Decimal():
            return plain(value)
        case Mapping():
            return "{" + ", ".join(f"{dump_json(key)}: {dump_json(item)}" for key, item in value.items()) + "}"
        case _:
            return "[" + ", ".join(dump_json(item) for item in value) + "]"


def plain(number: Decimal) -> str:
    """Write `number` without an exponent and without zeros that say nothing: 1.50 as 1.5, 1E+3 as 1000."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_json(body: bytes) -> Json:
    """Read JSON strictly: UTF-8, no NaN, no key twice, fractions as Decimal.

    Raises:
        ValueError: the bytes are not that.
    """
    try:
        parsed: Json = json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_without_repeats,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return parsed


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _object_without_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is repeated")
    return dict(pairs)
