"""What a person and an assistant read of an action: all of it, from what is stored, capped, and nothing invisible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import POLICY, Stage, make_stage
from seikyu.errors import NOTHING, NotFound, Text
from seikyu.gate.actions import Action, State, tell
from seikyu.gate.cards import NEXT, Card, CardIndex, Event
from seikyu.gate.revisions import Edit
from seikyu.gate.votes import Ballot
from seikyu.spec import ActionView, CardLine, Different, Done, Lost, NotSent, Particulars, Refused, Sent

pytestmark = pytest.mark.anyio

HOSTILE = "乗\u202e取" + "x" * 700
"""Turns what follows it around on the screen, and does not end."""
LONG = "TX-" + "9" * 150


def hostile(limit: int) -> str:
    return "乗⟨U+202E⟩取" + "x" * (limit - 4) + "…"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path / "home", has_target=True)


@pytest.fixture
def index(stage: Stage) -> CardIndex:
    return CardIndex(stage.store, {stage.operation.name: stage.operation}, "https://seikyu.example/approvals/")


def vote(stage: Stage, action: Action, kind: Any, key: Any, reason: str = "", **more: Any) -> Action:
    ballot = Ballot(action.id, action.digest, kind, reason, revision=action.revision, **more)
    return stage.ballots.cast(ballot, key)


async def test_a_card_shows_the_whole_request_who_decided_what_is_missing_and_what_happened(stage: Stage) -> None:
    tanaka = stage.enrol("tanaka")
    action = stage.propose("A-1", 2_000_000)
    stage.clock.advance(minutes=1)
    vote(stage, action, "approve", tanaka, "金額を確認")

    card = stage.cards.card(action.id)

    assert card == Card(
        action_id=action.id,
        digest=action.digest,
        revision=1,
        edits=(),
        state=State.AWAITING,
        state_text=Text("承認待ち", "waiting for approval"),
        title=stage.operation.title,
        particulars=action.particulars,
        head=(
            CardLine(Text("金額（税込）", "Amount, tax included"), "2,000,000円"),
            CardLine(Text("相手先", "Counterparty"), "株式会社青葉商事（C-1）"),
            CardLine(Text("会社", "Company"), "株式会社テスト"),
            CardLine(Text("接続", "Connection"), "mfk-main（mfkessai）"),
            CardLine(Text("環境", "Environment"), "sandbox"),
        ),
        lines=(CardLine(Text("番号", "number"), "A-1"), CardLine(Text("email", "email"), "a@example.jp")),
        why=("large: large", "daily: over the day's limit"),
        notes=(),
        requester="suzuki",
        approvals=("tanaka",),
        votes=(Text("tanaka", "tanaka"),),
        approvers=2,
        missing=Text("操作者 1名", "1 operator"),
        conclusions=(),
        expires="2026-11-24 12:00:00",
        outcome=None,
        reference=None,
        history=(
            Event("2026-11-21 12:00:00", "proposed", "suzuki", ""),
            Event("2026-11-21 12:01:00", "sealed", "tanaka", ""),
            Event("2026-11-21 12:01:00", "voted", "tanaka", "金額を確認"),
        ),
    )


async def test_a_finished_action_names_the_reference_and_misses_nobody(stage: Stage) -> None:
    tanaka = stage.enrol("tanaka")
    action = vote(stage, stage.propose("A-1", 100_000), "approve", tanaka)
    stage.provider.answers.append(lambda _request: Done(HOSTILE))
    await stage.executor.execute(action.id)

    card = stage.cards.card(action.id)

    assert (card.state_text.en, card.missing, card.reference) == ("done", NOTHING, hostile(100))
    assert (card.history[-1].kind, card.history[-1].who, card.history[-1].detail) == ("succeeded", "", "")


async def test_what_others_wrote_is_capped_and_nothing_invisible_is_in_it(stage: Stage) -> None:
    tanaka = stage.enrol("tanaka")
    stage.provider.target = {"counterparty_name": HOSTILE, HOSTILE: HOSTILE, "memo": ""}
    action = stage.propose("A-1", 100_000, requester=HOSTILE, counterparty_name=HOSTILE, counterparty_id=HOSTILE)
    with stage.store.write() as tx:
        tell(tx, stage.clock.now(), "noted", action.row, operator=HOSTILE, evidence=HOSTILE)
        tell(tx, stage.clock.now(), "noted", action.row, by="ito", operator="kato", reason="理由", evidence="控え")

    card = stage.cards.card(action.id)
    stage.revisions.revise(
        stage.draft(action, 90_000, counterparty_name=HOSTILE, counterparty_id=HOSTILE),
        key=tanaka,
        reason="桁\u202e違い",
    )
    [edit] = stage.cards.card(action.id).edits

    assert card.requester == hostile(60)
    assert card.head[1].value == f"{hostile(250)}（{hostile(250)}）"
    assert card.lines[1:] == (CardLine(Text(hostile(40), hostile(40)), hostile(250)),)
    assert card.history[0].who == hostile(60)
    assert (card.history[-2].who, card.history[-2].detail) == (hostile(60), hostile(600))
    assert (card.history[-1].who, card.history[-1].detail) == ("ito", "理由")
    assert (edit.at, edit.editor, edit.reason) == ("2026-11-21 12:00:00", "tanaka", "桁⟨U+202E⟩違い")


def test_what_was_edited_is_shown_with_both_values_capped_each(stage: Stage) -> None:
    action = stage.propose(HOSTILE, 100_000)
    stage.clock.advance(seconds=5)
    stage.revisions.revise(stage.draft(action, 100_000, "A-2"), reason="番号")

    [edit] = stage.cards.card(action.id).edits

    assert edit == Edit(
        2,
        "suzuki",
        is_by_operator=False,
        at="2026-11-21 12:00:05",
        reason="番号",
        changes=(("number", hostile(600), "A-2"),),
    )


def test_a_request_without_amount_or_party_says_so_with_a_dash(stage: Stage) -> None:
    plain = Particulars()
    proposal = stage.proposal("A-1", 1)
    action = stage.desk.propose(replace(proposal, plan=replace(proposal.plan, particulars=plain, target=None)))

    card = stage.cards.card(action.id)

    assert [line.value for line in card.head[:2]] == ["—", "—"]
    assert card.lines == (CardLine(Text("番号", "number"), "A-1"),)
    assert stage.cards.summary(action) == Text("取引登録: 承認待ち。", "Register a transaction: waiting for approval.")


def test_an_operation_this_version_does_not_know_is_named(stage: Stage) -> None:
    action = stage.propose("A-1", 100_000)
    downgraded = CardIndex(stage.store, {}, None)

    with pytest.raises(NotFound) as refused:
        downgraded.card(action.id)

    assert refused.value.what.en == "This version has no operation mfkessai.create_transaction."


def test_while_the_operators_are_in_doubt_nobodys_approval_is_shown(stage: Stage) -> None:
    tanaka = stage.enrol("tanaka")
    action = stage.propose("A-1", 2_000_000)
    vote(stage, action, "approve", tanaka)
    forge(stage, "UPDATE operator SET public_key = 'ab'")

    card = stage.cards.card(action.id)

    assert (card.approvals, card.votes, card.missing.en) == ((), (), "2 operators")


async def test_what_operators_say_became_of_it_is_shown_with_how_many_have_to_agree(tmp_path: Path) -> None:
    stage = make_stage(tmp_path / "three", POLICY.replace("approvers = 2", "approvers = 3"))
    tanaka = stage.enrol("tanaka")
    keys = [tanaka, stage.enrol("sato", tanaka), stage.enrol("ito", tanaka)]
    stage.provider.answers.append(lambda _request: Different(Text("違う", "different")))
    action = stage.propose("A-1", 2_000_000)
    for key in keys:
        action = vote(stage, action, "approve", key)
    action = await stage.executor.execute(action.id)
    for key, reference in zip(keys, (LONG, LONG, None), strict=True):
        stage.ballots.resolve(Ballot(action.id, action.digest, "resolve", "画面で確認"), key, reference=reference)

    said = stage.cards.card(action.id).conclusions
    forge(stage, "UPDATE operator SET public_key = 'ab'")
    in_doubt = stage.cards.card(action.id).conclusions

    assert set(said) == {
        Text(
            f"提供元にある（{LONG[:99]}…）: sato, tanaka（2/3名）",
            f"it is at the provider, {LONG[:99]}…: sato, tanaka (2 of 3)",
        ),
        Text("提供元に何もない: ito（1/3名）", "nothing at the provider: ito (1 of 3)"),
    }
    assert in_doubt == ()


# as the requester sees it


async def test_the_requester_sees_what_waits_where_it_is_decided_and_that_it_must_not_be_repeated(
    stage: Stage, index: CardIndex
) -> None:
    action = stage.propose("A-1", 2_000_000)

    assert index.view(action, have=1, lang="en") == ActionView(
        action_id=action.id,
        status="awaiting_approval",
        operation="mfkessai.create_transaction",
        connection="mfk-main",
        summary="Register a transaction 2,000,000円: waiting for approval.",
        amount_yen=2_000_000,
        counterparty="株式会社青葉商事",
        written="no",
        provider_ref=None,
        provider_status=None,
        approvals="1/2",
        why=["large: large", "daily: over the day's limit"],
        digest=action.digest[:12],
        expires_at="2026-11-24T03:00:00.000000Z",
        approval_url=f"https://seikyu.example/approvals/{action.id}",
        next="Do not repeat the call; call get_action later.",
    )
    assert index.view(action, have=1, lang="ja").summary == "取引登録 2,000,000円: 承認待ち。"
    assert index.view(action, have=1, lang="ja").next == NEXT[State.AWAITING].ja


async def test_once_decided_there_is_no_link_and_once_done_no_expiry(stage: Stage, index: CardIndex) -> None:
    approved = vote(stage, stage.propose("A-1", 100_000), "approve", stage.enrol("tanaka"))
    before = index.view(approved, have=1, lang="en")
    done = index.view(await stage.executor.execute(approved.id), have=1, lang="en")

    assert (before.approval_url, before.expires_at) == (None, "2026-11-22T03:00:00.000000Z")
    assert (done.approval_url, done.expires_at, done.next) == (None, None, "")
    assert (done.written, done.provider_ref, done.provider_status) == ("yes", "tx-A-1", "passed")
    assert stage.cards.link(stage.propose("A-2", 100_000)) is None


@pytest.mark.parametrize(
    "answer,written",
    [
        (Refused(Text("拒否", "no such customer"), 422), "no"),
        (Lost(Text("切断", "cut off")), "unknown"),
        (NotSent(Text("不通", "no route")), "no"),
    ],
)
async def test_the_outcome_is_among_the_reasons(stage: Stage, index: CardIndex, answer: Sent, written: str) -> None:
    stage.provider.answers.append(lambda _request: answer)
    action = await stage.executor.execute(stage.propose("A-1", 10_000).id)
    assert action.outcome_text is not None

    english, japanese = (index.view(action, have=0, lang=lang) for lang in ("en", "ja"))

    assert english.why == [*action.decision.why, action.outcome_text.en]
    assert japanese.why == [*action.decision.why, action.outcome_text.ja]
    assert (english.written, english.next) == (written, NEXT[action.state].en)


def test_a_requester_reads_a_hostile_name_capped_and_visible(stage: Stage, index: CardIndex) -> None:
    action = stage.propose("A-1", 100_000, counterparty_name=HOSTILE)

    assert index.view(action, have=0, lang="en").counterparty == hostile(100)
    assert stage.find(action.id).particulars.counterparty_name == HOSTILE


def stored(stage: Stage, action: Action, **columns: str) -> Action:
    """The action as if the store held these values."""
    for name, value in columns.items():
        forge(stage, f"UPDATE action SET {name} = ? WHERE id = ?", value, action.id)  # noqa: S608 - our own names
    return stage.find(action.id)


@pytest.mark.parametrize(
    "facts,status,since",
    [
        ('{"id": "x"}', None, ""),
        ('{"status": "passed"}', "passed", ""),
        (
            '{"status": "canceled", "was": "passed"}',
            "canceled",
            " At the provider it went from passed to canceled.",
        ),
    ],
)
async def test_how_a_finished_action_stands_at_the_provider_by_now_is_told(
    stage: Stage, index: CardIndex, facts: str, status: str | None, since: str
) -> None:
    done = await stage.executor.execute(stage.propose("A-1", 10_000).id)

    view = index.view(stored(stage, done, provider_facts=facts), have=0, lang="en")

    assert (view.provider_status, view.summary) == (status, f"Register a transaction 10,000円: done.{since}")


async def test_a_status_at_the_provider_is_capped_and_visible(stage: Stage, index: CardIndex) -> None:
    done = await stage.executor.execute(stage.propose("A-1", 10_000).id)
    facts = f'{{"status": "{HOSTILE}", "was": "{HOSTILE}"}}'

    view = index.view(stored(stage, done, provider_facts=facts), have=0, lang="ja")

    assert view.provider_status == hostile(40)
    assert view.summary.endswith(f"その後、提供元で {hostile(40)} から {hostile(40)} になりました。")


async def test_what_was_undone_by_another_action_says_by_which(stage: Stage, index: CardIndex) -> None:
    done = await stage.executor.execute(stage.propose("A-1", 10_000).id)

    after = stored(stage, done, reversed_by="act-other")

    assert index.view(after, have=0, lang="en").next == "It was undone by act-other. "
    assert index.view(after, have=0, lang="ja").next == "act-other により取り消されました。"
