"""The life of an action under Hypothesis: any sequence of acts, answers, look-ups and hours, shrunk when one fails."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from simulation.acts import CAST
from simulation.bugs import BUGS
from simulation.house import House, Rooms
from simulation.providers import CONNECTIONS, Fate
from simulation.run import workshop
from simulation.town import TROUBLES, Town

EXAMPLES = int(os.environ.get("SEIKYU_EXAMPLES", "20"))
STEPS = 40
ROWS = {row.name: row for row in CAST}
FATES = st.builds(
    Fate,
    before=st.sampled_from(("sends", "sends", "login", "no route", "broken")),
    does=st.sampled_from(("books", "refuses", "drops", "mangles")),
    says=st.sampled_from(("answers", "cuts", "5xx", "garbage")),
    pause_s=st.sampled_from((0, 95)),
    transit_s=st.sampled_from((0, 5, 61, 600)),
)


class Life(RuleBasedStateMachine):
    """A town in which nothing happens by itself; the oracle is the model it is held against."""

    works: tuple[House, Path]
    rooms = Rooms()
    ended = 0
    """Towns that were held against the oracle to their end."""

    @initialize(seed=st.integers(0, 2**16))
    def opens(self, seed: int) -> None:
        self.town = Town(seed, *self.works, rooms=self.rooms, troubles=frozenset())
        self.town.having = frozenset(TROUBLES) - {"store", "deaths", "stalls"}

    @rule(name=st.sampled_from(sorted(ROWS)))
    def somebody_acts(self, name: str) -> None:
        self.town.loop.run_until_complete(self.town.attempt(ROWS[name].act))

    @rule(name=st.sampled_from(("propose", "approve", "sweep")))
    def work_goes_on(self, name: str) -> None:
        self.somebody_acts(name)

    @rule(name=st.sampled_from(sorted(ROWS)))
    def somebody_begins(self, name: str) -> None:
        self.town.act(name, ROWS[name].act)

    @rule(connection=st.sampled_from(sorted(CONNECTIONS)), fate=FATES)
    def the_next_request_is_met(self, connection: str, fate: Fate) -> None:
        self.town.providers[connection].next_fates.append(fate)

    @rule(connection=st.sampled_from(sorted(CONNECTIONS)), view=st.sampled_from(("whole", "down", "broken")))
    def the_next_look_up_sees(self, connection: str, view: str) -> None:
        self.town.providers[connection].next_views.append(view)

    @rule(seconds=st.sampled_from((1, 5, 60, 95, 700)))
    def time_passes(self, seconds: int) -> None:
        self.town.loop.run_until_complete(asyncio.sleep(seconds))

    @precondition(lambda self: hasattr(self, "town"))
    @invariant()
    def nothing_is_done_twice_and_nothing_is_a_lie(self) -> None:
        assert self.town.oracle.faults == []

    def teardown(self) -> None:
        if hasattr(self, "town"):
            self.town.steps = 0
            for provider in self.town.providers.values():
                provider.next_fates.clear()
                provider.next_views.clear()
            assert self.town.play().faults == ()
            type(self).ended += 1


@pytest.fixture(scope="module")
def works() -> Generator[tuple[House, Path]]:
    with workshop() as made:
        yield made


def live(works: tuple[House, Path], rooms: Rooms, *phases: Phase) -> int:
    """How many towns ended well; the first that does not is shrunk and raised."""

    class Here(Life):
        pass

    Here.works, Here.rooms = works, rooms
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            phases=phases or tuple(Phase),
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
        ),
    )
    return Here.ended


def test_no_sequence_of_acts_makes_the_gate_act_twice_or_lie(works: tuple[House, Path]) -> None:
    assert live(works, Rooms()) >= EXAMPLES


def test_a_planted_fault_is_found_by_a_sequence_of_acts(works: tuple[House, Path]) -> None:
    with pytest.raises(AssertionError, match=r"was approved with \d of"):
        live(works, BUGS["expiry approves"].rooms, Phase.generate)
