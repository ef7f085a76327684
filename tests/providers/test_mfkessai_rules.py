from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from providers.mfkessai_fakes import TODAY, connection, transaction
from seikyu.errors import ConfigurationError, InvalidArguments
from seikyu.providers.mfkessai.models import (
    Billing,
    CreditFacility,
    Customer,
    Page,
    TaxIncludedType,
    TaxRateType,
    Transaction,
    Unpaid,
)
from seikyu.providers.mfkessai.rules import (
    MAGIC_WORDS,
    RATES,
    CreditJudgement,
    Line,
    Rounding,
    check_amount,
    check_lines,
    check_totals,
    credit_notes,
    date_notes,
    derive_totals,
    exact_totals,
    invoice_mode,
    judge_credit,
    plain,
    tax_rounding,
    transaction_number,
    unique_totals,
)


def line(
    quantity: str,
    unit_price: str,
    rate: TaxRateType = "normal_10",
    kind: TaxIncludedType = "excluded",
    description: str = "商品A",
) -> Line:
    return Line(description, Decimal(quantity), Decimal(unit_price), rate, kind)


RATE_TYPES: list[TaxRateType] = list(RATES)
KINDS: list[TaxIncludedType] = ["excluded", "included"]
ROUNDINGS: list[Rounding] = ["floor", "round", "ceil"]
LINES = st.lists(
    st.builds(
        Line,
        description=st.just("商品"),
        quantity=st.decimals(0, 9999, places=2),
        unit_price=st.decimals(-999_999, 999_999, places=2),
        tax_rate_type=st.sampled_from(RATE_TYPES),
        tax_included_type=st.sampled_from(KINDS),
    ),
    min_size=1,
    max_size=30,
)


# totals


def accepts(check: Callable[..., object], *arguments: object) -> bool:
    """Whether `check` lets the arguments pass."""
    try:
        check(*arguments)
    except InvalidArguments:
        return False
    return True


@given(LINES, st.sampled_from(ROUNDINGS))
def test_derived_totals_always_pass_the_check_of_mfk(lines: list[Line], rounding: Rounding) -> None:
    totals = derive_totals(lines, rounding)
    assume(1 <= sum(totals.values()) <= 2_147_483_647)

    assert accepts(check_totals, lines, totals)


@given(LINES, st.sampled_from(ROUNDINGS), st.sampled_from([-2, 2]))
def test_a_total_two_yen_off_never_passes(lines: list[Line], rounding: Rounding, slip: int) -> None:
    totals = derive_totals(lines, rounding)
    rate = next(iter(totals))

    with pytest.raises(InvalidArguments):
        check_totals(lines, {**totals, rate: totals[rate] + slip})


@given(LINES)
def test_exact_totals_are_the_sums_of_fractions(lines: list[Line]) -> None:
    expected: dict[TaxRateType, Fraction] = {}
    for each in lines:
        taxed = 1 + Fraction(RATES[each.tax_rate_type]) if each.tax_included_type == "excluded" else 1
        amount = Fraction(each.quantity) * Fraction(each.unit_price) * taxed
        expected[each.tax_rate_type] = expected.get(each.tax_rate_type, Fraction(0)) + amount

    assert {rate: Fraction(total) for rate, total in exact_totals(lines).items()} == expected


@given(LINES, st.sampled_from(ROUNDINGS))
def test_a_return_cancels_its_sale_exactly(lines: list[Line], rounding: Rounding) -> None:
    returned = [
        Line(each.description, each.quantity, -each.unit_price, each.tax_rate_type, each.tax_included_type)
        for each in lines
    ]

    assert derive_totals(returned, rounding) == {rate: -total for rate, total in derive_totals(lines, rounding).items()}


def test_the_example_of_the_reference_comes_to_its_printed_totals() -> None:
    lines = [line("3", "1000"), line("3", "1000", "reduced_8"), line("1", "-1000")]

    assert derive_totals(lines, "floor") == {"normal_10": 2200, "reduced_8": 3240}


@pytest.mark.parametrize(
    "rounding,total", [("floor", 109), ("round", 110), ("ceil", 110)], ids=["floor", "round", "ceil"]
)
def test_a_fraction_goes_as_the_seller_set_it(rounding: Rounding, total: int) -> None:
    assert derive_totals([line("1", "99.6")], rounding) == {"normal_10": total}


