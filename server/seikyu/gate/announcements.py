"""Announcements: which rows of the audit log people are told about, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from seikyu.errors import Text
from seikyu.gate.actions import Action, State
from seikyu.gate.notices import NoticeKind
from seikyu.models import shown, yen_text

UNSENT_TOLD: Final = 3
"""Tries that did not leave this machine before a person is told: one or two mend themselves."""

Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one row of the log, or one reminder, has to tell."""

    kind: NoticeKind
    text: Text
    requester: str | None = None
    """Whose requests it may be counted together with, when there are many; None: always told by itself."""
    stands: str | None = None
    """The state it tells of: only the like are counted together."""


_ACTION_EVENTS: Final[Mapping[str, tuple[NoticeKind, Text]]] = {
    "proposed": (
        NoticeKind.ASKED,
        Text("{who} さんの申請が承認を待っています: {what}。", "{who} asks for approval: {what}."),
    ),
    "asked_again": (
        NoticeKind.ASKED,
        Text(
            "条件が変わったため、もう一度承認が必要です: {what}。",
            "The rules or the facts changed; it has to be approved anew: {what}.",
        ),
    ),
    "edited": (
        NoticeKind.ASKED,
        Text("内容が直され、承認を待っています: {what}。", "It was edited and waits for approval: {what}."),
    ),
    "voted": (
        NoticeKind.DECIDED,
        Text(
            "{by} さんが承認しました。他の承認も必要です: {what}。",
            "{by} approved; others have to approve as well: {what}.",
        ),
    ),
    "approved": (
        NoticeKind.DECIDED,
        Text("{by} さんの承認で決まり、実行に移ります: {what}。", "{by} approved, and it will be sent: {what}."),
    ),
    "rejected": (NoticeKind.DECIDED, Text("{by} さんが却下しました: {what}。", "{by} rejected {what}.")),
    "returned": (NoticeKind.DECIDED, Text("{by} さんが差し戻しました: {what}。", "{by} sent back {what}.")),
    "revoked": (
        NoticeKind.DECIDED,
        Text("{by} さんが承認を取り消しました: {what}。", "{by} revoked the approval of {what}."),
    ),
    "withdrawn": (NoticeKind.DECIDED, Text("{who} さんが取り下げました: {what}。", "{who} withdrew {what}.")),
    "expired": (
        NoticeKind.DECIDED,
        Text("期限が切れ、実行されませんでした: {what}。", "Its time ran out and nothing was sent: {what}."),
    ),
    "denied": (
        NoticeKind.DECIDED,
        Text(
            "承認後に方針が拒否し、実行されませんでした: {what}。",
            "After its approval the policy denied it, and nothing was sent: {what}.",
        ),
    ),
    "succeeded": (
        NoticeKind.OUTCOME,
        Text("完了しました: {what}、提供元の番号 {reference}。", "Done: {what}, {reference} at the provider."),
    ),
    "refused": (
        NoticeKind.OUTCOME,
        Text("提供元が断り、何も登録されていません: {what}。", "The provider refused; nothing was written: {what}."),
    ),
    "outcome_unknown": (
        NoticeKind.OUTCOME,
        Text("結果が不明のため照会しています: {what}。", "The outcome is not known and is looked up: {what}."),
    ),
    "abandoned": (
        NoticeKind.OUTCOME,
        Text(
            "送信中に処理が止まったため、結果を照会しています: {what}。",
            "Its sender stopped half-way; the outcome is looked up: {what}.",
        ),
    ),
    "concluded": (
        NoticeKind.DECIDED,
        Text(
            "{by} さんが結果を記録しました。他の操作者の確認も必要です: {what}。",
            "{by} recorded what became of it; others have to say the same: {what}.",
        ),
    ),
    "resolved": (
        NoticeKind.OUTCOME,
        Text("{by} さんが結果を記録しました: {what}。", "{by} recorded what became of {what}."),
    ),
    "provider_says": (
        NoticeKind.OUTCOME,
        Text("提供元での状態が変わりました: {what}。", "It stands differently at the provider now: {what}."),
    ),
    "contradicted": (
        NoticeKind.NEEDS_PERSON,
        Text(
            "登録されていないはずの番号が提供元にあります。提供元の画面で確かめてください: {what}。",
            "The provider has its number, although nothing should be written; look at it there: {what}.",
        ),
    ),
    "not_sent": (
        NoticeKind.NEEDS_PERSON,
        Text(
            "続けて送れず、何も登録されていません。接続を確かめてください: {what}。",
            "It could not be sent several times, and nothing was written; check the connection: {what}.",
        ),
    ),
    "alarm": (
        NoticeKind.ALARM,
        Text(
            "保存された内容か署名が正しくありません。seikyu audit verify を実行してください: {what}。",
            "Its stored content or seals do not hold; run `seikyu audit verify`: {what}.",
        ),
    ),
}

_NEEDS_PERSON: Final = Text(
    "結果が不明で、人の確認が必要です。提供元の画面で確かめ、seikyu resolve で記録してください: {what}。",
    "The outcome is not known; check it at the provider and record it with `seikyu resolve`: {what}.",
)

