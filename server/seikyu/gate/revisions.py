"""Revisions: what waits for approval, edited. Planned and judged anew; every vote on what it was before is void.

The requester may edit everything but the tool, the account and the document. An operator may correct what does not
raise the amount and does not change to whom it goes, and is from then on a maker of it, who never votes on it.
An edit sends nothing: whatever the policy says of the new content, one other person has to approve it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, cast

from seikyu.errors import InvalidArguments, NotAllowed, Text
from seikyu.gate import freezing
from seikyu.gate.actions import STATE_TEXT, Action, State, action_of, find, notes_json, tell, verdict_json
from seikyu.gate.canonical import canonical, canonical_action, sha256
from seikyu.gate.keys import Key
from seikyu.gate.makers import check_edits, editors
from seikyu.gate.mandates import trusted
from seikyu.gate.papers import papers_of
from seikyu.gate.policy import PolicyBook
from seikyu.gate.proposals import REJECTION_STANDS, Proposal, columns, refuse_taken_key, situation_of
from seikyu.gate.votes import MAX_REASON, check_digest, check_log
from seikyu.gate.witness import revision_hash
from seikyu.models import Clock, moment, timestamp
from seikyu.settings import Settings
from seikyu.spec import Particulars, ProviderRequest, RuleTrace, Verdict
from seikyu.store.database import Row, Store, Tx

MAX_REVISIONS: Final = 20
"""Edits of one action; a looping agent must not keep the operators reading."""

NO_CHANGE: Final = Text("申請は元のままです。", "The action is as it was.")
RETURN_IT: Final = Text(
    "差戻し（seikyu return）で依頼者に直してもらってください。", "Return it instead: its requester corrects it."
)
_ASK_SOMEBODY: Final = RuleTrace("edited", "ask", is_hit=True, why="修正した人以外の承認が必要です")

Value: TypeAlias = object
Changes: TypeAlias = Mapping[str, tuple[Value, Value]]
"""Before and after, by the path of the argument: `lines.0.unit_price`."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An edit on its way in: what was read, and what it becomes."""

    seen: Action
    proposal: Proposal
    changes: Changes


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit that was made, as people read it."""

    revision: int
    editor: str
    is_by_operator: bool
    at: str
    reason: str
    changes: tuple[tuple[str, str, str], ...]
    """Argument, before, after; JSON, not cut."""
    is_by_provider: bool = False
    """Nobody's edit: what the action stands on changed at the provider."""

    @property
    def text(self) -> Text:
        """Who changed what into what, and why."""
        listed = "; ".join(f"{path}: {was} → {is_}" for path, was, is_ in self.changes)
        if self.is_by_provider:
            return Text(
                f"提供元（{self.editor}）で変更: {listed}", f"changed at the provider ({self.editor}): {listed}"
            )
        reason = f"（{self.reason}）" if self.reason else ""
        return Text(
            f"{self.editor} が修正: {listed}{reason}", f"edited by {self.editor}: {listed} {self.reason}".rstrip()
        )


