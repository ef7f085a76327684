from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from seikyu.sandbox.mfkessai import RateLimit
from seikyu.sandbox.mfkessai_data import HOSTILE_NAME, customer_id, destination_id, facility_id
from seikyu.sandbox.twins import Twins

pytestmark = pytest.mark.anyio


async def _codes(answer: httpx2.Response) -> tuple[int, list[str]]:
    return answer.status_code, [error["code"] for error in answer.json()]


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_a_missing_or_wrong_key_is_refused_with_an_array(kessai: httpx2.AsyncClient, key: str | None) -> None:
    del kessai.headers["apikey"]

    answer = await kessai.get("/customers", headers={"apikey": key} if key else {})

    assert answer.status_code == 401
    assert answer.json()[0]["type"] == "forbidden"


async def test_customers_come_newest_first_and_the_cursor_walks_through_all_once(
    kessai: httpx2.AsyncClient,
) -> None:
    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 10}
    while True:
        page = (await kessai.get("/customers", params=query)).json()
        seen += [customer["id"] for customer in page["items"]]
        if not page["pagination"]["has_next"]:
            break
        query["after"] = page["pagination"]["end"]

    assert seen == [customer_id(place) for place in range(27, 0, -1)]
    assert page["pagination"]["total"] == 27
    assert page["pagination"]["has_previous"] is True


async def test_twenty_is_the_default_page(kessai: httpx2.AsyncClient) -> None:
    page = (await kessai.get("/customers")).json()

    assert page["object"] == "list"
    assert len(page["items"]) == page["pagination"]["limit"] == 20


async def test_asking_beyond_the_last_page_is_out_of_range(kessai: httpx2.AsyncClient) -> None:
    answer = await kessai.get("/customers", params={"after": customer_id(1)})

    assert await _codes(answer) == (400, ["out_of_range_by_after"])
    assert answer.json()[0]["param"] == customer_id(1)


async def test_asking_before_the_first_is_out_of_range(kessai: httpx2.AsyncClient) -> None:
    answer = await kessai.get("/customers", params={"before": customer_id(27)})

    assert await _codes(answer) == (400, ["out_of_range_by_before"])


async def test_before_wins_over_after_and_returns_the_nearest_neighbours(kessai: httpx2.AsyncClient) -> None:
    query: dict[str, str | int] = {"before": customer_id(20), "after": customer_id(5), "limit": 2}
    page = (await kessai.get("/customers", params=query)).json()

    assert [customer["id"] for customer in page["items"]] == [customer_id(22), customer_id(21)]
    assert page["pagination"]["start"] == customer_id(22)


async def test_a_cursor_that_is_no_id_is_invalid(kessai: httpx2.AsyncClient) -> None:
    assert await _codes(await kessai.get("/customers", params={"after": "0000-0000"})) == (
        400,
        ["invalid_after"],
    )


@pytest.mark.parametrize("limit", ["0", "201", "ten", "-1", ""])
async def test_a_limit_outside_1_to_200_is_refused(kessai: httpx2.AsyncClient, limit: str) -> None:
    assert await _codes(await kessai.get("/customers", params={"limit": limit})) == (400, ["invalid_limit"])


async def test_a_customer_is_found_by_its_number_in_a_list_of_one(kessai: httpx2.AsyncClient) -> None:
    page = (await kessai.get("/customers", params={"number": "C-0001", "unheard_of": "1"})).json()

    assert [customer["name"] for customer in page["items"]] == ["株式会社青葉商事"]


async def test_customers_are_filtered_by_alert_payment_method_and_ids(kessai: httpx2.AsyncClient) -> None:
    alerted = (await kessai.get("/customers", params={"has_alert": "true"})).json()["items"]
    debited = (await kessai.get("/customers", params={"payment_method": "account_transfer"})).json()["items"]
    chosen = (await kessai.get("/customers", params={"ids": [customer_id(3), customer_id(1)]})).json()["items"]

    assert [customer["number"] for customer in alerted] == ["C-0002"]
    assert [customer["number"] for customer in debited] == ["C-0010"]
    assert [customer["number"] for customer in chosen] == ["C-0003", "C-0001"]


async def test_the_seed_has_a_hostile_name_of_at_most_fifty_characters(kessai: httpx2.AsyncClient) -> None:
    customer = (await kessai.get(f"/customers/{customer_id(7)}")).json()

    assert customer["name"] == HOSTILE_NAME
    assert len(HOSTILE_NAME) <= 50


async def test_an_unknown_customer_is_404_and_names_the_id(kessai: httpx2.AsyncClient) -> None:
    answer = await kessai.get("/customers/0000-0000")

    assert await _codes(answer) == (404, ["not_found"])
    assert answer.json()[0]["param"] == "0000-0000"


