"""Edits of what waits for approval: a new revision, judged anew, that its editors never vote on."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import pytest

from gate.stage import POLICY, Stage
from seikyu.errors import InvalidArguments, NotAllowed, NotFound, StoreDamaged, VoteRefused
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.gate.canonical import sha256
from seikyu.gate.makers import editors
from seikyu.gate.operators import Key
from seikyu.gate.revisions import MAX_REVISIONS, Edit, differences, put
from seikyu.gate.votes import MAX_REASON, Ballot, approvals
from seikyu.models import moment


def tamper(stage: Stage, statement: str, *values: object) -> None:
    with sqlite3.connect(stage.settings.database) as raw:
        raw.execute(statement, values)
    raw.close()


def faults(stage: Stage) -> list[str]:
    return [fault.en for fault in audit.verify(stage.store).faults]


def votes(stage: Stage, action: Action) -> list[str]:
    with stage.store.read() as tx:
        return [right.operator for right in approvals(tx, stage.find(action.id))]


@pytest.fixture
def office(stage: Stage) -> tuple[Key, Key]:
    tanaka = stage.enrol("tanaka")
    return tanaka, stage.enrol("sato", tanaka)


async def test_an_edit_is_a_new_revision_whose_votes_begin_again_and_only_it_is_sent(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, sato = office
    action = stage.propose("A-1", 2_000_000)
    stage.approve(action, tanaka)
    stage.clock.advance(hours=5)

    edited = stage.revisions.revise(stage.draft(action, 1_500_000), reason="単価の誤り")

    assert (edited.id, edited.revision, edited.state) == (action.id, 2, State.AWAITING)
    assert edited.particulars.amount == edited.request.model_dump()["body"]["amount"] == 1_500_000
    assert edited.digest == sha256(edited.canonical.encode()) != action.digest
    assert edited.approvers == 2
    assert votes(stage, action) == []
    assert (moment(edited.expires_at) - stage.clock.now()).total_seconds() == stage.settings.timing.awaiting_s
    stage.approve(edited, tanaka)
    stage.approve(edited, sato)
    await stage.executor.execute(action.id)
    assert stage.provider.booked == {"A-1": {"number": "A-1", "amount": 1_500_000}}
    assert faults(stage) == []


async def test_the_log_names_editor_digests_and_every_changed_argument(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 200_000)

    edited = stage.revisions.revise(stage.draft(action, 150_000), key=tanaka, reason="過大")

    with stage.store.read() as tx:
        row = audit.history(tx, action.id)[-1]
    said = {name: row[name] for name in ("kind", "by", "role", "reason", "old_digest", "digest", "changes")}
    assert said == {
        "kind": "edited",
        "by": "tanaka",
        "role": "operator",
        "reason": "過大",
        "old_digest": action.digest,
        "digest": edited.digest,
        "changes": {"amount": {"before": 200_000, "after": 150_000}},
    }
    card = stage.cards.card(action.id)
    assert card.edits == (
        Edit(2, "tanaka", True, "2026-11-21 12:00:00", "過大", (("amount", "200000", "150000"),)),  # noqa: FBT003
    )
    assert stage.cards.summary(edited).en == (
        "Register a transaction 150,000円 (revision 2, edited by tanaka): waiting for approval."
    )


async def test_the_log_says_by_which_policy_and_facts_an_edit_was_judged_and_the_policy_is_kept(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    stricter = POLICY.replace("amount_over = 1_000_000", "amount_over = 100_000")
    stage.settings.policy_file.write_text(stricter)

    stage.revisions.revise(stage.draft(action, 150_000))

    with stage.store.read() as tx:
        row = audit.history(tx, action.id)[-1]
        kept = tx.connection.execute("SELECT source FROM policy WHERE sha256 = ?", (row["policy"],)).fetchall()
    assert {name: row[name] for name in ("verdict", "approvers", "why", "twins")} == {
        "verdict": "ask", "approvers": 2, "why": ["large: large"], "twins": [],
    }  # fmt: skip
    assert (row["policy"], row["facts"]["amount"]) == (sha256(stricter.encode()), 150_000)
    assert [source for (source,) in kept] == [stricter]


async def test_a_vote_on_what_was_there_before_the_edit_does_not_count(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, _ = office
    seen = stage.propose("A-1", 200_000)
    stage.revisions.revise(stage.draft(seen, 190_000))

    with pytest.raises(VoteRefused, match="not what the action says now"):
        stage.approve(seen, tanaka)

    assert votes(stage, seen) == []


async def test_an_operator_who_edited_never_decides_on_that_revision_or_a_later_one(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, sato = office
    action = stage.propose("A-1", 200_000)
    second = stage.revisions.revise(stage.draft(action, 150_000), key=tanaka)
    third = stage.revisions.revise(stage.draft(second, 160_000))

    for decision in ("approve", "reject", "return"):
        with pytest.raises(VoteRefused, match="what they edited"):
            stage.ballots.cast(Ballot(action.id, third.digest, decision, revision=third.revision), tanaka)
    stage.approve(third, sato)
    done = await stage.executor.execute(action.id)

    assert editors(third) == ("tanaka",)
    assert (done.state, votes(stage, action)) == (State.SUCCEEDED, ["sato"])


async def test_an_editors_own_vote_written_into_the_database_is_dropped_at_execution(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 200_000)
    edited = stage.revisions.revise(stage.draft(action, 150_000), key=tanaka)
    other = stage.propose("A-2", 150_000, counterparty_id="C-9", counterparty_name="別の会社")
    stage.approve(other, tanaka)
    with stage.store.read() as tx:
        [vote] = tx.all("votes_of", action_id=other.id)
    said = json.loads(vote["statement"]) | {"action": edited.id, "revision": 2, "digest": edited.digest}
    statement = json.dumps(said)  # tanaka's own key, used past the gate
    tamper(
        stage,
        "INSERT INTO vote VALUES (?, 2, 'tanaka', 'approve', ?, ?, 'cli', ?)",
        edited.id,
        statement,
        tanaka.sign(statement.encode()),
        vote["voted_at"],
    )
    tamper(stage, "UPDATE action SET state = 'approved' WHERE id = ?", edited.id)

    after = await stage.executor.execute(edited.id)

    assert votes(stage, edited) == []
    assert after.state is State.REVOKED
    assert stage.provider.sends == 0


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM revision",
        "UPDATE revision SET seal = '00'",
        "UPDATE revision SET seal = NULL",
        "UPDATE revision SET editor = 'sato'",
        "UPDATE revision SET statement = replace(statement, 'tanaka', 'mallory')",
        "UPDATE revision SET statement = 'x'",
        "UPDATE revision SET revision = 3",
    ],
)
async def test_an_approved_edit_whose_record_was_changed_is_never_sent(
    stage: Stage, office: tuple[Key, Key], forgery: str
) -> None:
    tanaka, sato = office
    action = stage.propose("A-1", 200_000)
    stage.approve(stage.revisions.revise(stage.draft(action, 150_000), key=tanaka), sato)
    tamper(stage, forgery)

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.REVOKED, 0)
    assert f"the edits of action {action.id} are not those the log says" in faults(stage)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 200_001},
        {"counterparty_id": "C-2"},
        {"counterparty_name": "株式会社みどり"},
    ],
)
async def test_an_operator_cannot_raise_the_amount_or_send_it_to_somebody_else(
    stage: Stage, office: tuple[Key, Key], change: dict[str, object]
) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 200_000)
    draft = stage.draft(action, **({"amount": 190_000} | change))  # type: ignore[arg-type]

    with pytest.raises(NotAllowed, match="operator's edit cannot") as told:
        stage.revisions.revise(draft, key=tanaka)
    own = stage.revisions.revise(draft)

    assert "Return it instead" in told.value.say("en")
    assert own.revision == 2


def test_what_is_not_as_the_log_says_is_not_edited(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    tamper(stage, "UPDATE action SET surface = 'web' WHERE id = ?", action.id)

    with pytest.raises(StoreDamaged, match=f"action {action.id} is not what the log says it is"):
        stage.revisions.revise(stage.draft(action, 150_000))

    assert stage.find(action.id).revision == 1


async def test_an_operator_cannot_change_what_the_operation_pins(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 200_000)
    draft = stage.draft(action, 190_000)
    body = {"number": "A-1", "amount": 190_000, "payee": "D-2"}
    request = draft.proposal.plan.request.model_copy(update={"body": body})
    moved = replace(draft, proposal=replace(draft.proposal, plan=replace(draft.proposal.plan, request=request)))

    with pytest.raises(NotAllowed, match="cannot change to whom"):
        stage.revisions.revise(moved, key=tanaka)


async def test_the_call_before_and_the_call_after_an_edit_are_the_same_action(stage: Stage) -> None:
    before, after = stage.proposal("A-1", 200_000), stage.proposal("A-1", 150_000)
    action = stage.desk.propose(before)

    stage.revisions.revise(stage.draft(action, 150_000))

    assert stage.desk.propose(before).id == action.id == stage.desk.propose(after).id
    same = stage.desk.same_call(before.call_digest)
    assert same is not None
    assert (same.id, same.revision) == (action.id, 2)


async def test_an_edit_cannot_become_a_second_action_of_the_same_request(stage: Stage) -> None:
    first = stage.propose("A-1", 200_000)
    second = stage.propose("A-2", 150_000, counterparty_id="C-2", counterparty_name="別の会社")

    with pytest.raises(NotAllowed, match="this very request already"):
        stage.revisions.revise(stage.draft(second, 200_000, number="A-1"))
    with pytest.raises(NotAllowed, match="A-1 is in use"):
        stage.revisions.revise(stage.draft(second, 190_000, number="A-1"))

    assert stage.find(second.id).revision == 1
    assert first.id != second.id


async def test_an_edit_never_sends_by_itself_even_what_the_policy_would_allow(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, sato = office
    action = stage.propose("A-1", 200_000)

    edited = stage.revisions.revise(stage.draft(action, 40_000), key=tanaka)
    await stage.executor.sweep()
    asked, sends = stage.find(action.id), stage.provider.sends
    stage.approve(edited, sato)
    done = await stage.executor.execute(action.id)

    assert (asked.state, asked.approvers, sends) == (State.AWAITING, 1, 0)
    assert asked.decision.why == ["edited: 修正した人以外の承認が必要です"]
    assert (done.state, stage.provider.sends) == (State.SUCCEEDED, 1)


async def test_an_edit_the_policy_denies_leaves_the_action_as_it_was(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 200_000)

    with pytest.raises(NotAllowed, match="too large"):
        stage.revisions.revise(stage.draft(action, 6_000_000))

    assert stage.find(action.id) == action
    assert stage.approve(action, tanaka).state is State.APPROVED


@pytest.mark.parametrize("end", ["rejected", "returned", "expired", "withdrawn", "approved", "succeeded"])
async def test_only_what_waits_for_approval_can_be_edited(stage: Stage, office: tuple[Key, Key], end: str) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 200_000)
    draft = stage.draft(action, 150_000)
    if end == "expired":
        stage.clock.advance(hours=73)
    elif end == "withdrawn":
        tamper(stage, "UPDATE action SET state = 'withdrawn'")
    else:
        word = {"rejected": "reject", "returned": "return"}.get(end, "approve")
        stage.ballots.cast(Ballot(action.id, action.digest, word, "x"), tanaka)  # type: ignore[arg-type]
    if end == "succeeded":
        await stage.executor.execute(action.id)

    with pytest.raises(NotAllowed, match="cannot be edited"):
        stage.revisions.revise(draft)
    with pytest.raises(NotAllowed, match="cannot be edited"):
        stage.revisions.editable(action.id)


async def test_what_waits_for_approval_is_given_to_be_edited_unless_its_content_was_changed(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    assert stage.revisions.editable(action.id) == action

    tamper(stage, "UPDATE action SET canonical = replace(canonical, '200000', '900000')")

    with pytest.raises(StoreDamaged, match=f"The content of {action.id} was changed"):
        stage.revisions.editable(action.id)
    with pytest.raises(NotFound):
        stage.revisions.editable("act-x")


async def test_an_edit_does_not_ask_again_for_what_was_rejected_within_a_day(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    rejected, other = stage.propose("A-1", 200_000), stage.propose("A-2", 190_000)
    stage.ballots.cast(Ballot(rejected.id, rejected.digest, "reject", "no"), office[0])
    stage.clock.advance(hours=23, minutes=59, seconds=59)
    with pytest.raises(NotAllowed, match=f"Action {rejected.id} is this very request already"):
        stage.revisions.revise(stage.draft(other, 200_000, number="A-1"))

    stage.clock.advance(seconds=1)

    assert stage.revisions.revise(stage.draft(other, 200_000, number="A-1")).revision == 2


async def test_a_reason_of_an_edit_has_up_to_500_characters(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    with pytest.raises(NotAllowed, match="too long a reason"):
        stage.revisions.revise(stage.draft(action, 150_000), reason="長" * (MAX_REASON + 1))

    assert stage.revisions.revise(stage.draft(action, 150_000), reason="長" * MAX_REASON).revision == 2


async def test_an_action_is_edited_twenty_times_and_then_proposed_anew(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    for count in range(MAX_REVISIONS):
        action = stage.revisions.revise(stage.draft(action, 199_000 - count))

    with pytest.raises(NotAllowed, match="Too many edits") as refused:
        stage.revisions.revise(stage.draft(action, 150_000))

    assert (MAX_REVISIONS, action.revision) == (20, 21)
    assert "Withdraw it and propose it anew" in refused.value.say("en")


async def test_of_two_edits_of_the_same_revision_one_is_told_to_look_again(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    mine, theirs = stage.draft(action, 150_000), stage.draft(action, 160_000)
    stage.revisions.revise(mine)

    with pytest.raises(NotAllowed, match="changed after it was read"):
        stage.revisions.revise(theirs)

    assert stage.find(action.id).particulars.amount == 150_000


async def test_an_action_of_an_earlier_version_without_its_arguments_is_not_edited(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    tamper(stage, "UPDATE action SET arguments = NULL")

    with pytest.raises(NotAllowed, match="not kept"):
        stage.revisions.editable(action.id)
    with pytest.raises(NotAllowed, match="not kept"):
        stage.revisions.revise(stage.draft(action, 150_000))


async def test_a_removed_operators_edit_still_stands_and_is_still_theirs(stage: Stage, office: tuple[Key, Key]) -> None:
    from seikyu.gate import operators

    tanaka, sato = office
    action = stage.propose("A-1", 200_000)
    edited = stage.revisions.revise(stage.draft(action, 150_000), key=sato)
    operators.remove(stage.store, stage.clock, "sato", by=tanaka)

    with pytest.raises(NotAllowed, match="may not edit"):
        stage.revisions.revise(stage.draft(edited, 140_000), key=sato)
    stage.approve(edited, tanaka)

    assert (await stage.executor.execute(action.id)).state is State.SUCCEEDED


@pytest.mark.parametrize(
    "forgery",
    [
        "seal = '00'",
        "seal = NULL",
        "editor = 'sato'",
        "statement = replace(statement, '200000', '100000')",
        "statement = '[]'",
        "revision = 'two', statement = replace(statement, '\"revision\":2', '\"revision\":\"two\"')",
    ],
)
async def test_a_card_with_a_forged_edit_is_not_shown(stage: Stage, office: tuple[Key, Key], forgery: str) -> None:
    action = stage.propose("A-1", 200_000)
    stage.revisions.revise(stage.draft(action, 150_000), key=office[0])
    tamper(stage, f"UPDATE revision SET {forgery}")  # noqa: S608

    with pytest.raises(StoreDamaged, match="edits") as told:
        stage.cards.card(action.id)

    assert "Nothing was written" not in told.value.say("en"), "nobody can know"


async def test_an_edit_of_an_operator_nobody_knows_is_not_shown(stage: Stage, office: tuple[Key, Key]) -> None:
    action = stage.propose("A-1", 200_000)
    stage.revisions.revise(stage.draft(action, 150_000), key=office[1])
    tamper(stage, "DELETE FROM operator WHERE name = 'sato'")

    with pytest.raises(StoreDamaged, match="edits"):
        stage.cards.card(action.id)


async def test_an_edit_of_a_revision_the_action_does_not_have_is_not_shown(stage: Stage) -> None:
    action = stage.propose("A-1", 200_000)
    stage.revisions.revise(stage.draft(action, 150_000))
    tamper(stage, "UPDATE action SET revision = 1")

    with pytest.raises(StoreDamaged, match="edits"):
        stage.cards.card(action.id)


async def test_an_operators_sealed_edit_of_one_action_does_not_pass_for_their_edit_of_another(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, _ = office
    action, other = stage.propose("A-1", 200_000), stage.propose("A-2", 190_000, counterparty_id="C-2")
    stage.revisions.revise(stage.draft(stage.revisions.revise(stage.draft(action, 150_000), key=tanaka), 160_000))
    stage.revisions.revise(stage.draft(other, 180_000, counterparty_id="C-2"), key=tanaka)
    assert len(stage.cards.card(action.id).edits) == 2
    for column in ("statement", "seal"):
        tamper(
            stage,
            f"UPDATE revision SET {column} = (SELECT {column} FROM revision WHERE action_id = ?)"  # noqa: S608
            " WHERE action_id = ? AND revision = 2",
            other.id,
            action.id,
        )

    with pytest.raises(StoreDamaged, match="edits"):
        stage.cards.card(action.id)


def test_differences_name_every_leaf_by_its_path() -> None:
    before = {"lines": [{"price": "10", "n": 1}, {"price": "5"}], "date": "2026-11-20", "gone": 1}
    after = {"lines": [{"price": "9", "n": True}], "date": "2026-11-20", "new": None}

    assert differences(before, after) == {
        "lines.0.price": ("10", "9"),
        "lines.0.n": (1, True),
        "lines.1": ({"price": "5"}, None),
        "gone": (1, None),
    }


def test_a_value_is_put_at_its_path_and_nowhere_else() -> None:
    arguments = {"lines": [{"price": "10"}], "date": "a"}

    assert put(arguments, "lines.0.price", "9") == {"lines": [{"price": "9"}], "date": "a"}
    assert put(arguments, "number", "X") == {**arguments, "number": "X"}
    assert put({"n": [1, 2, 3]}, "n.1", 9) == {"n": [1, 9, 3]}
    assert put({"n": [[1, 2], 3]}, "n.0.0", 9) == {"n": [[9, 2], 3]}
    for wrong in ("lines.1.price", "lines.x", "date.0", "", "nothing.here"):
        with pytest.raises(InvalidArguments, match="no argument"):
            put(arguments, wrong, "9")


def test_an_edit_puts_the_facts_on_record_that_a_proposal_does_and_none_that_nobody_knew(stage: Stage) -> None:
    action = stage.propose("A-1", 2_000_000)

    stage.revisions.revise(stage.draft(action, 1_500_000))

    with stage.store.read() as tx:
        proposed, edited = (row["facts"] for row in audit.history(tx, action.id))
    assert set(edited) == set(proposed)
    assert "connection_monthly_total" not in edited
