"""A database set back to an older day: noticed, held, told again what was sent, and released under a seal."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from gate.earlier import earlier
from gate.forgery import forge
from gate.stage import PretendClock, PretendProvider, Stage, make_stage
from gate.traces import warned
from seikyu.errors import NotAllowed, StoreDamaged, Text, VoteRefused
from seikyu.gate import audit, freezing, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.anchors import AnchorFile, Anchoring
from seikyu.gate.journal import Entry, Journal
from seikyu.gate.operators import Key
from seikyu.gate.pardons import pardons
from seikyu.gate.proposals import Proposal
from seikyu.gate.revisions import Draft
from seikyu.gate.votes import Ballot, Decision
from seikyu.gate.witness import ROW_COLUMNS
from seikyu.spec import Lost, OutcomeClass, ProviderRequest, Refused, Sent

pytestmark = [pytest.mark.anyio, pytest.mark.both_stores]

Restore: TypeAlias = Callable[[], None]
"""Puts a backup back, over whatever is there."""


class Office:
    """A home whose database can be set back, with a provider that forgets nothing."""

    def __init__(self, folder: Path, url: SecretStr | None) -> None:
        self.folder = folder
        self.url = url
        self.clock = PretendClock()
        self.provider = PretendProvider()
        self.outcome_class = OutcomeClass.A
        self.stage = self.open()

    def start(self) -> Stage:
        """A new process on the home, the old one gone."""
        self.stage.store.close()
        self.stage = self.open()
        return self.stage

    def open(self) -> Stage:
        return make_stage(
            self.folder,
            provider=self.provider,
            clock=self.clock,
            outcome_class=self.outcome_class,
            database_url=self.url,
        )

    def back_up(self) -> Restore:
        with self.stage.store.read():  # the tables are there from the first look on
            pass
        return self._copy_of_file() if self.url is None else copy_of_tables(self.url.get_secret_value())

    def _copy_of_file(self) -> Restore:
        database, copy = self.stage.settings.database, self.folder.with_name("backup.db")
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

        def put_back() -> None:
            for path in database.parent.glob("seikyu.db*"):
                path.unlink()
            shutil.copy(copy, database)

        return put_back

    def restore(self, put_back: Restore) -> Stage:
        """Everybody stops, the copy is put back, somebody starts again."""
        self.stage.store.close()
        put_back()
        return self.start()

    def ask(self, number: str) -> Action:
        """The same call for the same number; each number its own amount, or the policy would see duplicates."""
        return self.stage.propose(number, 20_000 + int(number.removeprefix("A-")))

    async def send(self, number: str) -> Action:
        action = self.ask(number)
        return await self.stage.executor.execute(action.id)

    def anchor(self) -> None:
        Anchoring(self.stage.store, self.clock, AnchorFile(self.stage.settings.anchors_file)).keep_up(at_once=True)

    async def reconcile(self) -> list[Action]:
        """As `seikyu reconcile`, again and again, until every wait is over."""
        taken = self.stage.restoration.take_up()
        for _ in range(20):
            self.clock.advance(seconds=10)
            await self.stage.executor.sweep()
        return taken

    def release(self, key: Key, reason: str = "月曜のバックアップから復元") -> None:
        seen = freezing.current(self.stage.store)
        assert seen is not None
        self.stage.restoration.lift(seen, key=key, os_user="ito", reason=reason, are_all_told=True)

    def verify(self) -> audit.AuditReport:
        return audit.verify(self.stage.store, AnchorFile(self.stage.settings.anchors_file).read(), pardons)


def copy_of_tables(url: str) -> Restore:
    """Every row there is; put back past the triggers, as a dump is."""
    with psycopg.connect(url) as there:
        names = [name for (name,) in there.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        tables = {name: sql.Identifier(name) for name in names}
        rows = {
            name: there.execute(sql.SQL("SELECT * FROM {}").format(table)).fetchall() for name, table in tables.items()
        }

    def put_back() -> None:
        with psycopg.connect(url) as there:
            there.execute("SET session_replication_role = replica")
            for name, table in tables.items():
                there.execute(sql.SQL("DELETE FROM {}").format(table))
                for row in rows[name]:
                    places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                    there.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(table, places), row)

    return put_back


@pytest.fixture
def office(tmp_path: Path, database_url: SecretStr | None) -> Generator[Office]:
    made = Office(tmp_path / "home", database_url)
    yield made
    made.stage.store.close()


# the journal


async def test_what_leaves_is_journaled_before_its_first_byte_with_all_it_takes_to_know_it_again(
    office: Office,
) -> None:
    key = office.stage.enrol("tanaka")
    action = office.stage.propose("A-1", 100_000)
    office.stage.approve(action, key)
    seen: list[str] = []
    office.provider.before_answer = lambda: seen.append(journal_text(office))

    done = await office.stage.executor.execute(action.id)

    [line] = seen[0].splitlines()
    said = json.loads(line)
    assert done.state is State.SUCCEEDED
    assert set(said["row"]) == set(ROW_COLUMNS)
    assert (said["row"]["id"], said["row"]["epoch"], said["row"]["state"]) == (action.id, 1, "executing")
    assert (said["row"]["canonical"], said["approved_by"]) == (action.canonical, ["tanaka"])


def journal_text(office: Office) -> str:
    [file] = office.stage.settings.sent_folder.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("2026-11.jsonl", 0o600)
    return file.read_text(encoding="utf-8")


async def test_a_journal_that_cannot_be_written_lets_nothing_leave(office: Office) -> None:
    office.stage.settings.sent_folder.write_text("not a folder", encoding="utf-8")

    action = await office.send("A-1")

    assert (action.state, office.provider.sends) == (State.APPROVED, 0)
    assert action.outcome_text is not None
    assert action.outcome_text.en.startswith("Not sent: the journal of sends")


async def test_a_send_whose_right_was_lost_while_the_journal_was_written_does_not_leave(office: Office) -> None:
    office.provider.before_fence = lambda: office.clock.advance(seconds=office.stage.settings.timing.lease_s)

    action = await office.send("A-1")

    assert (action.state, office.provider.sends) == (State.APPROVED, 0)


async def test_a_last_line_cut_short_by_a_crash_is_told_and_the_next_line_is_whole(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    await office.send("A-1")
    [file] = office.stage.settings.sent_folder.iterdir()
    with file.open("ab") as torn:
        torn.write(b'{"row":{"id":"act-')
    office.start()

    done = await office.send("A-2")

    entries = list(office.stage.restoration.journal.entries())
    assert done.state is State.SUCCEEDED
    assert [None if entry is None else entry.epoch for entry in entries] == [1, None, 1]
    assert [record.message for record in warned(caplog)] == ["1 line(s) of the journal of sends cannot be read"]


def test_a_line_holds_every_column_an_action_has(office: Office) -> None:
    office.stage.propose("A-1", 20_000)

    with office.stage.store.read() as tx:
        [row] = tx.all("actions_after", after="", limit=2)

    assert set(row) == set(ROW_COLUMNS)


# no alarm


async def test_a_new_home_a_moved_home_and_an_ordinary_day_are_no_alarm(office: Office, tmp_path: Path) -> None:
    first = office.stage.restoration.look()
    await office.send("A-1")
    office.anchor()
    ordinary = office.stage.restoration.look()
    office.stage.store.close()
    moved = Path(shutil.move(office.folder, tmp_path / "another machine"))
    office.folder = moved
    elsewhere = office.start().restoration.look()

    assert (first, ordinary, elsewhere) == (None, None, None)
    assert (await office.send("A-2")).state is State.SUCCEEDED


class BusyJournal(Journal):
    """Another process sends just before the lines are read."""

    def __init__(self, folder: Path, sends: Callable[[], None]) -> None:
        super().__init__(folder)
        self._sends = sends

    def entries(self) -> Iterator[Entry | None]:
        self._sends()
        yield from super().entries()


async def test_what_another_process_sends_while_the_journal_is_read_is_no_alarm(office: Office) -> None:
    await office.send("A-1")
    office.anchor()
    other, waiting = office.stage, office.stage.propose("A-2", 100)
    mine = office.open()

    def sends() -> None:
        claim = other.claims.take(waiting.id)
        assert claim is not None
        other.claims.guard(claim)

    mine.restoration.journal = BusyJournal(mine.settings.sent_folder, sends)

    held = mine.restoration.look()

    assert other.find(waiting.id).state is State.EXECUTING
    assert (held, freezing.current(mine.store)) == (None, None)
    mine.store.close()


async def test_an_action_known_at_a_later_epoch_is_no_alarm(office: Office) -> None:
    office.provider.answers.append(lambda _request: Lost(Text("切断", "cut")))
    action = await office.send("A-1")
    for _ in range(20):
        office.clock.advance(seconds=10)
        await office.stage.executor.sweep()

    again = office.start().restoration.look()

    assert (office.stage.find(action.id).state, office.provider.sends) == (State.SUCCEEDED, 2)
    assert again is None


# restored


@pytest.mark.fault("F15")
async def test_after_a_restore_nothing_is_sent_until_all_is_found_again_and_an_operator_releases_it(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    key = office.stage.enrol("tanaka")
    await office.send("A-0")
    waiting = office.ask("A-9")
    copy = office.back_up()
    numbers = [f"A-{number}" for number in range(1, 6)]
    sent = [await office.send(number) for number in numbers]
    office.anchor()

    office.restore(copy)
    await office.stage.executor.sweep()
    again = [refused(office, number) for number in numbers]

    assert office.provider.sends == 6
    assert "ALARM: the database is older than what was sent from here: 5 send(s) and 1 anchor(s)" in caplog.text
    assert all("Run `seikyu reconcile`" in said for said in again)
    assert office.stage.find(waiting.id).state is State.APPROVED

    taken = await office.reconcile()
    found = [office.stage.find(action.id) for action in sent]

    assert {action.id for action in taken} == {action.id for action in sent}
    assert {(action.state, action.reference) for action in found} == {
        (State.SUCCEEDED, f"tx-{number}") for number in numbers
    }
    assert [(await office.send(number)).id for number in numbers] == [action.id for action in sent]
    assert (office.provider.sends, office.stage.find(waiting.id).state) == (6, State.APPROVED)

    office.release(key)
    await office.stage.executor.sweep()

    assert (office.provider.sends, office.stage.find(waiting.id).state) == (7, State.SUCCEEDED)
    assert len(office.provider.booked) == 7
    assert office.start().restoration.look() is None


async def test_a_claim_notices_that_the_database_was_set_back_under_its_process_and_holds_everything(
    office: Office,
) -> None:
    await office.send("A-0")
    waiting, copy = office.ask("A-9"), office.back_up()
    await office.send("A-1")
    office.stage.store.close()
    copy()

    claim = office.stage.claims.take(waiting.id)

    held = freezing.current(office.stage.store)
    assert claim is None
    assert held is not None
    assert (held.kind, office.stage.restoration.held) == (freezing.RESTORED, held)


def refused(office: Office, number: str) -> str:
    with pytest.raises(NotAllowed) as caught:
        office.ask(number)
    return caught.value.text.en


async def test_the_log_goes_on_from_the_backup_and_its_old_anchors_are_counted_as_acknowledged(
    office: Office,
) -> None:
    key = office.stage.enrol("tanaka")
    copy = office.back_up()
    await office.send("A-1")
    office.anchor()
    office.restore(copy)
    office.stage.restoration.look()
    before = office.verify()
    await office.reconcile()
    office.release(key)

    after = office.verify()
    await office.send("A-2")
    office.anchor()
    later = office.verify()

    assert before.fault is not None
    assert "but the anchor of" in before.fault
    [known] = after.acknowledged
    assert known.en.startswith("record 4 is not what the anchor of ")
    assert known.en.endswith("it is of the log before a restored backup, acknowledged by tanaka on 2026-11-21")
    assert (after.faults, later.faults, len(later.acknowledged), later.anchors) == ((), (), 1, 3)


async def test_a_log_cut_off_again_after_the_release_is_found_by_the_anchors_made_since(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    copy = office.back_up()
    await office.send("A-1")
    office.anchor()
    office.restore(copy)
    await office.reconcile()
    office.release(key)
    office.anchor()

    office.restore(copy)

    assert office.stage.restoration.look() is not None
    assert office.verify().fault is not None


@pytest.mark.fault("F15")
async def test_what_cannot_be_looked_up_waits_for_a_person_and_the_hold_waits_with_it(office: Office) -> None:
    office.outcome_class = OutcomeClass.D
    office.start()
    key = office.stage.enrol("tanaka")
    copy = office.back_up()
    sent = await office.send("A-1")
    office.restore(copy)
    await office.reconcile()
    there = office.stage.find(sent.id)

    with pytest.raises(NotAllowed, match="What became of 1 action"):
        office.release(key)
    settled = office.stage.ballots.resolve(ballot(there), key, reference="tx-A-1")
    office.release(key)

    assert there.state is State.MANUAL_REVIEW
    assert (settled.state, office.provider.sends) == (State.SUCCEEDED, 1)
    assert freezing.current(office.stage.store) is None


def ballot(action: Action) -> Ballot:
    return Ballot(action.id, action.digest, "resolve", "画面で確認", revision=action.revision)


async def test_what_the_provider_refused_in_the_forgotten_time_is_never_sent_by_itself_again(office: Office) -> None:
    copy = office.back_up()
    office.provider.answers.append(lambda _request: Refused(Text("拒否", "no"), 400, ("bad",)))
    sent = await office.send("A-1")
    office.restore(copy)

    await office.reconcile()

    assert (sent.state, office.provider.sends) == (State.FAILED, 1)
    assert office.stage.find(sent.id).state is State.MANUAL_REVIEW


async def test_of_two_sends_of_one_call_the_last_bears_it_again_and_a_person_sees_to_the_other(
    office: Office,
) -> None:
    copy = office.back_up()
    office.provider.answers.append(lambda _request: Refused(Text("拒否", "no"), 400, ("bad",)))
    first = await office.send("A-1")
    second = await office.send("A-1")
    office.restore(copy)

    await office.reconcile()

    assert (office.stage.find(first.id).state, office.stage.find(second.id).state) == (
        State.MANUAL_REVIEW,
        State.SUCCEEDED,
    )
    assert (await office.send("A-1")).id == second.id
    assert (office.provider.sends, office.verify().fault) == (2, None)


async def test_what_waited_at_the_backup_and_was_sent_as_another_action_is_closed(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    old = office.stage.propose("A-1", 100_000)
    copy = office.back_up()
    office.stage.ballots.cast(Ballot(old.id, old.digest, "reject", "確認中"), key)
    office.clock.advance(days=2)
    anew = office.stage.propose("A-1", 100_000)
    office.stage.approve(anew, key)
    await office.stage.executor.execute(anew.id)
    office.restore(copy)

    await office.reconcile()

    assert (office.stage.find(old.id).state, office.stage.find(anew.id).state) == (State.EXPIRED, State.SUCCEEDED)
    assert (office.provider.sends, office.verify().fault) == (1, None)


@pytest.mark.fault("F15")
@pytest.mark.parametrize("decided", [None, "approve", "reject"])
async def test_an_action_that_waited_at_the_backup_and_was_sent_later_is_unknown_whatever_was_decided_since(
    office: Office, decided: Decision | None
) -> None:
    key = office.stage.enrol("tanaka")
    action = office.stage.propose("A-1", 100_000)
    copy = office.back_up()
    office.stage.approve(action, key)
    await office.stage.executor.execute(action.id)
    office.restore(copy)
    office.stage.restoration.look()
    if decided is not None:
        office.stage.ballots.cast(Ballot(action.id, action.digest, decided, "理由"), key)

    await office.reconcile()

    assert (office.stage.find(action.id).state, office.provider.sends) == (State.SUCCEEDED, 1)
    assert office.verify().fault is None


async def test_the_hold_stays_until_somebody_answers_for_every_other_machine(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    copy = office.back_up()
    await office.send("A-1")
    office.restore(copy)
    await office.reconcile()
    seen = freezing.current(office.stage.store)
    assert seen is not None

    with pytest.raises(NotAllowed, match="What another machine has sent") as refused:
        office.stage.restoration.lift(seen, key=key, os_user="ito", reason="復元", are_all_told=False)

    assert refused.value.text.en == (
        "What another machine has sent stands in that machine's journal alone."
        " Run `seikyu reconcile` on every machine that sent, then say --all-told."
    )
    assert freezing.current(office.stage.store) == seen
    office.release(key)
    assert freezing.current(office.stage.store) is None
    with office.stage.store.read() as tx:
        [lifted] = [row for row in tx.all("audit_page", after=0, limit=100) if row["kind"] == "unfrozen"]
    assert json.loads(lifted["record"])["all_told"] is True


@pytest.mark.fault("F15")
async def test_a_log_that_lost_only_decisions_is_held_too(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    action = office.stage.propose("A-1", 100_000)
    copy = office.back_up()
    office.stage.ballots.cast(Ballot(action.id, action.digest, "reject", "二重"), key)
    office.anchor()
    office.restore(copy)

    held = office.stage.restoration.look()
    office.release(key)

    assert held is not None
    assert office.stage.restoration.look() is None


async def test_the_hold_is_released_with_a_reason_and_only_when_no_send_is_forgotten(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    copy = office.back_up()
    await office.send("A-1")
    office.restore(copy)
    office.stage.restoration.look()

    with pytest.raises(NotAllowed, match="does not know 1 send"):
        office.release(key)
    await office.reconcile()
    with pytest.raises(NotAllowed, match="Give a reason"):
        office.release(key, " ")
    office.release(key)

    assert freezing.current(office.stage.store) is None


async def test_a_freeze_on_top_of_a_hold_does_not_carry_it_away(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    copy = office.back_up()
    await office.send("A-1")
    office.restore(copy)
    office.stage.restoration.look()
    seen = freezing.freeze(office.stage.store, office.clock, os_user="ito", operator=None, reason="念のため")

    with pytest.raises(NotAllowed, match="does not know"):
        office.stage.restoration.lift(seen, key=key, os_user="ito", reason="解除", are_all_told=True)

    assert refused(office, "A-1").startswith("Read-only")


async def test_a_lifting_that_names_a_hold_without_a_seal_releases_nothing(office: Office) -> None:
    office.stage.enrol("tanaka")
    copy = office.back_up()
    await office.send("A-1")
    office.restore(copy)
    office.stage.restoration.look()
    forge(
        office.stage,
        "INSERT INTO \"freeze\" SELECT 2, 'lifted', at, 'ito', 'tanaka', '', 'ab', '[[1,\"00\"]]' FROM \"freeze\"",
    )

    assert freezing.current(office.stage.store) is not None
    assert refused(office, "A-2").startswith("Read-only")


async def test_a_line_somebody_shortened_is_not_taken_up_and_the_hold_stays(office: Office) -> None:
    copy = office.back_up()
    await office.send("A-1")
    [file] = office.stage.settings.sent_folder.iterdir()
    said = json.loads(file.read_text(encoding="utf-8"))
    del said["row"]["canonical"]
    file.write_text(json.dumps(said) + "\n", encoding="utf-8")
    office.restore(copy)

    with pytest.raises(StoreDamaged, match="does not hold a whole action"):
        office.stage.restoration.take_up()

    assert freezing.current(office.stage.store) is not None


@pytest.mark.fault("F15")
async def test_two_machines_on_one_database_are_held_until_each_has_told_what_it_sent(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    copy = office.back_up()
    here = await office.send("A-1")
    journal = office.stage.settings.sent_folder
    journal.rename(journal.with_name("machine 1"))
    there = await office.send("A-2")
    journal.rename(journal.with_name("machine 2"))
    office.restore(copy)

    for machine in ("machine 1", "machine 2"):
        (office.folder / machine).rename(journal)
        office.start()
        await office.reconcile()
        office.release(key)
        journal.rename(office.folder / machine)

    assert {office.stage.find(one.id).state for one in (here, there)} == {State.SUCCEEDED}
    assert office.provider.sends == 2


def booked_then_cut(office: Office, request: ProviderRequest) -> Sent:
    office.provider.book(request)
    return Lost(Text("切断", "cut"))


@pytest.mark.fault("F15")
async def test_what_was_being_sent_when_the_process_died_is_found_too(office: Office) -> None:
    copy = office.back_up()
    office.provider.answers.append(lambda request: booked_then_cut(office, request))
    sent = await office.send("A-1")
    office.restore(copy)

    await office.reconcile()

    assert (sent.state, office.stage.find(sent.id).state) == (State.UNKNOWN, State.SUCCEEDED)
    assert office.provider.sends == 1


async def test_only_an_operator_releases_a_hold(office: Office) -> None:
    key = office.stage.enrol("tanaka")
    second = office.stage.enrol("sato", key)
    copy = office.back_up()
    operators.remove(office.stage.store, office.clock, "sato", by=key)
    await office.send("A-1")
    office.restore(copy)
    await office.reconcile()
    operators.remove(office.stage.store, office.clock, "sato", by=key)

    with pytest.raises(VoteRefused, match="may not decide"):
        office.release(second)

    assert freezing.current(office.stage.store) is not None


@pytest.mark.sqlite_only
@pytest.mark.fault("F12")
@pytest.mark.fault("F15")
async def test_a_backup_from_before_an_upgrade_is_brought_up_to_date_and_then_held(office: Office) -> None:
    office.stage.enrol("tanaka")
    copy = office.back_up()
    sent = await office.send("A-1")
    office.stage.store.close()
    copy()
    upgraded = office.stage.settings.database
    before = upgraded.with_name("before.db")
    with closing(sqlite3.connect(upgraded)) as current, closing(earlier(current, 12, str(before))):
        pass
    before.chmod(0o600)
    before.replace(upgraded)
    office.start()

    held = office.stage.restoration.look()
    await office.reconcile()

    assert held is not None
    assert (office.stage.find(sent.id).state, office.provider.sends) == (State.SUCCEEDED, 1)


async def test_a_start_on_a_long_journal_with_claims_in_flight_makes_them_unknown_and_sends_none_of_them(
    office: Office,
) -> None:
    stage = office.stage
    await office.send("A-1")
    flying = [office.ask(f"A-{number}") for number in range(2, 8)]
    for action in flying:
        claim = stage.claims.take(action.id)
        assert claim is not None
        stage.claims.guard(claim)
    [file] = stage.settings.sent_folder.iterdir()
    file.write_bytes(file.read_bytes() * 200)
    office.clock.advance(seconds=stage.settings.timing.lease_s + 1)
    office.start()

    held = office.stage.restoration.look()
    await office.stage.executor.sweep()

    assert held is None
    assert {office.stage.find(action.id).state for action in flying} == {State.UNKNOWN}
    assert office.provider.sends == 1


# edited before it was sent


class Edited:
    """What was asked for once, edited, approved and sent, and then forgotten."""

    def __init__(self, office: Office, *, is_by_operator: bool = False) -> None:
        self.office = office
        self.tanaka = office.stage.enrol("tanaka")
        self.sato = office.stage.enrol("sato", self.tanaka)
        self.empty = office.back_up()
        self.first = call_of(office, 200_000)
        self.asked = office.stage.desk.propose(self.first)
        self.proposed = office.back_up()
        by = self.sato if is_by_operator else None
        self.edited = office.stage.revisions.revise(
            replace(draft_of(office, self.asked, 150_000), seen=self.asked), key=by
        )
        self.second = call_of(office, 150_000)

    async def send(self) -> Action:
        self.office.stage.approve(self.edited, self.tanaka)
        return await self.office.stage.executor.execute(self.edited.id)


def call_of(office: Office, amount: int) -> Proposal:
    """A call of an operation without a number: nothing but the call itself tells that it is the same."""
    made = office.stage.proposal("A-1", amount)
    return replace(made, plan=replace(made.plan, natural_key=None))


def draft_of(office: Office, action: Action, amount: int) -> Draft:
    made = office.stage.draft(action, amount)
    return replace(made, proposal=replace(made.proposal, plan=replace(made.proposal.plan, natural_key=None)))


@pytest.mark.fault("F15")
@pytest.mark.parametrize("is_by_operator", [False, True])
@pytest.mark.parametrize("backup", ["empty", "proposed"])
async def test_the_call_an_edited_action_was_made_by_is_still_that_action_after_a_restore(
    office: Office, backup: str, *, is_by_operator: bool
) -> None:
    edited = Edited(office, is_by_operator=is_by_operator)
    sent = await edited.send()
    office.restore(getattr(edited, backup))
    await office.reconcile()

    office.release(edited.tanaka)

    again = [office.stage.desk.propose(call).id for call in (call_of(office, 200_000), call_of(office, 150_000))]
    assert again == [sent.id, sent.id]
    assert (office.stage.find(sent.id).state, office.provider.sends) == (State.SUCCEEDED, 1)
    assert [edit.revision for edit in office.stage.cards.card(sent.id).edits] == [2]
    assert office.verify().faults == ()


@pytest.mark.parametrize("backup", ["empty", "proposed"])
async def test_the_same_call_made_in_between_is_closed_when_the_edited_action_is_known_again(
    office: Office, backup: str
) -> None:
    edited = Edited(office)
    sent = await edited.send()
    office.restore(getattr(edited, backup))
    between = office.stage.desk.propose(edited.first)

    await office.reconcile()

    states = {action_id: office.stage.find(action_id).state for action_id in (between.id, sent.id)}
    assert states == {between.id: State.EXPIRED, sent.id: State.SUCCEEDED}
    assert office.stage.desk.propose(edited.first).id == sent.id
    assert (office.provider.sends, office.verify().fault) == (1, None)


async def test_an_edit_made_in_between_gives_way_to_what_was_sent_and_is_kept(office: Office) -> None:
    edited = Edited(office)
    sent = await edited.send()
    office.restore(edited.proposed)
    there = office.stage.find(sent.id)
    office.stage.revisions.revise(draft_of(office, there, 120_000), reason="復元の後")

    await office.reconcile()

    with office.stage.store.read() as tx:
        rows = tx.all("every_revision_of", action_id=sent.id)
    assert [(row["revision"], "復元の後" in row["statement"]) for row in rows] == [(-1, True), (2, False)]
    assert office.stage.find(sent.id).particulars.amount == 150_000
    assert [edit.reason for edit in office.stage.cards.card(sent.id).edits] == [""]
    assert (office.provider.sends, office.verify().faults) == (1, ())


async def test_what_an_operator_edited_whom_the_backup_does_not_know_can_still_be_resolved(office: Office) -> None:
    office.outcome_class = OutcomeClass.D
    office.start()
    tanaka = office.stage.enrol("tanaka")
    copy = office.back_up()
    sato = office.stage.enrol("sato", tanaka)
    action = office.stage.propose("A-1", 200_000)
    edited = office.stage.revisions.revise(office.stage.draft(action, 150_000), key=sato)
    office.stage.approve(edited, tanaka)
    await office.stage.executor.execute(action.id)
    office.restore(copy)
    await office.reconcile()

    settled = office.stage.ballots.resolve(ballot(office.stage.find(action.id)), tanaka, reference="tx-A-1")
    office.release(tanaka)

    assert settled.state is State.SUCCEEDED
    assert office.verify().faults == ()


@pytest.mark.parametrize(
    "change", [{"statement": "x"}, {"seal": 1}, {"revision": "2"}, {"action_id": "act-0"}, {"x": 1}]
)
async def test_a_line_with_an_edit_somebody_changed_is_not_taken_up(office: Office, change: dict[str, object]) -> None:
    edited = Edited(office)
    await edited.send()
    [file] = office.stage.settings.sent_folder.iterdir()
    said = json.loads(file.read_text(encoding="utf-8"))
    said["edits"][0] |= change
    file.write_text(json.dumps(said) + "\n", encoding="utf-8")
    office.restore(edited.empty)

    with pytest.raises(StoreDamaged, match="does not hold a whole action"):
        office.stage.restoration.take_up()


# edits while everything stands still


@pytest.mark.parametrize("is_by_operator", [False, True])
async def test_nothing_is_edited_while_a_restored_database_is_held(office: Office, *, is_by_operator: bool) -> None:
    edited = Edited(office)
    await edited.send()
    office.restore(edited.proposed)
    office.stage.restoration.look()
    there = office.stage.find(edited.asked.id)

    with pytest.raises(NotAllowed, match="Read-only") as told:
        office.stage.revisions.revise(draft_of(office, there, 120_000), key=edited.tanaka if is_by_operator else None)

    assert "The action is as it was." in told.value.say("en")
    assert office.stage.find(there.id) == there
