"""The operation table of Money Forward Kessai: what Seikyu may call, and what each call promises.

Source: MFK API v2 reference, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from seikyu.errors import ProviderUnavailable, Text
from seikyu.models import shown
from seikyu.providers.mfkessai.models import (
    Billing,
    CanceledTransaction,
    CreditFacility,
    Customer,
    Destination,
    Page,
    Transaction,
)
from seikyu.providers.mfkessai.refusals import CONFLICT, MfkRefused
from seikyu.providers.mfkessai.targets import NAMES, billed, cancellable
from seikyu.providers.mfkessai.transactions import (
    canceled,
    compare_registration,
    describe_cancellation,
    describe_registration,
    done,
    payload_of,
    settle_cancellation,
    settle_registration,
)
from seikyu.spec import (
    Absent,
    Different,
    Finding,
    Json,
    Operation,
    OutcomeClass,
    ProviderRequest,
    Reader,
    TargetRecord,
    WriteOperation,
)

_NOT_FOUND: Final = 404
_MOST_NAMED: Final = 5
"""Of several transactions under one number."""


async def find_registered(reader: Reader, request: ProviderRequest) -> Finding:
    """Look for our transaction by its number: unique per seller, kept even after a cancellation.

    Raises:
        ProviderUnavailable: an empty list that counts some, or has a further page, tells nothing.
    """
    number = payload_of(request).number
    page = await reader.read(LIST_TRANSACTIONS, query=[("number", number)])
    match page.items:
        case () if page.is_whole:
            return Absent()
        case ():
            raise _contradictory()
        case (found,) if page.is_whole:
            return compare_registration(request, found)
        case several:
            ids = ", ".join(shown(found.id, 100) for found in several[:_MOST_NAMED])
            return Different(
                Text(
                    f"同じ番号の取引がMFKに二つ以上あります（{ids}{_more(page)}）。人による確認が必要です。",
                    f"MFK has more than one transaction under this number ({ids}{_more(page)}); a person must look.",
                ),
                several[0].id if len(several) == 1 else None,
            )


def _more(page: Page[Transaction]) -> str:
    return "" if page.is_whole and len(page.items) <= _MOST_NAMED else ", …"


def _contradictory() -> ProviderUnavailable:
    return ProviderUnavailable(
        Text(
            "MFKの一覧は空ですが、件数か続きがあるとも言っています。", "MFK's list is empty, and says that it is not."
        ),
        Text("しばらくしてからもう一度お試しください。", "Try again in a while."),
    )


async def find_canceled(reader: Reader, request: ProviderRequest) -> Finding:
    """Look whether the transaction is cancelled; `canceled_at` proves nothing, the status does."""
    try:
        found = await reader.read(GET_TRANSACTION, path=request.path)
    except MfkRefused as refused:
        if refused.status != _NOT_FOUND:
            raise
        return Different(Text("この取引はMFKにありません。", "MFK has no such transaction."))
    return canceled(found) if found.status == "canceled" else Absent()


async def read_billed(reader: Reader, request: ProviderRequest) -> TargetRecord:
    """Whom a registration bills now, and where the invoice goes; empty when one of them is gone."""
    try:
        where = {"destination_id": payload_of(request).destination_id}
        destination = await reader.read(GET_DESTINATION, path=where)
        return billed(await reader.read(GET_CUSTOMER, path={"customer_id": destination.customer_id}), destination)
    except MfkRefused as refused:
        return _gone(refused)


async def read_cancellable(reader: Reader, request: ProviderRequest) -> TargetRecord:
    """The transaction to be cancelled, as it stands now; empty when it is gone."""
    try:
        return cancellable(await reader.read(GET_TRANSACTION, path=request.path))
    except MfkRefused as refused:
        return _gone(refused)


def _gone(refused: MfkRefused) -> TargetRecord:
    if refused.status != _NOT_FOUND:
        raise refused
    return {}


async def read_transaction(reader: Reader, reference: str) -> Mapping[str, Json]:
    """How a transaction of ours stands at MFK now."""
    return done(await reader.read(GET_TRANSACTION, path={"transaction_id": reference})).facts


LIST_CUSTOMERS: Final = Operation(
    name="mfkessai.list_customers",
    provider="mfkessai",
    method="GET",
    path="/customers",
    answer=Page[Customer],
    title=Text("顧客の一覧", "List customers"),
)
GET_CUSTOMER: Final = Operation(
    name="mfkessai.get_customer",
    provider="mfkessai",
    method="GET",
    path="/customers/{customer_id}",
    answer=Customer,
    title=Text("顧客の取得", "Get a customer"),
)
LIST_DESTINATIONS: Final = Operation(
    name="mfkessai.list_destinations",
    provider="mfkessai",
    method="GET",
    path="/destinations",
    answer=Page[Destination],
    title=Text("請求先の一覧", "List destinations"),
)
GET_DESTINATION: Final = Operation(
    name="mfkessai.get_destination",
    provider="mfkessai",
    method="GET",
    path="/destinations/{destination_id}",
    answer=Destination,
    title=Text("請求先の取得", "Get a destination"),
)
LIST_CREDIT_FACILITIES: Final = Operation(
    name="mfkessai.list_credit_facilities",
    provider="mfkessai",
    method="GET",
    path="/credit_facilities",
    answer=Page[CreditFacility],
    title=Text("与信枠の一覧", "List credit facilities"),
)
GET_CREDIT_FACILITY: Final = Operation(
    name="mfkessai.get_credit_facility",
    provider="mfkessai",
    method="GET",
    path="/credit_facilities/{credit_facility_id}",
    answer=CreditFacility,
    title=Text("与信枠の取得", "Get a credit facility"),
)
LIST_TRANSACTIONS: Final = Operation(
    name="mfkessai.list_transactions",
    provider="mfkessai",
    method="GET",
    path="/transactions",
    answer=Page[Transaction],
    title=Text("取引の一覧", "List transactions"),
)
GET_TRANSACTION: Final = Operation(
    name="mfkessai.get_transaction",
    provider="mfkessai",
    method="GET",
    path="/transactions/{transaction_id}",
    answer=Transaction,
    title=Text("取引の取得", "Get a transaction"),
)
LIST_BILLINGS: Final = Operation(
    name="mfkessai.list_billings",
    provider="mfkessai",
    method="GET",
    path="/billings",
    answer=Page[Billing],
    title=Text("請求の一覧（区分記載）", "List billings (separate-rate mode)"),
)
LIST_QUALIFIED_BILLINGS: Final = Operation(
    name="mfkessai.list_qualified_billings",
    provider="mfkessai",
    method="GET",
    path="/billings/qualified",
    answer=Page[Billing],
    title=Text("請求の一覧（インボイス）", "List billings (qualified invoice modes)"),
)
GET_BILLING: Final = Operation(
    name="mfkessai.get_billing",
    provider="mfkessai",
    method="GET",
    path="/billings/{billing_id}",
    answer=Billing,
    title=Text("請求の取得", "Get a billing"),
)
CREATE_TRANSACTION: Final = WriteOperation(
    name="mfkessai.create_transaction",
    provider="mfkessai",
    method="POST",
    path="/transactions",
    answer=Transaction,
    title=Text("取引の登録", "Register a transaction"),
    outcome_class=OutcomeClass.A,
    kind="bill",
    describe=describe_registration,
    settle=settle_registration,
    look_up=find_registered,
    conflict_codes=frozenset({"already_exists", CONFLICT}),
    read_back=read_transaction,
    pinned=lambda request: (request.body or {}).get("destination_id"),
    target=read_billed,
    target_names=NAMES,
)
CANCEL_TRANSACTION: Final = WriteOperation(
    name="mfkessai.cancel_transaction",
    provider="mfkessai",
    method="DELETE",
    path="/transactions/{transaction_id}",
    answer=CanceledTransaction,
    title=Text("取引の取消", "Cancel a transaction"),
    outcome_class=OutcomeClass.A,
    kind="cancel",
    describe=describe_cancellation,
    settle=settle_cancellation,
    look_up=find_canceled,
    # a repeated cancellation answers 409, and no page names the code that comes with it
    conflict_codes=frozenset({CONFLICT}),
    reverses=CREATE_TRANSACTION.name,
    target=read_cancellable,
    target_names=NAMES,
)

OPERATIONS: Final[tuple[Operation[Any], ...]] = (
    LIST_CUSTOMERS,
    GET_CUSTOMER,
    LIST_DESTINATIONS,
    GET_DESTINATION,
    LIST_CREDIT_FACILITIES,
    GET_CREDIT_FACILITY,
    LIST_TRANSACTIONS,
    GET_TRANSACTION,
    LIST_BILLINGS,
    LIST_QUALIFIED_BILLINGS,
    GET_BILLING,
    CREATE_TRANSACTION,
    CANCEL_TRANSACTION,
)
"""Every row, reads first."""