_HOUSE_EVENTS: Final[Mapping[str, tuple[NoticeKind, Text]]] = {
    "frozen": (
        NoticeKind.FROZEN,
        Text("{os_user} さんが緊急停止しました。何も送信されません。", "{os_user} froze everything: nothing is sent."),
    ),
    "unfrozen": (NoticeKind.FROZEN, Text("{by} さんが緊急停止を解除しました。", "{by} lifted the freeze.")),
    "event.conflict": (
        NoticeKind.ALARM,
        Text(
            "{connection} から同じ番号 {event} で内容の違う通知が届きました。後のものは使いません。",
            "{connection} sent two different events with the same id, {event}; the second is not used.",
        ),
    ),
    "slack.linked": (
        NoticeKind.ALARM,
        Text(
            "Slack の {user} が操作者 {operator} に対応しました（保証人 {vouched_by}）。"
            "心当たりがなければ seikyu freeze で停止を。",
            "Slack user {user} speaks for operator {operator} now, vouched for by {vouched_by}; if nobody knows of it,"
            " run `seikyu freeze`.",
        ),
    ),
    "slack.unlinked": (
        NoticeKind.ALARM,
        Text("操作者 {operator} の Slack が外されました。", "Nobody in Slack speaks for operator {operator} now."),
    ),
    "operator.enrolled": (
        NoticeKind.ALARM,
        Text(
            "操作者 {name} が登録されました（保証人 {by}）。心当たりがなければ seikyu freeze で停止を。",
            "Operator {name} was enrolled, vouched for by {by}; if nobody knows of it, run `seikyu freeze`.",
        ),
    ),
    "operator.removed": (
        NoticeKind.ALARM,
        Text("{by} さんが操作者 {name} を削除しました。", "{by} removed operator {name}."),
    ),
    "operator.granted": (
        NoticeKind.ALARM,
        Text("{by} さんが操作者 {name} の役割と上限額を変えました。", "{by} changed the roles and ceiling of {name}."),
    ),
    "operator.delegated": (
        NoticeKind.ALARM,
        Text("{by} さんが {name} さんに決定の権限を委任しました。", "{by} lent {name} the right to decide."),
    ),
    "operator.undelegated": (
        NoticeKind.ALARM,
        Text("{by} さんが {name} さんへの権限の委任を終えました。", "{by} took back what was lent to {name}."),
    ),
    "operator.alarm": (
        NoticeKind.ALARM,
        Text(
            "操作者の権限の記録が書き換えられています。何も送信されません。seikyu audit verify を実行してください。",
            "The operators' records were tampered with; nothing is sent. Run `seikyu audit verify`.",
        ),
    ),
}


def is_told(kind: str, record: Record) -> bool:
    """Whether a row about an action may be worth a notice; a cheap look, before the action is read."""
    return kind in _ACTION_EVENTS or record.get("state") == State.MANUAL_REVIEW


def phrase(action: Action, title: Text) -> Text:
    """An action in a sentence: operation, amount and id; never the counterparty's or a model's words."""
    amount = action.particulars.amount
    money = "" if amount is None else f" {yen_text(amount)}"
    return Text(f"{title.ja}{money}（{action.id}）", f"{title.en}{money} ({action.id})")


def about_action(kind: str, record: Record, action: Action, title: Text) -> Announcement | None:
    """What a row about an action has to tell; None when nobody needs to hear of it."""
    stands = str(record.get("state", action.state.value))
    told, said = _ACTION_EVENTS.get(kind, (NoticeKind.DECIDED, None))
    if record.get("state") == State.MANUAL_REVIEW and told is not NoticeKind.ALARM:
        told, said = NoticeKind.NEEDS_PERSON, _NEEDS_PERSON
    elif not _is_worth_telling(kind, record, stands):
        return None
    if said is None:
        return None
    what = phrase(action, title)
    values = _values(record) | {"who": shown(action.requester, 60)}
    text = Text(said.ja.format_map(values | {"what": what.ja}), said.en.format_map(values | {"what": what.en}))
    if told in {NoticeKind.ALARM, NoticeKind.NEEDS_PERSON}:
        return Announcement(told, text)
    return Announcement(told, text, action.requester, stands)


def _is_worth_telling(kind: str, record: Record, stands: str) -> bool:
    if kind in {"proposed", "edited"}:
        # what the policy allows or denies at once is answered at once
        return stands == State.AWAITING
    return kind != "not_sent" or record.get("unsent_tries") == UNSENT_TOLD


def about_house(kind: str, record: Record) -> Announcement | None:
    """What a row that is about no action has to tell."""
    if kind not in _HOUSE_EVENTS:
        return None
    told, said = _HOUSE_EVENTS[kind]
    values = _values(record)
    return Announcement(told, Text(said.ja.format_map(values), said.en.format_map(values)))


def unreadable(seq: int) -> Announcement:
    """A row of the log, or the action it is about, that is not what we wrote."""
    return Announcement(
        NoticeKind.ALARM,
        Text(
            f"監査記録 {seq} かその申請を読めません。seikyu audit verify を実行してください。",
            f"Record {seq} of the log, or its action, cannot be read; run `seikyu audit verify`.",
        ),
    )


def call(escalate_to: Sequence[str]) -> Text:
    """Whom an escalation is for."""
    names = ", ".join(shown(name, 60) for name in escalate_to)
    return Text(f"{names} へ: ", f"To {names}:") if names else Text("操作者の皆さんへ: ", "To every operator:")


def _values(record: Record) -> dict[str, str]:
    """The names and ids of a record that a sentence may hold, made safe to show."""
    names = ("by", "reference", "os_user", "name", "connection", "event", "operator", "user", "vouched_by")
    return {name: shown(str(record.get(name) or "—"), 100) for name in names}
