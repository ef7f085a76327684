"""What may happen to a login: at the token endpoint, at the provider, to the key that seals it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from faults.between import Script, after, altered, resets, says
from faults.house import FREE_DOCUMENTS, STORE, SUZUKI, TOKEN, UPLOAD, House, consent, document, open_house
from seikyu.sandbox.invox_oauth import ACCESS_TOKEN_LIFE_S
from seikyu.vault.keys import FILE_NAME, create_key_file
from seikyu.vault.secrets import OAuthSecret, Vault


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with open_house(tmp_path, FREE_DOCUMENTS, with_invox=True) as made:
        yield made


def stored(house: House) -> tuple[int, OAuthSecret]:
    grant = vault_of(house).grant(house.home.settings.connections[1])
    return grant.generation, grant.secret


def vault_of(house: House) -> Vault:
    return Vault(house.home.rooms().store, house.clock, house.home.key_ring)


def login(house: House) -> str:
    return house.home.logins().state(house.home.settings.connections[1])


async def upload(house: House, name: str = "領収書.pdf") -> dict[str, object]:
    return await house.view("upload_e_storage_document", **document(house, name, name.encode()))


def expire_at_provider(house: House) -> None:
    """The provider's access token is over, and our clock does not know it yet."""
    house.twins.advance(ACCESS_TOKEN_LIFE_S + 1)


@pytest.mark.fault("F41")
async def test_a_token_that_expires_in_the_middle_of_a_batch_is_renewed_once_and_nothing_is_stored_twice(
    house: House,
) -> None:
    names = [f"領収書-{number}.pdf" for number in range(6)]
    first = [await upload(house, name) for name in names[:2]]
    expire_at_provider(house)
    told: list[dict[str, object]] = []

    async def one(name: str) -> None:
        told.append(await upload(house, name))

    async with anyio.create_task_group() as tasks:
        for name in names[2:]:
            tasks.start_soon(one, name)
    for _ in range(3):
        await house.pass_time(10)
    ends = [await house.status(str(action["action_id"])) for action in [*first, *told]]

    assert ends == ["succeeded"] * 6
    assert sorted(kept.file_name for kept in house.twins.invox.documents) == names
    assert (house.wire.count(TOKEN), house.twins.invox.oauth.reuses, house.effects(STORE)) == (1, 0, 6)


@pytest.mark.fault("F41")
async def test_a_provider_that_refuses_the_renewed_token_as_well_is_not_asked_for_another(house: House) -> None:
    refusal = says("401 Unauthorized", b'{"error": "invalid_token"}')
    house.wire.plays(UPLOAD, refusal, times=99)
    told = await upload(house)
    for _ in range(20):
        await house.pass_time(600)
    blocked = await house.operator_json("show", str(told["action_id"]))

    assert (told["status"], told["written"], house.wire.count(TOKEN)) == ("approved", "no", 1)
    assert "refuses the renewed access token as well" in blocked["outcome"]
    assert "`seikyu connect invox-main`" in blocked["outcome"]


@pytest.mark.fault("F41")
async def test_a_renewed_token_that_was_taken_is_renewed_again_when_its_time_comes(house: House) -> None:
    ends: list[str] = []
    for number in range(3):
        expire_at_provider(house)
        told = await upload(house, f"領収書-{number}.pdf")
        ends.append((await house.settled(str(told["action_id"])))["status"])

    assert (ends, house.wire.count(TOKEN)) == (["succeeded"] * 3, 3)


NOT_TOKENS: dict[str, Script] = {
    "429": says("429 Too Many Requests", b'{"message": "slow down"}', "Retry-After: 1000000000"),
    "500": says("500 Internal Server Error", b"{}"),
    "HTML": says("200 OK", b"<!doctype html>Log in", "Content-Type: text/html"),
    "{}": says("200 OK", b"{}"),
    "redirect": says("302 Found", b"", "Location: http://127.0.0.1:9/steal"),
    "no answer": resets,
}


@pytest.mark.fault("F43")
@pytest.mark.parametrize("script", NOT_TOKENS.values(), ids=NOT_TOKENS)
async def test_an_answer_that_is_no_token_leaves_the_stored_one_and_asks_once(house: House, script: Script) -> None:
    house.wire.plays(TOKEN, script)
    before = stored(house)
    expire_at_provider(house)
    told = await upload(house)
    tries = house.wire.count(TOKEN)
    again = await house.call("get_action", action_id=told["action_id"])
    state = login(house)
    for _ in range(5):
        await house.pass_time(1)

    assert (told["status"], told["written"]) == ("approved", "no")
    assert (stored(house), state, again.is_error) == (before, "refresh_unknown", False)
    assert (tries, house.wire.count(TOKEN)) == (1, 1), "a token that may be used up is not sent again at once"
    assert (house.effects(STORE), house.twins.invox.oauth.reuses) == (0, 0)


@pytest.mark.fault("F43")
async def test_new_tokens_that_were_lost_on_the_way_are_asked_for_once_more_and_then_a_person_is(house: House) -> None:
    house.wire.plays(TOKEN, after(house.wire, resets))
    expire_at_provider(house)
    told = await upload(house)
    for _ in range(10):
        await house.pass_time(60)
    blocked = await house.view("get_action", action_id=told["action_id"])
    tries, state = house.wire.count(TOKEN), login(house)
    await consent(house)
    seen = await house.settled(str(told["action_id"]))

    assert (tries, state, blocked["status"], blocked["written"]) == (2, "needs_login", "approved", "no")
    assert (seen["status"], house.effects(STORE)) == ("succeeded", 1)


