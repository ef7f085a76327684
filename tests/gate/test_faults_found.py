"""Faults that were found once, each with the test that failed before it was mended."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gate.forgery import forge
from gate.stage import POLICY, Stage, make_stage
from seikyu.errors import ConfigurationError, NotAllowed, OutcomeNotRecorded, StoreBusy, Text, VoteRefused
from seikyu.gate import audit, operators
from seikyu.gate.actions import WRITTEN, Action, State
from seikyu.gate.claims import Claim, Claims
from seikyu.gate.execution import Executor
from seikyu.gate.operators import same_person
from seikyu.gate.policy import parse_policy
from seikyu.gate.votes import Ballot
from seikyu.spec import Different, Done, Lost, NotSent, Principal, Refused, Sent
from seikyu.store.database import Store

pytestmark = pytest.mark.both_stores

CUT = Lost(Text("切断", "cut"))
CONFLICT = Refused(Text("登録済み", "exists"), 409, ("already_exists",))


async def proven_absent(stage: Stage, number: str = "A-1") -> Action:
    """An action whose first answer was lost and whose look-ups found nothing for the whole quiet period."""
    stage.provider.answers.append(lambda _request: CUT)
    action = stage.propose(number, 50_000)
    await stage.executor.execute(action.id)
    stage.provider.answers.append(lambda _request: NotSent(Text("不通", "no route")))
    for _ in range(20):
        stage.clock.advance(seconds=10)
        await stage.executor.sweep()
        if stage.find(action.id).state is State.APPROVED:
            return stage.find(action.id)
    raise AssertionError("never proven absent")


def test_overlapping_transactions_keep_every_lock_so_another_process_cannot_remove_the_log(tmp_path: Path) -> None:
    store = Store(tmp_path / "home" / "seikyu.db")
    with store.read(), store.read() as inner:
        inner.one("audit_head")
    before = (tmp_path / "home" / "seikyu.db-wal").stat().st_ino
    visitor = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM action'); c.close()"
    )

    subprocess.run([sys.executable, "-c", visitor, str(tmp_path / "home" / "seikyu.db")], check=True, timeout=30)

    assert (tmp_path / "home" / "seikyu.db-wal").stat().st_ino == before
    store.close()


@pytest.mark.fault("F10")
@pytest.mark.parametrize("times", [1, 3])
async def test_an_outcome_the_database_would_not_take_at_first_is_stored_later_or_told_as_possible(
    stage: Stage, times: int
) -> None:
    class Busy(Claims):
        left = times

        def finish(self, claim: Claim, sent: Sent) -> Action:
            self.left -= 1
            if self.left >= 0:
                raise StoreBusy(Text("使用中", "locked"))
            return super().finish(claim, sent)

    stage.claims.__class__ = Busy
    executor = Executor(
        stage.store,
        stage.clock,
        stage.claims,
        reconciliation=stage.reconciliation,
        client_of=lambda _connection: stage.provider,
        record_waits_s=(0, 0),
    )
    action = stage.propose("A-1", 50_000)

    if times == 1:
        assert (await executor.execute(action.id)).state is State.SUCCEEDED
    else:
        with pytest.raises(OutcomeNotRecorded) as told:
            await executor.execute(action.id)
        assert "Nothing was written" not in told.value.say("en")
        assert "may have been written" in told.value.say("en")
    assert stage.provider.sends == 1


async def test_a_conflict_after_a_lost_answer_is_for_a_person_when_what_stands_there_differs(stage: Stage) -> None:
    await proven_absent(stage)
    found = Different(Text("取消済み", "cancelled meanwhile"), "tx-A-1")

    async def differs(*_: object) -> Different:
        return found

    object.__setattr__(stage.operation, "look_up", differs)
    stage.provider.answers.append(lambda _request: CONFLICT)
    stage.clock.advance(minutes=10)
    [action] = await stage.executor.sweep()

    assert action.state is State.MANUAL_REVIEW
    assert WRITTEN[action.state] == "unknown"


@pytest.mark.parametrize("ending", ["withdraw", "expire", "refuse"])
async def test_an_action_that_may_have_left_is_never_closed_as_not_written(stage: Stage, ending: str) -> None:
    action = await proven_absent(stage)

    if ending == "withdraw":
        after = stage.desk.withdraw(action.id, Principal("suzuki", "test"))
    elif ending == "expire":
        stage.clock.advance(hours=25)
        after = await stage.executor.execute(action.id)
    else:
        stage.provider.answers.append(lambda _request: Refused(Text("不正", "bad"), 400, ("invalid",)))
        stage.clock.advance(minutes=10)
        [after] = await stage.executor.sweep()

    assert after.state is State.MANUAL_REVIEW
    assert stage.cards.view(after, have=0, lang="en").written == "unknown"


@pytest.mark.parametrize(
    "poison",
    [
        "UPDATE vote SET statement = 'x'",
        "UPDATE vote SET statement = '[]'",
        "UPDATE action SET canonical = '{}' WHERE id = (SELECT min(id) FROM action)",
    ],
)
async def test_one_spoilt_row_does_not_stop_the_others(stage: Stage, poison: str) -> None:
    key = stage.enrol("tanaka")
    first = stage.propose("A-1", 100_000)
    stage.approve(first, key)
    stage.clock.advance(seconds=1)
    second = stage.propose("A-2", 40_000, counterparty_id="C-2", counterparty_name="別の会社")
    forge(stage, poison)

    await stage.executor.sweep()

    assert stage.find(first.id).state is not State.SUCCEEDED
    assert stage.find(second.id).state is State.SUCCEEDED


async def test_an_operation_changed_in_its_column_is_not_the_one_that_is_sent(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000)
    stage.approve(action, key)
    forge(stage, "UPDATE action SET operation = 'mfkessai.cancel_transaction'")

    await stage.executor.sweep()

    assert [seen.name for seen in stage.provider.operations] in ([], ["mfkessai.create_transaction"])


async def test_a_look_up_that_breaks_inside_seikyu_is_tried_again_and_stops_nobody(stage: Stage) -> None:
    stage.provider.answers.append(lambda _request: CUT)
    unknown = stage.propose("A-1", 50_000)
    await stage.executor.execute(unknown.id)
    working = stage.operation.look_up

    async def broken(*_: object) -> Done:
        raise ValueError("a fault of ours")

    object.__setattr__(stage.operation, "look_up", broken)
    stage.clock.advance(seconds=5)
    small = stage.propose("A-2", 40_000, counterparty_id="C-2", counterparty_name="別の会社")
    await stage.executor.sweep()
    object.__setattr__(stage.operation, "look_up", working)

    assert stage.find(small.id).state is State.SUCCEEDED
    assert stage.find(unknown.id).state is State.UNKNOWN


async def test_the_daily_limit_holds_for_what_was_approved_the_day_before(tmp_path: Path) -> None:
    stage = make_stage(
        tmp_path / "home",
        POLICY.replace("over the day's limit", "limit").replace(
            '[[allow]]\nid = "small"',
            '[[deny]]\nid = "day"\nwhy = "day"\ndaily_total_over = 60_000\n[[allow]]\nid = "small"',
        ),
    )
    object.__setattr__(stage.settings.timing, "approved_s", 10 * 24 * 3600)
    stage.clock.at = stage.clock.at.replace(hour=14, minute=50)  # 23:50 in Japan
    actions: list[Action] = []
    for number in range(3):
        stage.clock.advance(days=1)  # each proposed on a day of its own, so each is within that day's limit
        actions.append(stage.propose(f"A-{number}", 40_000 + number, counterparty_id=f"C-{number}"))
    stage.clock.advance(minutes=20)

    await stage.executor.sweep()

    assert sorted(stage.find(one.id).state for one in actions) == [State.DENIED, State.DENIED, State.SUCCEEDED]
    stage.store.close()
    stage.presence.leave()


@pytest.mark.parametrize(
    "condition,said",
    [
        ('operation = "mfkessai.create_transactions"', "mfkessai.create_transactions"),
        ("operation = []", "operation"),
        ('connection = "mfk-mian"', "mfk-mian"),
    ],
)
def test_a_misspelt_name_in_a_rule_is_refused_for_the_rule_would_vanish(condition: str, said: str) -> None:
    wrong = POLICY.replace('id = "too-large"', f'id = "too-large"\n{condition}')

    with pytest.raises(ConfigurationError, match=said):
        parse_policy(wrong, "policy.toml", ["mfk-main"])


def test_a_policy_that_is_not_utf_8_is_refused_with_its_line(stage: Stage) -> None:
    stage.settings.policy_file.write_bytes(POLICY.replace("too large", "大きすぎる").encode("shift_jis"))

    with pytest.raises(ConfigurationError, match="line 7: not UTF-8"):
        stage.propose("A-1", 50_000)


async def test_actions_that_wait_for_a_person_do_not_starve_the_others(stage: Stage) -> None:
    gone = NotSent(Text("要再接続", "connect again"), needs_person=True)
    stage.provider.answers = [lambda _request: gone] * 30
    for number in range(30):
        stage.propose(f"W-{number}", 1_000 + number, counterparty_id=f"W-{number}")
    for _ in range(2):
        await stage.executor.sweep()
    stage.provider.answers = []
    healthy = stage.propose("A-1", 50_000)

    await stage.executor.sweep()

    assert stage.find(healthy.id).state is State.SUCCEEDED


async def test_a_cancelled_caller_does_not_stop_what_was_begun(stage: Stage) -> None:
    reached = asyncio.Event()
    release = asyncio.Event()
    action = stage.propose("A-1", 50_000)
    send = stage.provider.send

    async def slow(*arguments: object, **named: object) -> Sent:
        reached.set()
        await release.wait()
        return await send(*arguments, **named)  # type: ignore[arg-type]

    stage.provider.send = slow  # type: ignore[method-assign]
    caller = asyncio.create_task(stage.executor.execute(action.id))
    await reached.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    release.set()
    await stage.executor.drain()

    assert stage.find(action.id).state is State.SUCCEEDED


async def test_a_duplicate_that_ran_after_the_vote_is_asked_about_again_and_the_vote_is_void(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    older = stage.propose("A-1", 100_000)
    stage.approve(older, key)
    twin = stage.propose("A-2", 100_000)
    stage.approve(twin, key)
    await stage.executor.execute(twin.id)

    after = await stage.executor.execute(older.id)

    assert (after.state, after.revision, stage.desk.have_votes([after])[after.id]) == (State.AWAITING, 2, 0)
    assert any(twin.id in note.en for note in after.note_texts)
    assert stage.provider.sends == 1


async def test_a_vote_on_what_was_shown_before_it_was_asked_anew_does_not_count(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    late = stage.enrol("sato", first)
    older = stage.propose("A-1", 100_000)
    stage.approve(older, first)
    twin = stage.propose("A-2", 100_000)
    stage.approve(twin, first)
    await stage.executor.execute(twin.id)
    await stage.executor.execute(older.id)  # asked anew: it looks like a duplicate now

    with pytest.raises(VoteRefused, match="What you saw"):
        stage.approve(older, late)
    assert stage.find(older.id).state is State.AWAITING


async def test_a_refusal_that_never_matches_anything_goes_to_a_person_in_the_end(stage: Stage) -> None:
    stage.provider.answers = [lambda _request: CONFLICT] * 50
    action = stage.propose("A-1", 50_000)

    for _ in range(200):
        await stage.executor.sweep()
        stage.clock.advance(seconds=30)

    assert stage.find(action.id).state is State.MANUAL_REVIEW
    assert stage.provider.sends <= 5


async def test_what_a_person_resolved_is_part_of_what_they_sealed(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = await proven_absent(stage)
    review = stage.desk.withdraw(action.id, Principal("suzuki", "test"))
    stage.ballots.resolve(Ballot(review.id, review.digest, "resolve", "seen"), key, reference="tx-9")

    with stage.store.read() as tx:
        [vote] = tx.all("votes_of", action_id=action.id)
    assert '"resolved_as":"tx-9"' in vote["statement"]


@pytest.mark.parametrize("other", ["Suzuki", "ｓｕｚｕｋｉ", " suzuki ", "suzuki\u200b", "su zuki"])
def test_another_spelling_of_a_name_is_the_same_person(other: str) -> None:
    assert same_person("suzuki", other)


async def test_a_comparison_that_breaks_inside_seikyu_leaves_an_unknown_outcome_at_once(stage: Stage) -> None:
    async def broken(*_: object) -> Done:
        raise ValueError("a fault of ours")

    object.__setattr__(stage.operation, "look_up", broken)
    stage.provider.answers.append(lambda _request: CONFLICT)
    action = stage.propose("A-1", 50_000)

    after = await stage.executor.execute(action.id)

    assert after.state is State.UNKNOWN


def test_a_database_that_is_no_database_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "seikyu.db"
    path.write_bytes(b"not a database at all" * 100)

    with pytest.raises(Exception, match="not sound"), Store(path).read():
        pass


async def test_an_amount_that_could_not_leave_yesterday_counts_on_the_day_it_does(stage: Stage) -> None:
    stage.provider.answers = [lambda _request: NotSent(Text("", "no network"))]
    late = stage.propose("A-1", 50_000)
    await stage.executor.execute(late.id)
    stage.clock.advance(hours=13)  # past midnight in Japan
    done = await stage.executor.execute(late.id)

    assert (late.jst_day, done.state, done.jst_day) == ("2026-11-21", State.SUCCEEDED, "2026-11-22")


async def test_an_amount_that_may_have_left_yesterday_still_counts_on_that_day(stage: Stage) -> None:
    stage.provider.answers = [lambda _request: Lost(Text("", "no answer"))]
    late = stage.propose("A-1", 50_000)
    await stage.executor.execute(late.id)
    for _ in range(10):
        stage.clock.advance(hours=2)
        await stage.executor.sweep()
    done = stage.find(late.id)

    assert (done.state, done.epoch, done.jst_day) == (State.SUCCEEDED, 2, "2026-11-21")


async def test_a_requester_changed_in_its_column_does_not_hide_that_the_maker_voted(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    action = stage.propose("A-1", 100_000, requester="tanaka")
    forge(stage, "UPDATE action SET requester = 'suzuki'")
    stage.approve(action, key)

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.REVOKED, 0)


@pytest.mark.parametrize(
    "change",
    [
        "expires_at = '2030-01-01T00:00:00.000000Z'",
        "epoch = 7",
        "connection = 'mfk-other'",
        "natural_key = 'A-9'",
        "verdict = replace(verdict, 'large', 'small')",
        "approvers = 1",
    ],
)
async def test_a_row_that_is_not_what_the_log_says_is_never_sent(stage: Stage, change: str) -> None:
    first = stage.enrol("tanaka")
    action = stage.propose("A-1", 2_000_000)
    stage.approve(stage.approve(action, first), stage.enrol("sato", first))
    forge(stage, f"UPDATE action SET {change}")  # noqa: S608

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.REVOKED, 0)
    assert f"action {action.id} is not what the log says it is" in [
        fault.en for fault in audit.verify(stage.store).faults
    ]


@pytest.mark.parametrize("change", ["DELETE FROM vote", "UPDATE vote SET via = 'web'"])
async def test_an_edit_whose_votes_are_gone_does_not_run_because_the_policy_would_allow_it(
    stage: Stage, change: str
) -> None:
    key = stage.enrol("tanaka")
    edited = stage.revisions.revise(stage.draft(stage.propose("A-1", 100_000), 40_000))
    stage.approve(edited, key)
    forge(stage, change)

    after = await stage.executor.execute(edited.id)

    assert (after.state, stage.provider.sends) == (State.REVOKED, 0)


async def test_an_edit_that_the_policy_would_allow_is_asked_about_again_when_its_approver_was_removed(
    stage: Stage,
) -> None:
    tanaka = stage.enrol("tanaka")
    sato = stage.enrol("sato", tanaka)
    edited = stage.revisions.revise(stage.draft(stage.propose("A-1", 100_000), 40_000))
    stage.approve(edited, sato)
    operators.remove(stage.store, stage.clock, "sato", by=tanaka)

    after = await stage.executor.execute(edited.id)

    assert (after.state, after.approvers, stage.provider.sends) == (State.AWAITING, 1, 0)


async def test_what_was_done_and_is_called_approved_in_its_column_is_not_sent_twice_nor_called_not_written(
    stage: Stage,
) -> None:
    action = stage.propose("A-1", 50_000)
    await stage.executor.execute(action.id)
    forge(stage, "UPDATE action SET state = 'approved', may_have_left = 0, epoch = 0")

    after = await stage.executor.execute(action.id)

    assert (after.state, after.written, stage.provider.sends) == (State.MANUAL_REVIEW, "unknown", 1)


async def asked_anew(stage: Stage) -> Action:
    """What may have left once, sent back to the operators because the policy got stricter."""
    action = await proven_absent(stage)
    stage.clock.advance(minutes=10)
    stage.settings.policy_file.write_text(POLICY.replace("amount_at_most = 50_000", "amount_at_most = 1"))
    await stage.executor.sweep()
    return stage.find(action.id)


async def test_what_is_asked_anew_and_may_have_left_counts_into_every_total_and_is_a_twin(stage: Stage) -> None:
    doubtful = await asked_anew(stage)
    waiting = stage.propose("A-2", 70_000)

    other = stage.proposal("A-3", 50_000)
    found = stage.desk.propose(other)

    with stage.store.read() as tx:
        [said] = [row for row in audit.history(tx, found.id) if row["kind"] == "proposed"]
    assert (doubtful.state, doubtful.may_have_left, waiting.state) == (State.AWAITING, True, State.AWAITING)
    assert {name: value for name, value in said["facts"].items() if "total" in name} == dict.fromkeys(
        (
            "daily_total",
            "monthly_total",
            "customer_daily_total",
            "customer_monthly_total",
            "connection_daily_total",
            "split_total",
        ),
        50_000 + 50_000,
    )
    assert said["twins"] == [doubtful.id]


async def test_what_may_have_left_is_not_edited_into_something_its_look_up_would_not_find(stage: Stage) -> None:
    doubtful = await asked_anew(stage)

    with pytest.raises(NotAllowed, match="may have been written") as told:
        stage.revisions.revise(stage.draft(doubtful, 10_000, number="A-2"))
    with pytest.raises(NotAllowed, match="may have been written"):
        stage.revisions.editable(doubtful.id)

    assert "Withdraw it" in told.value.say("en")
    assert stage.find(doubtful.id) == doubtful
