from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretBytes, SecretStr

from gate.stage import CONNECTION, PretendClock
from seikyu.errors import LoginRequired, StoreDamaged
from seikyu.settings import SlackApp
from seikyu.store.database import Store
from seikyu.vault.keepsakes import (
    FORMER_LIVES,
    PAGE_KEY,
    SEALING_KEY,
    Keepsakes,
    Place,
    mending,
    slack_place,
    webhook_place,
)
from seikyu.vault.keys import KeyRing, MasterKey

PLACE = webhook_place(CONNECTION)


class House:
    """Keepsakes over a database, and the ring that opens them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seikyu.db"
        self.store = Store(self.file)
        self.clock = PretendClock()
        self.ring = KeyRing(MasterKey(SecretBytes(b"k" * 32)))
        self.kept = Keepsakes(self.store, self.clock, lambda: self.ring)

    def lose_the_key(self) -> None:
        """Begin again with another, as a process that starts then."""
        self.ring = KeyRing(MasterKey(SecretBytes(b"x" * 32)))
        self.kept = Keepsakes(self.store, self.clock, lambda: self.ring)


@pytest.fixture
def house(tmp_path: Path) -> Generator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


def test_two_secrets_hold_for_two_days_after_a_new_one_was_given(house: House) -> None:
    house.kept.put_signing_secret(PLACE, SecretStr("first-secret-0001"))
    house.kept.put_signing_secret(PLACE, SecretStr("second-secret-002"))

    during = house.kept.signing_secrets(PLACE)
    house.clock.at += FORMER_LIVES
    after = house.kept.signing_secrets(PLACE)

    assert (during, after) == (["second-secret-002", "first-secret-0001"], ["second-secret-002"])
    assert b"secret-00" not in house.file.read_bytes()


def test_the_same_secret_again_does_not_live_longer(house: House) -> None:
    house.kept.put_signing_secret(PLACE, SecretStr("first-secret-0001"))
    house.kept.put_signing_secret(PLACE, SecretStr("first-secret-0001"))

    assert house.kept.signing_secrets(PLACE) == ["first-secret-0001"]


def test_what_is_kept_for_one_place_opens_at_no_other(house: House) -> None:
    house.kept.put(PLACE, {"secret": "first-secret-0001"})

    for other in (replace(PLACE, address="https://evil.example"), replace(PLACE, kind="slack")):
        with pytest.raises(StoreDamaged):
            house.kept.get(other)


def test_another_master_key_opens_nothing(house: House) -> None:
    house.kept.put(PLACE, {"secret": "first-secret-0001"})
    other = KeyRing(MasterKey(SecretBytes(b"x" * 32)))

    with pytest.raises(StoreDamaged):
        Keepsakes(house.store, house.clock, lambda: other).signing_secrets(PLACE)


@pytest.mark.parametrize(
    "place,command",
    [
        (PLACE, "seikyu webhook mfk-main"),
        (slack_place(SlackApp("T1", "A1", "C1")), "seikyu slack connect"),
        (SEALING_KEY, "seikyu vault forget house/seal"),
        (PAGE_KEY, "seikyu vault forget house/page"),
    ],
)
def test_what_does_not_open_names_the_command_that_mends_it(house: House, place: Place, command: str) -> None:
    house.kept.put(place, {"secret": "first-secret-0001"})
    house.lose_the_key()

    with pytest.raises(StoreDamaged) as told:
        house.kept.get(place)

    assert f"`{command}`" in told.value.next_step.en
    assert f"`{command}`" in told.value.next_step.ja


@pytest.mark.parametrize(
    "name,command",
    [
        ("mfk-main", "seikyu connect mfk-main"),
        ("mfk-main/webhook", "seikyu webhook mfk-main"),
        ("house/slack", "seikyu slack connect"),
        ("house/page", "seikyu vault forget house/page"),
    ],
)
def test_every_row_of_the_vault_has_a_command_that_mends_it(name: str, command: str) -> None:
    assert mending(name) == command


def test_a_signing_secret_is_given_anew_although_the_former_one_does_not_open(house: House) -> None:
    house.kept.put_signing_secret(PLACE, SecretStr("first-secret-0001"))
    house.lose_the_key()

    house.kept.put_signing_secret(PLACE, SecretStr("second-secret-002"))

    assert house.kept.signing_secrets(PLACE) == ["second-secret-002"]


def test_what_was_forgotten_signs_nothing(house: House) -> None:
    house.kept.put_signing_secret(PLACE, SecretStr("first-secret-0001"))

    assert house.kept.forget(PLACE)
    assert (house.kept.forget(PLACE), house.kept.signing_secrets(PLACE)) == (False, [])


def test_the_sealing_key_is_made_once_and_only_when_asked_for(house: House) -> None:
    with pytest.raises(LoginRequired):
        house.kept.sealing_key()
    made = house.kept.sealing_key(may_make=True)

    again = house.kept.sealing_key(may_make=True)

    assert again.private_bytes_raw() == made.private_bytes_raw()
    assert made.private_bytes_raw().hex().encode() not in house.file.read_bytes()
    assert house.kept.get(SEALING_KEY) is not None


def test_what_an_earlier_version_kept_lies_where_it_is_looked_for() -> None:
    app = SlackApp("T1", "A1", "C1")

    assert slack_place(app) == Place("house/slack", "slack", "https://slack.com/api", "slack")
    assert Place("house/seal", "seikyu", "", "seal") == SEALING_KEY
    assert webhook_place(CONNECTION) == Place("mfk-main/webhook", "mfkessai", CONNECTION.base_url, "webhook")


def test_each_time_something_is_kept_anew_its_seal_is_of_the_next_generation(house: House) -> None:
    found = list[tuple[int, str]]()
    for word in ("first", "second"):
        house.kept.put(PLACE, {"secret": word})
        with house.store.read() as tx:
            row = tx.one("secret", connection=PLACE.name)
        assert row is not None
        found.append((row["generation"], house.kept.word(PLACE, "secret").get_secret_value()))

    assert found == [(1, "first"), (2, "second")]


def test_a_word_that_was_never_kept_asks_for_a_person(house: House) -> None:
    with pytest.raises(LoginRequired, match="mfk-main/webhook was never stored"):
        house.kept.word(PLACE, "secret")
    house.kept.put(PLACE, {"secret": "first"})
    with pytest.raises(LoginRequired):
        house.kept.word(PLACE, "other")
