"""Who may decide, as the operators sealed it about each other, and what somebody who owns the database can do to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from gate.stage import Stage
from seikyu.errors import StoreDamaged, VoteRefused
from seikyu.gate import audit, operators
from seikyu.gate.actions import State
from seikyu.gate.canonical import canonical, sha256
from seikyu.gate.keys import Key
from seikyu.gate.mandates import Operator

MILLION = 1_000_000


def people(stage: Stage) -> dict[str, Operator]:
    with stage.store.read() as tx:
        return operators.trusted(tx)


def grant(stage: Stage, name: str, by: Key, *, ceiling: int | None = None, roles: tuple[str, ...] = ()) -> None:
    operators.grant(stage.store, stage.clock, name, roles=roles, ceiling=ceiling, by=by)


def remove(stage: Stage, name: str, by: Key) -> None:
    operators.remove(stage.store, stage.clock, name, by=by)


def lend(stage: Stage, to: str, by: Key) -> None:
    operators.lend(stage.store, stage.clock, to, until=date(2026, 12, 1), ceiling=None, by=by)


def rows(stage: Stage, table: str) -> list[tuple[Any, ...]]:
    raw = sqlite3.connect(stage.settings.database)
    found = raw.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()  # noqa: S608 - our own names
    raw.close()
    return found


def tamper(stage: Stage, *statements: tuple[str, tuple[Any, ...]]) -> None:
    raw = sqlite3.connect(stage.settings.database)
    with raw:
        for statement, values in statements:
            assert raw.execute(statement, values).rowcount > 0
    raw.close()


def test_roles_and_a_ceiling_come_with_the_enrolment_or_later_from_another_operator(stage: Stage) -> None:
    operators.enrol(
        stage.store, stage.clock, "tanaka", "correct horse battery", endorser=None, roles=["manager"], ceiling=None
    )
    first = operators.unlock(stage.store, stage.clock, "tanaka", "correct horse battery")
    stage.enrol("sato", first)
    grant(stage, "sato", first, ceiling=MILLION, roles=("accounting", "manager"))

    held = {name: (sorted(one.roles), one.ceiling) for name, one in people(stage).items()}

    assert held == {"tanaka": (["manager"], None), "sato": (["accounting", "manager"], MILLION)}
    assert audit.verify(stage.store).faults == ()


def test_nobody_changes_their_own_mandate(stage: Stage) -> None:
    first = stage.enrol("tanaka")

    with pytest.raises(VoteRefused, match="Nobody changes their own"):
        grant(stage, "tanaka", first, roles=("manager",))


@pytest.mark.parametrize(
    "more,why",
    [
        ({"ceiling": MILLION + 1}, "above the ceiling of sato, 1,000,000円"),
        ({"ceiling": None}, "above the ceiling of sato"),
        ({"ceiling": 1, "roles": ("manager",)}, "does not hold the role manager"),
    ],
)
def test_an_operator_with_a_ceiling_hands_out_no_more_than_they_hold(
    stage: Stage, more: dict[str, Any], why: str
) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    stage.enrol("ito", first)
    grant(stage, "sato", first, ceiling=MILLION, roles=("accounting",))
    grant(stage, "ito", first, ceiling=1)

    with pytest.raises(VoteRefused, match=why):
        grant(stage, "ito", second, **more)
    with pytest.raises(VoteRefused, match=why):
        operators.enrol(stage.store, stage.clock, "puppet", "correct horse battery", endorser=second, **more)

    grant(stage, "ito", second, ceiling=MILLION, roles=("accounting",))
    assert people(stage)["ito"].ceiling == MILLION


def test_a_removed_operator_vouches_for_nobody_and_stays_removed(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    remove(stage, "sato", first)

    with pytest.raises(VoteRefused, match="has to vouch"):
        stage.enrol("mallory", second)
    with pytest.raises(VoteRefused, match="enrolled already"):
        stage.enrol("ＳＡＴＯ", first)
    with pytest.raises(VoteRefused, match="no operator sato"):
        remove(stage, "sato", first)

    assert list(people(stage)) == ["tanaka"]


Forgery = Callable[[Stage], None]


def raise_a_ceiling(stage: Stage) -> None:
    statement = next(text for _, text, _ in rows(stage, "mandate") if '"says":"grant"' in text)
    raised = statement.replace('"ceiling":5000', '"ceiling":999999')
    tamper(stage, ("UPDATE mandate SET statement = ? WHERE statement = ?", (raised, statement)))


def add_a_role(stage: Stage) -> None:
    statement = next(text for _, text, _ in rows(stage, "mandate") if '"says":"grant"' in text)
    more = statement.replace('"roles":[]', '"roles":["manager"]')
    tamper(stage, ("UPDATE mandate SET statement = ? WHERE statement = ?", (more, statement)))


def drop_the_last_statement(stage: Stage) -> None:
    tamper(stage, ("DELETE FROM mandate WHERE seq = (SELECT max(seq) FROM mandate)", ()))


def drop_a_removal(stage: Stage) -> None:
    drop_the_last_statement(stage)
    tamper(stage, ("UPDATE operator SET removed_at = NULL, removed_by = NULL WHERE name = 'ito'", ()))


def undo_a_removal(stage: Stage) -> None:
    tamper(stage, ("UPDATE operator SET removed_at = NULL, removed_by = NULL WHERE name = 'ito'", ()))


def forge_a_removal(stage: Stage) -> None:
    tamper(stage, ("UPDATE operator SET removed_at = '2026-11-21', removed_by = 'tanaka' WHERE name = 'sato'", ()))


def replay_an_old_grant(stage: Stage) -> None:
    """The first, generous grant, copied behind the later, lower one as it was sealed."""
    _, statement, seal = next(row for row in rows(stage, "mandate") if '"ceiling":5000' in row[1])
    last = rows(stage, "mandate")[-1][0]
    tamper(stage, ("INSERT INTO mandate (seq, statement, seal) VALUES (?, ?, ?)", (last + 1, statement, seal)))


def renumber_an_old_grant(stage: Stage) -> None:
    """… in the place of the later one, with its number."""
    seq, _, _ = next(row for row in rows(stage, "mandate") if '"ceiling":100,' in row[1])
    _, statement, seal = next(row for row in rows(stage, "mandate") if '"ceiling":5000' in row[1])
    tamper(stage, ("UPDATE mandate SET statement = ?, seal = ? WHERE seq = ?", (statement, seal, seq)))


def drop_from_the_middle(stage: Stage) -> None:
    seq, _, _ = next(row for row in rows(stage, "mandate") if '"ceiling":100,' in row[1])
    tamper(
        stage,
        ("DELETE FROM mandate WHERE seq = ?", (seq,)),
        ("UPDATE mandate SET seq = seq - 1 WHERE seq > ?", (seq,)),
    )


def drop_everything(stage: Stage) -> None:
    tamper(stage, ("DELETE FROM mandate", ()), ("DELETE FROM operator", ()))


def swap_a_key(stage: Stage) -> None:
    tamper(stage, ("UPDATE operator SET public_key = ? WHERE name = 'sato'", ("00" * 32,)))


def write_gibberish(stage: Stage) -> None:
    tamper(stage, ("UPDATE mandate SET statement = '{}' WHERE seq = 2", ()))


@pytest.mark.parametrize(
    "forge",
    [
        raise_a_ceiling,
        add_a_role,
        drop_the_last_statement,
        drop_a_removal,
        undo_a_removal,
        forge_a_removal,
        replay_an_old_grant,
        renumber_an_old_grant,
        drop_from_the_middle,
        drop_everything,
        swap_a_key,
        write_gibberish,
    ],
)
def test_whoever_owns_the_database_gives_and_takes_no_right(stage: Stage, forge: Forgery) -> None:
    first = stage.enrol("tanaka")
    stage.enrol("sato", first)
    stage.enrol("ito", first)
    grant(stage, "sato", first, ceiling=5000)
    grant(stage, "sato", first, ceiling=100)
    lend(stage, "sato", first)
    remove(stage, "ito", first)
    action = stage.approve(stage.propose("A-1", 100_000), first)
    assert audit.verify(stage.store).faults == ()

    forge(stage)

    with pytest.raises(StoreDamaged):
        people(stage)
    with pytest.raises(StoreDamaged):
        stage.claims.take(action.id)
    assert (stage.find(action.id).state, stage.provider.sends) == (State.APPROVED, 0)
    assert audit.verify(stage.store).faults != ()


def test_a_removed_operator_with_the_database_in_hand_signs_nothing_more(stage: Stage) -> None:
    """Everything they could write themselves, with their own true seal."""
    first = stage.enrol("tanaka")
    second = stage.enrol("sato", first)
    remove(stage, "sato", first)
    last, statement, _ = rows(stage, "mandate")[-1]
    prev = sha256(canonical({"seq": last, "statement": statement, "seal": rows(stage, "mandate")[-1][2]}))
    forged = canonical(
        {
            "mandate": last + 1, "prev": prev, "says": "remove", "operator": "tanaka", "by": "sato",
            "at": "2026-11-21T03:00:00.000000Z", "public_key": None, "roles": [], "ceiling": None, "until": None,
        }
    )  # fmt: skip
    tamper(stage, ("INSERT INTO mandate VALUES (?, ?, ?)", (last + 1, forged.decode(), second.sign(forged))))

    with pytest.raises(StoreDamaged, match="about operator tanaka does not hold: That operator has no right to do so"):
        people(stage)


def test_a_tampered_mandate_alarms_once_and_again_only_after_an_hour(stage: Stage) -> None:
    first = stage.enrol("tanaka")
    action = stage.approve(stage.propose("A-1", 100_000), first)
    tamper(stage, ("UPDATE mandate SET seal = '00'", ()))

    for minutes in (0, 1, 61):
        stage.clock.advance(minutes=minutes)
        with pytest.raises(StoreDamaged):
            stage.claims.take(action.id)

    kinds = [row[2] for row in rows(stage, "audit")]
    assert kinds.count("operator.alarm") == 2
