"""A send that the database has never heard of: what is noticed, what is stored of it, and what the log then says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import Stage, make_stage
from gate.traces import warned
from seikyu.errors import NOTHING, NotAllowed, SeikyuError, StoreBusy, StoreDamaged, Text
from seikyu.gate import audit, freezing
from seikyu.gate.actions import Action, State, text_json
from seikyu.gate.anchors import Anchor, AnchorFile
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.freezing import Freeze
from seikyu.gate.journal import NEWEST_BYTES, entry_of, is_whole
from seikyu.gate.keys import Key
from seikyu.spec import ProviderRequest, Refused, Sent
from seikyu.store.database import Row

pytestmark = pytest.mark.anyio


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A database without a past."""
    return make_stage(tmp_path / "new")


@pytest.fixture
def past(stage: Stage, tmp_path: Path) -> Stage:
    """The same office with the database that was lost."""
    return make_stage(tmp_path / "old", provider=stage.provider, clock=stage.clock)


def lose(past: Stage, stage: Stage) -> list[Mapping[str, Any]]:
    """Leave only the journal of what was sent; its lines, oldest first."""
    shutil.copytree(past.settings.sent_folder, stage.settings.sent_folder)
    [file] = stage.settings.sent_folder.iterdir()
    return [{**json.loads(line), "sha256": sha256(line)} for line in file.read_bytes().splitlines()]


def rows(stage: Stage) -> dict[str, Row]:
    with stage.store.read() as tx:
        return {row["id"]: row for row in tx.all("actions_after", after="", limit=100)}


def history(stage: Stage, action: Action) -> list[dict[str, Any]]:
    with stage.store.read() as tx:
        return [dict(row) for row in audit.history(tx, action.id)]


def house(stage: Stage) -> list[dict[str, Any]]:
    """What the log says that is about no action."""
    with stage.store.read() as tx:
        page = tx.all("audit_page", after=0, limit=100)
    return [{"kind": row["kind"], **json.loads(row["record"])} for row in page if row["action_id"] is None]


def refuse(_request: ProviderRequest) -> Sent:
    return Refused(Text("拒否", "no"), 400, ("bad",))


def foreign(records: int = 3, at: str = "2026-11-20T00:00:00.000000Z") -> Anchor:
    """Of a log that is not this one."""
    return Anchor(at=at, records=records, head="ab" * 32)


async def test_what_was_forgotten_is_stored_as_it_left_with_its_outcome_unknown(past: Stage, stage: Stage) -> None:
    key = past.enrol("tanaka")
    sent = past.approve(past.propose("A-1", 100_000), key)
    await past.executor.execute(sent.id)
    [line] = lose(past, stage)
    stage.clock.advance(hours=1)

    [taken] = stage.restoration.take_up()

    now = "2026-11-21T04:00:00.000000Z"
    unknown: dict[str, Any] = {
        "state": "unknown",
        "lease_owner": None,
        "lease_until": None,
        "not_before": "2026-11-21T04:00:02.000000Z",
        "unknown_since": now,
        "may_have_left": 1,
        "outcome": text_json(
            Text(
                "データベースの復元後、送信控えから取り込みました。",
                "Taken up from the journal of sends, for the database was restored.",
            )
        ),
        "updated_at": now,
        "taken_up": line["sha256"],
    }
    assert rows(stage) == {sent.id: line["row"] | unknown}
    assert (line["format"], line["row"]["lease_owner"] is not None) == (1, True)
    [told] = history(stage, taken)
    names = ("at", "kind", "epoch", "journal", "sent_at", "approved_by")
    assert {name: told[name] for name in names} == {
        "at": now,
        "kind": "taken_up",
        "epoch": 1,
        "journal": line["sha256"],
        "sent_at": line["at"],
        "approved_by": ["tanaka"],
    }
    with stage.store.read() as tx:
        attempts = [(row["epoch"], row["started_at"]) for row in tx.all("attempts", action_id=sent.id)]
    assert attempts == [(1, line["at"])]