@pytest.mark.fault("F29")
async def test_a_redirected_token_request_is_not_followed_and_its_secret_goes_nowhere(house: House) -> None:
    house.wire.plays(TOKEN, says("307 Temporary Redirect", b"", f"Location: {house.twins.origin}/invox/oauth2/token/"))
    expire_at_provider(house)
    before = house.twins.invox.oauth.refreshes
    await upload(house)

    assert house.twins.invox.oauth.refreshes == before
    assert login(house) == "refresh_unknown"


@pytest.mark.fault("F46")
async def test_a_consent_taken_back_at_the_provider_blocks_what_waits_and_says_why(house: House) -> None:
    first = await upload(house, "一.pdf")
    house.twins.invox.oauth.forget()
    told = await upload(house, "二.pdf")
    asked = house.wire.count(TOKEN)
    for _ in range(10):
        await house.pass_time(60)
    card = await house.operator_json("show", str(told["action_id"]))
    listed = await house.view("list_connections")
    shown = next(row for row in listed["connections"] if row["provider"] == "invox")
    await consent(house)
    seen = await house.settled(str(told["action_id"]))

    assert (first["status"], told["status"], told["written"]) == ("succeeded", "approved", "no")
    assert (asked, house.wire.count(TOKEN)) == (1, 2), "one renewal, then only the new consent"
    assert (card["state"], "seikyu connect invox-main" in card["outcome"]) == ("approved", True)
    assert shown
    assert (seen["status"], house.effects(STORE)) == ("succeeded", 2)


@pytest.mark.fault("F48")
async def test_tokens_without_a_refresh_token_leave_the_old_one_in_force(house: House) -> None:
    house.twins.invox.oauth.rotates = False
    house.wire.plays(TOKEN, altered(house.wire, lambda answer: {k: answer[k] for k in answer if k != "refresh_token"}))
    _, before = stored(house)
    expire_at_provider(house)
    told = await upload(house)
    seen = await house.settled(str(told["action_id"]))
    _, now = stored(house)

    assert (seen["status"], house.effects(STORE)) == ("succeeded", 1)
    assert now.refresh_token == before.refresh_token
    assert now.access_token != before.access_token


@pytest.mark.fault("F48")
@pytest.mark.parametrize("change", [{"scope": "read"}, {"company_id": 999}])
async def test_fewer_rights_or_another_company_stop_everything_until_a_person_looked(
    tmp_path: Path, change: dict[str, object]
) -> None:
    async with open_house(tmp_path / "other", FREE_DOCUMENTS) as house:
        house.wire.plays(TOKEN, altered(house.wire, lambda answer: answer | {"company_id": 123}))
        await consent(house)
        house.wire.plays(TOKEN, altered(house.wire, lambda answer: answer | {"company_id": 123} | change))
        expire_at_provider(house)
        told = await upload(house)
        for _ in range(10):
            await house.pass_time(60)
        card = await house.operator_json("show", str(told["action_id"]))

        assert (told["status"], card["state"], house.effects(STORE)) == ("approved", "approved", 0)
        assert "fewer rights than were granted, or for another company" in card["outcome"]
        assert (login(house), house.wire.count(UPLOAD)) == ("needs_login", 1)


@pytest.mark.fault("F49")
async def test_a_wrong_or_missing_key_opens_nothing_and_overwrites_nothing(house: House) -> None:
    key_file = house.home.settings.home / FILE_NAME
    right, sealed = key_file.read_text(), rows(house)
    key_file.unlink()
    missing = await restarted(house, "lookup_customer", query="青葉商事")
    create_key_file(house.home.settings.home)
    wrong = await restarted(house, "lookup_customer", query="青葉商事")
    written = await restarted(house, "upload_e_storage_document", **document(house))
    kept = rows(house)
    key_file.write_text(right)
    healed = await restarted(house, "lookup_customer", query="青葉商事")

    assert "There is no master key" in missing
    assert "does not open" in wrong
    assert "succeeded" not in written
    assert (kept, rows(house), house.effects(STORE)) == (sealed, sealed, 0)
    assert "青葉商事" in healed


@pytest.mark.fault("F49")
async def test_a_key_changed_halfway_opens_with_the_ring_and_seals_with_the_new_one(house: House) -> None:
    key_file = house.home.settings.home / FILE_NAME
    old = key_file.read_text()
    key_file.unlink()
    new = create_key_file(house.home.settings.home)
    key_file.write_text(key_file.read_text() + old)
    expire_at_provider(house)
    home = house.another()
    try:
        told = await home.call(SUZUKI, "upload_e_storage_document", document(house))
        await home.rooms().executor.drain()
    finally:
        await home.edge.aclose()
        home.close()
    for _ in range(3):
        await house.pass_time(10)

    assert not told.is_error, told.text
    assert {row["connection"]: row["key_id"] == new.id for row in rows(house)} == {
        "mfk-main": False,
        "invox-main": True,
    }


def rows(house: House) -> list[dict[str, object]]:
    with house.home.rooms().store.read() as tx:
        found = [tx.one("secret", connection=row.name) for row in house.home.settings.connections]
    return [dict(row) for row in found if row is not None]


async def restarted(house: House, tool: str, **arguments: object) -> str:
    """What a process that starts now says."""
    home = house.another()
    try:
        answer = await home.call(SUZUKI, tool, arguments)
    finally:
        await home.edge.aclose()
        home.close()
    return answer.text + json.dumps(answer.structured, ensure_ascii=False)
