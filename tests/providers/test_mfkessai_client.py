from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from providers.mfkessai_fakes import (
    CANCELLATION,
    KEY,
    NOW,
    TODAY,
    FakeEdge,
    FakeReader,
    Json,
    Key,
    connection,
    no_file,
    open_fence,
    page,
    registration,
    registration_without_amounts,
    transaction,
)
from seikyu.errors import InvalidArguments, LoginRequired, NotAllowed, ProviderBusy, ProviderUnavailable, Text
from seikyu.providers.http import NOT_JSON, HttpAnswer, HttpEdge
from seikyu.providers.mfkessai.client import DEFAULT_BASE_URLS, MfKessaiClient
from seikyu.providers.mfkessai.operations import (
    CANCEL_TRANSACTION,
    CREATE_TRANSACTION,
    GET_TRANSACTION,
    LIST_BILLINGS,
    LIST_CUSTOMERS,
    OPERATIONS,
    find_canceled,
    find_registered,
)
from seikyu.providers.mfkessai.refusals import MEANINGS, MfkRefused, error_codes
from seikyu.sandbox.clock import TwinClock
from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.sandbox.mfkessai_data import customer_id, destination_id
from seikyu.sandbox.mfkessai_records import SellerMode
from seikyu.sandbox.twins import Twins, running_twins
from seikyu.spec import (
    Absent,
    CardLine,
    Connection,
    Different,
    Done,
    Lost,
    NotSent,
    OutcomeClass,
    ProviderRequest,
    Refused,
    WriteOperation,
)

DONE = Done("7679-YW36", {"status": "passed", "amount": 5440}, counterparty_id="9PNG-VYR6")
CANCELED = Done("7679-YW36", {"status": "canceled", "amount": 5440}, counterparty_id="9PNG-VYR6", amount=5440)


def client(edge: HttpEdge, at: Connection | None = None) -> MfKessaiClient:
    return MfKessaiClient(edge, at or connection(), Key(), no_file)


def answer(status: int, body: object) -> HttpAnswer:
    return HttpAnswer(status, body, "application/json")


def refusal(status: int, *codes: str) -> HttpAnswer:
    entries = [{"code": code, "message": "secret-message", "param": "secret-param"} for code in codes]
    return answer(status, entries)


# the table


def test_every_row_names_what_it_does() -> None:
    rows = [(row.name.removeprefix("mfkessai."), row.method, row.path) for row in OPERATIONS]

    assert rows == [
        ("list_customers", "GET", "/customers"),
        ("get_customer", "GET", "/customers/{customer_id}"),
        ("list_destinations", "GET", "/destinations"),
        ("get_destination", "GET", "/destinations/{destination_id}"),
        ("list_credit_facilities", "GET", "/credit_facilities"),
        ("get_credit_facility", "GET", "/credit_facilities/{credit_facility_id}"),
        ("list_transactions", "GET", "/transactions"),
        ("get_transaction", "GET", "/transactions/{transaction_id}"),
        ("list_billings", "GET", "/billings"),
        ("list_qualified_billings", "GET", "/billings/qualified"),
        ("get_billing", "GET", "/billings/{billing_id}"),
        ("create_transaction", "POST", "/transactions"),
        ("cancel_transaction", "DELETE", "/transactions/{transaction_id}"),
    ]


def test_both_writes_can_be_looked_up_and_one_undoes_the_other() -> None:
    writes = [row for row in OPERATIONS if isinstance(row, WriteOperation)]

    assert [(row.outcome_class, row.kind, row.reverses) for row in writes] == [
        (OutcomeClass.A, "bill", None),
        (OutcomeClass.A, "cancel", "mfkessai.create_transaction"),
    ]
    assert all(row.look_up is not None for row in writes)


def test_the_default_addresses_are_mfks_own() -> None:
    assert DEFAULT_BASE_URLS == {
        "production": "https://api.mfkessai.co.jp/v2",
        "sandbox": "https://sandbox-api.mfkessai.co.jp/v2",
    }


# the card


def card(lines: tuple[CardLine, ...]) -> list[str]:
    return [f"{line.label.ja}: {line.value}" for line in lines]


