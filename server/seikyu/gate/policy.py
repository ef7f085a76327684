"""The operator's rules: a closed vocabulary in TOML, with examples inside that must hold.

Every rule is evaluated. Deny beats ask, ask beats allow, the most approvers wins. A write that no rule hits asks
for one approver; an operation the policy does not list is denied; a policy that cannot be read lets nothing be
written.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from seikyu.errors import ConfigurationError, Text
from seikyu.gate.mandates import ROLE, same_person
from seikyu.gate.policy_faults import Places, at_line, decoded, faulty, read_as, told, unparsable, wrong
from seikyu.spec import Environment, ProviderName, RuleTrace, Seat, Verdict

MAX_APPROVERS: Final = 9

MAX_BYTES: Final = 1024 * 1024
"""Of a policy file."""

_Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
_Role = Annotated[str, Field(pattern=ROLE)]
_Amount = Annotated[int, Field(strict=True, ge=0, le=10**15)]
_Hours = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
_Days = Annotated[int, Field(strict=True, ge=0, le=3650)]


def _one_or_more(value: object) -> object:
    names: list[object] = list(cast("list[object]", value)) if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise wrong("期待: 操作の名前、またはその一覧", "expected an operation, or a list of them", is_value=True)
    return names


_Operations: TypeAlias = Annotated[list[str], BeforeValidator(_one_or_more)]

OVER: Final[Mapping[str, str]] = {
    "amount_over": "amount",
    "due_days_over": "due_days",
    "daily_total_over": "daily_total",
    "monthly_total_over": "monthly_total",
    "customer_daily_total_over": "customer_daily_total",
    "customer_monthly_total_over": "customer_monthly_total",
    "connection_daily_total_over": "connection_daily_total",
    "split_total_over": "split_total",
}
"""Conditions that hold above their number, and the fact each looks at. A fact nobody knows is never above."""

AT_MOST: Final[Mapping[str, str]] = {"amount_at_most": "amount"}
"""Conditions that hold up to their number, and the fact each looks at."""

LOOKS_AT: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (fact,) for name, fact in {**OVER, **AT_MOST}.items()},
    "amount_unknown": ("amount",),
    "outside_hours": ("time", "weekday"),
}
"""Conditions that are not named like the fact they look at."""


Weekday: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final[tuple[Weekday, ...]] = get_args(Weekday)
_WEEKEND: Final = frozenset({"sat", "sun"})


class Facts(BaseModel):
    """What the rules may look at. Totals and duplicates come from the store, under its lock."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    operation: str
    provider: ProviderName
    connection: str = "example"
    environment: Environment = "production"
    requester: str = "example"
    amount: int | None = None
    """Yen, tax included."""
    due_days: int | None = None
    """Days from today in Japan to the due date."""
    duplicate: bool = False
    """The same customer and amount, with a date close by, in any provider."""
    daily_total: int = 0
    """Yen of this requester today in Japan, this action included; unknown outcomes count."""
    monthly_total: int = 0
    """As `daily_total`, of the month in Japan."""
    customer_daily_total: int = 0
    """Yen billed to this customer today, by anybody on any connection, this action included."""
    customer_monthly_total: int = 0
    connection_daily_total: int = 0
    """Yen of this connection today, by anybody, this action included."""
    split_total: int = 0
    """Yen of this requester to this customer today, this action included: one sale cut into several."""
    first_with_customer: bool = False
    new_destination: bool = False
    """Nothing that succeeded on this connection went where this invoice goes."""
    changed_destination: bool = False
    """What last succeeded for the same customer on this connection went elsewhere."""
    time: str = Field(default="12:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """In Japan, when the rules are asked: at the proposal, and again just before sending."""
    weekday: Weekday = "mon"
    """In Japan, as `time`; public holidays are weekdays."""

    @property
    def amount_unknown(self) -> bool:
        return self.amount is None


class Rule(BaseModel):
    """Conditions that must all hold. `over` is strict, `at_most` is not."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    id: _Id
    why: str = Field(min_length=1, max_length=200)
    provider: ProviderName | None = None
    connection: str | None = None
    environment: Environment | None = None
    operation: _Operations | None = None
    requester: str | None = None
    amount_over: _Amount | None = None
    amount_at_most: _Amount | None = None
    due_days_over: _Days | None = None
    daily_total_over: _Amount | None = None
    monthly_total_over: _Amount | None = None
    customer_daily_total_over: _Amount | None = None
    customer_monthly_total_over: _Amount | None = None
    connection_daily_total_over: _Amount | None = None
    split_total_over: _Amount | None = None
    duplicate: bool | None = None
    first_with_customer: bool | None = None
    new_destination: bool | None = None
    changed_destination: bool | None = None
    amount_unknown: bool | None = None
    outside_hours: _Hours | None = None
    """`09:00-18:00` in Japan: holds before 9 and from 18 on."""
    weekdays_only: bool | None = None
    """With `outside_hours`: Saturday and Sunday have no hours at all."""

    @model_validator(mode="after")
    def _hours_are_hours(self) -> Self:
        if self.weekdays_only is not None and self.outside_hours is None:
            raise wrong("weekdays_only は outside_hours とともに使います", "weekdays_only belongs to outside_hours")
        if self.outside_hours is not None and self.hours[0] >= self.hours[1]:
            raise wrong("outside_hours は始まりが終わりより前です", "outside_hours must begin before it ends")
        return self

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not (set(self.model_fields_set) - {"id", "why", "approvers", "role", "distinct"}):
            raise wrong("規則には条件が一つ以上必要です", "a rule needs at least one condition")
        return self

    def is_hit(self, facts: Facts) -> bool:
        """Whether every condition given holds for `facts`."""
        return all(self._equalities(facts)) and all(self._thresholds(facts)) and self._is_outside(facts)

    def _equalities(self, facts: Facts) -> list[bool]:
        same = [getattr(self, name) in (None, getattr(facts, name)) for name in _SAME]
        is_requester = self.requester is None or same_person(self.requester, facts.requester)
        return [*same, is_requester, self.operation is None or facts.operation in self.operations]

    @property
    def operations(self) -> list[str]:
        """The operations the rule names."""
        return self.operation or []

    @property
    def hours(self) -> tuple[str, str]:
        """When `outside_hours` begins and ends; text of fixed width, so its order is the order of time."""
        begin, _, end = (self.outside_hours or "").partition("-")
        return begin, end

    def _is_outside(self, facts: Facts) -> bool:
        if self.outside_hours is None:
            return True
        begin, end = self.hours
        is_weekend = self.weekdays_only is True and facts.weekday in _WEEKEND
        return is_weekend or not begin <= facts.time < end

    def _thresholds(self, facts: Facts) -> list[bool]:
        over = [_is_over(getattr(facts, fact), getattr(self, name)) for name, fact in OVER.items()]
        at_most = [_is_at_most(getattr(facts, fact), getattr(self, name)) for name, fact in AT_MOST.items()]
        return [*over, *at_most]


def _is_over(fact: int | None, limit: int | None) -> bool:
    return limit is None or (fact is not None and fact > limit)


def _is_at_most(fact: int | None, limit: int | None) -> bool:
    return limit is None or (fact is not None and fact <= limit)


_SAME: Final = (
    "provider",
    "connection",
    "environment",
    "duplicate",
    "first_with_customer",
    "new_destination",
    "changed_destination",
    "amount_unknown",
)
"""Conditions that hold when the fact of that name is the same."""


class AskRule(Rule):
    """A rule that asks for votes; with a role, for votes of operators who hold it."""

    approvers: int = Field(default=1, ge=1, le=MAX_APPROVERS)
    role: _Role | None = None
    distinct: bool | None = None
    """Nobody fills two of the seats that roles ask for, whatever roles they hold."""

    @model_validator(mode="after")
    def _distinct_seats(self) -> Self:
        if self.distinct is not None and self.role is None:
            raise wrong("distinct は role とともに使います", "distinct belongs to role")
        return self


class Example(BaseModel):
    """The operator's own statement of what the rules must say."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    name: str = Field(min_length=1)
    given: Facts
    expect: Literal["allow", "ask", "deny"]
    approvers: int | None = Field(default=None, ge=1, le=MAX_APPROVERS * MAX_APPROVERS)
    roles: dict[_Role, Annotated[int, Field(ge=1, le=MAX_APPROVERS)]] | None = None
    """Every role that must be among the votes, with how many."""


class PolicyFile(BaseModel):
    """The whole of `policy.toml`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    schema_: Literal[1] = Field(alias="schema")
    version: str
    operations: list[str]
    """The writes this policy knows; any other is denied."""
    roles: list[_Role] = []
    """The roles the rules name."""
    duplicate_days: int = Field(default=30, ge=0, le=366)
    deny: list[Rule] = []
    ask: list[AskRule] = []
    allow: list[Rule] = []
    example: list[Example] = []

    @property
    def rules(self) -> list[Rule]:
        """Every rule, the strongest first."""
        return [*self.deny, *self.ask, *self.allow]

    @property
    def placed(self) -> list[tuple[str, int, Rule]]:
        """Every rule with its section and its place there."""
        sections: tuple[tuple[str, Sequence[Rule]], ...] = (
            ("deny", self.deny),
            ("ask", self.ask),
            ("allow", self.allow),
        )
        return [(name, place, rule) for name, rules in sections for place, rule in enumerate(rules)]


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read and whose examples hold."""

    file: PolicyFile
    sha256: str
    source: str

    def decide(self, facts: Facts) -> Verdict:
        """Evaluate every rule."""
        return decide(self.file, facts, self.sha256)


def _traces(rules: Sequence[Rule], verdict: Literal["allow", "ask", "deny"], facts: Facts) -> list[RuleTrace]:
    return [RuleTrace(rule.id, verdict, rule.is_hit(facts), rule.why) for rule in rules]


def decide(file: PolicyFile, facts: Facts, sha256: str) -> Verdict:
    """The decision for `facts`, with the trace of every rule."""
    trace = [
        RuleTrace(
            "known-operation", "deny", facts.operation not in file.operations, "方針にない操作 / not in the policy"
        ),
        *_traces(file.deny, "deny", facts),
        *_traces(file.ask, "ask", facts),
        *_traces(file.allow, "allow", facts),
    ]
    hits = {rule.verdict for rule in trace if rule.is_hit}
    if "deny" in hits:
        return Verdict("deny", 0, tuple(trace), sha256)
    if "allow" in hits and "ask" not in hits:
        return Verdict("allow", 0, tuple(trace), sha256)
    no_rule = RuleTrace("no-rule", "ask", not hits, "どの規則にも当たらない / no rule applies")
    asking = [rule for rule in file.ask if rule.is_hit(facts)]
    seats, is_distinct = _seats(asking), any(rule.distinct for rule in asking)
    apart = sum(seat.approvers for seat in seats) if is_distinct else 0
    approvers = max([apart, *(rule.approvers for rule in asking)], default=1) or 1
    return Verdict("ask", approvers, (*trace, no_rule), sha256, seats=seats, is_distinct=is_distinct)


def _seats(asking: Sequence[AskRule]) -> tuple[Seat, ...]:
    """What each role is asked for: the most of its rules."""
    most: dict[str, int] = {}
    for rule in asking:
        if rule.role is not None:
            most[rule.role] = max(rule.approvers, most.get(rule.role, 0))
    return tuple(Seat(role, approvers) for role, approvers in sorted(most.items()))


_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("schema", *(name for name in PolicyFile.model_fields if name != "schema_")),
    "deny": tuple(Rule.model_fields),
    "ask": tuple(AskRule.model_fields),
    "allow": tuple(Rule.model_fields),
    "example": tuple(Example.model_fields),
    "given": tuple(Facts.model_fields),
}
"""The words each part of the file may use."""


def verdict_text(verdict: Verdict) -> Text:
    """A decision in words."""
    if verdict.kind != "ask":
        return {"allow": Text("自動で実行", "allow"), "deny": Text("拒否", "deny")}[verdict.kind]
    roles = ", ".join(f"{seat.role} {seat.approvers}" for seat in verdict.seats)
    apart = Text("、兼任不可", ", distinct") if verdict.is_distinct else Text("", "")
    more = Text(f"（{roles}{apart.ja}）", f" ({roles}{apart.en})") if roles else Text("", "")
    return Text(f"承認 {verdict.approvers}名{more.ja}", f"ask, {verdict.approvers} approver(s){more.en}")


def _example_faults(file: PolicyFile, places: Places) -> Iterator[Text]:
    for place, example in enumerate(file.example):
        verdict = decide(file, example.given, "")
        seats = {seat.role: seat.approvers for seat in verdict.seats}
        holds = verdict.kind == example.expect and example.approvers in (None, verdict.approvers)
        if holds and example.roles in (None, seats):
            continue
        said, hit = verdict_text(verdict), ", ".join(rule.rule for rule in verdict.trace if rule.is_hit) or "—"
        roles = "".join(f", {role} {count}" for role, count in (example.roles or {}).items())
        expected = f"{example.expect}{f' {example.approvers}' if example.approvers else ''}{roles}"
        yield places.fault(
            ("example", place),
            Text(
                f"例 {example.name!r} が成り立ちません。期待: {expected}、規則の判定: {said.ja}（該当: {hit}）",
                f"[[example]] {example.name!r}: expected {expected}, the rules say {said.en} (hit: {hit})",
            ),
        )


def _name_faults(file: PolicyFile, connections: Sequence[str] | None, places: Places) -> Iterator[Text]:
    """Names that exist nowhere, or twice: a misspelt name would make its rule vanish without a word."""
    seen: set[str] = set()
    for section, place, rule in file.placed:
        if rule.id in seen:
            yield places.fault(
                (section, place, "id"),
                Text(
                    f"規則 {rule.id}: 同じ id の規則が二つあります", f"rule {rule.id}: rule ids used twice: {rule.id}"
                ),
            )
        seen.add(rule.id)
        for name in rule.operations:
            if name not in file.operations:
                yield _unknown(places, (section, place, "operation"), rule, name, file.operations)
        if connections is not None and rule.connection is not None and rule.connection not in connections:
            yield _unknown(places, (section, place, "connection"), rule, rule.connection, connections)
        if isinstance(rule, AskRule) and rule.role is not None and rule.role not in file.roles:
            yield _unknown(places, (section, place, "role"), rule, rule.role, file.roles)
    for place, example in enumerate(file.example):
        for role in sorted(set(example.roles or {}) - set(file.roles)):
            yield places.fault(("example", place, "roles"), _strange("role", role, file.roles))


_WHERE: Final = {
    "operation": Text("operations", "`operations`"),
    "connection": Text("connections.toml", "connections.toml"),
    "role": Text("roles", "`roles`"),
}


def _unknown(places: Places, path: tuple[str, int, str], rule: Rule, name: str, known: Sequence[str]) -> Text:
    said = _strange(path[2], name, known)
    return places.fault(path, Text(f"規則 {rule.id}: {said.ja}", f"rule {rule.id}: {said.en}"))


def _strange(word: str, name: str, known: Sequence[str]) -> Text:
    where, there = _WHERE[word], ", ".join(known) or "—"
    return Text(
        f"{word} {name!r} は {where.ja} にありません。期待: {there}",
        f"{word} {name!r} is not in {where.en}; expected one of: {there}",
    )


def parse_policy(source: str, name: str, connections: Sequence[str] | None = None) -> Policy:
    """Read a policy and try its examples; `connections` are the names there are, None when nobody knows.

    Raises:
        ConfigurationError: every fault, with its line, the rule, what was read and what was expected.
    """
    try:
        table = tomllib.loads(source)
    except (ValueError, RecursionError) as error:
        raise faulty(name, [unparsable(error, source)]) from None
    places = Places(source)
    try:
        file = PolicyFile.model_validate(table)
    except ValidationError as error:
        raise faulty(name, told(error.errors(), table, places, _WORDS)) from None
    faults = list(_name_faults(file, connections, places)) or list(_example_faults(file, places))
    if faults:
        raise faulty(name, faults)
    return Policy(file, hashlib.sha256(source.encode()).hexdigest(), source)


class _Question(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    given: Facts


def parse_question(source: str, name: str) -> Facts:
    """The facts of a file with one `given = { … }`, written as in an example.

    Raises:
        ConfigurationError: every fault, with its line.
    """
    try:
        return _Question.model_validate(tomllib.loads(source)).given
    except ValidationError as error:
        faults = told(error.errors(), {}, Places(source), _WORDS)
    except (ValueError, RecursionError) as error:
        faults = [unparsable(error, source)]
    listed = read_as(faults)
    raise ConfigurationError(
        Text(f"{name} に誤りがあります: {listed.ja}", f"{name} has faults: {listed.en}."),
        Text(
            "given = { operation = …, provider = … } の形で書いてください。",
            "Write it as given = { operation = …, provider = … }.",
        ),
    )


def read_source(path: Path) -> str:
    """The text of a policy file.

    Raises:
        ConfigurationError: it is not there, cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(
            Text(
                f"方針ファイル {path} がないため、読み取り専用です。",
                f"There is no policy file {path}, so nothing can be written.",
            ),
            Text("config/policy.toml を置いてください。", "Put a policy.toml there."),
        ) from None
    except OSError as error:
        why = "a directory" if isinstance(error, IsADirectoryError) else "no right to read it"
        raise faulty(str(path), [at_line(1, Text(f"読み取れません（{why}）", f"cannot be read: {why}"))]) from None
    if len(source) > MAX_BYTES:
        size = Text(f"大きすぎます。期待: {MAX_BYTES:,} バイト以下", f"too large; expected at most {MAX_BYTES:,} bytes")
        raise faulty(str(path), [at_line(1, size)])
    return decoded(source, str(path))


class PolicyBook:
    """The policy file as it is now: read again whenever it changed."""

    def __init__(self, path: Path, connections: Sequence[str] | None = None) -> None:
        self._path = path
        self._connections = connections
        self._seen: tuple[str, Policy] | None = None

    def current(self) -> Policy:
        """The policy in force.

        Raises:
            ConfigurationError: missing or wrong; nothing may be written until it is mended.
        """
        source = read_source(self._path)
        if self._seen is None or self._seen[0] != source:
            self._seen = (source, parse_policy(source, str(self._path), self._connections))
        return self._seen[1]
