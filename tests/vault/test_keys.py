import base64
import os
import stat
from pathlib import Path

import pytest

from seikyu.errors import ConfigurationError
from seikyu.vault.keys import KeyRing, create_key_file, read_key_ring
from vault.fakes import ring

RAW = bytes(range(32))
HEX = RAW.hex()
BASE64URL = base64.urlsafe_b64encode(RAW).decode()


@pytest.mark.parametrize("text", [HEX, HEX.upper(), BASE64URL, BASE64URL.rstrip("="), f" {HEX}\n"])
def test_the_variable_holds_32_bytes_as_hex_or_base64url(tmp_path: Path, text: str) -> None:
    key = read_key_ring(tmp_path, {"SEIKYU_MASTER_KEY": text}).current

    assert key.raw.get_secret_value() == RAW


@pytest.mark.parametrize("text", [HEX[:-2], HEX + "00", BASE64URL[:-2], "+" * 43, "x", "鍵" * 43])
def test_a_variable_that_is_no_key_is_refused_unseen_and_the_file_does_not_step_in(tmp_path: Path, text: str) -> None:
    create_key_file(tmp_path)

    with pytest.raises(ConfigurationError, match="SEIKYU_MASTER_KEY does not hold a key of 32 bytes") as caught:
        read_key_ring(tmp_path, {"SEIKYU_MASTER_KEY": text})

    assert len(text) == 1 or text not in caught.value.say("en") + caught.value.say("ja")


def test_a_variable_and_a_file_that_differ_are_refused_and_those_that_agree_are_not(tmp_path: Path) -> None:
    create_key_file(tmp_path)
    both = {"SEIKYU_MASTER_KEY": HEX}

    with pytest.raises(ConfigurationError, match="hold different keys") as caught:
        read_key_ring(tmp_path, both)
    (tmp_path / "master.key").write_text(BASE64URL)

    assert "SEIKYU_MASTER_KEY_SOURCE=variable or SEIKYU_MASTER_KEY_SOURCE=file" in caught.value.say("en")
    assert read_key_ring(tmp_path, both).current.raw.get_secret_value() == RAW


def test_a_new_key_file_is_private_and_holds_the_key_it_returned(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    made = create_key_file(home)

    assert read_key_ring(home, {}) == KeyRing(made)
    assert stat.S_IMODE((home / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_two_key_files_never_hold_the_same_key(tmp_path: Path) -> None:
    assert create_key_file(tmp_path / "a").id != create_key_file(tmp_path / "b").id


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    made = create_key_file(tmp_path)

    with pytest.raises(ConfigurationError, match="exists already"):
        create_key_file(tmp_path)

    assert read_key_ring(tmp_path, {}).current == made


def test_without_a_key_the_next_step_is_named_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no master key") as caught:
        read_key_ring(tmp_path, {"SEIKYU_MASTER_KEY": ""})

    assert "seikyu connect" in caught.value.say("en")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604, 0o620, 0o660, 0o666, 0o700])
def test_a_key_file_of_another_mode_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    create_key_file(tmp_path)
    (tmp_path / "master.key").chmod(mode)

    with pytest.raises(ConfigurationError, match=f"has mode {mode:04o}") as caught:
        read_key_ring(tmp_path, {})

    assert f"chmod 600 {tmp_path / 'master.key'}" in caught.value.say("en")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(tmp_path: Path) -> None:
    create_key_file(tmp_path)
    os.chown(tmp_path / "master.key", 65534, -1)

    with pytest.raises(ConfigurationError, match="belongs to another user"):
        read_key_ring(tmp_path, {})


def test_a_key_file_is_not_read_through_a_link(tmp_path: Path) -> None:
    create_key_file(tmp_path / "elsewhere")
    (tmp_path / "master.key").symlink_to(tmp_path / "elsewhere" / "master.key")

    with pytest.raises(ConfigurationError, match="ELOOP"):
        read_key_ring(tmp_path, {})


def test_a_pipe_in_place_of_the_key_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "master.key", 0o600)

    with pytest.raises(ConfigurationError, match="not a plain file"):
        read_key_ring(tmp_path, {})


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe" * 30, HEX.encode() * 4])
def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    create_key_file(tmp_path)
    (tmp_path / "master.key").write_bytes(content)

    with pytest.raises(ConfigurationError, match="does not hold a key of 32 bytes"):
        read_key_ring(tmp_path, {})


def test_each_purpose_has_a_key_of_its_own(tmp_path: Path) -> None:
    key = create_key_file(tmp_path)
    derived = {key.purpose_key(b"web-session"), key.purpose_key(b"secret-row"), key.raw.get_secret_value()}

    assert len(derived) == 3
    assert {len(each) for each in derived} == {32}
    assert key.purpose_key(b"web-session") == key.purpose_key(b"web-session")


def test_the_id_of_a_key_and_its_repr_tell_nothing_of_it() -> None:
    keys = ring(1, 2)
    shown = f"{keys!r} {keys} {keys.current!r} {keys.current.id}"

    assert len(keys.current.id) == 16
    assert keys.by_id(keys.retired[0].id) == keys.retired[0]
    assert keys.by_id("0" * 16) is None
    assert "\\x01\\x01" not in shown
    assert "01" * 4 not in shown


def test_the_first_word_seals_and_all_the_others_still_open(tmp_path: Path) -> None:
    words = [bytes([number]) * 32 for number in (1, 2, 3)]

    ring_ = read_key_ring(tmp_path, {"SEIKYU_MASTER_KEY": " ".join(word.hex() for word in words)})

    assert [key.raw.get_secret_value() for key in (ring_.current, *ring_.retired)] == words


def test_a_new_key_file_holds_43_characters_and_a_line_end(tmp_path: Path) -> None:
    made = create_key_file(tmp_path)

    text = base64.urlsafe_b64encode(made.raw.get_secret_value()).decode().rstrip("=")
    assert (tmp_path / "master.key").read_text(encoding="ascii") == f"{text}\n"
    assert len(text) == 43


def test_a_key_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    create_key_file(tmp_path)
    file = tmp_path / "master.key"
    file.write_bytes(b"\xff no key")

    with pytest.raises(ConfigurationError) as caught:
        read_key_ring(tmp_path, {})

    assert caught.value.what.en == f"{file} does not hold a key of 32 bytes."
