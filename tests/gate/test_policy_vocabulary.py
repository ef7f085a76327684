"""Every condition the policy knows beyond amount and name: one action below it, one above."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gate.stage import CONNECTION, PretendClock, Stage, make_stage
from seikyu.errors import ConfigurationError
from seikyu.gate.actions import Action, State
from seikyu.gate.policy import parse_policy
from seikyu.spec import RuleTrace
from seikyu.store import database

HEAD = 'schema = 1\nversion = "test"\noperations = ["mfkessai.create_transaction"]\n'
ANY = '[[allow]]\nid = "any"\nwhy = "any"\nprovider = "mfkessai"\n'
NOON = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
"""Friday, 12:00 in Japan."""


def policy_of(*conditions: str) -> str:
    return HEAD + '[[ask]]\nid = "it"\nwhy = "it"\n' + "\n".join(conditions) + "\n" + ANY


@contextmanager
def judged_by(folder: Path, *conditions: str, at: datetime = NOON) -> Generator[Stage]:
    made = make_stage(folder / "home", policy_of(*conditions), clock=PretendClock(at))
    yield made
    made.store.close()
    made.presence.leave()


def is_hit(action: Action) -> bool:
    return RuleTrace("it", "ask", is_hit=True, why="it") in action.decision.trace


def test_an_amount_nobody_knows_is_asked_about_and_a_known_one_is_not(tmp_path: Path) -> None:
    with judged_by(tmp_path, "amount_unknown = true") as stage:
        whole = stage.plan("A-1", 0)
        plan = replace(whole, particulars=whole.particulars.model_copy(update={"amount": None}))
        unknown = stage.desk.propose(replace(stage.proposal("A-1", 0), plan=plan))
        known = stage.propose("A-2", 1)

    assert (is_hit(unknown), is_hit(known)) == (True, False)


TOTALS = {
    "monthly_total_over": ("requester", "month"),
    "customer_daily_total_over": ("customer", "day"),
    "customer_monthly_total_over": ("customer", "month"),
    "connection_daily_total_over": ("connection", "day"),
    "connection_monthly_total_over": ("connection", "month"),
    "split_total_over": ("requester and customer", "day"),
}


@pytest.mark.parametrize("condition", TOTALS)
def test_a_total_counts_this_action_and_asks_only_above_its_limit(tmp_path: Path, condition: str) -> None:
    with judged_by(tmp_path, f"{condition} = 1000") as stage:
        stage.propose("A-1", 600)
        at_the_limit = stage.propose("A-2", 400)
        above = stage.propose("A-3", 1)

    assert (is_hit(at_the_limit), is_hit(above)) == (False, True)


@pytest.mark.parametrize("condition", TOTALS)
@pytest.mark.parametrize("days,in_it", [(0, ("day", "month")), (-19, ("month",)), (-20, ())])
def test_a_total_ends_with_the_day_or_the_month_in_japan(
    tmp_path: Path, condition: str, days: int, in_it: tuple[str, ...]
) -> None:
    midnight = datetime(2026, 11, 19, 15, 0, tzinfo=UTC)  # 20 November, 0:00 in Japan
    with judged_by(tmp_path, f"{condition} = 1000", at=midnight) as stage:
        stage.clock.advance(days=days)
        stage.propose("A-1", 1000)
        stage.clock.advance(days=-days)
        action = stage.propose("A-2", 1)

    assert is_hit(action) is (TOTALS[condition][1] in in_it)


@pytest.mark.parametrize("condition", TOTALS)
@pytest.mark.parametrize(
    "other,counts",
    [
        ({"requester": "ito"}, {"customer", "connection"}),
        ({"counterparty_id": "C-2", "counterparty_name": "別の会社"}, {"requester", "connection"}),
        ({"counterparty_id": "C-2", "counterparty_name": "（株）青葉 商事"}, {*dict(TOTALS.values())}),
        ({"counterparty_name": "改名商事"}, {*dict(TOTALS.values())}),
    ],
    ids=["another requester", "another customer", "same name", "same id"],
)
def test_a_total_adds_up_what_is_of_the_same_requester_customer_or_connection(
    tmp_path: Path, condition: str, other: dict[str, Any], counts: set[str]
) -> None:
    with judged_by(tmp_path, f"{condition} = 1000") as stage:
        stage.propose("A-1", 1000, **other)
        action = stage.propose("A-2", 1)

    assert is_hit(action) is (TOTALS[condition][0] in counts)


@pytest.mark.parametrize("condition", TOTALS)
def test_a_customer_is_added_up_across_connections_and_a_connection_is_not(tmp_path: Path, condition: str) -> None:
    with judged_by(tmp_path, f"{condition} = 1000") as stage:
        stage.propose("A-1", 1000)
        elsewhere = replace(stage.proposal("A-2", 1), connection=replace(CONNECTION, name="mfk-other"))
        action = stage.desk.propose(elsewhere)

    assert is_hit(action) is (TOTALS[condition][0] != "connection")


@pytest.mark.parametrize("condition", TOTALS)
@pytest.mark.parametrize("state", State)
def test_a_total_counts_what_may_be_written_and_nothing_else(tmp_path: Path, condition: str, state: State) -> None:
    with judged_by(tmp_path, f"{condition} = 1000") as stage:
        stage.propose("A-1", 1000)
        with sqlite3.connect(stage.settings.database) as raw:
            raw.execute("UPDATE action SET state = ?", (state.value,))
        raw.close()
        action = stage.propose("A-2", 1)

    assert is_hit(action) is (
        state in {State.APPROVED, State.EXECUTING, State.UNKNOWN, State.MANUAL_REVIEW, State.SUCCEEDED}
    )


def test_two_customers_without_name_and_id_are_not_one(tmp_path: Path) -> None:
    nobody: dict[str, Any] = {"counterparty_id": None, "counterparty_name": None}
    with judged_by(tmp_path, "customer_daily_total_over = 1000") as stage:
        stage.propose("A-1", 1000, **nobody)
        action = stage.propose("A-2", 1, **nobody)

    assert not is_hit(action)


HOURS = 'outside_hours = "09:00-18:00"'
WEEKDAYS_ONLY = "weekdays_only = true"


@pytest.mark.parametrize(
    "utc_hour,minute,outside", [(23, 59, True), (0, 0, False), (8, 59, False), (9, 0, True), (15, 0, True)]
)
def test_outside_hours_asks_before_nine_and_from_eighteen_on_in_japan(
    tmp_path: Path, utc_hour: int, minute: int, *, outside: bool
) -> None:
    with judged_by(tmp_path, HOURS, at=NOON.replace(hour=utc_hour, minute=minute)) as stage:
        assert is_hit(stage.propose("A-1", 1)) is outside


@pytest.mark.parametrize("day,weekend", [(20, False), (21, True), (22, True), (23, False)])
def test_with_weekdays_only_saturday_and_sunday_have_no_hours(tmp_path: Path, day: int, *, weekend: bool) -> None:
    noon = NOON.replace(day=day)
    with judged_by(tmp_path / "weekdays", HOURS, WEEKDAYS_ONLY, at=noon) as stage:
        assert is_hit(stage.propose("A-1", 1)) is weekend
    with judged_by(tmp_path / "every-day", HOURS, at=noon) as stage:
        assert not is_hit(stage.propose("A-1", 1))


def test_what_was_let_through_in_the_day_is_asked_about_when_it_is_sent_at_night(tmp_path: Path) -> None:
    with judged_by(tmp_path, HOURS) as stage:
        action = stage.propose("A-1", 1)
        stage.clock.advance(hours=6)
        claim = stage.claims.take(action.id)

        assert (action.state, claim, stage.find(action.id).state) == (State.APPROVED, None, State.AWAITING)


@pytest.mark.parametrize(
    "conditions,fault",
    [
        (('outside_hours = "18:00-09:00"',), "must begin before it ends"),
        (('outside_hours = "9:00-18:00"',), 'expected hours like "09:00-18:00"'),
        (('outside_hours = "09:00-24:01"',), 'expected hours like "09:00-18:00"'),
        ((WEEKDAYS_ONLY,), "weekdays_only belongs to outside_hours"),
        (("amount_unknown = 1",), "expected true or false"),
        (("monthly_total_over = 1.5",), "expected a whole number"),
    ],
)
def test_hours_that_are_none_and_numbers_that_are_none_stop_the_policy(conditions: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        parse_policy(policy_of(*conditions), "policy")


def test_every_total_is_read_from_an_index_alone(stage: Stage) -> None:
    stage.propose("A-1", 1)
    days = ["today", "first_day", "connection_from", "last_day"]
    names = ["requester", "connection", "counterparty_key", "counterparty_id", "except_id", *days]
    asked: list[str] = []
    with stage.store.read() as tx:
        tx.connection.set_trace_callback(asked.append)
        tx.one("totals", **dict.fromkeys(names, "x"))
        tx.connection.set_trace_callback(None)
        plan = [row["detail"] for row in tx.connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]

    *reads, knows_customer = [step for step in plan if " action " in step]
    assert knows_customer == "SEARCH action USING INDEX action_customer (connection=? AND counterparty_id=?)"
    assert len(reads) == 5
    assert all(step.startswith("SEARCH action USING COVERING INDEX") for step in reads)
    assert all(step.endswith("jst_day>? AND jst_day<?)") for step in reads)


def test_a_database_of_the_first_version_gains_the_kill_switch_and_the_indexes(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    first = Path(database.__file__).parent / "migrations" / "0001_house.sql"
    with sqlite3.connect(folder / "seikyu.db") as raw:
        raw.executescript(first.read_text(encoding="utf-8") + "PRAGMA user_version = 1;")
    raw.close()

    stage = make_stage(folder)
    stage.propose("A-1", 1)
    with stage.store.read() as tx:
        rows = tx.connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%totals' OR name = 'freeze'")
        found = sorted(row["name"] for row in rows)
    stage.store.close()
    stage.presence.leave()

    assert found == [
        "action_connection_totals",
        "action_customer_id_totals",
        "action_customer_key_totals",
        "action_totals",
        "freeze",
    ]


def test_a_rule_that_allowed_and_asks_by_now_is_asked_about_for_the_first_time(tmp_path: Path) -> None:
    with judged_by(tmp_path, "amount_over = 0") as stage:
        allowing = '[[allow]]\nid = "known"\nwhy = "known"\namount_over = 0\n'
        asks = stage.settings.policy_file.read_text(encoding="utf-8")
        stage.settings.policy_file.write_text(asks + allowing, encoding="utf-8")
        action = stage.approve(stage.propose("A-1", 1), stage.enrol("tanaka"))
        stage.settings.policy_file.write_text(asks + allowing.replace("allow", "ask"), encoding="utf-8")

        claim = stage.claims.take(action.id)

        assert (action.state, claim, stage.find(action.id).state) == (State.APPROVED, None, State.AWAITING)