async def test_of_several_sends_of_one_call_a_person_sees_to_all_but_the_last(past: Stage, stage: Stage) -> None:
    past.provider.answers += [refuse, refuse]
    sent = list[Action]()
    for _ in range(3):
        past.clock.advance(seconds=1)
        sent.append(await past.executor.execute(past.propose("A-1", 10_000).id))
    lose(past, stage)

    taken = stage.restoration.take_up()
    again = stage.restoration.take_up()

    stored = [rows(stage)[action.id] for action in sent]
    assert [action.id for action in taken] == [action.id for action in reversed(sent)]
    assert again == []
    assert [row["state"] for row in stored] == ["manual_review", "manual_review", "unknown"]
    assert [row["natural_key"] for row in stored] == [None, None, "A-1"]
    assert [row["not_before"] is None for row in stored] == [True, True, False]
    assert len({row["call_digest"] for row in stored}) == 3
    assert stored[2]["call_digest"] == sent[2].call_digest
    assert stored[0]["outcome"] == text_json(
        Text(
            "同じ呼び出しか番号の申請が別にあります。どちらが登録されたか、人が確かめてください。",
            "Another action bears the same call or number: a person has to see which of them the provider has.",
        )
    )


async def test_what_waits_for_the_same_number_is_closed_with_the_name_of_what_was_sent(
    past: Stage, stage: Stage
) -> None:
    waiting = stage.propose("A-1", 100_000)
    stage.clock.advance(minutes=1)
    sent = await past.executor.execute(past.propose("A-1", 10_000, requester="sato").id)
    lose(past, stage)

    stage.restoration.take_up()

    closed, told = stage.find(waiting.id), history(stage, waiting)[-1]
    assert (closed.state, told["kind"], told["by_action"]) == (State.EXPIRED, "superseded", sent.id)
    assert closed.outcome_text == Text(
        f"送信済みの {sent.id} と重なるため閉じました。", f"Closed: {sent.id} was sent for the same call."
    )


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.APPROVED])
async def test_what_may_have_left_itself_is_not_closed_and_a_person_sees_to_the_other(
    past: Stage, stage: Stage, state: State
) -> None:
    there = stage.propose("A-1", 10_000)
    forge(stage, "UPDATE action SET state = ?, may_have_left = 1", state.value)
    sent = await past.executor.execute(past.propose("A-1", 20_000, requester="sato").id)
    lose(past, stage)

    stage.restoration.take_up()

    assert (stage.find(there.id).state, stage.find(sent.id).state) == (state, State.MANUAL_REVIEW)


async def test_of_an_action_that_left_twice_the_last_time_counts_whatever_the_order_of_the_lines(
    past: Stage, stage: Stage
) -> None:
    sent = await past.executor.execute(past.propose("A-1", 10_000).id)
    [line] = lose(past, stage)
    [file] = stage.settings.sent_folder.iterdir()
    said: dict[str, Any] = json.loads(file.read_bytes())
    said["row"]["epoch"] = 3
    file.write_text(json.dumps(said) + "\n" + file.read_text(encoding="utf-8"), encoding="utf-8")

    [taken] = stage.restoration.take_up()

    assert (taken.id, taken.epoch, line["row"]["epoch"]) == (sent.id, 3, 1)


async def test_more_sends_than_one_transaction_takes_are_each_taken_up_once(past: Stage, stage: Stage) -> None:
    await past.executor.execute(past.propose("A-1", 10_000).id)
    [line] = lose(past, stage)
    [file] = stage.settings.sent_folder.iterdir()
    number = 105
    with file.open("w", encoding="utf-8") as journal:
        for place in range(number):
            row = line["row"] | {"id": f"{line['row']['id'][:-3]}{place:03}", "call_digest": f"{place}"}
            said: dict[str, Any] = {
                "format": 1,
                "at": line["at"],
                "approved_by": [],
                "row": row | {"natural_key": f"B-{place}"},
            }
            journal.write(json.dumps(said) + "\n")

    taken = stage.restoration.take_up()

    assert [action.natural_key for action in taken] == [f"B-{place}" for place in reversed(range(number))]


# the hold


async def test_a_hold_says_in_the_log_what_the_machine_saw(past: Stage, stage: Stage) -> None:
    for number in ("A-1", "A-2"):
        await past.executor.execute(past.propose(number, 10_000 + int(number[-1])).id)
    lose(past, stage)
    stage.enrol("tanaka")
    anchors = AnchorFile(stage.settings.anchors_file)
    anchors.keep(foreign(7, "2026-11-20T09:00:00.000000Z"))
    anchors.keep(foreign(5, "2026-11-20T12:00:00.000000Z"))

    held = stage.restoration.look()

    facts = {
        "log_records": 1,
        "forgotten_sends": 2,
        "anchors": {"count": 2, "after_record": 4, "until": "2026-11-20T12:00:00.000000Z"},
    }
    assert held is not None
    assert (held.seq, held.at, held.os_user, held.operator) == (1, "2026-11-21T03:00:00.000000Z", "seikyu", None)
    assert held.text.en.startswith("Read-only: the database is older than what was sent from here")
    assert json.loads(held.facts or "") == facts
    told = house(stage)[-1]
    assert (told["kind"], told["seq"], told["facts"]) == ("restored", 1, facts)
    assert stage.restoration.look() == stage.restoration.held == held


