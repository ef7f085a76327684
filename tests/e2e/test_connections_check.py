"""`seikyu connections --check`, against the twins on real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from e2e.beside import FREEE, INVOX, MFK, OTHER_KEY, Installation, freee_tokens, tokens
from seikyu.gate.connections import Standing
from seikyu.sandbox.faults import Fault, FaultKind
from seikyu.sandbox.freee import COMPANIES, COMPANY, OTHER_COMPANY
from seikyu.sandbox.twins import Twins
from seikyu.vault.grants import TokenAnswer


@pytest.fixture
def place(twins: Twins, tmp_path: Path) -> Installation:
    made = Installation(tmp_path, twins)
    made.build()
    return made


def checked(place: Installation) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and each row by its name."""
    done = place.run("connections", "--check", "--json")
    return done.exit_code, {row["name"]: row for row in json.loads(done.stdout)}


def test_logins_that_work_are_told_so_by_their_providers_and_nothing_changes_there(
    twins: Twins, place: Installation
) -> None:
    place.connect()

    code, rows = checked(place)

    assert code == 0
    assert [(row["state"], row["works"], row["asked"]) for row in rows.values()] == [("works", True, True)] * 2
    assert rows[MFK]["account"] is None
    assert rows[MFK]["token_expires_at"] is None
    assert rows[INVOX]["token_expires_at"] is not None
    assert abs(rows[MFK]["clock_ahead_s"]) <= 2
    assert (twins.effects, twins.invox.oauth.refreshes) == ([], 0)


def test_without_check_no_provider_is_asked_and_that_is_said(twins: Twins, place: Installation) -> None:
    place.connect()
    before = twins.requests

    done = place.run("connections")

    assert done.exit_code == 0
    assert "as stored" in done.output
    assert "No provider was asked" in done.output
    assert twins.requests == before


def test_a_missing_login_and_one_that_does_not_open_are_told_without_a_call(twins: Twins, place: Installation) -> None:
    place.put_key("a key of before")
    (place.home / "master.key").write_text(f"{OTHER_KEY}\n", encoding="ascii")

    code, rows = checked(place)

    assert code == 1
    assert (rows[MFK]["state"], rows[INVOX]["state"]) == ("undecryptable", "missing")
    assert "sealed with another master key" in rows[MFK]["what"]
    assert "Provide the right master key" in rows[MFK]["next_step"]
    assert "seikyu connect invox-main" in rows[INVOX]["next_step"]
    assert not any("mfkessai" in operation or "e_storage" in operation for operation in twins.requests)


def test_a_master_key_that_cannot_be_read_is_to_be_mended_and_no_login_made_anew(place: Installation) -> None:
    place.connect()
    (place.home / "master.key").chmod(0o644)

    code, rows = checked(place)

    assert code == 1
    assert {row["state"] for row in rows.values()} == {"undecryptable"}
    assert {row["next_step"] for row in rows.values()} == {f"Run `chmod 600 {place.home / 'master.key'}`."}


def test_a_key_that_the_provider_refuses_needs_a_login(place: Installation) -> None:
    place.put_key("not the key")

    code, rows = checked(place)

    assert (code, rows[MFK]["state"], rows[MFK]["asked"]) == (1, "needs_login", True)
    assert "refuses this login" in rows[MFK]["what"]


def test_an_access_token_that_is_over_is_renewed_once_and_then_works(twins: Twins, place: Installation) -> None:
    place.put_grant(tokens(place.invox_url), days_ago=1)

    _, rows = checked(place)

    assert rows[INVOX]["state"] == "works"
    assert twins.invox.oauth.refreshes == 1


def test_an_access_token_that_the_provider_ended_early_is_renewed_once_and_then_works(
    twins: Twins, place: Installation
) -> None:
    answer = tokens(place.invox_url)
    place.put_grant(TokenAnswer(SecretStr("ended"), 36_000, answer.refresh_token, answer.scope))

    _, rows = checked(place)

    assert rows[INVOX]["state"] == "works"
    assert twins.invox.oauth.refreshes == 1


def test_a_token_that_is_refused_right_after_its_renewal_is_not_renewed_again(
    twins: Twins, place: Installation
) -> None:
    place.put_grant(tokens(place.invox_url), days_ago=1)
    twins.faults.add(Fault("invox.look_at_e_storage", FaultKind.STATUS, status=401, times=9))

    _, rows = checked(place)

    assert rows[INVOX]["state"] == "needs_login"
    assert twins.invox.oauth.refreshes == 1


def test_a_grant_that_was_revoked_at_the_provider_needs_a_login(twins: Twins, place: Installation) -> None:
    place.put_grant(tokens(place.invox_url), days_ago=1)
    twins.faults.add(Fault("invox.token", FaultKind.REFUSE_TOKEN))

    code, rows = checked(place)

    assert (code, rows[INVOX]["state"]) == (1, "needs_login")
    assert "seikyu connect invox-main" in rows[INVOX]["next_step"]


