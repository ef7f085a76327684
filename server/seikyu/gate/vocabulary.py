"""The words of a policy: what rules may look at, what they may ask for, and the examples an operator gives.

The vocabulary is closed: a word that is not here is a fault of the file, not something to pass over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, Self, TypeAlias, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from seikyu.gate.mandates import ROLE, folded, same_person
from seikyu.gate.policy_faults import wrong
from seikyu.spec import Environment, ProviderName

MAX_APPROVERS: Final = 9

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
    "connection_monthly_total_over": "connection_monthly_total",
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
WEEKEND: Final = frozenset({"sat", "sun"})
_WHOLE_DAY: Final = "00:00-24:00"

OWN_RULES: Final = frozenset({"known-operation", "no-rule", "edited"})
"""Ids the gate itself puts into a trace; a rule of the same id could not be told from them."""


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
    connection_monthly_total: int = 0
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
    connection_monthly_total_over: _Amount | None = None
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

    @model_validator(mode="after")
    def _can_be_hit(self) -> Self:
        """A rule that no write can hit looks strict and does nothing."""
        over, most = self.amount_over, self.amount_at_most
        if over is not None and most is not None and over >= most:
            raise wrong(
                f"amount_over = {over} は amount_at_most = {most} より小さくします（両方に当たる金額がありません）",
                f"amount_over = {over} must be below amount_at_most = {most}: no amount is both",
            )
        if self.amount_unknown is True and (over, most) != (None, None):
            raise wrong(
                "amount_unknown = true は amount_over・amount_at_most とともに成り立つことがありません",
                "amount_unknown = true never holds together with amount_over or amount_at_most",
            )
        if self.outside_hours == _WHOLE_DAY and self.weekdays_only is not True:
            raise wrong(
                f'"{_WHOLE_DAY}" に時間外はありません。期待: 短い時間、または weekdays_only = true',
                f'nothing is outside "{_WHOLE_DAY}"; expected shorter hours, or weekdays_only = true',
            )
        return self

    @model_validator(mode="after")
    def _names_can_be_met(self) -> Self:
        if self.requester is not None and not folded(self.requester):
            raise wrong("requester が空です。期待: 人の名前", "requester is blank; expected a person's name")
        for name in self.operations:
            if self.provider is not None and not name.startswith(f"{self.provider}."):
                raise wrong(
                    f"operation {name!r} は provider {self.provider!r} の操作ではありません",
                    f"operation {name!r} is not one of provider {self.provider!r}",
                )
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
        is_weekend = self.weekdays_only is True and facts.weekday in WEEKEND
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
