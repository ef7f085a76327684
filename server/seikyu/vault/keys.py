"""Where the master key comes from: one place, which is named or the only one that is given.

There is no fallback: without a master key nothing is stored and nothing is read. A place that is given and wrong is
never passed over for another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pydantic import SecretStr

from seikyu.errors import ConfigurationError, Text
from seikyu.settings import KeyPlaceName
from seikyu.vault.key_command import KeyCommand
from seikyu.vault.key_file import FILE_NAME, KeyFile, create_key_file
from seikyu.vault.keychain import Keychain
from seikyu.vault.rings import KeyRing, KeyRingSource, KnownRing, MasterKey, ring_of

__all__ = [
    "FILE_NAME",
    "VARIABLE",
    "KeyPlaces",
    "KeyRing",
    "KeyRingSource",
    "KnownRing",
    "MasterKey",
    "create_key_file",
    "read_key_ring",
]

VARIABLE: Final = "SEIKYU_MASTER_KEY"
CHOICE: Final = "SEIKYU_MASTER_KEY_SOURCE"


class KeyPlace(Protocol):
    """One place that keys come from."""

    @property
    def kind(self) -> KeyPlaceName: ...

    @property
    def place(self) -> Text:
        """What a person calls it."""
        ...

    @property
    def is_given(self) -> bool:
        """Whether somebody put anything there; the keyring is asked only where it is named."""
        ...

    def read(self) -> KeyRing | None:
        """The keys; None when nothing is there. Raises `ConfigurationError`."""
        ...


class KeyKeeper(KeyPlace, Protocol):
    """A place that Seikyu itself writes to."""

    def create(self) -> KeyRing:
        """Put a first key there; never in the place of another. Raises `ConfigurationError`."""
        ...

    def replace(self, ring: KeyRing) -> None:
        """Put `ring` there, durable and whole. Raises `ConfigurationError`; what was there is there then."""
        ...


@dataclass(frozen=True, slots=True)
class KeyVariable:
    """`SEIKYU_MASTER_KEY`: keys parted by blanks, the one that seals first. As it was when the process started."""

    text: SecretStr | None
    kind: KeyPlaceName = "variable"

    @property
    def place(self) -> Text:
        return Text(VARIABLE, VARIABLE)

    @property
    def is_given(self) -> bool:
        return self.text is not None and bool(self.text.get_secret_value().strip())

    def read(self) -> KeyRing | None:
        return ring_of(self.text, self.place) if self.text is not None and self.is_given else None


class KeyPlaces:
    """All places of one installation, and which of them counts."""

    def __init__(
        self, home: Path, *, variable: SecretStr | None, command: Sequence[str] = (), named: KeyPlaceName | None = None
    ) -> None:
        self._variable = KeyVariable(variable)
        self._command = KeyCommand(command)
        self._file = KeyFile(home)
        self._keychain = Keychain(home)
        self._named: KeyPlaceName | None = named

    def __call__(self) -> KeyRing:
        """The keys, read anew. Raises `ConfigurationError`."""
        places = self._counting()
        rings = [(place, _read(place)) for place in places]
        first, ring = rings[0]
        for other, theirs in rings[1:]:
            if theirs != ring:
                raise _contradiction(first, other)
        return ring

    def counting(self) -> KeyPlace:
        """The place that counts, or the first of several that agree."""
        return self._counting()[0]

    def sole(self) -> KeyPlace:
        """The only place that counts: what is to be rotated.

        Raises:
            ConfigurationError: two of them hold the key.
        """
        places = self._counting()
        if len(places) > 1:
            raise _contradiction(*places[:2], is_equal=True)
        return places[0]

    def keeper(self) -> KeyKeeper | None:
        """The place that counts, if Seikyu writes to it. Raises as `sole`."""
        place = self.sole()
        return place if isinstance(place, KeyFile | Keychain) else None

    def prepare(self) -> Text | None:
        """Make a first key where there is none and the place is ours to write; where that is, when one was made.

        Raises:
            ConfigurationError: what is there cannot be used.
        """
        keeper = self.lacking()
        if keeper is None:
            return None
        keeper.create()
        return keeper.place

    def lacking(self) -> KeyKeeper | None:
        """The place where a first key would be made; None where there is one, or the place is not ours to write.

        Raises:
            ConfigurationError: what is there cannot be used.
        """
        keeper = None if len(self._counting()) > 1 else self.keeper()
        if keeper is None or (keeper.kind == "file" and keeper.is_given) or keeper.read() is not None:
            return None
        return keeper

    def _counting(self) -> list[KeyPlace]:
        """The place that is named; else those that are given; else the file, which can be made."""
        if self._named is not None:
            return [self._of_name(self._named)]
        return [place for place in (self._variable, self._command, self._file) if place.is_given] or [self._file]

    def _of_name(self, name: KeyPlaceName) -> KeyPlace:
        match name:
            case "variable":
                return self._variable
            case "command":
                return self._command
            case "file":
                return self._file
            case "keyring":
                return self._keychain


def read_key_ring(home: Path, environ: Mapping[str, str] = os.environ) -> KeyRing:
    """The keys of `SEIKYU_MASTER_KEY`, or of `<home>/master.key`. Raises as `KeyPlaces`."""
    variable = environ.get(VARIABLE)
    return KeyPlaces(home, variable=None if variable is None else SecretStr(variable))()


def _read(place: KeyPlace) -> KeyRing:
    ring = place.read()
    if ring is None:
        raise _nothing_there(place)
    return ring


def _nothing_there(place: KeyPlace) -> ConfigurationError:
    if place.kind == "file":
        what = Text("マスターキーがありません。", "There is no master key.")
    else:
        what = Text(
            f"マスターキーがありません（{place.place.ja} が空です）。",
            f"There is no master key: {place.place.en} is empty.",
        )
    return ConfigurationError(
        what,
        Text(
            f"控えから戻すか、初めてなら `seikyu connect` で作るか {VARIABLE} を設定してください。",
            f"Put it back from your copy; the first time, let `seikyu connect` make one, or set {VARIABLE}.",
        ),
    )


def _contradiction(one: KeyPlace, other: KeyPlace, *, is_equal: bool = False) -> ConfigurationError:
    ja, en = f"{one.place.ja} と {other.place.ja}", f"{one.place.en} and {other.place.en}"
    if is_equal:
        what = Text(f"鍵が2か所にあります: {ja}。", f"The key is in two places: {en}.")
    else:
        what = Text(f"{ja} の鍵が違います。", f"{en} hold different keys.")
    return ConfigurationError(
        what,
        Text(
            f"一方を外すか、{CHOICE}（{one.kind} か {other.kind}）でどちらを使うか指定してください。",
            f"Take one away, or say which counts with {CHOICE}={one.kind} or {CHOICE}={other.kind}.",
        ),
    )
