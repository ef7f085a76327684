"""The operator's rules: a closed vocabulary in TOML, with examples inside that must hold.

Every rule is evaluated. Deny beats ask, ask beats allow, the most approvers wins. A write that no rule hits asks
for one approver; an operation the policy does not list is denied; a policy that cannot be read lets nothing be
written.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seikyu.errors import ConfigurationError, Text
from seikyu.gate.operators import same_person
from seikyu.spec import Environment, ProviderName, RuleTrace, Verdict

MAX_APPROVERS: Final = 9

_Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
_Amount = Annotated[int, Field(strict=True, ge=0, le=10**15)]
_Hours = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
_Days = Annotated[int, Field(strict=True, ge=0, le=3650)]


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
    operation: str | Annotated[list[str], Field(min_length=1)] | None = None
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
    amount_unknown: bool | None = None
    outside_hours: _Hours | None = None
    """`09:00-18:00` in Japan: holds before 9 and from 18 on."""
    weekdays_only: bool | None = None
    """With `outside_hours`: Saturday and Sunday have no hours at all."""

    @model_validator(mode="after")
    def _hours_are_hours(self) -> Self:
        if self.weekdays_only is not None and self.outside_hours is None:
            msg = "weekdays_only belongs to outside_hours"
            raise ValueError(msg)
        if self.outside_hours is not None and self.hours[0] >= self.hours[1]:
            msg = "outside_hours must begin before it ends"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _has_a_condition(self) -> Self:
        if not (set(self.model_fields_set) - {"id", "why", "approvers"}):
            msg = "a rule needs at least one condition"
            raise ValueError(msg)
        return self

    def is_hit(self, facts: Facts) -> bool:
        """Whether every condition given holds for `facts`."""
        return all(self._equalities(facts)) and all(self._thresholds(facts)) and self._is_outside(facts)

    def _equalities(self, facts: Facts) -> list[bool]:
        names = ("provider", "connection", "environment", "duplicate", "first_with_customer", "amount_unknown")
        same = [getattr(self, name) in (None, getattr(facts, name)) for name in names]
        is_requester = self.requester is None or same_person(self.requester, facts.requester)
        return [*same, is_requester, self.operation is None or facts.operation in self.operations]

    @property
    def operations(self) -> list[str]:
        """The operations the rule names."""
        return [self.operation] if isinstance(self.operation, str) else self.operation or []

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


class AskRule(Rule):
    """A rule that asks for votes."""

    approvers: int = Field(default=1, ge=1, le=MAX_APPROVERS)


class Example(BaseModel):
    """The operator's own statement of what the rules must say."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    name: str = Field(min_length=1)
    given: Facts
    expect: Literal["allow", "ask", "deny"]
    approvers: int | None = Field(default=None, ge=1, le=MAX_APPROVERS)


