"""One transaction (取引) as it is asked for: what an operator reads, and whether what MFK has is the same.

Source: MFK API v2 reference, transactions, read 2026-11-21.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final

from seikyu.errors import Text
from seikyu.models import shown, yen_text
from seikyu.providers.mfkessai.models import (
    CanceledTransaction,
    DeliveryMethod,
    DetailPayload,
    TaxTotalPayload,
    Transaction,
    TransactionPayload,
)
from seikyu.providers.mfkessai.rules import RATES, Line, Totals, exact_totals, plain
from seikyu.spec import CardLine, Different, Done, ProviderRequest

TAX_NAMES: Final[Mapping[str, str]] = {
    "normal_10": "10%",
    "reduced_8": "軽減8%",
    "normal_8": "8%",
    "transitional_measures_8": "経過措置8%",
    "non_taxable": "非課税",
    "inapplicable": "対象外",
}
DELIVERY_NAMES: Final[Mapping[DeliveryMethod, str]] = {"email": "メール", "posting": "郵送"}
INCLUDED_NAMES: Final = {"excluded": "外税", "included": "内税"}
_LONGEST_HOLIDAY: Final = timedelta(days=14)
"""An issue date on a holiday moves to the next business day; no run of holidays has been this long."""


def detail_of(line: Line) -> DetailPayload:
    """A line as it is sent."""
    return DetailPayload(
        description=line.description,
        quantity_str=plain(line.quantity),
        unit_price_str=plain(line.unit_price),
        amount_str=plain(line.amount),
        tax_rate_type=line.tax_rate_type,
        tax_included_type=line.tax_included_type,
    )


def totals_payload(totals: Totals) -> list[TaxTotalPayload]:
    return [TaxTotalPayload(tax_rate_type=rate, amount=amount) for rate, amount in totals.items()]
