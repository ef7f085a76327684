"""What a vote rests on: whose right it is, up to what amount, and which seats are still free."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from seikyu.errors import Text
from seikyu.gate.mandates import Delegation, Operator
from seikyu.gate.rights import Right, right_of
from seikyu.gate.seats import Lack, lacking
from seikyu.spec import Seat, Verdict

EIGHT, NINE, TEN = (datetime(2026, 11, 21, hour, tzinfo=UTC) for hour in (8, 9, 10))
TODAY, YESTERDAY, LAST = date(2026, 11, 21), date(2026, 11, 20), date(2026, 12, 1)
BOOKS, BOSS = frozenset({"accounting"}), frozenset({"manager"})


def operator(name: str, roles: frozenset[str], ceiling: int | None, *lent: Delegation) -> Operator:
    return Operator(name, "00", "", "tanaka", is_active=True, roles=roles, ceiling=ceiling, lent=lent)


def loan(at: datetime, ceiling: int | None, *, to: str = "sato", until: date = LAST) -> Delegation:
    return Delegation("tanaka", to, until, ceiling, at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def lent_right(*lent: Delegation, own: int | None = None, at: datetime = NINE) -> Right | None:
    """What sato, with accounting up to 5 yen, may do for tanaka, a manager."""
    people = {"tanaka": operator("tanaka", BOSS, own, *lent), "sato": operator("sato", BOOKS, 5)}
    return right_of(people, "sato", "tanaka", at)


def test_an_operators_own_right_is_their_own_roles_and_ceiling_and_a_stranger_has_none() -> None:
    people = {"sato": operator("sato", BOOKS, 5)}

    assert right_of(people, "sato", None, NINE) == Right("sato", BOOKS, 5)
    assert right_of(people, "mallory", None, NINE) is None
    assert right_of(people, "sato", "mallory", NINE) is None
    assert right_of({"tanaka": operator("tanaka", BOSS, None, loan(EIGHT, 7))}, "sato", "tanaka", NINE) is None


@pytest.mark.parametrize(
    "own,given,ceiling",
    [
        (None, [loan(EIGHT, None)], None),
        (30, [loan(EIGHT, None)], 30),
        (None, [loan(EIGHT, 20)], 20),
        (30, [loan(EIGHT, 20)], 20),
        (10, [loan(EIGHT, 20)], 10),
        (None, [loan(EIGHT, 20), loan(TEN, 10)], 10),
        (None, [loan(EIGHT, 10), loan(TEN, 20)], 10),
        (None, [loan(EIGHT, 10), loan(EIGHT, 20)], 20),
        (None, [loan(EIGHT, 30), loan(TEN, 10), loan(TEN, 20)], 20),
        (None, [loan(NINE, 20)], 20),
        (None, [loan(EIGHT, 20), loan(EIGHT, 1, to="ito")], 20),
    ],
)
def test_a_lent_right_is_the_lenders_up_to_the_lowest_of_theirs_then_and_now(
    own: int | None, given: list[Delegation], ceiling: int | None
) -> None:
    assert lent_right(*given, own=own) == Right("sato", BOSS, ceiling, "tanaka", LAST)


@pytest.mark.parametrize(
    "given",
    [
        [],
        [loan(TEN, None)],
        [loan(EIGHT, None, to="ito")],
        [loan(EIGHT, None, until=YESTERDAY)],
        [loan(EIGHT, None), loan(EIGHT, None, until=YESTERDAY)],
    ],
)
def test_nothing_is_lent_before_it_was_given_after_its_last_day_or_to_somebody_else(given: list[Delegation]) -> None:
    assert lent_right(*given) is None


def test_the_newest_loan_in_force_at_the_vote_says_until_when() -> None:
    given = [loan(EIGHT, None, until=TODAY), loan(NINE, None, until=LAST), loan(TEN, None, until=TODAY)]

    assert lent_right(*given) == Right("sato", BOSS, None, "tanaka", LAST)


def test_a_lent_right_has_two_people_behind_it_however_they_are_spelt() -> None:
    assert Right("Ｓａｔｏ", acting_for="TANAKA").people == {"sato", "tanaka"}
    assert Right("sato").people == {"sato"}


@pytest.mark.parametrize(
    "ceiling,amount,is_covered",
    [(None, None, True), (None, 10**15, True), (10, 10, True), (10, 11, False), (10, None, False), (0, 0, True)],
)
def test_a_ceiling_covers_what_is_known_to_be_within_it(
    ceiling: int | None, amount: int | None, *, is_covered: bool
) -> None:
    assert Right("sato", ceiling=ceiling).covers(amount) is is_covered


def verdict(approvers: int, *seats: Seat, is_distinct: bool = False) -> Verdict:
    return Verdict("ask", approvers, (), "", seats, is_distinct)


ONE_EACH = (Seat("accounting", 1), Seat("manager", 1))
NOBODY, BOOKKEEPER, MANAGER, BOTH = Right("no"), Right("bo", BOOKS), Right("ka", BOSS), Right("bu", BOOKS | BOSS)


@pytest.mark.parametrize(
    "asked,votes,lack",
    [
        (verdict(2), [], Lack((), 2, 2)),
        (verdict(2), [NOBODY], Lack((), 1, 1)),
        (verdict(2), [NOBODY, BOTH, MANAGER], Lack((), 0, 0)),
        (verdict(1, *ONE_EACH), [], Lack(ONE_EACH, 0, 1)),
        (verdict(1, *ONE_EACH), [BOTH], Lack((), 0, 0)),
        (verdict(1, *ONE_EACH), [BOOKKEEPER], Lack((Seat("manager", 1),), 0, 1)),
        (verdict(3, Seat("manager", 2)), [NOBODY], Lack((Seat("manager", 2),), 0, 2)),
        (verdict(3, Seat("manager", 2)), [MANAGER], Lack((Seat("manager", 1),), 1, 2)),
        (verdict(4, Seat("manager", 2)), [], Lack((Seat("manager", 2),), 2, 4)),
        (verdict(2, Seat("manager", 2)), [BOOKKEEPER, MANAGER], Lack((Seat("manager", 1),), 0, 1)),
        (verdict(2, *ONE_EACH, is_distinct=True), [], Lack(ONE_EACH, 0, 2)),
        (verdict(2, *ONE_EACH, is_distinct=True), [BOTH], Lack((Seat("manager", 1),), 0, 1)),
        (verdict(2, *ONE_EACH, is_distinct=True), [BOTH, BOOKKEEPER], Lack((), 0, 0)),
        (verdict(2, *ONE_EACH, is_distinct=True), [BOOKKEEPER, BOTH], Lack((), 0, 0)),
        (verdict(2, *ONE_EACH, is_distinct=True), [NOBODY, NOBODY], Lack(ONE_EACH, 0, 2)),
        (verdict(2, *ONE_EACH, is_distinct=True), [BOTH, MANAGER, MANAGER], Lack((), 0, 0)),
        (
            verdict(3, *ONE_EACH, Seat("tax", 1), is_distinct=True),
            [BOTH, Right("ta", frozenset({"accounting", "tax"}))],
            Lack((Seat("tax", 1),), 0, 1),
        ),
        (
            verdict(4, Seat("accounting", 2), Seat("manager", 2), is_distinct=True),
            [BOTH, BOTH, BOOKKEEPER, BOOKKEEPER],
            Lack((), 0, 0),
        ),
        (
            verdict(4, Seat("accounting", 2), Seat("manager", 1), is_distinct=True),
            [BOOKKEEPER, BOOKKEEPER, BOOKKEEPER],
            Lack((Seat("manager", 1),), 0, 1),
        ),
    ],
)
def test_what_is_missing_are_seats_then_anybody_and_the_fewest_people_it_takes(
    asked: Verdict, votes: list[Right], lack: Lack
) -> None:
    assert lacking(asked, votes) == lack


@pytest.mark.parametrize(
    "lack,text",
    [
        (Lack((), 0, 0), Text("", "")),
        (Lack((), 1, 1), Text("操作者 1名", "1 operator")),
        (Lack((), 2, 2), Text("操作者 2名", "2 operators")),
        (Lack(ONE_EACH, 0, 2), Text("accounting 1名、manager 1名", "1 accounting, 1 manager")),
        (Lack((Seat("manager", 2),), 1, 3), Text("manager 2名、ほかに 1名", "2 manager, 1 other operator")),
        (Lack((Seat("manager", 1),), 2, 3), Text("manager 1名、ほかに 2名", "1 manager, 2 other operators")),
    ],
)
def test_what_is_missing_is_said_in_both_languages(lack: Lack, text: Text) -> None:
    assert lack.text == text
