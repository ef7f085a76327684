"""Cards: what an operator reads. Made from the stored bytes that will be sent, never from the agent's words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from seikyu.errors import NOTHING, NotFound, StoreDamaged, Text
from seikyu.gate import audit
from seikyu.gate.actions import STATE_TEXT, Action, State, find
from seikyu.gate.canonical import TARGET
from seikyu.gate.makers import editors
from seikyu.gate.revisions import Edit, edits_of
from seikyu.gate.rights import Right
from seikyu.gate.seats import lacking
from seikyu.gate.targets import PARTICULARS
from seikyu.gate.votes import approvals, check_digest, conclusions
from seikyu.models import JST, moment, shown, yen_text
from seikyu.spec import ActionView, CardLine, Particulars, WriteOperation
from seikyu.store.database import Store, Tx

NEXT: Final[Mapping[State, Text]] = {
    State.DENIED: Text(
        "依頼者に理由を伝えてください。", "Tell the user why; change the request if the policy allows it."
    ),
    State.AWAITING: Text(
        "同じ呼び出しを繰り返さないでください。後で get_action で確かめてください。",
        "Do not repeat the call; call get_action later.",
    ),
    State.APPROVED: Text(
        "まもなく実行されます。get_action で確かめてください。", "It will be sent soon; call get_action."
    ),
    State.REJECTED: Text("依頼者に理由を伝えてください。", "Tell the user; do not propose the same again."),
    State.RETURNED: Text("内容を直して新しく申請してください。", "Correct it and propose it anew."),
    State.EXECUTING: Text("少し待って get_action で確かめてください。", "Wait a moment, then call get_action."),
    State.UNKNOWN: Text(
        "登録された可能性があります。繰り返さず、get_action で結果を待ってください。",
        "It may have been written. Do not repeat it; Seikyu is looking it up, call get_action.",
    ),
    State.MANUAL_REVIEW: Text(
        "登録された可能性があります。人が確認するまで繰り返さないでください。",
        "It may have been written. Do not repeat it; a person has to check at the provider.",
    ),
    State.FAILED: Text(
        "理由を確かめ、直して新しく申請できます。", "Read the reason; a corrected request is a new action."
    ),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of an action's history."""

    at: str
    """In Japan, to the second."""
    kind: str
    who: str
    detail: str
    """The reason or the evidence somebody gave."""


@dataclass(frozen=True, slots=True)
class Card:
    """An action as an operator reads it, on any surface."""

    action_id: str
    digest: str
    revision: int
    edits: tuple[Edit, ...]
    """What was changed since it was proposed, by whom, oldest first."""
    state: State
    state_text: Text
    title: Text
    particulars: Particulars
    head: tuple[CardLine, ...]
    """Amount, counterparty, account: the first things to check."""
    lines: tuple[CardLine, ...]
    """Everything else that will be sent."""
    why: tuple[str, ...]
    notes: tuple[Text, ...]
    requester: str
    approvals: tuple[str, ...]
    """The operators whose approval holds."""
    votes: tuple[Text, ...]
    """The same, each with the person it is given for."""
    approvers: int
    missing: Text
    """The votes it still takes, in words; empty when none."""
    conclusions: tuple[Text, ...]
    """What operators say became of an action whose outcome is unknown."""
    expires: str
    outcome: Text | None
    reference: str | None
    history: tuple[Event, ...]


def japan_time(stamp: str) -> str:
    """A stored moment as a person in Japan reads it."""
    return moment(stamp).astimezone(JST).strftime("%Y-%m-%d %H:%M:%S")


