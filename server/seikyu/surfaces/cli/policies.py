"""`seikyu policy`: the guardrails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from seikyu.errors import NotFound, Text
from seikyu.gate.actions import find
from seikyu.gate.cards import japan_time
from seikyu.gate.coverage import untried
from seikyu.gate.facts import gather_again
from seikyu.gate.mandates import trusted
from seikyu.gate.policy import Policy, parse_policy, parse_question, read_source, verdict_text
from seikyu.gate.replays import REPLAY_DAYS, Change, Replay, replay
from seikyu.gate.vocabulary import Rule
from seikyu.models import Connection, jst_date, shown, yen_text
from seikyu.providers.catalog import WRITE_OPERATIONS
from seikyu.spec import RuleTrace, Verdict
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.options import AS_JSON

_FILE: Final = click.Path(exists=True, dir_okay=False)


@click.group()
def policy() -> None:
    """方針 / The guardrails."""


def _policy(house: House, file: str | None) -> Policy:
    path = house.settings.policy_file if file is None else Path(file)
    return parse_policy(read_source(path), str(path), [row.name for row in house.settings.connections])


def _former(file: str) -> Policy:
    """A policy that may name accounts that are gone by now."""
    return parse_policy(read_source(Path(file)), file)


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
    missing = (
        [gap.text for gap in untried(found.file)] + _unknown(found) + _elsewhere(house, found) + _unheld(house, found)
    )
    for gap in missing:
        screen.say(gap, house.lang, "yellow")
    if missing and strict:
        raise SystemExit(1)


def _unknown(found: Policy) -> list[Text]:
    """Operations there are not: a rule about one of them is about nothing."""
    said = Text("操作 {} は Seikyu にありません。", "Seikyu has no operation {}.")
    names = [shown(name, 60) for name in found.file.operations if name not in WRITE_OPERATIONS]
    return [Text(said.ja.format(name), said.en.format(name)) for name in names]


def _elsewhere(house: House, found: Policy) -> list[Text]:
    """Rules about a connection that is of another provider or environment than they say: nothing hits them."""
    return [
        Text(
            f"規則 {rule.id}: 接続 {row.name} は {row.provider}・{row.environment} のため、当たることがありません。",
            f"Rule {rule.id} never hits: connection {row.name} is {row.provider}, {row.environment}.",
        )
        for rule in found.file.rules
        for row in house.settings.connections
        if row.name == rule.connection and not _is_about(rule, row)
    ]


def _is_about(rule: Rule, row: Connection) -> bool:
    said = (rule.provider or row.provider, rule.environment or row.environment)
    is_its_own = rule.operation is None or any(name.startswith(f"{row.provider}.") for name in rule.operations)
    return said == (row.provider, row.environment) and is_its_own


def _unheld(house: House, found: Policy) -> list[Text]:
    """Roles that too few people hold: what asks for them waits for ever."""
    if not found.file.roles:
        return []
    with house.rooms().store.read() as tx:
        held = Counter(role for one in trusted(tx).values() for role in one.roles)
    nobody = [
        Text(f"役割 {role} を持つ操作者がいません。", f"No operator holds the role {role}.")
        for role in found.file.roles
        if not held[role]
    ]
    few = [
        Text(
            f"規則 {rule.id}: 役割 {rule.role} を持つ操作者は{held[rule.role]}名で、{rule.approvers}名に足りません。",
            f"Rule {rule.id} asks for {rule.approvers} {rule.role}; {held[rule.role]} operator(s) hold that role.",
        )
        for rule in found.file.ask
        if rule.role is not None and 0 < held[rule.role] < rule.approvers
    ]
    return nobody + few


@policy.command()
@click.argument("what", metavar="ACTION_ID|FILE")
@AS_JSON
@click.pass_obj
def explain(house: House, what: str, *, as_json: bool) -> None:
    """規則を一つずつ説明 / Every rule, hit or not: for an action, then and now, or for facts in a file."""
    path = Path(what)
    if not path.is_file() and not what.startswith("act-"):
        raise _neither(what)
    verdicts = {"now": _answer(house, path)} if path.is_file() else _then_and_now(house, what)
    if as_json:
        screen.print_json({when: _verdict_json(verdict) for when, verdict in verdicts.items()})
        return
    for when, verdict in verdicts.items():
        screen.say(_WHEN[when] + verdict_text(verdict), house.lang, f"bold {_STYLE[verdict.kind]}")
    columns = [Text("規則", "rule"), Text("判定", "verdict"), *(_WHEN[when] for when in verdicts), Text("理由", "why")]
    rows = _trace_rows(house, list(verdicts.values()))
    screen.table(Text("規則", "Rules").say(house.lang), [name.say(house.lang).rstrip(" :：") for name in columns], rows)


_WHEN: Final = {"then": Text("申請時：", "then:"), "now": Text("現在：", "now:")}
_STYLE: Final = {"allow": "green", "ask": "yellow", "deny": "red"}
_SAYS: Final = {"allow": Text("自動", "allow"), "ask": Text("承認", "ask"), "deny": Text("拒否", "deny")}
_OWN_WHY: Final = {
    "known-operation": Text("方針にない操作", "not in the policy"),
    "no-rule": Text("どの規則にも当たらない", "no rule applies"),
    "edited": Text("修正した人以外の承認が必要です", "it was edited: somebody else has to approve it"),
    "target_changed": Text("提供元の内容が承認の後に変わりました", "it changed at the provider after it was approved"),
}
"""Why the gate's own rules are there; an operator's are said in the operator's words."""


