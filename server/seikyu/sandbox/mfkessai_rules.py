"""What Kessai demands of a new transaction, checked to the letter, all faults reported at once.

Source: transaction registration, error codes, invoice modes, read 2026-11-21. Where a page is silent the
twin is strict and the line says "a guess".
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from seikyu.sandbox.mfkessai_problems import Problem, as_sent
from seikyu.sandbox.mfkessai_records import Detail, Draft, SellerMode, TaxTotal
from seikyu.sandbox.wire import Json

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
FOUR_DECIMALS: Final = Decimal("0.0001")
DELIVERY_METHODS: Final = ("posting", "email")
BILLING_CONDITIONS: Final = ("passed", "all")
TAX_INCLUDED_TYPES: Final = ("included", "excluded")
# tax categories, read 2026-11-21; the zeros are a guess, the page names no rate for those two
TAX_RATES: Final[Mapping[str, Decimal]] = {
    "normal_10": Decimal("0.10"),
    "normal_8": Decimal("0.08"),
    "reduced_8": Decimal("0.08"),
    "transitional_measures_8": Decimal("0.08"),
    "non_taxable": Decimal(0),
    "inapplicable": Decimal(0),
}
_FIELDS: Final = frozenset(
    {
        "amount",
        "amounts_per_tax_rate_type",
        "authorization_id",
        "billing_condition",
        "canceled_transaction_id",
        "date",
        "destination_id",
        "due_date",
        "invoice_delivery_methods",
        "issue_date",
        "number",
        "transaction_details",
    },
)
_DETAIL_FIELDS: Final = frozenset(
    {
        "amount",
        "amount_str",
        "description",
        "quantity",
        "quantity_str",
        "tax_included_type",
        "tax_rate_type",
        "unit_price",
        "unit_price_str",
    },
)
_NUMBER_TEXT: Final = re.compile(r"-?[0-9]+(\.[0-9]{1,4})?")
_DATE_TEXT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAX_NUMBER_TEXT, _MAX_DETAILS, _MAX_NUMBER, _MAX_DESCRIPTION = 16, 500, 100, 250


@dataclass(slots=True)
class _Reading:
    """The body under examination, and what was found wrong with it."""

    body: Mapping[str, Json]
    problems: list[Problem] = field(default_factory=list[Problem])

    def refuse(self, code: str, message: str, sent: Json = "") -> None:
        self.problems.append(Problem(code, message, as_sent(sent)))

    def text(self, name: str, code: str, *, longest: int) -> str:
        value = self.body.get(name)
        # 文字 counts code points: a guess, the unit is not explained
        if isinstance(value, str) and 1 <= len(value) <= longest:
            return value
        self.refuse(code, f"{name} must be text of 1 to {longest} characters", value)
        return ""

    def word(self, name: str, code: str, allowed: Collection[str]) -> str:
        value = self.body.get(name)
        if isinstance(value, str) and value in allowed:
            return value
        self.refuse(code, f"{name} must be one of {', '.join(allowed)}", value)
        return ""

    def day(self, name: str, code: str) -> date:
        value = self.body.get(name)
        try:
            return read_date(value)
        except ValueError as error:
            self.refuse(code, f"{name}: {error}", value)
            return date.min


def read_transaction(body: Mapping[str, Json], mode: SellerMode) -> Draft | list[Problem]:
    """Return the transaction, or everything that is wrong with the body."""
    reading = _Reading(body)
    _check_fields(reading)
    details = _details(reading)
    sound_details = not reading.problems
    totals = _totals(reading, mode)
    if sound_details and totals is not None:
        _check_totals(reading, details, totals)
    draft = Draft(
        number=reading.text("number", "invalid_transaction_number", longest=_MAX_NUMBER),
        destination_id=reading.text("destination_id", "invalid_destination_id", longest=_MAX_NUMBER),
        # how the three dates must follow each other is not on a page we read, so it is not checked
        traded_on=reading.day("date", "invalid_transaction_date"),
        issue_date=reading.day("issue_date", "invalid_transaction_issue_date"),
        due_date=reading.day("due_date", "invalid_transaction_due_date"),
        totals=() if totals is None or mode is SellerMode.BILLING else totals,
        amount=_amount(reading, mode, details, totals),
        details=details,
        delivery_methods=_delivery_methods(reading),
        billing_condition=_billing_condition(reading),
    )
    return reading.problems or draft


def read_date(value: Json) -> date:
    """Read YYYY-MM-DD.

    Raises:
        ValueError: it is written otherwise, or there is no such day.
    """
    if not isinstance(value, str) or not _DATE_TEXT.fullmatch(value):
        raise ValueError("a date is written YYYY-MM-DD")
    return date.fromisoformat(value)


def tax_inclusive(details: Sequence[Detail]) -> dict[str, Decimal]:
    """Return the exact tax-inclusive yen of each category: included lines plus excluded ones with tax."""
    sums: dict[str, Decimal] = {}
    for detail in details:
        rate = TAX_RATES[detail.tax_rate_type] if detail.tax_included_type == "excluded" else Decimal(0)
        sums[detail.tax_rate_type] = sums.get(detail.tax_rate_type, Decimal(0)) + detail.amount * (1 + rate)
    return sums


def _check_fields(reading: _Reading) -> None:
    unknown = sorted(set(reading.body) - _FIELDS)
    if unknown:  # a guess: the real service may ignore them, the twin must not hide a slip
        reading.refuse("invalid_json_format", f"unknown fields: {', '.join(unknown)}")
    given = {name for name in ("authorization_id", "canceled_transaction_id") if name in reading.body}
    if len(given) > 1:
        number = reading.body.get("number")
        reading.refuse("invalid_transaction_multiple_inheritable_options", "only one may be given", number)
    elif "authorization_id" in given:
        sent = reading.body["authorization_id"]
        reading.refuse("invalid_authorization_not_found", "the twin has no authorizations", sent)
    elif given:
        sent = reading.body["canceled_transaction_id"]
        reading.refuse("invalid_canceled_transaction_not_available", "not enabled for this seller", sent)


def _details(reading: _Reading) -> tuple[Detail, ...]:
    lines = reading.body.get("transaction_details")
    if not isinstance(lines, list) or not 1 <= len(lines) <= _MAX_DETAILS:
        reading.refuse("invalid_transaction_details", f"1 to {_MAX_DETAILS} lines are needed")
        return ()
    before = len(reading.problems)
    details = tuple(_detail(reading, line) for line in lines)
    if len(reading.problems) == before and sum((detail.amount for detail in details), Decimal(0)) < 1:
        reading.refuse("invalid_transaction_details_amount_total", "the lines add up to less than 1 yen")
    return details


def _detail(reading: _Reading, line: Json) -> Detail:
    if not isinstance(line, Mapping) or set(line) - _DETAIL_FIELDS:
        reading.refuse("invalid_transaction_details", "a line is an object of the documented fields")
        line = {}
    own = _Reading(line, reading.problems)
    detail = Detail(
        description=own.text(
            "description",
            "invalid_transaction_detail_description",
            longest=_MAX_DESCRIPTION,
        ),
        unit_price=_number(own, "unit_price", lowest=INT32_MIN),
        # the payload table allows a minus, the text of the error does not: the stricter one holds here
        quantity=_number(own, "quantity", lowest=0),
        amount=_number(own, "amount", lowest=INT32_MIN),
        tax_rate_type=own.word("tax_rate_type", "invalid_transaction_detail_tax_rate_type", TAX_RATES),
        tax_included_type=own.word(
            "tax_included_type",
            "invalid_transaction_detail_tax_included_type",
            TAX_INCLUDED_TYPES,
        ),
    )
    if detail.unit_price * detail.quantity != detail.amount:
        own.refuse("invalid_transaction_detail_amount", "amount is not unit_price x quantity", detail.amount)
    return detail


def _number(reading: _Reading, name: str, *, lowest: int) -> Decimal:
    """Read `name_str` when given, else `name`: at most four decimals, up to the largest int32."""
    text = reading.body.get(f"{name}_str")
    sent = reading.body.get(name) if text is None else text
    number = _numeric(sent) if text is None else _numeric_text(sent)
    if number is not None and lowest <= number <= INT32_MAX and number == number.quantize(FOUR_DECIMALS):
        return number
    message = f"{name} must be a number from {lowest} to {INT32_MAX} with at most four decimals"
    reading.refuse(f"invalid_transaction_detail_{name}", message, sent)
    return Decimal(0)


def _numeric(sent: Json) -> Decimal | None:
    if isinstance(sent, int | Decimal) and not isinstance(sent, bool):
        return Decimal(sent)
    return None


def _numeric_text(sent: Json) -> Decimal | None:
    if isinstance(sent, str) and len(sent) <= _MAX_NUMBER_TEXT and _NUMBER_TEXT.fullmatch(sent):
        return Decimal(sent)
    return None


def _totals(reading: _Reading, mode: SellerMode) -> tuple[TaxTotal, ...] | None:
    entries = reading.body.get("amounts_per_tax_rate_type")
    if entries is None and mode is SellerMode.BILLING:
        return None
    if not isinstance(entries, list) or not entries:
        reading.refuse("invalid_transaction_amounts_per_tax_rate_type", "one entry a tax category is needed")
        return None
    before = len(reading.problems)
    totals = tuple(_total(reading, entry) for entry in entries)
    if len({total.tax_rate_type for total in totals}) != len(totals):
        # a guess: repeating a category is not mentioned
        reading.refuse("invalid_transaction_amounts_per_tax_rate_type", "a tax category is repeated")
    return totals if len(reading.problems) == before else None


def _total(reading: _Reading, entry: Json) -> TaxTotal:
    if not isinstance(entry, Mapping) or set(entry) - {"amount", "tax_rate_type"}:
        reading.refuse(
            "invalid_transaction_amounts_per_tax_rate_type",
            "an entry has amount and tax_rate_type",
        )
        entry = {}
    own = _Reading(entry, reading.problems)
    kind = own.word("tax_rate_type", "invalid_amount_per_tax_rate_type_tax_rate_type", TAX_RATES)
    return TaxTotal(kind, _yen(own, "invalid_amount_per_tax_rate_type_amount", lowest=INT32_MIN))


def _yen(reading: _Reading, code: str, *, lowest: int) -> int:
    sent = reading.body.get("amount")
    if isinstance(sent, int) and not isinstance(sent, bool) and lowest <= sent <= INT32_MAX:
        return sent
    reading.refuse(code, f"amount must be a whole number from {lowest} to {INT32_MAX}", sent)
    return 0


def _check_totals(reading: _Reading, details: Sequence[Detail], totals: Sequence[TaxTotal]) -> None:
    """Hold the stated totals against the lines: less than one yen apart, in every category."""
    exact = tax_inclusive(details)
    for total in totals:
        if total.tax_rate_type not in exact:
            code = "invalid_amount_per_tax_rate_type_tax_rate_type"
            reading.refuse(code, "no line has this tax category", total.tax_rate_type)
        elif abs(total.amount - exact[total.tax_rate_type]) >= 1:
            code = "invalid_amount_per_tax_rate_type_amount"
            reading.refuse(code, "differs from the lines by 1 yen or more", total.amount)
    if set(exact) - {total.tax_rate_type for total in totals}:
        # a guess: a category that the lines use but the list leaves out
        reading.refuse("invalid_transaction_amounts_per_tax_rate_type", "a tax category of the lines is missing")


def _amount(
    reading: _Reading,
    mode: SellerMode,
    details: Sequence[Detail],
    totals: Sequence[TaxTotal] | None,
) -> int:
    if mode is SellerMode.BILLING and "amount" not in reading.body:
        # a guess: the seller's rounding setting decides, the twin's seller rounds down
        exact = tax_inclusive(details).values() if not reading.problems else ()
        return sum(int(part.to_integral_value(ROUND_FLOOR)) for part in exact)
    amount = _yen(reading, "invalid_transaction_amount", lowest=1)
    if totals is not None and amount and amount != sum(total.amount for total in totals):
        reading.refuse("invalid_transaction_amount", "amount is not the sum of the totals", amount)
    return amount


def _delivery_methods(reading: _Reading) -> tuple[str, ...]:
    code = "invalid_transaction_invoice_delivery_methods"
    sent = reading.body.get("invoice_delivery_methods")
    if not isinstance(sent, list):
        reading.refuse(code, "a list of 1 or 2 methods is needed", sent)
        return ()
    methods = tuple(method for method in sent if isinstance(method, str) and method in DELIVERY_METHODS)
    if not sent or len(methods) != len(sent):
        reading.refuse(code, f"only {' and '.join(DELIVERY_METHODS)} are methods", sent)
    for method in DELIVERY_METHODS:
        if methods.count(method) > 1:
            reading.refuse("invalid_transaction_duplicate_invoice_delivery_method", "repeated", method)
    return methods


def _billing_condition(reading: _Reading) -> str:
    if "billing_condition" not in reading.body:
        return "all"  # the default of the twin's seller; in life it is a setting of the admin screen
    return reading.word("billing_condition", "invalid_transaction_billing_condition", BILLING_CONDITIONS)
