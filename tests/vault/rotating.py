"""A vault with everything in it, and the run that gives it a new key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from seikyu.models import Clock
from seikyu.settings import SlackApp
from seikyu.spec import Connection
from seikyu.store.database import Row, Store, Tx
from seikyu.store.presence import Presence
from seikyu.vault.holdings import Appraiser, bindings
from seikyu.vault.keepsakes import Keepsakes, slack_place, webhook_place
from seikyu.vault.keys import KeyPlaces, KnownRing, create_key_file
from seikyu.vault.rotation import Progress, Rotated, Rotation
from seikyu.vault.secrets import OAuthSecret, Vault
from vault.fakes import API_KEY, CLIENT_ID, CLIENT_SECRET, FREEE, MFK, tokens

SLACK = SlackApp("T1", "A1", "C1")
WEBHOOK = webhook_place(MFK)
ELSEWHERE = Connection(
    "misoca-main", "misoca", "sandbox", "45", "http://127.0.0.1:1", {"oauth_url": "http://127.0.0.1:2"}
)
"""Bound to two addresses."""
ROWS = ["freee-tokyo", "house/page", "house/seal", "house/slack", "mfk-main", "mfk-main/webhook", "misoca-main"]


def _spelled(value: object) -> object:
    """With the secrets that hide themselves."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case OAuthSecret():
            return [_spelled(each) for _, each in value]
        case dict():
            return {name: _spelled(each) for name, each in cast("dict[str, object]", value).items()}
        case list():
            return [_spelled(each) for each in cast("list[object]", value)]
        case _:
            return value


def silent(_done: int, _total: int) -> None:
    pass


@dataclass
class House:
    """As two processes see it that share a home: each knows the ring it has read."""

    home: Path
    store: Store
    clock: Clock
    presence: Presence
    places: KeyPlaces = field(init=False)
    is_shared: bool = False
    is_patient: bool = False
    """Whether a run really waits between two looks."""
    connections: tuple[Connection, ...] = (FREEE, MFK, ELSEWHERE)
    other_appraiser: Appraiser | None = None
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    pauses: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def __post_init__(self) -> None:
        self.places = KeyPlaces(self.home, variable=None)

    def fill(self) -> House:
        """Seven rows: two grants, an API key, a webhook's secret, Slack's, the sealing key, the page's key."""
        create_key_file(self.home)
        vault, kept = self.vault(), self.keepsakes()
        vault.put_grant(FREEE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(0))
        vault.put_grant(ELSEWHERE, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), answer=tokens(7))
        vault.put_api_key(MFK, SecretStr(API_KEY))
        kept.put_signing_secret(WEBHOOK, SecretStr("webhook-5ec4e7"))
        kept.put_signing_secret(slack_place(SLACK), SecretStr("signing-5ec4e7"), token=SecretStr("bot-5ec4e7"))
        kept.sealing_key(may_make=True)
        kept.page_key()
        return self

    def vault(self) -> Vault:
        """Of a process that has read the ring already."""
        return Vault(self.store, self.clock, self._known())

    def keepsakes(self) -> Keepsakes:
        return Keepsakes(self.store, self.clock, self._known())

    def _known(self) -> KnownRing:
        known = KnownRing(self.places)
        known.ring()
        return known

    def contents(self, vault: Vault | None = None, kept: Keepsakes | None = None) -> dict[str, object]:
        """Everything that is sealed, opened."""
        vault, kept = vault or self.vault(), kept or self.keepsakes()
        return {
            "grants": [vault.grant(FREEE).secret, vault.grant(ELSEWHERE).secret],
            "api_key": vault.api_key(MFK).get_secret_value(),
            "webhook": kept.signing_secrets(WEBHOOK),
            "slack": kept.get(slack_place(SLACK)),
            "seal": kept.sealing_key().private_bytes_raw(),
            "page": kept.page_key(),
        }

    def fingerprint(self) -> str:
        """Of everything that is sealed, letter by letter."""
        return hashlib.sha256(repr(_spelled(self.contents())).encode()).hexdigest()

    def rotation(self, places: KeyPlaces | None = None) -> Rotation:
        def tell(_tx: Tx, kind: str, /, **record: Any) -> None:
            self.told.append((kind, record))

        made = Rotation(
            self.store,
            self.clock,
            places=places or self.places,
            appraiser=self.other_appraiser or Appraiser(bindings(self.connections, SLACK), self.clock, self.presence),
            tell=tell,
            home=self.home,
            is_shared=self.is_shared,
        )
        if not self.is_patient:
            made.pause = self._pause
        return made

    def rotate(self, *, makes_key: bool = True, on_progress: Progress = silent) -> Rotated:
        return self.rotation().rotate(makes_key=makes_key, is_sole_machine=False, on_progress=on_progress)

    def drop(self) -> Rotated:
        return self.rotation().drop(on_progress=silent)

    def rows(self) -> dict[str, Row]:
        with self.store.read() as tx:
            return {row["connection"]: row for row in tx.all("secrets")}

    def keys(self) -> list[str]:
        """The ids of the keys in the file, the one that seals first."""
        return [key.id for key in self.places().keys]

    def _pause(self) -> None:
        if self.pauses:
            self.pauses.pop(0)()

    def all_told(self) -> str:
        return json.dumps(self.told)
