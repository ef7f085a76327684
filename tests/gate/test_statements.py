"""What one operator may say about another, and who may decide once it is said."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gate.forgery import forge
from gate.stage import CHEAP, PASSPHRASE, Stage
from seikyu.errors import StoreDamaged, Text, VoteRefused
from seikyu.gate import mandates, operators
from seikyu.gate.canonical import canonical
from seikyu.gate.keys import Key
from seikyu.gate.mandates import Delegation, Operator, Saying, Statement, after, believed, folded, sound
from seikyu.gate.witness import mandate_hash, operator_hash

AT = "2026-11-21T03:00:00.000000Z"
TODAY, YESTERDAY, TOMORROW = (date(2026, 11, day) for day in (21, 20, 22))
MILLION = 1_000_000


def operator(name: str, ceiling: int | None = None, *roles: str, lent: tuple[Delegation, ...] = ()) -> Operator:
    return Operator(name, "00", AT, "tanaka", is_active=True, roles=frozenset(roles), ceiling=ceiling, lent=lent)


def loan(lender: str, to: str, until: date = TODAY, ceiling: int | None = None) -> Delegation:
    return Delegation(lender, to, until, ceiling, AT)


TANAKA, ITO = operator("tanaka"), operator("ito", 1, "tax")
SATO = operator("sato", MILLION, "accounting", lent=(loan("sato", "ito"), loan("sato", "tanaka")))
GONE = replace(operator("kato"), is_active=False)
OFFICE = {one.name: one for one in (TANAKA, SATO, ITO, GONE)}


def said(says: Saying, about: str, by: str, **more: Any) -> Statement:
    return Statement(mandate=9, prev="", says=says, operator=about, by=by, at=AT, **more)


def test_the_first_operator_vouches_for_themselves_and_holds_what_they_say() -> None:
    statement = said("enrol", "tanaka", "tanaka", public_key="aa", roles=("manager",), ceiling=5)

    assert after({}, statement) == {
        "tanaka": Operator("tanaka", "aa", AT, "tanaka", is_active=True, roles=frozenset({"manager"}), ceiling=5)
    }


@pytest.mark.parametrize(
    "statement,changed",
    [
        (
            said("enrol", "abe", "sato", public_key="aa", roles=("accounting",), ceiling=MILLION),
            Operator("abe", "aa", AT, "sato", is_active=True, roles=frozenset({"accounting"}), ceiling=MILLION),
        ),
        (
            said("enrol", "abe", "tanaka", public_key="aa", roles=("tax",)),
            Operator("abe", "aa", AT, "tanaka", is_active=True, roles=frozenset({"tax"})),
        ),
        (said("grant", "sato", "tanaka", roles=("tax",)), replace(SATO, roles=frozenset({"tax"}), ceiling=None)),
        (
            said("grant", "ito", "sato", roles=("accounting", "tax"), ceiling=MILLION),
            replace(ITO, roles=frozenset({"accounting", "tax"}), ceiling=MILLION),
        ),
        (said("remove", "sato", "ito"), replace(SATO, is_active=False, lent=())),
        (
            said("delegate", "ito", "tanaka", until=TODAY),
            replace(TANAKA, lent=(loan("tanaka", "ito"),)),
        ),
        (
            said("delegate", "ito", "sato", until=TOMORROW, ceiling=MILLION),
            replace(SATO, lent=(*SATO.lent, loan("sato", "ito", TOMORROW, MILLION))),
        ),
        (said("undelegate", "ito", "sato"), replace(SATO, lent=(loan("sato", "tanaka"),))),
    ],
)
def test_a_statement_changes_the_one_it_is_about_or_who_lends_and_nobody_else(
    statement: Statement, changed: Operator
) -> None:
    assert after(OFFICE, statement) == {**OFFICE, changed.name: changed}


NO_RIGHT = "That operator has no right to do so."


@pytest.mark.parametrize(
    "statement,why",
    [
        (said("enrol", "ＩＴＯ", "tanaka", public_key="aa"), "ＩＴＯ is enrolled already."),
        (said("enrol", "abe", "kato", public_key="aa"), "From the second operator on, an enrolled operator has to"),
        (said("enrol", "abe", "abe", public_key="aa"), "From the second operator on, an enrolled operator has to"),
        (said("enrol", "abe", "tanaka"), NO_RIGHT),
        (said("enrol", "abe", "tanaka", public_key="aa", until=TODAY), NO_RIGHT),
        (said("enrol", "abe", "sato", public_key="aa"), "That is above the ceiling of sato, 1,000,000円."),
        (said("enrol", "abe", "ito", public_key="aa", ceiling=2), "That is above the ceiling of ito, 1円."),
        (said("enrol", "abe", "ito", public_key="aa", ceiling=1, roles=("accounting",)), "hold the role accounting"),
        (said("grant", "abe", "tanaka"), "There is no operator abe."),
        (said("grant", "kato", "tanaka"), "There is no operator kato."),
        (said("grant", "sato", "abe"), NO_RIGHT),
        (said("grant", "sato", "kato"), NO_RIGHT),
        (said("grant", "sato", "sato"), "Nobody changes their own roles or ceiling."),
        (said("grant", "ito", "sato", roles=("manager", "law", "tax"), ceiling=1), "does not hold the role law"),
        (said("delegate", "ito", "tanaka"), "The last day of a delegation cannot be in the past."),
        (said("delegate", "ito", "tanaka", until=YESTERDAY), "The last day of a delegation cannot be in the past."),
        (said("delegate", "sato", "sato", until=TODAY), "Nobody delegates to themselves."),
        (said("delegate", "ito", "sato", until=TODAY), "That is above the ceiling of sato, 1,000,000円."),
        (said("undelegate", "sato", "ito"), "ito has lent nothing to sato."),
    ],
)
def test_nobody_says_more_than_they_may(statement: Statement, why: str) -> None:
    with pytest.raises(VoteRefused) as told:
        after(OFFICE, statement)

    assert why in told.value.what.en
    assert told.value.written == Text("何も変更されていません。", "Nothing was changed.")


def test_the_first_operator_is_enrolled_by_nobody_else() -> None:
    with pytest.raises(VoteRefused, match="no right"):
        after({}, said("enrol", "tanaka", "sato", public_key="aa"))


def test_a_ceiling_of_nothing_is_said_as_nothing() -> None:
    office = {"tanaka": TANAKA, "sato": operator("sato", 0)}

    with pytest.raises(VoteRefused, match="above the ceiling of sato, 0円") as told:
        after(office, said("grant", "tanaka", "sato", ceiling=1))

    assert told.value.next_step.en == "Name a ceiling of at most 0円."


def test_the_last_active_operator_stays_and_the_last_but_one_need_not() -> None:
    two = {"tanaka": TANAKA, "sato": SATO, "kato": GONE}
    one = after(two, said("remove", "sato", "tanaka"))

    with pytest.raises(VoteRefused, match="The last operator cannot be removed"):
        after(one, said("remove", "tanaka", "tanaka"))

    assert [name for name, who in one.items() if who.is_active] == ["tanaka"]


def test_what_is_lent_now_is_the_last_delegation_to_each_until_the_end_of_its_day() -> None:
    again = loan("sato", "ito", TOMORROW, 5)
    lender = operator("sato", lent=(loan("sato", "ito"), again, loan("sato", "tanaka"), loan("sato", "abe", YESTERDAY)))

    assert lender.lent_now(TODAY) == [again, loan("sato", "tanaka")]
    assert lender.lent_now(TOMORROW) == [again]


def test_a_delegation_holds_from_the_moment_it_was_given_to_the_end_of_its_day_in_japan() -> None:
    given, midnight = datetime(2026, 11, 21, 3, tzinfo=UTC), datetime(2026, 11, 21, 15, tzinfo=UTC)
    moments = [given - timedelta(seconds=1), given, midnight - timedelta(seconds=1), midnight]

    assert [loan("sato", "ito").covers(at) for at in moments] == [False, True, True, False]


@pytest.mark.parametrize(
    "name",
    [
        "ＴＡＮＡＫＡ",
        "tan\u200baka",
        "tanaka\x00",
        "\u3000ta na\tka",
        "Tanaka",
        "tanaka\u3164",
        "tan\u115faka",
        "tanaka\ufe00",
        "tan\u034faka",
        "tanaka\u2800",
    ],
)
def test_width_case_blanks_and_what_nobody_sees_make_no_other_person(name: str) -> None:
    assert folded(name) == "tanaka"


def rows(stage: Stage, query: str, **parameters: str) -> list[Any]:
    with stage.store.read() as tx:
        return tx.all(query, **parameters)


def test_the_log_repeats_each_statement_beside_what_its_rows_became(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    operators.enrol(
        stage.store, stage.clock, "sato", PASSPHRASE, endorser=first, roles=["b", "a"], ceiling=9, cost=CHEAP
    )
    before = rows(stage, "every_operator")
    operators.grant(stage.store, stage.clock, "sato", roles=["a"], ceiling=None, by=first)
    operators.lend(stage.store, stage.clock, "sato", until=TODAY, ceiling=7, by=first)
    operators.take_back(stage.store, stage.clock, "sato", by=first)
    operators.remove(stage.store, stage.clock, "sato", by=first)

    with stage.store.read() as tx:
        logged = [
            (row["kind"], json.loads(row["record"]))
            for row in tx.connection.execute("SELECT * FROM audit ORDER BY seq")
        ]
    said = rows(stage, "mandates")
    there = {row["name"]: operator_hash(row) for row in before}
    removed = {row["name"]: operator_hash(row) for row in rows(stage, "every_operator")}
    expected: list[tuple[str, str, str, dict[str, Any]]] = [
        ("operator.enrolled", "tanaka", there["tanaka"], {}),
        ("operator.enrolled", "sato", there["sato"], {"roles": ["a", "b"], "ceiling": 9}),
        ("operator.granted", "sato", there["sato"], {"roles": ["a"]}),
        ("operator.delegated", "sato", there["sato"], {"until": "2026-11-21", "ceiling": 7}),
        ("operator.undelegated", "sato", there["sato"], {}),
        ("operator.removed", "sato", removed["sato"], {}),
    ]
    assert logged == [
        (
            kind,
            {
                "name": name, "by": "tanaka", "mandate": row["seq"], "mandate_sha256": mandate_hash(row),
                "row": whole, "roles": [], **shown,
            },
        )
        for row, (kind, name, whole, shown) in zip(said, expected, strict=True)
    ]  # fmt: skip


def test_statements_are_numbered_and_chained_and_each_seal_is_its_signers(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    stage.enrol("sato", first)

    one, two = rows(stage, "mandates")
    keys = {row["name"]: row["public_key"] for row in rows(stage, "every_operator")}
    assert [json.loads(row["statement"]) for row in (one, two)] == [
        {
            "mandate": number, "prev": prev, "says": "enrol", "operator": name, "by": "tanaka", "at": AT,
            "public_key": keys[name], "roles": [], "ceiling": None, "until": None,
        }
        for number, prev, name in ((1, "0" * 64, "tanaka"), (2, mandate_hash(one), "sato"))
    ]  # fmt: skip
    assert [row["seal"] for row in (one, two)] == [first.sign(row["statement"].encode()) for row in (one, two)]


def alarms(stage: Stage, *fault: str) -> int:
    """How many were raised once each of the faults was noticed, in this order."""
    with stage.store.write() as tx:
        for one in fault:
            sound(tx, stage.clock.now(), StoreDamaged(Text("", one)))
    with stage.store.read() as tx:
        return sum(row["kind"] == "operator.alarm" for row in tx.connection.execute("SELECT kind FROM audit"))


def test_the_same_doubt_is_told_again_after_an_hour_and_another_at_once(stage: Stage) -> None:
    raised = [alarms(stage, "one"), alarms(stage, "one"), alarms(stage, "other")]
    for minutes in (59, 1):
        stage.clock.advance(minutes=minutes)
        raised.append(alarms(stage, "other"))

    assert raised == [1, 1, 2, 2, 3]


def chain(stage: Stage) -> tuple[Key, Key]:
    """Tanaka, sato and ito, who is removed at the end."""
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    stage.enrol("ito", first)
    operators.remove(stage.store, stage.clock, "ito", by=first)
    return first, second


COPIED = """
INSERT INTO operator (name, public_key, wrapped_key, enrolled_at, endorsed_by, endorsement, failures)
SELECT 'abe', public_key, wrapped_key, enrolled_at, endorsed_by, endorsement, 0 FROM operator WHERE name = 'sato'
"""
DOES_NOT_HOLD = "What is recorded about operator {} does not hold: {}."


@pytest.mark.parametrize(
    "forgery,told",
    [
        (
            "DELETE FROM mandate WHERE seq = 4",
            DOES_NOT_HOLD.format("ito", "the last statement about them is missing or another"),
        ),
        (
            "UPDATE mandate SET seal = '00' WHERE seq = 2",
            DOES_NOT_HOLD.format("sato", "its seal does not hold"),
        ),
        (
            "UPDATE mandate SET statement = '[]' WHERE seq = 2",
            DOES_NOT_HOLD.format("?", "its seal does not hold"),
        ),
        (
            "UPDATE mandate SET statement = statement || ' ' WHERE seq = 2",
            DOES_NOT_HOLD.format("sato", "it does not follow the one before"),
        ),
        ("DELETE FROM mandate WHERE seq = 2", DOES_NOT_HOLD.format("ito", "it does not follow the one before")),
        ("UPDATE mandate SET seq = 5 WHERE seq = 4", DOES_NOT_HOLD.format("ito", "it does not follow the one before")),
        ("DELETE FROM operator WHERE name = 'sato'", "Operator sato was enrolled without a valid endorsement."),
        (
            COPIED,
            "Operator abe was enrolled without a valid endorsement.",
        ),
        (
            "UPDATE operator SET public_key = '00' WHERE name = 'sato'",
            "Operator sato was enrolled without a valid endorsement.",
        ),
        (
            "UPDATE operator SET enrolled_at = '' WHERE name = 'sato'",
            "Operator sato was enrolled without a valid endorsement.",
        ),
        (
            "UPDATE operator SET endorsed_by = 'ito' WHERE name = 'sato'",
            "Operator sato was enrolled without a valid endorsement.",
        ),
        (
            "UPDATE operator SET endorsement = '00' WHERE name = 'sato'",
            "Operator sato was enrolled without a valid endorsement.",
        ),
        (
            "UPDATE operator SET removed_at = NULL WHERE name = 'ito'",
            DOES_NOT_HOLD.format("ito", "the row and the sealed removal do not agree"),
        ),
        (
            "UPDATE operator SET removed_by = 'sato' WHERE name = 'ito'",
            DOES_NOT_HOLD.format("ito", "the row and the sealed removal do not agree"),
        ),
        (
            "UPDATE operator SET removed_by = 'tanaka' WHERE name = 'sato'",
            DOES_NOT_HOLD.format("sato", "the row and the sealed removal do not agree"),
        ),
    ],
)
def test_a_doubt_says_about_whom_it_is_and_where_to_look(stage: Stage, forgery: str, told: str) -> None:
    chain(stage)
    with stage.store.read() as tx:
        assert not isinstance(believed(tx), StoreDamaged)

    forge(stage, forgery)

    with stage.store.read() as tx:
        doubt = believed(tx)
    assert isinstance(doubt, StoreDamaged)
    assert (doubt.what.en, doubt.next_step.en) == (told, "Run `seikyu audit verify`.")


def test_statements_without_a_log_and_a_log_without_statements_are_doubted(stage: Stage) -> None:
    chain(stage)
    for table in ("mandate", "operator"):
        forge(stage, f"DELETE FROM {table}")  # noqa: S608 - our own names

    with stage.store.read() as tx:
        doubt = believed(tx)
    assert isinstance(doubt, StoreDamaged)
    assert "about operator ito does not hold: the last statement" in doubt.what.en


def test_the_first_statement_in_a_log_that_names_none_is_doubted(stage: Stage) -> None:
    key = Key("tanaka", Ed25519PrivateKey.generate())
    public_key = key.private.public_key().public_bytes_raw().hex()
    first = Statement(
        mandate=1, prev="0" * 64, says="enrol", operator="tanaka", by="tanaka", at=AT, public_key=public_key
    )
    statement = canonical(first.model_dump(mode="json"))
    with stage.store.write() as tx:
        tx.run("add_mandate", seq=1, statement=statement.decode(), seal=key.sign(statement))

        doubt = believed(tx)

    assert isinstance(doubt, StoreDamaged)
    assert doubt.what.en == DOES_NOT_HOLD.format("?", "the last statement about them is missing or another")


def test_everybody_who_was_removed_stays_so_whoever_came_after(stage: Stage) -> None:
    first, _ = chain(stage)
    operators.remove(stage.store, stage.clock, "sato", by=first)
    stage.enrol("abe", first)

    with stage.store.read() as tx:
        found = {one.name: one.is_active for one in operators.list_operators(tx)}
    assert found == {"tanaka": True, "sato": False, "ito": False, "abe": True}


@pytest.mark.parametrize("field,value", [("roles", ["a b"]), ("roles", ["x" * 31]), ("ceiling", -1)])
def test_a_role_or_a_ceiling_there_cannot_be_is_refused_and_nothing_is_written(
    stage: Stage, field: str, value: Any
) -> None:
    first = stage.enrol("tanaka")
    stage.enrol("sato", first)
    wanted: dict[str, Any] = {"roles": (), "ceiling": None, field: value}

    with pytest.raises(VoteRefused, match="A role's name or the ceiling is not one there can be"):
        operators.grant(stage.store, stage.clock, "sato", by=first, **wanted)

    assert len(rows(stage, "mandates")) == 2


def test_a_statement_somebody_signed_with_another_key_does_not_hold(stage: Stage) -> None:
    _, second = chain(stage)
    last = rows(stage, "mandates")[-1]
    more = Statement(mandate=5, prev=mandate_hash(last), says="grant", operator="sato", by="tanaka", at=AT, ceiling=5)
    statement = canonical(more.model_dump(mode="json"))
    with stage.store.write() as tx:
        tx.run("add_mandate", seq=5, statement=statement.decode(), seal=second.sign(statement))

    with stage.store.read() as tx, pytest.raises(StoreDamaged, match=r"about operator sato.*its seal"):
        mandates.everyone(tx)
