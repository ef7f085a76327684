"""`seikyu approve ID ID …`: every item and the total are shown, one passphrase, and each result is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seikyu.errors import NOTHING, SeikyuError, Text, VoteRefused
from seikyu.gate import freezing, operators
from seikyu.gate.actions import STATE_TEXT, Action, State
from seikyu.gate.batches import Batch, Line, Result
from seikyu.gate.cards import Card
from seikyu.models import shown, yen_text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.secrets import read_secret

CarryOut = Callable[[Action], Action]
"""Executes what became approved, and watches it for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """Who approves, and how."""

    operator: str
    reason: str
    acting_for: str | None
    secret_fd: int | None


def approve_all(house: House, action_ids: Sequence[str], by: Approver, carry_out: CarryOut, *, as_json: bool) -> None:
    """Approve many, execute what became approved one after the other, and leave with 1 when any was refused.

    Raises:
        VoteRefused: more than a cap allows, nothing to approve, or a wrong passphrase; nothing was cast.
    """
    rooms = house.rooms()
    batch = rooms.batches.read(action_ids)
    _show(house, batch)
    if batch.fault is not None:
        raise VoteRefused(batch.fault, written=_NONE)
    shown_as = {item.action_id: item.revision for item in batch.items}
    results = {line.action_id: Result(line.action_id, None, line.error) for line in batch.lines}
    try:
        for result in _cast(house, batch, by):
            results[result.action_id] = _carried_out(house, result, carry_out)
            if not as_json:
                _tell(house, results[result.action_id], shown_as[result.action_id])
    finally:
        rooms.anchors.keep_up(at_once=True)
    if as_json:
        told = [_result_json(house, result) for result in results.values()]
        screen.print_json({"count": len(batch.cards), "total_yen": batch.total, "results": told})
    _leave(results.values())


_NONE = Text("1件も承認されていません。", "None of them was approved.")


def _cast(house: House, batch: Batch, by: Approver) -> Sequence[Result]:
    if not batch.items:
        return ()
    rooms = house.rooms()
    prompt = Text(f"{by.operator} の合言葉", f"Passphrase of {by.operator}")
    key = operators.unlock(rooms.store, rooms.clock, by.operator, read_secret(prompt, house.lang, by.secret_fd))
    return rooms.batches.approve(batch.items, key, reason=by.reason, via="cli", acting_for=by.acting_for)


def _carried_out(house: House, result: Result, carry_out: CarryOut) -> Result:
    """Its execution, when enough have approved; what stops one does not stop the others."""
    if result.action is None or result.action.state is not State.APPROVED:
        return result
    if freezing.current(house.rooms().store) is not None:
        return result
    try:
        return replace(result, action=carry_out(result.action))
    except SeikyuError as error:
        return replace(result, error=error)


def _leave(results: Iterable[Result]) -> None:
    told = list(results)
    if any(result.action is None for result in told):
        raise SystemExit(1)
    if any(result.error or (result.action and result.action.state not in _FINE) for result in told):
        raise SystemExit(3)


_FINE = frozenset({State.AWAITING, State.SUCCEEDED})


def _show(house: House, batch: Batch) -> None:
    """On stderr, so that `--json` stays one document."""
    out = screen.console(stderr=True)
    out.print(screen.marked(row for line in batch.lines for row in _lines(house, line)))
    total = Text(
        f"{len(batch.cards)}件、合計 {yen_text(batch.total)}",
        f"{len(batch.cards)} requests, {yen_text(batch.total)} in all",
    )
    out.print(total.say(house.lang), style="bold")
    frozen = freezing.current(house.rooms().store)
    if frozen is not None:
        out.print(frozen.text.say(house.lang), style="bold red")


def _lines(house: House, line: Line) -> list[tuple[str, str]]:
    if line.card is None or line.error is not None:
        said = Text("", "") if line.error is None else line.error.what + line.error.next_step
        return [("✗", f"{shown(line.action_id, 60)}  {screen.in_commands(said.say(house.lang))}")]
    card = line.card
    values = [entry.value for entry in card.head]
    head = f"{card.action_id}  {values[0]}  {values[1]}  {card.title.say(house.lang)}"
    return [("•", head), ("", _about(card).say(house.lang)), *(("!", note.say(house.lang)) for note in _notes(card))]


def _notes(card: Card) -> list[Text]:
    edited = [] if card.revision == 1 else [Text(f"第{card.revision}版", f"revision {card.revision}")]
    return [*card.notes, *edited]


def _about(card: Card) -> Text:
    account = "  ".join(line.value for line in card.head[2:])
    due = card.particulars.due_date
    day = "—" if due is None else due.isoformat()
    return Text(
        f"{account}  支払期日 {day}  依頼者 {card.requester}  {card.digest[:12]}",
        f"{account}  due {day}  requested by {card.requester}  {card.digest[:12]}",
    )


def asked_again(action: Action, revision: int) -> Text:
    """Why a request waits although enough have approved `revision` of it; empty when it does not."""
    if action.state is not State.AWAITING or action.revision == revision:
        return NOTHING
    why = "; ".join(action.decision.why)
    return Text(
        "送信の直前に承認の条件が変わっていたため、承認は無効になりました。"
        f"もう一度承認が必要です（第{action.revision}版: {why}）。",
        "Its conditions changed before it was sent: the approval is void, and it has to be approved again"
        f" (revision {action.revision}: {why}).",
    )


def _tell(house: House, result: Result, revision: int) -> None:
    if result.action is None:
        said, style = _why(result), "bold red"
    else:
        state = STATE_TEXT[result.action.state]
        said, style = state, screen.STATE_STYLE.get(result.action.state, "white")
        said = said if result.action.outcome_text is None else said + Text(" ", "") + result.action.outcome_text
        said = said if result.error is None else said + result.error.what
        again = asked_again(result.action, revision)
        said = said if again is NOTHING else said + Text(" ", "") + again
    screen.say(Text(f"{result.action_id}  {said.ja}", f"{result.action_id}  {said.en}"), house.lang, style)


def _why(result: Result) -> Text:
    return Text("", "") if result.error is None else result.error.what + result.error.written + result.error.next_step


def _result_json(house: House, result: Result) -> dict[str, Any]:
    action = result.action
    return {
        "action_id": result.action_id,
        "counted": action is not None,
        "state": None if action is None else action.state.value,
        "reference": None if action is None else action.reference,
        "error": None if result.error is None else _why(result).say(house.lang),
    }
