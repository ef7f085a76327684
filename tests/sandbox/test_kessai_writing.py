import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from seikyu.sandbox.effects import Effect
from seikyu.sandbox.mfkessai_data import destination_id, facility_id
from seikyu.sandbox.mfkessai_records import SellerMode
from seikyu.sandbox.twins import Twins

pytestmark = pytest.mark.anyio

Sale = Callable[..., dict[str, Any]]


def _line(**changes: object) -> dict[str, Any]:
    line: dict[str, Any] = {
        "description": "商品",
        "unit_price": 1_000,
        "quantity": 1,
        "amount": 1_000,
        "tax_rate_type": "normal_10",
        "tax_included_type": "excluded",
    }
    return {name: value for name, value in {**line, **changes}.items() if value is not ...}


async def _balance(kessai: httpx2.AsyncClient, place: int) -> int:
    balance: int = (await kessai.get(f"/credit_facilities/{facility_id(place)}")).json()["balance"]
    return balance


def _codes(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 400, answer.text
    return [error["code"] for error in answer.json()]


async def test_a_covered_transaction_passes_at_once_consumes_credit_and_is_billed(
    kessai: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    made = (await kessai.post("/transactions", json=sale())).json()

    billing = (await kessai.get(f"/billings/{made['billing_id']}")).json()
    assert made["status"] == "passed"
    assert made["billing"] is True
    assert made["canceled_at"] is None
    assert await _balance(kessai, 1) == 1_189_000
    assert (billing["amount"], billing["status"], billing["invoice_ids"]) == (11_000, "scheduled", [])


async def test_the_answer_is_what_a_later_look_up_by_number_finds(
    kessai: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    made = (await kessai.post("/transactions", json=sale())).json()

    found = (await kessai.get("/transactions", params={"number": "INV-2026-0001"})).json()
    assert found["items"] == [made]
    assert (await kessai.get(f"/transactions/{made['id']}")).json() == made


async def test_every_write_is_in_the_effects_and_no_read_or_refusal_is(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    await kessai.get("/customers")
    await kessai.post("/transactions", json=sale(number=""))
    answer = await kessai.post("/transactions", json=sale())
    await kessai.delete(f"/transactions/{answer.json()['id']}")

    at = datetime(2026, 11, 18, 3, tzinfo=UTC)
    made, cancelled = (hashlib.sha256(body).hexdigest() for body in (answer.request.content, b""))
    tid = answer.json()["id"]
    assert twins.effects == [
        Effect(1, "mfkessai", "mfkessai.create_transaction", "INV-2026-0001", tid, made, at),
        Effect(2, "mfkessai", "mfkessai.cancel_transaction", "INV-2026-0001", tid, cancelled, at),
    ]
    assert twins.requests["POST /mfkessai/v2/transactions"] == 2


async def test_credit_is_enough_up_to_the_last_yen_and_not_beyond(
    kessai: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    def of(amount: int, number: str) -> dict[str, Any]:
        return sale(
            number=number,
            amount=amount,
            amounts_per_tax_rate_type=[{"tax_rate_type": "normal_10", "amount": amount}],
            transaction_details=[_line(unit_price=amount, amount=amount, tax_included_type="included")],
        )

    beyond = (await kessai.post("/transactions", json=of(1_200_001, "A"))).json()
    balance_after_refusal = await _balance(kessai, 1)
    exact = (await kessai.post("/transactions", json=of(1_200_000, "B"))).json()

    assert beyond["status"] == "unexamined"
    assert balance_after_refusal == 1_200_000
    assert exact["status"] == "passed"
    assert await _balance(kessai, 1) == 0


async def test_an_expired_facility_covers_nothing(kessai: httpx2.AsyncClient, sale: Sale) -> None:
    made = (await kessai.post("/transactions", json=sale(destination_id=destination_id(4)))).json()

    assert made["status"] == "unexamined"


@pytest.mark.parametrize(
    "word,status",
    [("__passed__", "passed"), ("__rejected__", "rejected"), ("__unexamined__", "unexamined")],
)
async def test_a_magic_word_on_all_lines_fixes_the_review(
    kessai: httpx2.AsyncClient,
    sale: Sale,
    word: str,
    status: str,
) -> None:
    lines = [_line(description=word), _line(description=word, unit_price=9_000, amount=9_000)]

    made = (await kessai.post("/transactions", json=sale(transaction_details=lines))).json()

    assert made["status"] == status


async def test_a_magic_word_on_some_lines_means_nothing(kessai: httpx2.AsyncClient, sale: Sale) -> None:
    lines = [_line(description="__rejected__"), _line(unit_price=9_000, amount=9_000)]

    made = (await kessai.post("/transactions", json=sale(transaction_details=lines))).json()

    assert made["status"] == "passed"


async def test_a_number_is_used_once_even_after_cancelling(kessai: httpx2.AsyncClient, sale: Sale) -> None:
    made = (await kessai.post("/transactions", json=sale())).json()
    while_it_stands = await kessai.post("/transactions", json=sale())
    await kessai.delete(f"/transactions/{made['id']}")
    after_cancelling = await kessai.post("/transactions", json=sale())

    expected = {
        "code": "already_exists",
        "message": "number is already used",
        "type": "already_exisits_error",
    }
    assert (while_it_stands.status_code, while_it_stands.json()) == (409, [expected])
    assert (after_cancelling.status_code, after_cancelling.json()) == (409, [expected])


async def test_cancelling_gives_the_credit_back_and_works_once(
    kessai: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    made = (await kessai.post("/transactions", json=sale())).json()
    first = await kessai.delete(f"/transactions/{made['id']}")
    second = await kessai.delete(f"/transactions/{made['id']}")

    assert first.status_code == 200
    assert first.json()["status"] == "canceled"
    assert await _balance(kessai, 1) == 1_200_000
    assert second.status_code == 409
    assert (await kessai.get(f"/billings/{made['billing_id']}")).json()["amount"] == 0


async def test_after_the_facility_ended_cancelling_gives_nothing_back(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    made = (await kessai.post("/transactions", json=sale())).json()
    twins.advance(75 * 86_400)
    await kessai.delete(f"/transactions/{made['id']}")

    assert await _balance(kessai, 1) == 1_189_000


async def test_a_rejected_or_unknown_transaction_cannot_be_cancelled(
    kessai: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    lines = [_line(description="__rejected__", unit_price=10_000, amount=10_000)]
    made = (await kessai.post("/transactions", json=sale(transaction_details=lines))).json()

    assert _codes(await kessai.delete(f"/transactions/{made['id']}")) == ["not_cancelable_transaction_status"]
    assert (await kessai.delete("/transactions/0000-0000")).status_code == 404


async def test_transactions_of_one_destination_and_the_same_days_share_a_billing(
    kessai: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    first = (await kessai.post("/transactions", json=sale(number="A"))).json()
    second = (await kessai.post("/transactions", json=sale(number="B", invoice_delivery_methods=["posting"]))).json()
    other_day = (await kessai.post("/transactions", json=sale(number="C", due_date="2027-01-31"))).json()

    billing = (await kessai.get(f"/billings/{first['billing_id']}")).json()
    assert first["billing_id"] == second["billing_id"] != other_day["billing_id"]
    assert (billing["amount"], billing["invoice_delivery_methods"]) == (22_000, ["email", "posting"])


async def test_a_return_comes_back_with_the_minus_in_the_quantity(kessai: httpx2.AsyncClient, sale: Sale) -> None:
    lines = [_line(unit_price=11_000, amount=11_000), _line(unit_price=-1_000, amount=-1_000)]

    made = (await kessai.post("/transactions", json=sale(transaction_details=lines))).json()

    back = made["transaction_details"][1]
    assert (back["quantity"], back["unit_price"], back["amount"]) == (-1, 1_000, -1_000)


async def test_the_singular_key_of_the_printed_examples_is_a_switch(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.mfkessai.delivery_key = "invoice_delivery_method"

    made = (await kessai.post("/transactions", json=sale())).json()

    assert made["invoice_delivery_method"] == ["email"]
    assert "invoice_delivery_methods" not in made


async def test_an_issue_date_on_a_saturday_moves_to_monday(kessai: httpx2.AsyncClient, sale: Sale) -> None:
    made = (await kessai.post("/transactions", json=sale(issue_date="2026-11-21"))).json()

    assert made["issue_date"] == "2026-11-23"


@pytest.mark.parametrize("given,is_taken", [(332, False), (333, True), (334, True), (335, False)])
async def test_a_tax_total_may_differ_by_less_than_one_yen(
    kessai: httpx2.AsyncClient,
    sale: Sale,
    given: int,
    is_taken: bool,  # noqa: FBT001 - a column of the table
) -> None:
    body = sale(
        amount=given,
        amounts_per_tax_rate_type=[{"tax_rate_type": "normal_10", "amount": given}],
        transaction_details=[_line(unit_price=303.5, amount=303.5)],  # 333.85 with tax
    )

    answer = await kessai.post("/transactions", json=body)

    assert (answer.status_code == 200) is is_taken
    assert is_taken or _codes(answer) == ["invalid_amount_per_tax_rate_type_amount"]


@pytest.mark.parametrize("given,is_taken", [(109, False), (110, True), (111, False)])
async def test_a_difference_of_exactly_one_yen_is_too_much(
    kessai: httpx2.AsyncClient,
    sale: Sale,
    given: int,
    is_taken: bool,  # noqa: FBT001 - a column of the table
) -> None:
    body = sale(
        amount=given,
        amounts_per_tax_rate_type=[{"tax_rate_type": "normal_10", "amount": given}],
        transaction_details=[_line(unit_price=100, amount=100)],
    )

    assert ((await kessai.post("/transactions", json=body)).status_code == 200) is is_taken


async def test_text_numbers_override_the_numeric_ones_and_stay_exact(
    kessai: httpx2.AsyncClient,
    sale: Sale,
) -> None:
    line = _line(unit_price=1, unit_price_str="33.3333", quantity_str="3", amount_str="99.9999")
    body = sale(
        amount=110,
        amounts_per_tax_rate_type=[{"tax_rate_type": "normal_10", "amount": 110}],
        transaction_details=[line],
    )

    answer = await kessai.post("/transactions", json=body)

    assert '"unit_price": 33.3333' in answer.text
    assert '"amount": 99.9999' in answer.text


async def test_per_billing_the_amount_is_computed_and_the_totals_come_back_empty(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    twins.mfkessai.seller_mode = SellerMode.BILLING

    made = (await kessai.post("/transactions", json=sale(amount=..., amounts_per_tax_rate_type=...))).json()

    assert (made["amount"], made["amounts_per_tax_rate_type"]) == (11_000, [])


@pytest.mark.parametrize("mode", [SellerMode.KUBUN, SellerMode.TRANSACTION])
async def test_per_transaction_amount_and_totals_are_required(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
    mode: SellerMode,
) -> None:
    twins.mfkessai.seller_mode = mode

    answer = await kessai.post("/transactions", json=sale(amount=..., amounts_per_tax_rate_type=...))

    assert set(_codes(answer)) == {
        "invalid_transaction_amount",
        "invalid_transaction_amounts_per_tax_rate_type",
    }


async def test_the_mode_decides_in_which_list_the_billing_stands(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
) -> None:
    await kessai.post("/transactions", json=sale(number="A"))
    twins.mfkessai.seller_mode = SellerMode.KUBUN
    await kessai.post("/transactions", json=sale(number="B"))

    query = {"issue_date_from": "2026-11-20", "customer_number": "C-0001"}
    assert (await kessai.get("/billings/qualified", params=query)).json()["pagination"]["total"] == 1
    assert (await kessai.get("/billings", params=query)).json()["pagination"]["total"] == 1


@pytest.mark.parametrize(
    "changes,code",
    [
        ({"number": ...}, "invalid_transaction_number"),
        ({"number": "あ" * 101}, "invalid_transaction_number"),
        ({"number": 7}, "invalid_transaction_number"),
        ({"destination_id": ...}, "invalid_destination_id"),
        ({"date": "2026/11/18"}, "invalid_transaction_date"),
        ({"issue_date": "2026-02-30"}, "invalid_transaction_issue_date"),
        ({"due_date": None}, "invalid_transaction_due_date"),
        ({"amount": 11_001}, "invalid_transaction_amount"),
        ({"amount": "11000"}, "invalid_transaction_amount"),
        ({"amount": 11_000.0}, "invalid_transaction_amount"),
        ({"amount": True}, "invalid_transaction_amount"),
        ({"amount": 2**31}, "invalid_transaction_amount"),
        ({"invoice_delivery_methods": []}, "invalid_transaction_invoice_delivery_methods"),
        ({"invoice_delivery_methods": ["fax"]}, "invalid_transaction_invoice_delivery_methods"),
        (
            {"invoice_delivery_methods": ["email", "email"]},
            "invalid_transaction_duplicate_invoice_delivery_method",
        ),
        ({"billing_condition": "some"}, "invalid_transaction_billing_condition"),
        ({"authorization_id": "7679-YW36"}, "invalid_authorization_not_found"),
        ({"canceled_transaction_id": "7679-YW36"}, "invalid_canceled_transaction_not_available"),
        (
            {"authorization_id": "7679-YW36", "canceled_transaction_id": "7679-YW36"},
            "invalid_transaction_multiple_inheritable_options",
        ),
        ({"invoice_delivery_method": ["email"]}, "invalid_json_format"),
        ({"transaction_details": []}, "invalid_transaction_details"),
        ({"transaction_details": ["line"]}, "invalid_transaction_details"),
        (
            {"amounts_per_tax_rate_type": [{"tax_rate_type": "reduced_8", "amount": 11_000}]},
            "invalid_amount_per_tax_rate_type_tax_rate_type",
        ),
        (
            {"amounts_per_tax_rate_type": [{"tax_rate_type": "normal_9", "amount": 11_000}]},
            "invalid_amount_per_tax_rate_type_tax_rate_type",
        ),
        (
            {"amounts_per_tax_rate_type": [{"tax_rate_type": "normal_10", "amount": 5_500}] * 2},
            "invalid_transaction_amounts_per_tax_rate_type",
        ),
    ],
)
async def test_a_body_against_the_rules_is_refused_by_code_and_changes_nothing(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Sale,
    changes: dict[str, Any],
    code: str,
) -> None:
    assert code in _codes(await kessai.post("/transactions", json=sale(**changes)))
    assert twins.effects == []


@pytest.mark.parametrize(
    "changes,code",
    [
        ({"description": ""}, "invalid_transaction_detail_description"),
        ({"description": "あ" * 251}, "invalid_transaction_detail_description"),
        ({"unit_price": 999}, "invalid_transaction_detail_amount"),
        ({"unit_price": "1000"}, "invalid_transaction_detail_unit_price"),
        ({"unit_price_str": "1e3"}, "invalid_transaction_detail_unit_price"),
        ({"unit_price_str": "1000.00000"}, "invalid_transaction_detail_unit_price"),
        ({"unit_price": 0.00001, "amount": 0.00001}, "invalid_transaction_detail_unit_price"),
        ({"quantity": ...}, "invalid_transaction_detail_quantity"),
        ({"quantity": -1, "unit_price": -1_000}, "invalid_transaction_detail_quantity"),
        ({"amount": 2**31, "unit_price": 2**31}, "invalid_transaction_detail_amount"),
        ({"tax_rate_type": "10%"}, "invalid_transaction_detail_tax_rate_type"),
        ({"tax_included_type": "exclude"}, "invalid_transaction_detail_tax_included_type"),
        ({"unit": "個"}, "invalid_transaction_details"),
        ({"unit_price": -1_000, "amount": -1_000}, "invalid_transaction_details_amount_total"),
    ],
)
async def test_a_line_against_the_rules_is_refused_by_code(
    kessai: httpx2.AsyncClient,
    sale: Sale,
    changes: dict[str, Any],
    code: str,
) -> None:
    body = sale(transaction_details=[_line(**changes)])

    assert code in _codes(await kessai.post("/transactions", json=body))


async def test_lengths_count_characters_and_not_bytes(kessai: httpx2.AsyncClient, sale: Sale) -> None:
    body = sale(
        number="請" * 100,
        transaction_details=[_line(description="𠮷" * 250, unit_price=10_000, amount=10_000)],
    )

    assert (await kessai.post("/transactions", json=body)).status_code == 200


async def test_an_unknown_destination_is_404_and_names_it(kessai: httpx2.AsyncClient, sale: Sale) -> None:
    answer = await kessai.post("/transactions", json=sale(destination_id="0000-0000"))

    assert (answer.status_code, answer.json()[0]["param"]) == (404, "0000-0000")


@pytest.mark.parametrize(
    "content_type,content,code",
    [
        ("text/plain", b"{}", "invalid_content_type"),
        ("application/x-www-form-urlencoded", b"a=b", "invalid_content_type"),
        ("application/json", b"{", "invalid_json_format"),
        ("application/json", b"[]", "invalid_json_format"),
        ("application/json", b'{"amount": NaN}', "invalid_json_format"),
        ("application/json", b'{"amount": 1, "amount": 2}', "invalid_json_format"),
        ("application/json", b"\xff", "invalid_json_format"),
        ("application/json", b"[" * 100_000, "invalid_json_format"),
    ],
)
async def test_what_is_not_a_json_object_is_refused(
    kessai: httpx2.AsyncClient,
    content_type: str,
    content: bytes,
    code: str,
) -> None:
    answer = await kessai.post("/transactions", content=content, headers={"content-type": content_type})

    assert _codes(answer) == [code]