async def test_an_unknown_path_is_404_and_a_wrong_method_405(kessai: httpx2.AsyncClient) -> None:
    assert (await kessai.get("/nothing")).status_code == 404
    assert (await kessai.put("/transactions")).status_code == 405


async def test_destinations_of_two_different_customers_are_none(kessai: httpx2.AsyncClient) -> None:
    own = {"customer_id": customer_id(1), "customer_number": "C-0001"}
    mixed = {"customer_id": customer_id(1), "customer_number": "C-0002"}

    found = (await kessai.get("/destinations", params=own)).json()["items"]
    empty = (await kessai.get("/destinations", params=mixed)).json()

    assert [one["id"] for one in found] == [destination_id(1)]
    assert empty["pagination"]["total"] == 0


async def test_facilities_are_asked_by_repeated_and_by_comma_separated_status(
    kessai: httpx2.AsyncClient,
) -> None:
    repeated = (await kessai.get("/credit_facilities", params={"status": ["expired", "inactive"]})).json()["items"]
    joined = (await kessai.get("/credit_facilities", params={"status": "expired,inactive"})).json()["items"]
    wrong = await kessai.get("/credit_facilities", params={"status": "open"})

    assert repeated == joined
    assert {one["customer_id"]: one["status"] for one in joined} == {
        customer_id(4): "expired",
        customer_id(9): "inactive",
    }
    assert await _codes(wrong) == (400, ["invalid_credit_facility_status"])


async def test_the_facility_in_force_today_is_found_by_its_days(kessai: httpx2.AsyncClient) -> None:
    query = {"customer_number": "C-0001", "start_date_to": "2026-11-18", "end_date_from": "2026-11-18"}
    facility = (await kessai.get("/credit_facilities", params=query)).json()["items"][0]

    assert facility == {
        "amount": 3_000_000,
        "balance": 1_200_000,
        "customer_examination_id": facility["customer_examination_id"],
        "customer_id": customer_id(1),
        "end_date": "2027-01-31",
        "id": facility_id(1),
        "start_date": "2026-11-01",
        "status": "active",
        "uri": f"mfk:credit_facility:{facility_id(1)}",
    }


async def test_a_facility_expires_when_its_days_are_over(kessai: httpx2.AsyncClient, twins: Twins) -> None:
    twins.advance(75 * 86_400)

    facility = (await kessai.get(f"/credit_facilities/{facility_id(1)}")).json()

    assert facility["status"] == "expired"


async def test_a_customer_without_any_facility_has_an_empty_list(kessai: httpx2.AsyncClient) -> None:
    page = (await kessai.get("/credit_facilities", params={"customer_number": "C-0003"})).json()

    assert page["items"] == []
    assert page["pagination"]["has_next"] is False


@pytest.mark.parametrize("day", ["2026/11/18", "2026-11-31", "20261118", "today"])
async def test_a_day_that_is_not_one_is_refused_by_name(kessai: httpx2.AsyncClient, day: str) -> None:
    answer = await kessai.get("/credit_facilities", params={"end_date_from": day})

    assert await _codes(answer) == (400, ["invalid_credit_facility_end_date_from"])


async def test_the_two_worlds_of_billings_have_an_overdue_one_each(kessai: httpx2.AsyncClient) -> None:
    qualified = (await kessai.get("/billings/qualified", params={"unpaid": "true"})).json()["items"]
    separate = (await kessai.get("/billings", params={"unpaid": "true"})).json()["items"]

    assert [one["unpaid"]["shortage_amount"] for one in qualified] == [330_000]
    assert [one["unpaid"]["shortage_amount"] for one in separate] == [10_000]
    assert qualified[0]["invoice_ids"] == [f"i/{qualified[0]['id']}"]


async def test_an_empty_unpaid_counts_as_false(kessai: httpx2.AsyncClient) -> None:
    page = (await kessai.get("/billings/qualified", params={"unpaid": ""})).json()

    assert [billing["amount"] for billing in page["items"]] == [55_000]


async def test_amount_from_is_included_and_amount_to_is_not(kessai: httpx2.AsyncClient) -> None:
    page = (await kessai.get("/transactions", params={"amount_from": 55_000, "amount_to": 330_000})).json()

    assert sorted(one["amount"] for one in page["items"]) == [55_000, 110_000]


async def test_beyond_the_rate_limit_nothing_is_processed(
    kessai: httpx2.AsyncClient,
    twins: Twins,
    sale: Callable[..., dict[str, Any]],
) -> None:
    twins.mfkessai.rate_limit = RateLimit(requests=2, window_s=60)
    await kessai.get("/customers")
    await kessai.get("/customers")

    refused = await kessai.post("/transactions", json=sale())
    twins.advance(61)
    taken = await kessai.post("/transactions", json=sale())

    assert refused.status_code == 429
    assert refused.json()[0]["type"] == "rate_limit_error"
    assert taken.status_code == 200
    assert len(twins.effects) == 1
