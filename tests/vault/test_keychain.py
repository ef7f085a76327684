import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seikyu.errors import ConfigurationError
from seikyu.vault.keychain import Keychain
from seikyu.vault.keys import KeyPlaces
from seikyu.vault.rings import KeyRing
from vault.fakes import is_plain, ring, told

KEYRING_LOCKED = type("KeyringLocked", (Exception,), {})


@dataclass
class Entries:
    """A back end of the library, with its entries."""

    entries: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    fault: Exception | None = None
    forgets: bool = False
    on_step: Callable[[str], None] = lambda _step: None

    def get_password(self, service: str, user: str) -> str | None:
        self._step("get")
        return self.entries.get((service, user))

    def set_password(self, service: str, user: str, password: str) -> None:
        self._step("set")
        self.entries.pop((service, user), None)  # as macOS does it: delete, then add
        self._step("add")
        if not self.forgets:
            self.entries[service, user] = password

    def delete_password(self, service: str, user: str) -> None:
        self._step("delete")
        self.entries.pop((service, user), None)

    def _step(self, name: str) -> None:
        self.on_step(name)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The edge: the library, which need not be installed."""
    module = types.ModuleType("keyring")
    monkeypatch.setitem(sys.modules, "keyring", module)
    return module


@pytest.fixture
def backend(library: Any) -> Entries:
    return chosen(library, "keyring.backends.SecretService")


def chosen(library: Any, module: str) -> Entries:
    kind: Any = type("Keyring", (Entries,), {"__module__": module})
    made: Entries = kind()
    library.get_keyring = lambda: made
    return made


def places(home: Path) -> KeyPlaces:
    return KeyPlaces(home, variable=None, named="keyring")


def refused(home: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        places(home)()
    assert is_plain(caught.value)
    return caught.value


def test_connect_makes_a_key_in_the_keyring_and_every_process_finds_it(tmp_path: Path, backend: Entries) -> None:
    made = places(tmp_path).prepare()
    again = places(tmp_path).prepare()

    assert made is not None
    assert again is None
    assert list(backend.entries) == [("seikyu", str(tmp_path))]
    assert places(tmp_path)() == Keychain(tmp_path).read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("backend")
def test_two_installations_have_an_entry_each(tmp_path: Path) -> None:
    for name in ("one", "two"):
        places(tmp_path / name).prepare()

    assert places(tmp_path / "one")() != places(tmp_path / "two")()


@pytest.mark.usefixtures("backend")
def test_a_ring_comes_back_as_it_was_written(tmp_path: Path) -> None:
    keychain = Keychain(tmp_path)
    keychain.replace(ring(2, 1))

    assert Keychain(tmp_path).read() == ring(2, 1)
    assert (keychain.kind, keychain.is_given) == ("keyring", True)


def test_a_crash_while_a_ring_is_written_leaves_the_old_one_or_the_new_one(tmp_path: Path, backend: Entries) -> None:
    seen: set[KeyRing | None] = set()
    Keychain(tmp_path).replace(ring(1))
    for steps in range(6):
        Keychain(tmp_path).replace(ring(1))
        backend.on_step = _dies_at(steps)
        with pytest.raises(ConfigurationError, match="it failed with BrokenPipeError"):
            Keychain(tmp_path).replace(ring(2, 1))
        backend.on_step = lambda _step: None
        seen.add(Keychain(tmp_path).read())

    assert seen == {ring(1), ring(2, 1)}


def _dies_at(step: int) -> Callable[[str], None]:
    left = [step]

    def on_step(_name: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise BrokenPipeError

    return on_step


@pytest.mark.parametrize(
    "module", ["keyring.backends.fail", "keyring.backends.null", "keyrings.alt.file", "keyrings.alt.Gnome", "of.ours"]
)
def test_a_back_end_that_is_not_the_systems_own_is_refused(tmp_path: Path, library: Any, module: str) -> None:
    backend = chosen(library, module)

    error = refused(tmp_path)
    with pytest.raises(ConfigurationError):
        places(tmp_path).prepare()

    assert f"There is no OS keyring that can be trusted with a key (found: {module})" in error.what.en
    assert "SEIKYU_MASTER_KEY_COMMAND" in error.next_step.en
    assert backend.entries == {}


def test_of_several_back_ends_the_systems_own_is_used_and_the_file_beside_it_is_not(
    tmp_path: Path, library: Any
) -> None:
    plain, ours = chosen(library, "keyrings.alt.file"), chosen(library, "keyring.backends.kwallet")
    chain: Any = type("ChainerBackend", (), {"__module__": "keyring.backends.chainer", "backends": [plain, ours]})()
    library.get_keyring = lambda: chain

    places(tmp_path).prepare()

    assert (len(plain.entries), len(ours.entries)) == (0, 1)


def test_without_the_library_the_next_step_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)

    assert refused(tmp_path).next_step.en == "Install seikyu[keyring]."


def test_a_locked_keyring_is_told_and_no_key_is_made_instead(tmp_path: Path, backend: Entries) -> None:
    backend.fault = KEYRING_LOCKED("entry 5ec4e7")

    error = refused(tmp_path)
    with pytest.raises(ConfigurationError):
        places(tmp_path).prepare()

    assert "it is locked" in error.what.en
    assert "Unlock the keyring" in error.next_step.en
    assert "5ec4e7" not in told(error)
    assert (backend.entries, list(tmp_path.iterdir())) == ({}, [])


@pytest.mark.usefixtures("backend")
def test_an_empty_keyring_is_told_with_the_entry_that_was_looked_for(tmp_path: Path) -> None:
    assert f"The OS keyring (service seikyu, user {tmp_path}) is empty" in refused(tmp_path).what.en


def test_an_entry_that_is_no_key_is_refused_and_kept(tmp_path: Path, backend: Entries) -> None:
    backend.entries["seikyu", str(tmp_path)] = "half-a-key-5ec4e7"

    error = refused(tmp_path)
    with pytest.raises(ConfigurationError):
        places(tmp_path).prepare()

    assert "does not hold a key of 32 bytes" in error.what.en
    assert "5ec4e7" not in told(error)
    assert list(backend.entries.values()) == ["half-a-key-5ec4e7"]


def test_a_keyring_that_does_not_answer_is_not_waited_for(tmp_path: Path, backend: Entries) -> None:
    answers = threading.Event()
    backend.on_step = lambda _step: (answers.wait(60), None)[1]

    with pytest.raises(ConfigurationError, match="no answer within 1 s"):
        Keychain(tmp_path, limit_s=1).read()
    answers.set()


def test_a_keyring_that_does_not_keep_the_key_is_told(tmp_path: Path, backend: Entries) -> None:
    backend.forgets = True

    with pytest.raises(ConfigurationError, match="it did not keep what it was given"):
        places(tmp_path).prepare()
