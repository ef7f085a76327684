"""What Money Forward Kessai demands of a transaction, and what its credit rules promise: pure and exact.

Every figure is a `Decimal` or an `int`; nothing is rounded except where a rounding is named.
Source: MFK API v2 reference, read 2026-11-21. Rate 0 for `non_taxable`, `inapplicable` is a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Context, Decimal, Inexact, localcontext
from typing import Final, Literal, TypeAlias, TypeVar

from seikyu.errors import ConfigurationError, InvalidArguments, Text
from seikyu.models import MAX_YEN, shown, yen_text
from seikyu.providers.mfkessai.models import (
    Billing,
    CreditFacility,
    InvoiceMode,
    TaxIncludedType,
    TaxRateType,
)
from seikyu.spec import Connection, Environment

Rounding: TypeAlias = Literal["floor", "round", "ceil"]
Totals: TypeAlias = Mapping[TaxRateType, int]
"""Tax-inclusive yen for each tax rate, in the order of `RATES`."""
Judgement: TypeAlias = Literal["passes_at_once", "ordinary_review", "no_amount_given"]
ChoiceT = TypeVar("ChoiceT", bound=str)

RATES: Final[Mapping[TaxRateType, Decimal]] = {
    "normal_10": Decimal("0.10"),
    "reduced_8": Decimal("0.08"),
    "normal_8": Decimal("0.08"),
    "transitional_measures_8": Decimal("0.08"),
    "non_taxable": Decimal(0),
    "inapplicable": Decimal(0),
}
MAGIC_WORDS: Final = ("__passed__", "__rejected__", "__unexamined__")
"""In the sandbox, lines described by one of these decide the review."""

_MODES: Final[Mapping[str, InvoiceMode]] = {
    "kubun": "kubun",
    "billing": "billing",
    "transaction": "transaction",
}
_ROUNDINGS: Final[Mapping[str, Rounding]] = {"floor": "floor", "round": "round", "ceil": "ceil"}
_DECIMAL_ROUNDING: Final[Mapping[Rounding, str]] = {
    "floor": ROUND_DOWN,
    "round": ROUND_HALF_UP,
    "ceil": ROUND_UP,
}
_EXACT: Final = Context(prec=80, traps=[Inexact])
"""Would raise rather than round; 500 lines of the largest figures need fewer than 40 digits."""
_SMALLEST: Final = Decimal("0.0001")
_LEAST: Final = -2_147_483_648
_LONGEST_NUMBER: Final = 100


@dataclass(frozen=True, slots=True)
class Line:
    """取引明細: what is sold or, with a negative price, taken back."""

    description: str
    quantity: Decimal
    unit_price: Decimal
    tax_rate_type: TaxRateType
    tax_included_type: TaxIncludedType

    @property
    def amount(self) -> Decimal:
        """Quantity times unit price, exact; with tax or without, as `tax_included_type` says."""
        with localcontext(_EXACT):
            return self.quantity * self.unit_price

    @property
    def amount_with_tax(self) -> Decimal:
        """The exact tax-inclusive amount."""
        with localcontext(_EXACT):
            rate = RATES[self.tax_rate_type] if self.tax_included_type == "excluded" else Decimal(0)
            return self.amount * (1 + rate)


def plain(number: Decimal) -> str:
    """`1.50` as `1.5`, `1E+3` as `1000`, `-0` as `0`."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


# the seller's settings


def invoice_mode(connection: Connection) -> InvoiceMode:
    """How the seller bills. MFK's API does not tell it, so the operator does.

    Raises:
        ConfigurationError: the setting is none of the three modes.
    """
    return _option(connection, "invoice_mode", _MODES, "transaction")


def tax_rounding(connection: Connection) -> Rounding:
    """How fractions of a yen go: `floor` 切り捨て, `round` 四捨五入, `ceil` 切り上げ. MFK accepts each.

    Raises:
        ConfigurationError: the setting is none of the three.
    """
    return _option(connection, "tax_rounding", _ROUNDINGS, "floor")


def _option(connection: Connection, name: str, choices: Mapping[str, ChoiceT], default: str) -> ChoiceT:
    choice = choices.get(connection.options.get(name, default))
    if choice is None:
        allowed = ", ".join(choices)
        raise ConfigurationError(
            Text(
                f"接続 {connection.name} の {name} の値が正しくありません。",
                f"Connection {connection.name}: {name} has no valid value.",
            ),
            Text(f"{allowed} のいずれかにしてください。", f"Set it to one of {allowed}."),
        )
    return choice


# the lines


def check_lines(lines: Sequence[Line], environment: Environment) -> None:
    """Refuse what MFK would refuse, before anybody is asked to approve it.

    Raises:
        InvalidArguments: a figure out of range, a fifth decimal, a sum below one yen, or in production a word
            that is meant for the sandbox.
    """
    for position, line in enumerate(lines, start=1):
        _check_figures(position, line)
        if environment == "production":
            _check_description(position, line.description)
    with localcontext(_EXACT):
        total = sum((line.amount for line in lines), Decimal(0))
    if total < 1:
        raise InvalidArguments(
            Text(
                f"明細の小計の合計が{plain(total)}円で、1円に足りません。",
                f"The line amounts add up to {plain(total)} yen; the least is 1.",
            ),
        )


