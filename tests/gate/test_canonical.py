"""One byte sequence for one value, and everything an approval is about inside it."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, cast

import pytest

from gate.stage import CONNECTION
from seikyu.gate.canonical import canonical, canonical_action, flat_sha256, particulars_of, request_of, sha256
from seikyu.spec import Particulars, Plan, ProviderRequest

REQUEST = ProviderRequest(operation="mfkessai.create_transaction", path={"id": "7"}, body={"number": "A-1"})
PARTICULARS = Particulars(amount=5, counterparty_id="C-1", transaction_date=date(2026, 11, 20))
PLAN = Plan(REQUEST, PARTICULARS, natural_key="A-1")


def test_the_order_of_names_does_not_matter_and_every_digit_does() -> None:
    assert canonical({"b": [1, "請"], "a": None}) == canonical({"a": None, "b": (1, "請")})
    assert canonical({"b": [1, "請"], "a": None}) == '{"a":null,"b":[1,"請"]}'.encode()
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("value", [1.0, [1.0], (0, 1.0), {"a": 1.0}, {"a": [{"b": (1, [0.5])}]}, 2**53, float("nan")])
def test_a_float_or_a_number_no_reader_keeps_exact_has_no_place_anywhere(value: Any) -> None:
    with pytest.raises(ValueError, match=r"float|safe integer"):
        canonical(value)


def test_a_value_of_another_kind_is_another_row_though_it_was_held_against_an_equal_one() -> None:
    one = flat_sha256(("epoch", 1))

    assert flat_sha256(("epoch", True)) == sha256(b'{"epoch":true}') != one
    with pytest.raises(ValueError, match="a float has no place"):
        flat_sha256(("epoch", cast("int", 1.0)))


def test_an_approval_is_about_the_account_the_exact_request_and_what_a_person_reads() -> None:
    whole = json.loads(canonical_action(CONNECTION, PLAN))

    assert whole == {
        "format": 1,
        "connection": "mfk-main",
        "provider": "mfkessai",
        "environment": "sandbox",
        "company": "株式会社テスト",
        "address": "http://127.0.0.1:1/v2",
        "request": json.loads(REQUEST.model_dump_json()),
        "natural_key": "A-1",
        "particulars": json.loads(PARTICULARS.model_dump_json()),
    }
    assert (request_of(whole), particulars_of(whole)) == (REQUEST, PARTICULARS)


def test_who_edited_it_is_inside_once_each_in_the_order_of_their_names() -> None:
    plain, edited = (json.loads(canonical_action(CONNECTION, PLAN, names)) for names in ((), ("sato", "ito", "sato")))

    assert edited == plain | {"edited_by": ["ito", "sato"]}
    assert "edited_by" not in plain
