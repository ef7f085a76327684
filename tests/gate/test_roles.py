"""Rules that ask for votes of operators who hold a role."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from gate.stage import Stage, make_stage
from seikyu.errors import VoteRefused
from seikyu.gate import operators
from seikyu.gate.actions import Action, State
from seikyu.gate.coverage import untried
from seikyu.gate.keys import Key
from seikyu.gate.policy import Policy, parse_policy
from seikyu.spec import Seat

HEAD = 'schema = 1\nversion = "test"\noperations = ["mfkessai.create_transaction"]\nroles = ["accounting", "manager"]\n'
ACCOUNTING = '[[ask]]\nid = "books"\nwhy = "books"\namount_over = 100\nrole = "accounting"\n'
MANAGER = '[[ask]]\nid = "large"\nwhy = "large"\namount_over = 1000\nrole = "manager"\n'
DISTINCT = MANAGER + "distinct = true\n"
THREE = '[[ask]]\nid = "huge"\nwhy = "huge"\namount_over = 9000\napprovers = 3\n'


@pytest.fixture(params=[""])
def policy(request: pytest.FixtureRequest) -> str:
    return HEAD + str(request.param)


@pytest.fixture
def office(tmp_path: Path, policy: str) -> Generator[tuple[Stage, dict[str, Key]]]:
    stage = make_stage(tmp_path / "home", policy)
    keys = {"tanaka": stage.enrol("tanaka")}
    for name, roles in {"bo": ["accounting"], "ka": ["manager"], "bu": ["accounting", "manager"], "no": []}.items():
        keys[name] = stage.enrol(name, keys["tanaka"])
        operators.grant(stage.store, stage.clock, name, roles=roles, ceiling=None, by=keys["tanaka"])
    yield stage, keys
    stage.store.close()
    stage.presence.leave()


def approved_by(office: tuple[Stage, dict[str, Key]], action: Action, *names: str) -> list[str]:
    """What is missing after each vote, in English."""
    stage, keys = office
    missing: list[str] = []
    for name in names:
        stage.approve(action, keys[name])
        missing.append(stage.cards.card(action.id).missing.en)
    return missing


@pytest.mark.parametrize("policy", [ACCOUNTING], indirect=True)
def test_a_role_is_filled_only_by_somebody_who_holds_it(office: tuple[Stage, dict[str, Key]]) -> None:
    action = office[0].propose("A-1", 500)

    missing = approved_by(office, action, "no", "ka", "bo")

    assert missing == ["1 accounting", "1 accounting", ""]
    assert office[0].find(action.id).state is State.APPROVED


@pytest.mark.parametrize("policy", [ACCOUNTING + MANAGER], indirect=True)
def test_each_role_must_be_satisfied_and_one_person_may_hold_both(office: tuple[Stage, dict[str, Key]]) -> None:
    by_two, by_one = office[0].propose("A-1", 5000), office[0].propose("A-2", 5001, counterparty_id="C-2")

    assert approved_by(office, by_two, "bo", "ka") == ["1 manager", ""]
    assert approved_by(office, by_one, "bu") == [""]
    assert by_one.approvers == 1


@pytest.mark.parametrize("policy", [ACCOUNTING + DISTINCT], indirect=True)
def test_distinct_seats_want_a_person_each_whatever_order_they_come_in(office: tuple[Stage, dict[str, Key]]) -> None:
    action = office[0].propose("A-1", 5000)

    missing = approved_by(office, action, "bu", "no", "bo")

    assert action.decision.seats == (Seat("accounting", 1), Seat("manager", 1))
    assert (action.approvers, action.decision.is_distinct) == (2, True)
    assert missing == ["1 manager", "1 manager", ""], "bu moves to the manager's seat when bo takes accounting"


@pytest.mark.parametrize("policy", [ACCOUNTING + MANAGER + THREE], indirect=True)
def test_the_total_is_the_most_that_any_rule_asks_for(office: tuple[Stage, dict[str, Key]]) -> None:
    action = office[0].propose("A-1", 9001)

    missing = approved_by(office, action, "bu", "no", "bo")

    assert missing == ["2 operators", "1 operator", ""]


@pytest.mark.parametrize("policy", [ACCOUNTING], indirect=True)
async def test_a_role_taken_away_before_the_send_voids_the_vote(office: tuple[Stage, dict[str, Key]]) -> None:
    stage, keys = office
    action = stage.approve(stage.propose("A-1", 500), keys["bo"])
    operators.grant(stage.store, stage.clock, "bo", roles=[], ceiling=None, by=keys["tanaka"])

    after = await stage.executor.execute(action.id)

    assert (after.state, stage.provider.sends) == (State.AWAITING, 0)
    assert approved_by(office, after, "bu") == [""]
    assert (await stage.executor.execute(action.id)).state is State.SUCCEEDED


@pytest.mark.parametrize("policy", [ACCOUNTING], indirect=True)
async def test_a_policy_that_asks_for_a_role_after_the_vote_sends_nothing(
    office: tuple[Stage, dict[str, Key]], policy: str
) -> None:
    stage, keys = office
    path = stage.settings.policy_file
    path.write_text(policy.replace('role = "accounting"\n', ""), encoding="utf-8")
    action = stage.approve(stage.propose("A-1", 500), keys["no"])
    path.write_text(policy, encoding="utf-8")

    after = await stage.executor.execute(action.id)

    assert (after.state, after.decision.seats, stage.provider.sends) == (State.AWAITING, (Seat("accounting", 1),), 0)


@pytest.mark.parametrize("policy", [ACCOUNTING], indirect=True)
def test_a_role_does_not_let_a_requester_decide_on_their_own_request(office: tuple[Stage, dict[str, Key]]) -> None:
    stage, keys = office
    action = stage.propose("A-1", 500, requester="ＢＯ")

    with pytest.raises(VoteRefused, match="own request"):
        stage.approve(action, keys["bo"])


def test_examples_name_roles_and_check_misses_a_role_no_example_names() -> None:
    given = 'given = { operation = "mfkessai.create_transaction", provider = "mfkessai", amount = 1001 }\n'
    example = f'[[example]]\nname = "both"\n{given}expect = "ask"\napprovers = 2\n'
    roles = "roles = { accounting = 1, manager = 1 }\n"

    without = parse_policy(HEAD + ACCOUNTING + DISTINCT + example, "policy.toml")
    named = parse_policy(HEAD + ACCOUNTING + DISTINCT + example + roles, "policy.toml")

    def gaps(of: Policy) -> list[str]:
        return [gap.text.en for gap in untried(of.file) if "roles" in gap.text.en]

    assert gaps(without) == [
        "Rule books has no example that hits it and names accounting in its roles.",
        "Rule large has no example that hits it and names manager in its roles.",
    ]
    assert gaps(named) == []
