"""Lists as Kessai serves them: filters by name, newest first, a cursor that can run out of range.

Source: pagination and the list pages of each object, read 2026-11-21.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Generic, Protocol, TypeVar

from seikyu.sandbox.mfkessai_problems import Problem, Refusal
from seikyu.sandbox.mfkessai_rules import read_date
from seikyu.sandbox.wire import Json

_DEFAULT_LIMIT, _MAX_LIMIT = 20, 200
_MAX_IDS: Final = 200


class Listed(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=Listed)
Test = Callable[[Item], bool]
Values = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filter(Generic[Item]):
    """One query parameter. `build` makes its test, or raises ValueError for what it cannot read."""

    name: str
    code: str
    build: Callable[[Values], Test[Item]]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    items: Sequence[Item]
    limit: int
    total: int
    has_previous: bool
    has_next: bool

    def shown(self, show: Callable[[Item], Json]) -> Json:
        return {
            "items": [show(item) for item in self.items],
            "object": "list",
            "pagination": {
                "end": self.items[-1].id if self.items else "",
                "has_next": self.has_next,
                "has_previous": self.has_previous,
                "limit": self.limit,
                "start": self.items[0].id if self.items else "",
                "total": self.total,
            },
        }


class FiltersOf(Generic[Item]):
    """Makes the filters of one kind of object; each takes what it compares from the object."""

    def equals(self, name: str, code: str, value_of: Callable[[Item], str]) -> Filter[Item]:
        return Filter(name, code, lambda values: lambda item: value_of(item) == values[0])

    def one_of(
        self,
        name: str,
        code: str,
        allowed: Sequence[str],
        value_of: Callable[[Item], str],
        *,
        commas: bool = False,
    ) -> Filter[Item]:
        """Filter by words; the key may repeat, and with `commas` one value may hold several."""

        def build(values: Values) -> Test[Item]:
            wanted = [word for value in values for word in (value.split(",") if commas else [value])]
            if not set(wanted) <= set(allowed):
                raise ValueError(f"only {', '.join(allowed)}")
            return lambda item: value_of(item) in wanted

        return Filter(name, code, build)

    def ids(self, name: str, code: str, value_of: Callable[[Item], str]) -> Filter[Item]:
        def build(values: Values) -> Test[Item]:
            if len(values) > _MAX_IDS:
                raise ValueError(f"at most {_MAX_IDS} ids")
            return lambda item: value_of(item) in values

        return Filter(name, code, build)

    def flag(
        self,
        name: str,
        code: str,
        value_of: Callable[[Item], bool],
        *,
        empty_is_false: bool = False,
    ) -> Filter[Item]:
        words = {"true": True, "false": False} | ({"": False} if empty_is_false else {})

        def build(values: Values) -> Test[Item]:
            if values[0] not in words:
                raise ValueError("true or false")
            return lambda item: value_of(item) is words[values[0]]

        return Filter(name, code, build)

    def days(self, stem: str, code_stem: str, value_of: Callable[[Item], date]) -> tuple[Filter[Item], Filter[Item]]:
        """Filter by day, both ends included."""

        def build_from(values: Values) -> Test[Item]:
            bound = read_date(values[0])
            return lambda item: value_of(item) >= bound

        def build_to(values: Values) -> Test[Item]:
            bound = read_date(values[0])
            return lambda item: value_of(item) <= bound

        return (
            Filter(f"{stem}_from", f"{code_stem}_from", build_from),
            Filter(f"{stem}_to", f"{code_stem}_to", build_to),
        )

    def moments(
        self,
        stem: str,
        value_of: Callable[[Item], datetime | None],
    ) -> tuple[Filter[Item], Filter[Item]]:
        """Filter by RFC 3339 time, both ends included; what has no such time is left out."""

        def build_from(values: Values) -> Test[Item]:
            bound = _moment(values[0])
            return lambda item: (at := value_of(item)) is not None and at >= bound

        def build_to(values: Values) -> Test[Item]:
            bound = _moment(values[0])
            return lambda item: (at := value_of(item)) is not None and at <= bound

        return (
            Filter(f"{stem}_from", f"invalid_{stem}_from", build_from),
            Filter(f"{stem}_to", f"invalid_{stem}_to", build_to),
        )

    def yen(self, name: str, code: str, matches: Callable[[Item, int], bool]) -> Filter[Item]:
        def build(values: Values) -> Test[Item]:
            bound = int(values[0])
            return lambda item: matches(item, bound)

        return Filter(name, code, build)


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or "T" not in text:
        raise ValueError("RFC 3339 with an offset; a plus sign is sent as %2B")
    return at


def list_page(
    newest_first: Sequence[Item],
    query: Sequence[tuple[str, str]],
    filters: Sequence[Filter[Item]],
) -> Page[Item] | Refusal:
    """Return the page that the query asks for. Parameters that nobody knows are ignored."""
    given: dict[str, Values] = {}
    for name, value in query:
        given[name] = (*given.get(name, ()), value)
    tests, problems = _tests(filters, given)
    limit = _limit(given, problems)
    if problems:
        return Refusal(400, problems)
    matching = [item for item in newest_first if all(test(item) for test in tests)]
    return _cut(newest_first, matching, given, limit)


def _tests(
    filters: Sequence[Filter[Item]],
    given: Mapping[str, Values],
) -> tuple[list[Test[Item]], list[Problem]]:
    tests: list[Test[Item]] = []
    problems: list[Problem] = []
    for one in filters:
        if one.name not in given:
            continue
        try:
            tests.append(one.build(given[one.name]))
        except ValueError as error:
            problems.append(Problem(one.code, f"{one.name}: {error}", ",".join(given[one.name])))
    return tests, problems


def _limit(given: Mapping[str, Values], problems: list[Problem]) -> int:
    sent = given.get("limit", (str(_DEFAULT_LIMIT),))[0]
    if re.fullmatch("[0-9]{1,3}", sent) and 1 <= int(sent) <= _MAX_LIMIT:
        return int(sent)
    problems.append(Problem("invalid_limit", f"limit is 1 to {_MAX_LIMIT}", sent))
    return _DEFAULT_LIMIT


def _cut(
    everything: Sequence[Item],
    matching: Sequence[Item],
    given: Mapping[str, Values],
    limit: int,
) -> Page[Item] | Refusal:
    # before wins when both are given
    way = "before" if "before" in given else "after"
    start = 0
    if way in given:
        cursor = given[way][0]
        if all(item.id != cursor for item in everything):
            return _out(f"invalid_{way}", cursor)
        place = next((place for place, item in enumerate(matching) if item.id == cursor), None)
        if place is None or place == (0 if way == "before" else len(matching) - 1):
            return _out(f"out_of_range_by_{way}", cursor)
        start = place + 1 if way == "after" else max(0, place - limit)
        limit_here = min(limit, place) if way == "before" else limit
    else:
        limit_here = limit
    items = matching[start : start + limit_here]
    end = start + len(items)
    return Page(items, limit, len(matching), start > 0, end < len(matching))


def _out(code: str, cursor: str) -> Refusal:
    return Refusal(400, [Problem(code, "the cursor leads nowhere", cursor)])
