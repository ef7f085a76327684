"""`seikyu freeze` comes whatever is wrong in the configuration: a server that read it before still sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.beside import Installation
from seikyu.gate import freezing


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    made = Installation(tmp_path)
    made.build()
    return made


def _write(name: str, text: str) -> Callable[[Installation], None]:
    def break_it(place: Installation) -> None:
        (place.config / name).write_text(text, encoding="utf-8")

    return break_it


def _set(name: str, value: str) -> Callable[[Installation], None]:
    def break_it(place: Installation) -> None:
        place.variables[name] = value

    return break_it


RUINS = {
    "accounts that are no TOML": _write("connections.toml", "[["),
    "a policy that is none": _write("policy.toml", "[["),
    "a wait that is no number": _set("SEIKYU_TIMING_LEASE_S", "long"),
    "a program by a relative path": _set("SEIKYU_NOTIFY_COMMAND", "./notify"),
    "a master key that is none": _set("SEIKYU_MASTER_KEY", "no key"),
    "too short a retention": _set("SEIKYU_RETENTION_YEARS", "1"),
    "a word that is neither yes nor no": _set("SEIKYU_READ_ONLY", "perhaps"),
}


@pytest.mark.parametrize("ruin", RUINS.values(), ids=list(RUINS))
def test_everything_is_stopped_whatever_is_wrong_with_the_configuration(
    place: Installation, ruin: Callable[[Installation], None]
) -> None:
    with place.opened() as home:
        store = home.rooms().store
        assert freezing.current(store) is None  # a server runs, and has read what was there before
        ruin(place)

        done = place.run("freeze", "--reason", "something is wrong")

        frozen = freezing.current(store)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, frozen.text.en if frozen else "not frozen")
    assert frozen is not None
    assert frozen.reason == "something is wrong"
    assert f"This is about {place.home}." in " ".join(done.stdout.split())


def test_an_installation_that_was_never_there_is_not_called_stopped(place: Installation) -> None:
    place.variables["SEIKYU_HOME"] = str(place.folder / "elsewhere")

    done = place.run("freeze", "--reason", "something is wrong")

    said = " ".join(done.stderr.split())
    assert done.exit_code == 1
    assert f"There is no {place.folder / 'elsewhere' / 'seikyu.db'}: nothing is sent from there." in said
    assert "Nothing was frozen. Run it with the SEIKYU_HOME of the server to be stopped" in said
    assert not (place.folder / "elsewhere").exists()


def test_no_other_database_is_stopped_than_the_one_that_is_meant(place: Installation) -> None:
    place.variables["SEIKYU_DATABASE_URL"] = "postgres://db/seikyu"

    done = place.run("freeze", "--reason", "something is wrong")

    assert done.exit_code == 1
    assert "SEIKYU_DATABASE_URL must begin with postgresql://" in done.stderr
    assert not (place.home / "seikyu.db").exists()


@pytest.mark.parametrize("lang,said", [("en", "cannot be read"), ("ja", "を読めません")])
def test_a_configuration_that_cannot_be_read_is_told_in_the_language_of_the_person(
    place: Installation, lang: str, said: str
) -> None:
    place.variables["SEIKYU_LANG"] = lang
    _write("connections.toml", "[[")(place)

    done = place.run("actions")

    assert done.exit_code == 1
    assert said in done.stderr