def test_an_empty_database_with_the_anchors_of_another_is_held(stage: Stage) -> None:
    AnchorFile(stage.settings.anchors_file).keep(foreign(1))

    held = stage.restoration.look()

    assert held is not None
    assert json.loads(held.facts or "")["anchors"]["after_record"] == 0
    assert json.loads(held.facts or "")["log_records"] == 0


async def test_a_database_set_back_under_a_running_server_is_noticed_by_its_next_look(
    past: Stage, stage: Stage
) -> None:
    first = stage.restoration.look()
    await past.executor.execute(past.propose("A-1", 10_000).id)
    lose(past, stage)

    assert first is None
    assert stage.restoration.look() is not None


def test_an_anchor_of_another_log_is_noticed_by_the_next_look(stage: Stage) -> None:
    first = stage.restoration.look()
    AnchorFile(stage.settings.anchors_file).keep(foreign())

    assert first is None
    assert stage.restoration.look() is not None


@pytest.mark.parametrize("has_looked", [True, False])
def test_anchors_that_cannot_be_read_let_nothing_be_sent(stage: Stage, *, has_looked: bool) -> None:
    if has_looked:
        stage.restoration.look()
    stage.settings.anchors_file.mkdir(parents=True)

    with pytest.raises(StoreDamaged) as refused:
        stage.restoration.look()

    assert refused.value.what.en == "Nothing is sent: the anchors of the audit log cannot be read (Is a directory)."
    assert refused.value.written == NOTHING


async def test_a_line_that_holds_no_whole_action_is_named_and_nothing_is_taken_up(past: Stage, stage: Stage) -> None:
    sent = [await past.executor.execute(past.propose(f"A-{place}", 10_000 + place).id) for place in range(2)]
    lose(past, stage)
    [file] = stage.settings.sent_folder.iterdir()
    file.write_bytes(file.read_bytes().replace(f'"digest":"{sent[0].digest}"'.encode(), b'"digest":"00"'))

    with pytest.raises(StoreDamaged) as refused:
        stage.restoration.take_up()

    assert refused.value.what.en == f"The journal's line of {sent[0].id} does not hold a whole action."
    assert (refused.value.written, rows(stage)) == (NOTHING, {})


def test_nothing_is_taken_up_while_nothing_is_held(stage: Stage) -> None:
    assert stage.restoration.take_up() == []


# the release


async def test_a_release_names_every_hold_under_its_seal_and_the_log_goes_on_with_a_new_anchor(
    past: Stage, stage: Stage
) -> None:
    await past.executor.execute(past.propose("A-1", 10_000).id)
    lose(past, stage)
    anchors, key = AnchorFile(stage.settings.anchors_file), stage.enrol("tanaka")
    anchors.keep(foreign(9))
    seen = stage.restoration.look()
    assert seen is not None
    stage.restoration.take_up()
    refused = [refusal(stage, seen, key, "復元")]
    stage.clock.advance(minutes=10)
    await stage.executor.sweep()
    refused.append(refusal(stage, seen, key, ""))
    there = freezing.freeze(stage.store, stage.clock, os_user="ito", operator=None, reason="念のため")
    refused.append(refusal(stage, seen, key, "復元"))

    stage.restoration.lift(there, key=key, os_user="ito", reason="復元", are_all_told=True)

    lifted, newest = house(stage)[-1], anchors.newest()
    assert refused == [
        "What became of 1 action(s) taken up again is not known yet.",
        "Give a reason of at most 500 characters.",
        "Frozen: nothing is sent (ito: 念のため).",
    ]
    assert freezing.current(stage.store) is None
    names = ("kind", "by", "os_user", "reason", "seq", "lifts", "restored")
    assert {name: lifted[name] for name in names} == {
        "kind": "unfrozen",
        "by": "tanaka",
        "os_user": "ito",
        "reason": "復元",
        "seq": 3,
        "lifts": 2,
        "restored": [1],
    }
    with stage.store.read() as tx:
        head = tx.one("audit_head")
        [release] = freezing.releases(tx)
    assert head is not None
    assert newest is not None
    assert newest == Anchor(at="2026-11-21T03:10:00.000000Z", records=head["seq"], head=head["hash"])
    assert (release.operator, release.at, release.facts["anchors"]["count"]) == ("tanaka", newest.at, 1)
    assert stage.restoration.look() is None


