"""What an auditor asks for: day, amount, counterparty, in ranges and together."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from gate.earlier import earlier
from gate.stage import Stage
from seikyu.errors import InvalidArguments
from seikyu.gate.actions import State
from seikyu.gate.search import Hits, Wanted, search
from seikyu.spec import Principal
from seikyu.store.sqlite import migrate

BOOKS = (
    ("A-1", 100_000, "株式会社青葉商事", date(2026, 10, 31)),
    ("A-2", 200_000, "ＡＣＭＥ合同会社", date(2026, 11, 1)),
    ("A-3", 300_000, "株式会社 青葉 工務店", date(2026, 11, 30)),
    ("A-4", 400_000, "有限会社みどり", None),
)


@pytest.fixture
def books(stage: Stage) -> Stage:
    for number, amount, name, day in BOOKS:
        stage.propose(number, amount, counterparty_name=name, transaction_date=day)
    return stage


def found(books: Stage, **wanted: Any) -> list[int | None]:
    return [action.particulars.amount for action in search(books.store, Wanted(**wanted), limit=100).actions]


def test_both_ends_of_a_range_of_days_belong_to_it(books: Stage) -> None:
    assert found(books, day_from=date(2026, 11, 1), day_to=date(2026, 11, 30)) == [300_000, 400_000, 200_000]
    assert found(books, day_to=date(2026, 10, 31)) == [100_000]


def test_an_action_without_a_transaction_date_is_found_under_the_day_in_japan_it_was_proposed(stage: Stage) -> None:
    stage.clock.advance(hours=13)  # 16:00 UTC: tomorrow in Japan
    stage.propose("A-1", 100_000, transaction_date=None)

    assert found(stage, day_from=date(2026, 11, 22), day_to=date(2026, 11, 22)) == [100_000]


def test_both_ends_of_a_range_of_amounts_belong_to_it(books: Stage) -> None:
    assert found(books, amount_from=200_000, amount_to=300_000) == [300_000, 200_000]


@pytest.mark.parametrize("asked", ["青葉", "青葉 工", "株式会社青葉", "（株）青葉"])
def test_a_part_of_a_name_is_found_however_it_is_written(books: Stage, asked: str) -> None:
    assert 300_000 in found(books, counterparty=asked)
    assert 200_000 not in found(books, counterparty=asked)


def test_width_and_case_of_a_name_do_not_matter(books: Stage) -> None:
    assert found(books, counterparty="acme") == found(books, counterparty="ＡＣＭＥ") == [200_000]


def test_conditions_are_combined_with_and(books: Stage) -> None:
    assert found(books, counterparty="青葉", amount_to=200_000) == [100_000]
    assert found(books, counterparty="青葉", amount_to=200_000, day_from=date(2026, 11, 1)) == []


def test_signs_of_a_pattern_are_letters_like_any_other(books: Stage) -> None:
    assert found(books, counterparty="%") == found(books, counterparty="_") == []


@pytest.mark.parametrize("asked", ["", "株式会社", " "])
def test_a_company_form_alone_names_nobody(books: Stage, asked: str) -> None:
    with pytest.raises(InvalidArguments):
        found(books, counterparty=asked)


def test_what_was_withdrawn_or_rejected_is_found_too_with_totals_beyond_the_limit(books: Stage) -> None:
    [action] = search(books.store, Wanted(counterparty="みどり"), limit=1).actions
    books.desk.withdraw(action.id, Principal("suzuki", "test"))
    key = books.enrol("tanaka")
    [other] = search(books.store, Wanted(counterparty="acme"), limit=1).actions
    books.approve(other, key)

    hits = search(books.store, Wanted(), limit=1)

    assert (len(hits.actions), hits.total, hits.yen) == (1, 4, 1_000_000)
    assert found(books, state=State.WITHDRAWN) == [400_000]
    assert isinstance(hits, Hits)


def test_a_range_of_days_is_read_from_an_index(books: Stage) -> None:
    with books.store.read() as tx:
        plan = tx.connection.execute(
            "EXPLAIN QUERY PLAN SELECT count(*), sum(amount) FROM action WHERE business_day BETWEEN 'a' AND 'b'"
        ).fetchall()

    assert "USING COVERING INDEX action_search (business_day>? AND business_day<?)" in plan[0][3]


def test_actions_of_an_earlier_version_get_their_day_when_the_database_is_opened(books: Stage) -> None:
    with books.store.read() as tx:
        old = earlier(tx.connection, 2)

    migrate(old)

    days = [day for (day,) in old.execute("SELECT business_day FROM action ORDER BY amount")]
    assert days == ["2026-10-31", "2026-11-01", "2026-11-30", "2026-11-21"]
    old.close()


def test_hits_are_the_latest_first_with_all_that_match_counted_and_added_up(books: Stage) -> None:
    hits = search(books.store, Wanted(amount_to=300_000), limit=2)

    assert hits == Hits(hits.actions, 3, 600_000)
    assert [action.particulars.amount for action in hits.actions] == [300_000, 200_000]
    assert search(books.store, Wanted(amount_from=900_000), limit=2) == Hits((), 0, 0)


@pytest.mark.parametrize("asked,says", [("株式会社", "names no counterparty"), ("・", "names no counterparty")])
def test_a_name_that_is_none_is_told_so(books: Stage, asked: str, says: str) -> None:
    with pytest.raises(InvalidArguments, match=says):
        search(books.store, Wanted(counterparty=asked), limit=1)


@pytest.mark.parametrize(
    "asked,says",
    [
        ({"day_from": date(2026, 11, 2), "day_to": date(2026, 11, 1)}, "2026-11-02 to 2026-11-01"),
        ({"amount_from": 2, "amount_to": 1}, "2円 to 1円"),
    ],
)
def test_a_range_that_ends_before_it_begins_is_told_and_not_answered_with_nothing(
    books: Stage, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidArguments, match=says):
        search(books.store, Wanted(**asked), limit=1)


@pytest.mark.both_stores
def test_no_number_and_no_half_character_is_too_much_to_ask_for(stage: Stage) -> None:
    stage.propose("A-1", 100_000)

    assert found(stage, amount_from=1, amount_to=10**30) == [100_000]
    assert found(stage, amount_from=10**30) == []
    with pytest.raises(InvalidArguments, match="cannot be stored"):
        search(stage.store, Wanted(counterparty="\udcff"), limit=1)


@pytest.mark.both_stores
def test_a_stored_document_is_found_by_the_amount_on_it_which_no_total_counts(stage: Stage) -> None:
    proposal = stage.proposal("A-1", 70_000)
    particulars = proposal.plan.particulars.model_copy(update={"amount": None, "document_amount": 70_000})
    kept = stage.desk.propose(replace(proposal, plan=replace(proposal.plan, particulars=particulars)))

    hits = search(stage.store, Wanted(amount_from=70_000, amount_to=70_000), limit=1)

    assert ([action.id for action in hits.actions], hits.yen) == ([kept.id], 70_000)
    assert kept.particulars.amount is None
