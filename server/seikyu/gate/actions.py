"""Actions: proposed writes, the states they pass through, and their rows."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SkipValidation

from seikyu.errors import NOTHING, NotFound, StoreDamaged, Text
from seikyu.gate import audit
from seikyu.gate.canonical import particulars_of, request_of
from seikyu.gate.witness import ROW_COLUMNS, action_hash
from seikyu.models import moment, shown, timestamp
from seikyu.spec import Particulars, ProviderRequest, RuleTrace, Seat, Verdict
from seikyu.store.database import Row, Tx


class State(StrEnum):
    """Where an action stands."""

    DENIED = "denied"
    AWAITING = "awaiting_approval"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    EXPIRED = "expired"
    EXECUTING = "executing"
    UNKNOWN = "unknown"
    MANUAL_REVIEW = "manual_review"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.AWAITING: frozenset(
        {State.APPROVED, State.REJECTED, State.RETURNED, State.WITHDRAWN, State.EXPIRED, State.MANUAL_REVIEW}
    ),
    State.APPROVED: frozenset(
        {
            State.EXECUTING,
            State.WITHDRAWN,
            State.REVOKED,
            State.EXPIRED,
            State.AWAITING,
            State.DENIED,
            State.MANUAL_REVIEW,
            State.APPROVED,  # its target could not be read: tried again later
        }
    ),
    # back to approved only when no byte left this machine
    State.EXECUTING: frozenset({State.SUCCEEDED, State.FAILED, State.UNKNOWN, State.MANUAL_REVIEW, State.APPROVED}),
    State.UNKNOWN: frozenset({State.SUCCEEDED, State.APPROVED, State.MANUAL_REVIEW, State.FAILED}),
    State.MANUAL_REVIEW: frozenset({State.SUCCEEDED, State.FAILED}),
}
"""Every change of state there is; a state that is not a key is final.

Only `restoration` goes past it: what a restored database says of an action that was sent later is not true any more.
"""

STATE_TEXT: Final[Mapping[State, Text]] = {
    State.DENIED: Text("方針により拒否", "denied by the policy"),
    State.AWAITING: Text("承認待ち", "waiting for approval"),
    State.APPROVED: Text("承認済み・実行前", "approved, not sent yet"),
    State.REJECTED: Text("却下", "rejected"),
    State.RETURNED: Text("差戻し", "sent back"),
    State.WITHDRAWN: Text("取り下げ", "withdrawn"),
    State.REVOKED: Text("承認取消", "approval revoked"),
    State.EXPIRED: Text("期限切れ", "expired"),
    State.EXECUTING: Text("実行中", "being sent"),
    State.UNKNOWN: Text("結果不明・照会中", "outcome unknown, being looked up"),
    State.MANUAL_REVIEW: Text("結果不明・人の確認待ち", "outcome unknown, a person has to look"),
    State.SUCCEEDED: Text("完了", "done"),
    State.FAILED: Text("失敗（提供元には何も登録されていません）", "failed; nothing was written at the provider"),
}

WRITTEN: Final[dict[State, Literal["no", "yes", "unknown"]]] = {
    State.SUCCEEDED: "yes",
    State.EXECUTING: "unknown",
    State.UNKNOWN: "unknown",
    State.MANUAL_REVIEW: "unknown",
}
"""Whether the provider has it; every other state means no."""


def _is_moment(text: str) -> str:
    moment(text)
    return text


Moment: TypeAlias = Annotated[str, AfterValidator(_is_moment)]
"""A time as `timestamp` writes it."""


class Action(BaseModel):
    """A row of the action table. `canonical` is what is shown, approved and sent."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: str
    revision: int
    state: State
    tool: str
    operation: str
    kind: str
    connection: str
    requester: str
    surface: str
    call_digest: str
    canonical: str
    digest: str
    natural_key: str | None
    counterparty_key: str | None
    file_sha256: str | None
    notes: str
    verdict: str
    approvers: int
    created_at: Moment
    jst_day: str
    expires_at: Moment
    updated_at: Moment
    epoch: int
    lease_owner: str | None
    lease_until: Moment | None
    not_before: Moment | None
    unsent_tries: int
    unknown_since: Moment | None
    may_have_left: bool
    """An earlier attempt had no trustworthy answer: "not written" is then for the provider or a person to say."""
    reference: str | None
    provider_facts: str | None
    outcome: str | None
    reversed_by: str | None
    business_day: str
    """The transaction date; for an action without one, the day in Japan on which it was proposed."""
    arguments: str | None = None
    """The call it was made by, canonical JSON without the connection; None for actions of earlier versions."""
    taken_up: str | None = None
    """SHA-256 of the journal's line it was taken up from, after the database was restored. It is never sent again."""
    row: Annotated[Row, SkipValidation] = Field(default_factory=dict[str, Any], exclude=True, repr=False)
    """The whole row it was read from."""

    @property
    def content(self) -> dict[str, Any]:
        """The canonical action, parsed."""
        parsed: dict[str, Any] = json.loads(self.canonical)
        return parsed

    @property
    def request(self) -> ProviderRequest:
        return request_of(self.content)

    @property
    def particulars(self) -> Particulars:
        return particulars_of(self.content)

    @property
    def decision(self) -> Verdict:
        """The policy's verdict as it was stored."""
        stored: dict[str, Any] = json.loads(self.verdict)
        trace = tuple(RuleTrace(**rule) for rule in stored["trace"])
        seats = tuple(Seat(**seat) for seat in stored.get("seats", ()))
        return Verdict(
            stored["kind"],
            stored["approvers"],
            trace,
            stored["policy_sha256"],
            seats=seats,
            is_distinct=stored.get("is_distinct", False),
        )

    @property
    def outcome_text(self) -> Text | None:
        return None if self.outcome is None else Text(**json.loads(self.outcome))

    @property
    def note_texts(self) -> list[Text]:
        return [Text(**note) for note in json.loads(self.notes)]

    @property
    def written(self) -> Literal["no", "yes", "unknown"]:
        """Whether the provider has it, as far as is known: what may have left once may still land."""
        said = WRITTEN.get(self.state, "no")
        is_open = self.state in {State.AWAITING, State.APPROVED}
        return "unknown" if self.may_have_left and is_open else said

    def is_over(self, now: datetime) -> bool:
        """Whether the time to decide, or to execute, has run out."""
        return self.state in {State.AWAITING, State.APPROVED} and moment(self.expires_at) <= now


