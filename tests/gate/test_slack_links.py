"""Who speaks for whom in Slack, up to what amount, and on which message."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gate.forgery import forge
from gate.stage import Stage
from seikyu.errors import NotFound, StoreDamaged, VoteRefused
from seikyu.gate import operators, slack
from seikyu.gate.actions import Action, State
from seikyu.gate.canonical import sha256
from seikyu.gate.keys import Key
from seikyu.gate.slack import Click, Link, Wanted
from seikyu.gate.votes import Ballot, approvals
from seikyu.gate.witness import link_hash
from seikyu.models import MAX_YEN, timestamp

SEALING = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = SEALING.public_key().public_bytes_raw().hex()
WANTED = Wanted("T0TEAM", "U0TANAKA", 500_000, PUBLIC)
CLICK = Click("A0APP", "T0TEAM", "U0TANAKA", "C0", "1.1")
TANAKA = Link("tanaka", "T0TEAM", "U0TANAKA", 500_000, PUBLIC, "sato")


@pytest.fixture
def office(stage: Stage) -> tuple[Key, Key]:
    tanaka = stage.enrol("tanaka")
    return tanaka, stage.enrol("sato", tanaka)


def link(stage: Stage, key: Key, by: Key, **changes: Any) -> None:
    slack.link(stage.store, stage.clock, replace(WANTED, **changes), key=key, by=by)


def links(stage: Stage) -> list[Link]:
    with stage.store.read() as tx:
        return slack.links(tx)


def test_a_request_is_known_for_ten_minutes(stage: Stage) -> None:
    seen = [slack.remember(stage.store, stage.clock, mark) for mark in ("a", "b", "a")]
    stage.clock.advance(minutes=10)
    seen.append(slack.remember(stage.store, stage.clock, "a"))
    stage.clock.advance(seconds=1)
    seen.append(slack.remember(stage.store, stage.clock, "a"))

    assert seen == [True, True, False, False, True]


def test_a_link_and_its_end_are_sealed_vouched_chained_and_logged(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, sato = office
    link(stage, tanaka, sato)
    there = links(stage)
    slack.unlink(stage.store, stage.clock, "tanaka", by=sato)

    with stage.store.read() as tx:
        one, two = tx.all("slack_links")
        logged = [
            (row["kind"], json.loads(row["record"]))
            for row in tx.connection.execute("SELECT * FROM audit ORDER BY seq")
            if row["kind"].startswith("slack.")
        ]
    said = {"operator": "tanaka", "team": "T0TEAM", "user": "U0TANAKA", "at": timestamp(stage.clock.now())}
    assert (there, links(stage)) == ([TANAKA], [])
    assert [json.loads(row["statement"]) for row in (one, two)] == [
        {**said, "slack_link": 1, "prev": "0" * 64, "up_to": 500_000, "sealed_with": PUBLIC},
        {**said, "slack_link": 2, "prev": sha256(one["statement"].encode()), "up_to": None, "sealed_with": ""},
    ]
    seals = [(row["operator"], row["seal"], row["vouched_by"], row["vouch"]) for row in (one, two)]
    first, second = (row["statement"].encode() for row in (one, two))
    assert seals == [
        ("tanaka", tanaka.sign(first), "sato", sato.sign(first)),
        ("tanaka", sato.sign(second), "sato", sato.sign(second)),
    ]
    record = {"operator": "tanaka", "team": "T0TEAM", "user": "U0TANAKA", "vouched_by": "sato"}
    assert logged == [
        ("slack.linked", {**record, "up_to": 500_000, "row": link_hash(one)}),
        ("slack.unlinked", {**record, "row": link_hash(two), "up_to": None}),
    ]


def test_the_newest_link_of_a_person_and_of_a_slack_user_counts(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, sato = office
    link(stage, tanaka, sato)
    link(stage, sato, tanaka, user="U0SATO")
    both = links(stage)
    link(stage, tanaka, sato, team="T0OTHER")
    moved = links(stage)
    link(stage, tanaka, sato, user="U0SATO", up_to=0)

    seat_of_sato = Link("sato", "T0TEAM", "U0SATO", 500_000, PUBLIC, "tanaka")
    assert both == [TANAKA, seat_of_sato]
    assert moved == [seat_of_sato, replace(TANAKA, team="T0OTHER")]
    assert links(stage) == [replace(TANAKA, user="U0SATO", up_to=0)]


@pytest.mark.parametrize("gone", ["tanaka", "sato"])
def test_a_link_ends_with_the_removal_of_its_operator_or_of_who_vouched(
    stage: Stage, office: tuple[Key, Key], gone: str
) -> None:
    tanaka, sato = office
    third = stage.enrol("ito", tanaka)
    link(stage, tanaka, sato)

    operators.remove(stage.store, stage.clock, gone, by=third)

    assert links(stage) == []


@pytest.mark.parametrize(
    "changes",
    [{"team": "t0team"}, {"team": "T"}, {"user": "U0 A"}, {"user": "U" * 32}, {"up_to": -1}, {"up_to": MAX_YEN + 1}],
)
def test_a_link_that_names_nobody_or_no_amount_is_refused(
    stage: Stage, office: tuple[Key, Key], changes: dict[str, Any]
) -> None:
    with pytest.raises(VoteRefused, match="Name the team like T0123"):
        link(stage, *office, **changes)

    link(stage, *office, team="T0", user="U" * 31, up_to=MAX_YEN)
    assert len(links(stage)) == 1


def test_only_an_operator_links_and_ends_links_and_only_one_alone_vouches_for_themselves(stage: Stage) -> None:
    tanaka = stage.enrol("tanaka")
    link(stage, tanaka, tanaka)
    sato = stage.enrol("sato", tanaka)
    stranger = Key("mallory", SEALING)
    for key, by, why in (
        (stranger, sato, "Not an operator"),
        (tanaka, stranger, "Not an operator"),
        (tanaka, tanaka, "Another operator has to vouch"),
    ):
        with pytest.raises(VoteRefused, match=why) as caught:
            link(stage, key, by)
        assert "Nothing was written" not in caught.value.say("en"), "no provider could have heard of a link"
    with pytest.raises(VoteRefused, match="Not an operator"):
        slack.unlink(stage.store, stage.clock, "tanaka", by=stranger)
    with pytest.raises(NotFound, match="sato has no Slack user"):
        slack.unlink(stage.store, stage.clock, "sato", by=tanaka)

    assert links(stage) == [replace(TANAKA, vouched_by="tanaka")]


def posted(stage: Stage, amount: int = 500_000, **more: Any) -> Action:
    action = stage.propose(f"N-{amount}", amount, **more)
    slack.note_message(stage.store, stage.clock, channel="C0", ts="1.1", action=(action.id, action.digest))
    return action


def click(stage: Stage, action: Action, key: Key, decision: Any = "approve", **changes: str) -> Action:
    ballot = Ballot(action.id, action.digest, decision, "見た", click=replace(CLICK, **changes))
    return stage.ballots.cast(ballot, key)


def test_a_click_is_sealed_by_the_server_with_who_clicked_on_what(stage: Stage, office: tuple[Key, Key]) -> None:
    link(stage, *office)
    action = posted(stage)

    approved = click(stage, action, Key("tanaka", SEALING))

    with stage.store.read() as tx:
        [vote] = tx.all("votes_of", action_id=action.id)
        held = [right.operator for right in approvals(tx, approved)]
    said = json.loads(vote["statement"])
    assert (approved.state, held, vote["via"]) == (State.APPROVED, ["tanaka"], "slack")
    assert {name: said[name] for name in ("slack", "sealed_with")} == {
        "slack": {"app": "A0APP", "team": "T0TEAM", "user": "U0TANAKA", "channel": "C0", "ts": "1.1"},
        "sealed_with": PUBLIC,
    }


@pytest.mark.parametrize(
    "changes,why",
    [
        ({"user": "U0SATO"}, "This Slack user speaks for no operator"),
        ({"team": "T0OTHER"}, "This Slack user speaks for no operator"),
        ({"ts": "1.2"}, "This message does not show what the action says now"),
        ({"channel": "C1"}, "This message does not show what the action says now"),
    ],
)
def test_a_click_of_another_person_or_on_another_message_is_no_vote(
    stage: Stage, office: tuple[Key, Key], changes: dict[str, str], why: str
) -> None:
    link(stage, *office)
    action = posted(stage)

    with pytest.raises(VoteRefused, match=why) as told:
        click(stage, action, Key("tanaka", SEALING), **changes)

    assert "No decision was recorded. Decide on the approval page or in a terminal." in told.value.say("en")


def test_a_click_counts_for_the_linked_operator_up_to_the_amount_and_never_revokes(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    link(stage, *office)
    server, other = Key("tanaka", SEALING), Key("sato", SEALING)
    large = posted(stage, 500_001)

    with pytest.raises(VoteRefused, match="speaks for no operator"):
        click(stage, large, other)
    with pytest.raises(VoteRefused, match="speaks for no operator"):
        click(stage, large, office[0])
    with pytest.raises(VoteRefused, match="In Slack you may approve up to 500,000円"):
        click(stage, large, server)
    approved = stage.approve(large, office[1])
    with pytest.raises(VoteRefused, match="Slack cannot take this decision"):
        click(stage, approved, server, "revoke")

    assert approved.state is State.APPROVED


def test_a_vote_in_slack_that_does_not_count_any_more_leaves_the_others(stage: Stage, office: tuple[Key, Key]) -> None:
    tanaka, sato = office
    link(stage, sato, tanaka, up_to=2_000_000)
    action = posted(stage, 2_000_000)
    click(stage, action, Key("sato", SEALING))
    slack.unlink(stage.store, stage.clock, "sato", by=tanaka)

    waiting = stage.approve(action, tanaka)

    with stage.store.read() as tx:
        held = [right.operator for right in approvals(tx, waiting)]
    assert (waiting.state, held) == (State.AWAITING, ["tanaka"])


def test_a_vote_in_slack_counts_up_to_what_the_person_may_decide_there_now(
    stage: Stage, office: tuple[Key, Key]
) -> None:
    tanaka, sato = office
    link(stage, sato, tanaka, up_to=2_000_000)
    action = posted(stage, 2_000_000)
    click(stage, action, Key("sato", SEALING))
    link(stage, sato, tanaka, up_to=1_999_999)

    waiting = stage.approve(action, tanaka)

    with stage.store.read() as tx:
        held = [right.operator for right in approvals(tx, waiting)]
    assert (waiting.state, held) == (State.AWAITING, ["tanaka"])


def test_a_link_the_log_knows_nothing_of_is_damage(stage: Stage, office: tuple[Key, Key]) -> None:
    link(stage, *office)
    forge(stage, "DROP TRIGGER audit_is_never_deleted")
    forge(stage, "DELETE FROM audit WHERE kind = 'slack.linked'")

    with pytest.raises(StoreDamaged, match="The last Slack link is missing or another"):
        links(stage)
