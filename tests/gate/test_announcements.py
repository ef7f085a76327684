"""In which words people are told what stands in the log, and how a server goes on telling."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

from gate.forgery import forge
from gate.messenger import PretendChannel, messenger, rows, states
from gate.stage import Stage
from seikyu.errors import NotDelivered, Text
from seikyu.gate import audit
from seikyu.gate.announcements import about_action
from seikyu.gate.gathering import FLOOD_AFTER
from seikyu.gate.notices import Notice, NoticeKind
from seikyu.gate.reminders import stages
from seikyu.settings import Timing

pytestmark = pytest.mark.anyio

LONG = "x" * 200
LINKED = (
    "Slack user U1 speaks for operator sato now, vouched for by tanaka; if nobody knows of it, run `seikyu freeze`."
)
LINKED_JA = "Slack の U1 が操作者 sato に対応しました（保証人 tanaka）。心当たりがなければ seikyu freeze で停止を。"
DOWN = NotDelivered(Text("不通", "no route"))


def write(stage: Stage, kind: str, action_id: str | None = None, **said: Any) -> None:
    with stage.store.write() as tx:
        audit.append(tx, stage.clock.now(), kind, action_id, **said)


# the house


@pytest.mark.parametrize(
    "kind,said,told",
    [
        (
            "frozen",
            {"os_user": "ito"},
            ("frozen", "ito さんが緊急停止しました。何も送信されません。", "ito froze everything: nothing is sent."),
        ),
        ("unfrozen", {"by": "kato"}, ("frozen", "kato さんが緊急停止を解除しました。", "kato lifted the freeze.")),
        (
            "event.conflict",
            {"connection": "mfk-main", "event": "E-1"},
            (
                "alarm",
                "mfk-main から同じ番号 E-1 で内容の違う通知が届きました。後のものは使いません。",
                "mfk-main sent two different events with the same id, E-1; the second is not used.",
            ),
        ),
        (
            "slack.linked",
            {"user": "U1", "operator": "sato", "vouched_by": "tanaka"},
            (
                "alarm",
                LINKED_JA,
                LINKED,
            ),
        ),
        (
            "slack.unlinked",
            {"operator": "sato"},
            ("alarm", "操作者 sato の Slack が外されました。", "Nobody in Slack speaks for operator sato now."),
        ),
        (
            "operator.removed",
            {"name": "sa\u202eto"},
            ("alarm", "— さんが操作者 sa⟨U+202E⟩to を削除しました。", "— removed operator sa⟨U+202E⟩to."),
        ),
        (
            "operator.removed",
            {"by": LONG, "name": "sato"},
            ("alarm", f"{LONG[:99]}… さんが操作者 sato を削除しました。", f"{LONG[:99]}… removed operator sato."),
        ),
    ],
)
async def test_what_is_about_no_action_is_told_with_the_names_that_stand_in_the_log(
    stage: Stage, kind: str, said: dict[str, Any], told: tuple[str, str, str]
) -> None:
    channel = PretendChannel()
    write(stage, kind, **said)

    await messenger(stage, channel).round()

    [notice] = channel.taken
    assert (notice.kind.value, notice.text.ja, notice.text.en, notice.action_id) == (*told, None)


async def test_a_row_nobody_needs_to_hear_of_is_not_told(stage: Stage) -> None:
    channel = PretendChannel()
    write(stage, "something.else", by="kato")

    await messenger(stage, channel).round()

    assert channel.taken == []


async def test_a_requester_with_an_endless_name_is_told_of_with_sixty_characters(stage: Stage) -> None:
    channel = PretendChannel()
    action = stage.propose("A-1", 100_000, requester=LONG)

    await messenger(stage, channel).round()

    asked = f"{LONG[:59]}… asks for approval: Register a transaction 100,000円 ({action.id})."
    assert channel.said == [("asked", asked)]


async def test_a_row_that_names_no_state_is_told_with_the_one_the_action_has(stage: Stage) -> None:
    action = stage.propose("A-1", 100_000)

    told = about_action("withdrawn", {}, action, Text("登録", "Register"))

    assert told is not None
    assert told.stands == "awaiting_approval"


async def test_what_the_provider_contradicts_is_a_case_for_a_person_and_never_counted_together(stage: Stage) -> None:
    channel = PretendChannel()
    delivery = messenger(stage, channel)
    action = stage.propose("A-1", 100_000)
    await delivery.round()
    for _ in range(FLOOD_AFTER + 2):
        write(stage, "contradicted", action.id)

    await delivery.round()

    what = f"Register a transaction 100,000円 ({action.id})"
    told = f"The provider has its number, although nothing should be written; look at it there: {what}."
    assert channel.said[1:] == [("needs_person", told)] * (FLOOD_AFTER + 2)


async def test_after_a_downgrade_an_operation_goes_by_its_plain_name(stage: Stage) -> None:
    channel = PretendChannel()
    action = stage.propose("A-1", 100_000)
    stage.operation = replace(stage.operation, name="mfkessai.another")

    await messenger(stage, channel).round()

    what = f"mfkessai.create_transaction 100,000円 ({action.id})"
    assert channel.said == [("asked", f"suzuki asks for approval: {what}.")]


# floods


async def test_a_flood_is_told_as_one_with_whose_how_many_and_how_many_wait(stage: Stage) -> None:
    channel = PretendChannel()
    for number in range(FLOOD_AFTER + 3):
        stage.propose(f"A-{number}", 60_000 + number, requester="鈴\u202e木" + LONG)

    delivery = messenger(stage, channel)
    for _ in range(2):
        await delivery.round()
        stage.clock.advance(minutes=6)

    name = "鈴⟨U+202E⟩木" + LONG[:56] + "…"
    total = FLOOD_AFTER + 3
    assert channel.taken[-1].text == Text(
        f"{name} さんの申請{total - FLOOD_AFTER}件（承認待ち）をまとめてお知らせします。"
        f"承認待ちは全部で{total}件です。",
        f"{total - FLOOD_AFTER} requests of {name}, told together: waiting for approval."
        f" {total} of theirs wait for approval in all.",
    )


# reminders


@pytest.mark.parametrize(
    "percents,expected",
    [
        ((50, 90, 95), [50, 90, 95]),
        ((90, 50, 95), [50, 90, 95]),
        ((1, 99, 2), [1, 2, 99]),
        ((0, 100, 0), []),
        ((0, 90, 100), [90]),
    ],
)
def test_people_are_reminded_in_the_order_of_time_and_never_at_0_or_100_percent(
    percents: tuple[int, int, int], expected: list[int]
) -> None:
    first, again, escalate = percents

    made = stages(Timing(remind_percent=first, remind_again_percent=again, escalate_percent=escalate))

    assert [one.percent for one in made] == expected


async def test_a_reminder_is_due_at_its_second_and_no_sooner(stage: Stage) -> None:
    channel = PretendChannel()
    delivery = messenger(stage, channel, timing=Timing(remind_percent=50, remind_again_percent=0, escalate_percent=0))
    stage.propose("A-1", 100_000)
    await delivery.round()
    stage.clock.advance(hours=36, seconds=-1)
    await delivery.round()
    before = len(channel.taken)
    stage.clock.advance(seconds=1)

    await delivery.round()

    assert before == 1
    assert [notice.kind for notice in channel.taken] == [NoticeKind.ASKED, NoticeKind.REMINDER]


async def test_a_request_somebody_wrote_into_keeps_nobody_else_from_being_reminded_of(stage: Stage) -> None:
    channel = PretendChannel()
    delivery = messenger(stage, channel)
    broken, whole = stage.propose("A-1", 100_000), stage.propose("A-2", 100_001)
    await delivery.round()
    forge(stage, "UPDATE action SET revision = 'x' WHERE id = ?", broken.id)
    stage.clock.advance(hours=40)

    await delivery.round()

    assert [row["action_id"] for row in rows(stage) if row["kind"] == "reminder"] == [whole.id]


# a server at work


@dataclass
class Paced:
    """A channel that ends the work once it was told as much as the test waits for."""

    name: str
    wanted: int
    ended: anyio.Event
    tried: int = 0
    is_broken: bool = False

    async def deliver(self, notice: Notice) -> None:
        assert notice.text.en
        self.tried += 1
        if self.tried == self.wanted:
            self.ended.set()
        if self.is_broken:
            raise DOWN


async def test_a_server_goes_on_telling_each_channel_at_its_own_pace(stage: Stage) -> None:
    ended = anyio.Event()
    slow, quick = Paced("slow", -1, ended, is_broken=True), Paced("quick", 3, ended)
    delivery = messenger(stage, slow, quick)
    stage.propose("A-1", 100_000)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                await delivery.work(poll_s=0)

            tasks.start_soon(work)
            while quick.tried < 1:
                await anyio.lowlevel.checkpoint()
            for number in (2, 3):
                stage.propose(f"A-{number}", 100_000 + number)
            await ended.wait()
            tasks.cancel_scope.cancel()

    assert (quick.tried, slow.tried > 0) == (3, True)


async def test_a_locked_database_is_logged_and_tried_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    ended = anyio.Event()
    channel = Paced("quick", 1, ended)
    delivery = messenger(stage, channel)
    stage.propose("A-1", 100_000)
    healthy, faults = stage.store.run, list[str]()

    async def fails_twice(work: Any) -> Any:
        if len(faults) < 2:
            faults.append("locked")
            raise DOWN
        return await healthy(work)

    object.__setattr__(stage.store, "run", fails_twice)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                await delivery.work(poll_s=0)

            tasks.start_soon(work)
            await ended.wait()
            tasks.cancel_scope.cancel()

    assert {record.message for record in caplog.records if record.levelno == logging.WARNING} == {
        "no notices were gathered: no route",
        "nothing was delivered to quick: no route",
    }


# what reached nobody


async def test_an_alarm_that_reached_nobody_is_in_the_log_with_its_action_and_the_fault_is_kept(stage: Stage) -> None:
    async def down(_notice: Notice) -> None:
        raise DOWN

    channel = PretendChannel(mood=down)
    delivery = messenger(stage, channel)
    action = stage.propose("A-1", 100_000)
    await delivery.round()
    write(stage, "contradicted", action.id)
    for _ in range(4):
        stage.clock.advance(hours=12)
        await delivery.round()

    with stage.store.read() as tx:
        told = [row for row in audit.history(tx, action.id) if row["kind"] == "notice_given_up"]
    assert [(row["notice_kind"], row["channel"], row["notice"][:4]) for row in told] == [
        ("needs_person", "pretend", "log-")
    ]
    assert "given_up" in states(stage)
    assert {row["fault"] for row in rows(stage) if row["state"] == "given_up"} == {"no route"}
