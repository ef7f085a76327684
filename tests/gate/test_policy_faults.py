"""What a policy with faults is answered, word for word: every fault once, with its line, and what was read."""

from __future__ import annotations

import pytest

from seikyu.errors import ConfigurationError, Text
from seikyu.gate.policy import parse_policy, parse_question, verdict_text
from seikyu.gate.policy_faults import MAX_FAULTS, MAX_READ
from seikyu.gate.vocabulary import Facts, Rule
from seikyu.spec import Seat, Verdict

HEAD = 'schema = 1\nversion = "test"\noperations = ["a.one", "a.two"]\n'
RULE = '[[ask]]\nid = "it"\nwhy = "it"\namount_over = 1\n'
GIVEN = 'given = { operation = "a.one", provider = "freee", amount = 2 }\n'


def told(source: str) -> Text:
    """The faults of a policy, without what is said around them."""
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(source, "policy.toml", ["freee-tokyo", "mfk-main"])
    what = caught.value.what
    return Text(
        what.ja.removeprefix("方針 policy.toml に誤りがあるため、書き込みはできません: "),
        what.en.removeprefix("Policy policy.toml has faults, so nothing can be written: ").removesuffix("."),
    )


def lines(said: Text) -> list[str]:
    return [fault.partition(": ")[0] for fault in said.en.split("; ")]


def test_all_faults_are_told_at_once_and_only_a_wrong_value_is_repeated() -> None:
    rules = '[[ask]]\nid = "it"\namount_over = "1"\n[[deny]]\nid = "no"\nwhy = "no"\n[[ask]]\nid = "x"\nwhy = "x"\n'

    said = told(HEAD + rules + "weekdays_only = true\n" + "[[allow]]\nid = 'me'\nwhy = 'me'\nroll = 1\n")

    words = ", ".join(Rule.model_fields)
    assert said == Text(
        "7行目: 規則 no: 規則には条件が一つ以上必要です; "
        "4行目: 規則 it の why: 必要な項目がありません; "
        "6行目: 規則 it の amount_over: 期待: 整数（読み取った値: '1'）; "
        "10行目: 規則 x: weekdays_only は outside_hours とともに使います; "
        f"17行目: 規則 me の roll: 方針にない語です。期待: {words}",
        "line 7: rule no: a rule needs at least one condition; "
        "line 4: why in rule it: it is needed and not there; "
        "line 6: amount_over in rule it: expected a whole number (read: '1'); "
        "line 10: rule x: weekdays_only belongs to outside_hours; "
        f"line 17: roll in rule me: not a word of the policy; expected one of {words}",
    )


@pytest.mark.parametrize("key", ["str", '"[key]"', '"list[int]"'])
def test_a_key_that_is_no_word_of_the_policy_is_named_whatever_it_is_called(key: str) -> None:
    name = key.strip('"')

    said = told(HEAD + f"{key} = 1\n" + RULE + f"{key} = 1\n")

    rule, top = said.en.split("; line ")
    assert rule.startswith(f"line 9: {name} in rule it: not a word of the policy")
    assert top.startswith(f"4: {name}: not a word of the policy")


def test_a_fault_in_an_example_without_a_name_says_where_in_the_file() -> None:
    said = told(HEAD + RULE + '[[example]]\nexpect = "ask"\ngiven = { provider = "freee" }\n')

    assert said.en == (
        "line 8: example.name: it is needed and not there; line 10: example.given.operation: it is needed and not there"
    )


def test_a_role_that_is_none_is_told_by_its_name() -> None:
    said = told(HEAD + RULE + f'[[example]]\nname = "one"\n{GIVEN}expect = "ask"\nroles = {{ "a b" = 1 }}\n')

    assert said.en == (
        "line 12: roles.a b in example one: expected a role: up to 30 letters, digits, - and _ (read: 'a b')"
    )


def test_a_long_value_and_a_long_name_are_cut() -> None:
    said = told(HEAD + f'[[ask]]\nid = "{"i" * 300}"\nwhy = "it"\namount_over = "{"9" * 300}"\n')

    name, read = f"{'i' * (MAX_READ - 1)}…", f"'{'9' * (MAX_READ - 2)}…"
    assert f"line 7: amount_over in rule {name}: expected a whole number (read: {read})" in said.en
    assert f"line 5: id in rule {name}: expected up to 60 of a-z, 0-9 and - (read: '{'i' * (MAX_READ - 2)}…)" in said.en


def test_each_element_of_a_list_over_several_lines_has_its_line_and_so_has_what_follows() -> None:
    operations = """operations = [
  "a.one", "a.two",  # a comment, with a comma
  5,
  ["a", "b"], { a = 1, b = 2 },
  6,
  7, [8,
    8],
  9,
]
"""
    said = told('schema = 1\nversion = "test"\n' + operations + "duplicate_days = 367\nroles = [1]\n")

    assert lines(said) == [
        *("line 5", "line 6", "line 6", "line 7", "line 8", "line 8", "line 10"),
        *("line 13", "line 12"),
    ]


def test_only_so_many_faults_are_told_and_the_rest_is_counted() -> None:
    source = HEAD + "".join(f'[[deny]]\nid = "r{number}"\nwhy = "it"\n' for number in range(MAX_FAULTS + 2))

    at_the_limit = told(source.rpartition('[[deny]]\nid = "r20"')[0])
    beyond = told(source)

    assert len(at_the_limit.en.split("; ")) == MAX_FAULTS
    assert beyond == Text(f"{at_the_limit.ja}; ほか2件", f"{at_the_limit.en}; and 2 more")
    assert at_the_limit.en.endswith("rule r19: a rule needs at least one condition")