def test_a_login_that_cannot_be_renewed_tells_until_when_it_works(place: Installation) -> None:
    place.connect()
    place.put_grant(tokens(place.invox_url, has_refresh=False))

    code, rows = checked(place)

    assert (code, rows[INVOX]["state"]) == (0, "expires")
    assert rows[INVOX]["token_expires_at"] in rows[INVOX]["what"]


def test_a_login_whose_renewal_got_no_answer_works_until_a_known_time(place: Installation) -> None:
    place.connect()
    place.change("UPDATE secret SET state = 'refresh_unknown' WHERE kind = 'oauth'")

    code, rows = checked(place)

    assert (code, rows[INVOX]["state"]) == (0, "expires")
    assert rows[INVOX]["token_expires_at"] in rows[INVOX]["what"]
    assert "whether it can be renewed" in rows[INVOX]["what"].lower()
    assert "seikyu connect invox-main" in rows[INVOX]["next_step"]


def test_a_login_renewed_with_fewer_rights_says_so_each_time(place: Installation) -> None:
    place.connect()
    place.change("UPDATE secret SET state = 'scope_lost' WHERE kind = 'oauth'")

    code, rows = checked(place)

    assert (code, rows[INVOX]["state"]) == (1, "needs_login")
    assert "fewer rights" in rows[INVOX]["what"]


def test_how_a_login_is_stored_is_told_in_the_readers_language(place: Installation) -> None:
    place.connect()
    place.change("UPDATE secret SET state = 'refresh_unknown' WHERE kind = 'oauth'")
    place.variables["SEIKYU_LANG"] = "ja"

    said = place.run("connections").output

    assert "更新の結果が不明" in said
    assert "登録済み" in said


def test_a_provider_that_answers_everybody_alike_proves_nothing(twins: Twins, place: Installation) -> None:
    place.connect()
    twins.faults.add(Fault("invox.look_at_e_storage", FaultKind.STATUS, status=405, times=2))

    code, rows = checked(place)

    assert (code, rows[INVOX]["state"], rows[INVOX]["asked"]) == (1, "unknown", True)
    assert "nothing to read" in rows[INVOX]["what"]


def test_a_provider_in_trouble_hides_no_other_row(twins: Twins, place: Installation) -> None:
    place.connect()
    twins.faults.add(Fault("mfkessai.list_customers", FaultKind.STATUS, status=503, times=9))

    code, rows = checked(place)

    assert code == 1
    assert (rows[MFK]["state"], rows[INVOX]["state"]) == ("unknown", "works")
    assert "HTTP 503" in rows[MFK]["what"]


def test_a_page_from_something_in_between_is_no_refusal(twins: Twins, place: Installation) -> None:
    place.connect()
    twins.faults.add(Fault("mfkessai.list_customers", FaultKind.HTML_200))

    _, rows = checked(place)

    assert rows[MFK]["state"] == "unknown"


@pytest.mark.parametrize("company", [COMPANY, COMPANIES[COMPANY], " 株式会社　サンプル"])
def test_the_company_a_provider_names_is_shown_when_it_is_the_one_that_is_written(
    place: Installation, company: str
) -> None:
    place.write_freee(company)
    place.put_freee_grant(freee_tokens(place.freee_url))

    code, rows = checked(place)

    assert (code, rows[FREEE]["state"]) == (0, "works")
    assert rows[FREEE]["account"] == {"id": COMPANY, "name": COMPANIES[COMPANY]}


@pytest.mark.parametrize("company", [OTHER_COMPANY, "株式会社テスト"])
def test_another_company_than_is_written_is_the_worst_of_findings(place: Installation, company: str) -> None:
    place.write_freee(company)
    place.put_freee_grant(freee_tokens(place.freee_url))

    code, rows = checked(place)
    doctor = place.run("doctor", "--json")

    assert (code, rows[FREEE]["state"], rows[FREEE]["works"]) == (1, "other_company", False)
    assert COMPANY in rows[FREEE]["what"]
    assert "Approve nothing" in rows[FREEE]["next_step"]
    assert next(iter(Standing)) is Standing.OTHER_COMPANY
    live = [found for found in json.loads(doctor.stdout)["findings"] if found["check"] == "connections.live"]
    assert [found["level"] for found in live] == ["fault"]


def test_a_login_that_freee_has_forgotten_needs_a_person(twins: Twins, place: Installation) -> None:
    place.write_freee(COMPANY)
    place.put_freee_grant(freee_tokens(place.freee_url))
    twins.freee.oauth.forget()

    _, rows = checked(place)

    assert rows[FREEE]["state"] == "needs_login"


def test_people_see_a_table_and_the_worst_first_below(place: Installation) -> None:
    place.put_grant(tokens(place.invox_url))

    done = place.run("connections", "--check")

    assert done.exit_code == 1
    assert "as their providers say" in done.output
    assert done.output.index("mfk-main: No login is stored.") < done.output.index("invox-main: invox accepts it")
