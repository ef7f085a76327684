"""What is wrong with a call is told in the reader's language, by the name of its argument and by nothing of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from seikyu.errors import Text
from seikyu.gate.misfits import misfits
from seikyu.providers.invox.commands import UploadEStorageDocument
from seikyu.providers.mfkessai.commands import CheckCreditBalance, GetTransaction, LookupCustomer, RegisterTransaction
from seikyu.spec import Command

LINE: dict[str, Any] = {"description": "保守料", "quantity": 1, "unit_price": 100, "tax_included_type": "excluded"}
DRAFT: dict[str, Any] = {
    "destination_id": "ABCD-1234",
    "lines": [LINE],
    "date": "2026-11-21",
    "issue_date": "2026-11-21",
    "due_date": "2026-12-31",
    "invoice_delivery_methods": ["email"],
}


def said(command: type[Command], arguments: str) -> Text:
    with pytest.raises(ValidationError) as refused:
        command.model_validate_json(arguments)
    return misfits(refused.value)


CASES: list[tuple[type[Command], dict[str, Any], str, str]] = [
    (LookupCustomer, {"limit": "5"}, "limit: 整数で書いてください", "limit: must be a whole number"),
    (LookupCustomer, {"limit": 0}, "limit: 1 以上で書いてください", "limit: must be at least 1"),
    (
        LookupCustomer,
        {"query": "x" * 101},
        "query: 100文字以内で書いてください",
        "query: must have 100 characters at most",
    ),
    (
        LookupCustomer,
        {"cursor": "../x"},
        "cursor: 道具が返したIDをそのまま書いてください",
        "cursor: must be an id as a tool returned it",
    ),
    (CheckCreditBalance, {}, "customer_id: 必要な引数です", "customer_id: it is needed"),
    (
        GetTransaction,
        {},
        "transaction_id か number のどちらか一つを書いてください",
        "give either transaction_id or number",
    ),
    (
        RegisterTransaction,
        DRAFT | {"lines": [LINE | {"unit_price": 1.5}]},
        'lines.0.unit_price: 整数か "1980.50" のような文字列で書いてください（浮動小数点数は受け付けません）',
        'lines.0.unit_price: must be an integer or decimal text such as "1980.50", never a floating-point number',
    ),
    (
        RegisterTransaction,
        DRAFT | {"lines": [LINE | {"unit_prise": 1}]},
        "lines.0.unit_prise: この名前の引数はありません",
        "lines.0.unit_prise: there is no argument of that name",
    ),
    (
        RegisterTransaction,
        DRAFT | {"totals": [{"tax_rate_type": "normal_10", "amount": 1.5}]},
        "totals.0.amount: 整数で書いてください",
        "totals.0.amount: must be a whole number",
    ),
    (RegisterTransaction, DRAFT | {"lines": []}, "lines: 1件以上必要です", "lines: must have 1 item(s) at least"),
    (
        RegisterTransaction,
        DRAFT | {"lines": [5]},
        "lines.0: 項目の組（{…}）で書いてください",
        "lines.0: must be an object",
    ),
    (
        UploadEStorageDocument,
        {"path": "a.pdf", "doc_type": "見積書", "transaction_amount": -1},
        "transaction_amount: 0 以上で書いてください",
        "transaction_amount: must be at least 0",
    ),
]


@pytest.mark.parametrize("command,arguments,ja,en", CASES)
def test_a_fault_names_its_argument_in_both_languages(
    command: type[Command], arguments: dict[str, Any], ja: str, en: str
) -> None:
    assert said(command, json.dumps(arguments)) == Text(ja, en)


def test_several_faults_are_told_at_once_and_never_more_than_five() -> None:
    found = said(RegisterTransaction, json.dumps(DRAFT | {"lines": [{}] * 9}))

    assert found.en.count("it is needed") == 5
    assert found.ja.count("必要な引数です") == 5


def test_what_was_given_is_not_repeated() -> None:
    assert "4000" not in said(LookupCustomer, '{"query": 4000123412341234}').en


@pytest.mark.parametrize("number", ["NaN", "1e400", "5.0", "true"])
def test_what_is_no_whole_number_is_none_however_it_is_written(number: str) -> None:
    assert "limit: " in said(LookupCustomer, f'{{"limit": {number}}}').en


@pytest.mark.parametrize("query", ['"\\ud83d"', "[" * 900 + "]" * 900], ids=["half a character", "nested"])
def test_what_is_no_text_is_told_in_our_words_without_a_place_in_a_line_nobody_wrote(query: str) -> None:
    found = said(LookupCustomer, f'{{"query":{query}}}')

    assert found == Text("半分だけの文字があるか、入れ子が深すぎます", "half a character, or nested too deep")
