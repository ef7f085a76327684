"""Slack, over real sockets: a twin that signs clicks on one side, the real gate and SQLite on the other."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from gate.stage import Stage, make_stage
from seikyu.app import Home
from seikyu.errors import ConfigurationError, NotDelivered, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit, operators, slack
from seikyu.gate.actions import Action, State
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.cards import Card
from seikyu.gate.notices import Notice, NoticeKind
from seikyu.gate.operators import Key
from seikyu.gate.slack import Click, Wanted
from seikyu.gate.votes import Ballot, approvals
from seikyu.providers.http import HttpEdge
from seikyu.settings import Settings, SlackApp
from seikyu.spec import CardLine
from seikyu.surfaces.doors import Doors
from seikyu.surfaces.slack import Errands, SlackNotifier, SlackRooms, slack_routes
from seikyu.surfaces.slack.api import SlackApi
from seikyu.surfaces.slack.blocks import APPROVE, MAX_SECTION, REJECT, RETURN, message
from surfaces.signing import SLACK_SECRET, bad_for_slack, slack_body, slack_headers
from surfaces.slack_twin import APP, CHANNEL, TEAM, TOKEN, SlackTwin, rate_limited, running_slack, texts_of
from surfaces.sockets import on_socket

pytestmark = pytest.mark.anyio

TANAKA, SATO, STRANGER = "U0TANAKA", "U0SATO", "U0STRANGER"


@dataclass
class Office:
    """A gate with Slack at its door; tanaka and sato are linked, up to 2,000,000 yen."""

    stage: Stage
    twin: SlackTwin
    api: SlackApi
    tanaka: Key
    sato: Key
    sealing: Ed25519PrivateKey
    woken: list[str] = field(default_factory=list[str])
    errands: Errands = field(default_factory=Errands)

    @property
    def notifier(self) -> SlackNotifier:
        return SlackNotifier(self.api, self.stage.store, self.stage.clock, self.stage.cards, "en")

    async def wake(self, action_id: str) -> None:
        self.woken.append(action_id)

    @property
    def rooms(self) -> SlackRooms:
        return SlackRooms(
            store=self.stage.store,
            clock=self.stage.clock,
            cards=self.stage.cards,
            ballots=self.stage.ballots,
            app=self.api.app,
            api=self.api,
            secrets_of=lambda: [SLACK_SECRET],
            sealing_key=lambda: self.sealing,
            wake=self.wake,
            errands=self.errands,
            lang="en",
        )

    async def post(self, action: Action, kind: NoticeKind = NoticeKind.ASKED) -> None:
        await self.notifier.deliver(notice(kind, action.id))

    async def posted(self, amount: int = 400_000, **more: Any) -> Action:
        """An action that waits, with its card in the channel."""
        action = self.stage.propose(f"N-{amount}", amount, **more)
        await self.post(action)
        return action

    async def click(self, who: str, button: str = APPROVE, **changes: Any) -> int:
        return (await self.twin.send(self.twin.clicked(who, button, **changes))).status_code

    def link(self, key: Key, by: Key, user: str, up_to: int = 2_000_000, team: str = TEAM) -> None:
        wanted = Wanted(team, user, up_to, self.sealing.public_key().public_bytes_raw().hex())
        slack.link(self.stage.store, self.stage.clock, wanted, key=key, by=by)

    def votes(self, action: Action) -> list[str]:
        with self.stage.store.read() as tx:
            return [right.operator for right in approvals(tx, self.stage.find(action.id))]

    def state(self, action: Action) -> State:
        return self.stage.find(action.id).state

    def sql(self, statement: str, *values: object) -> None:
        """Do what somebody with the database file could do."""
        connection = sqlite3.connect(self.stage.settings.database)
        with connection:
            for trigger in ("slack_link_is_never_updated", "slack_link_is_never_deleted"):
                connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
            connection.execute(statement, values)
        connection.close()

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.stage.settings.database)
        found = connection.execute(query).fetchall()
        connection.close()
        return found

    def fault(self) -> str | None:
        return audit.verify(self.stage.store).fault


def notice(kind: NoticeKind, action_id: str | None, said: str = "Something happened.") -> Notice:
    return Notice("log-1", kind, action_id, datetime(2026, 11, 21, tzinfo=UTC), Text(said, said))


@pytest.fixture
async def office(tmp_path: Path, database_url: SecretStr | None) -> AsyncGenerator[Office]:
    stage = make_stage(tmp_path, database_url=database_url)
    tanaka = stage.enrol("tanaka")
    sato = stage.enrol("sato", tanaka)
    edge = HttpEdge()
    async with running_slack(lambda: int(stage.clock.now().timestamp())) as twin:
        app = SlackApp(TEAM, APP, CHANNEL, f"{twin.origin}/api")
        api = SlackApi(edge, app, stage.clock, lambda: SecretStr(TOKEN))
        made = Office(stage, twin, api, tanaka, sato, Ed25519PrivateKey.generate())
        made.link(tanaka, sato, TANAKA)
        made.link(sato, tanaka, SATO)
        async with on_socket(Starlette(routes=slack_routes(made.rooms))) as origin:
            twin.target = origin
            yield made
            await made.errands.drain()
    await edge.aclose()
    stage.store.close()


# a decision


@pytest.mark.both_stores
async def test_a_linked_operator_approves_in_slack_and_it_is_sent_once(office: Office) -> None:
    action = await office.posted()

    status = await office.click(TANAKA)
    await office.twin.until(lambda: office.twin.updates)
    done = await office.stage.executor.execute(action.id)

    assert (status, done.state, office.stage.provider.sends) == (200, State.SUCCEEDED, 1)
    assert (office.votes(action), office.woken) == (["tanaka"], [action.id])
    assert not any(block["type"] == "actions" for block in office.twin.updates[-1]["blocks"])
    assert office.twin.tokens == {f"Bearer {TOKEN}"}
    assert office.fault() is None


@pytest.mark.parametrize("button,state", [(REJECT, State.REJECTED), (RETURN, State.RETURNED)])
async def test_rejecting_and_sending_back_ask_for_a_reason(office: Office, button: str, state: State) -> None:
    action = await office.posted()
    clicked = await office.click(TANAKA, button)
    await office.twin.until(lambda: office.twin.views)
    waits = office.state(action)

    answered = await office.twin.send(office.twin.submitted(TANAKA, "単価が\n違います <!channel>"))

    outcome = office.stage.find(action.id).outcome_text
    assert (clicked, waits, answered.status_code, answered.text) == (200, State.AWAITING, 200, "")
    assert office.state(action) is state
    assert outcome is not None
    assert outcome.en == "tanaka: 単価が 違います <!channel>"


async def test_two_operators_are_two_clicks(office: Office) -> None:
    action = await office.posted(1_500_000)

    first = await office.click(TANAKA)
    waits = office.state(action)
    office.stage.clock.advance(seconds=1)
    second = await office.click(SATO)

    assert (first, waits, second) == (200, State.AWAITING, 200)
    assert (office.state(action), office.votes(action)) == (State.APPROVED, ["tanaka", "sato"])


async def test_an_operator_is_one_voice_in_slack_and_on_the_page(office: Office) -> None:
    action = await office.posted(1_500_000)
    await office.click(TANAKA)

    with pytest.raises(VoteRefused, match="recorded already"):
        office.stage.approve(action, office.tanaka)

    assert (office.state(action), office.votes(action)) == (State.AWAITING, ["tanaka"])


@pytest.mark.both_stores
@pytest.mark.fault("F53")
async def test_f53_retries_double_clicks_replays_and_a_second_person_are_one_decision(office: Office) -> None:
    action = await office.posted()
    body = slack_body(office.twin.clicked(TANAKA, APPROVE))
    headers = slack_headers(body, office.twin.now_s())

    replays = [(await office.twin.send_raw(body, headers)).status_code for _ in range(3)]
    office.stage.clock.advance(seconds=1)
    again = [await office.click(TANAKA), await office.click(SATO)]
    await office.twin.until(lambda: len(office.twin.told) == 2)

    with office.stage.store.read() as tx:
        votes = tx.all("votes_of", action_id=action.id)
    assert (replays, again) == ([200, 200, 200], [200, 200])
    assert ([vote["operator"] for vote in votes], office.woken) == (["tanaka"], [action.id])
    assert all("tanaka" in said and "approved" in said for said in office.twin.told)
    assert office.fault() is None


@pytest.mark.both_stores
@pytest.mark.fault("F53")
async def test_f53_approve_and_reject_at_once_by_two_people_are_one_decision(office: Office) -> None:
    action = await office.posted()
    await office.click(SATO, REJECT)
    await office.twin.until(lambda: office.twin.views)
    payloads = [office.twin.clicked(TANAKA, APPROVE), office.twin.submitted(SATO, "no")]
    async with anyio.create_task_group() as tasks:
        for payload in payloads:
            tasks.start_soon(office.twin.send, payload)

    with office.stage.store.read() as tx:
        votes = tx.all("votes_of", action_id=action.id)
    assert len(votes) == 1
    assert office.state(action) in {State.APPROVED, State.REJECTED}


@pytest.mark.fault("F54")
async def test_f54_slack_being_down_or_busy_approves_nothing_and_loses_nothing(office: Office) -> None:
    action = office.stage.propose("N-1", 400_000)
    office.twin.answers["chat.postMessage"] = rate_limited("30")
    with pytest.raises(NotDelivered) as busy:
        await office.post(action)
    office.twin.answers["chat.postMessage"] = lambda: PlainTextResponse("<html>upstream</html>", 502)
    with pytest.raises(NotDelivered) as down:
        await office.post(action)
    waits = office.state(action)

    by_terminal = office.stage.approve(action, office.tanaka)

    assert (busy.value.retry_after_s, down.value.retry_after_s) == (30, None)
    assert (waits, by_terminal.state) == (State.AWAITING, State.APPROVED)


@pytest.mark.fault("F54")
async def test_f54_a_card_that_arrived_twice_is_posted_once(office: Office) -> None:
    action = await office.posted()

    await office.post(action)

    assert (len(office.twin.posts), len(office.twin.updates)) == (1, 1)


@pytest.mark.fault("F55")
async def test_f55_a_decision_that_takes_too_long_to_store_is_not_acknowledged_and_told_after(office: Office) -> None:
    action = await office.posted()
    blocker = sqlite3.connect(office.stage.settings.database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    began = time.monotonic()
    status = await office.click(TANAKA)
    waited_ms = int((time.monotonic() - began) * 1000)
    unstored = office.votes(action)
    blocker.execute("ROLLBACK")
    blocker.close()
    await office.twin.until(lambda: office.twin.told and office.twin.updates)

    assert (status, unstored, office.votes(action)) == (503, [], ["tanaka"])
    assert 500 <= waited_ms < 2500
    assert "took long" in office.twin.told[0]
    assert "recorded" in office.twin.told[0]


# whose click


async def refused(office: Office, who: str, **changes: Any) -> str:
    """A click that must not count; what the person was told."""
    before = len(office.twin.told)
    assert await office.click(who, **changes) == 200
    await office.twin.until(lambda: len(office.twin.told) > before)
    return office.twin.told[-1]


async def test_nobody_is_an_operator_in_slack_who_was_not_linked(office: Office) -> None:
    action = await office.posted()

    said = await refused(office, STRANGER)

    assert "speaks for no operator" in said
    assert (office.state(action), office.votes(action)) == (State.AWAITING, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"team": {"id": "T0OTHER", "domain": "evil"}},
        {"api_app_id": "A0OTHER"},
        {"user": {"id": TANAKA, "team_id": "T0OTHER"}},
    ],
)
async def test_another_team_another_app_and_a_guest_of_a_shared_channel_are_refused(
    office: Office, changes: dict[str, Any]
) -> None:
    action = await office.posted()

    status = await office.click(TANAKA, **changes)

    assert (status, office.votes(action)) == (401, [])


async def test_the_requester_does_not_decide_on_their_own_request_in_slack_either(office: Office) -> None:
    action = await office.posted(requester="tanaka")

    said = await refused(office, TANAKA)

    assert "own request" in said
    assert office.votes(action) == []


async def test_a_button_counts_for_its_own_message_only(office: Office) -> None:
    other = await office.posted(300_001)
    elsewhere = {"type": "message", "message_ts": office.twin.posts[-1]["ts"], "channel_id": CHANNEL}
    action = await office.posted(400_000)

    for container in (elsewhere, elsewhere | {"message_ts": "1.1"}, elsewhere | {"channel_id": "C0OTHER"}):
        said = await refused(office, TANAKA, container=container)
        assert "does not show what the action says" in said

    assert (office.votes(action), office.votes(other)) == ([], [])


async def test_a_button_with_another_digest_counts_for_nothing(office: Office) -> None:
    action = await office.posted()
    button = {"action_id": APPROVE, "value": f"{action.id}:{'0' * 64}:1"}

    said = await refused(office, TANAKA, actions=[button])

    assert "not what the action says now" in said
    assert office.votes(action) == []


@pytest.mark.parametrize("amount,votes", [(2_000_000, ["tanaka"]), (2_000_001, [])])
async def test_slack_approves_up_to_the_amount_that_was_sealed(office: Office, amount: int, votes: list[str]) -> None:
    action = await office.posted(amount)

    await office.click(TANAKA)

    assert office.votes(action) == votes


async def test_slack_approves_nothing_of_unknown_amount_and_may_still_reject_it(office: Office) -> None:
    proposal = office.stage.proposal("N-1", 400_000)
    unknown = proposal.plan.particulars.model_copy(update={"amount": None})
    action = office.stage.desk.propose(replace(proposal, plan=replace(proposal.plan, particulars=unknown)))
    await office.post(action)
    said = await refused(office, TANAKA)
    await office.click(TANAKA, REJECT)
    await office.twin.until(lambda: office.twin.views)
    await office.twin.send(office.twin.submitted(TANAKA, "unknown"))

    assert "unknown amount" in said
    assert office.state(action) is State.REJECTED


async def test_a_form_that_comes_too_late_says_so_in_the_form(office: Office) -> None:
    action = await office.posted()
    await office.click(TANAKA, REJECT)
    await office.twin.until(lambda: office.twin.views)
    office.stage.approve(action, office.sato)

    answered = await office.twin.send(office.twin.submitted(TANAKA, "too late"))

    assert answered.json()["response_action"] == "errors"
    assert office.state(action) is State.APPROVED


# what a vote in Slack is worth at execution


@pytest.mark.both_stores
async def test_an_approval_of_somebody_who_was_unlinked_meanwhile_does_not_send(office: Office) -> None:
    action = await office.posted()
    await office.click(TANAKA)
    slack.unlink(office.stage.store, office.stage.clock, "tanaka", by=office.sato)

    sent = await office.stage.executor.execute(action.id)

    assert (office.votes(action), sent.state, office.stage.provider.sends) == ([], State.AWAITING, 0)
    assert office.fault() is None


async def test_an_approval_of_an_operator_who_was_removed_does_not_send(office: Office) -> None:
    action = await office.posted()
    await office.click(TANAKA)
    operators.remove(office.stage.store, office.stage.clock, "tanaka", by=office.sato)

    sent = await office.stage.executor.execute(action.id)

    assert (sent.state, office.stage.provider.sends) == (State.AWAITING, 0)


async def test_rows_written_into_the_database_never_count_as_a_vote_in_slack(office: Office) -> None:
    """The forger has the database, not the vault: a link and a vote, whole, sealed with a key of their own."""
    action = await office.posted()
    mallory = Key("tanaka", Ed25519PrivateKey.generate())
    office.sql("DELETE FROM slack_link WHERE seq = 2")
    [row] = office.rows("SELECT statement FROM slack_link")
    said = json.loads(row[0]) | {"slack_link": 2, "prev": sha256(row[0].encode()), "user": STRANGER}
    forged = canonical(said | {"sealed_with": slack.public_half(mallory)})
    seal = mallory.sign(forged)
    office.sql("INSERT INTO slack_link VALUES (2, 'tanaka', ?, ?, 'sato', ?)", forged.decode(), seal, seal)

    status = await office.click(STRANGER)

    with office.stage.store.read() as tx, pytest.raises(StoreDamaged, match="Slack link 2"):
        slack.links(tx)
    assert (status, office.state(action), office.votes(action)) == (503, State.AWAITING, [])
    assert office.fault() == "the Slack links are not those the log says"


async def test_a_vote_under_another_key_than_the_link_names_is_not_counted(office: Office) -> None:
    action = await office.posted()
    ts = office.twin.posts[-1]["ts"]
    ballot = Ballot(action.id, action.digest, "approve", click=Click(APP, TEAM, TANAKA, CHANNEL, ts))

    with pytest.raises(VoteRefused, match="speaks for no operator"):
        office.stage.ballots.cast(ballot, Key("tanaka", Ed25519PrivateKey.generate()))

    assert office.votes(action) == []


@pytest.mark.parametrize("column", ["seal", "statement", "via"])
async def test_a_changed_vote_of_slack_stops_the_action(office: Office, column: str) -> None:
    action = await office.posted()
    await office.click(TANAKA)
    changed = {
        "seal": "'" + "0" * 128 + "'",
        "statement": 'replace(statement, \'"reason":""\', \'"reason":"x"\')',
        "via": "'web'",
    }
    office.sql(f"UPDATE vote SET {column} = {changed[column]}")  # noqa: S608 - of the test's own making

    sent = await office.stage.executor.execute(action.id)

    assert (sent.state, office.stage.provider.sends) == (State.REVOKED, 0)
    assert office.fault() is not None


async def test_a_link_that_was_taken_away_does_not_come_back_with_the_row_that_says_so(office: Office) -> None:
    action = await office.posted()
    await office.click(TANAKA)
    slack.unlink(office.stage.store, office.stage.clock, "tanaka", by=office.sato)
    office.sql("DELETE FROM slack_link WHERE seq = 3")

    sent = await office.stage.executor.execute(action.id)

    assert (sent.state, office.stage.provider.sends) == (State.REVOKED, 0)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE slack_link SET statement = replace(statement, '2000000', '9000000')",
        "UPDATE slack_link SET operator = 'sato' WHERE seq = 1",
        "UPDATE slack_link SET vouched_by = 'tanaka'",
        "UPDATE slack_link SET seal = vouch",
        "DELETE FROM slack_link WHERE seq = 1",
        "DELETE FROM slack_link WHERE seq = 2",
        "DELETE FROM slack_link",
    ],
)
async def test_every_change_to_the_links_is_found(office: Office, change: str) -> None:
    before = office.fault()

    office.sql(change)

    assert (before, office.fault()) == (None, "the Slack links are not those the log says")


async def test_an_operator_takes_only_their_own_vote_to_slack_and_another_vouches(office: Office) -> None:
    with pytest.raises(VoteRefused, match="Another operator has to vouch"):
        office.link(office.tanaka, office.tanaka, "U0NEW")
    office.link(office.sato, office.tanaka, TANAKA)

    with office.stage.store.read() as tx:
        found = {link.user: link.operator for link in slack.links(tx)}
    assert found == {TANAKA: "sato"}


# what is shown


async def test_the_card_shows_what_will_be_sent_and_nothing_in_it_is_markup(office: Office) -> None:
    hostile = "<!channel> <https://evil.example|三菱UFJ> *bold* :moneybag: &amp; \u202e逆"
    await office.posted(1_234_567, counterparty_name=hostile)

    [post] = office.twin.posts
    texts = texts_of(post)
    whole = "\n".join(text["text"] for text in texts)
    assert {text["type"] for text in texts} == {"plain_text"}
    assert {text["emoji"] for text in texts} == {False}
    assert all(part in whole for part in ("1,234,567円", "<!channel>", "⟨U+202E⟩", "mfk-main", "sandbox", "C-1"))
    assert "evil.example" not in post["text"]
    # what Slack would fold behind "see more" is not read
    assert {block["expand"] for block in post["blocks"] if block["type"] == "section"} == {True}
    assert whole.index("1,234,567円") < whole.index("mfk-main") < whole.index("sandbox")


async def test_after_an_edit_the_old_message_shows_nothing_to_approve_any_more(office: Office) -> None:
    before = await office.posted(1_400_000)
    after = office.stage.revisions.revise(office.stage.draft(before, 1_300_000))

    await office.post(after)
    office.twin.posts[0]["blocks"] = office.twin.updates[-1]["blocks"]
    old, new = (json.dumps(post["blocks"], ensure_ascii=False) for post in office.twin.posts)

    assert office.twin.updates[-1]["ts"] == office.twin.posts[0]["ts"]
    assert APPROVE not in old
    assert "000円" not in old
    assert "it is revision 2 now, waiting for approval" in old
    assert APPROVE in new
    assert all(part in new for part in ("1,300,000円", "edited by", "1400000 → 1300000", "Still missing: 2 operators"))


async def test_a_click_on_a_message_from_before_an_edit_is_refused_and_takes_its_buttons_away(office: Office) -> None:
    before = await office.posted()
    office.stage.revisions.revise(office.stage.draft(before, 300_000))

    await office.click(TANAKA)
    await office.twin.until(lambda: office.twin.updates and office.twin.told)

    assert office.votes(before) == []
    assert "What you saw is not what the action says now." in office.twin.told[0]
    assert APPROVE not in json.dumps(office.twin.updates)


async def test_a_card_that_does_not_fit_has_no_buttons(office: Office) -> None:
    action = office.stage.propose("N-1", 400_000)
    card = office.stage.cards.card(action.id)
    long = tuple(CardLine(Text("明細", "line"), "x" * (MAX_SECTION - 100)) for _ in range(60))

    shown = message(with_lines(card, long), "en")
    over = message(with_lines(card, (CardLine(Text("明細", "line"), "x" * 100),) * 95), "en")
    decided = message(replace(with_lines(card, long), state=State.REJECTED), "en")
    fits = message(with_lines(card, (CardLine(Text("明細", "line"), "x" * 100),) * 85), "en")

    assert len(shown["blocks"]) <= 50
    assert [APPROVE in json.dumps(one) for one in (over, decided, fits)] == [False, False, True]
    assert all("too long for Slack" in json.dumps(one) for one in (shown, over, decided))
    assert not any(block["type"] == "actions" for block in shown["blocks"])
    assert "400,000円" in json.dumps(shown, ensure_ascii=False)
    assert all(len(text["text"]) <= MAX_SECTION for text in texts_of(shown))


def with_lines(card: Card, lines: tuple[CardLine, ...]) -> Card:
    return replace(card, lines=lines)


async def test_other_notices_are_lines_with_their_markup_taken_out(office: Office) -> None:
    action = await office.posted()
    first = office.twin.posts[0]["ts"]

    await office.notifier.deliver(notice(NoticeKind.REMINDER, action.id, "It waits & <waits>."))
    await office.notifier.deliver(notice(NoticeKind.FROZEN, None, "Frozen."))

    assert [(post["text"], post.get("thread_ts")) for post in office.twin.posts[1:]] == [
        ("It waits &amp; &lt;waits&gt;.", first),
        ("Frozen.", None),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil.example/x",
        "https://hooks.slack.com@evil.example/x",
        "https://user@hooks.slack.com/x",
        "https://hooks.slack.com:8443/x",
        "file:///etc/passwd",
        "https://[::1",
        "",
    ],
)
def test_nothing_is_posted_to_an_address_that_is_not_slacks(url: str, tmp_path: Path) -> None:
    app = SlackApp(TEAM, APP, CHANNEL)
    api = SlackApi(HttpEdge(), app, make_stage(tmp_path).clock, lambda: SecretStr(TOKEN))

    assert not api.is_response_url(url)
    assert api.is_response_url("https://hooks.slack.com/actions/T0/1/x")


# its secrets


async def test_a_token_of_another_team_is_not_kept(office: Office, tmp_path: Path) -> None:
    home = Home(Settings(home=tmp_path, config=tmp_path, requester="suzuki", master_key=SecretStr("6b" * 32)))
    token, secret = SecretStr(TOKEN), SecretStr(SLACK_SECRET)
    app = replace(office.api.app, team="T0OTHER")

    with pytest.raises(ConfigurationError, match="another Slack team"):
        await home.logins().put_slack(app, token=token, signing_secret=secret)
    await home.logins().put_slack(office.api.app, token=token, signing_secret=secret)

    assert not any(secret.encode() in everything_in(tmp_path) for secret in (TOKEN, SLACK_SECRET))
    home.close()


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# who sent it


async def test_what_slack_did_not_sign_or_did_not_mean_is_refused_without_a_trace(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    action = await office.posted()
    body = slack_body(office.twin.clicked(TANAKA, APPROVE))
    cases = [case for case in bad_for_slack(body, office.twin.now_s()) if is_http(case.headers)]

    answered = {case.why: (await office.twin.send_raw(case.body, case.headers)).status_code for case in cases}

    assert len(answered) >= 80
    assert {why: status for why, status in answered.items() if status not in {400, 401}} == {}
    assert (office.votes(action), office.twin.told) == ([], [])
    assert not any(secret in caplog.text for secret in (TOKEN, SLACK_SECRET, office.twin.buttons()[APPROVE]))


def is_http(headers: Any) -> bool:
    """Whether an HTTP client can send it at all."""
    return not any(b"\x00" in value or value != value.strip() for _, value in headers)


async def test_a_public_door_lets_slack_in(office: Office) -> None:
    action = await office.posted()
    app = Doors(Starlette(routes=slack_routes(office.rooms)), ["127.0.0.1:8787"], [], ["hooks.example.jp:443"])
    async with on_socket(app) as origin:
        office.twin.target = origin
        body = slack_body(office.twin.clicked(TANAKA, APPROVE))
        headers = [*slack_headers(body, office.twin.now_s()), (b"host", b"hooks.example.jp")]
        status = (await office.twin.send_raw(body, headers)).status_code

    assert (status, office.votes(action)) == (200, ["tanaka"])
