"""What happens to an action, in the words of those who read its history: on the page and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from seikyu.errors import Text

EVENTS: Final[Mapping[str, Text]] = {
    "proposed": Text("申請", "proposed"),
    "voted": Text("承認", "approved"),
    "approved": Text("承認（必要数に到達）", "approved, all votes are there"),
    "rejected": Text("却下", "rejected"),
    "returned": Text("差戻し", "sent back"),
    "revoked": Text("承認取消", "approval revoked"),
    "withdrawn": Text("取り下げ", "withdrawn"),
    "expired": Text("期限切れ", "expired"),
    "edited": Text("修正（新しい版）", "edited, a new revision"),
    "asked_again": Text("承認のやり直し", "asked again"),
    "denied": Text("方針により拒否", "denied by the policy"),
    "alarm": Text("改ざんを検知し停止", "stopped: something was tampered with"),
    "claimed": Text("送信開始", "sending"),
    "succeeded": Text("完了", "done"),
    "differs": Text("提供元の内容が申請と相違", "the provider has something else"),
    "refused": Text("提供元が拒否", "refused by the provider"),
    "never_sent": Text("送信できず終了", "given up without being sent"),
    "not_sent": Text("未送信（再試行します）", "not sent, will be tried again"),
    "outcome_unknown": Text("結果不明", "outcome unknown"),
    "abandoned": Text("送信中に中断", "interrupted while sending"),
    "looked_up": Text("提供元に照会", "looked up at the provider"),
    "proven_absent": Text("未登録を確認", "proven not to exist"),
    "needs_person": Text("人の確認待ち", "a person has to look"),
    "fenced": Text("古い送信結果を記録", "a late answer was recorded"),
    "concluded": Text("結果を確認（他の操作者の確認待ち）", "looked at the provider; others have to agree"),
    "resolved": Text("人が結果を確認", "a person recorded the result"),
}

NOT_SHOWN: Final = frozenset({"sealed"})
"""The seal of a decision; the decision itself is the next row."""
