"""What an action stands on at the provider is read again before it is sent; different is not what was approved."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gate.stage import CONNECTION, PASSPHRASE, POLICY, PretendProvider, Stage, make_stage
from seikyu.errors import LoginRequired, ProviderUnavailable, Text, VoteRefused
from seikyu.gate import audit, freezing, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.canonical import sha256
from seikyu.gate.execution import Executor
from seikyu.gate.facts import counterparty_key
from seikyu.gate.operators import Key
from seikyu.gate.targets import Found
from seikyu.gate.votes import Ballot
from seikyu.models import timestamp
from seikyu.spec import Connection, Lost, ProviderRequest, Reader, Refused

pytestmark = pytest.mark.both_stores

DOWN = ProviderUnavailable(Text("応答がありません。", "It does not answer."))


@pytest.fixture
def stage(tmp_path: Path, database_url: SecretStr | None) -> Generator[Stage]:
    made = make_stage(tmp_path / "home", database_url=database_url, has_target=True)
    yield made
    made.store.close()
    made.presence.leave()


def approved(stage: Stage, amount: int = 100_000) -> Action:
    return stage.approve(stage.propose("A-1", amount), stage.enrol("tanaka"))


def last_record(stage: Stage, action: Action) -> dict[str, object]:
    with stage.store.read() as tx:
        return dict(audit.history(tx, action.id)[-1])


async def test_what_did_not_change_is_read_once_more_and_sent_once(stage: Stage) -> None:
    done = await stage.executor.execute(approved(stage).id)

    assert (done.state, stage.provider.target_reads, stage.provider.sends) == (State.SUCCEEDED, 1, 1)
    assert done.content["target"] == stage.provider.target


@pytest.mark.fault("F50")
async def test_what_changed_after_the_approval_is_not_sent_and_is_shown_and_judged_anew(stage: Stage) -> None:
    action = approved(stage)
    stage.provider.target = {"counterparty_name": "株式会社乗取", "email": "evil\u202e@example.jp"}

    after = await stage.executor.execute(action.id)

    card = stage.cards.card(action.id)
    assert (after.state, after.revision, after.approvers, stage.provider.sends) == (State.AWAITING, 2, 1, 0)
    assert after.content["target"] == stage.provider.target
    assert (after.particulars.counterparty_name, card.approvals) == ("株式会社乗取", ())
    assert card.notes[-1].en == (
        "Changed at the provider after it was approved: Customer name 株式会社青葉商事 → 株式会社乗取;"
        " email a@example.jp → evil⟨U+202E⟩@example.jp."
    )
    assert [(edit.editor, edit.is_by_provider, edit.changes[0]) for edit in card.edits] == [
        ("mfkessai", True, ("counterparty_name", "株式会社青葉商事", "株式会社乗取"))
    ]
    assert last_record(stage, action)["target"] == {
        "counterparty_name": {"before": "株式会社青葉商事", "after": "株式会社乗取"},
        "email": {"before": "a@example.jp", "after": "evil⟨U+202E⟩@example.jp"},
    }
    assert audit.verify(stage.store).fault is None


async def test_the_new_revision_is_approved_by_a_new_seal_and_then_sent_once(stage: Stage) -> None:
    action, key = stage.propose("A-1", 100_000), stage.enrol("tanaka")
    stage.approve(action, key)
    stage.provider.target = {"counterparty_name": "青葉HD"}
    asked = await stage.executor.execute(action.id)

    with pytest.raises(VoteRefused):
        stage.approve(action, key)
    stage.approve(asked, key)
    done = await stage.executor.execute(action.id)

    assert (done.state, stage.provider.sends) == (State.SUCCEEDED, 1)
    assert audit.verify(stage.store).fault is None


async def test_an_edited_action_whose_target_changes_keeps_its_editors_out(stage: Stage) -> None:
    editor, other = stage.enrol("tanaka"), None
    other = stage.enrol("sato", editor)
    edited = stage.revisions.revise(stage.draft(stage.propose("A-1", 100_000), 90_000), key=editor)
    stage.approve(edited, other)
    stage.provider.target = {"counterparty_name": "青葉HD"}

    asked = await stage.executor.execute(edited.id)

    with pytest.raises(VoteRefused):
        stage.approve(asked, editor)
    stage.approve(asked, other)
    assert (await stage.executor.execute(asked.id)).state is State.SUCCEEDED
    assert audit.verify(stage.store).fault is None


@pytest.mark.fault("F50")
async def test_a_target_that_is_gone_counts_as_changed(stage: Stage) -> None:
    action = approved(stage)
    stage.provider.target = {}

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.AWAITING, 0)
    assert after.note_texts[-1].ja == (
        "承認の後に提供元の内容が変わりました: 顧客名 株式会社青葉商事 → —、email a@example.jp → —。"
    )


async def test_what_the_policy_let_through_alone_is_seen_by_a_person_once_it_changed(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)
    stage.provider.target = {"counterparty_name": "青葉HD"}

    [after] = await stage.executor.sweep()

    assert (action.state, after.state, after.approvers) == (State.APPROVED, State.AWAITING, 1)
    assert after.decision.why == ["target_changed: 提供元の内容が承認の後に変わりました"]
    assert stage.provider.sends == 0


@pytest.mark.fault("F50")
async def test_a_change_that_the_policy_denies_is_denied_and_says_what_changed(stage: Stage) -> None:
    action = approved(stage)
    stage.provider.target = stage.provider.target | {"amount": "6000000"}

    after = await stage.executor.execute(action.id)

    said = after.outcome_text or Text("", "")
    assert (after.state, after.particulars.amount, stage.provider.sends) == (State.DENIED, 6_000_000, 0)
    assert said.en == "too-large: too large Changed at the provider after it was approved: amount — → 6000000."
    assert audit.verify(stage.store).fault is None


async def test_a_stricter_policy_is_asked_before_anything_is_read(stage: Stage) -> None:
    action = approved(stage, 900_000)
    stage.settings.policy_file.write_text(POLICY.replace("amount_over = 1_000_000", "amount_over = 100_000"))

    after = await stage.executor.execute(action.id)

    assert (after.state, after.approvers, stage.provider.target_reads) == (State.AWAITING, 2, 0)


async def test_it_is_read_for_the_request_that_was_approved_at_the_account_that_was(stage: Stage) -> None:
    asked = list[tuple[object, object]]()

    async def read_target(reader: Reader, request: ProviderRequest) -> Mapping[str, str]:
        asked.append((reader, request))
        return stage.provider.target

    object.__setattr__(stage.operation, "target", read_target)
    of = list[Connection]()

    def client_of(connection: Connection) -> PretendProvider:
        of.append(connection)
        return stage.provider

    action = approved(stage)
    executor = Executor(
        stage.store, stage.clock, stage.claims, reconciliation=stage.reconciliation, client_of=client_of
    )
    await executor.execute(action.id)

    assert asked == [(stage.provider, action.request)]
    assert of == [CONNECTION, CONNECTION]


@pytest.mark.fault("F50")
@pytest.mark.parametrize(
    "fault,wait_s",
    [(DOWN, 5), (LoginRequired(Text("接続が切れました。", "The login is gone.")), 60), (RuntimeError("ours"), 5)],
)
async def test_what_cannot_be_read_is_not_sent_and_is_tried_again_later(
    stage: Stage, fault: Exception, wait_s: int
) -> None:
    action = approved(stage)
    stage.provider.target_fault = fault

    waiting = await stage.executor.execute(action.id)
    stage.provider.target_fault = None
    too_early = await stage.executor.sweep()
    stage.clock.advance(seconds=wait_s)
    [done] = await stage.executor.sweep()

    assert (waiting.state, waiting.revision, waiting.written, too_early) == (State.APPROVED, 1, "no", [])
    assert "could not be read again before sending" in (waiting.outcome_text or Text("", "")).en
    assert (done.state, stage.provider.sends) == (State.SUCCEEDED, 1)
    assert audit.verify(stage.store).fault is None


async def test_nothing_is_read_while_everything_is_frozen_or_once_the_approval_is_over(stage: Stage) -> None:
    action = approved(stage)
    freezing.freeze(stage.store, stage.clock, os_user="x", operator=None, reason="look first")
    frozen = await stage.executor.execute(action.id)
    stage.clock.advance(days=2)

    after = await stage.executor.execute(action.id)

    assert (frozen.state, after.state, stage.provider.target_reads) == (State.APPROVED, State.EXPIRED, 0)


@pytest.mark.sqlite_only
async def test_a_change_that_is_taken_out_of_the_store_again_is_missed(stage: Stage) -> None:
    action = approved(stage)
    stage.provider.target = {"counterparty_name": "青葉HD"}
    await stage.executor.execute(action.id)
    with stage.store.write() as tx:
        tx.connection.execute("DELETE FROM revision")

    assert [fault.en for fault in audit.verify(stage.store).faults] == [
        f"the edits of action {action.id} are not those the log says"
    ]


async def test_what_was_read_for_other_content_does_not_count(stage: Stage) -> None:
    action = approved(stage)

    after = await stage.executor.execute(action.id, Found("0" * 64, {"counterparty_name": "somebody else"}))

    assert (after.state, after.revision, stage.provider.target_reads) == (State.SUCCEEDED, 1, 1)


async def test_what_the_same_call_has_just_read_is_not_read_once_more(stage: Stage) -> None:
    action = stage.propose("A-1", 50_000)

    done = await stage.executor.execute(action.id, Found(action.digest, dict(stage.provider.target)))

    assert (done.state, stage.provider.target_reads, stage.provider.sends) == (State.SUCCEEDED, 0, 1)


async def test_a_second_attempt_reads_again_and_a_change_then_is_never_called_not_written(stage: Stage) -> None:
    action = approved(stage)
    stage.provider.answers.append(lambda _request: Lost(Text("切断", "cut")))
    await stage.executor.execute(action.id)
    for _ in range(20):  # looked up until it is proven absent
        stage.clock.advance(seconds=10)
        stage.provider.target = {"counterparty_name": "青葉HD"}
        await stage.executor.sweep()
    after = stage.find(action.id)

    assert (after.state, after.written, stage.provider.sends) == (State.AWAITING, "unknown", 1)


async def landed_late(stage: Stage) -> Action:
    """Sent without an answer, proven absent, and there after all: what it cancels is gone."""
    action = approved(stage)
    stage.provider.answers.append(lambda _request: Lost(Text("切断", "cut")))
    await stage.executor.execute(action.id)
    for _ in range(100):
        stage.clock.advance(seconds=10)
        if (await stage.executor.look_up(stage.find(action.id))).state is State.APPROVED:
            break
    stage.provider.book(action.request)
    stage.provider.target = {**stage.provider.target, "status": "canceled"}
    await stage.executor.sweep()
    return stage.find(action.id)


def unlocked(stage: Stage) -> Key:
    return operators.unlock(stage.store, stage.clock, "tanaka", PASSPHRASE)


async def test_an_own_cancellation_that_lands_late_is_asked_anew_and_found_done_when_it_is_approved(
    stage: Stage,
) -> None:
    asked = await landed_late(stage)
    stage.provider.answers.append(lambda _request: Refused(Text("取消済み", "canceled"), 409, ("already_exists",)))

    stage.approve(asked, unlocked(stage))
    done = await stage.executor.execute(asked.id)

    assert (asked.state, asked.revision, asked.written) == (State.AWAITING, 2, "unknown")
    assert asked.note_texts[-1].en == "Changed at the provider after it was approved: status — → canceled."
    assert (done.state, done.reference, stage.provider.sends) == (State.SUCCEEDED, "tx-A-1", 2)
    assert audit.verify(stage.store).faults == ()


async def test_an_own_cancellation_that_landed_late_is_never_called_not_written_when_it_is_rejected(
    stage: Stage,
) -> None:
    asked = await landed_late(stage)
    ballot = Ballot(asked.id, asked.digest, "reject", "取消済み", revision=asked.revision)

    after = stage.ballots.cast(ballot, unlocked(stage))

    assert (after.state, after.written, stage.provider.sends) == (State.MANUAL_REVIEW, "unknown", 1)


@pytest.mark.sqlite_only
def test_an_operation_without_a_target_has_the_same_content_as_ever(tmp_path: Path) -> None:
    plain = make_stage(tmp_path / "plain")
    action = plain.propose("A-1", 100_000)
    plain.store.close()
    plain.presence.leave()

    assert "target" not in json.loads(action.canonical)


def row_of(stage: Stage, action: Action) -> dict[str, Any]:
    with stage.store.read() as tx:
        [row] = [row for row in tx.all("actions_after", after="", limit=10) if row["id"] == action.id]
    return dict(row)


@pytest.mark.parametrize("amount,state", [("120000", State.AWAITING), ("6000000", State.DENIED)])
async def test_what_is_asked_again_or_denied_is_stored_and_logged_whole(
    stage: Stage, amount: str, state: State
) -> None:
    action = approved(stage)
    stage.provider.target_fault = DOWN
    await stage.executor.execute(action.id)
    before = row_of(stage, action)
    stage.provider.target_fault = None
    stage.provider.target = {"counterparty_name": "株式会社乗取", "counterparty_id": "C-9", "amount": amount}
    stage.clock.advance(minutes=1)

    after = await stage.executor.execute(action.id)

    is_denied, now = state is State.DENIED, timestamp(stage.clock.now())
    until = timestamp(stage.clock.now() + timedelta(seconds=stage.settings.timing.awaiting_s))
    stored = row_of(stage, action)
    assert before["not_before"] is not None
    assert stored == before | {
        "state": state.value,
        "revision": 2,
        "canonical": after.canonical,
        "digest": sha256(after.canonical.encode()),
        "amount": int(amount),
        "counterparty_id": "C-9",
        "counterparty_key": counterparty_key("株式会社乗取"),
        "verdict": stored["verdict"],
        "approvers": stored["approvers"],
        "notes": stored["notes"],
        "outcome": stored["outcome"],
        "not_before": None,
        "unsent_tries": 0,
        "updated_at": now,
        "expires_at": before["expires_at"] if is_denied else until,
    }
    assert after.note_texts[-1].en.startswith("Changed at the provider after it was approved: Customer name")
    assert (after.outcome_text is not None) is is_denied
    assert after.particulars.counterparty_name == "株式会社乗取"
    told = last_record(stage, action)
    edited = {name: told[name] for name in ("kind", "old_digest", "digest", "target")}
    assert edited == {
        "kind": "denied" if is_denied else "asked_again",
        "old_digest": action.digest,
        "digest": after.digest,
        "target": {
            "counterparty_name": {"before": "株式会社青葉商事", "after": "株式会社乗取"},
            "email": {"before": "a@example.jp", "after": "—"},
            "counterparty_id": {"before": "—", "after": "C-9"},
            "amount": {"before": "—", "after": amount},
        },
    }
    with stage.store.read() as tx:
        [row] = tx.all("every_revision_of", action_id=action.id)
    assert (row["editor"], row["seal"], row["call_digest"]) == ("mfkessai", None, action.call_digest)
    assert json.loads(row["statement"]) == {
        "action": action.id,
        "revision": 2,
        "editor": "mfkessai",
        "role": "provider",
        "old_digest": action.digest,
        "new_digest": after.digest,
        "changes": told["target"],
        "reason": "",
        "edited_at": now,
    }