def test_the_card_of_a_registration_says_all_of_it() -> None:
    assert card(CREATE_TRANSACTION.describe(registration())) == [
        "取引番号: INV-1",
        "請求先ID: WNAV-37R6",
        "取引日: 2026-11-10",
        "発行日: 2026-11-20",
        "支払期限: 2026-11-30",
        "送付方法: メール・郵送",
        "明細1: 商品A 3 × 1,000円 = 3,000円（10% 外税）",
        "明細2: 商品B 3 × 1,000円 = 3,000円（軽減8% 外税）",
        "明細3: 商品A 返品 1 × -1,000円 = -1,000円（10% 外税）",
        "10% 合計（税込）: 2,200円",
        "軽減8% 合計（税込）: 3,240円",
        "合計（税込）: 5,440円",
    ]


def test_the_card_tells_an_amount_that_mfk_computes() -> None:
    lines = card(CREATE_TRANSACTION.describe(registration_without_amounts()))

    assert lines[-1] == "合計（税込）: 5,440円（端数はMFKが計算）"


def test_the_card_shows_hostile_text_harmlessly() -> None:
    lines = card(CREATE_TRANSACTION.describe(registration(number="A\u202eB\n合計: 1円")))

    assert lines[0] == "取引番号: A⟨U+202E⟩B⟨U+000A⟩合計: 1円"


def test_the_card_of_a_cancellation_names_the_transaction() -> None:
    assert card(CANCEL_TRANSACTION.describe(CANCELLATION)) == ["取消する取引ID: 7679-YW36"]


# sending: what an answer proves


async def test_a_registration_is_sent_once_as_canonical_json_with_the_key() -> None:
    edge = FakeEdge(answer(200, transaction()))

    sent = await client(edge).send(CREATE_TRANSACTION, registration(), fence=open_fence)

    assert sent == DONE
    assert edge.asked == [("POST", "http://127.0.0.1:1/v2/transactions", {"apikey": KEY})]
    [body] = edge.bodies
    assert body is not None
    assert body.startswith(b'{"amount":5440,"amounts_per_tax_rate_type":[{"amount":2200,')


async def test_a_cancellation_has_no_body() -> None:
    edge = FakeEdge(answer(200, transaction(status="canceled")))

    sent = await client(edge).send(CANCEL_TRANSACTION, CANCELLATION, fence=open_fence)

    assert sent == CANCELED
    assert [asked[:2] for asked in edge.asked] == [("DELETE", "http://127.0.0.1:1/v2/transactions/7679-YW36")]
    assert edge.bodies == [None]


@pytest.mark.parametrize(
    "body",
    [
        {"ok": True},
        [],
        None,
        NOT_JSON,
        transaction(id=""),
        transaction(id="  "),
        transaction(id="7679\u202e-YW36"),
        transaction(id="7679-YW36\n"),
        {key: value for key, value in transaction().items() if key != "id"},
        transaction(amount="5440"),
    ],
)
async def test_a_success_that_is_no_transaction_leaves_the_outcome_unknown(body: object) -> None:
    sent = await client(FakeEdge(answer(200, body))).send(CREATE_TRANSACTION, registration(), fence=open_fence)

    assert isinstance(sent, Lost)
    assert sent.status == 200


LINES: list[dict[str, Any]] = transaction()["transaction_details"]


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "INV-2"},
        {"amount": 5441},
        {"invoice_delivery_method": ["email"]},
        {"amounts_per_tax_rate_type": [{"amount": 5440, "tax_rate_type": "normal_10"}]},
        {"transaction_details": LINES[:2]},
        {"transaction_details": [{**line, "description": "別"} for line in LINES]},
    ],
)
async def test_a_success_that_echoes_something_else_is_different(changes: Json) -> None:
    edge = FakeEdge(answer(200, transaction(**changes)))

    sent = await client(edge).send(CREATE_TRANSACTION, registration(), fence=open_fence)

    assert isinstance(sent, Different)
    assert sent.reference == "7679-YW36"


async def test_a_success_that_leaves_out_delivery_totals_and_lines_is_done() -> None:
    said = transaction(invoice_delivery_method=[], amounts_per_tax_rate_type=None, transaction_details=[])

    sent = await client(FakeEdge(answer(200, said))).send(CREATE_TRANSACTION, registration(), fence=open_fence)

    assert sent == DONE


async def test_a_cancellation_that_answers_passed_proves_nothing() -> None:
    edge = FakeEdge(answer(200, transaction(status="passed", canceled_at="2026-11-18T12:00:00+09:00")))

    sent = await client(edge).send(CANCEL_TRANSACTION, CANCELLATION, fence=open_fence)

    assert isinstance(sent, Lost)


