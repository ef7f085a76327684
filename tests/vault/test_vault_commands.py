import getpass
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from seikyu.app import Home
from seikyu.gate import audit
from seikyu.models import Connection
from seikyu.settings import Settings
from seikyu.surfaces.cli.commands import build
from seikyu.vault.keepsakes import Keepsakes
from seikyu.vault.keys import FILE_NAME, create_key_file
from seikyu.vault.secrets import Vault
from vault.fakes import API_KEY, MFK

OTHER = Connection("mfk-other", "mfkessai", "sandbox", "x", "http://127.0.0.1:1")

pytestmark = pytest.mark.both_stores


@pytest.fixture
def settings(home: Path, database_url: SecretStr | None) -> Settings:
    return Settings(
        home=home, config=home, requester="suzuki", lang="en", connections=(MFK, OTHER), database_url=database_url
    )


@pytest.fixture
def house(settings: Settings) -> Iterator[Home]:
    create_key_file(settings.home)
    house = Home(settings)
    store = house.rooms().store
    Vault(store, house.clock, house.key_ring).put_api_key(MFK, SecretStr(API_KEY))
    Vault(store, house.clock, house.key_ring).put_api_key(OTHER, SecretStr(API_KEY))
    Keepsakes(store, house.clock, house.key_ring).page_key()
    yield house
    house.close()


def run(house: Home, *arguments: str) -> Result:
    return CliRunner().invoke(build(lambda: house), ["vault", *arguments], obj=house)


def said(house: Home, *arguments: str) -> dict[str, Any]:
    result = run(house, *arguments, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    return found | {"exit": result.exit_code}


def rotate(house: Home, *options: str) -> dict[str, Any]:
    """On PostgreSQL it has to be said that no other machine is there."""
    alone = ["--sole-machine"] if house.settings.database_url is not None and not options else []
    return said(house, "rotate", *alone, *options)


def test_a_rotation_from_the_first_status_to_the_last(house: Home) -> None:
    before = said(house, "status")
    old = before["keys"][0]["id"]
    rotated = rotate(house)
    between = said(house, "status")
    dropped = rotate(house, "--drop-retired")
    after = said(house, "status")
    new = rotated["key_id"]

    assert before == {
        "exit": 0,
        "source": "file",
        "keys": [{"id": old, "seals": True, "secrets": 3}],
        "secrets": [
            {"name": "house/page", "provider": "seikyu", "kind": "page", "key_id": old, "state": "current"},
            {"name": "mfk-main", "provider": "mfkessai", "kind": "api_key", "key_id": old, "state": "current"},
            {"name": "mfk-other", "provider": "mfkessai", "kind": "api_key", "key_id": old, "state": "current"},
        ],
    }
    assert rotated == {
        "exit": 0,
        "key_id": new,
        "is_new": True,
        "resealed": ["house/page", "mfk-main", "mfk-other"],
        "dropped": [],
        "left": [],
        "keys": [{"id": new, "seals": True, "secrets": 3}, {"id": old, "seals": False, "secrets": 0}],
    }
    assert between["keys"] == rotated["keys"]
    assert (dropped["dropped"], dropped["is_new"], dropped["exit"]) == ([old], False, 0)
    assert after["keys"] == [{"id": new, "seals": True, "secrets": 3}]


def test_a_rotation_is_in_the_log_with_its_user_and_without_its_keys(house: Home) -> None:
    rotate(house)
    rotate(house, "--drop-retired")
    store = house.rooms().store
    with store.read() as tx:
        rows = tx.all("audit_page", after=0, limit=100)
    records = [(row["kind"], json.loads(row["record"])) for row in rows]

    assert [kind for kind, _ in records] == ["vault.rotation", "vault.resealed", "vault.keys_dropped"]
    assert {record["os_user"] for _, record in records} == {getpass.getuser()}
    assert house.key_ring().text().get_secret_value().strip() not in json.dumps(records)
    assert audit.verify(store).fault is None


def test_what_is_left_is_named_with_the_next_step_and_the_exit_code_says_so(house: Home) -> None:
    with house.rooms().store.write() as tx:
        tx.connection.execute("UPDATE secret SET sealed = '1.AAAA' WHERE connection = 'mfk-other'")
    told = run(house, "rotate", *(["--sole-machine"] if house.settings.database_url is not None else []))

    assert told.exit_code == 1
    assert "Left: mfk-other — it does not open" in told.stdout
    assert "`seikyu doctor` says" in told.stdout
    assert "sealed anew: 2 of 2" in told.stderr
    assert said(house, "status")["secrets"][2]["state"] == "unreadable"


def test_people_read_the_same_as_programs(house: Home) -> None:
    old = house.key_ring().current.id
    rotate(house)

    status, dropped = run(house, "status"), run(house, "rotate", "--drop-retired")

    assert f"The key is in: {house.settings.home / 'master.key'}" in status.stdout
    assert "nothing needs it; may be dropped" in status.stdout
    assert f"Dropped: {old}" in dropped.stdout
    assert "keep backups from its time" in dropped.stdout


def test_without_a_key_the_status_is_one_sentence_and_the_next_step(settings: Settings) -> None:
    house = Home(settings)
    result = run(house, "status")
    house.close()

    assert result.exit_code == 1
    assert result.stderr.startswith("There is no master key.")
    assert "Traceback" not in result.stderr


def test_dropping_stands_alone(house: Home) -> None:
    result = run(house, "rotate", "--drop-retired", "--no-new-key")

    assert (result.exit_code, "--drop-retired stands alone" in result.stderr) == (1, True)


@pytest.mark.sqlite_only
def test_a_form_shown_before_a_rotation_counts_after_it_at_another_replica(house: Home) -> None:
    store, clock = house.rooms().store, house.clock
    shown = Keepsakes(store, clock, house.key_ring).page_key()
    rotate(house)
    rotate(house, "--drop-retired")

    assert Keepsakes(store, clock, house.key_ring).page_key() == shown


def test_what_no_key_opens_is_given_up_by_name_and_only_then_made_anew(house: Home, settings: Settings) -> None:
    with closing(Home(settings)) as before:
        opens = run(before, "forget", "house/page", "--force")
    lost = lose_the_key(settings)
    unasked = run(lost, "forget", "house/page")
    done = run(lost, "forget", "house/page", "--force")
    twice = run(lost, "forget", "house/page", "--force")
    store, clock = lost.rooms().store, lost.clock
    made = Keepsakes(store, clock, lost.key_ring).page_key()
    lost.close()

    assert [told.exit_code for told in (opens, unasked, done, twice)] == [1, 1, 0, 1]
    assert "house/page is not lost: sealed with the current key." in opens.stderr
    assert "seikyu vault forget house/page --force" in unasked.stderr
    assert "There is no secret house/page." in twice.stderr
    assert len(made) == 32
    with house.rooms().store.read() as tx:
        told = [json.loads(row["record"]) for row in tx.all("audit_page", after=0, limit=50)]
        kept = {row["connection"] for row in tx.all("secrets")}
    assert [row["row"] for row in told if "state" in row] == ["house/page"]
    assert kept == {"mfk-main", "mfk-other", "house/page"}


def lose_the_key(settings: Settings) -> Home:
    """The installation, with another key file."""
    (settings.home / FILE_NAME).unlink()
    create_key_file(settings.home)
    return Home(settings)
