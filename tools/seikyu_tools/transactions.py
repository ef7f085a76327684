"""Transactions (取引) at Money Forward Kessai: try, register, look at, cancel."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from seikyu.errors import InvalidArguments, NotAllowed, NotFound, Text
from seikyu.models import IsoDate, shown, yen_text
from seikyu.providers.mfkessai.commands import (
    CancelTransaction,
    GetTransaction,
    PreviewTransaction,
    RegisterTransaction,
    TransactionDraft,
    TransactionLine,
)
from seikyu.providers.mfkessai.models import (
    Destination,
    DetailPayload,
    TaxTotalPayload,
    Transaction,
    TransactionDetail,
    TransactionPayload,
)
from seikyu.providers.mfkessai.operations import (
    CANCEL_TRANSACTION,
    CREATE_TRANSACTION,
    GET_CUSTOMER,
    GET_DESTINATION,
    GET_TRANSACTION,
    LIST_TRANSACTIONS,
)
from seikyu.providers.mfkessai.rules import (
    Line,
    Totals,
    check_amount,
    check_lines,
    check_totals,
    date_notes,
    derive_totals,
    invoice_mode,
    plain,
    tax_rounding,
    transaction_number,
    unique_totals,
)
from seikyu.providers.mfkessai.targets import billed, cancellable
from seikyu.spec import (
    ActionView,
    Answer,
    Call,
    Connection,
    Effect,
    Particulars,
    Plan,
    PreviewView,
    ProviderRequest,
    Reader,
    Result,
    Tool,
    ToolSpec,
)
from seikyu_tools.credit import notes_on_credit

MAX_LINES: Final = 20
"""Lines of a transaction shown to a model."""


# registering


async def plan_register_transaction(command: TransactionDraft, call: Call) -> Plan:
    """The exact request, and what a person should know before deciding.

    Raises:
        InvalidArguments: MFK would refuse it, or the number is taken.
        ProviderError: the destination or its customer could not be read.
    """
    connection, reader = call.at()
    lines = [_line(line) for line in command.lines]
    totals = _checked_totals(command, lines, connection)
    number = transaction_number(command.number, call.action_id)
    if command.number is not None:
        await _refuse_taken(number, reader)
    destination = await reader.read(GET_DESTINATION, path={"destination_id": command.destination_id})
    customer = await reader.read(GET_CUSTOMER, path={"customer_id": destination.customer_id})
    amount = sum(totals.values())
    credit = await notes_on_credit(reader, customer, amount, call.today)
    dates = date_notes(transaction=command.date, issue=command.issue_date, due=command.due_date)
    return Plan(
        request=_request(command, number, lines, totals, connection),
        particulars=Particulars(
            amount=amount,
            counterparty_id=customer.id,
            counterparty_name=customer.name,
            transaction_date=command.date,
            due_date=command.due_date,
            destination=destination.id,
        ),
        natural_key=number,
        notes=(_destination_note(destination), *credit, *dates),
        target=billed(customer, destination),
    )


async def plan_preview_transaction(command: PreviewTransaction, call: Call) -> Plan:
    """The same plan; only a number made for this call will be another one when it is registered."""
    plan = await plan_register_transaction(command, call)
    if command.number is not None:
        return plan
    note = Text("取引番号は登録時に新しく採番されます。", "The number is made anew when it is registered.")
    return replace(plan, notes=(*plan.notes, note))


def _line(line: TransactionLine) -> Line:
    return Line(
        description=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        tax_rate_type=line.tax_rate_type,
        tax_included_type=line.tax_included_type,
    )


def _checked_totals(command: TransactionDraft, lines: list[Line], connection: Connection) -> Totals:
    check_lines(lines, connection.environment)
    totals = (
        derive_totals(lines, tax_rounding(connection))
        if command.totals is None
        else unique_totals((total.tax_rate_type, total.amount) for total in command.totals)
    )
    check_totals(lines, totals)
    check_amount(command.amount, totals)
    return totals


async def _refuse_taken(number: str, reader: Reader) -> None:
    taken = await reader.read(LIST_TRANSACTIONS, query=[("number", number)])
    if taken.items:
        status = shown(taken.items[0].status, 30)
        raise InvalidArguments(
            Text(
                f"取引番号 {number} は登録済みです（状態: {status}）。",
                f"The number {number} is already registered (status: {status}).",
            ),
            Text(
                "get_transaction で内容を確認するか、新しい番号にしてください。",
                "See it with get_transaction, or choose a new number.",
            ),
        )


def _request(
    command: TransactionDraft, number: str, lines: list[Line], totals: Totals, connection: Connection
) -> ProviderRequest:
    is_computed_by_mfk = invoice_mode(connection) == "billing"
    payload = TransactionPayload(
        number=number,
        destination_id=command.destination_id,
        date=command.date,
        issue_date=command.issue_date,
        due_date=command.due_date,
        invoice_delivery_methods=command.invoice_delivery_methods,
        amount=None if is_computed_by_mfk else sum(totals.values()),
        amounts_per_tax_rate_type=None if is_computed_by_mfk else _totals_payload(totals),
        transaction_details=[_detail(line) for line in lines],
    )
    return ProviderRequest(operation=CREATE_TRANSACTION.name, body=payload.model_dump(mode="json", exclude_none=True))


def _totals_payload(totals: Totals) -> list[TaxTotalPayload]:
    return [TaxTotalPayload(tax_rate_type=rate, amount=amount) for rate, amount in totals.items()]


def _detail(line: Line) -> DetailPayload:
    return DetailPayload(
        description=line.description,
        quantity_str=plain(line.quantity),
        unit_price_str=plain(line.unit_price),
        amount_str=plain(line.amount),
        tax_rate_type=line.tax_rate_type,
        tax_included_type=line.tax_included_type,
    )


def _destination_note(destination: Destination) -> Text:
    parts = [shown(part, 100) for part in (destination.department, destination.name) if part]
    named = " ".join(parts) or destination.id
    return Text(f"請求先は {named} です。", f"The invoice goes to {named}.")


# looking


class TransactionView(Result):
    """A transaction as MFK has it now."""

    transaction_id: str
    number: str
    status: str
    """unexamined, passed, rejected or canceled; others may come."""
    customer_id: str
    destination_id: str
    amount_yen: int
    totals_yen: dict[str, int]
    date: IsoDate
    issue_date: IsoDate
    due_date: IsoDate
    invoice_delivery_methods: list[str]
    billing_id: str | None
    lines: list[str]
    lines_total: int
    truncated: bool


async def _get_transaction(command: GetTransaction, call: Call) -> Answer:
    _, reader = call.at()
    found = await _find(command, reader)
    view = _view(found)
    # not its number: whoever registers a transaction writes what they like there
    said = f"{view.transaction_id}: {view.status}, {yen_text(view.amount_yen)}"
    return Answer(view, Text(f"取引 {said}", f"Transaction {said}"))


async def _find(command: GetTransaction, reader: Reader) -> Transaction:
    if command.transaction_id is not None:
        return await reader.read(GET_TRANSACTION, path={"transaction_id": command.transaction_id})
    number = command.number or ""
    page = await reader.read(LIST_TRANSACTIONS, query=[("number", number)])
    for found in page.items:
        if found.number == number:
            return found
    raise NotFound(
        Text(
            f"取引番号 {shown(number, 100)} の取引はMFKにありません。",
            f"MFK has no transaction {shown(number, 100)}.",
        ),
        Text("番号を確認してください。", "Check the number."),
    )


def _view(found: Transaction) -> TransactionView:
    lines = found.transaction_details
    return TransactionView(
        transaction_id=found.id,
        number=shown(found.number, 100),
        status=shown(found.status, 30),
        customer_id=found.customer_id,
        destination_id=found.destination_id,
        amount_yen=found.amount,
        totals_yen={shown(total.tax_rate_type, 30): total.amount for total in found.amounts_per_tax_rate_type or ()},
        date=found.date,
        issue_date=found.issue_date,
        due_date=found.due_date,
        invoice_delivery_methods=[shown(method, 30) for method in found.invoice_delivery_methods],
        billing_id=found.billing_id,
        lines=[_line_text(line) for line in lines[:MAX_LINES]],
        lines_total=len(lines),
        truncated=len(lines) > MAX_LINES,
    )


def _line_text(line: TransactionDetail) -> str:
    figures = "?" if line.quantity is None or line.unit_price is None else f"{line.quantity} x {line.unit_price}"
    tax = " ".join(shown(word, 30) for word in (line.tax_rate_type, line.tax_included_type) if word)
    return f"{shown(line.description)}: {figures} = {line.amount} {tax}".rstrip()


# cancelling


async def plan_cancel_transaction(command: CancelTransaction, call: Call) -> Plan:
    """The cancellation, with what it takes back.

    Raises:
        NotAllowed: it is cancelled already.
        ProviderError: the transaction or its customer could not be read.
    """
    _, reader = call.at()
    found = await reader.read(GET_TRANSACTION, path={"transaction_id": command.transaction_id})
    if found.status == "canceled":
        raise NotAllowed(
            Text(f"取引 {found.id} は取消済みです。", f"Transaction {found.id} is cancelled already."),
            Text("取消は不要です。", "There is nothing left to cancel."),
        )
    customer = await reader.read(GET_CUSTOMER, path={"customer_id": found.customer_id})
    return Plan(
        request=ProviderRequest(operation=CANCEL_TRANSACTION.name, path={"transaction_id": found.id}),
        particulars=Particulars(
            amount=found.amount,
            counterparty_id=customer.id,
            counterparty_name=customer.name,
            transaction_date=found.date,
            due_date=found.due_date,
        ),
        natural_key=found.id,
        notes=_cancel_notes(found, command.reason),
        target=cancellable(found),
    )


def _cancel_notes(found: Transaction, reason: str) -> tuple[Text, ...]:
    number, status, why = shown(found.number, 100), shown(found.status, 30), shown(reason)
    return (
        Text(f"取引番号 {number}、現在の状態 {status}。", f"Number {number}, status now {status}."),
        Text(f"依頼者の理由: {why}", f"The requester's reason: {why}"),
    )


TOOLS: tuple[Tool, ...] = (
    ToolSpec(
        name="preview_transaction",
        title="取引を試算",
        effect=Effect.PREVIEW,
        command=PreviewTransaction,
        result=PreviewView,
        toolset="mfkessai",
        provider="mfkessai",
        plan=plan_preview_transaction,
    ),
    ToolSpec(
        name="register_transaction",
        title="取引を登録",
        effect=Effect.WRITE,
        command=RegisterTransaction,
        result=ActionView,
        toolset="mfkessai",
        provider="mfkessai",
        plan=plan_register_transaction,
    ),
    ToolSpec(
        name="get_transaction",
        title="取引を照会",
        effect=Effect.READ,
        command=GetTransaction,
        result=TransactionView,
        toolset="mfkessai",
        provider="mfkessai",
        run=_get_transaction,
    ),
    ToolSpec(
        name="cancel_transaction",
        title="取引を取消",
        effect=Effect.WRITE,
        command=CancelTransaction,
        result=ActionView,
        toolset="mfkessai",
        provider="mfkessai",
        plan=plan_cancel_transaction,
    ),
)