async def test_a_cancellation_of_another_transaction_is_different() -> None:
    edge = FakeEdge(answer(200, transaction(id="AAAA-AAAA", status="canceled")))

    sent = await client(edge).send(CANCEL_TRANSACTION, CANCELLATION, fence=open_fence)

    assert isinstance(sent, Different)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 412])
async def test_a_refusal_in_mfks_format_carries_codes_and_our_own_sentence(status: int) -> None:
    edge = FakeEdge(refusal(status, "invalid_transaction_due_date", "a_code_of_tomorrow"))

    sent = await client(edge).send(CREATE_TRANSACTION, registration(), fence=open_fence)

    assert sent == Refused(
        Text(
            "MFKが「取引の登録」を断りました（invalid_transaction_due_date, a_code_of_tomorrow）。"
            "日付（取引日・発行日・支払期限）を確認してください。",
            "MFK refused: Register a transaction (invalid_transaction_due_date, a_code_of_tomorrow)."
            " Check the dates: date, issue_date, due_date.",
        ),
        status,
        ("invalid_transaction_due_date", "a_code_of_tomorrow"),
    )


async def test_a_refusal_of_the_key_tells_a_person_to_connect_again() -> None:
    sent = await client(FakeEdge(refusal(401, "forbidden_seller"))).send(
        CREATE_TRANSACTION, registration(), fence=open_fence
    )

    assert isinstance(sent, Refused)
    assert sent.reason.en == "MFK does not accept the API key. Connect the account again."


@pytest.mark.parametrize("operation", [CREATE_TRANSACTION, CANCEL_TRANSACTION])
async def test_any_conflict_is_one_to_be_looked_up(operation: WriteOperation[Any]) -> None:
    request = registration() if operation is CREATE_TRANSACTION else CANCELLATION

    sent = await client(FakeEdge(refusal(409, "some_code"))).send(operation, request, fence=open_fence)

    assert isinstance(sent, Refused)
    assert sent.codes == ("some_code", "conflict")
    assert operation.conflict_codes & set(sent.codes)


async def test_a_transaction_that_cannot_be_cancelled_is_no_conflict() -> None:
    edge = FakeEdge(refusal(400, "not_cancelable_transaction_status"))

    sent = await client(edge).send(CANCEL_TRANSACTION, CANCELLATION, fence=open_fence)

    assert isinstance(sent, Refused)
    assert not CANCEL_TRANSACTION.conflict_codes & set(sent.codes)


async def test_too_many_requests_means_nothing_was_processed() -> None:
    edge = FakeEdge(refusal(429, "request_canceled"))

    sent = await client(edge).send(CREATE_TRANSACTION, registration(), fence=open_fence)

    assert isinstance(sent, NotSent)


@pytest.mark.parametrize(
    "told",
    [
        answer(400, NOT_JSON),
        answer(429, NOT_JSON),
        answer(404, {"message": "no route"}),
        answer(400, []),
        answer(400, ["already_exists"]),
        answer(400, [{"message": "no code"}]),
        answer(400, [{"code": "<script>"}]),
        answer(400, [{"code": "ok_code"}, {"code": "NOT A CODE"}]),
        refusal(499, "request_canceled"),
        refusal(400, "request_canceled"),
        answer(302, NOT_JSON),
    ],
)
async def test_a_refusal_that_is_not_surely_mfks_leaves_the_outcome_unknown(told: HttpAnswer) -> None:
    sent = await client(FakeEdge(told)).send(CREATE_TRANSACTION, registration(), fence=open_fence)

    assert isinstance(sent, Lost)
    assert sent.status == told.status


@pytest.mark.parametrize("told", [Lost(Text("切断", "cut")), NotSent(Text("不通", "no route"))])
async def test_what_the_wire_says_is_passed_on(told: Lost | NotSent) -> None:
    assert await client(FakeEdge(told)).send(CREATE_TRANSACTION, registration(), fence=open_fence) == told


async def test_nothing_is_sent_without_a_key() -> None:
    class NoKey(Key):
        async def header(self, *, refused: str | None = None) -> tuple[str, str]:
            _ = refused
            raise LoginRequired(Text("未接続です。", "Not connected."))

    edge = FakeEdge()

    sent = await MfKessaiClient(edge, connection(), NoKey(), no_file).send(
        CREATE_TRANSACTION, registration(), fence=open_fence
    )

    assert sent == NotSent(Text("未接続です。", "Not connected."), needs_person=True)
    assert edge.asked == []


