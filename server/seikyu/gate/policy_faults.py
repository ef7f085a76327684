"""What is wrong in a policy file, for the person who wrote it: the line, what was read, what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pydantic_core import PydanticCustomError

from seikyu.errors import ConfigurationError, Text
from seikyu.models import shown

MAX_READ: Final = 60
"""Characters of a wrong value that are repeated."""

MAX_FAULTS: Final = 20
"""Faults told at once."""

Path: TypeAlias = tuple[str | int, ...]
Words: TypeAlias = Mapping[str, Sequence[str]]
_Open: TypeAlias = tuple[Path, int, int]
"""A list that goes on: its key, how many brackets are open, and which element comes."""

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(
    r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_STRINGS: Final = re.compile(r"\"\"\"|'''|\"(?:\\.|[^\"\\])*\"|'[^']*'|#.*")
_PLACE: Final = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")


class Places:
    """Where each table and key of a TOML text begins. Only asked about text that TOML accepts."""

    def __init__(self, source: str) -> None:
        self._lines: dict[Path, int] = {}
        self._counts: dict[str, int] = {}
        self._table: Path = ()
        self._open: _Open | None = None
        quote: str | None = None
        for number, line in enumerate(source.splitlines(), 1):
            if quote is None:
                self._read(number, line)
            quote = _still_open(line, quote)

    def _read(self, number: int, line: str) -> None:
        if self._open is not None:
            self._go_on(number, _plain(line), self._open)
        elif header := _HEADER.match(line):
            self._table = self._enter(_parts(header[2]), is_row=header[1] == "[[")
            self._lines[self._table] = number
        elif key := _KEY.match(line):
            path = (*self._table, *_parts(key[1]))
            self._lines[path] = number
            rest = _plain(line[key.end() :])
            if _depth(rest) > 0:
                self._go_on(number, rest, (path, 0, 0))

    def _go_on(self, number: int, text: str, at: _Open) -> None:
        """A list over several lines: each line is the place of the elements that begin on it."""
        path, depth, element = at
        for char in text:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(char, 0)
            if char == "," and depth == 1:
                element += 1
            elif not char.isspace() and char not in "[]":
                self._lines.setdefault((*path, element), number)
        self._open = (path, depth, element) if depth > 0 else None

    def _enter(self, parts: list[str], *, is_row: bool) -> Path:
        name = ".".join(parts)
        if is_row:
            self._counts[name] = self._counts.get(name, -1) + 1
            return (*parts, self._counts[name])
        inside = self._counts.get(parts[0])
        return tuple(parts) if inside is None else (parts[0], inside, *parts[1:])

    def line(self, path: Path) -> int:
        """The line of a key or of the table around it; the first line for what is not there at all."""
        inside = [line for known, line in self._lines.items() if known[: len(path)] == path]
        if path and inside:
            return min(inside)
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return 1

    def fault(self, path: Path, said: Text) -> Text:
        """`said`, after the line it is about."""
        return at_line(self.line(path), said)


def _parts(name: str) -> list[str]:
    return [part.strip().strip("\"'") for part in name.split(".")]


def _plain(line: str) -> str:
    """A line without its strings and its comment; a string leaves one letter behind."""
    return _STRINGS.sub(lambda found: "" if found[0].startswith("#") else "s", line)


def _depth(text: str) -> int:
    return sum({"[": 1, "{": 1, "]": -1, "}": -1}.get(char, 0) for char in text)


def _still_open(line: str, quote: str | None) -> str | None:
    """The quote of a string over several lines that is open at the end of `line`."""
    for found in re.finditer(r"\"\"\"|'''|#|\"(?!\"\")(?:\\.|[^\"\\])*\"|'(?!'')[^']*'", line):
        if quote is not None and found[0] == quote:
            quote = None
        elif quote is None and found[0] == "#":
            return None
        elif quote is None and found[0] in {'"""', "'''"}:
            quote = found[0]
    return quote


def at_line(line: int, said: Text) -> Text:
    """`said`, after its line."""
    return Text(f"{line}行目: {said.ja}", f"line {line}: {said.en}")


def wrong(ja: str, en: str, *, is_value: bool = False) -> PydanticCustomError:
    """A fault of our own, for a validator to raise; with the value that was read, when it is about one."""
    return PydanticCustomError("policy_value" if is_value else "policy", "{en}", {"ja": ja, "en": en})


def told(faults: Iterable[Any], table: Mapping[str, Any], places: Places, words: Words) -> list[Text]:
    """Pydantic's faults in words, each once; `words` are those each part of the file may use."""
    return list(dict.fromkeys(_told(fault, table, places, words) for fault in faults))


def _told(fault: Mapping[str, Any], table: Mapping[str, Any], places: Places, words: Words) -> Text:
    path = _path(fault)
    about = _subject(path, _rule_name(table, path))
    said = _expected(fault, path, words)
    is_value = fault["type"] not in {"missing", "policy", "extra_forbidden"}
    read = _read(fault["input"]) if is_value else ""
    was = Text(f"（読み取った値: {read}）", f" (read: {read})") if read else Text("", "")
    return places.fault(path, Text(f"{about.ja}: {said.ja}{was.ja}", f"{about.en}: {said.en}{was.en}"))


def _path(fault: Mapping[str, Any]) -> Path:
    """Where a fault is. Of a key with a fault, pydantic says so with a word of its own behind the key."""
    path: Path = fault["loc"]
    return path[:-1] if path[-1] == "[key]" and fault["type"] != "extra_forbidden" else path