def _neither(what: str) -> NotFound:
    name = shown(what, 200)
    return NotFound(
        Text(f"{name} という申請もファイルもありません。", f"There is neither an action nor a file {name}."),
        Text(
            "申請番号（seikyu actions）かファイルを指定してください。", "Name an action (`seikyu actions`) or a file."
        ),
    )


def _answer(house: House, path: Path) -> Verdict:
    return _policy(house, None).decide(parse_question(read_source(path), str(path)))


def _then_and_now(house: House, action_id: str) -> dict[str, Verdict]:
    """The verdict stored with an action, and what the policy says of it now, with the totals of now."""
    rooms, current = house.rooms(), _policy(house, None)
    with rooms.store.read() as tx:
        action = find(tx, action_id)
        connection = house.settings.connection(action.connection)
        operation = rooms.operations.get(action.operation)
        if connection is None or operation is None:
            gone = Text(
                f"接続 {action.connection} または操作 {action.operation} が今はないため、現在の判定はありません。",
                f"Connection {action.connection} or operation {action.operation} is gone: nothing judges it now.",
            )
            screen.console(stderr=True).print(gone.say(house.lang), style="yellow")
            return {"then": action.decision}
        days = current.file.duplicate_days
        situation = gather_again(tx, action, connection, operation, now=rooms.clock.now(), duplicate_days=days)
    return {"then": action.decision, "now": current.decide(situation.facts)}


