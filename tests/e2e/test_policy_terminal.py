"""What operators ask their policy in a terminal."""

from __future__ import annotations

from pathlib import Path

from e2e.terminal import Terminal
from gate.stage import POLICY


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
    assert "line 1: given.amout: Extra inputs are not permitted" in refused.output


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
