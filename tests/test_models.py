from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from seikyu.models import (
    JST,
    MAX_YEN,
    ExactDecimal,
    IsoDate,
    SignedYen,
    SystemClock,
    Yen,
    jst_date,
    moment,
    shown,
    timestamp,
    yen_text,
)

EXACT: TypeAdapter[Decimal] = TypeAdapter(ExactDecimal)
DAY: TypeAdapter[date] = TypeAdapter(IsoDate)
YEN: TypeAdapter[int] = TypeAdapter(Yen)
SIGNED: TypeAdapter[int] = TypeAdapter(SignedYen)


def test_the_machine_s_clock_tells_aware_utc() -> None:
    before = datetime.now(UTC)
    told = SystemClock().now()

    assert before <= told <= datetime.now(UTC)
    assert told.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "utc, day",
    [
        (datetime(2026, 11, 20, 14, 59, 59, tzinfo=UTC), date(2026, 11, 20)),
        (datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC), date(2026, 11, 21)),
        (datetime(2026, 12, 31, 15, 0, 0, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_a_day_in_japan_begins_at_fifteen_o_clock_utc(utc: datetime, day: date) -> None:
    assert jst_date(utc) == day


def test_a_timestamp_is_utc_of_fixed_width_and_comes_back_exactly() -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=JST)

    assert timestamp(at) == "2026-03-03T20:06:07.000089Z"
    assert moment(timestamp(at)) == at
    assert moment(timestamp(at)).utcoffset() == timedelta(0)


def test_a_timestamp_of_an_early_year_has_the_same_width() -> None:
    assert timestamp(datetime(1, 2, 3, tzinfo=UTC)) == "0001-02-03T00:00:00.000000Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-21",
        "2026-11-21T03:00:00Z",
        "2026-11-21T03:00:00.5Z",
        "2026-11-21T03:00:00.000000",
        "2026-11-21T03:00:00.000000+00:00",
        "2026-11-21 03:00:00.000000Z",
        "2026-11-21T03:00:00.000000Z\n",
        "２０２６-11-21T03:00:00.000000Z",
        "2026-02-30T03:00:00.000000Z",
        "2026-11-21T24:00:00.000000Z",
    ],
)
def test_what_is_written_otherwise_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one of ours or one of datetime's
        moment(text)


@pytest.mark.parametrize(
    "given, exact",
    [
        (Decimal("0.1"), Decimal("0.1")),
        (3, Decimal(3)),
        (-3, Decimal(-3)),
        ("0", Decimal(0)),
        ("1980.50", Decimal("1980.50")),
        ("-0.0001", Decimal("-0.0001")),
        ("1234567890.1234", Decimal("1234567890.1234")),
    ],
)
def test_an_exact_decimal_is_taken_as_it_is_written(given: object, exact: Decimal) -> None:
    read = EXACT.validate_python(given)

    assert read == exact
    assert str(read) == str(exact)
    assert EXACT.dump_python(read) == str(exact)


@pytest.mark.parametrize("given", [True, False, None, [], b"1"])
def test_what_is_no_integer_and_no_text_is_no_exact_decimal(given: object) -> None:
    with pytest.raises(ValidationError, match=r"an integer or decimal text such as \"1980\.50\", never a float"):
        EXACT.validate_python(given)


def test_a_json_number_with_a_point_is_no_exact_decimal() -> None:
    with pytest.raises(ValidationError, match="never a floating-point number"):
        EXACT.validate_json("0.1")


@pytest.mark.parametrize(
    "given",
    ["", " 1", "1 ", "+1", "1.", ".5", "1e5", "NaN", "Infinity", "1,000", "１", "0x1", "12345678901", "1.23456", "--1"],
)
def test_text_that_is_not_plain_decimal_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="must be plain decimal text with at most 10 digits and 4 decimals"):
        EXACT.validate_python(given)


def test_an_exact_decimal_is_offered_to_a_model_as_integer_or_text() -> None:
    assert EXACT.json_schema() == {"type": ["integer", "string"]}