def test_included_prices_get_no_tax_on_top() -> None:
    assert exact_totals([line("1", "110", kind="included"), line("1", "100")]) == {"normal_10": Decimal(220)}


@pytest.mark.parametrize("rate", ["non_taxable", "inapplicable"])
def test_untaxed_rates_add_nothing(rate: TaxRateType) -> None:
    assert exact_totals([line("1", "100", rate)]) == {rate: Decimal(100)}


@pytest.mark.parametrize("total", [109, 110])
def test_a_total_less_than_a_yen_away_passes(total: int) -> None:
    assert accepts(check_totals, [line("1", "99.6")], {"normal_10": total})  # comes to 109.56


@pytest.mark.parametrize("total", [109, 111])
def test_a_total_exactly_a_yen_away_is_refused(total: int) -> None:
    with pytest.raises(InvalidArguments, match="a yen or more away from 110"):
        check_totals([line("1", "100")], {"normal_10": total})


def test_a_total_without_lines_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="reduced_8 is only in one of them"):
        check_totals([line("1", "100")], {"normal_10": 110, "reduced_8": 0})


def test_lines_without_a_total_are_refused() -> None:
    with pytest.raises(InvalidArguments, match="reduced_8 is only in one of them"):
        check_totals([line("1", "100"), line("1", "100", "reduced_8")], {"normal_10": 110})


def test_one_total_may_be_negative_as_long_as_the_sum_is_not() -> None:
    assert accepts(
        check_totals, [line("1", "1000"), line("1", "-100", "reduced_8")], {"normal_10": 1100, "reduced_8": -108}
    )


@pytest.mark.parametrize("price,total", [("0.5", 0), ("2147483647", 2_147_483_648)])
def test_a_sum_outside_one_yen_to_the_largest_amount_is_refused(price: str, total: int) -> None:
    lines = [line("1", price, "non_taxable"), *([line("1", "1", "non_taxable")] if total else [])]

    with pytest.raises(InvalidArguments, match="must be 1 to 2,147,483,647"):
        check_totals(lines, {"non_taxable": total})


@pytest.mark.parametrize("total", [1, 2_147_483_647])
def test_the_smallest_and_the_largest_sum_pass(total: int) -> None:
    assert accepts(check_totals, [line("1", str(total), "non_taxable")], {"non_taxable": total})


def test_totals_are_ordered_as_the_rates_are() -> None:
    assert list(unique_totals([("reduced_8", 1), ("normal_10", 2)]).items()) == [
        ("normal_10", 2),
        ("reduced_8", 1),
    ]


def test_a_tax_rate_named_twice_is_refused() -> None:
    with pytest.raises(InvalidArguments, match="name normal_10 twice"):
        unique_totals([("normal_10", 1), ("normal_10", 2)])


def test_an_amount_must_be_the_sum_of_the_totals() -> None:
    check_amount(None, {"normal_10": 110})
    check_amount(110, {"normal_10": 110})
    with pytest.raises(InvalidArguments, match="amount is 111 yen"):
        check_amount(111, {"normal_10": 110})


# lines


def test_a_line_amount_is_exact_beyond_the_usual_precision() -> None:
    amount = line("9999999999.9999", "9999999999.9999").amount

    assert Fraction(amount) == Fraction(99_999_999_999_999**2, 10**8)


@pytest.mark.parametrize(
    "quantity,price",
    [("0.3", "10"), ("2.675", "100"), ("19.99", "1"), ("0.01", "0.01"), ("1", "0.0001"), ("0", "5")],
)
def test_four_decimals_pass_also_where_binary_floats_stumble(quantity: str, price: str) -> None:
    assert accepts(check_lines, [line(quantity, price), line("1", "1")], "production")


@pytest.mark.parametrize("quantity,price", [("0.001", "0.01"), ("1.0001", "1.1")])
def test_a_product_with_a_fifth_decimal_is_refused(quantity: str, price: str) -> None:
    with pytest.raises(InvalidArguments, match=r"Line 2: quantity x unit_price .* at most 4 decimals"):
        check_lines([line("1", "1"), line(quantity, price)], "production")


def test_a_product_with_zeros_beyond_the_fourth_decimal_passes() -> None:
    assert accepts(check_lines, [line("0.5000", "2.00"), line("1", "1")], "production")