async def test_an_id_that_would_leave_its_place_in_the_path_is_not_sent() -> None:
    request = CANCELLATION.model_copy(update={"path": {"transaction_id": "../customers"}})
    edge = FakeEdge()

    sent = await client(edge).send(CANCEL_TRANSACTION, request, fence=open_fence)

    assert isinstance(sent, NotSent)
    assert edge.asked == []


def test_messages_and_parameters_of_mfk_are_never_repeated() -> None:
    assert error_codes(refusal(400, "not_found", "not_found").json) == ("not_found",)
    assert all("secret" not in meaning.en for meaning in MEANINGS.values())


# reading


async def test_a_list_is_read_with_its_query() -> None:
    edge = FakeEdge(answer(200, page({"id": "C-1", "name": "青葉商事"})))

    found = await client(edge).read(LIST_CUSTOMERS, query=[("number", "C-0001")])

    assert [customer.name for customer in found.items] == ["青葉商事"]
    assert edge.asked == [("GET", "http://127.0.0.1:1/v2/customers number=C-0001", {"apikey": KEY})]


async def test_an_object_that_is_not_there_says_so() -> None:
    with pytest.raises(MfkRefused, match="nothing with this id") as refused:
        await client(FakeEdge(refusal(404, "not_found"))).read(GET_TRANSACTION, path={"transaction_id": "7679-YW36"})

    assert (refused.value.status, refused.value.codes) == (404, ("not_found",))
    assert "secret" not in refused.value.text.en


async def test_a_read_with_a_refused_key_asks_to_connect_again() -> None:
    with pytest.raises(LoginRequired) as needed:
        await client(FakeEdge(refusal(401, "forbidden_seller"))).read(LIST_CUSTOMERS)

    assert needed.value.next_step.en == "Connect again: seikyu connect mfk-main"


@pytest.mark.parametrize("told", [answer(200, {"items": "many"}), answer(204, NOT_JSON), answer(404, NOT_JSON)])
async def test_a_read_that_is_not_in_mfks_format_is_no_answer(told: HttpAnswer) -> None:
    with pytest.raises(ProviderUnavailable, match="not in the documented format"):
        await client(FakeEdge(told)).read(LIST_CUSTOMERS)


async def test_an_answer_about_another_object_is_no_answer() -> None:
    with pytest.raises(ProviderUnavailable):
        await client(FakeEdge(answer(200, transaction(id="AAAA-AAAA")))).read(
            GET_TRANSACTION, path={"transaction_id": "7679-YW36"}
        )


async def test_a_busy_provider_is_waited_for() -> None:
    with pytest.raises(ProviderBusy):
        await client(FakeEdge(refusal(429, "request_canceled"))).read(LIST_BILLINGS)


async def test_a_path_that_is_no_id_is_not_read() -> None:
    with pytest.raises(InvalidArguments):
        await client(FakeEdge()).read(GET_TRANSACTION, path={"transaction_id": "a/b"})


# looking up


async def test_nothing_under_the_number_is_absent() -> None:
    reader = FakeReader({"list_transactions": page()})

    assert await find_registered(reader, registration()) == Absent()
    assert reader.asked == [("list_transactions", {"number": "INV-1"})]


@pytest.mark.parametrize("says", [{"total": 1}, {"has_next": True}])
async def test_an_empty_list_that_says_there_is_something_proves_nothing(says: Json) -> None:
    empty = page()
    reader = FakeReader({"list_transactions": {**empty, "pagination": {**empty["pagination"], **says}}})

    with pytest.raises(ProviderUnavailable, match="says that it is not"):
        await find_registered(reader, registration())


async def test_the_same_transaction_is_done_although_the_sign_of_the_return_moved() -> None:
    reader = FakeReader({"list_transactions": page(transaction())})

    assert await find_registered(reader, registration()) == DONE


async def test_the_same_transaction_is_done_although_its_subtotals_have_their_tax() -> None:
    with_tax = [{**line, "amount": amount} for line, amount in zip(LINES, (3300, 3240, -1100), strict=True)]
    reader = FakeReader({"list_transactions": page(transaction(transaction_details=with_tax))})

    assert await find_registered(reader, registration()) == DONE


