"""A decision as it is recorded: what is sealed, what the log says, and what is refused with which words."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from gate.forgery import forge
from gate.lost_store import LostStore
from gate.stage import Stage
from seikyu.errors import NotFound, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit
from seikyu.gate.actions import Action, State
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.keys import Key
from seikyu.gate.policy import PolicyBook
from seikyu.gate.proposals import Desk
from seikyu.gate.votes import Ballot, BallotBox, Decision, approvals, check_digest, conclusions
from seikyu.gate.witness import vote_hash
from seikyu.models import timestamp
from seikyu.spec import Different
from seikyu.store.database import Store, Tx


@pytest.fixture
def office(stage: Stage) -> tuple[Key, Key]:
    tanaka = stage.enrol("tanaka")
    return tanaka, stage.enrol("sato", tanaka)


def ballot(action: Action, decision: Decision = "approve", reason: str = "", **more: Any) -> Ballot:
    return Ballot(action.id, action.digest, decision, reason, revision=action.revision, **more)


def votes(stage: Stage, action: Action) -> list[dict[str, Any]]:
    with stage.store.read() as tx:
        return [dict(row) for row in tx.all("every_vote") if row["action_id"] == action.id]


def logged(stage: Stage, action: Action, last: int = 1) -> list[dict[str, Any]]:
    """What the log says of the action last, without its place, state and row."""
    hidden = {"seq", "at", "state", "row", "digest"}
    with stage.store.read() as tx:
        rows = audit.history(tx, action.id)[-last:]
    return [{name: value for name, value in row.items() if name not in hidden} for row in rows]


@pytest.mark.parametrize(
    "decision,kind,state",
    [
        ("approve", "approved", State.APPROVED),
        ("reject", "rejected", State.REJECTED),
        ("return", "returned", State.RETURNED),
    ],
)
def test_a_decision_is_sealed_whole_and_the_log_says_who_why_and_through_what(
    stage: Stage, office: tuple[Key, Key], decision: Decision, kind: str, state: State
) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 100_000)
    now = timestamp(stage.clock.now())

    decided = stage.ballots.cast(ballot(action, decision, "見た", via="web"), tanaka)

    statement = canonical(
        {
            "action": action.id, "revision": 1, "digest": action.digest, "decision": decision, "reason": "見た",
            "expires_at": action.expires_at, "operator": "tanaka", "voted_at": now, "resolved_as": None,
            "acting_for": None,
        }
    )  # fmt: skip
    [vote] = votes(stage, action)
    assert vote == {
        "action_id": action.id, "revision": 1, "operator": "tanaka", "decision": decision, "via": "web",
        "statement": statement.decode(), "seal": tanaka.sign(statement), "voted_at": now,
    }  # fmt: skip
    because = {"outcome": json.dumps({"ja": "tanaka: 見た", "en": "tanaka: 見た"}, ensure_ascii=False)}
    more: dict[str, Any] = {"expires_at": decided.expires_at} if decision == "approve" else because
    sealed, said = logged(stage, action, 2)
    assert sealed == {
        "kind": "sealed", "operator": "tanaka", "decision": decision, "statement_sha256": sha256(statement),
        "vote": vote_hash(vote),
    }  # fmt: skip
    assert as_read(said) == as_read({"kind": kind, "by": "tanaka", "reason": "見た", "via": "web", **more})
    assert decided.state is state


def as_read(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"outcome": json.loads(said["outcome"]) if "outcome" in said else None}


def test_an_approval_that_is_not_the_last_and_one_that_is_withdrawn_are_logged(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, sato = office
    action = stage.propose("A-1", 2_000_000)
    stage.ballots.cast(ballot(action, reason="一"), tanaka)
    voted = logged(stage, action)
    stage.clock.advance(minutes=1)
    approved = stage.approve(action, sato)
    revoked = stage.ballots.cast(ballot(approved, "revoke", "二"), tanaka)

    assert voted == [{"kind": "voted", "decision": "approve", "by": "tanaka", "reason": "一", "via": "cli"}]
    assert logged(stage, action) == [{"kind": "revoked", "by": "tanaka", "reason": "二", "via": "cli"}]
    assert revoked.state is State.REVOKED
    with stage.store.read() as tx:
        said = [row for row in audit.history(tx, action.id) if row["kind"] == "voted"]
    assert [row["digest"] for row in said] == [action.digest]


def test_a_vote_for_another_says_so_in_its_seal_and_in_the_log(stage: Stage, office: tuple[Key, Key]) -> None:
    from seikyu.gate import operators

    tanaka, sato = office
    operators.lend(stage.store, stage.clock, "sato", until=stage.clock.now().date(), ceiling=None, by=tanaka)
    action = stage.propose("A-1", 100_000)

    stage.ballots.cast(ballot(action, acting_for="tanaka"), sato)

    [vote] = votes(stage, action)
    assert json.loads(vote["statement"])["acting_for"] == "tanaka"
    assert (logged(stage, action)[0]["by"], logged(stage, action)[0]["acting_for"]) == ("sato", "tanaka")


def refused(stage: Stage, cast: Ballot, key: Key) -> str:
    with pytest.raises(VoteRefused) as told:
        stage.ballots.cast(cast, key)
    return told.value.say("en")


def test_each_refusal_says_what_is_so_that_nothing_was_recorded_and_what_to_do(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, sato = office
    action, decided = stage.propose("A-1", 2_000_000), stage.propose("A-2", 100_000, counterparty_id="C-2")
    stage.approve(action, tanaka)
    stage.ballots.cast(ballot(decided, "reject"), tanaka)
    own = stage.propose("A-3", 200_000, requester="sato", counterparty_id="C-3")
    stranger = replace(sato, name="mallory")
    told = [
        refused(stage, ballot(decided), sato),
        refused(stage, ballot(action, reason="x" * 501), sato),
        refused(stage, replace(ballot(action), digest="00"), sato),
        refused(stage, replace(ballot(action), revision=2), sato),
        refused(stage, ballot(action), stranger),
        refused(stage, ballot(action, acting_for="tanaka"), sato),
        refused(stage, ballot(own), sato),
        refused(stage, ballot(action), tanaka),
        refused(stage, ballot(action, "revoke"), sato),
    ]
    stage.clock.advance(hours=73)
    told.append(refused(stage, ballot(action), sato))

    none = "No decision was recorded."
    before_the_last = "Nothing is sent before the last approval: to stop it, reject it or return it."
    assert told == [
        f"{decided.id} is rejected. {none} This cannot be decided. Its history tells why.",
        f"A reason has at most 500 characters. {none}",
        f"What you saw is not what the action says now. {none} Look at it again.",
        f"What you saw is not what the action says now. {none} Look at it again.",
        f"mallory may not decide. {none}",
        f"sato may not decide this for tanaka now. {none} `seikyu operator list` shows what is lent.",
        f"Nobody decides on their own request. {none} Ask another operator.",
        f"Your decision is recorded already. {none} Wait for the others.",
        f"{action.id} is waiting for approval. {none} {before_the_last}",
        f"{action.id} has expired. {none} Ask for it to be proposed again.",
    ]
    assert len(votes(stage, action)) == 1


def test_a_reason_may_have_five_hundred_characters(stage: Stage, office: tuple[Key, Key]) -> None:
    action = stage.propose("A-1", 100_000)

    assert stage.ballots.cast(ballot(action, reason="x" * 500), office[0]).state is State.APPROVED


def test_who_approved_may_still_reject_while_others_are_waited_for(stage: Stage, office: tuple[Key, Key]) -> None:
    action = stage.propose("A-1", 2_000_000)
    stage.approve(action, office[0])

    assert stage.ballots.cast(ballot(action, "reject"), office[0]).state is State.REJECTED


@pytest.mark.parametrize("text", ["no json", "[]", '"approve"', "{}"])
def test_a_vote_whose_statement_is_no_statement_is_a_damaged_store(
    stage: Stage, office: tuple[Key, Key], text: str
) -> None:
    tanaka, _ = office
    action = stage.propose("A-1", 2_000_000)
    stage.approve(action, tanaka)
    forge(stage, "UPDATE vote SET statement = ?, seal = ?", text, tanaka.sign(text.encode()))

    with stage.store.read() as tx, pytest.raises(StoreDamaged) as told:
        approvals(tx, stage.find(action.id))

    assert told.value.say("en") == f"The seal of tanaka on {action.id} does not hold. Run `seikyu audit verify`."


def test_a_content_that_is_not_what_its_digest_says_is_a_damaged_store(stage: Stage) -> None:
    action = stage.propose("A-1", 100_000)
    check_digest(action)

    with pytest.raises(StoreDamaged) as told:
        check_digest(action.model_copy(update={"canonical": action.canonical + " "}))

    assert told.value.say("en") == f"The content of {action.id} was changed. Run `seikyu audit verify`."


async def in_review(stage: Stage, amount: int, *keys: Key) -> Action:
    action = stage.propose("A-1", amount)
    stage.provider.answers.append(lambda _request: Different(Text("違う", "different"), "tx-9"))
    for key in keys:
        stage.approve(action, key)
    return await stage.executor.execute(action.id)


@pytest.mark.parametrize("reference,kind", [("tx-9", State.SUCCEEDED), (None, State.FAILED)])
async def test_a_conclusion_is_sealed_logged_and_heard_once_it_is_reached(
    stage: Stage, office: tuple[Key, Key], reference: str | None, kind: State
) -> None:
    heard: list[tuple[str, State]] = []

    def hear(tx: Tx, action: Action) -> None:
        assert tx.one("action", id=action.id) is not None
        heard.append((action.id, action.state))

    box = BallotBox(stage.store, stage.clock, stage.settings.timing, on_resolved=hear)
    action = await in_review(stage, 2_000_000, *office)
    concluded = "nothing" if reference is None else reference

    box.resolve(ballot(action, "resolve", "画面", via="web"), office[0], reference=reference)
    one, heard_then = logged(stage, action), list(heard)
    with stage.store.read() as tx:
        found = conclusions(tx, action)
        digest = audit.history(tx, action.id)[-1]["digest"]
    done = box.resolve(ballot(action, "resolve", "画面", via="web"), office[1], reference=reference)

    said = {"evidence": "画面", "via": "web"}
    assert one == [{"kind": "concluded", "resolved_as": concluded, "by": "tanaka", **said}]
    assert (found, digest, heard_then) == ({concluded: ["tanaka"]}, action.digest, [])
    held = {} if reference is None else {"reference": reference}
    assert logged(stage, action) == [{"kind": "resolved", "by": "sato", **held, **said}]
    assert (done.state, done.reference, done.outcome) == (kind, reference, None)
    assert heard == [(action.id, kind)]
    sealed = [json.loads(vote["statement"]) for vote in votes(stage, action) if vote["decision"] == "resolve"]
    assert [one["resolved_as"] for one in sealed] == [concluded] * 2


@pytest.fixture
def lost(stage: Stage) -> Generator[LostStore]:
    made = LostStore(stage.settings.store_place)
    yield made
    made.close()


def test_a_vote_whose_answer_was_lost_is_there_and_one_whose_commit_was_lost_is_not(
    stage: Stage, lost: LostStore, office: tuple[Key, Key]
) -> None:
    box = BallotBox(lost, stage.clock, stage.settings.timing)
    action = stage.propose("A-1", 2_000_000)
    lost.loses = "answer"
    kept = box.cast(ballot(action), office[0])
    lost.loses = "commit"
    with pytest.raises(VoteRefused) as told:
        box.cast(ballot(action), office[1])

    assert (kept, [vote["operator"] for vote in votes(stage, action)]) == (stage.find(action.id), ["tanaka"])
    assert told.value.say("en") == ("The connection to the database was lost. No decision was recorded. Decide again.")
    assert box.cast(ballot(action), office[1]).state is State.APPROVED


async def test_a_conclusion_whose_answer_was_lost_is_there_and_one_whose_commit_was_lost_is_not(
    stage: Stage, lost: LostStore, office: tuple[Key, Key]
) -> None:
    box = BallotBox(lost, stage.clock, stage.settings.timing)
    action = await in_review(stage, 2_000_000, *office)
    lost.loses = "answer"
    kept = box.resolve(ballot(action, "resolve", "seen"), office[0], reference="tx-9")
    lost.loses = "commit"
    with pytest.raises(VoteRefused, match="connection to the database was lost"):
        box.resolve(ballot(action, "resolve", "seen"), office[1], reference="tx-9")

    assert (kept.state, stage.find(action.id).state) == (State.MANUAL_REVIEW, State.MANUAL_REVIEW)
    done = box.resolve(ballot(action, "resolve", "seen"), office[1], reference="tx-9")
    assert done.state is State.SUCCEEDED


def test_a_vote_on_an_action_nobody_proposed_finds_nothing(stage: Stage, office: tuple[Key, Key]) -> None:
    action = stage.propose("A-1", 100_000)

    with pytest.raises(NotFound):
        stage.ballots.cast(replace(ballot(action), action_id="act-none"), office[0])


def test_only_an_approval_is_counted_as_one(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, sato = office
    action = stage.propose("A-1", 2_000_000)
    stage.approve(action, tanaka)
    stage.ballots.cast(ballot(action, "reject", "wrong customer"), sato)

    with stage.store.read() as tx:
        counted = [right.operator for right in approvals(tx, stage.find(action.id))]
    assert counted == ["tanaka"]
    assert [vote["decision"] for vote in votes(stage, action)] == ["approve", "reject"]


class CountingStore(Store):
    """Counts the transactions that read."""

    reads = 0

    @contextmanager
    def read(self) -> Generator[Tx]:
        self.reads += 1
        with super().read() as tx:
            yield tx


def test_the_votes_of_many_requests_are_read_at_once(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    actions = [stage.propose(f"A-{n}", 1_100_000 + n) for n in range(4)]
    stage.approve(actions[0], first)
    stage.approve(stage.approve(actions[2], first), second)
    store = CountingStore(stage.settings.store_place)
    desk = Desk(store, stage.clock, stage.settings, PolicyBook(stage.settings.policy_file))

    have = desk.have_votes([stage.find(action.id) for action in actions])

    store.close()
    assert list(have.values()) == [1, 0, 2, 0]
    assert store.reads == 1
    assert desk.have_votes([]) == {}


def test_no_vote_is_counted_while_the_operators_records_are_in_doubt(stage: Stage) -> None:
    action = stage.propose("A-1", 1_100_000)
    stage.approve(action, stage.enrol("tanaka"))
    with stage.store.write() as tx:
        tx.connection.execute("UPDATE operator SET public_key = enrolled_at")

    assert stage.desk.have_votes([action]) == {action.id: 0}