def test_a_long_name_in_what_toml_says_is_cut() -> None:
    said = told(f"[{'a' * 400}]\n[{'a' * 400}]\n")

    assert len(said.en) <= len("line 2: column 402, not TOML: ") + 200
    assert said.en.startswith("line 2: column 402, not TOML: Cannot declare")
    assert said.en.endswith("a…")


def test_what_is_known_instead_is_listed() -> None:
    said = told(HEAD + RULE + 'operation = "a.three"\nconnection = "mfk"\nrole = "books"\n')

    assert said == Text(
        "8行目: 規則 it: operation 'a.three' は operations にありません。期待: a.one, a.two; "
        "9行目: 規則 it: connection 'mfk' は connections.toml にありません。期待: freee-tokyo, mfk-main; "
        "10行目: 規則 it: role 'books' は roles にありません。期待: —",
        "line 8: rule it: operation 'a.three' is not in `operations`; expected one of: a.one, a.two; "
        "line 9: rule it: connection 'mfk' is not in connections.toml; expected one of: freee-tokyo, mfk-main; "
        "line 10: rule it: role 'books' is not in `roles`; expected one of: —",
    )


def test_an_example_that_does_not_hold_says_what_the_rules_say_and_which_were_hit() -> None:
    roles = 'roles = ["books", "head"]\n'
    rules = RULE + 'role = "books"\napprovers = 2\n[[ask]]\nid = "also"\nwhy = "also"\namount_over = 1\nrole = "head"\n'

    said = told(HEAD + roles + rules + f'[[example]]\nname = "one"\n{GIVEN}expect = "allow"\n')
    nothing_hit = told(HEAD + RULE + f'[[example]]\nname = "one"\n{GIVEN.replace("2", "1")}expect = "allow"\n')

    assert said == Text(
        "16行目: 例 'one' が成り立ちません。期待: allow、規則の判定: 承認 2名（books 2, head 1）（該当: it, also）",
        "line 16: [[example]] 'one': expected allow, "
        "the rules say ask, 2 approver(s) (books 2, head 1) (hit: it, also)",
    )
    assert nothing_hit.en.endswith("expected allow, the rules say ask, 1 approver(s) (hit: no-rule)")


def test_a_verdict_in_words_names_votes_roles_and_whether_seats_are_distinct() -> None:
    seats = (Seat("books", 2), Seat("head", 1))
    asks = [
        Verdict("ask", 2, (), ""),
        Verdict("ask", 2, (), "", seats=seats),
        Verdict("ask", 3, (), "", seats=seats, is_distinct=True),
    ]

    assert [verdict_text(verdict) for verdict in (Verdict("allow", 0, (), ""), Verdict("deny", 0, (), ""), *asks)] == [
        Text("自動で実行", "allow"),
        Text("拒否", "deny"),
        Text("承認 2名", "ask, 2 approver(s)"),
        Text("承認 2名（books 2, head 1）", "ask, 2 approver(s) (books 2, head 1)"),
        Text("承認 3名（books 2, head 1、兼任不可）", "ask, 3 approver(s) (books 2, head 1, distinct)"),
    ]


def test_a_question_is_read_as_the_facts_it_gives() -> None:
    question = 'given = { operation = "a.one", provider = "freee", amount = 2 }\n'

    assert parse_question(question, "q.toml") == Facts(operation="a.one", provider="freee", amount=2)


@pytest.mark.parametrize(
    "source,ja,en",
    [
        (
            '\ngiven.provider = "freee"\ngiven.operation = 1\n',
            '3行目: given.operation: 期待: "…" の文字（読み取った値: 1）',
            'line 3: given.operation: expected text in "…" (read: 1)',
        ),
        ("\ngiven = 5\n", "2行目: given: 期待: 表（読み取った値: 5）", "line 2: given: expected a table (read: 5)"),
        (
            "\n\ngiven = \n",
            "3行目: 9文字目、TOML として読めません: Invalid value",
            "line 3: column 9, not TOML: Invalid value",
        ),
        (
            "\ufeffgiven = 1\n",
            "1行目: 先頭に BOM があります。期待: BOM のない UTF-8",
            "line 1: a byte-order mark stands at the beginning; expected UTF-8 without one",
        ),
    ],
    ids=["a fact", "no table", "no toml", "a mark"],
)
def test_a_question_with_faults_is_answered_with_all_of_them(source: str, ja: str, en: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_question(source, "q.toml")

    assert caught.value.what == Text(f"q.toml に誤りがあります: {ja}", f"q.toml has faults: {en}.")


def test_a_misspelt_fact_of_a_question_is_told_with_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError, match=r"line 2: given.amout: .*did you mean amount\?\); expected one of ope"
    ):
        parse_question('given.operation = "a.one"\ngiven.amout = 1\ngiven.provider = "freee"', "q.toml")


def test_a_section_that_stands_only_in_the_names_of_its_tables_has_the_line_of_the_first() -> None:
    assert lines(told(HEAD + "\n[ask.first]\n[ask.second]\n")) == ["line 5"]
