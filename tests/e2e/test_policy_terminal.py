"""What operators ask their policy in a terminal."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.terminal import Terminal
from gate.stage import POLICY
from seikyu.errors import Lang
from seikyu.gate.actions import Action
from seikyu.gate.policy import parse_policy
from seikyu.gate.replays import replay
from seikyu.models import moment


def test_every_rule_is_explained_for_an_action_as_it_was_judged_and_as_it_would_be_now(
    terminal: Terminal, tmp_path: Path
) -> None:
    action = terminal.propose(amount=100_000)
    stricter = POLICY.replace("amount_over = 1_000_000", "amount_over = 99_999").replace('"daily"', '"per-day"')
    (tmp_path / "policy.toml").write_text(stricter, encoding="utf-8")

    told = terminal.json("policy", "explain", action.id)
    shown = terminal.run("policy", "explain", action.id).output

    assert (told["then"]["kind"], told["then"]["approvers"]) == ("ask", 1)
    assert (told["now"]["kind"], told["now"]["approvers"]) == ("ask", 2)
    hits = {when: [rule["rule"] for rule in told[when]["rules"] if rule["is_hit"]] for when in told}
    assert hits == {"then": ["no-rule"], "now": ["large"]}
    names = ["known-operation", "too-large", "large", "duplicate", "per-day", "small", "no-rule"]
    assert [rule["rule"] for rule in told["now"]["rules"]] == names
    assert "then: ask, 1 approver(s)" in shown
    assert "now: ask, 2 approver(s)" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["large", "ask", "·", "●", "large"] in lines
    assert ["small", "allow", "·", "·", "small"] in lines
    assert [line[:3] for line in lines if line[-3:] == ["the", "day's", "limit"]] == [
        ["per-day", "ask", "·"],
        ["daily", "ask", "·"],
    ]


@pytest.mark.parametrize(
    "lang,asked,denied",
    [
        (
            "ja",
            ["no-rule", "承認", "●", "●", "どの規則にも当たらない"],
            ["known-operation", "拒否", "·", "·", "方針にない操作"],
        ),
        (
            "en",
            ["no-rule", "ask", "●", "●", "no", "rule", "applies"],
            ["known-operation", "deny", "·", "·", "not", "in", "the", "policy"],
        ),
    ],
)
def test_the_gates_own_rules_are_told_in_the_language_of_the_operator(
    terminal: Terminal, lang: Lang, asked: list[str], denied: list[str]
) -> None:
    action = terminal.propose(amount=100_000)
    terminal.home.settings = replace(terminal.home.settings, lang=lang)

    lines = [line.split() for line in terminal.run("policy", "explain", action.id).output.splitlines()]

    assert (asked in lines, denied in lines) == (True, True)


def test_an_action_whose_account_is_gone_is_explained_as_it_was_judged_and_says_so(terminal: Terminal) -> None:
    action = terminal.propose(amount=100_000)
    terminal.home.settings = replace(terminal.home.settings, connections=())

    done = terminal.run("policy", "explain", action.id)

    assert "then: ask, 1 approver(s)" in done.stdout
    assert "now:" not in done.stdout
    assert "Connection mfk-main or operation mfkessai.cancel_transaction is gone" in " ".join(done.stderr.split())


def test_a_rule_that_moved_to_another_section_is_told_as_two(terminal: Terminal, tmp_path: Path) -> None:
    moving = '[[{section}]]\nid = "moved"\nwhy = "moved"\namount_over = 1\n'
    (tmp_path / "policy.toml").write_text(POLICY + moving.format(section="ask"), encoding="utf-8")
    action = terminal.propose(amount=100_000)
    (tmp_path / "policy.toml").write_text(POLICY + moving.format(section="deny"), encoding="utf-8")

    lines = [line.split() for line in terminal.run("policy", "explain", action.id).output.splitlines()]

    assert ["moved", "ask", "●", "moved"] in lines
    assert ["moved", "deny", "●", "moved"] in lines


def test_check_names_operations_that_are_none_and_rules_about_an_account_of_another_kind(
    terminal: Terminal, tmp_path: Path
) -> None:
    rule = '[[deny]]\nid = "{id}"\nwhy = "{id}"\nconnection = "mfk-main"\n{more}\n'
    rules = [
        rule.format(id="other", more='provider = "freee"'),
        rule.format(id="real", more='environment = "production"'),
        rule.format(id="paper", more='operation = "invox.register_e_storage_document"'),
        rule.format(id="fits", more='provider = "mfkessai"\nenvironment = "sandbox"'),
    ]
    listed = POLICY.replace("operations = [", 'operations = ["mfkessai.cancel", "invox.register_e_storage_document", ')
    (tmp_path / "policy.toml").write_text(listed + "".join(rules), encoding="utf-8")

    done = terminal.run("policy", "check", "--strict")

    assert done.exit_code == 1
    assert [line for line in done.output.splitlines() if "never hits" in line or "no operation" in line] == [
        "Seikyu has no operation mfkessai.cancel.",
        *(f"Rule {name} never hits: connection mfk-main is mfkessai, sandbox." for name in ("other", "real", "paper")),
    ]


def test_a_former_policy_is_compared_though_its_account_is_gone(terminal: Terminal, tmp_path: Path) -> None:
    terminal.propose(amount=100_000)
    gone = '[[deny]]\nid = "gone"\nwhy = "gone"\nconnection = "mfk-gone"\n'
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(POLICY + gone, encoding="utf-8")
    new.write_text(POLICY, encoding="utf-8")

    told = terminal.json("policy", "diff", str(old), str(new))
    refused = terminal.run("policy", "diff", str(new), str(old))

    assert (told["recorded"], told["changed"]) == (1, [])
    assert refused.exit_code == 1
    assert "connection 'mfk-gone' is not in connections.toml" in refused.output


def test_facts_in_a_file_are_explained_without_an_action(terminal: Terminal, tmp_path: Path) -> None:
    asked = tmp_path / "question.toml"
    operation = 'operation = "mfkessai.create_transaction", provider = "mfkessai"'
    asked.write_text(f"given = {{ {operation}, amount = 5_000_001 }}\n", encoding="utf-8")

    told = terminal.json("policy", "explain", str(asked))

    assert told["now"]["kind"] == "deny"
    assert [rule["rule"] for rule in told["now"]["rules"] if rule["is_hit"]] == ["too-large", "large"]


def test_a_question_with_a_misspelt_fact_is_refused_with_its_line(terminal: Terminal, tmp_path: Path) -> None:
    asked = tmp_path / "question.toml"
    operation = 'operation = "mfkessai.create_transaction"'
    asked.write_text(f'given = {{ {operation}, provider = "mfkessai", amout = 1 }}\n', encoding="utf-8")

    refused = terminal.run("policy", "explain", str(asked))

    assert refused.exit_code == 1
    assert "line 1: given.amout: not a word of the policy (did you mean amount?)" in refused.output


def test_a_file_that_is_not_there_is_no_action_either(terminal: Terminal, tmp_path: Path) -> None:
    refused = [terminal.run("policy", "explain", str(path)) for path in (tmp_path / "qestion.toml", tmp_path)]

    assert [one.exit_code for one in refused] == [1, 1]
    assert ["neither an action nor a file" in one.output for one in refused] == [True, True]


def test_check_names_every_side_no_example_tries_and_only_strict_fails(terminal: Terminal, tmp_path: Path) -> None:
    operation = 'operation = "mfkessai.create_transaction", provider = "mfkessai"'
    tried = POLICY + "".join(
        f'[[example]]\nname = "{amount}"\ngiven = {{ {operation}, amount = {amount} }}\nexpect = "{expect}"\n'
        for amount, expect in ((50_000, "allow"), (1_000_000, "ask"), (1_000_001, "ask"), (5_000_001, "deny"))
    )
    (tmp_path / "policy.toml").write_text(tried, encoding="utf-8")

    loose, strict = terminal.run("policy", "check"), terminal.run("policy", "check", "--strict")

    assert (loose.exit_code, strict.exit_code) == (0, 1)
    assert strict.output.splitlines()[1:] == [
        "Rule too-large has no example at the limit amount_over, with amount = 5000000.",
        "Rule duplicate has no example that hits it.",
        "Rule daily has no example that hits it.",
        "Rule daily has no example at the limit daily_total_over, with daily_total = 300000.",
        "Rule daily has no example at the limit daily_total_over, with daily_total = 300001.",
        "Rule small has no example at the limit amount_at_most, with amount = 50001.",
        "Rule large has no example that hits it and says approvers = 2.",
    ]


def test_an_example_of_another_operation_tries_no_limit(terminal: Terminal, tmp_path: Path) -> None:
    policy = """