def test_a_return_is_a_negative_price_not_a_negative_quantity() -> None:
    check_lines([line("1", "1000"), line("1", "-100")], "production")
    with pytest.raises(InvalidArguments, match="Line 2: quantity is negative"):
        check_lines([line("1", "1000"), line("-1", "100")], "production")


@pytest.mark.parametrize("quantity,price", [("2147483648", "0"), ("1", "2147483648"), ("2", "2000000000")])
def test_a_figure_beyond_32_bits_is_refused(quantity: str, price: str) -> None:
    with pytest.raises(InvalidArguments, match="2147483647"):
        check_lines([line(quantity, price)], "production")


@pytest.mark.parametrize("price", ["0", "0.9999", "-5"])
def test_lines_that_add_up_to_less_than_a_yen_are_refused(price: str) -> None:
    with pytest.raises(InvalidArguments, match="the least is 1"):
        check_lines([line("1", price)], "production")


@pytest.mark.parametrize("word", MAGIC_WORDS)
def test_sandbox_words_are_refused_in_production_only(word: str) -> None:
    lines = [line("1", "100"), line("1", "100", description=f" {word.upper()} ")]

    check_lines(lines, "sandbox")
    with pytest.raises(InvalidArguments, match="Line 2: the description steers reviews"):
        check_lines(lines, "production")


