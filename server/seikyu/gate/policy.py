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
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from seikyu.errors import ConfigurationError, Text
from seikyu.gate.policy_faults import Places, at_line, decoded, faulty, read_as, told, unparsable
from seikyu.gate.vocabulary import OWN_RULES, AskRule, Example, Facts, PolicyFile, Rule
from seikyu.spec import RuleTrace, Seat, Verdict

MAX_BYTES: Final = 1024 * 1024
"""Of a policy file."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read and whose examples hold."""

    file: PolicyFile
    sha256: str
    source: str

    @property
    def asks_for_month(self) -> bool:
        """Whether a rule looks at the month of a whole connection: of all facts the dearest to know."""
        return any(rule.connection_monthly_total_over is not None for rule in self.file.rules)

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
        if rule.id in OWN_RULES:
            yield places.fault(
                (section, place, "id"),
                Text(
                    f"規則 {rule.id}: この id は Seikyu 自身が使います。期待: 別の id",
                    f"rule {rule.id}: this id is one of Seikyu's own; expected another",
                ),
            )
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