schema = 1
version = "test"
operations = ["mfkessai.create_transaction", "mfkessai.cancel_transaction"]
[[ask]]
id = "large"
why = "large"
operation = "mfkessai.create_transaction"
amount_over = 10
[[example]]
name = "over"
given = { operation = "mfkessai.create_transaction", provider = "mfkessai", amount = 11 }
expect = "ask"
[[example]]
name = "another"
given = { operation = "mfkessai.cancel_transaction", provider = "mfkessai", amount = 10 }
expect = "ask"
"""
    (tmp_path / "policy.toml").write_text(policy, encoding="utf-8")

    strict = terminal.run("policy", "check", "--strict")

    assert "Rule large has no example at the limit amount_over, with amount = 10." in strict.output


def test_the_policy_that_comes_with_seikyu_is_tried_on_every_side(terminal: Terminal) -> None:
    shipped = Path(__file__).parents[2] / "config" / "policy.toml"

    assert terminal.run("policy", "check", "--strict", str(shipped)).exit_code == 0


def changed(terminal: Terminal, folder: Path, old: str, new: str) -> Any:
    (folder / "old.toml").write_text(old, encoding="utf-8")
    (folder / "new.toml").write_text(new, encoding="utf-8")
    return terminal.json("policy", "diff", str(folder / "old.toml"), str(folder / "new.toml"))


def test_a_stricter_limit_changes_the_recorded_decisions_above_it_and_no_other(
    terminal: Terminal, tmp_path: Path
) -> None:
    small, large = terminal.propose("AAAA-0001", 100_000), terminal.propose("AAAA-0002", 100_001)

    told = changed(terminal, tmp_path, POLICY, POLICY.replace("amount_over = 1_000_000", "amount_over = 100_000"))
    shown = terminal.run("policy", "diff", str(tmp_path / "old.toml"), str(tmp_path / "new.toml")).output

    assert (told["recorded"], told["derived"], told["left_out"]) == (2, 0, [])
    assert told["changed"] == [
        {
            "action_id": large.id,
            "amount_yen": 100_001,
            "counterparty": "株式会社青葉商事",
            "old": {"kind": "ask", "approvers": 1},
            "new": {"kind": "ask", "approvers": 2},
            "rules": ["-no-rule", "+large"],
        }
    ]
    assert "Decisions that change: 1" in shown
    assert large.id in shown
    assert small.id not in shown


def forget_facts(terminal: Terminal, action: Action) -> None:
    """Make the record of a proposal as the first version wrote it."""
    with sqlite3.connect(terminal.home.settings.database) as raw:
        raw.execute("DROP TRIGGER audit_is_never_updated")
        raw.execute("UPDATE audit SET record = json_remove(record, '$.facts') WHERE action_id = ?", (action.id,))
    raw.close()


def test_a_proposal_without_recorded_facts_is_replayed_from_its_request_or_said_to_be_left_out(
    terminal: Terminal, tmp_path: Path
) -> None:
    action = terminal.propose(amount=100_000)
    forget_facts(terminal, action)
    daily = '[[ask]]\nid = "daily"\nwhy = "over the day\'s limit"\ndaily_total_over = 300_000\n'
    by_amount = POLICY.replace(daily, "")

    derived = changed(terminal, tmp_path, by_amount, by_amount.replace("amount_over = 1_000_000", "amount_over = 1"))
    left_out = changed(terminal, tmp_path, by_amount, POLICY)

    assert (derived["recorded"], derived["derived"], len(derived["changed"])) == (0, 1, 1)
    assert (left_out["recorded"], left_out["derived"]) == (0, 0)
    assert left_out["left_out"] == [{"action_id": action.id, "why": "daily_total is not on record"}]


def test_a_change_of_duplicate_days_is_said_not_to_be_replayed(terminal: Terminal, tmp_path: Path) -> None:
    told = changed(terminal, tmp_path, POLICY, POLICY.replace('"test"', '"test"\nduplicate_days = 1'))

    assert any("duplicate_days is not replayed" in note for note in told["notes"])


def test_what_was_proposed_more_than_90_days_ago_is_not_replayed(terminal: Terminal) -> None:
    action = terminal.propose()
    policy = parse_policy(POLICY, "policy")
    proposed = moment(action.created_at) - timedelta(seconds=1)
    with terminal.home.rooms().store.read() as tx:
        on_the_day = replay(tx, policy, policy, proposed + timedelta(days=90))
        later = replay(tx, policy, policy, proposed + timedelta(days=90, seconds=2))

    assert (on_the_day.recorded, later.recorded) == (1, 0)


def test_a_proposal_whose_content_was_changed_is_left_out(terminal: Terminal, tmp_path: Path) -> None:
    action = terminal.propose()
    with sqlite3.connect(terminal.home.settings.database) as raw:
        raw.execute("UPDATE action SET canonical = replace(canonical, '100000', '999999')")
    raw.close()

    told = changed(terminal, tmp_path, POLICY, POLICY)

    assert told["left_out"] == [{"action_id": action.id, "why": "its content was changed"}]


def test_recorded_facts_that_this_version_cannot_read_are_left_out(terminal: Terminal, tmp_path: Path) -> None:
    action = terminal.propose()
    with sqlite3.connect(terminal.home.settings.database) as raw:
        raw.execute("DROP TRIGGER audit_is_never_updated")
        raw.execute("UPDATE audit SET record = json_set(record, '$.facts.weekday', 'someday')")
    raw.close()

    told = changed(terminal, tmp_path, POLICY, POLICY)

    assert told["left_out"] == [{"action_id": action.id, "why": "its recorded facts cannot be read"}]
