"""What a provider tells by itself: kept once, looked into until it is known, and never believed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from gate.forgery import forge
from gate.stage import CONNECTION, Stage
from gate.traces import warned
from seikyu.errors import ProviderUnavailable, StoreBusy, Text
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.gate.claims import Claims
from seikyu.gate.events import GIVE_UP, KEPT, LEASE_S, PER_ROUND, Event, EventBook, Receipt, facts_after
from seikyu.gate.policy import PolicyBook
from seikyu.models import moment
from seikyu.spec import Connection, Json, Principal, Reader

pytestmark = pytest.mark.anyio

EVENT = Event("mfk-main", "E-1", "transaction.examined", "ab" * 32, "tx-A-1", "A-1")


async def passed() -> Mapping[str, Json]:
    return {"status": "passed"}


@dataclass
class Post:
    """An event book whose provider answers as the test says."""

    stage: Stage
    says: Callable[[], Awaitable[Mapping[str, Json]]] = passed
    asked: list[tuple[Connection, str]] = field(default_factory=list[tuple[Connection, str]])

    def __post_init__(self) -> None:
        readers: dict[str, Connection] = {}

        def reader_of(connection: Connection) -> Reader:
            readers["last"] = connection
            return self.stage.provider

        async def read_back(_reader: Reader, reference: str) -> Mapping[str, Json]:
            self.asked.append((readers["last"], reference))
            return await self.says()

        stage = self.stage
        operation = replace(stage.operation, read_back=read_back)
        claims = Claims(
            stage.store,
            stage.clock,
            stage.settings,
            book=PolicyBook(stage.settings.policy_file),
            operations={operation.name: operation},
            presence=stage.presence,
            restoration=stage.restoration,
        )
        self.book = EventBook(stage.store, stage.clock, claims, stage.executor, reader_of)

    async def done(self) -> Action:
        return await self.stage.executor.execute(self.stage.propose("A-1", 10_000).id)

    def records(self, *kinds: str) -> list[tuple[str, str | None, dict[str, Any]]]:
        with self.stage.store.read() as tx:
            rows = tx.all("audit_page", after=0, limit=1000)
        return [(row["kind"], row["action_id"], json.loads(row["record"])) for row in rows if row["kind"] in kinds]

    def stands(self, event: Event = EVENT) -> list[str]:
        with self.stage.store.read() as tx:
            return [row["state"] for row in tx.all("events_named", connection=event.connection, event_id=event.id)]


@pytest.fixture
def post(stage: Stage) -> Post:
    return Post(stage)


# what is kept


def test_what_came_is_in_the_log_and_the_same_id_with_another_body_is_flagged(post: Post) -> None:
    other = replace(EVENT, body_sha256="cd" * 32)

    receipts = [post.book.receive(one) for one in (EVENT, EVENT, other, other)]

    said = {"connection": "mfk-main", "event": "E-1", "type": "transaction.examined"}
    assert receipts == [Receipt.KEPT, Receipt.KNOWN, Receipt.CONFLICT, Receipt.KNOWN]
    assert post.records("event.received", "event.conflict") == [
        ("event.received", None, said | {"body_sha256": "ab" * 32}),
        ("event.conflict", None, said | {"body_sha256": "cd" * 32}),
    ]
    assert sorted(post.stands()) == ["conflict", "waiting"]


async def test_what_was_looked_into_is_forgotten_after_its_time_and_what_waits_is_not(post: Post) -> None:
    waits = replace(EVENT, id="E-2")
    for event in (EVENT, replace(EVENT, id="E-0", body_sha256="ef" * 32)):
        post.book.receive(event)
    await post.book.sweep()
    post.book.receive(waits)
    post.stage.clock.at += KEPT
    post.book.receive(replace(EVENT, id="E-3"))
    at_its_time = post.stands()
    post.stage.clock.advance(seconds=1)
    post.book.receive(replace(EVENT, id="E-4"))

    assert (at_its_time, post.stands(), post.stands(waits)) == (["not_ours"], [], ["waiting"])


# what is looked into


async def test_a_finished_action_is_asked_about_at_its_own_account_and_what_is_new_is_noted(post: Post) -> None:
    action = await post.done()

    async def canceled() -> Mapping[str, Json]:
        return {"status": "canceled", "理由": "重複"}

    post.says = canceled
    post.book.receive(EVENT)

    swept = await post.book.sweep()

    stored = '{"status": "canceled", "理由": "重複", "was": "passed"}'
    assert (swept, post.asked, post.stands()) == (1, [(CONNECTION, "tx-A-1")], ["looked_into"])
    assert post.stage.find(action.id).provider_facts == stored
    [(_, told, said)] = post.records("provider_says")
    assert (told, said["provider_facts"]) == (action.id, stored)
    assert post.records("event.looked_into") == [
        ("event.looked_into", action.id, {"event": "E-1", "type": "transaction.examined"})
    ]


async def test_what_somebody_changed_in_a_row_stays_a_stranger_to_the_log_when_the_provider_has_news(
    post: Post,
) -> None:
    action = await post.done()

    async def canceled() -> Mapping[str, Json]:
        return {"status": "canceled"}

    post.says = canceled
    forge(post.stage, "UPDATE action SET amount = 1")
    post.book.receive(EVENT)
    await post.book.sweep()

    assert len(post.records("provider_says")) == 1
    assert audit.verify(post.stage.store).fault == f"action {action.id} is not what the log says it is"


@pytest.mark.parametrize(
    "stored,facts,after",
    [
        (None, {"status": "passed"}, {"status": "passed"}),
        ('{"status": "passed"}', {"status": "passed"}, None),
        ('{"status": "passed"}', {"status": "canceled"}, {"status": "canceled", "was": "passed"}),
        ('{"status": "passed", "was": "new"}', {"status": "passed"}, None),
        (
            '{"status": "passed", "was": "new"}',
            {"status": "passed", "n": 1},
            {"status": "passed", "n": 1, "was": "new"},
        ),
        ('{"status": "b", "was": "a"}', {"status": "c"}, {"status": "c", "was": "b"}),
        ('{"n": 1}', {"n": 2}, {"n": 2}),
        ('{"n": 1}', {"status": "passed"}, {"status": "passed"}),
        ('{"status": "passed"}', {"n": 1}, {"n": 1, "was": "passed"}),
    ],
)
def test_of_new_facts_the_status_before_is_kept(
    stored: str | None, facts: Mapping[str, Json], after: Mapping[str, Json] | None
) -> None:
    found = facts_after(stored, facts)

    assert (None if found is None else json.loads(found)) == after


@pytest.mark.parametrize("change", ["reference = 'tx-other'", "state = 'manual_review'"])
async def test_an_answer_about_what_the_action_no_longer_is_is_not_noted(post: Post, change: str) -> None:
    action = await post.done()

    async def meanwhile() -> Mapping[str, Json]:
        forge(post.stage, f"UPDATE action SET {change}")  # noqa: S608 - our own words
        return {"status": "canceled"}

    post.says = meanwhile
    post.book.receive(EVENT)
    await post.book.sweep()

    assert post.stage.find(action.id).provider_facts == '{"status": "passed"}'
    assert post.records("provider_says") == []


@pytest.mark.parametrize("number,is_alarm", [("A-1", True), (None, False), ("A-2", False)])
async def test_our_number_at_the_provider_of_what_is_not_written_is_an_alarm(
    post: Post, caplog: pytest.LogCaptureFixture, *, number: str | None, is_alarm: bool
) -> None:
    action = post.stage.propose("A-1", 100_000)
    post.stage.desk.withdraw(action.id, Principal("suzuki", "test"))
    post.book.receive(replace(EVENT, reference="A-1", number=number))

    await post.book.sweep()

    told = [("contradicted", action.id, {"event": "E-1", "type": "transaction.examined"})]
    assert post.records("contradicted") == (told if is_alarm else [])
    assert [record.levelname for record in warned(caplog)] == (["CRITICAL"] if is_alarm else [])
    assert post.stands() == ["looked_into"]


async def test_what_only_a_person_can_settle_is_left_to_them(post: Post) -> None:
    action = await post.done()
    forge(post.stage, "UPDATE action SET state = 'manual_review'")
    post.book.receive(EVENT)

    await post.book.sweep()

    assert (post.stage.find(action.id).state, post.asked, post.stands()) == (State.MANUAL_REVIEW, [], ["looked_into"])


async def test_an_action_without_a_reference_is_asked_about_by_nobody(post: Post) -> None:
    await post.done()
    forge(post.stage, "UPDATE action SET reference = NULL")
    post.book.receive(EVENT)

    await post.book.sweep()

    assert (post.asked, post.stands()) == ([], ["looked_into"])


async def test_an_event_about_nothing_of_ours_is_closed_and_no_action_hears_of_it(post: Post) -> None:
    await post.done()
    post.book.receive(replace(EVENT, reference="tx-X", number="X"))

    await post.book.sweep()

    assert (post.stands(), post.records("event.looked_into", "event.not_ours")) == (["not_ours"], [])


async def test_another_account_with_the_same_number_is_not_asked_about(post: Post) -> None:
    await post.done()
    post.book.receive(replace(EVENT, connection="mfk-other"))

    await post.book.sweep()

    assert post.asked == []


# what cannot be looked into yet


@pytest.mark.parametrize(
    "fault", [ProviderUnavailable(Text("応答がありません。", "It does not answer.")), ValueError("ours")]
)
async def test_it_is_tried_again_ever_later_and_given_up_after_three_days(
    post: Post, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    action = await post.done()

    async def broken() -> Mapping[str, Json]:
        raise fault

    post.says = broken
    post.book.receive(EVENT)
    received, tried = post.stage.clock.at, list[int]()
    while post.stands() == ["waiting"] and len(tried) < 200:
        if await post.book.sweep():
            tried.append(int((post.stage.clock.at - received).total_seconds()))
        with post.stage.store.read() as tx:
            due = tx.all("events_due", now="9999-12-31T00:00:00.000000Z", limit=1)
        post.stage.clock.at = moment(due[0]["not_before"]) if due else post.stage.clock.at

    assert tried[:8] == [0, 5, 10, 20, 40, 80, 160, 320]
    assert {after - before for before, after in zip(tried[-60:], tried[-59:], strict=False)} == {3600}
    assert tried[-2] < GIVE_UP.total_seconds() <= tried[-1]
    assert post.stands() == ["given_up"]
    assert post.records("event.given_up") == []
    assert post.stage.find(action.id).state is State.SUCCEEDED
    assert all(record.message.startswith("event E-1 of mfk-main waits") for record in warned(caplog))


async def test_an_action_that_is_being_sent_is_waited_for(post: Post) -> None:
    action = post.stage.propose("A-1", 10_000)
    post.stage.claims.take(action.id)
    post.book.receive(EVENT)

    await post.book.sweep()

    assert (post.stands(), post.asked) == (["waiting"], [])


async def test_what_one_process_looks_into_is_left_alone_by_others_for_as_long_as_its_lease(post: Post) -> None:
    await post.done()
    others = list[int]()

    async def meanwhile() -> Mapping[str, Json]:
        post.says = passed
        for seconds in (0, LEASE_S - 1, 1):
            post.stage.clock.advance(seconds=seconds)
            others.append(await post.book.sweep())
        return {"status": "passed"}

    post.says = meanwhile
    post.book.receive(EVENT)
    await post.book.sweep()

    assert others == [0, 0, 1]


async def test_a_round_looks_into_fifty_and_the_next_into_the_rest(post: Post) -> None:
    for place in range(PER_ROUND + 1):
        post.book.receive(replace(EVENT, id=f"E-{place}"))

    assert [await post.book.sweep() for _ in range(3)] == [50, 1, 0]


async def test_a_database_out_of_reach_is_told_in_a_line_and_looking_goes_on(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    await post.done()
    post.book.receive(EVENT)
    rounds = 0

    class Failing(EventBook):
        async def sweep(self) -> int:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                raise StoreBusy(Text("接続できません。", "It is out of reach."))
            count = await super().sweep()
            working.cancel()
            return count

    post.book.__class__ = Failing
    with anyio.fail_after(20), anyio.CancelScope() as working:
        await post.book.work(poll_s=0)

    assert (rounds, post.stands()) == (2, ["looked_into"])
    told = [(one.getMessage(), one.exc_info) for one in warned(caplog)]
    assert told == [("events wait: It is out of reach.", None)]
