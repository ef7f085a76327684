"""Documents: what a model can do with a file from the inbox folder."""

from __future__ import annotations

from typing import Final

from anyio import to_thread

from seikyu.errors import Text
from seikyu.providers.invox.commands import UploadEStorageDocument
from seikyu.providers.invox.operations import e_storage_request
from seikyu.spec import ActionView, Call, Effect, Particulars, Plan, Tool, ToolSpec

_NOTES: Final = (
    Text(
        "invoxは同じ書類の二重登録を検知せず、任意項目の誤りは知らせずに捨てます。",
        "invox does not notice a document stored twice, and silently drops optional fields it cannot use.",
    ),
    Text(
        "APIでは登録後の確認・削除ができません。確認はinvoxの画面で行ってください。",
        "The API can neither read nor delete a stored document; check it on invox's screen.",
    ),
)


async def plan_upload_e_storage_document(command: UploadEStorageDocument, call: Call) -> Plan:
    """Take the document into our keeping and work out the exact request.

    Storing a document moves no money, so `Particulars.amount` stays empty and no running total counts it. What
    stands on it in yen is kept to find it by.
    """
    connection, _ = call.at()
    document = await to_thread.run_sync(call.inbox.take, command.path)
    return Plan(
        request=e_storage_request(command, connection, document),
        particulars=Particulars(
            counterparty_name=command.partner_name,
            transaction_date=command.transaction_date,
            document_amount=_whole_yen(command),
        ),
        notes=_NOTES,
    )


def _whole_yen(command: UploadEStorageDocument) -> int | None:
    """None for another currency, and for a fraction, which no amount in yen has."""
    amount = command.transaction_amount
    is_yen = command.currency_code in {None, "JPY"} and amount is not None and amount == amount.to_integral_value()
    return int(amount) if amount is not None and is_yen else None


TOOLS: Final[tuple[Tool, ...]] = (
    ToolSpec(
        name="upload_e_storage_document",
        title="電子帳簿保存に書類を登録",
        effect=Effect.WRITE,
        command=UploadEStorageDocument,
        result=ActionView,
        toolset="invox",
        provider="invox",
        plan=plan_upload_e_storage_document,
    ),
)