@pytest.mark.parametrize("given", ["2026-02-28", date(2026, 2, 28)])
def test_a_day_is_read_as_written_and_written_the_same(given: object) -> None:
    read = DAY.validate_python(given)

    assert read == date(2026, 2, 28)
    assert DAY.dump_python(read) == "2026-02-28"
    assert DAY.json_schema() == {"type": "string", "format": "date"}


@pytest.mark.parametrize(
    "given",
    [20260228, "20260228", "2026-2-28", "2026-02-28T00:00", "２０２６-02-28", "", datetime(2026, 2, 28, tzinfo=JST)],
)
def test_what_is_not_written_as_a_day_is_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="must be a date written YYYY-MM-DD"):
        DAY.validate_python(given)


def test_a_day_that_no_calendar_has_is_named() -> None:
    with pytest.raises(ValidationError, match="2026-02-29 is not a day of the calendar"):
        DAY.validate_python("2026-02-29")


def test_yen_go_from_one_to_the_largest_of_a_transaction() -> None:
    assert [YEN.validate_python(1), YEN.validate_python(MAX_YEN)] == [1, 2_147_483_647]
    for wrong in (0, -1, MAX_YEN + 1, "1", True, Decimal(1)):
        with pytest.raises(ValidationError):
            YEN.validate_python(wrong)
    with pytest.raises(ValidationError):
        YEN.validate_json("1e2")


def test_signed_yen_go_as_far_below_zero_as_above() -> None:
    assert [SIGNED.validate_python(-MAX_YEN), SIGNED.validate_python(0)] == [-MAX_YEN, 0]
    for wrong in (-MAX_YEN - 1, MAX_YEN + 1, "0", False):
        with pytest.raises(ValidationError):
            SIGNED.validate_python(wrong)


@pytest.mark.parametrize(
    "char",
    [
        "\x00",  # control
        "\n",
        "\x7f",
        "\u200b",  # format: zero width
        "\u202e",  # bidi override
        "\ue000",  # private use
        "\u0378",  # unassigned
        "\u2028",  # line separator
        "\u2029",
        "\ufe00",  # variation selectors, both ends
        "\ufe0f",
        "\U000e0100",
        "\U000e01ef",
        "\u034f",  # blank letters
        "\u115f",
        "\u1160",
        "\u17b4",
        "\u17b5",
        "\u2800",
        "\u3164",
        "\uffa0",
    ],
)
def test_what_cannot_be_seen_is_spelt_out(char: str) -> None:
    assert shown(f"a{char}b") == f"a⟨U+{ord(char):04X}⟩b"


@pytest.mark.parametrize("pile", ["\u3000", " ", "\u00a0", "\u0301", "\u0e49", "\u3099", "\u20dd"])
def test_blanks_and_marks_that_are_piled_up_are_counted(pile: str) -> None:
    said = f"⟨U+{ord(pile):04X}×100⟩"

    assert shown(f"青葉{pile * 100}承認済み") == f"青葉{said}承認済み"
    assert shown(shown(f"青葉{pile * 100}")) == f"青葉{said}"
    assert shown(f"青葉{pile * 3}商事") == f"青葉{pile * 3}商事"


def test_a_pile_of_several_is_counted_one_after_the_other() -> None:
    assert shown("A \u3000\u3000 \u2003B") == "A⟨U+0020×1⟩⟨U+3000×2⟩⟨U+0020×1⟩⟨U+2003×1⟩B"


def test_what_can_be_seen_stays() -> None:
    seen = "株式会社アオバ商事 ｱｵﾊﾞ Aoba & Co. <b> 123 ー・～　\u00e9"

    assert shown(seen) == seen


def test_long_text_ends_in_an_ellipsis_inside_its_limit() -> None:
    assert shown("あ" * 250) == "あ" * 250
    assert shown("あ" * 251) == "あ" * 249 + "…"
    assert shown("abc", limit=3) == "abc"
    assert shown("abcd", limit=3) == "ab…"


def test_yen_are_grouped_by_thousands() -> None:
    assert [yen_text(0), yen_text(1_234_567), yen_text(-1000)] == ["0円", "1,234,567円", "-1,000円"]
