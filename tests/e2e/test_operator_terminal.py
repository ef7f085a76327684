"""What operators and engineers do in a terminal, command by command, in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from e2e.terminal import Terminal
from gate.stage import PASSPHRASE, POLICY
from seikyu.gate import freezing


def test_a_second_operator_is_added_by_the_first_and_removed_again(terminal: Terminal) -> None:
    alone = terminal.run("operator", "add", "sato", secret_fd=PASSPHRASE)
    vouched = terminal.run("operator", "add", "sato", "--by", "tanaka", secret_fd=PASSPHRASE, by_secret_fd=PASSPHRASE)
    removed = terminal.run("operator", "remove", "sato", "--by", "tanaka", secret_fd=PASSPHRASE)
    last = terminal.run("operator", "remove", "tanaka", "--by", "tanaka", secret_fd=PASSPHRASE)

    assert (alone.exit_code, vouched.exit_code, removed.exit_code, last.exit_code) == (1, 0, 0, 1)
    assert "has to vouch" in alone.output
    assert "cannot be removed" in last.output
    listed = terminal.json("operator", "list")
    assert [(row["name"], row["endorsed_by"], row["active"]) for row in listed] == [
        ("tanaka", "tanaka", True),
        ("sato", "tanaka", False),
    ]


@pytest.mark.parametrize("decision,state", [("reject", "rejected"), ("return", "returned")])
def test_a_decision_against_needs_a_reason_and_is_final(terminal: Terminal, decision: str, state: str) -> None:
    action = terminal.propose()

    without = terminal.run(decision, action.id, "--by", "tanaka", secret_fd=PASSPHRASE)
    card = terminal.json(decision, action.id, "--by", "tanaka", "--reason", "金額が違います", secret_fd=PASSPHRASE)
    late = terminal.run("approve", action.id, "--by", "tanaka", secret_fd=PASSPHRASE)

    assert without.exit_code == 2
    assert card["state"] == state
    assert late.exit_code == 1
    assert "cannot be decided" in late.output


def test_a_wrong_passphrase_decides_nothing_and_is_on_record(terminal: Terminal) -> None:
    action = terminal.propose()

    refused = terminal.run("approve", action.id, "--by", "tanaka", secret_fd="not the passphrase")

    assert refused.exit_code == 1
    assert "No decision was recorded" in refused.output
    assert terminal.json("show", action.id)["state"] == "awaiting_approval"
    assert terminal.json("audit", "verify")["fault"] is None


def test_approving_without_a_login_sends_nothing_and_names_the_command_that_helps(terminal: Terminal) -> None:
    action = terminal.propose()

    done = terminal.run("approve", action.id, "--by", "tanaka", secret_fd=PASSPHRASE)

    card = terminal.json("show", action.id)
    assert (done.exit_code, card["state"], card["reference"]) == (3, "approved", None)
    assert "seikyu connect mfk-main" in card["outcome"]


def test_the_lists_show_amounts_and_people_and_count_everything(terminal: Terminal) -> None:
    first, second = terminal.propose("AAAA-0001"), terminal.propose("AAAA-0002", 200_000)

    listed = terminal.json("actions")
    shown = terminal.run("actions", "--limit", "1")

    assert [row["action_id"] for row in listed["actions"]] == [second.id, first.id]
    assert listed["total"] == 2
    assert "200,000円" in shown.output
    assert first.id not in shown.output


def test_an_unknown_action_or_connection_is_one_clear_sentence(terminal: Terminal) -> None:
    action = terminal.run("show", "act-nothing")
    connection = terminal.run("connect", "nowhere", secret_fd="x")

    assert (action.exit_code, connection.exit_code) == (1, 1)
    assert "There is no action of that id" in action.output
    assert "There is no connection nowhere" in connection.output
    assert "Traceback" not in action.output + connection.output


def test_the_policy_is_checked_with_file_line_and_rule(terminal: Terminal, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(POLICY.replace("amount_over = 5_000_000", 'amount_over = "5000000"'), encoding="utf-8")

    good, bad = terminal.run("policy", "check"), terminal.run("policy", "check", str(wrong))

    assert good.exit_code == 0
    assert "5 rules, 0 examples, all hold" in good.output
    assert bad.exit_code == 1
    assert "line 8: amount_over in rule too-large: expected a whole number (read: '5000000')" in bad.output


def test_the_connections_are_listed_with_the_state_of_their_logins(terminal: Terminal) -> None:
    assert [(row["name"], row["state"]) for row in terminal.json("connections")] == [("mfk-main", "missing")]
    assert terminal.run("disconnect", "mfk-main").exit_code == 1


def test_resolving_needs_a_reference_and_an_action_a_person_must_look_at(terminal: Terminal) -> None:
    action = terminal.propose()
    arguments = ("resolve", action.id, "--by", "tanaka", "--evidence", "seen", "--outcome", "succeeded")

    no_reference = terminal.run(*arguments, secret_fd=PASSPHRASE)
    not_open = terminal.run(*arguments, "--reference", "X-1", secret_fd=PASSPHRASE)

    assert "give the provider's id" in no_reference.output
    assert "waiting for approval" in not_open.output
    assert terminal.json("show", action.id)["state"] == "awaiting_approval"


@pytest.mark.both_stores
def test_a_hold_on_a_shared_database_is_released_once_every_machine_has_told(
    terminal: Terminal, database_url: SecretStr | None
) -> None:
    store = terminal.home.rooms().store
    with store.write() as tx:
        freezing.hold(tx, terminal.home.clock, {"log_records": 1, "forgotten_sends": 1})
    asked = ("unfreeze", "--by", "tanaka", "--reason", "restored")

    alone = terminal.run(*asked, secret_fd=PASSPHRASE)
    told = terminal.run(*asked, "--all-told", secret_fd=PASSPHRASE)

    is_shared = database_url is not None
    assert (alone.exit_code, told.exit_code) == ((1, 0) if is_shared else (0, 1))
    assert ("then say --all-told" in alone.output) == is_shared
    assert freezing.current(store) is None


def test_anyone_freezes_without_a_passphrase_and_only_an_operator_lifts_it(terminal: Terminal) -> None:
    action = terminal.propose()
    frozen = terminal.run("freeze", "--by", "sato", "--reason", "二重請求の疑い")

    listed = terminal.json("actions")
    approved = terminal.run("approve", action.id, "--by", "tanaka", secret_fd=PASSPHRASE)
    wrong = terminal.run("unfreeze", "--by", "tanaka", secret_fd="not the passphrase")
    lifted = terminal.run("unfreeze", "--by", "tanaka", secret_fd=PASSPHRASE)
    again = terminal.run("unfreeze", "--by", "tanaka", secret_fd=PASSPHRASE)

    said = "Frozen: nothing is sent (sato: 二重請求の疑い)."
    assert (frozen.exit_code, wrong.exit_code, lifted.exit_code, again.exit_code) == (0, 1, 0, 1)
    assert listed["frozen"] == said
    assert (approved.exit_code, terminal.json("show", action.id)["state"]) == (3, "approved")
    assert said in approved.stderr
    assert "The freeze is lifted" in lifted.output
    assert "Nothing is frozen" in again.output
    assert terminal.json("actions")["frozen"] is None


def test_an_approval_is_anchored_and_a_copy_of_the_anchors_proves_a_truncation(
    terminal: Terminal, tmp_path: Path
) -> None:
    action = terminal.propose()
    terminal.run("approve", action.id, "--by", "tanaka", secret_fd=PASSPHRASE)
    anchors = terminal.home.settings.anchors_file
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(anchors.read_bytes())
    clean = terminal.json("audit", "verify", "--anchors", str(copy))

    anchors.write_text(copy.read_text(encoding="utf-8").replace(clean["head"], "0" * 64), encoding="utf-8")
    found = terminal.run("audit", "verify")

    assert (clean["fault"], clean["anchors"]) == (None, 1)
    assert found.exit_code == 2
    assert f"record {clean['records']} is not what the anchor of" in found.output
    assert "1 anchors checked" in found.output


def test_the_head_of_the_log_is_anchored_on_command(terminal: Terminal) -> None:
    terminal.propose()

    kept = terminal.json("audit", "anchor")

    report = terminal.json("audit", "verify")
    assert (kept["records"], kept["head"]) == (report["records"], report["head"])
    assert report["anchors"] == 1


def test_actions_are_searched_by_day_amount_and_counterparty_together(terminal: Terminal) -> None:
    terminal.propose("AAAA-0001", 100_000)
    wanted = terminal.propose("AAAA-0002", 200_000)
    day = wanted.business_day
    asked = ("audit", "search", "--from", day, "--to", day, "--amount-from", "150000", "--counterparty", "㈱ 青葉")

    listed = terminal.json(*asked)
    shown = terminal.run(*asked)
    none = terminal.json("audit", "search", "--to", "2000-01-01")

    assert [row["action_id"] for row in listed["actions"]] == [wanted.id]
    assert (listed["total"], listed["total_yen"]) == (1, 200_000)
    assert (none["actions"], none["total"]) == ([], 0)
    assert "1 actions, 200,000円 in all" in shown.output
    [line] = [line for line in shown.output.splitlines() if wanted.id in line]
    assert day in line


def test_a_day_that_is_none_is_refused_by_name(terminal: Terminal) -> None:
    refused = terminal.run("audit", "search", "--from", "2026/11/01")

    assert refused.exit_code == 2
    assert "--from" in refused.output


def test_the_records_are_handed_over_in_a_new_folder_and_never_over_an_old_one(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.propose()
    folder = tmp_path / "handed-over"

    made = terminal.json("audit", "export", str(folder))
    again = terminal.run("audit", "export", str(folder))

    assert (made["actions"], made["documents"]) == (1, 0)
    assert {path.name for path in folder.iterdir()} == {"actions.csv", "audit.jsonl", "documents.csv", "manifest.json"}
    assert again.exit_code == 1
    assert "is not overwritten" in again.output


def test_roles_ceilings_and_delegations_are_given_listed_and_taken_back(terminal: Terminal) -> None:
    secret = {"secret_fd": PASSPHRASE}
    added = terminal.run(
        "operator", "add", "sato", "--by", "tanaka", "--role", "accounting", "--ceiling", "50000",
        **secret, by_secret_fd=PASSPHRASE,
    )  # fmt: skip
    granted = terminal.run(
        "operator", "grant", "sato", "--role", "manager", "--ceiling", "99999", "--by", "tanaka", **secret
    )
    own = terminal.run("operator", "grant", "tanaka", "--no-ceiling", "--by", "tanaka", **secret)
    undecided = terminal.run("operator", "grant", "sato", "--by", "tanaka", **secret)
    lent = terminal.run("delegate", "sato", "--until", "2099-12-31", "--by", "tanaka", **secret)
    listed = terminal.json("operator", "list")
    table = terminal.run("operator", "list")
    back = terminal.run("undelegate", "sato", "--by", "tanaka", **secret)

    assert [done.exit_code for done in (added, granted, own, undecided, lent, back)] == [0, 0, 1, 2, 0, 0]
    assert "sato: roles accounting, up to 50,000円" in added.output
    assert "Nobody changes their own" in own.output
    [tanaka, sato] = listed
    assert (sato["roles"], sato["ceiling"], sato["delegations"]) == (["manager"], 99999, [])
    assert tanaka["delegations"] == [{"to": "sato", "until": "2099-12-31", "ceiling": None}]
    assert "sato until 2099-12-31" in table.output
    assert terminal.json("operator", "list")[0]["delegations"] == []


def test_a_delegate_approves_for_the_lender_and_a_ceiling_says_no_with_the_reason(terminal: Terminal) -> None:
    terminal.run(
        "operator", "add", "sato", "--by", "tanaka", "--ceiling", "1", secret_fd=PASSPHRASE, by_secret_fd=PASSPHRASE
    )
    terminal.run("delegate", "sato", "--until", "2099-12-31", "--by", "tanaka", secret_fd=PASSPHRASE)
    action = terminal.propose(amount=2_000_000)

    above = terminal.run("approve", action.id, "--by", "sato", secret_fd=PASSPHRASE)
    lent = terminal.run("approve", action.id, "--by", "sato", "--for", "tanaka", secret_fd=PASSPHRASE)
    card = terminal.json("show", action.id)

    assert above.exit_code == 1
    assert "sato may approve up to 1円, not 2,000,000円" in above.output
    assert lent.exit_code == 0
    assert "Still missing: 1 operator" in lent.output
    assert (card["votes"], card["missing"]) == (["sato (for tanaka until 2099-12-31)"], "1 operator")


def test_check_names_a_role_that_nobody_or_too_few_hold(terminal: Terminal) -> None:
    roles = 'roles = ["accounting"]\n[[ask]]\nid = "books"\nwhy = "books"\namount_over = 1\nrole = "accounting"\n'
    two = roles.partition("\n")[2].replace('"books"', '"two"') + "approvers = 2\n"
    policy = POLICY.replace("[[deny]]", f"{roles}{two}[[deny]]", 1)
    terminal.home.settings.policy_file.write_text(policy, encoding="utf-8")

    before = terminal.run("policy", "check")
    terminal.run(
        "operator", "add", "sato", "--by", "tanaka", "--role", "accounting",
        secret_fd=PASSPHRASE, by_secret_fd=PASSPHRASE,
    )  # fmt: skip
    after = terminal.run("policy", "check")

    assert "No operator holds the role accounting." in before.output
    assert "asks for 2 accounting" not in before.output
    assert "No operator holds" not in after.output
    assert "Rule two asks for 2 accounting; 1 operator(s) hold that role." in after.output


def test_several_are_shown_with_their_total_and_each_result_is_told(terminal: Terminal) -> None:
    terminal.run("operator", "add", "sato", "--by", "tanaka", secret_fd=PASSPHRASE, by_secret_fd=PASSPHRASE)
    first, second = terminal.propose("AAAA-0001", 2_000_000), terminal.propose("AAAA-0002", 2_000_001)

    ids = (first.id, "act-none", second.id)
    done = terminal.run("approve", *ids, "--by", "tanaka", secret_fd=PASSPHRASE)
    again = terminal.run("approve", first.id, second.id, "--by", "tanaka", "--json", secret_fd=PASSPHRASE)

    assert (done.exit_code, again.exit_code) == (1, 1)
    assert "2 requests, 4,000,001円 in all" in done.stderr
    assert "2,000,001円  株式会社青葉商事" in done.stderr
    assert "act-none" in done.stderr
    assert "waiting for approval" in done.stdout
    told = json.loads(again.stdout)
    assert (told["count"], told["total_yen"]) == (2, 4_000_001)
    assert [(row["action_id"], row["counted"]) for row in told["results"]] == [(first.id, False), (second.id, False)]
    assert "recorded already" in told["results"][0]["error"]
    assert terminal.json("show", first.id)["approvals"] == ["tanaka"]


def test_several_approved_are_executed_one_after_the_other(terminal: Terminal) -> None:
    first, second = terminal.propose("AAAA-0001"), terminal.propose("AAAA-0002")

    done = terminal.run("approve", first.id, second.id, "--by", "tanaka", "--json", secret_fd=PASSPHRASE)

    assert done.exit_code == 3  # approved, and no login to send them with
    assert [row["state"] for row in json.loads(done.stdout)["results"]] == ["approved", "approved"]
    assert "seikyu connect mfk-main" in terminal.json("show", second.id)["outcome"]


def test_an_approval_that_the_rules_void_before_the_send_is_told_with_the_reason(terminal: Terminal) -> None:
    alone, first, second = (terminal.propose(f"AAAA-000{number}") for number in range(3))
    stricter = POLICY.replace("amount_over = 1_000_000", "amount_over = 99_999")
    terminal.home.settings.policy_file.write_text(stricter, encoding="utf-8")

    one = terminal.run("approve", alone.id, "--by", "tanaka", secret_fd=PASSPHRASE)
    many = terminal.run("approve", first.id, second.id, "--by", "tanaka", secret_fd=PASSPHRASE)

    said = "the approval is void, and it has to be approved again (revision 2: large: large)"
    assert (one.exit_code, many.exit_code) == (0, 0)
    assert [" ".join(done.stdout.split()).count(said) for done in (one, many)] == [1, 2]
    assert terminal.json("show", alone.id)["missing"] == "2 operators"


def test_a_batch_above_the_cap_or_with_a_wrong_passphrase_approves_nothing(terminal: Terminal) -> None:
    large = [terminal.propose(f"AAAA-000{n}", 4_000_000) for n in range(3)]

    above = terminal.run("approve", *(one.id for one in large), "--by", "tanaka", secret_fd=PASSPHRASE)
    wrong = terminal.run("approve", *(one.id for one in large[:2]), "--by", "tanaka", secret_fd="not the passphrase")

    assert (above.exit_code, wrong.exit_code) == (1, 1)
    assert "at most 10,000,000円 in all; these are 12,000,000円" in above.output
    assert [terminal.json("show", one.id)["approvals"] for one in large] == [[], [], []]


@pytest.mark.sqlite_only
def test_a_history_is_told_in_the_readers_words_and_programs_get_its_codes(terminal: Terminal) -> None:
    action = terminal.propose()
    terminal.run("reject", action.id, "--by", "tanaka", "--reason", "amount", secret_fd=PASSPHRASE)

    terminal.home.settings = replace(terminal.home.settings, lang="ja")
    shown = terminal.run("show", action.id).output
    history = terminal.json("show", action.id)["history"]

    assert [line.split()[2] for line in shown.split("経過")[1].splitlines() if line.strip().startswith("20")] == [
        "申請",
        "却下",
    ]
    assert [event["kind"] for event in history if event["kind"] != "sealed"] == ["proposed", "rejected"]


@pytest.mark.sqlite_only
def test_a_next_step_names_the_command_and_not_the_assistants_tool(terminal: Terminal) -> None:
    nobody = terminal.run("show", "act-nobody")

    assert nobody.exit_code == 1
    assert "`seikyu actions`" in nobody.stderr
    assert "list_actions" not in nobody.output