class Revisions:
    """Takes edits."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, book: PolicyBook) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._book = book

    def editable(self, action_id: str) -> Action:
        """The action, when it may be edited now.

        Raises:
            NotFound: no such action.
            NotAllowed: it does not wait for approval, may have left before, or its arguments were not kept.
            StoreDamaged: its content is not what its digest says.
        """
        with self._store.read() as tx:
            action = find(tx, action_id)
        _refuse_closed(action, self._clock.now())
        check_digest(action)
        return action

    def revise(self, draft: Draft, *, key: Key | None = None, reason: str = "") -> Action:
        """Store the edit: the requester's own, or an operator's with their unlocked `key`.

        Raises:
            NotAllowed: decided or edited meanwhile, the policy denies it, more than an operator may change,
                another action is this very request already, or the database was restored and is held.
            ConfigurationError: the policy cannot be read.
            StoreDamaged: the action, or an operator, is not as we wrote it.
        """
        policy = self._book.current()
        with self._store.write() as tx:
            now, action = self._clock.now(), find(tx, draft.seen.id)
            self._refuse(tx, action, draft, key, reason)
            situation = situation_of(tx, policy, draft.proposal, now)
            verdict = _never_alone(policy.decide(situation.facts))
            tx.run("remember_policy", sha256=policy.sha256, source=policy.source, first_used_at=timestamp(now))
            names = editors(action) if key is None else (*editors(action), key.name)
            content = canonical_action(draft.proposal.connection, draft.proposal.plan, names)
            edit = _row(action, draft, sha256(content), key=key, reason=reason, now=now)
            after = self._store_it(
                tx,
                action,
                columns(draft.proposal, content, moment(action.created_at)),
                notes=notes_json(draft.proposal.plan.notes, situation.twins),
                verdict=verdict_json(verdict),
                approvers=verdict.approvers,
            )
            tx.run("add_revision", **edit)
            said = json.loads(str(edit["statement"]))
            tell(
                tx, now, "edited", after, by=edit["editor"], role=said["role"], reason=reason,
                old_digest=action.digest, changes=said["changes"], edit=revision_hash(edit), verdict=verdict.kind,
                approvers=verdict.approvers, why=verdict.why, policy=policy.sha256, twins=list(situation.twins),
                facts=situation.facts.model_dump(mode="json", exclude_unset=True),
            )  # fmt: skip
            return action_of(after)

    def _refuse(self, tx: Tx, action: Action, draft: Draft, key: Key | None, reason: str) -> None:
        _refuse_held(tx)
        _refuse_closed(action, self._clock.now())
        if (action.revision, action.digest) != (draft.seen.revision, draft.seen.digest):
            raise _refused(
                Text("申請は読んだ後に変わりました。", "The action changed after it was read."),
                Text("もう一度表示して確かめてください。", "Look at it again."),
            )
        check_digest(action)
        papers = papers_of(tx, action.id)
        check_log(tx, action, papers)
        operators = trusted(tx)
        check_edits(tx, action, papers.edits_made)
        if len(reason) > MAX_REASON or action.revision > MAX_REVISIONS:
            raise _refused(
                Text("修正の回数か理由の長さが上限を超えています。", "Too many edits, or too long a reason."),
                Text("取り下げて、新しく申請してください。", "Withdraw it and propose it anew."),
            )
        if key is not None:
            if key.name not in operators:
                raise _refused(Text(f"{key.name} には修正の権限がありません。", f"{key.name} may not edit."))
            _refuse_wider(action, draft)
        _refuse_twin(tx, draft, timestamp(self._clock.now() - REJECTION_STANDS))
        refuse_taken_key(tx, draft.proposal)

    def _store_it(self, tx: Tx, action: Action, content: Mapping[str, Any], **judged: Any) -> Row:  # noqa: ANN401 - columns
        """The row as it is then."""
        now = self._clock.now()
        until = timestamp(now + timedelta(seconds=self._settings.timing.awaiting_s))
        changes: dict[str, Any] = {**content, **judged, "expires_at": until, "updated_at": timestamp(now)}
        changes["revision"] = action.revision + 1
        read: dict[str, Any] = {"old_revision": action.revision, "old_digest": action.digest}
        if tx.run("revise_action", **changes, id=action.id, **read) != 1:
            msg = f"{action.id} is not as it was read"
            raise RuntimeError(msg)
        return {**action.row, **changes}


def _refused(what: Text, next_step: Text = RETURN_IT) -> NotAllowed:
    return NotAllowed(what, next_step, written=NO_CHANGE)


def _refuse_held(tx: Tx) -> None:
    """The action may have left as something else in the time the database has forgotten, and its totals with it.

    Under a freeze by a person an edit is as harmless as a proposal: it is judged, its votes are void, nothing is sent.
    """
    for hold in freezing.holds(tx)[:1]:
        raise NotAllowed(hold.text, written=NO_CHANGE)


def _refuse_closed(action: Action, now: datetime) -> None:
    stands = STATE_TEXT[State.EXPIRED if action.is_over(now) else action.state]
    if action.state is not State.AWAITING or action.is_over(now):
        raise _refused(
            Text(f"{action.id} は「{stands.ja}」のため修正できません。", f"{action.id} cannot be edited: {stands.en}."),
            Text("新しく申請してください。", "Propose it anew."),
        )
    if action.may_have_left:
        raise _refused(
            Text(
                f"{action.id} は以前の送信が登録された可能性があるため修正できません。",
                f"{action.id} may have been written by an earlier attempt and cannot be edited.",
            ),
            Text(
                "取り下げると、提供元でどうなったかを人が確かめます。",
                "Withdraw it: a person then sees what became of it at the provider.",
            ),
        )
    if action.arguments is None:
        raise _refused(
            Text(f"{action.id} は元の引数がないため修正できません。", f"The arguments of {action.id} were not kept."),
            Text("取り下げて、新しく申請してください。", "Withdraw it and propose it anew."),
        )


def _refuse_twin(tx: Tx, draft: Draft, rejected_after: str) -> None:
    """An edit must not make what is there already, nor ask again for what was just rejected."""
    row = tx.one("live_call", call_digest=draft.proposal.call_digest, rejected_after=rejected_after)
    if row is not None and row["id"] != draft.seen.id:
        raise _refused(
            Text(f"同じ内容の申請 {row['id']} があります。", f"Action {row['id']} is this very request already."),
            Text("どちらかを取り下げてください。", "Withdraw one of the two."),
        )


def _refuse_wider(action: Action, draft: Draft) -> None:
    """An operator corrects; what raises the amount or goes to somebody else is a new request by its maker."""
    before, after = action.particulars, draft.proposal.plan.particulars
    pinned = draft.proposal.operation.pinned
    old, new = action.request, draft.proposal.plan.request
    if _bound(old) != _bound(new) or pinned(old) != pinned(new) or _whose(before) != _whose(after):
        raise _refused(
            Text("操作者の修正では相手先・接続を変更できません。", "An operator's edit cannot change to whom it goes.")
        )
    is_raised = (before.amount is None) != (after.amount is None) or (after.amount or 0) > (before.amount or 0)
    if is_raised:
        raise _refused(Text("操作者の修正では金額を増やせません。", "An operator's edit cannot raise the amount."))


def _bound(request: ProviderRequest) -> tuple[object, ...]:
    return (request.operation, dict(request.path), request.files)


def _whose(particulars: Particulars) -> tuple[str | None, ...]:
    return (particulars.counterparty_id, particulars.counterparty_name, particulars.destination)


def _never_alone(verdict: Verdict) -> Verdict:
    """Raises `NotAllowed` for what the policy denies; what it would allow still asks somebody."""
    if verdict.kind == "deny":
        why = "; ".join(verdict.why)
        raise _refused(
            Text(f"方針により、この修正はできません（{why}）。", f"The policy denies the edited action ({why})."),
            Text("別の内容にするか、取り下げてください。", "Change it otherwise, or withdraw it."),
        )
    if verdict.kind == "allow":
        return replace(verdict, kind="ask", approvers=1, trace=(*verdict.trace, _ASK_SOMEBODY))
    return verdict


def _row(
    action: Action, draft: Draft, digest: str, *, key: Key | None, reason: str, now: datetime
) -> dict[str, str | int | None]:
    editor = action.requester if key is None else key.name
    statement = canonical(
        {
            "action": action.id,
            "revision": action.revision + 1,
            "editor": editor,
            "role": "requester" if key is None else "operator",
            "old_digest": action.digest,
            "new_digest": digest,
            "changes": {path: {"before": before, "after": after} for path, (before, after) in draft.changes.items()},
            "reason": reason,
            "edited_at": timestamp(now),
        }
    )
    return {
        "action_id": action.id,
        "revision": action.revision + 1,
        "editor": editor,
        "call_digest": action.call_digest,
        "statement": statement.decode(),
        "seal": None if key is None else key.sign(statement),
    }


def edits_of(tx: Tx, action: Action) -> tuple[Edit, ...]:
    """Every edit, oldest first, to be read; while the operators are in doubt too, for then nobody can decide.

    Raises:
        StoreDamaged: they are not as they were made.
    """
    made = papers_of(tx, action.id).edits_made
    check_edits(tx, action, made)
    return tuple(map(_edit, made))


def _edit(row: Row) -> Edit:
    said: dict[str, Any] = json.loads(row["statement"])
    changes = tuple((path, _text(change["before"]), _text(change["after"])) for path, change in said["changes"].items())
    is_by_operator = row["seal"] is not None
    return Edit(
        row["revision"],
        row["editor"],
        is_by_operator,
        said["edited_at"],
        said["reason"],
        changes,
        is_by_provider=said["role"] == "provider",
    )


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# what changes


def differences(before: Value, after: Value, path: str = "") -> Changes:
    """The leaves in which two JSON values differ, by their path; None where one has nothing."""
    if before == after and type(before) is type(after):
        return {}
    leaf: Changes = {path: (before, after)}
    if isinstance(before, dict) and isinstance(after, dict):
        return _by_key(cast("dict[str, Value]", before), cast("dict[str, Value]", after), path)
    if isinstance(before, list) and isinstance(after, list):
        return _by_key(_numbered(cast("list[Value]", before)), _numbered(cast("list[Value]", after)), path)
    return leaf


def _by_key(before: Mapping[str, Value], after: Mapping[str, Value], path: str) -> Changes:
    names: Iterable[str] = dict.fromkeys((*before, *after))
    found: dict[str, tuple[Value, Value]] = {}
    for name in names:
        found |= differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    return found


def _numbered(values: Sequence[Value]) -> dict[str, Value]:
    return {str(place): value for place, value in enumerate(values)}


def put(arguments: Value, path: str, value: Value) -> Value:
    """`arguments` with another value at `path`, such as `lines.0.unit_price`.

    Raises:
        InvalidArguments: the path leads nowhere.
    """
    name, _, rest = path.partition(".")
    if isinstance(arguments, list):
        items = cast("list[Value]", arguments)
        if not name.isdecimal() or int(name) >= len(items):
            raise _nowhere(name)
        place = int(name)
        return [*items[:place], put(items[place], rest, value) if rest else value, *items[place + 1 :]]
    if not isinstance(arguments, dict) or not name:
        raise _nowhere(name)
    known = cast("dict[str, Value]", arguments)
    if rest and name not in known:
        raise _nowhere(name)
    return {**known, name: put(known[name], rest, value) if rest else value}


def _nowhere(name: str) -> InvalidArguments:
    return InvalidArguments(
        Text(f"引数 {name[:40]} はありません。", f"There is no argument {name[:40]}."), written=NO_CHANGE
    )