def _check_figures(position: int, line: Line) -> None:
    if line.quantity < 0:
        raise _bad_line(
            position,
            Text(
                "数量が負です。返品は数量を正、単価を負にしてください。",
                "quantity is negative; write a return as a positive quantity with a negative unit_price.",
            ),
        )
    figures = {"quantity": line.quantity, "unit_price": line.unit_price, "quantity x unit_price": line.amount}
    for name, figure in figures.items():
        if not _LEAST <= figure <= MAX_YEN or not _has_four_places(figure):
            raise _bad_line(
                position,
                Text(
                    f"{name} は -2147483648 から 2147483647 まで、小数点以下4桁までです。",
                    f"{name} must be within -2147483648 to 2147483647, with at most 4 decimals.",
                ),
            )


def _has_four_places(figure: Decimal) -> bool:
    with localcontext(_EXACT):
        return figure % _SMALLEST == 0


def _check_description(position: int, description: str) -> None:
    if any(word in description.casefold() for word in MAGIC_WORDS):
        raise _bad_line(
            position,
            Text(
                "品名がサンドボックスの審査操作用の語です。本番では使えません。",
                "the description steers reviews in the sandbox; it has no place in production.",
            ),
        )


def _bad_line(position: int, why: Text) -> InvalidArguments:
    return InvalidArguments(Text(f"明細{position}行目: {why.ja}", f"Line {position}: {why.en}"))


# the totals


def exact_totals(lines: Iterable[Line]) -> Mapping[TaxRateType, Decimal]:
    """What the lines come to for each tax rate they use, tax included, before any rounding."""
    sums: dict[TaxRateType, Decimal] = {}
    with localcontext(_EXACT):
        for line in lines:
            sums[line.tax_rate_type] = sums.get(line.tax_rate_type, Decimal(0)) + line.amount_with_tax
    return {rate: sums[rate] for rate in RATES if rate in sums}


def derive_totals(lines: Iterable[Line], rounding: Rounding) -> Totals:
    """The total of each tax rate, rounded to whole yen.

    The rounding works on the magnitude, so that a return cancels its sale exactly: `floor` makes -0.5 a 0.
    """
    mode = _DECIMAL_ROUNDING[rounding]
    return {rate: int(exact.to_integral_value(mode)) for rate, exact in exact_totals(lines).items()}


def unique_totals(pairs: Iterable[tuple[TaxRateType, int]]) -> Totals:
    """Totals as given, in the order of `RATES`.

    Raises:
        InvalidArguments: a tax rate appears twice.
    """
    totals: dict[TaxRateType, int] = {}
    for rate, amount in pairs:
        if rate in totals:
            raise InvalidArguments(Text(f"税率別合計に {rate} が二度あります。", f"The totals name {rate} twice."))
        totals[rate] = amount
    return {rate: totals[rate] for rate in RATES if rate in totals}


def check_totals(lines: Sequence[Line], totals: Totals) -> None:
    """MFK's own consistency check: each total within one yen (exclusive) of what its lines come to.

    Raises:
        InvalidArguments: a total strays, lacks its lines or is missing, or the sum is not 1 to 2,147,483,647.
    """
    exact = exact_totals(lines)
    for rate in RATES:
        if (rate in exact) != (rate in totals):
            raise InvalidArguments(
                Text(
                    f"税率別合計と明細の税率が一致しません: {rate}。",
                    f"Lines and totals do not use the same tax rates: {rate} is only in one of them.",
                )
            )
        if rate in exact and not abs(totals[rate] - exact[rate]) < 1:
            raise InvalidArguments(
                Text(
                    f"{rate} の合計 {totals[rate]}円が、明細からの計算値 {plain(exact[rate])}円と1円以上違います。",
                    f"The {rate} total of {totals[rate]} yen is a yen or more away from {plain(exact[rate])},"
                    " which its lines come to.",
                )
            )
    _check_sum(sum(totals.values()))


def _check_sum(total: int) -> None:
    if not 1 <= total <= MAX_YEN:
        raise InvalidArguments(
            Text(
                f"取引金額が{yen_text(total)}です。1円から2,147,483,647円までです。",
                f"The transaction comes to {total:,} yen; it must be 1 to 2,147,483,647.",
            )
        )


def check_amount(amount: int | None, totals: Totals) -> None:
    """Refuse a tax-inclusive amount that is not the sum of the totals.

    Raises:
        InvalidArguments: they differ.
    """
    total = sum(totals.values())
    if amount is not None and amount != total:
        raise InvalidArguments(
            Text(
                f"amount {yen_text(amount)} が税率別合計の和 {yen_text(total)} と違います。",
                f"amount is {amount:,} yen, but the totals of the tax rates add up to {total:,}.",
            ),
            Text(
                "amount を省くか、端数処理が違うときは totals を指定してください。",
                "Leave amount out, or give totals when fractions are rounded another way.",
            ),
        )


