"""Where an invoice goes: a destination nobody was billed at yet, and a customer's that is not the last one."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.stage import CONNECTION, Stage, make_stage
from seikyu.gate.actions import Action, State
from seikyu.gate.policy import parse_policy, parse_question
from seikyu.spec import RuleTrace

POLICY = """
schema = 1
version = "test"
operations = ["mfkessai.create_transaction"]
[[ask]]
id = "new"
why = "new"
new_destination = true
[[ask]]
id = "changed"
why = "changed"
changed_destination = true
approvers = 2
[[allow]]
id = "any"
why = "any"
provider = "mfkessai"
[[example]]
name = "new"
given = { operation = "mfkessai.create_transaction", provider = "mfkessai", new_destination = true }
expect = "ask"
approvers = 1
[[example]]
name = "changed"
given = { operation = "mfkessai.create_transaction", provider = "mfkessai", changed_destination = true }
expect = "ask"
approvers = 2
[[example]]
name = "known"
given = { operation = "mfkessai.create_transaction", provider = "mfkessai" }
expect = "allow"
"""


@pytest.fixture
def stage(tmp_path: Path) -> Generator[Stage]:
    made = make_stage(tmp_path / "home", POLICY)
    made.enrol("tanaka")
    yield made
    made.store.close()
    made.presence.leave()


def hits(action: Action) -> set[str]:
    return {trace.rule for trace in action.decision.trace if trace.is_hit} & {"new", "changed"}


async def billed(stage: Stage, number: str, **particulars: Any) -> Action:
    """A bill that went out, whatever it took."""
    action = stage.propose(number, 1, **particulars)
    with stage.store.write() as tx:
        tx.connection.execute("UPDATE action SET state = 'succeeded', updated_at = ? WHERE id = ?", (number, action.id))
    return action


async def test_a_destination_is_new_until_something_succeeded_there(stage: Stage) -> None:
    first = await billed(stage, "A-1", destination="D-1")
    waiting = stage.propose("A-2", 1, destination="D-2")

    again = stage.propose("A-3", 1, destination="D-1")
    still_new = stage.propose("A-4", 1, destination="D-2", counterparty_id="C-9", counterparty_name="別の会社")

    assert (hits(first), hits(again), hits(still_new)) == ({"new"}, set(), {"new"})
    assert waiting.state is State.AWAITING


async def test_a_destination_is_known_on_its_own_connection_only(stage: Stage) -> None:
    await billed(stage, "A-1", destination="D-1")
    proposal = replace(stage.proposal("A-2", 1, destination="D-1"), connection=replace(CONNECTION, name="mfk-other"))

    assert hits(stage.desk.propose(proposal)) == {"new"}


async def test_a_customers_destination_is_changed_when_the_last_one_went_elsewhere(stage: Stage) -> None:
    await billed(stage, "A-1", destination="D-1")
    await billed(stage, "A-2", destination="D-2")

    back = stage.propose("A-3", 1, destination="D-1")
    same = stage.propose("A-4", 2, destination="D-2")
    moved = stage.propose("A-5", 3, destination="D-3")

    assert (hits(back), hits(same), hits(moved)) == ({"changed"}, set(), {"new", "changed"})


async def test_a_customer_is_the_same_by_id_or_by_name(stage: Stage) -> None:
    await billed(stage, "A-1", destination="D-1")
    await billed(stage, "B-1", destination="D-2", counterparty_id="C-2", counterparty_name="別の会社")

    renamed = stage.propose("A-2", 2, destination="D-2", counterparty_name="改名商事")
    doubled = stage.propose("A-3", 3, destination="D-2", counterparty_id="C-3", counterparty_name="（株）青葉 商事")
    other = stage.propose("A-4", 4, destination="D-1", counterparty_id="C-4", counterparty_name="四番目")

    assert (hits(renamed), hits(doubled), hits(other)) == ({"changed"}, {"changed"}, set())


async def test_what_goes_nowhere_is_neither_new_nor_changed(stage: Stage) -> None:
    await billed(stage, "A-1", destination="D-1")

    assert hits(stage.propose("A-2", 1)) == set()


async def test_a_destination_that_changed_before_the_send_is_asked_about(stage: Stage) -> None:
    """Both are known when they are proposed; by the time the second is sent, the customer has moved."""
    await billed(stage, "A-1", destination="D-1")
    await billed(stage, "A-2", destination="D-2")
    to_the_last = stage.propose("A-3", 5, destination="D-2")
    await billed(stage, "A-4", destination="D-3")

    after = await stage.executor.execute(to_the_last.id)

    assert (to_the_last.state, after.state, stage.provider.sends) == (State.APPROVED, State.AWAITING, 0)


def test_the_destination_is_a_column_the_log_bears_witness_to(stage: Stage) -> None:
    action = stage.propose("A-1", 1, destination="D-1")

    with stage.store.read() as tx:
        row = tx.one("action", id=action.id)

    assert row is not None
    assert (row["destination"], action.particulars.destination) == ("D-1", "D-1")


def test_a_question_may_name_the_destination() -> None:
    source = 'given = { operation = "mfkessai.create_transaction", provider = "mfkessai", new_destination = true }'

    verdict = parse_policy(POLICY, "policy.toml").decide(parse_question(source, "question.toml"))

    assert RuleTrace("new", "ask", is_hit=True, why="new") in verdict.trace
