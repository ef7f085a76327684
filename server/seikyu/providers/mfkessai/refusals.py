"""How Money Forward Kessai says no: a bare array of `{code, message, param, type}`.

Only the codes go further, and only when they look like codes: messages and parameters may hold what others
wrote.
Source: MFK API v2 reference, errors, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from seikyu.errors import NOTHING, ProviderRefused, Text

CONFLICT: Final = "conflict"
"""Our own word beside MFK's codes at status 409: for some conflicts MFK publishes the status only."""

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{2,79}", re.ASCII)
_MOST_SHOWN: Final = 5


class MfkRefused(ProviderRefused):
    """MFK answered a read with no. `status` is the HTTP status, 404 for what does not exist."""

    def __init__(self, what: Text, next_step: Text = NOTHING, *, status: int, codes: tuple[str, ...]) -> None:
        super().__init__(what, next_step)
        self.status = status
        self.codes = codes


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    code: str


_ENTRIES: Final = TypeAdapter(list[_Entry])


def error_codes(body: object) -> tuple[str, ...] | None:
    """The codes of an error body, each once; None when the body is not in MFK's format."""
    try:
        codes = tuple(dict.fromkeys(entry.code for entry in _ENTRIES.validate_python(body)))
    except ValidationError:
        return None
    return codes if codes and all(_CODE.fullmatch(code) for code in codes) else None


def refusal_text(title: Text, codes: Sequence[str]) -> Text:
    """What was refused and why, in our own sentences, followed by the codes."""
    told = [MEANINGS[code] for code in codes if code in MEANINGS] or [_UNTOLD]
    named = ", ".join(codes[:_MOST_SHOWN]) + (", …" if len(codes) > _MOST_SHOWN else "")
    head = Text(f"MFKが「{title.ja}」を断りました（{named}）。", f"MFK refused: {title.en} ({named}).")
    return sum(dict.fromkeys(told), start=head)


_UNTOLD: Final = Text("理由はMFKのエラーコード一覧で確認してください。", "MFK's list of error codes gives the reason.")
_LINES: Final = Text(
    "明細の金額・数量・単価を確認してください（小数点以下4桁まで、金額は数量×単価）。",
    "Check the lines: at most 4 decimals, and amount is quantity x unit price.",
)
_TOTALS: Final = Text(
    "税率別合計を確認してください（明細からの計算値との差は1円未満）。",
    "Check the totals per tax rate: each within one yen of what its lines come to.",
)
_CURSOR: Final = Text(
    "続きがないか、カーソルが古くなっています。最初から取得し直してください。",
    "There is no further page, or the cursor is stale; start again without it.",
)
_DATE: Final = Text(
    "日付（取引日・発行日・支払期限）を確認してください。", "Check the dates: date, issue_date, due_date."
)
_DELIVERY: Final = Text(
    "送付方法は email と posting から、重複なしで指定してください。",
    "Delivery methods are email and posting, each at most once.",
)
_SELLER: Final = Text(
    "この売り手アカウントではまだ使えません。MFKの担当者に確認してください。",
    "This seller account cannot use it now; ask MFK.",
)

MEANINGS: Final[Mapping[str, Text]] = {
    "already_exists": Text(
        "同じ番号が登録済みです（キャンセル済みの番号も再利用できません）。"
        "get_transaction で内容を比べるか、新しい番号にしてください。",
        "The number is taken, and stays taken after a cancellation. Compare with get_transaction or choose a new one.",
    ),
    "not_found": Text(
        "指定したIDのものがMFKにありません。IDを取得し直してください。",
        "MFK has nothing with this id; look the id up again.",
    ),
    "unavailable_seller": _SELLER,
    "seller_setting_required": _SELLER,
    "forbidden_seller": _SELLER,
    "forbidden": _SELLER,
    "invalid_json_format": Text(
        "MFKが受け付けない形式でした。開発元に知らせてください。",
        "MFK could not read the request; please report this to the maintainers.",
    ),
    "invalid_after": _CURSOR,
    "out_of_range_by_after": _CURSOR,
    "invalid_limit": Text("limit は1から200までです。", "limit is 1 to 200."),
    "invalid_customer_id": Text(
        "顧客IDが正しくありません。lookup_customer で確認してください。",
        "The customer id is not valid; take it from lookup_customer.",
    ),
    "invalid_destination_id": Text(
        "請求先IDが正しくありません。lookup_customer で確認してください。",
        "The destination id is not valid; take it from lookup_customer.",
    ),
    "invalid_transaction_id": Text(
        "取引IDが正しくありません。get_transaction で確認してください。",
        "The transaction id is not valid; take it from get_transaction.",
    ),
    "invalid_transaction_number": Text(
        "取引番号は1〜100文字で、他の取引と重複できません。",
        "The number needs 1 to 100 characters and must be unlike any other transaction's.",
    ),
    "invalid_transaction_amount": Text(
        "取引金額は1〜2,147,483,647円で、税率別合計の和と一致させてください。",
        "The amount is 1 to 2,147,483,647 yen and equals the sum of the totals.",
    ),
    "invalid_transaction_amounts_per_tax_rate_type": _TOTALS,
    "invalid_amount_per_tax_rate_type_amount": _TOTALS,
    "invalid_amount_per_tax_rate_type_tax_rate_type": _TOTALS,
    "invalid_transaction_details": _LINES,
    "invalid_transaction_details_amount_total": Text(
        "明細の小計の合計が1円に足りません。", "The line amounts add up to less than one yen."
    ),
    "invalid_transaction_detail_amount": _LINES,
    "invalid_transaction_detail_quantity": _LINES,
    "invalid_transaction_detail_unit_price": _LINES,
    "invalid_transaction_detail_description": Text(
        "品名は1〜250文字です。", "A line's description needs 1 to 250 characters."
    ),
    "invalid_transaction_date": _DATE,
    "invalid_transaction_issue_date": _DATE,
    "invalid_transaction_due_date": _DATE,
    "invalid_transaction_invoice_delivery_methods": _DELIVERY,
    "invalid_transaction_duplicate_invoice_delivery_method": _DELIVERY,
    "not_cancelable_transaction_status": Text(
        "この取引は取り消せない状態です。get_transaction で状態を確認してください。",
        "The transaction's state does not allow a cancellation; see its status with get_transaction.",
    ),
}
"""What the codes mean for the caller, with what to do."""