def _trace_rows(house: House, verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """One line a rule: `●` hit, `·` not hit, blank where that policy has no such rule."""
    marks = [{_named(trace): "●" if trace.is_hit else "·" for trace in verdict.trace} for verdict in verdicts]
    rules = {_named(trace): trace for verdict in reversed(verdicts) for trace in verdict.trace}
    return [
        (
            trace.rule,
            _SAYS[trace.verdict].say(house.lang),
            *(mark.get(named, "") for mark in marks),
            _OWN_WHY.get(trace.rule, Text(trace.why, trace.why)).say(house.lang),
        )
        for named, trace in rules.items()
    ]


def _named(trace: RuleTrace) -> tuple[str, str]:
    """A rule that moved to another section is another rule."""
    return trace.rule, trace.verdict


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    rules = [{"rule": t.rule, "verdict": t.verdict, "is_hit": t.is_hit, "why": t.why} for t in verdict.trace]
    return {
        "kind": verdict.kind,
        "approvers": verdict.approvers,
        "roles": {seat.role: seat.approvers for seat in verdict.seats},
        "distinct": verdict.is_distinct,
        "policy_sha256": verdict.policy_sha256,
        "rules": rules,
    }


@policy.command()
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@AS_JSON
@click.pass_obj
def diff(house: House, old: str, new: str, *, as_json: bool) -> None:
    """方針を比較 / Which decisions of the last 90 days would have been others."""
    rooms, before, after = house.rooms(), _former(old), _policy(house, new)
    with rooms.store.read() as tx:
        found = replay(tx, before, after, rooms.clock.now())
    notes = _notes(found, before, after)
    if as_json:
        screen.print_json(_replay_json(house, found, notes))
        return
    for note in notes:
        screen.say(note, house.lang)
    for action_id, why in found.left_out:
        screen.say(Text(f"  {action_id}: {why.ja}", f"  {action_id}: {why.en}"), house.lang)
    count = Text(f"変わる判定: {len(found.changes)}件", f"Decisions that change: {len(found.changes)}")
    screen.say(count, house.lang, "bold")
    if not found.changes:
        return
    labels = Text("番号 日時 金額 相手先 前 後 規則", "action at amount counterparty old new rules")
    screen.table("", labels.say(house.lang).split(), [_row(house, one) for one in found.changes], right=[2])


def _notes(found: Replay, before: Policy, after: Policy) -> list[Text]:
    """What the answer rests on, and what it leaves out."""
    since, total = jst_date(found.since), found.recorded + found.derived
    notes = [
        Text(
            f"{since} 以降（{REPLAY_DAYS}日）の申請 {total}件を、申請時の事実で判定し直しました: "
            f"記録された事実 {found.recorded}件、保存された依頼から読んだ事実 {found.derived}件。",
            f"Judged {total} proposals since {since} ({REPLAY_DAYS} days) again by the facts of then: "
            f"{found.recorded} by recorded facts, {found.derived} by facts read from the stored request.",
        ),
        Text(
            "送信直前の再判定は再現していません。",
            "The second judgement, just before sending, is not replayed.",
        ),
    ]
    if before.file.duplicate_days != after.file.duplicate_days:
        notes.append(
            Text(
                "重複は申請時の duplicate_days によるもので、その変更は再現していません。",
                "Duplicates are those found at the time: the change of duplicate_days is not replayed.",
            )
        )
    if found.left_out:
        count = len(found.left_out)
        notes.append(Text(f"判定し直せなかった申請 {count}件:", f"{count} could not be judged again:"))
    return notes


def _row(house: House, change: Change) -> tuple[str, ...]:
    particulars = change.action.particulars
    return (
        change.action.id,
        japan_time(change.action.created_at)[:16],
        "—" if particulars.amount is None else yen_text(particulars.amount),
        shown(particulars.counterparty_name or "—", 40),
        verdict_text(change.old).say(house.lang),
        verdict_text(change.new).say(house.lang),
        " ".join(change.rules),
    )


def _decision_json(verdict: Verdict) -> dict[str, Any]:
    roles = {seat.role: seat.approvers for seat in verdict.seats}
    return {
        "kind": verdict.kind,
        "approvers": verdict.approvers,
        **({"roles": roles, "distinct": verdict.is_distinct} if roles else {}),
    }


def _replay_json(house: House, found: Replay, notes: Sequence[Text]) -> dict[str, Any]:
    changes = [
        {
            "action_id": one.action.id,
            "amount_yen": one.action.particulars.amount,
            "counterparty": one.action.particulars.counterparty_name,
            "old": _decision_json(one.old),
            "new": _decision_json(one.new),
            "rules": one.rules,
        }
        for one in found.changes
    ]
    left_out = [{"action_id": action_id, "why": why.say(house.lang)} for action_id, why in found.left_out]
    counted = {"since": str(jst_date(found.since)), "recorded": found.recorded, "derived": found.derived}
    return {**counted, "changed": changes, "left_out": left_out, "notes": [note.say(house.lang) for note in notes]}
