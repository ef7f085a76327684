import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from seikyu.errors import ConfigurationError
from seikyu.settings import KeyPlaceName, read_settings
from seikyu.vault.keys import KeyPlaces, create_key_file
from vault.fakes import is_plain

HEX = bytes(range(32)).hex()
OTHER = bytes(range(1, 33)).hex()
PRINTS_HEX = (sys.executable, "-c", f"print('{HEX}')")
PRINTS_OTHER = (sys.executable, "-c", f"print('{OTHER}')")


def given(
    home: Path, *, variable: str | None = None, command: tuple[str, ...] = (), named: KeyPlaceName | None = None
) -> KeyPlaces:
    return KeyPlaces(home, variable=None if variable is None else SecretStr(variable), command=command, named=named)


def raw(places: KeyPlaces) -> str:
    return places().current.raw.get_secret_value().hex()


def refused(places: KeyPlaces) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        places()
    assert is_plain(caught.value)
    return caught.value


def test_one_place_that_is_given_counts(tmp_path: Path) -> None:
    made = create_key_file(tmp_path / "home").raw.get_secret_value().hex()

    assert raw(given(tmp_path, variable=HEX)) == HEX
    assert raw(given(tmp_path, command=PRINTS_OTHER)) == OTHER
    assert raw(given(tmp_path / "home")) == made


@pytest.mark.parametrize("is_in_file", [False, True])
def test_two_places_that_differ_are_refused_with_the_choice_that_settles_it(
    tmp_path: Path, *, is_in_file: bool
) -> None:
    if is_in_file:
        create_key_file(tmp_path)
    places = given(tmp_path, variable=None if is_in_file else HEX, command=PRINTS_OTHER)

    error = refused(places)

    assert "hold different keys" in error.what.en
    assert "SEIKYU_MASTER_KEY_SOURCE=command" in error.next_step.en
    assert HEX not in error.say("en")


def test_the_same_keys_in_another_order_are_different_keys(tmp_path: Path) -> None:
    both = (sys.executable, "-c", f"print('{OTHER} {HEX}')")

    assert "hold different keys" in refused(given(tmp_path, variable=f"{HEX} {OTHER}", command=both)).what.en
    assert raw(given(tmp_path, variable=f"{OTHER} {HEX}", command=both)) == OTHER


def test_a_place_that_is_named_counts_alone(tmp_path: Path) -> None:
    made = create_key_file(tmp_path).raw.get_secret_value().hex()

    assert raw(given(tmp_path, variable=HEX, command=PRINTS_OTHER, named="file")) == made
    assert raw(given(tmp_path, variable=HEX, command=PRINTS_OTHER, named="command")) == OTHER
    assert raw(given(tmp_path, variable=HEX, command=PRINTS_OTHER, named="variable")) == HEX


@pytest.mark.parametrize("named", ["variable", "command", "file"])
def test_a_named_place_that_is_empty_is_not_passed_over(tmp_path: Path, named: KeyPlaceName) -> None:
    if named != "file":
        create_key_file(tmp_path)
    variable = None if named == "variable" else HEX
    places = given(tmp_path, variable=variable, command=() if named == "command" else PRINTS_HEX, named=named)

    assert "There is no master key" in refused(places).what.en


def test_a_place_that_is_given_and_wrong_is_not_passed_over(tmp_path: Path) -> None:
    create_key_file(tmp_path)
    (tmp_path / "master.key").chmod(0o644)

    assert "has mode 0644" in refused(given(tmp_path, command=(*PRINTS_HEX,))).what.en
    assert "does not hold a key" in refused(given(tmp_path, variable=HEX[:62], command=PRINTS_HEX)).what.en
    assert "exit code 1" in refused(given(tmp_path, command=(sys.executable, "-c", "exit(1)"))).what.en


def test_a_link_that_leads_nowhere_is_a_key_file_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "master.key").symlink_to(tmp_path / "nowhere")

    assert "ELOOP" in refused(given(tmp_path)).what.en
    assert given(tmp_path).prepare() is None


def test_a_folder_in_place_of_the_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "master.key").mkdir()

    assert "not a plain file" in refused(given(tmp_path)).what.en


@pytest.mark.parametrize("content", [HEX[:62], HEX[:32], f"{HEX}\n{HEX[:10]}", HEX + "\n" + " " * 2000])
def test_half_a_key_in_the_file_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    create_key_file(tmp_path)
    (tmp_path / "master.key").write_text(content)

    error = refused(given(tmp_path))

    assert "does not hold a key of 32 bytes" in error.what.en
    assert HEX[:10] not in error.say("ja") + error.say("en")
    assert given(tmp_path).prepare() is None
    assert (tmp_path / "master.key").read_text() == content


def test_a_first_key_is_made_only_where_none_is_given(tmp_path: Path) -> None:
    made = [
        given(tmp_path / "a").prepare(),
        given(tmp_path / "a").prepare(),
        given(tmp_path / "b", variable=HEX).prepare(),
        given(tmp_path / "c", command=PRINTS_HEX).prepare(),
        given(tmp_path / "d", variable=HEX, named="file").prepare(),
        given(tmp_path / "e", named="variable").prepare(),
    ]

    assert [None if place is None else place.en for place in made] == [
        str(tmp_path / "a" / "master.key"),
        None,
        None,
        None,
        str(tmp_path / "d" / "master.key"),
        None,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]


def test_a_key_file_that_was_being_made_when_the_process_was_killed_stands_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".master.key.0011223344556677").write_text(HEX[:20])

    made = create_key_file(tmp_path)

    assert given(tmp_path)().current == made


def test_the_settings_say_where_the_key_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEIKYU_MASTER_KEY_COMMAND", "op read 'op://house/seikyu key'")
    monkeypatch.setenv("SEIKYU_MASTER_KEY_SOURCE", "command")
    settings = read_settings(tmp_path)

    assert settings.master_key_command == ("op", "read", "op://house/seikyu key")
    assert settings.master_key_source == "command"


def test_a_place_nobody_knows_is_refused_with_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEIKYU_MASTER_KEY_SOURCE", "kms")

    with pytest.raises(ConfigurationError, match="must be one of variable, command, file, keyring"):
        read_settings(tmp_path)


@pytest.mark.parametrize("name", ["SEIKYU_MASTER_KEY_COMMAND", "SEIKYU_NOTIFY_COMMAND", "SEIKYU_ANCHOR_COMMAND"])
@pytest.mark.parametrize("program", ["./key", "bin/key --now", "../key"])
def test_a_program_that_lies_wherever_one_starts_is_refused(tmp_path: Path, name: str, program: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is not a whole path"):
        read_settings(tmp_path, {name: program, "SEIKYU_HOME": str(tmp_path)})


@pytest.mark.parametrize("program", ["op", "/opt/key"])
def test_a_program_that_is_found_by_its_name_or_its_whole_path_is_taken(tmp_path: Path, program: str) -> None:
    found = read_settings(tmp_path, {"SEIKYU_MASTER_KEY_COMMAND": f"{program} read", "SEIKYU_HOME": str(tmp_path)})

    assert found.master_key_command == (program, "read")