class PolicyFile(BaseModel):
    """The whole of `policy.toml`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    schema_: Literal[1] = Field(alias="schema")
    version: str
    operations: list[str]
    """The writes this policy knows; any other is denied."""
    duplicate_days: int = Field(default=30, ge=0, le=366)
    deny: list[Rule] = []
    ask: list[AskRule] = []
    allow: list[Rule] = []
    example: list[Example] = []

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [rule.id for rule in (*self.deny, *self.ask, *self.allow)]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            msg = f"rule ids used twice: {', '.join(twice)}"
            raise ValueError(msg)
        return self

    @property
    def rules(self) -> list[Rule]:
        """Every rule, the strongest first."""
        return [*self.deny, *self.ask, *self.allow]


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
    approvers = max([rule.approvers for rule in file.ask if rule.is_hit(facts)], default=1)
    return Verdict("ask", approvers, (*trace, no_rule), sha256)


def _example_faults(file: PolicyFile) -> list[str]:
    faults: list[str] = []
    for example in file.example:
        verdict = decide(file, example.given, "")
        said = f"{verdict.kind} {verdict.approvers}" if verdict.kind == "ask" else verdict.kind
        expected = f"ask {example.approvers}" if example.approvers else example.expect
        holds = verdict.kind == example.expect and example.approvers in (None, verdict.approvers)
        if not holds:
            hit = ", ".join(rule.rule for rule in verdict.trace if rule.is_hit) or "no rule"
            faults.append(f"[[example]] {example.name!r}: expected {expected}, the rules say {said} (hit: {hit})")
    return faults


def _name_faults(file: PolicyFile, connections: Sequence[str] | None) -> list[str]:
    """Names in rules that exist nowhere: a misspelt name would make its rule vanish without a word."""
    faults: list[str] = []
    for rule in file.rules:
        unknown = [name for name in rule.operations if name not in file.operations]
        faults += [f"rule {rule.id}: operation {name!r} is not in `operations`" for name in unknown]
        if connections is not None and rule.connection is not None and rule.connection not in connections:
            faults.append(f"rule {rule.id}: connection {rule.connection!r} is not in connections.toml")
    return faults


def parse_policy(source: str, name: str, connections: Sequence[str] | None = None) -> Policy:
    """Read a policy and try its examples; `connections` are the names there are, None when nobody knows.

    Raises:
        ConfigurationError: every fault, with its line, the rule, what was read and what was expected.
    """
    try:
        table = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise _faulty(name, [str(error)]) from None
    try:
        file = PolicyFile.model_validate(table)
    except ValidationError as error:
        raise _faulty(name, [_fault_line(fault, table, source) for fault in error.errors()]) from None
    faults = _name_faults(file, connections) or _example_faults(file)
    if faults:
        raise _faulty(name, faults)
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
    except tomllib.TOMLDecodeError as error:
        faults = [str(error)]
    except ValidationError as error:
        faults = [_fault_line(fault, {}, source) for fault in error.errors()]
    listed = "; ".join(faults)
    raise ConfigurationError(
        Text(f"{name} に誤りがあります: {listed}", f"{name} has faults: {listed}."),
        Text(
            "given = { operation = …, provider = … } の形で書いてください。",
            "Write it as given = { operation = …, provider = … }.",
        ),
    )


def _fault_line(fault: Mapping[str, Any], table: Mapping[str, Any], source: str) -> str:
    place = [str(part) for part in fault["loc"]]
    rule = _rule_name(table, fault["loc"])
    line = _line_of(source, place, rule)
    read = "" if fault["type"] == "missing" else f" (read: {fault['input']!r})"[:120]
    where = f"line {line}: " if line else ""
    return f"{where}{'.'.join(place)}{f' in rule {rule}' if rule else ''}: {fault['msg']}{read}"


def _rule_name(table: Mapping[str, Any], place: Sequence[Any]) -> str | None:
    try:
        row = table[place[0]][place[1]]
        return str(row.get("id") or row.get("name") or "") or None
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def _line_of(source: str, place: Sequence[str], rule: str | None) -> int | None:
    """The line a fault is on: the key's own line, after the line that names its rule."""
    lines = source.splitlines()
    start = next((n for n, line in enumerate(lines) if rule and f'"{rule}"' in line), 0)
    key = place[-1]
    pattern = re.compile(rf"(^|[\s{{,]){re.escape(key)}\s*=")
    found = next((n for n, line in enumerate(lines[start:], start) if pattern.search(line)), None)
    return (found if found is not None else start) + 1 if (found is not None or rule) else None


def _faulty(name: str, faults: Sequence[str]) -> ConfigurationError:
    listed = "; ".join(faults)
    return ConfigurationError(
        Text(
            f"方針 {name} に誤りがあるため、書き込みはできません: {listed}",
            f"Policy {name} has faults, so nothing can be written: {listed}.",
        ),
        Text("直してから seikyu policy check を実行してください。", "Mend it, then run `seikyu policy check`."),
    )


def _decoded(source: bytes, path: Path) -> str:
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        raise _faulty(str(path), [f"line {line}: not UTF-8"]) from None


class PolicyBook:
    """The policy file as it is now: read again whenever it changed."""

    def __init__(self, path: Path, connections: Sequence[str] | None = None) -> None:
        self._path = path
        self._connections = connections
        self._seen: tuple[bytes, Policy] | None = None

    def current(self) -> Policy:
        """The policy in force.

        Raises:
            ConfigurationError: missing or wrong; nothing may be written until it is mended.
        """
        try:
            source = self._path.read_bytes()
        except OSError:
            raise ConfigurationError(
                Text(
                    f"方針ファイル {self._path} がないため、読み取り専用です。",
                    f"There is no policy file {self._path}, so nothing can be written.",
                ),
                Text("config/policy.toml を置いてください。", "Put a policy.toml there."),
            ) from None
        if self._seen is None or self._seen[0] != source:
            self._seen = (source, parse_policy(_decoded(source, self._path), str(self._path), self._connections))
        return self._seen[1]