class CardIndex:
    """Makes cards and views from stored actions."""

    def __init__(self, store: Store, operations: Mapping[str, WriteOperation[Any]], approvals_url: str | None) -> None:
        self._store = store
        self._operations = operations
        self._approvals_url = approvals_url

    def card(self, action_id: str) -> Card:
        """The card of one action.

        Raises:
            NotFound: no such action.
            StoreDamaged: its content is not what its digest and its edits say; there is nothing trustworthy to show.
        """
        with self._store.read() as tx:
            return self.card_of(tx, find(tx, action_id))

    def card_of(self, tx: Tx, action: Action) -> Card:
        """The card of an action read in this transaction. Raises as `card`."""
        check_digest(action)
        operation = self.operation(action)
        edits = _edits(tx, action)
        held = _approvals(tx, action)
        said = _conclusions(tx, action)
        history = audit.history(tx, action.id)
        return Card(
            action_id=action.id,
            digest=action.digest,
            revision=action.revision,
            edits=edits,
            state=action.state,
            state_text=STATE_TEXT[action.state],
            title=operation.title,
            particulars=action.particulars,
            head=_head(action),
            lines=(*operation.describe(action.request), *_target_lines(action, operation)),
            why=tuple(action.decision.why),
            notes=tuple(action.note_texts),
            requester=shown(action.requester, 60),
            approvals=tuple(right.operator for right in held),
            votes=tuple(right.text for right in held),
            approvers=action.approvers,
            missing=lacking(action.decision, held).text if action.state is State.AWAITING else NOTHING,
            conclusions=said,
            expires=japan_time(action.expires_at),
            outcome=action.outcome_text,
            reference=None if action.reference is None else shown(action.reference, 100),
            history=tuple(_event(row) for row in history),
        )

    def operation(self, action: Action) -> WriteOperation[Any]:
        """The row of the operation table. Raises `NotFound` after a downgrade."""
        operation = self._operations.get(action.operation)
        if operation is None:
            raise NotFound(
                Text(
                    f"操作 {action.operation} はこの版にありません。",
                    f"This version has no operation {action.operation}.",
                )
            )
        return operation

    def view(self, action: Action, *, have: int, lang: Literal["ja", "en"]) -> ActionView:
        """The action as its requester sees it."""
        particulars = action.particulars
        facts = action.provider_facts
        outcome = action.outcome_text
        next_step = NEXT.get(action.state, NOTHING)
        return ActionView(
            action_id=action.id,
            status=action.state.value,
            operation=action.operation,
            connection=action.connection,
            summary=self.summary(action).say(lang),
            amount_yen=particulars.amount,
            counterparty=None if particulars.counterparty_name is None else shown(particulars.counterparty_name, 100),
            written=action.written,
            provider_ref=action.reference,
            provider_status=_provider_status(facts),
            approvals=f"{have}/{action.approvers}",
            why=[*action.decision.why, *([] if outcome is None else [outcome.say(lang)])],
            digest=action.digest[:12],
            expires_at=action.expires_at if action.state in {State.AWAITING, State.APPROVED} else None,
            approval_url=self.link(action),
            next=(Text("", "") if action.reversed_by is None else _reversed(action)).say(lang) + next_step.say(lang),
        )

    def summary(self, action: Action) -> Text:
        """One line: what it is and where it stands."""
        title = self.operation(action).title
        stands = STATE_TEXT[action.state]
        amount = action.particulars.amount
        money = "" if amount is None else f" {yen_text(amount)}"
        which = _which(action)
        said = Text(f"{title.ja}{money}{which.ja}: {stands.ja}。", f"{title.en}{money}{which.en}: {stands.en}.")
        return said if action.state is not State.SUCCEEDED else said + _since(action.provider_facts)

    def link(self, action: Action) -> str | None:
        """Where an operator decides it; None when nothing is to be decided, or no address is configured."""
        if self._approvals_url is None or action.state is not State.AWAITING:
            return None
        return f"{self._approvals_url.rstrip('/')}/{action.id}"


def _which(action: Action) -> Text:
    """The revision, once there is more than one, and the operators who edited."""
    if action.revision == 1:
        return NOTHING
    names = ", ".join(shown(name, 60) for name in editors(action))
    by = Text(f"・{names} が修正", f", edited by {names}") if names else NOTHING
    return Text(f"（第{action.revision}版{by.ja}）", f" (revision {action.revision}{by.en})")