@pytest.mark.parametrize(
    "changes,names",
    [
        ({"number": "inv-1"}, "number"),
        ({"destination_id": "AAAA-AAAA"}, "destination"),
        ({"date": "2026-11-11"}, "date"),
        ({"issue_date": "2026-11-19"}, "issue date"),
        ({"issue_date": "2026-12-05"}, "issue date"),
        ({"due_date": "2026-12-31"}, "due date"),
        ({"invoice_delivery_method": ["email"]}, "delivery"),
        ({"amount": 5441}, "amount"),
        ({"amounts_per_tax_rate_type": []}, "totals"),
        ({"amounts_per_tax_rate_type": [{"amount": 5440, "tax_rate_type": "normal_10"}]}, "totals"),
        ({"transaction_details": transaction()["transaction_details"][:2]}, "descriptions, line amounts"),
        (
            {"transaction_details": [{**line, "description": "別"} for line in transaction()["transaction_details"]]},
            "descriptions",
        ),
        (
            {
                "transaction_details": [
                    {**line, "tax_included_type": "included"} for line in transaction()["transaction_details"]
                ]
            },
            "line amounts",
        ),
    ],
)
async def test_any_field_that_differs_makes_it_another_transaction(changes: Json, names: str) -> None:
    reader = FakeReader({"list_transactions": page(transaction(**changes))})

    finding = await find_registered(reader, registration())

    assert isinstance(finding, Different)
    assert finding.reference == "7679-YW36"
    assert finding.reason.en.startswith(f"What MFK has is not what was asked: {names} differ.")


@pytest.mark.parametrize("issued", ["2026-11-20", "2026-11-24", "2026-12-04"])
async def test_an_issue_date_may_move_to_the_next_business_day(issued: str) -> None:
    reader = FakeReader({"list_transactions": page(transaction(issue_date=issued))})

    assert await find_registered(reader, registration()) == DONE


async def test_a_cancelled_number_exists_and_is_not_ours() -> None:
    reader = FakeReader({"list_transactions": page(transaction(status="canceled"))})

    finding = await find_registered(reader, registration())

    assert isinstance(finding, Different)
    assert "was cancelled" in finding.reason.en


async def test_two_under_one_number_need_a_person() -> None:
    reader = FakeReader({"list_transactions": page(transaction(), transaction(id="AAAA-AAAA"))})

    assert isinstance(await find_registered(reader, registration()), Different)


@pytest.mark.parametrize("says", [{"total": 2}, {"has_next": True}])
async def test_one_of_more_under_one_number_needs_a_person(says: Json) -> None:
    whole = page(transaction())
    reader = FakeReader({"list_transactions": {**whole, "pagination": {**whole["pagination"], **says}}})

    found = await find_registered(reader, registration())

    assert isinstance(found, Different)
    assert "more than one transaction under this number (7679-YW36, …)" in found.reason.en


@pytest.mark.parametrize("amount,is_ours", [(5438, False), (5439, True), (5440, True), (5441, True), (5442, False)])
async def test_an_amount_that_mfk_computed_is_within_a_yen_for_each_rate(amount: int, is_ours: bool) -> None:  # noqa: FBT001
    found = transaction(amount=amount, amounts_per_tax_rate_type=[])
    reader = FakeReader({"list_transactions": page(found)})

    finding = await find_registered(reader, registration_without_amounts())

    assert isinstance(finding, Done) is is_ours


async def test_a_cancelled_transaction_is_a_done_cancellation() -> None:
    reader = FakeReader({"get_transaction": transaction(status="canceled")})

    assert await find_canceled(reader, CANCELLATION) == CANCELED


@pytest.mark.parametrize("status", ["passed", "unexamined", "rejected"])
async def test_a_transaction_in_any_other_state_is_not_cancelled(status: str) -> None:
    reader = FakeReader({"get_transaction": transaction(status=status, canceled_at="2026-11-18T00:00:00+09:00")})

    assert await find_canceled(reader, CANCELLATION) == Absent()


async def test_a_transaction_that_is_gone_is_not_cancelled_by_us() -> None:
    gone = MfkRefused(Text("無", "none"), status=404, codes=("not_found",))

    finding = await find_canceled(FakeReader({"get_transaction": gone}), CANCELLATION)

    assert isinstance(finding, Different)


async def test_a_look_up_that_is_refused_finds_nothing_out() -> None:
    refused = MfkRefused(Text("不可", "no"), status=400, codes=("invalid_transaction_id",))

    with pytest.raises(MfkRefused):
        await find_canceled(FakeReader({"get_transaction": refused}), CANCELLATION)


# over a real socket, with the twin


@pytest.fixture
async def twins() -> AsyncGenerator[Twins]:
    async with running_twins(clock=TwinClock(NOW)) as running:
        yield running