@pytest.mark.parametrize(
    "number,text", [("1.50", "1.5"), ("1E+3", "1000"), ("-0", "0"), ("-0.0", "0"), ("100", "100"), ("-2.0", "-2")]
)
def test_a_decimal_is_written_plainly(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


# settings, number, days


def test_settings_have_defaults() -> None:
    assert (invoice_mode(connection()), tax_rounding(connection())) == ("transaction", "floor")


def test_settings_are_read() -> None:
    at = connection(invoice_mode="billing", tax_rounding="ceil")

    assert (invoice_mode(at), tax_rounding(at)) == ("billing", "ceil")


def test_an_unknown_mode_needs_a_person() -> None:
    with pytest.raises(ConfigurationError, match="invoice_mode has no valid value"):
        invoice_mode(connection(invoice_mode="monthly"))


def test_the_number_is_the_sellers_or_the_actions() -> None:
    assert (transaction_number("INV-1", "act-1"), transaction_number(None, "act-1")) == ("INV-1", "SK-act-1")


@pytest.mark.parametrize("number", [" INV-1", "INV-1 ", " ", "INV\u200b1", "INV\n1", "N" * 101])
def test_a_number_that_may_come_back_changed_is_refused(number: str) -> None:
    with pytest.raises(InvalidArguments, match="no invisible characters"):
        transaction_number(number, "act-1")


def test_a_number_of_a_hundred_characters_passes() -> None:
    assert transaction_number("号" * 100, "act-1") == "号" * 100


def test_odd_days_are_noted_and_not_refused() -> None:
    notes = date_notes(transaction=date(2026, 11, 10), issue=date(2026, 11, 20), due=date(2026, 11, 9))

    assert [note.en for note in notes] == [
        "The due date is before the transaction date.",
        "The due date is before the issue date.",
    ]
    assert date_notes(transaction=TODAY, issue=TODAY, due=TODAY) == ()


# credit


def facility(balance: int, start: str = "2026-11-01", end: str = "2026-11-30", id_: str = "F-1") -> CreditFacility:
    return CreditFacility(
        id=id_,
        customer_id="C-1",
        amount=1_000_000,
        balance=balance,
        start_date=date.fromisoformat(start),
        end_date=date.fromisoformat(end),
    )


def billing(id_: str, shortage: int | None) -> Billing:
    unpaid = None if shortage is None else Unpaid(shortage_amount=shortage)
    return Billing(id=id_, customer_id="C-1", amount=1000, due_date=date(2026, 10, 31), unpaid=unpaid)


@pytest.mark.parametrize("amount,passes", [(99_999, True), (100_000, True), (100_001, False), (None, None)])
def test_an_amount_passes_at_once_up_to_and_with_the_balance(amount: int | None, passes: bool | None) -> None:  # noqa: FBT001
    in_force = facility(100_000)

    assert judge_credit([in_force], [], amount, TODAY) == CreditJudgement(in_force, passes, (), has_alert=False)


@pytest.mark.parametrize("day,counts", [("11-17", False), ("11-18", True), ("11-30", True), ("12-01", False)])
def test_a_facility_counts_on_its_first_and_last_day(day: str, counts: bool) -> None:  # noqa: FBT001
    in_force = facility(100, start="2026-11-18")

    judgement = judge_credit([in_force], [], 100, date.fromisoformat(f"2026-{day}"))

    assert (judgement.balance, judgement.passes_at_once) == ((100, True) if counts else (None, False))


@pytest.mark.parametrize(
    "facilities,amount,word",
    [
        ([], 1, "ordinary_review"),
        ([], None, "no_amount_given"),
        ([facility(0)], 1, "ordinary_review"),
        ([facility(1)], 1, "passes_at_once"),
    ],
)
def test_the_judgement_is_one_word(facilities: Sequence[CreditFacility], amount: int | None, word: str) -> None:
    assert judge_credit(facilities, [], amount, TODAY).word == word


def test_of_two_facilities_that_should_not_overlap_the_smaller_promises() -> None:
    judgement = judge_credit([facility(500), facility(100, id_="F-2")], [], 200, TODAY)

    assert (judgement.balance, judgement.passes_at_once) == (100, False)


def test_unpaid_billings_of_both_lists_count_once() -> None:
    judgement = judge_credit([], [billing("B-1", 10), billing("B-1", 10), billing("B-2", None)], None, TODAY)

    assert judgement.unpaid == (billing("B-1", 10),)


def test_the_notes_tell_balance_alert_and_debts() -> None:
    judgement = judge_credit([facility(500)], [billing("B-1", 10)], 501, TODAY, has_alert=True)

    assert [note.en for note in credit_notes(judgement)] == [
        "The credit balance is 500 yen. The amount exceeds it: ordinary review, at most 2 business days.",
        "MFK has raised an alert on this customer: the next automatic credit renewal is stopped.",
        "1 billing(s) overdue, 10 yen in all.",
    ]


# answers, leniently read


@pytest.mark.parametrize("key", ["invoice_delivery_method", "invoice_delivery_methods"])
def test_the_delivery_key_is_read_in_singular_and_plural(key: str) -> None:
    answer = {"id": "B-1", "customer_id": "C-1", "amount": 0, "due_date": "2026-11-30", key: ["email"]}

    assert Billing.model_validate(answer).invoice_delivery_methods == ("email",)


@pytest.mark.parametrize("empty", [{"unpaid": ""}, {"unpaid": None}, {}])
def test_an_empty_value_may_be_blank_null_or_absent(empty: dict[str, object]) -> None:
    answer = {"id": "B-1", "customer_id": "C-1", "amount": 0, "due_date": "2026-11-30", **empty}

    assert Billing.model_validate(answer) == billing("B-1", None).model_copy(
        update={"amount": 0, "due_date": date(2026, 11, 30)}
    )


def test_a_page_that_leaves_its_end_out_goes_on_after_its_last_item() -> None:
    said = {"items": [{"id": "C-2", "name": "白葉"}, {"id": "C-1", "name": "青葉"}], "pagination": {"has_next": True}}

    assert Page[Customer].model_validate(said).next_cursor == "C-1"


def test_a_page_without_pagination_ends_there() -> None:
    page = Page[Customer].model_validate({"items": [{"id": "C-1", "name": "青葉", "unheard_of": 1}]})

    assert (page.items, page.next_cursor, page.total) == ((Customer(id="C-1", name="青葉"),), None, None)


@pytest.mark.parametrize(
    "given_,kind",
    [
        ({"account_transfer": {}}, "account_transfer"),
        ({"account_transfer": None, "bank_transfer": {"account_number": ""}}, "bank_transfer"),
        ({}, "bank_transfer"),
    ],
)
def test_a_customer_pays_by_the_key_that_is_filled(given_: dict[str, object], kind: str) -> None:
    customer = Customer.model_validate({"id": "C-1", "name": "青葉", "payment_method": given_})

    assert customer.payment_method is not None
    assert customer.payment_method.kind == kind


@pytest.mark.parametrize("amount", ["5440", True, Decimal("5440.5"), None])
def test_an_amount_that_is_not_whole_yen_is_no_amount(amount: object) -> None:
    with pytest.raises(ValueError, match="amount"):
        Transaction.model_validate(transaction(amount=amount))