def refusal(stage: Stage, seen: Freeze, key: Key, reason: str) -> str:
    with pytest.raises(SeikyuError) as refused:
        stage.restoration.lift(seen, key=key, os_user="ito", reason=reason, are_all_told=True)
    assert refused.value.written == NOTHING
    return refused.value.what.en


def test_a_release_whose_anchor_cannot_be_kept_stands_and_is_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    file, key = stage.settings.anchors_file, stage.enrol("tanaka")
    AnchorFile(file).keep(foreign(9))
    seen = stage.restoration.look()
    assert seen is not None
    file.symlink_to(file.rename(file.with_name("elsewhere")))

    stage.restoration.lift(seen, key=key, os_user="ito", reason="復元", are_all_told=True)

    assert freezing.current(stage.store) is None
    assert [record.levelname for record in warned(caplog)] == ["CRITICAL", "WARNING"]
    assert "the audit log is not anchored" in caplog.text


@pytest.mark.parametrize("reason,is_enough", [("x" * 500, True), ("x" * 501, False), (" ", False)])
def test_a_hold_is_released_with_a_reason_of_at_most_500_characters(
    stage: Stage, reason: str, *, is_enough: bool
) -> None:
    key = stage.enrol("tanaka")
    AnchorFile(stage.settings.anchors_file).keep(foreign(9))
    seen = stage.restoration.look()
    assert seen is not None
    if not is_enough:
        with pytest.raises(NotAllowed) as refused:
            stage.restoration.lift(seen, key=key, os_user="ito", reason=reason, are_all_told=True)
        assert refused.value.written == NOTHING
    else:
        stage.restoration.lift(seen, key=key, os_user="ito", reason=reason, are_all_told=True)

    assert (freezing.current(stage.store) is None) is is_enough


def test_the_seal_of_a_release_is_about_the_holds_it_names_who_when_and_why(stage: Stage) -> None:
    key = stage.enrol("tanaka")
    AnchorFile(stage.settings.anchors_file).keep(foreign(9))
    seen = stage.restoration.look()
    assert seen is not None

    stage.restoration.lift(seen, key=key, os_user="ito", reason="復元", are_all_told=True)

    statement = {
        "unfreeze": 1,
        "operator": "tanaka",
        "os_user": "ito",
        "reason": "復元",
        "at": "2026-11-21T03:00:00.000000Z",
        "releases": [[1, sha256((seen.facts or "").encode())]],
    }
    assert house(stage)[-1]["statement_sha256"] == sha256(canonical(statement))


# the journal


async def test_before_a_claim_only_the_last_lines_of_the_newest_month_are_read(stage: Stage) -> None:
    journal = stage.restoration.journal
    empty = journal.newest()
    sent = await stage.executor.execute(stage.propose("A-1", 10_000).id)
    [file] = stage.settings.sent_folder.iterdir()
    line = file.read_bytes()
    file.write_bytes(line * 200)
    file.with_name("2026-10.jsonl").write_bytes(line)

    newest = journal.newest()

    assert empty == []
    assert {entry.action_id for entry in newest if entry is not None} == {sent.id}
    assert len(newest) == NEWEST_BYTES // len(line)
    assert len(list(journal.entries())) == 201


async def test_a_last_line_that_is_longer_than_what_is_looked_at_is_seen_before_a_claim(stage: Stage) -> None:
    sent = await stage.executor.execute(stage.propose("A-1", 10_000).id)
    [file] = stage.settings.sent_folder.iterdir()
    said = json.loads(file.read_bytes())
    said["row"]["arguments"] = "長" * NEWEST_BYTES
    file.write_bytes(file.read_bytes() + canonical(said) + b"\n")

    newest = stage.restoration.journal.newest()

    assert [entry and entry.action_id for entry in newest] == [sent.id, sent.id]