def new_action_id(now: datetime) -> str:
    """`act-` and 20 letters: sorts by time, cannot be guessed, fits any provider's number field."""
    millis = int(now.timestamp() * 1000)
    return f"act-{_base32(millis, 9)}{_base32(secrets.randbits(55), 11)}"


def first_id(since: datetime) -> str:
    """No id made at `since` or later sorts before this one."""
    return f"act-{_base32(int(since.timestamp() * 1000), 9)}"


def _base32(number: int, width: int) -> str:
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    return "".join(letters[number >> (5 * place) & 31] for place in reversed(range(width)))


def find(tx: Tx, action_id: str) -> Action:
    """Raises `NotFound`; `StoreDamaged` when a value in its row is none an action has."""
    return action_of(row_of(tx, action_id))


def row_of(tx: Tx, action_id: str) -> Row:
    """An action's row as it is stored. Raises `NotFound`."""
    row = tx.one("action", id=action_id)
    if row is None:
        raise NotFound(
            Text("その番号の申請はありません。", "There is no action of that id."),
            Text("list_actions で確かめてください。", "Call list_actions."),
        )
    return row


def action_of(row: Row) -> Action:
    """The action of a row. Raises `StoreDamaged` when a value in it is none an action has."""
    try:
        return Action.model_validate({**row, "row": row})
    except ValueError as error:
        name = shown(str(row["id"]), 60)
        raise StoreDamaged(
            Text(f"申請 {name} のデータが壊れています。", f"The row of action {name} is damaged."),
            Text("seikyu audit verify を実行してください。", "Run `seikyu audit verify`."),
            written=NOTHING,
        ) from error


def actions(rows: Sequence[Row]) -> list[Action]:
    """All of them. Raises as `action_of`: a list that must not stop at one of them is in `listing`."""
    return [action_of(row) for row in rows]


CLOSED_AS_NOT_WRITTEN: Final = frozenset(
    {State.REJECTED, State.RETURNED, State.WITHDRAWN, State.REVOKED, State.EXPIRED, State.DENIED, State.FAILED}
)
"""Final states that tell the requester: the provider has nothing."""

_STILL_POSSIBLE: Final = Text(
    "以前の送信が後から登録される可能性が残っています。",
    "An earlier attempt may still turn up at the provider.",
)