# the number and the days


def transaction_number(given: str | None, action_id: str) -> str:
    """The number that makes the transaction unique: the seller's own, or one derived from the action.

    Raises:
        InvalidArguments: the number could come back changed, so a look-up by it would prove nothing.
    """
    number = f"SK-{action_id}" if given is None else given
    if not number.strip() or number != number.strip() or shown(number, _LONGEST_NUMBER) != number:
        raise InvalidArguments(
            Text(
                "取引番号は1〜100文字で、前後の空白や見えない文字を含められません。",
                "The number needs 1 to 100 characters, no blanks around it and no invisible characters.",
            )
        )
    return number


def date_notes(*, transaction: date, issue: date, due: date) -> tuple[Text, ...]:
    """What looks like a slip in the days. MFK's reference names no order, so nothing is refused."""
    notes = (
        (
            due < transaction,
            Text("支払期限が取引日より前です。", "The due date is before the transaction date."),
        ),
        (due < issue, Text("支払期限が発行日より前です。", "The due date is before the issue date.")),
    )
    return tuple(note for is_odd, note in notes if is_odd)


# the credit


@dataclass(frozen=True, slots=True)
class CreditJudgement:
    """What MFK's credit rules say of one customer and, perhaps, one amount, on one day."""

    facility: CreditFacility | None
    """In force on the day; periods never overlap."""
    passes_at_once: bool | None
    """None when no amount was given."""
    unpaid: tuple[Billing, ...]
    has_alert: bool
    """The monthly renewal is stopped; what is granted stays usable."""
    has_more_unpaid: bool = False
    """There are overdue billings besides `unpaid`."""

    @property
    def balance(self) -> int | None:
        return self.facility.balance if self.facility else None

    @property
    def word(self) -> Judgement:
        if self.passes_at_once is None:
            return "no_amount_given"
        return "passes_at_once" if self.passes_at_once else "ordinary_review"


def judge_credit(
    facilities: Iterable[CreditFacility],
    billings: Iterable[Billing],
    amount: int | None,
    today: date,
    *,
    has_alert: bool = False,
    has_more_unpaid: bool = False,
) -> CreditJudgement:
    """Tell whether `amount` passes at once when registered `today` (in Japan; not the transaction's date).

    Up to and including the balance it passes and uses the balance. Above it, or without a facility in force,
    the ordinary review takes at most 2 business days and leaves the balance alone.
    """
    in_force = [facility for facility in facilities if facility.start_date <= today <= facility.end_date]
    # two would contradict MFK's own rule; the smaller promises less
    facility = min(in_force, key=lambda each: each.balance, default=None)
    passes = None if amount is None else facility is not None and amount <= facility.balance
    unpaid = {billing.id: billing for billing in billings if billing.unpaid is not None}
    return CreditJudgement(facility, passes, tuple(unpaid.values()), has_alert, has_more_unpaid)


def credit_notes(judgement: CreditJudgement) -> tuple[Text, ...]:
    """The judgement in sentences, for the person who decides."""
    notes = [_balance_note(judgement)]
    if judgement.has_alert:
        notes.append(
            Text(
                "この顧客にはアラートが出ています（次回の与信枠の自動更新は停止）。",
                "MFK has raised an alert on this customer: the next automatic credit renewal is stopped.",
            )
        )
    if judgement.unpaid:
        notes.append(_unpaid_note(judgement))
    return tuple(notes)


def _unpaid_note(judgement: CreditJudgement) -> Text:
    count = len(judgement.unpaid)
    shortage = sum(billing.unpaid.shortage_amount for billing in judgement.unpaid if billing.unpaid)
    at_least = Text("少なくとも", "At least ") if judgement.has_more_unpaid else Text("", "")
    return Text(
        f"未入金の請求が{at_least.ja}{count}件、{yen_text(shortage)}あります。",
        f"{at_least.en}{count} billing(s) overdue, {shortage:,} yen in all.",
    )


def _balance_note(judgement: CreditJudgement) -> Text:
    balance = judgement.balance
    if balance is None:
        return Text(
            "本日有効な与信枠がないため、通常審査（最長2営業日）になります。",
            "No credit facility is in force today: ordinary review, at most 2 business days.",
        )
    left = Text(f"与信残高は{yen_text(balance)}です。", f"The credit balance is {balance:,} yen.")
    if judgement.passes_at_once is None:
        return left
    if judgement.passes_at_once:
        return left + Text("本日の登録なら即時に審査を通過します。", "Registered today, it passes at once.")
    return left + Text(
        "残高を超えるため、通常審査（最長2営業日）になります。",
        "The amount exceeds it: ordinary review, at most 2 business days.",
    )
