"""`seikyu actions`, `show`, `approve`, `reject`, `return`, `revoke`, `resolve`, `reconcile`: what operators do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final

import click

from seikyu.errors import NOTHING, NotAllowed, SeikyuError, Text
from seikyu.gate import freezing, operators
from seikyu.gate.actions import STATE_TEXT, Action, State
from seikyu.gate.cards import japan_time
from seikyu.gate.execution import is_settled
from seikyu.gate.happenings import EVENTS, NOT_SHOWN
from seikyu.gate.votes import Ballot, Decision
from seikyu.models import moment, shown, yen_text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.batches import Approver, approve_all, asked_again
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.options import AS_JSON, REASON, REASON_NEEDED
from seikyu.surfaces.cli.secrets import read_secret

_BY = click.option("--by", "operator", required=True, help="操作者名 / your operator name")
_SECRET = click.option("--secret-fd", type=int, help="合言葉を読む記述子 / read the passphrase from this descriptor")
_FOR = click.option("--for", "acting_for", help="委任した操作者 / the operator whose lent right you use")

SETTLE_WAIT_S: Final = 30
"""How long `approve` watches an action whose outcome is still being looked up."""


@click.command(name="actions")
@click.option("--state", type=click.Choice([state.value for state in State]), help="この状態だけ / only in this state")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="件数 / how many at most")
@AS_JSON
@click.pass_obj
def list_actions(house: House, state: str | None, limit: int, *, as_json: bool) -> None:
    """申請の一覧 / Proposed writes, newest first."""
    page = house.rooms().desk.page(requester=None, state=state, limit=limit, cursor=None)
    if as_json:
        rows = [
            {
                "action_id": one.id,
                "state": one.state.value,
                "operation": one.operation,
                "amount_yen": one.particulars.amount,
                "counterparty": one.particulars.counterparty_name,
                "requester": one.requester,
                "created_at": one.created_at,
                "digest": one.digest,
            }
            for one in page.actions
        ]
        frozen = freezing.current(house.rooms().store)
        said = None if frozen is None else frozen.text.say(house.lang)
        counts = {"returned": len(rows), "total": page.total}
        screen.print_json({"actions": rows, **counts, "frozen": said, "damaged": page.damaged})
        return
    _say_frozen(house)
    for damaged in map(_damaged, page.damaged):
        screen.console(stderr=True).print(damaged.say(house.lang), style="bold red")
    labels = (
        Text("番号 状態 金額 相手先 依頼者 日時", "action state amount counterparty requester proposed")
        .say(house.lang)
        .split()
    )
    title = Text(f"申請 {page.total}件", f"{page.total} actions").say(house.lang)
    screen.table(title, labels, [_row(house, one) for one in page.actions], right=[2])


def _damaged(action_id: str) -> Text:
    name = shown(action_id, 60)
    return Text(
        f"{name} のデータが壊れています。seikyu audit verify を実行してください。",
        f"The row of {name} is damaged. Run `seikyu audit verify`.",
    )


def _say_frozen(house: House) -> bool:
    """Whether the kill switch is on; said on stderr, so that `--json` stays one document."""
    frozen = freezing.current(house.rooms().store)
    if frozen is not None:
        screen.console(stderr=True).print(frozen.text.say(house.lang), style="bold red")
    return frozen is not None


def _row(house: House, action: Action) -> tuple[str, ...]:
    particulars = action.particulars
    return (
        action.id,
        STATE_TEXT[action.state].say(house.lang),
        "—" if particulars.amount is None else yen_text(particulars.amount),
        shown(particulars.counterparty_name or "—", 40),
        shown(action.requester, 20),
        japan_time(action.created_at)[:16],
    )


@click.command()
@click.argument("action_id")
@AS_JSON
@click.pass_obj
def show(house: House, action_id: str, *, as_json: bool) -> None:
    """申請を表示 / One action: what will be sent, why it asks, what happened."""
    card = house.rooms().cards.card(action_id)
    if as_json:
        screen.print_json(screen.card_json(card, house.lang))
        return
    screen.console().print(screen.card_panel(card, house.lang))
    labels = Text("日時 出来事 誰 理由", "at event who reason").say(house.lang).split()
    rows = [
        (event.at, EVENTS.get(event.kind, Text(event.kind, event.kind)).say(house.lang), event.who, event.detail)
        for event in card.history
        if event.kind not in NOT_SHOWN
    ]
    screen.table(Text("経過", "History").say(house.lang), labels, rows)


def _decide(
    house: House,
    action_id: str,
    decision: Decision,
    *,
    operator: str,
    reason: str,
    secret_fd: int | None,
    acting_for: str | None,
) -> Action:
    """Show the card, ask for the passphrase, seal the decision over what was shown."""
    rooms = house.rooms()
    card = rooms.cards.card(action_id)
    screen.console(stderr=True).print(screen.card_panel(card, house.lang))
    prompt = Text(f"{operator} の合言葉", f"Passphrase of {operator}")
    key = operators.unlock(rooms.store, rooms.clock, operator, read_secret(prompt, house.lang, secret_fd))
    ballot = Ballot(action_id, card.digest, decision, reason, via="cli", acting_for=acting_for, revision=card.revision)
    return rooms.ballots.cast(ballot, key)


@click.command()
@click.argument("action_ids", nargs=-1, required=True, metavar="ACTION_ID...")
@_BY
@REASON
@_FOR
@_SECRET
@AS_JSON
@click.pass_obj
def approve(
    house: House,
    action_ids: tuple[str, ...],
    *,
    operator: str,
    reason: str,
    acting_for: str | None,
    secret_fd: int | None,
    as_json: bool,
) -> None:
    """承認して実行 / Approve what is shown; it is sent at once when enough have approved. Several: one passphrase."""
    action_id, *others = action_ids
    if others:
        by = Approver(operator=operator, reason=reason, acting_for=acting_for, secret_fd=secret_fd)
        carry_out = partial(_run_out, house)
        approve_all(house, action_ids, by, carry_out, as_json=as_json)
        return
    action = voted = _decide(
        house, action_id, "approve", operator=operator, reason=reason, secret_fd=secret_fd, acting_for=acting_for
    )
    try:
        if action.state is State.APPROVED and not _say_frozen(house):
            action = _run_out(house, action)
    finally:
        house.rooms().anchors.keep_up(at_once=True)
    _report(house, action, as_json=as_json)
    again = asked_again(action, voted.revision)
    if again is not NOTHING and not as_json:
        screen.say(again, house.lang, "yellow")
    if action.state not in {State.AWAITING, State.SUCCEEDED}:
        raise SystemExit(3)


def _run_out(house: House, action: Action) -> Action:
    return house.run(lambda: _carry_out(house, action))


async def _carry_out(house: House, action: Action) -> Action:
    """Execute, and watch until nothing more happens by itself or the wait is over."""
    rooms = house.rooms()
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLE_WAIT_S
    current = await rooms.executor.execute(action.id)
    while not is_settled(current) and not _waits_for_person(house, current) and loop.time() < until:
        await asyncio.sleep(house.settings.timing.poll_s)
        await rooms.executor.sweep()
        current = await rooms.executor.execute(action.id)
    return current


def _waits_for_person(house: House, action: Action) -> bool:
    """Approved, but put off for longer than anybody would watch: the reason is in its outcome."""
    now = house.rooms().clock.now()
    return action.not_before is not None and moment(action.not_before) - now > timedelta(seconds=SETTLE_WAIT_S)


def _report(house: House, action: Action, *, as_json: bool) -> None:
    card = house.rooms().cards.card(action.id)
    if as_json:
        screen.print_json(screen.card_json(card, house.lang))
        return
    style = screen.STATE_STYLE.get(action.state, "white")
    screen.say(house.rooms().cards.summary(action), house.lang, f"bold {style}")
    if action.reference is not None:
        screen.say(Text(f"提供元の番号: {action.reference}", f"At the provider: {action.reference}"), house.lang)
    if action.outcome_text is not None:
        screen.say(action.outcome_text, house.lang)
    if card.missing.en:
        screen.say(
            Text(f"不足している承認: {card.missing.ja}", f"Still missing: {card.missing.en}"), house.lang, "yellow"
        )
    for said in card.conclusions:
        screen.say(said, house.lang, "yellow")
    if action.state in _NEXT and not card.conclusions:
        said = _NEXT[action.state]
        screen.say(Text(said.ja.format(id=action.id), said.en.format(id=action.id)), house.lang)


_NEXT: Final[Mapping[State, Text]] = {
    State.UNKNOWN: Text(
        "登録された可能性があります。手作業で登録せず、`seikyu reconcile` で照会してください。",
        "It may have been written. Do not enter it by hand; `seikyu reconcile` looks it up.",
    ),
    State.MANUAL_REVIEW: Text(
        "登録された可能性があります。提供元の画面で有無を確かめ、`seikyu resolve {id}` で結果を記録してください。",
        "It may have been written. Look at the provider's own screen, then record it with `seikyu resolve {id}`.",
    ),
}
"""What only a person can do now."""


def _simple(decision: Decision, name: str, summary: str, *, needs_reason: bool) -> click.Command:
    @click.command(name=name, help=summary)
    @click.argument("action_id")
    @_BY
    @(REASON_NEEDED if needs_reason else REASON)
    @_FOR
    @_SECRET
    @AS_JSON
    @click.pass_obj
    def command(
        house: House,
        action_id: str,
        *,
        operator: str,
        reason: str,
        acting_for: str | None,
        secret_fd: int | None,
        as_json: bool,
    ) -> None:
        _report(
            house,
            _decide(
                house,
                action_id,
                decision,
                operator=operator,
                reason=reason,
                secret_fd=secret_fd,
                acting_for=acting_for,
            ),
            as_json=as_json,
        )

    return command


reject = _simple("reject", "reject", "却下 / Reject for good.", needs_reason=True)
return_ = _simple("return", "return", "差戻し / Send back to be corrected.", needs_reason=True)
revoke = _simple("revoke", "revoke", "承認の取消 / Take an approval back before it is sent.", needs_reason=False)


@click.command()
@click.argument("action_id")
@click.option(
    "--outcome",
    type=click.Choice(["succeeded", "failed"]),
    required=True,
    help="提供元で確かめた結果 / what you saw at the provider",
)
@click.option("--evidence", required=True, help="確かめた方法 / how you know")
@click.option("--reference", help="提供元の番号 / the provider's id (for succeeded)")
@_BY
@_SECRET
@AS_JSON
@click.pass_obj
def resolve(
    house: House,
    action_id: str,
    *,
    outcome: str,
    evidence: str,
    reference: str | None,
    operator: str,
    secret_fd: int | None,
    as_json: bool,
) -> None:
    """結果不明を解決 / Say, with evidence, what became of an action whose outcome is unknown."""
    if outcome == "succeeded" and not reference:
        raise NotAllowed(
            Text("完了とするには提供元の番号が必要です。", "To call it done, give the provider's id."),
            Text("--reference を付けてください。", "Add --reference."),
            written=Text("", ""),
        )
    rooms = house.rooms()
    card = rooms.cards.card(action_id)
    screen.console(stderr=True).print(screen.card_panel(card, house.lang))
    prompt = Text(f"{operator} の合言葉", f"Passphrase of {operator}")
    key = operators.unlock(rooms.store, rooms.clock, operator, read_secret(prompt, house.lang, secret_fd))
    finding = reference if outcome == "succeeded" else None
    ballot = Ballot(action_id, card.digest, "resolve", evidence, via="cli", revision=card.revision)
    _report(house, rooms.ballots.resolve(ballot, key, reference=finding), as_json=as_json)


def _take_up(house: House) -> None:
    """After a restored backup: what was sent since is made known again, then looked up like any lost answer."""
    taken = house.rooms().restoration.take_up()
    if taken:
        said = Text(
            f"送信控えから{len(taken)}件を取り込みました。",
            f"{len(taken)} send(s) were taken up again from the journal.",
        )
        screen.console(stderr=True).print(said.say(house.lang), style="bold")


@click.command()
@AS_JSON
@click.pass_obj
def reconcile(house: House, *, as_json: bool) -> None:
    """結果不明を照会 / Look up every action whose outcome is unknown, and send what was approved."""
    _take_up(house)
    _say_frozen(house)
    try:
        moved = house.run(house.rooms().executor.sweep)
    except SeikyuError as error:
        screen.complain(error, house.lang)
        raise SystemExit(1) from None
    if as_json:
        screen.print_json([{"action_id": one.id, "state": one.state.value} for one in moved])
        return
    screen.say(Text(f"{len(moved)}件を確認しました。", f"Looked at {len(moved)}."), house.lang)
    for one in moved:
        _report(house, one, as_json=False)