def _honest(action: Action, to: State, changes: dict[str, Any]) -> State:
    """`to`, unless it would say "not written" of an action whose earlier attempt may have landed."""
    is_by_person = action.state is State.MANUAL_REVIEW
    if not action.may_have_left or is_by_person or to not in CLOSED_AS_NOT_WRITTEN:
        return to
    changes["outcome"] = text_json(_STILL_POSSIBLE)
    return State.MANUAL_REVIEW


def move(tx: Tx, now: datetime, action: Action, to: State, event: str, **changes: Any) -> Action:  # noqa: ANN401 - JSON for the audit
    """Change the state: compare-and-set on state, revision and epoch, and the audit row with it.

    `changes` named like columns are stored; everything is recorded in the audit, with the hash of the row that was
    read and of what is changed in it here: what somebody else writes into it meanwhile is a stranger to the log. One
    that was changed before stays a stranger: the log keeps the hash it had. `row=None` says the caller held it
    against the log before changing it.

    Raises:
        RuntimeError: a change the state machine does not have, or the row moved under the caller's lock.
    """
    to = _honest(action, to, changes)
    if to not in TRANSITIONS.get(action.state, frozenset()):
        msg = f"no way from {action.state} to {to}"
        raise RuntimeError(msg)
    said = {} if "row" in changes else said_before(tx, action.row)
    columns = {name: changes.get(name, getattr(action, name)) for name in _MOVABLE}
    columns |= {"state": to.value, "may_have_left": int(columns["may_have_left"]), "updated_at": timestamp(now)}
    read = {"from_state": action.state.value, "from_revision": action.revision, "from_epoch": action.epoch}
    if tx.run("move_action", **columns, id=action.id, **read) != 1:
        msg = f"{action.id} is not as it was read"
        raise RuntimeError(msg)
    record = {name: value for name, value in changes.items() if value is not None}
    after = {**action.row, **columns}
    tell(tx, now, event, after, **record, **said)
    return action_of(after)


def said_before(tx: Tx, row: Row) -> dict[str, str]:
    """For the log row of a change to a row that is not as the log said it was: the hash it had, which it keeps."""
    said = audit.row_in_doubt(tx, row)
    return {} if said is None else {"row": said}


def tell(tx: Tx, now: datetime, event: str, row: Row, /, **record: Any) -> None:  # noqa: ANN401 - JSON for the audit
    """The log row of a change that was just made, with the hash of the action's whole row, or the record's `row`.

    The row is what was read and what was changed in it, not what stands there by now.
    """
    hashed = {} if "row" in record else {"row": action_hash(row)}
    audit.append(tx, now, event, row["id"], state=row["state"], digest=str(row["digest"]), **hashed, **record)


def new_row(**known: str | int | None) -> dict[str, str | int | None]:
    """Every column of an action that is proposed; what is not known is empty."""
    counts = {"revision": 1, "epoch": 0, "unsent_tries": 0, "may_have_left": 0}
    return dict.fromkeys(ROW_COLUMNS) | counts | known


_MOVABLE: Final = (
    "revision",
    "approvers",
    "verdict",
    "expires_at",
    "epoch",
    "lease_owner",
    "lease_until",
    "not_before",
    "unsent_tries",
    "unknown_since",
    "may_have_left",
    "reference",
    "provider_facts",
    "outcome",
    "notes",
    "jst_day",
)


def text_json(text: Text) -> str:
    """A `Text` for a column."""
    return json.dumps({"ja": text.ja, "en": text.en}, ensure_ascii=False)


def notes_json(notes: Sequence[Text], twins: Sequence[str]) -> str:
    """Notes for a column, with a line about actions that look like the same business."""
    listed = ", ".join(twins)
    like = [Text(f"似た申請があります: {listed}", f"Looks like the same business as {listed}.")] if twins else []
    return json.dumps([{"ja": note.ja, "en": note.en} for note in dict.fromkeys((*notes, *like))], ensure_ascii=False)


def verdict_json(verdict: Verdict) -> str:
    """A verdict for a column."""
    trace = [{"rule": r.rule, "verdict": r.verdict, "is_hit": r.is_hit, "why": r.why} for r in verdict.trace]
    stored = {
        "kind": verdict.kind,
        "approvers": verdict.approvers,
        "policy_sha256": verdict.policy_sha256,
        "trace": trace,
        "seats": [{"role": seat.role, "approvers": seat.approvers} for seat in verdict.seats],
        "is_distinct": verdict.is_distinct,
    }
    return json.dumps(stored, ensure_ascii=False)
