"""One transaction (取引) as it is asked for: what an operator reads, and whether what MFK has is the same.

Source: MFK API v2 reference, transactions, read 2026-11-21.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import chain, compress
from typing import Final, TypeAlias

from seikyu.errors import Text
from seikyu.models import shown, yen_text
from seikyu.providers.mfkessai.models import (
    CanceledTransaction,
    DetailPayload,
    Transaction,
    TransactionDetail,
    TransactionPayload,
)
from seikyu.providers.mfkessai.rules import Line, exact_totals, plain
from seikyu.spec import CardLine, Different, Done, Json, ProviderRequest

TAX_NAMES: Final[Mapping[str, str]] = {
    "normal_10": "10%",
    "reduced_8": "軽減8%",
    "normal_8": "8%",
    "transitional_measures_8": "経過措置8%",
    "non_taxable": "非課税",
    "inapplicable": "対象外",
}
INCLUDED_NAMES: Final[Mapping[str, str]] = {"excluded": "外税", "included": "内税"}
DELIVERY_NAMES: Final[Mapping[str, str]] = {"email": "メール", "posting": "郵送"}
Checks: TypeAlias = tuple[tuple[Text, bool], ...]
"""Fields by name, and whether they are ours."""

_LONGEST_HOLIDAY: Final = timedelta(days=14)
"""An issue date on a holiday moves to the next business day; a guess: no run of holidays is longer."""


def payload_of(request: ProviderRequest) -> TransactionPayload:
    """The body of a registration, as stored."""
    return TransactionPayload.model_validate(request.body)


def describe_registration(request: ProviderRequest) -> tuple[CardLine, ...]:
    """Everything the request says, line by line."""
    payload = payload_of(request)
    methods = "・".join(DELIVERY_NAMES[method] for method in payload.invoice_delivery_methods)
    return (
        CardLine(Text("取引番号", "Number"), shown(payload.number)),
        CardLine(Text("請求先ID", "Destination"), shown(payload.destination_id)),
        CardLine(Text("取引日", "Transaction date"), payload.date.isoformat()),
        CardLine(Text("発行日", "Issue date"), payload.issue_date.isoformat()),
        CardLine(Text("支払期限", "Due date"), payload.due_date.isoformat()),
        CardLine(Text("送付方法", "Delivery"), methods),
        *(_line_card(place, line) for place, line in enumerate(payload.transaction_details, start=1)),
        *_money_cards(payload),
    )


def describe_cancellation(request: ProviderRequest) -> tuple[CardLine, ...]:
    """All that a cancellation says; what it cancels stands in the particulars."""
    return (CardLine(Text("取消する取引ID", "Transaction to cancel"), shown(request.path["transaction_id"])),)


def _line_card(place: int, line: DetailPayload) -> CardLine:
    quantity, price, amount = (
        _grouped(Decimal(text)) for text in (line.quantity_str, line.unit_price_str, line.amount_str)
    )
    tax = f"{TAX_NAMES[line.tax_rate_type]} {INCLUDED_NAMES[line.tax_included_type]}"
    value = f"{shown(line.description)} {quantity} × {price}円 = {amount}円（{tax}）"
    return CardLine(Text(f"明細{place}", f"Line {place}"), value)


def _money_cards(payload: TransactionPayload) -> Iterable[CardLine]:
    whole = Text("合計（税込）", "Total with tax")
    if payload.amount is None:
        exact = _grouped(sum(exact_totals(lines_of(payload)).values(), Decimal(0)))
        yield CardLine(whole, f"{exact}円（端数はMFKが計算）")
        return
    for total in payload.amounts_per_tax_rate_type or ():
        name = TAX_NAMES[total.tax_rate_type]
        yield CardLine(Text(f"{name} 合計（税込）", f"{name} total with tax"), yen_text(total.amount))
    yield CardLine(whole, yen_text(payload.amount))


def _grouped(number: Decimal) -> str:
    return f"{Decimal(plain(number)):,f}"


def lines_of(payload: TransactionPayload) -> list[Line]:
    """The lines of a stored request, exact again."""
    return [
        Line(
            description=line.description,
            quantity=Decimal(line.quantity_str),
            unit_price=Decimal(line.unit_price_str),
            tax_rate_type=line.tax_rate_type,
            tax_included_type=line.tax_included_type,
        )
        for line in payload.transaction_details
    ]


# what MFK has, against what was asked


def settle_registration(request: ProviderRequest, answer: Transaction) -> Done | Different:
    """Believe the answer to a registration when it echoes what we sent and is not cancelled already.

    It may leave out delivery, totals and lines; what it does say of them has to be ours, as for the look-up.
    """
    payload = payload_of(request)
    given = (answer.invoice_delivery_methods, answer.amounts_per_tax_rate_type, answer.transaction_details)
    said = chain.from_iterable(compress(_details(payload, answer), given))
    checks = (*_identity(payload, answer), (Text("状態", "status"), answer.status != "canceled"), *said)
    return _verdict(answer, [name for name, is_same in checks if not is_same])


def compare_registration(request: ProviderRequest, found: Transaction) -> Done | Different:
    """Tell whether what stands under our number is what we asked for, in every field that MFK returns."""
    if found.status == "canceled":
        return Different(
            Text(
                "この番号の取引は登録後にキャンセルされています。番号は再利用できません。",
                "A transaction with this number exists but was cancelled; the number cannot be used again.",
            ),
            found.id,
        )
    return _verdict(found, _differences(payload_of(request), found))


def settle_cancellation(request: ProviderRequest, answer: CanceledTransaction) -> Done | Different:
    """Believe the answer to a cancellation when it is about our transaction."""
    if answer.id == request.path["transaction_id"]:
        return canceled(answer)
    return _verdict(answer, [Text("取引ID", "id")])


def canceled(found: Transaction) -> Done:
    """The cancellation is done; the request names the id alone, so the gate compares what was cancelled."""
    return replace(done(found), amount=found.amount)


def done(found: Transaction) -> Done:
    facts: dict[str, Json] = {"status": found.status, "amount": found.amount}
    return Done(found.id, facts, counterparty_id=found.customer_id)


def _verdict(found: Transaction, differing: list[Text]) -> Done | Different:
    if not differing:
        return done(found)
    names = Text("、".join(name.ja for name in differing), ", ".join(name.en for name in differing))
    return Different(
        Text(
            f"MFKにある取引は依頼した内容と違います（{names.ja}）。get_transaction で確認してください。",
            f"What MFK has is not what was asked: {names.en} differ. See it with get_transaction.",
        ),
        found.id,
    )


_NUMBER: Final = Text("取引番号", "number")
_AMOUNT: Final = Text("金額", "amount")


def _differences(payload: TransactionPayload, found: Transaction) -> list[Text]:
    checks = (*_identity(payload, found), *chain.from_iterable(_details(payload, found)))
    return [name for name, is_same in checks if not is_same]


def _details(payload: TransactionPayload, found: Transaction) -> tuple[Checks, Checks, Checks]:
    """Delivery, totals and lines, and whether they are ours."""
    return (
        ((Text("送付方法", "delivery"), _is_delivery(payload, found)),),
        ((Text("税率別合計", "totals"), _are_totals(payload, found)),),
        (
            (Text("明細の品名", "descriptions"), _descriptions(payload) == _descriptions(found)),
            (Text("明細の小計", "line amounts"), _are_sums(payload, found)),
        ),
    )


def _identity(payload: TransactionPayload, found: Transaction) -> Checks:
    """The fields every answer about a transaction carries, and whether they are ours."""
    return (
        (_NUMBER, payload.number == found.number),
        (Text("請求先", "destination"), payload.destination_id == found.destination_id),
        (Text("取引日", "date"), payload.date == found.date),
        (Text("発行日", "issue date"), _is_issue_date(payload, found)),
        (Text("支払期限", "due date"), payload.due_date == found.due_date),
        (_AMOUNT, _is_amount(payload, found.amount)),
    )


def _is_issue_date(payload: TransactionPayload, found: Transaction) -> bool:
    return payload.issue_date <= found.issue_date <= payload.issue_date + _LONGEST_HOLIDAY


def _is_delivery(payload: TransactionPayload, found: Transaction) -> bool:
    return set(payload.invoice_delivery_methods) == set(found.invoice_delivery_methods)


def _is_amount(payload: TransactionPayload, amount: int) -> bool:
    """Exactly what we sent; where MFK computes it, less than one yen away for each tax rate."""
    if payload.amount is not None:
        return amount == payload.amount
    exact = exact_totals(lines_of(payload))
    return abs(amount - sum(exact.values(), Decimal(0))) < len(exact)


def _are_totals(payload: TransactionPayload, found: Transaction) -> bool:
    """Compared where MFK returns them: it answers an empty list where it computes the amount itself."""
    returned = {total.tax_rate_type: total.amount for total in found.amounts_per_tax_rate_type or ()}
    if payload.amounts_per_tax_rate_type is not None:
        asked = {total.tax_rate_type: total.amount for total in payload.amounts_per_tax_rate_type}
        return returned == asked
    exact = {str(rate): total for rate, total in exact_totals(lines_of(payload)).items()}
    is_within = all(abs(amount - exact.get(rate, Decimal("Infinity"))) < 1 for rate, amount in returned.items())
    return not returned or (returned.keys() == exact.keys() and is_within)


def _descriptions(of: TransactionPayload | Transaction) -> Counter[str]:
    """How often each description stands there; blanks and character widths may be written anew."""
    return Counter(" ".join(unicodedata.normalize("NFKC", line.description).split()) for line in of.transaction_details)


def _are_sums(payload: TransactionPayload, found: Transaction) -> bool:
    """A subtotal is the price times the quantity, or that with its tax: MFK's reference allows both."""
    lines = lines_of(payload)
    without_tax = _sums((line, line.amount) for line in lines)
    with_tax = _sums((line, line.amount_with_tax) for line in lines)
    return _sums((line, line.amount) for line in found.transaction_details) in (without_tax, with_tax)


def _sums(of: Iterable[tuple[Line | TransactionDetail, Decimal]]) -> dict[tuple[str | None, str | None], Decimal]:
    """What the lines come to for each kind of tax.

    Not their prices and quantities: MFK may move a return's sign from one to the other.
    """
    sums: dict[tuple[str | None, str | None], Decimal] = {}
    for line, amount in of:
        kind = (line.tax_rate_type, line.tax_included_type)
        sums[kind] = sums.get(kind, Decimal(0)) + amount
    return sums
