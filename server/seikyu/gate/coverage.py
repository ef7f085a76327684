"""Which rules the operator's examples try on both sides: an example that hits, one that does not, at the very limit.

What a rule asks for is tried too: an example that says nothing of votes would still hold when they become fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seikyu.errors import Text
from seikyu.gate.vocabulary import AT_MOST, OVER, WEEKEND, AskRule, Example, Facts, PolicyFile, Rule


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
    return gaps + [Gap(rule.id, missing) for rule in file.ask for missing in _missing_votes(rule, file.example)]


def _missing_votes(rule: AskRule, examples: list[Example]) -> Iterator[Text]:
    yield from _missing_role(rule, examples)
    hits = [one for one in examples if rule.is_hit(one.given)]
    if rule.role is None and rule.approvers > 1 and rule.approvers not in [one.approvers for one in hits]:
        yield Text(
            f"approvers = {rule.approvers} と書いた例", f"example that hits it and says approvers = {rule.approvers}"
        )
    if rule.distinct is True and all(one.approvers is None for one in hits):
        yield Text("approvers を書いた例（distinct の人数）", "example that hits it and says approvers, for distinct")


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
    """Both sides of each end of the hours and, where the weekend has none, both of a week's."""
    always = rule.model_copy(update={"outside_hours": None})
    near = [facts for facts in given if always.is_hit(facts)]
    tried = {facts.time for facts in near if not rule.weekdays_only or facts.weekday not in WEEKEND}
    ends = list(_ends(rule))
    for time in ends:
        if time not in tried:
            yield Text(
                f"outside_hours の境目、time = {time} の例", f"example at the limit outside_hours, with time = {time}"
            )
    if not ends and all(rule.is_hit(facts) for facts in near):
        yield Text("時間内の例", "example inside its hours")
    if rule.weekdays_only and not any(facts.weekday in WEEKEND and _is_inside(rule, facts) for facts in near):
        yield Text("土日の時間内の例", "example inside its hours on a weekend")


def _is_inside(rule: Rule, facts: Facts) -> bool:
    begin, end = rule.hours
    return begin <= facts.time < end


def _ends(rule: Rule) -> Iterator[str]:
    """The minutes on both sides of where the hours begin and end; midnight has no other side in a day."""
    begin, end = rule.hours
    if begin != "00:00":
        yield from (_minute_before(begin), begin)
    if end != "24:00":
        yield from (_minute_before(end), end)


def _minute_before(time: str) -> str:
    minutes = int(time[:2]) * 60 + int(time[3:]) - 1
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _missing_sides(rule: Rule, name: str, fact: str, given: list[Facts]) -> Iterator[Text]:
    """Both sides of one limit, by examples for which every other condition of the rule holds."""
    limit = getattr(rule, name)
    near = [facts for facts in given if rule.model_copy(update={name: None}).is_hit(facts)]
    for value in (limit, limit + 1):
        if value not in [getattr(facts, fact) for facts in near]:
            yield Text(f"{name} の境目、{fact} = {value} の例", f"example at the limit {name}, with {fact} = {value}")
