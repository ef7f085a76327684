"""What the store knows of an action when a policy judges it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from gate.forgery import forge
from gate.stage import CONNECTION, Stage
from seikyu.gate.actions import Action
from seikyu.gate.facts import Situation, counterparty_key, gather, gather_again
from seikyu.gate.vocabulary import Facts
from seikyu.spec import Particulars

DOCUMENT = "d" * 64


def particulars(**more: Any) -> Particulars:
    given = {
        "amount": 100,
        "counterparty_id": "C-1",
        "counterparty_name": "株式会社青葉商事",
        "transaction_date": date(2026, 11, 20),
        "due_date": date(2026, 12, 31),
        "destination": "D-1",
    }
    return Particulars.model_validate(given | more)


def situation(stage: Stage, *, days: int = 30, kind: Any = "bill", file: str | None = None, **more: Any) -> Situation:
    """Of an action that is not stored."""
    with stage.store.read() as tx:
        return gather(
            tx,
            action_id="act-new",
            requester="suzuki",
            connection=CONNECTION,
            operation=replace(stage.operation, kind=kind),
            particulars=particulars(**more),
            file_sha256=file,
            now=stage.clock.now(),
            duplicate_days=days,
        )


def billed(stage: Stage, number: str, amount: int, **more: Any) -> Action:
    action = stage.propose(number, amount, **({"destination": "D-1"} | more))
    forge(stage, "UPDATE action SET state = 'succeeded' WHERE id = ?", action.id)
    return action


@pytest.mark.parametrize(
    "name,key",
    [
        (None, None),
        ("", None),
        ("株式会社青葉商事", "青葉商事"),
        ("（株）青葉 商事", "青葉商事"),
        ("㈱青葉・商事", "青葉商事"),
        ("ＡＣＭＥ, Ｉｎｃ．", "acmeinc"),
        ("青葉（有）", "青葉"),
        ("Straße", "strasse"),
        ("株式会社", "株式会社"),
        ("青葉\u200b商事", "青葉商事"),
        ("葛\U000e0100城", "葛城"),
        ("青葉\u3164商事", "青葉商事"),
        ("青葉\ue000商事", "青葉\ue000商事"),
        ("Ａ\u2010ｔｅｃｈ", "a-tech"),
        ("a−tech", "a-tech"),
        ("サービス", "サービス"),
        ("\u200b", "\u200b"),
    ],
)
def test_a_name_is_folded_so_that_its_spellings_are_one(name: str | None, key: str | None) -> None:
    assert counterparty_key(name) == key


def test_of_a_first_sale_every_fact_is_of_itself_alone(stage: Stage) -> None:
    facts = Facts(
        operation="mfkessai.create_transaction",
        provider="mfkessai",
        connection="mfk-main",
        environment="sandbox",
        requester="suzuki",
        amount=100,
        due_days=40,
        duplicate=False,
        daily_total=100,
        monthly_total=100,
        customer_daily_total=100,
        customer_monthly_total=100,
        connection_daily_total=100,
        connection_monthly_total=100,
        split_total=100,
        first_with_customer=True,
        new_destination=True,
        changed_destination=False,
        time="12:00",
        weekday="sat",
    )

    assert situation(stage) == Situation(facts, ())


def test_every_total_adds_what_it_is_about_and_each_twin_is_named(stage: Stage) -> None:
    stage.clock.at = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
    billed(stage, "A-0", 1)  # this month, another day
    stage.clock.at = datetime(2026, 11, 21, 3, 4, tzinfo=UTC)
    twin = billed(stage, "A-1", 100, destination="D-0")
    billed(stage, "A-2", 20, requester="ito")
    billed(stage, "A-3", 3_000, counterparty_id="C-2", counterparty_name="別の会社")
    other = replace(stage.proposal("A-4", 40_000), connection=replace(CONNECTION, name="mfk-other"))
    forge(stage, "UPDATE action SET state = 'succeeded' WHERE id = ?", stage.desk.propose(other).id)

    found = situation(stage)

    facts = found.facts.model_dump()
    assert {name: value for name, value in facts.items() if "total" in name} == {
        "daily_total": 100 + 100 + 3_000 + 40_000,
        "monthly_total": 100 + 100 + 3_000 + 40_000 + 1,
        "customer_daily_total": 100 + 100 + 20 + 40_000,
        "customer_monthly_total": 100 + 100 + 20 + 40_000 + 1,
        "connection_daily_total": 100 + 100 + 20 + 3_000,
        "connection_monthly_total": 100 + 100 + 20 + 3_000 + 1,
        "split_total": 100 + 100 + 40_000,
    }
    assert (found.twins, found.facts.duplicate, found.facts.first_with_customer) == ((twin.id,), True, False)
    assert (found.facts.new_destination, found.facts.time) == (False, "12:04")


def test_what_is_no_bill_adds_nothing_and_a_cancellation_has_no_twin_of_its_amount(stage: Stage) -> None:
    billed(stage, "A-1", 100)

    cancelled = situation(stage, kind="cancel")
    unknown = situation(stage, amount=None)

    assert (cancelled.facts.daily_total, cancelled.facts.amount, cancelled.twins) == (100, 100, ())
    assert (unknown.facts.daily_total, unknown.facts.amount, unknown.twins) == (100, None, ())


@pytest.mark.parametrize("day,is_twin", [(11, False), (12, True), (28, True), (29, False)])
def test_a_twin_is_at_most_so_many_days_away(stage: Stage, day: int, *, is_twin: bool) -> None:
    twin = billed(stage, "A-1", 100)

    found = situation(stage, days=8, transaction_date=date(2026, 11, day))

    assert found.twins == ((twin.id,) if is_twin else ())


@pytest.mark.parametrize("day", [date.min, date(1, 1, 8), date(9999, 12, 24), date.max])
def test_a_day_at_the_end_of_the_calendar_has_its_twins_too(stage: Stage, day: date) -> None:
    twin = billed(stage, "A-1", 100, transaction_date=day)

    assert situation(stage, days=8, transaction_date=day).twins == (twin.id,)


@pytest.mark.parametrize(
    "other,is_twin",
    [
        ({"amount": 101}, False),
        ({"counterparty_id": None}, True),
        ({"counterparty_name": None}, True),
        ({"counterparty_id": None, "counterparty_name": None}, False),
        ({"counterparty_id": "C-2", "counterparty_name": "別の会社"}, False),
        ({"transaction_date": None}, False),
    ],
)
def test_a_twin_has_the_same_amount_and_the_same_customer_by_id_or_name(
    stage: Stage, other: dict[str, Any], *, is_twin: bool
) -> None:
    billed(stage, "A-1", 100)

    assert situation(stage, **other).facts.duplicate is is_twin


def test_the_same_document_is_a_duplicate_whatever_else_differs(stage: Stage) -> None:
    same = stage.propose("A-1", 7, counterparty_id="C-2", counterparty_name="別の会社")
    forge(stage, "UPDATE action SET kind = 'document', file_sha256 = ? WHERE id = ?", DOCUMENT, same.id)

    found, other = situation(stage, file=DOCUMENT), situation(stage, file="e" * 64)

    assert (found.twins, found.facts.duplicate) == ((same.id,), True)
    assert (other.twins, other.facts.duplicate) == ((), False)


def test_a_customer_without_an_id_is_not_first_and_a_bill_without_destination_goes_nowhere_new(stage: Stage) -> None:
    facts = situation(stage, counterparty_id=None, destination=None, due_date=None).facts

    assert (facts.first_with_customer, facts.new_destination, facts.changed_destination) == (False, False, False)
    assert facts.due_days is None


def test_the_time_is_that_of_japan_and_due_days_count_from_its_day(stage: Stage) -> None:
    stage.clock.at = datetime(2026, 11, 21, 15, 1, tzinfo=UTC)

    facts = situation(stage).facts

    assert (facts.time, facts.weekday, facts.due_days) == ("00:01", "sun", 39)


def test_a_stored_action_is_judged_as_it_is_stored_and_is_no_twin_of_its_own(stage: Stage) -> None:
    action, other = billed(stage, "A-1", 100), billed(stage, "A-2", 20, transaction_date=date(2026, 1, 1))
    forge(stage, "UPDATE action SET kind = 'document', file_sha256 = ?", DOCUMENT)
    stored = stage.find(action.id)

    with stage.store.read() as tx:
        again = gather_again(tx, stored, CONNECTION, stage.operation, now=stage.clock.now(), duplicate_days=30)

    seen = situation(stage, file=DOCUMENT).facts
    assert again == Situation(seen, (other.id,))
    assert (again.facts.requester, again.facts.amount) == ("suzuki", 100)


@pytest.mark.parametrize("day", [date.min, date(1, 1, 15), date(9999, 12, 20), date.max])
def test_a_day_at_the_end_of_the_calendar_is_judged_like_any_other(stage: Stage, day: date) -> None:
    assert situation(stage, transaction_date=day).facts.duplicate is False
