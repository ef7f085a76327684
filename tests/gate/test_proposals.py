"""Proposals: what is stored and told of one, who sees it, and what is refused at the desk."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import CONNECTION, POLICY, Stage
from seikyu.errors import NotAllowed, NotFound, Text
from seikyu.gate import audit, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.canonical import sha256
from seikyu.gate.facts import counterparty_key
from seikyu.gate.proposals import MAX_AWAITING, Proposal
from seikyu.gate.votes import Ballot
from seikyu.models import timestamp
from seikyu.spec import FileDigest, Principal

SUZUKI = Principal("suzuki", "test")


def row_of(stage: Stage, action_id: str) -> dict[str, Any]:
    with stage.store.read() as tx:
        return dict(tx.one("action", id=action_id) or {})


def history(stage: Stage, action: Action) -> list[dict[str, Any]]:
    with stage.store.read() as tx:
        return audit.history(tx, action.id)


def test_a_proposal_is_stored_whole(stage: Stage) -> None:
    proposal = stage.proposal("A-1", 100_000, destination="a@example.jp")
    notes = (Text("注意", "mind"),)
    action = stage.desk.propose(replace(proposal, plan=replace(proposal.plan, notes=notes)))

    now = timestamp(stage.clock.now())
    row = row_of(stage, action.id)
    assert row == {
        "id": proposal.action_id, "revision": 1, "state": "awaiting_approval", "tool": "register_transaction",
        "operation": "mfkessai.create_transaction", "kind": stage.operation.kind, "connection": "mfk-main",
        "requester": "suzuki", "surface": "test", "call_digest": "call-suzuki-A-1-100000",
        "canonical": action.canonical, "digest": sha256(action.canonical.encode()), "natural_key": "A-1",
        "amount": 100_000, "counterparty_id": "C-1", "counterparty_key": counterparty_key("株式会社青葉商事"),
        "transaction_date": "2026-11-20", "file_sha256": None, "notes": '[{"ja": "注意", "en": "mind"}]',
        "verdict": action.verdict, "approvers": 1, "created_at": now, "jst_day": "2026-11-21",
        "expires_at": "2026-11-24T03:00:00.000000Z", "updated_at": now, "epoch": 0, "lease_owner": None,
        "lease_until": None, "not_before": None, "unsent_tries": 0, "unknown_since": None, "may_have_left": 0,
        "reference": None, "provider_facts": None, "outcome": None, "reversed_by": None,
        "business_day": "2026-11-20", "destination": "a@example.jp", "arguments": proposal.arguments,
        "taken_up": None,
    }  # fmt: skip
    assert action.decision.kind == "ask"
    assert action.content["company"] == CONNECTION.company


def test_a_proposal_is_told_with_the_verdict_the_policy_and_the_facts_it_was_judged_by(stage: Stage) -> None:
    twin = stage.propose("A-0", 50_000)
    action = stage.propose("A-1", 50_000)

    [said] = history(stage, action)

    policy = sha256(POLICY.encode())
    facts = said.pop("facts")
    assert said == {
        "seq": 2, "at": timestamp(stage.clock.now()), "kind": "proposed", "state": "awaiting_approval",
        "digest": action.digest, "row": said["row"], "operation": "mfkessai.create_transaction",
        "connection": "mfk-main", "requester": "suzuki", "surface": "test", "verdict": "ask", "approvers": 1,
        "why": ["duplicate: looks like a duplicate"], "policy": policy, "twins": [twin.id],
    }  # fmt: skip
    assert {name: facts[name] for name in ("amount", "duplicate", "daily_total", "requester", "connection")} == {
        "amount": 50_000, "duplicate": True, "daily_total": 100_000, "requester": "suzuki", "connection": "mfk-main",
    }  # fmt: skip
    assert action.note_texts == [Text(f"似た申請があります: {twin.id}", f"Looks like the same business as {twin.id}.")]
    with stage.store.read() as tx:
        stored = tx.connection.execute("SELECT sha256, source, first_used_at FROM policy").fetchall()
    assert [tuple(one) for one in stored] == [(policy, POLICY, timestamp(stage.clock.now()))]


def test_what_is_allowed_at_once_ends_after_a_day_and_what_is_asked_after_three(stage: Stage) -> None:
    allowed, asked = stage.propose("A-1", 50_000), stage.propose("A-2", 100_000)
    denied = stage.propose("A-3", 6_000_000)

    assert (allowed.state, allowed.expires_at) == (State.APPROVED, "2026-11-22T03:00:00.000000Z")
    assert (asked.state, asked.expires_at) == (State.AWAITING, "2026-11-24T03:00:00.000000Z")
    assert (denied.state, denied.approvers, denied.outcome) == (State.DENIED, 0, None)


def test_an_amount_without_a_date_counts_on_the_day_in_japan_on_which_it_was_proposed(stage: Stage) -> None:
    stage.clock.advance(hours=12)  # midnight in Japan
    dated = stage.propose("A-1", 50_000, transaction_date=date(2026, 10, 31))
    undated = stage.propose("A-2", 40_000, transaction_date=None)

    assert (dated.business_day, dated.jst_day) == ("2026-10-31", "2026-11-22")
    assert (undated.business_day, undated.jst_day) == ("2026-11-22", "2026-11-22")
    assert row_of(stage, undated.id)["transaction_date"] is None


def with_file(proposal: Proposal, digest: str) -> Proposal:
    request = proposal.plan.request.model_copy(
        update={"files": (FileDigest(name="a.pdf", size=3, sha256=digest, field="file"),)}
    )
    return replace(proposal, plan=replace(proposal.plan, request=request))


def test_a_document_is_known_by_its_digest(stage: Stage) -> None:
    assert stage.desk.propose(with_file(stage.proposal("A-1", 50_000), "f" * 64)).file_sha256 == "f" * 64


def test_the_judgement_before_a_proposal_is_the_one_it_gets_and_stores_nothing(stage: Stage) -> None:
    proposal = stage.proposal("A-1", 2_000_000)

    verdict = stage.desk.judge(proposal)

    assert audit.verify(stage.store).rows == 0
    assert (verdict.kind, verdict.approvers) == ("ask", 2)
    assert stage.desk.propose(proposal).decision == verdict


def test_a_rejection_answers_the_same_call_for_a_day(stage: Stage) -> None:
    key, proposal = stage.enrol("tanaka"), stage.proposal("A-1", 100_000)
    action = stage.desk.propose(proposal)
    stage.ballots.cast(Ballot(action.id, action.digest, "reject", "no"), key)
    again = stage.proposal("A-1", 100_000)

    stage.clock.advance(hours=23, minutes=59, seconds=59)
    same, called = stage.desk.propose(again), stage.desk.same_call(proposal.call_digest)
    stage.clock.advance(seconds=1)
    gone = stage.desk.same_call(proposal.call_digest)

    assert same.id == action.id
    assert same == called
    assert (gone, stage.desk.propose(again).id) == (None, again.action_id)


def test_a_hundred_open_requests_of_one_requester_are_the_most_there_can_be(stage: Stage) -> None:
    first = stage.propose("A-1", 100_000)
    with stage.store.write() as tx:
        columns = ", ".join(row_of(stage, first.id))
        others = columns.replace("natural_key", "NULL", 1)
        for number in range(MAX_AWAITING - 2):
            made = others.replace("id", f"'act-x{number}'", 1).replace("call_digest", f"'call-x{number}'", 1)
            tx.connection.execute(f"INSERT INTO action ({columns}) SELECT {made} FROM action WHERE id = ?", (first.id,))  # noqa: S608

    stage.propose("A-2", 200_000)
    with pytest.raises(NotAllowed, match="100 requests are waiting for approval already") as refused:
        stage.propose("A-3", 300_000)

    assert "Wait for the operators" in refused.value.say("en")
    assert stage.propose("A-3", 300_000, requester="sato").state is State.AWAITING


def test_an_own_action_is_seen_and_taken_back_by_its_requester_only(stage: Stage) -> None:
    action = stage.propose("A-1", 100_000)
    mallory = Principal("mallory", "test")
    for look in (stage.desk.get, stage.desk.withdraw):
        with pytest.raises(NotFound, match="no action of that id") as refused:
            look(action.id, mallory)
        assert "Call list_actions" in refused.value.say("en")
    seen = stage.desk.get(action.id, SUZUKI)
    stage.clock.advance(seconds=5)

    withdrawn = stage.desk.withdraw(action.id, SUZUKI)
    again = stage.desk.withdraw(action.id, SUZUKI)

    assert seen == action
    assert withdrawn == again == stage.desk.get(action.id, SUZUKI)
    now = timestamp(stage.clock.now())
    assert withdrawn.model_dump() == action.model_dump() | {"state": State.WITHDRAWN, "updated_at": now}
    assert {name: value for name, value in history(stage, action)[-1].items() if name not in {"seq", "row"}} == {
        "at": now, "kind": "withdrawn", "state": "withdrawn", "digest": action.digest, "by": "suzuki",
    }  # fmt: skip


@pytest.mark.parametrize("state", ["executing", "succeeded", "rejected"])
def test_what_is_being_sent_or_is_over_is_not_taken_back(stage: Stage, state: str) -> None:
    action = stage.propose("A-1", 100_000)
    forge(stage, "UPDATE action SET state = ?", state)

    with pytest.raises(NotAllowed) as refused:
        stage.desk.withdraw(action.id, SUZUKI)

    assert refused.value.say("en").split() == (
        f"{action.id} is {state} and cannot be withdrawn. Call get_action for its outcome.".split()
    )
    assert stage.find(action.id).state == state


def test_an_approved_action_is_taken_back_too(stage: Stage) -> None:
    assert stage.desk.withdraw(stage.propose("A-1", 50_000).id, SUZUKI).state is State.WITHDRAWN


def test_a_page_is_newest_first_and_says_where_the_next_begins_and_how_many_there_are(stage: Stage) -> None:
    made = list[Action]()
    for number in range(4):
        made.append(stage.propose(f"A-{number}", 100_000 + number))
        stage.clock.advance(seconds=1)
    theirs = stage.propose("B-1", 100_000, requester="sato", counterparty_id="C-2", counterparty_name="別の会社")
    stage.desk.withdraw(made[1].id, SUZUKI)

    def page(**asked: Any) -> tuple[list[str], int, str | None]:
        usual: dict[str, Any] = {"requester": "suzuki", "state": None, "limit": 9, "cursor": None}
        found = stage.desk.page(**(usual | asked))
        return [action.id for action in found.actions], found.total, found.older

    ids = [action.id for action in made]
    assert page() == (ids[::-1], 4, None)
    assert page(limit=4) == (ids[::-1], 4, None)
    assert page(limit=2) == ([ids[3], ids[2]], 4, ids[2])
    assert page(cursor=ids[2]) == ([ids[1], ids[0]], 4, None)
    assert page(state="withdrawn") == ([ids[1]], 1, None)
    assert page(requester=None) == ([theirs.id, *ids[::-1]], 5, None)
    assert page(requester=None, state="withdrawn", cursor=theirs.id, limit=1) == ([ids[1]], 1, None)
    assert page(requester="nobody") == ([], 0, None)


def test_votes_that_hold_and_fill_a_place_are_counted_for_each_action_by_itself(stage: Stage) -> None:
    tanaka = stage.enrol("tanaka")
    sato = stage.enrol("sato", tanaka)
    made = list[Action]()
    for number in range(4):
        made.append(stage.propose(f"A-{number}", 2_000_000, counterparty_id=f"C-{number}"))
        stage.clock.advance(seconds=1)
    one, two, spoilt, none = made

    def have() -> list[int]:
        counted = stage.desk.have_votes(made)
        return [counted[action.id] for action in made]

    for action in (one, two, spoilt):
        stage.approve(action, tanaka)
    stage.approve(two, sato)
    counts = [have()]
    forge(stage, "UPDATE vote SET seal = '00' WHERE action_id = ?", spoilt.id)
    counts.append(have())
    operators.remove(stage.store, stage.clock, "sato", by=tanaka)
    counts.append(have())
    forge(stage, "UPDATE operator SET endorsement = '00'")
    counts.append(have())

    assert counts == [[1, 2, 1, 0], [1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert stage.desk.have_votes([]) == {}
    assert stage.desk.have_votes([none]) == {none.id: 0}


def test_a_number_in_use_is_refused_naming_ones_own_action_that_has_it_unless_it_lies_elsewhere(stage: Stage) -> None:
    holder = stage.propose("A-1", 50_000)
    other = replace(stage.proposal("A-1", 40_000), connection=replace(CONNECTION, name="mfk-other"))

    with pytest.raises(NotAllowed) as refused:
        stage.propose("A-1", 40_000)

    assert f"A-1 is in use by another action, {holder.id}." in refused.value.say("en")
    with pytest.raises(NotAllowed) as hidden:
        stage.desk.propose(replace(stage.proposal("A-1", 40_000), principal=Principal("mori", "stdio", "en")))
    assert "A-1 is in use by another requester's action." in hidden.value.say("en")
    assert holder.id not in hidden.value.say("en")
    assert stage.desk.propose(other).natural_key == "A-1"


def test_what_has_no_number_is_never_in_use(stage: Stage) -> None:
    for amount in (50_000, 40_000):
        proposal = stage.proposal("A-1", amount)
        assert stage.desk.propose(replace(proposal, plan=replace(proposal.plan, natural_key=None))).natural_key is None
