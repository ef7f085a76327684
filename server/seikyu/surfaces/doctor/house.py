"""The gate's own affairs: is it held, what waits for a person, who may decide, which doors are open."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from seikyu.errors import Text
from seikyu.gate import freezing
from seikyu.gate.actions import State
from seikyu.gate.operators import list_operators, same_person
from seikyu.models import timestamp
from seikyu.settings import LOOPBACK_HOSTS
from seikyu.surfaces.doctor.findings import Findings, note, ok, warning
from seikyu.surfaces.doctor.patient import Patient

STUCK: Final = timedelta(minutes=30)
"""A notice is tried at once, then within a quarter of an hour."""
LOST_SINCE: Final = timedelta(days=7)


def look_at_freeze(patient: Patient) -> Findings:
    """The kill switch, or the hold of a restored database."""
    with patient.store.read() as tx:
        held = freezing.standing(tx)
    if held is None:
        yield ok("gate.freeze", Text("緊急停止していません。", "Nothing is frozen."))
        return
    yield warning("gate.freeze", held.text, _RECONCILE if held.kind == freezing.RESTORED else _UNFREEZE)


_UNFREEZE: Final = Text(
    "理由が片付いたら、操作者が seikyu unfreeze --by 名前 を実行します。",
    "Once the reason is settled, an operator runs `seikyu unfreeze --by NAME`.",
)
_RECONCILE: Final = Text(
    "送信した各マシンで seikyu reconcile を実行し、その後で操作者が seikyu unfreeze を実行します。",
    "Run `seikyu reconcile` on each machine that sent; then an operator runs `seikyu unfreeze`.",
)


def look_at_actions(patient: Patient) -> Findings:
    """What does not go on without a person."""
    with patient.store.read() as tx:
        totals = {str(row["state"]): int(row["total"]) for row in tx.all("action_counts")}
    unknown, review = totals.get(State.UNKNOWN, 0), totals.get(State.MANUAL_REVIEW, 0)
    waiting = totals.get(State.AWAITING, 0)
    if unknown:
        yield warning(
            "actions.unknown",
            Text(f"結果が不明な申請が{unknown}件あります。", f"The outcome of {unknown} action(s) is not known."),
            Text(
                "seikyu reconcile を実行するか、seikyu serve を動かしてください。",
                "Run `seikyu reconcile`, or keep `seikyu serve` running: it looks them up.",
            ),
        )
    if review:
        yield warning(
            "actions.manual_review",
            Text(f"人の確認を待つ申請が{review}件あります。", f"{review} action(s) wait for a person's look."),
            Text(
                "提供元の画面で確かめ、seikyu resolve で記録してください。",
                "Look at the provider's own screen, then use `seikyu resolve`.",
            ),
        )
    if waiting:
        yield note(
            "actions.awaiting",
            Text(f"承認を待つ申請が{waiting}件あります。", f"{waiting} action(s) wait for approval."),
            Text("seikyu actions で見られます。", "See them with `seikyu actions`."),
        )
    if not unknown and not review:
        yield ok("actions.unknown", Text("結果が不明な申請はありません。", "No outcome is unknown."))


def look_at_outbox(patient: Patient) -> Findings:
    """Notices that should long have left, and those that reached nobody."""
    now = patient.clock.now()
    with patient.store.read() as tx:
        stuck = tx.all("stuck_notices", before=timestamp(now - STUCK))
        lost = tx.all("lost_notices", since=timestamp(now - LOST_SINCE))
    for row in stuck:
        yield warning(
            "outbox.stuck",
            Text(
                f"{row['channel']} に届いていない通知が{row['total']}件あります。",
                f"{row['total']} notice(s) have been on their way to {row['channel']} for over half an hour.",
            ),
            Text(
                "seikyu serve が動いているか確かめ、seikyu outbox で理由を見てください。",
                "See that `seikyu serve` runs, and why in `seikyu outbox`.",
            ),
            about=str(row["channel"]),
        )
    for row in lost:
        yield warning(
            "outbox.lost",
            Text(
                f"{row['channel']} への通知{row['total']}件を、この7日間に諦めました。",
                f"{row['total']} notice(s) to {row['channel']} were given up in the last 7 days.",
            ),
            Text("通知先を確かめてください: seikyu outbox", "Look at the channel: `seikyu outbox`."),
            about=str(row["channel"]),
        )
    if not stuck and not lost:
        yield ok("outbox.stuck", Text("滞っている通知はありません。", "No notice is stuck."))


def look_at_operators(patient: Patient) -> Findings:
    """Whether anybody can decide on this requester's actions."""
    with patient.store.read() as tx:
        active = [operator.name for operator in list_operators(tx) if operator.is_active]
    requester = patient.settings.requester
    others = [name for name in active if not same_person(name, requester)]
    add = Text("seikyu operator add で登録してください。", "Enrol them with `seikyu operator add`.")
    if not active:
        yield warning(
            "operators.enrolled",
            Text("操作者がいないため、誰も承認できません。", "No operator is enrolled: nobody can approve anything."),
            add,
        )
    elif not others:
        yield warning(
            "operators.enrolled",
            Text(
                f"操作者は依頼者（{requester}）本人だけで、その申請は誰も承認できません。",
                f"The only operator is the requester ({requester}), who never decides on their own requests.",
            ),
            add,
        )
    elif len(active) == 1:
        yield note(
            "operators.enrolled",
            Text("操作者は1名です。", "There is one operator."),
            Text(
                "代わりがいないため、もう1名登録してください。",
                "Enrol another, so that one can replace the other.",
            ),
        )
    else:
        yield ok("operators.enrolled", Text(f"操作者は{len(active)}名です。", f"{len(active)} operators are enrolled."))


def look_at_doors(patient: Patient) -> Findings:
    """What can be reached, and from where, once a server runs over HTTP."""
    settings = patient.settings
    if settings.public_host is None:
        yield ok(
            "doors.public",
            Text("この機械の外からは何も届きません。", "Nothing can be reached from outside this machine."),
        )
        if settings.slack is not None:
            yield warning(
                "doors.public",
                Text(
                    "Slack の決定が届きません（SEIKYU_PUBLIC_HOST がありません）。",
                    "Decisions in Slack cannot come in: there is no SEIKYU_PUBLIC_HOST.",
                ),
                Text("公開名を設定してください。", "Set it to the name of your proxy or tunnel."),
            )
    else:
        yield ok(
            "doors.public",
            Text(
                f"{settings.public_host} では署名付きの受付だけが開きます。",
                f"Under {settings.public_host} the signed routes are open, and nothing else.",
            ),
        )
    yield from _page(settings.approvals_url)


def _page(url: str | None) -> Findings:
    if url is None:
        return
    if _is_ours(url):
        yield ok("doors.approvals", Text("承認画面はこの機械だけで開きます。", "The approval page is this machine's."))
        return
    yield warning(
        "doors.approvals",
        Text(
            "SEIKYU_APPROVALS_URL の画面は開きません。この機械からだけ見られます。",
            "SEIKYU_APPROVALS_URL does not open the approval page, which answers on this machine only.",
        ),
        Text(
            "http://127.0.0.1:8787/approvals の形で書いてください。",
            "Write it as http://127.0.0.1:8787/approvals, with the port of `seikyu serve --http`.",
        ),
    )


def _is_ours(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_here = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS and parts.port is not None
    except ValueError:  # urlsplit refuses some ports and brackets
        return False
    return is_here and not parts.username and not parts.query