@pytest.fixture
async def mfk(twins: Twins) -> AsyncGenerator[MfKessaiClient]:
    edge = HttpEdge()
    at = Connection("mfk-main", "mfkessai", "sandbox", "Seikyu", twins.mfkessai.base_url)
    yield client(edge, at)
    await edge.aclose()


def ours(**changes: Any) -> ProviderRequest:
    return registration(destination_id=destination_id(1), issue_date="2026-11-21", **changes)


async def test_a_transaction_lives_from_registration_to_cancellation(twins: Twins, mfk: MfKessaiClient) -> None:
    registered = await mfk.send(CREATE_TRANSACTION, ours(), fence=open_fence)
    found = await find_registered(mfk, ours())
    assert isinstance(registered, Done)
    cancellation = CANCELLATION.model_copy(update={"path": {"transaction_id": registered.reference}})
    canceled = await mfk.send(CANCEL_TRANSACTION, cancellation, fence=open_fence)
    again = await mfk.send(CANCEL_TRANSACTION, cancellation, fence=open_fence)

    passed = Done(registered.reference, {"status": "passed", "amount": 5440}, counterparty_id=customer_id(1))
    assert registered == found == passed
    assert canceled == await find_canceled(mfk, cancellation)
    assert canceled == replace(passed, facts={"status": "canceled", "amount": 5440}, amount=5440)
    assert isinstance(again, Refused)
    assert CANCEL_TRANSACTION.conflict_codes & set(again.codes)
    assert len(twins.mfkessai.effects) == 2


async def test_a_lost_answer_is_found_again_by_number(twins: Twins, mfk: MfKessaiClient) -> None:
    twins.faults.add(Fault("mfkessai.create_transaction", FaultKind.CUT_AFTER_EFFECT))

    sent = await mfk.send(CREATE_TRANSACTION, ours(), fence=open_fence)

    assert isinstance(sent, Lost)
    assert isinstance(await find_registered(mfk, ours()), Done)
    assert isinstance(await find_registered(mfk, ours(amount=5441)), Different)
    assert await find_registered(mfk, ours(number="INV-2")) == Absent()


async def test_a_number_that_is_taken_is_refused_as_a_conflict(mfk: MfKessaiClient) -> None:
    await mfk.send(CREATE_TRANSACTION, ours(), fence=open_fence)

    sent = await mfk.send(CREATE_TRANSACTION, ours(), fence=open_fence)

    assert isinstance(sent, Refused)
    assert sent.codes == ("already_exists", "conflict")


async def test_where_mfk_computes_the_amount_the_transaction_is_still_recognised(
    twins: Twins, mfk: MfKessaiClient
) -> None:
    twins.mfkessai.seller_mode = SellerMode.BILLING
    twins.mfkessai.delivery_key = "invoice_delivery_method"
    request = registration_without_amounts()
    request = request.model_copy(update={"body": {**(request.body or {}), "destination_id": destination_id(1)}})

    sent = await mfk.send(CREATE_TRANSACTION, request, fence=open_fence)

    assert isinstance(sent, Done)
    assert await find_registered(mfk, request) == sent


@pytest.mark.parametrize("kind", [FaultKind.WRONG_JSON, FaultKind.BROKEN_JSON, FaultKind.HTML_200, FaultKind.DROP_ID])
async def test_an_answer_that_was_spoilt_on_the_way_proves_nothing(
    twins: Twins, mfk: MfKessaiClient, kind: FaultKind
) -> None:
    twins.faults.add(Fault("mfkessai.create_transaction", kind, after_effect=True))

    assert isinstance(await mfk.send(CREATE_TRANSACTION, ours(), fence=open_fence), Lost)


async def test_a_claim_that_was_lost_sends_nothing(twins: Twins, mfk: MfKessaiClient) -> None:
    async def closed() -> None:
        raise NotAllowed(Text("失効", "The claim is gone."))

    assert isinstance(await mfk.send(CREATE_TRANSACTION, ours(), fence=closed), NotSent)
    assert twins.mfkessai.effects == []


async def test_overdue_billings_are_read_as_the_twin_prints_them(mfk: MfKessaiClient) -> None:
    query = [("customer_id", customer_id(8)), ("unpaid", "true")]

    found = await mfk.read(LIST_BILLINGS, query=query)

    assert [billing.unpaid.shortage_amount for billing in found.items if billing.unpaid] == [10_000]
    assert all(billing.due_date < TODAY for billing in found.items)