async def test_the_newest_line_comes_first_and_a_later_month_before_an_earlier(stage: Stage) -> None:
    for number in (1, 2):
        await stage.executor.execute(stage.propose(f"A-{number}", 10_000 + number).id)
    stage.clock.advance(days=15)
    await stage.executor.execute(stage.propose("A-3", 10_003).id)

    found = [entry and entry.row["natural_key"] for entry in stage.restoration.journal.entries()]

    assert found == ["A-3", "A-2", "A-1"]
    assert [path.name for path in sorted(stage.settings.sent_folder.iterdir())] == ["2026-11.jsonl", "2026-12.jsonl"]


def test_a_journal_that_cannot_be_read_lets_nothing_be_sent_and_says_which_file(stage: Stage) -> None:
    file = stage.settings.sent_folder / "2026-11.jsonl"
    file.mkdir(parents=True)

    with pytest.raises(StoreDamaged) as refused:
        stage.restoration.look()

    assert refused.value.what.en == f"{file} cannot be read (Is a directory)."
    assert refused.value.written == NOTHING


def test_a_journal_that_cannot_be_written_says_where_and_why(stage: Stage) -> None:
    stage.settings.sent_folder.write_text("", encoding="utf-8")

    with pytest.raises(StoreBusy) as refused:
        stage.restoration.journal.keep({"id": "act-1"}, edits=(), approved_by=(), now=stage.clock.now())

    where = f"Not sent: the journal of sends in {stage.settings.sent_folder} cannot be written (File exists)."
    assert (refused.value.what.en, refused.value.written) == (where, NOTHING)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b"\xff",
        b'{"at":"x","row":{"id":"a","epoch":1}}',
        b'{"at":"x","approved_by":[],"row":{"id":"a"}}',
        b'{"at":"x","approved_by":[],"row":{"id":"a","epoch":"one"}}',
        b'{"at":"x","approved_by":1,"row":{"id":"a","epoch":1}}',
    ],
    ids=["empty", "null", "deep", "no text", "no names", "no epoch", "no number", "no list"],
)
def test_a_line_that_says_nothing_of_a_send_is_none(line: bytes) -> None:
    assert entry_of(line) is None


async def test_a_line_is_whole_when_its_row_is_an_action_whose_content_is_what_its_digest_says(stage: Stage) -> None:
    await stage.executor.execute(stage.propose("A-1", 10_000).id)
    [entry] = stage.restoration.journal.entries()
    assert entry is not None
    odd = (
        replace(entry, at="someday"),
        replace(entry, row={**entry.row, "digest": "00"}),
        replace(entry, row={**entry.row, "operation": "mfkessai.another"}),
        replace(entry, row={**entry.row, "canonical": "{}", "digest": sha256(b"{}")}),
        replace(entry, row={"id": entry.action_id}),
    )

    assert [is_whole(one) for one in (entry, *odd)] == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    "value",
    [{"revision": 1.0}, {"epoch": "1"}, {"approvers": False}, {"amount": "10000"}, {"counterparty_id": 1}],
    ids=str,
)
async def test_a_line_is_not_whole_when_one_of_its_values_is_of_a_kind_no_row_holds(
    past: Stage, stage: Stage, value: dict[str, object]
) -> None:
    sent = await past.executor.execute(past.propose("A-1", 10_000).id)
    [line] = lose(past, stage)
    [file] = stage.settings.sent_folder.iterdir()
    file.write_text(json.dumps({**line, "row": line["row"] | value}) + "\n", encoding="utf-8")

    with pytest.raises(StoreDamaged) as refused:
        stage.restoration.take_up()

    assert refused.value.what.en == f"The journal's line of {sent.id} does not hold a whole action."
    assert (refused.value.written, rows(stage)) == (NOTHING, {})


@pytest.mark.parametrize("statement", ["{}", "[]", "null", '"new_digest"', "{"])
async def test_a_line_is_not_whole_when_one_of_its_edits_says_nothing(stage: Stage, statement: str) -> None:
    key = stage.enrol("tanaka")
    edited = stage.revisions.revise(stage.draft(stage.propose("A-1", 100_000), 200_000))
    await stage.executor.execute(stage.approve(edited, key).id)
    [entry] = stage.restoration.journal.entries()
    assert entry is not None
    [edit] = entry.edits

    odd = replace(entry, edits=({**edit, "statement": statement},))

    assert [is_whole(entry), is_whole(odd)] == [True, False]
