"""What the checks may ask of an installation; `app` builds it. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from seikyu.errors import Lang
    from seikyu.gate.anchors import AnchorFile
    from seikyu.gate.connections import Checkup
    from seikyu.gate.policy import PolicyBook
    from seikyu.gate.restoration import Restoration
    from seikyu.models import Clock
    from seikyu.settings import Settings
    from seikyu.store.database import Store
    from seikyu.store.looking import Condition, Soundness
    from seikyu.surfaces.doctor.reading import Reading
    from seikyu.vault.holdings import Appraiser
    from seikyu.vault.keys import KeyPlaces, KeyRing


class Patient(Protocol):
    """One installation, as far as it can be read."""

    @property
    def reading(self) -> Reading: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def lang(self) -> Lang: ...

    @property
    def clock(self) -> Clock:
        """This machine's."""
        ...

    @property
    def environ(self) -> Mapping[str, str]: ...

    @property
    def store(self) -> Store:
        """Only for looking. Raises `ConfigurationError` without the driver."""
        ...

    @property
    def appraiser(self) -> Appraiser: ...

    def ring(self) -> KeyRing:
        """The master keys, read once. Raises `ConfigurationError`."""
        ...

    @property
    def key_places(self) -> KeyPlaces: ...

    @property
    def book(self) -> PolicyBook: ...

    @property
    def anchors(self) -> AnchorFile: ...

    @property
    def restoration(self) -> Restoration: ...

    def condition(self) -> Condition | None:
        """Of the database; None when there is none yet."""
        ...

    def soundness(self, *, seconds: int) -> Soundness | None:
        """Of the SQLite file; None where there is none."""
        ...

    def anchors_behind(self) -> int:
        """How many anchors have not reached the other place. Raises `OSError`."""
        ...

    def checkups(self) -> Sequence[Checkup]:
        """Every connection, asked at its provider; no token is renewed."""
        ...

    def close(self) -> None:
        """Close what was opened for looking."""
        ...

    def ask_slack(self) -> Mapping[str, Any]:
        """Slack's answer to `auth.test`. Raises as `SlackApi.call`, and as the vault."""
        ...