def _edits(tx: Tx, action: Action) -> tuple[Edit, ...]:
    """Made visible; nothing of an action is shown whose edits are not as they were made."""
    return tuple(
        replace(
            edit,
            at=japan_time(edit.at),
            editor=shown(edit.editor, 60),
            reason=shown(edit.reason, 600),
            changes=tuple((shown(path, 100), shown(was, 600), shown(is_, 600)) for path, was, is_ in edit.changes),
        )
        for edit in edits_of(tx, action)
    )


def _reversed(action: Action) -> Text:
    return Text(f"{action.reversed_by} により取り消されました。", f"It was undone by {action.reversed_by}. ")


def _provider_status(facts: str | None) -> str | None:
    status = None if facts is None else json.loads(facts).get("status")
    return None if status is None else shown(str(status), 40)


def _since(facts: str | None) -> Text:
    """What became of it at the provider after it was done, where an event made us ask."""
    known: dict[str, Any] = {} if facts is None else json.loads(facts)
    if "was" not in known:
        return NOTHING
    was, status = shown(str(known["was"]), 40), shown(str(known.get("status")), 40)
    return Text(
        f"その後、提供元で {was} から {status} になりました。", f"At the provider it went from {was} to {status}."
    )


def _head(action: Action) -> tuple[CardLine, ...]:
    content, particulars = action.content, action.particulars
    amount = "—" if particulars.amount is None else yen_text(particulars.amount)
    name = shown(particulars.counterparty_name or "—")
    counterparty = name if particulars.counterparty_id is None else f"{name}（{shown(particulars.counterparty_id)}）"
    return (
        CardLine(Text("金額（税込）", "Amount, tax included"), amount),
        CardLine(Text("相手先", "Counterparty"), counterparty),
        CardLine(Text("会社", "Company"), shown(content["company"])),
        CardLine(Text("接続", "Connection"), f"{content['connection']}（{content['provider']}）"),
        CardLine(Text("環境", "Environment"), content["environment"]),
    )


def _target_lines(action: Action, operation: WriteOperation[Any]) -> tuple[CardLine, ...]:
    """What it stands on at the provider, without what stands in the head."""
    record: Mapping[str, str] = action.content.get(TARGET, {})
    return tuple(
        CardLine(operation.target_names.get(name, Text(shown(name, 40), shown(name, 40))), shown(value))
        for name, value in record.items()
        if value and name not in PARTICULARS
    )


def _approvals(tx: Tx, action: Action) -> tuple[Right, ...]:
    """Whose approval holds; nobody's while the operators' records are in doubt."""
    try:
        return tuple(approvals(tx, action))
    except StoreDamaged:
        return ()


def _conclusions(tx: Tx, action: Action) -> tuple[Text, ...]:
    """One line for each conclusion, and how many operators have to agree."""
    if action.state is not State.MANUAL_REVIEW:
        return ()
    try:
        found = conclusions(tx, action)
    except StoreDamaged:
        return ()
    return tuple(_concluded(said, names, max(1, action.approvers)) for said, names in found.items())


def _concluded(said: str, names: Sequence[str], needed: int) -> Text:
    reference = shown(said, 100)
    what = Text("提供元に何もない", "nothing at the provider")
    if said != "nothing":
        what = Text(f"提供元にある（{reference}）", f"it is at the provider, {reference}")
    who = ", ".join(names)
    return Text(f"{what.ja}: {who}（{len(names)}/{needed}名）", f"{what.en}: {who} ({len(names)} of {needed})")


def _event(row: Mapping[str, Any]) -> Event:
    who = row.get("by") or row.get("operator") or row.get("requester") or ""
    detail = row.get("reason") or row.get("evidence") or ""
    return Event(japan_time(row["at"]), row["kind"], shown(str(who), 60), shown(str(detail), 600))