def _subject(path: Path, rule: str | None) -> Text:
    """What a fault is about: the key, and in which rule or example."""
    words = [str(part) for part in path if not isinstance(part, int)]
    if rule is None:
        name = ".".join(words)
        return Text(name, name)
    where = Text("例", "example") if words[0] == "example" else Text("規則", "rule")
    name = ".".join(words[1:])
    if not name:
        return Text(f"{where.ja} {rule}", f"{where.en} {rule}")
    return Text(f"{where.ja} {rule} の {name}", f"{name} in {where.en} {rule}")


def _read(value: object) -> str:
    return shown(repr(value), MAX_READ)


def _rule_name(table: Mapping[str, Any], path: Path) -> str | None:
    try:
        row = table[str(path[0])][path[1]]
        return shown(str(row.get("id") or row.get("name") or ""), MAX_READ) or None
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


_KINDS: Final[Mapping[str, Text]] = {
    "missing": Text("必要な項目がありません", "it is needed and not there"),
    "int_type": Text("期待: 整数", "expected a whole number"),
    "bool_type": Text("期待: true か false", "expected true or false"),
    "string_type": Text('期待: "…" の文字', 'expected text in "…"'),
    "list_type": Text("期待: [ … ] の一覧", "expected a list [ … ]"),
    "dict_type": Text("期待: 表", "expected a table"),
    "model_type": Text("期待: 表", "expected a table"),
    "model_attributes_type": Text("期待: 表", "expected a table"),
    "too_short": Text("期待: 一つ以上", "expected at least one"),
    "greater_than_equal": Text("期待: {:,} 以上", "expected at least {:,}"),
    "less_than_equal": Text("期待: {:,} 以下", "expected at most {:,}"),
    "string_too_long": Text("期待: {}字まで", "expected at most {} characters"),
    "literal_error": Text("期待: {}", "expected {}"),
    "string_too_short": Text("期待: 空でない文字", "expected text that is not empty"),
}
_LIMITS: Final = ("ge", "le", "max_length", "expected")
_PATTERNS: Final[Mapping[str, Text]] = {
    "id": Text("期待: 英小文字・数字・- で60字まで", "expected up to 60 of a-z, 0-9 and -"),
    "outside_hours": Text('期待: "09:00-18:00" の形', 'expected hours like "09:00-18:00"'),
    "time": Text('期待: "09:00" の形', 'expected a time like "09:00"'),
}
_ROLE_WORDS: Final = Text(
    "期待: 役割の名前（文字・数字・-・_ で30字まで）", "expected a role: up to 30 letters, digits, - and _"
)


def _expected(fault: Mapping[str, Any], path: Path, words: Words) -> Text:
    name, kind = str(path[-1]), str(fault["type"])
    context: Mapping[str, Any] = fault.get("ctx", {})
    if kind in {"policy", "policy_value"}:
        return Text(context["ja"], context["en"])
    if kind == "extra_forbidden":
        return _strange(name, path, words)
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(name, _ROLE_WORDS)
    limit = next((context[word] for word in _LIMITS if word in context), None)
    said = _KINDS.get(kind) or Text(fault["msg"], fault["msg"])
    return Text(said.ja.format(limit), said.en.format(limit))


def _strange(name: str, path: Path, words: Words) -> Text:
    part = next((str(step) for step in reversed(path[:-1]) if str(step) in words), "")
    near = difflib.get_close_matches(name, words[part])
    hint = Text(f"（{near[0]} のことですか）", f" (did you mean {near[0]}?)") if near else Text("", "")
    expected = ", ".join(words[part])
    return Text(
        f"方針にない語です{hint.ja}。期待: {expected}", f"not a word of the policy{hint.en}; expected one of {expected}"
    )


def unparsable(error: Exception, source: str) -> Text:
    """A text that is not TOML."""
    if source.startswith("\ufeff"):
        return at_line(
            1,
            Text(
                "先頭に BOM があります。期待: BOM のない UTF-8",
                "a byte-order mark stands at the beginning; expected UTF-8 without one",
            ),
        )
    if isinstance(error, RecursionError):
        return at_line(1, Text("入れ子が深すぎます", "brackets within brackets, too deep to read"))
    found = _PLACE.search(str(error))
    last = max(1, len(source.splitlines()))
    why = shown(_PLACE.sub("", str(error)), 200)
    column = Text(f"{found[2]}文字目、", f"column {found[2]}, ") if found else Text("", "")
    said = Text(f"{column.ja}TOML として読めません: {why}", f"{column.en}not TOML: {why}")
    return at_line(int(found[1]) if found else last, said)


def decoded(source: bytes, name: str) -> str:
    """Bytes as text. Raises `ConfigurationError` with the line of the first byte that is not UTF-8."""
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = source[: error.start].count(b"\n") + 1, f"0x{source[error.start]:02x}"
        said = Text(f"UTF-8 ではありません（バイト {byte}）", f"not UTF-8 (byte {byte})")
        raise faulty(name, [at_line(line, said)]) from None


def read_as(faults: Sequence[Text]) -> Text:
    """Faults in one line."""
    more = len(faults) - MAX_FAULTS
    rest = [Text(f"ほか{more}件", f"and {more} more")] if more > 0 else []
    listed = [*faults[:MAX_FAULTS], *rest]
    return Text("; ".join(fault.ja for fault in listed), "; ".join(fault.en for fault in listed))


def faulty(name: str, faults: Sequence[Text]) -> ConfigurationError:
    """Nothing may be written by a policy with faults."""
    listed = read_as(faults)
    return ConfigurationError(
        Text(
            f"方針 {name} に誤りがあるため、書き込みはできません: {listed.ja}",
            f"Policy {name} has faults, so nothing can be written: {listed.en}.",
        ),
        Text("直してから seikyu policy check を実行してください。", "Mend it, then run `seikyu policy check`."),
    )
