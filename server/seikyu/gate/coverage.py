"""Which rules the operator's examples try on both sides: an example that hits, one that does not, at the very limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seikyu.errors import Text
from seikyu.gate.vocabulary import AT_MOST, OVER, AskRule, Example, Facts, PolicyFile, Rule


@dataclass(frozen=True, slots=True)
class Gap:
    """An example that is missing."""

    rule: str
    example: Text
    """What the example would be given."""

    @property
    def text(self) -> Text:
        return Text(f"規則 {self.rule}: {self.example.ja}がありません。", f"Rule {self.rule} has no {self.example.en}.")


def untried(file: PolicyFile) -> list[Gap]:
    """Every example that is missing, in the order of the rules."""
    given = [example.given for example in file.example]
    gaps = [Gap(rule.id, missing) for rule in file.rules for missing in _missing(rule, given)]
    return gaps + [Gap(rule.id, missing) for rule in file.ask for missing in _missing_role(rule, file.example)]


def _missing_role(rule: AskRule, examples: list[Example]) -> Iterator[Text]:
    if rule.role is not None and not any(rule.role in (one.roles or {}) and rule.is_hit(one.given) for one in examples):
        yield Text(f"roles に {rule.role} を挙げる例", f"example that hits it and names {rule.role} in its roles")


def _missing(rule: Rule, given: list[Facts]) -> Iterator[Text]:
    hits = [rule.is_hit(facts) for facts in given]
    if True not in hits:
        yield Text("当たる例", "example that hits it")
    if False not in hits:
        yield Text("当たらない例", "example that does not hit it")
    for name, fact in {**OVER, **AT_MOST}.items():
        limit = getattr(rule, name)
        if limit is not None:
            yield from _missing_sides(rule, name, fact, given)
    if rule.outside_hours is not None:
        yield from _missing_hours(rule, given)


def _missing_hours(rule: Rule, given: list[Facts]) -> Iterator[Text]:
    always = rule.model_copy(update={"outside_hours": None})
    if not any(always.is_hit(facts) and not rule.is_hit(facts) for facts in given):
        yield Text("時間内の例", "example inside its hours")


def _missing_sides(rule: Rule, name: str, fact: str, given: list[Facts]) -> Iterator[Text]:
    """Both sides of one limit, by examples for which every other condition of the rule holds."""
    limit = getattr(rule, name)
    near = [facts for facts in given if rule.model_copy(update={name: None}).is_hit(facts)]
    for value in (limit, limit + 1):
        if value not in [getattr(facts, fact) for facts in near]:
            yield Text(f"{name} の境目、{fact} = {value} の例", f"example at the limit {name}, with {fact} = {value}")
