"""`seikyu policy`: the guardrails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from seikyu.errors import ConfigurationError, Text
from seikyu.gate.actions import find
from seikyu.gate.coverage import untried
from seikyu.gate.facts import gather_again
from seikyu.gate.policy import Policy, parse_policy, parse_question
from seikyu.spec import RuleTrace, Verdict
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House

_JSON = click.option("--json", "as_json", is_flag=True)
_FILE: Final = click.Path(exists=True, dir_okay=False)


@click.group()
def policy() -> None:
    """方針 / The guardrails."""


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(Text(f"{path} を読めません。", f"{path} cannot be read.")) from error


def _policy(house: House, file: str | None) -> Policy:
    path = house.settings.policy_file if file is None else Path(file)
    return parse_policy(_source(path), str(path), [row.name for row in house.settings.connections])


@policy.command()
@click.argument("file", required=False, type=_FILE)
@click.option("--strict", is_flag=True, help="足りない例があれば失敗 / fail when an example is missing")
@click.pass_obj
def check(house: House, file: str | None, *, strict: bool) -> None:
    """方針を検査 / Read the policy, try its examples, and name rules that no example tries on both sides."""
    found = _policy(house, file)
    rules = len(found.file.rules)
    said = Text(
        f"規則 {rules}件、例 {len(found.file.example)}件、すべて成り立ちます。",
        f"{rules} rules, {len(found.file.example)} examples, all hold.",
    )
    screen.say(said, house.lang, "bold green")
    missing = untried(found.file)
    for gap in missing:
        screen.say(gap.text, house.lang, "yellow")
    if missing and strict:
        raise SystemExit(1)


@policy.command()
@click.argument("what", metavar="ACTION_ID|FILE")
@_JSON
@click.pass_obj
def explain(house: House, what: str, *, as_json: bool) -> None:
    """規則を一つずつ説明 / Every rule, hit or not: for an action, then and now, or for facts in a file."""
    path = Path(what)
    verdicts = {"now": _answer(house, path)} if path.is_file() else _then_and_now(house, what)
    if as_json:
        screen.print_json({when: _verdict_json(verdict) for when, verdict in verdicts.items()})
        return
    for when, verdict in verdicts.items():
        screen.say(_WHEN[when] + _decision(verdict), house.lang, f"bold {_STYLE[verdict.kind]}")
    columns = [Text("規則", "rule"), Text("判定", "verdict"), *(_WHEN[when] for when in verdicts), Text("理由", "why")]
    rows = _trace_rows(list(verdicts.values()))
    screen.table(Text("規則", "Rules").say(house.lang), [name.say(house.lang).rstrip(" :：") for name in columns], rows)


_WHEN: Final = {"then": Text("申請時：", "then:"), "now": Text("現在：", "now:")}
_STYLE: Final = {"allow": "green", "ask": "yellow", "deny": "red"}


def _answer(house: House, path: Path) -> Verdict:
    return _policy(house, None).decide(parse_question(_source(path), str(path)))


def _then_and_now(house: House, action_id: str) -> dict[str, Verdict]:
    """The verdict stored with an action, and what the policy says of it now, with the totals of now."""
    rooms, current = house.rooms(), _policy(house, None)
    with rooms.store.read() as tx:
        action = find(tx, action_id)
        connection = house.settings.connection(action.connection)
        operation = rooms.operations.get(action.operation)
        if connection is None or operation is None:
            return {"then": action.decision}
        days = current.file.duplicate_days
        situation = gather_again(tx, action, connection, operation, now=rooms.clock.now(), duplicate_days=days)
    return {"then": action.decision, "now": current.decide(situation.facts)}


def _decision(verdict: Verdict) -> Text:
    if verdict.kind == "ask":
        return Text(f"承認 {verdict.approvers}名", f"ask, {verdict.approvers} approver(s)")
    return {"allow": Text("自動で実行", "allow"), "deny": Text("拒否", "deny")}[verdict.kind]


def _trace_rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """One line a rule: `●` hit, `·` not hit, blank where that policy has no such rule."""
    rules: dict[str, RuleTrace] = {trace.rule: trace for verdict in reversed(verdicts) for trace in verdict.trace}
    marks = [{trace.rule: "●" if trace.is_hit else "·" for trace in verdict.trace} for verdict in verdicts]
    return [(rule, trace.verdict, *(mark.get(rule, "") for mark in marks), trace.why) for rule, trace in rules.items()]


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    rules = [{"rule": t.rule, "verdict": t.verdict, "is_hit": t.is_hit, "why": t.why} for t in verdict.trace]
    return {
        "kind": verdict.kind,
        "approvers": verdict.approvers,
        "policy_sha256": verdict.policy_sha256,
        "rules": rules,
    }
