"""A new master key while everything runs: first it is durable where the keys are, then row by row is sealed anew.

    the ring in its place: [old]  →  [new, old]  →  rows sealed with new  →  [new], when nothing needs old any more

At each moment every row opens with the ring that is in its place, so a crash costs nothing: whoever goes on later
finds the rows that are left. Other processes read the ring again when a row names a key they do not know; what they
seal meanwhile with the old key opens as well, and is sealed anew by the next run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from seikyu.errors import NOTHING, NotAllowed, Text
from seikyu.models import Clock, timestamp
from seikyu.store.database import Store, Tx
from seikyu.vault.forgetting import forget_lost
from seikyu.vault.holdings import Appraiser, Holding, Standing
from seikyu.vault.key_file import unusable
from seikyu.vault.keys import KeyPlace, KeyPlaces
from seikyu.vault.rings import KeyRing, MasterKey, new_key
from seikyu.vault.seals import seal

if os.name == "posix":
    import fcntl

AT_ONCE: Final = 50
"""Rows sealed anew in one transaction; each takes well under a millisecond of the writers' lock."""
WAIT_S: Final = 20
"""How long a renewal under way is waited for: longer than its lease (`renewals.LEASE_S`)."""
LOOKS_A_SECOND: Final = 5
LOCK_NAME: Final = "rotation.lock"


class Tell(Protocol):
    """Writes a row of the audit log in the caller's transaction; never given a key, only its id."""

    def __call__(self, tx: Tx, kind: str, /, **record: Any) -> None: ...  # noqa: ANN401 - JSON


Progress = Callable[[int, int], None]
"""Told how many rows are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Custody:
    """The ring, and how each row stands towards it."""

    place: KeyPlace
    ring: KeyRing
    holdings: tuple[Holding, ...]

    def needing(self, key: MasterKey) -> list[Holding]:
        """The rows that name `key`, whether they open or not."""
        return [row for row in self.holdings if row.key_id == key.id]


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a run has done."""

    custody: Custody
    is_new: bool
    """Whether a key was made, or found that an interrupted run had made."""
    resealed: tuple[str, ...]
    dropped: tuple[MasterKey, ...] = ()

    @property
    def left(self) -> list[Holding]:
        """The rows that are not sealed with the key that seals."""
        return [row for row in self.custody.holdings if row.standing is not Standing.CURRENT]


class Rotation:
    """One run at a time on one machine."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        places: KeyPlaces,
        appraiser: Appraiser,
        tell: Tell,
        home: Path,
        is_shared: bool,
    ) -> None:
        """`is_shared`: other machines may use the database, each with a key file or a keyring of its own."""
        self._store = store
        self._clock = clock
        self._places = places
        self._appraiser = appraiser
        self._tell = tell
        self._home = home
        self._is_shared = is_shared
        self.pause: Callable[[], None] = lambda: time.sleep(1 / LOOKS_A_SECOND)

    def custody(self) -> Custody:
        """How everything stands now. Raises `ConfigurationError` when there is no usable ring."""
        place = self._places.counting()
        return self._custody(place, self._places())

    def rotate(self, *, makes_key: bool, is_sole_machine: bool, on_progress: Progress) -> Rotated:
        """Seal every row with the first key of the ring; with `makes_key`, with a new one.

        A new key reaches this machine's place only: for a shared database somebody has to say that there is no other.

        Rows that a process is about to renew are waited for, and left when that takes too long; rows that do not open
        are left for ever.

        Raises:
            NotAllowed: another run is under way, the ring is full, or Seikyu does not write to the place of the keys.
            ConfigurationError: the ring cannot be read or written, or is in two places; or the lock cannot be taken.
        """
        with self._alone():
            place = self._places.sole()
            if makes_key and self._is_shared and not is_sole_machine:
                raise _others_would_not_know(place)
            ring, is_new = self._led(place, makes_key=makes_key)
            resealed = self._reseal_all(place, ring, on_progress)
            return Rotated(self._custody(place, ring), is_new, resealed)

    def drop(self, *, on_progress: Progress) -> Rotated:
        """Seal what is left with the first key, then take out of the ring every other key that no row names.

        Raises as `rotate`.
        """
        with self._alone():
            place = self._places.sole()
            ring = self._places()
            resealed = self._reseal_all(place, ring, on_progress)
            dropped = self._forbid(ring)
            if dropped:
                ring = self._without(dropped, ring)
            return Rotated(self._custody(place, ring), is_new=False, resealed=resealed, dropped=dropped)

    def forget(self, name: str) -> None:
        """Give a row up that no key opens. Raises as `forget_lost`, and `ConfigurationError` without a usable ring."""
        forget_lost(self._store, name, self._places(), appraiser=self._appraiser, tell=self._tell)

    def _led(self, place: KeyPlace, *, makes_key: bool) -> tuple[KeyRing, bool]:
        """The ring whose first key is to seal everything; durable in its place."""
        ring = self._places()
        keeper = self._places.keeper()
        if makes_key and keeper is None:
            raise _not_ours(place)
        is_made_already = self._is_unused(self._custody(place, ring))
        if keeper is not None and makes_key and not is_made_already:
            ring = ring.led_by(new_key())
            keeper.replace(ring)
        retired = [key.id for key in ring.retired]
        with self._store.write() as tx:
            self._tell(tx, "vault.rotation", to=ring.current.id, retired=retired, place=place.kind, is_new=makes_key)
        return ring, makes_key

    def _is_unused(self, custody: Custody) -> bool:
        """Whether the first key was made by a run that was interrupted before it sealed anything."""
        standings = {row.standing for row in custody.holdings}
        return not custody.needing(custody.ring.current) and bool(standings & {Standing.RETIRED, Standing.RENEWING})

    def _reseal_all(self, place: KeyPlace, ring: KeyRing, on_progress: Progress) -> tuple[str, ...]:
        done: list[str] = []
        for _ in range(WAIT_S * LOOKS_A_SECOND):
            rows = self._custody(place, ring).holdings
            due = [row for row in rows if row.standing is Standing.RETIRED]
            is_awaited = any(row.standing is Standing.RENEWING for row in rows)
            if not due and not is_awaited:
                break
            total = len(done) + len(due)
            for first in range(0, len(due), AT_ONCE):
                done += self._reseal(due[first : first + AT_ONCE], ring)
                on_progress(len(done), total)
            if is_awaited:
                self.pause()
        return tuple(done)

    def _reseal(self, rows: Iterable[Holding], ring: KeyRing) -> list[str]:
        """Seal `rows` anew in one transaction; the names of those that were still what they had been."""
        sealed = [(row, _sealed(row, ring.current)) for row in rows]
        with self._store.write() as tx:
            moved = [row.name for row, text in sealed if self._swap(tx, row, text, ring.current)]
            if moved:
                self._tell(tx, "vault.resealed", to=ring.current.id, rows=moved)
        return moved

    def _swap(self, tx: Tx, row: Holding, sealed: str, key: MasterKey) -> bool:
        """A renewal or a login that came first wins; one that has begun is left alone."""
        now = tx.one("secret", connection=row.name)
        if now is None or row.label is None or self._appraiser.is_leased(now):
            return False
        changed = tx.run(
            "reseal_secret",
            connection=row.name,
            generation=row.label.generation,
            was_sealed=row.sealed,
            key_id=key.id,
            sealed=sealed,
        )
        return changed == 1

    def _forbid(self, ring: KeyRing) -> tuple[MasterKey, ...]:
        """Mark the keys that no row names: from this commit on nobody seals with them, whatever ring they know."""
        now = self._clock.now()
        with self._store.write() as tx:
            needed = {row["key_id"] for row in tx.all("secrets")}
            dropped = tuple(key for key in ring.retired if key.id not in needed)
            for key in dropped:
                tx.run("drop_key", key_id=key.id, dropped_at=timestamp(now))
            if dropped:
                self._tell(tx, "vault.keys_dropped", keys=[key.id for key in dropped], kept=ring.current.id)
        return dropped

    def _without(self, dropped: Sequence[MasterKey], ring: KeyRing) -> KeyRing:
        """The ring without keys that nothing can need any more; a person takes them out where we cannot write."""
        keeper = self._places.keeper()
        if keeper is None:
            return ring
        left = KeyRing(ring.current, tuple(key for key in ring.retired if key not in dropped))
        keeper.replace(left)
        return left

    def _custody(self, place: KeyPlace, ring: KeyRing) -> Custody:
        with self._store.read() as tx:
            rows = tx.all("secrets")
        return Custody(place, ring, tuple(self._appraiser.holding(row, ring) for row in rows))

    @contextmanager
    def _alone(self) -> Generator[None]:
        """While this is held no other run begins on this machine; the kernel lets go when we die."""
        if os.name != "posix":
            yield
            return
        lock = self._home / LOCK_NAME
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(lock, error) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy() from None
            yield
        finally:
            os.close(descriptor)


def _sealed(row: Holding, key: MasterKey) -> str:
    if row.label is None or row.plain is None:
        raise AssertionError(row.name)  # only rows that open are sealed anew
    return seal(key, row.label, row.plain)


def _busy() -> NotAllowed:
    return NotAllowed(
        Text("別の `seikyu vault rotate` が実行中です。", "Another `seikyu vault rotate` is running."),
        Text("終わってからもう一度試してください。", "Try again when it has ended."),
        written=NOTHING,
    )


def _others_would_not_know(place: KeyPlace) -> NotAllowed:
    return NotAllowed(
        Text(
            f"データベースは他のマシンと共有できますが、{place.place.ja} はこのマシンだけのものです。",
            f"Other machines may share the database, but {place.place.en} is this machine's alone.",
        ),
        Text(
            "このマシンだけなら --sole-machine を付けます。ほかにもあれば、新しい鍵を全マシンの鍵束の末尾に、次に先頭に"
            "置いてから --no-new-key で実行してください。",
            "If there is no other, say --sole-machine. Else put a new key last into the ring of every machine, then"
            " first, and run with --no-new-key.",
        ),
        written=NOTHING,
    )


def _not_ours(place: KeyPlace) -> NotAllowed:
    return NotAllowed(
        Text(
            f"{place.place.ja} に新しい鍵を書き込めるのは人だけです。",
            f"Only a person can put a new key into {place.place.en}.",
        ),
        Text(
            "新しい鍵（openssl rand -hex 32）を先頭に、今の鍵をその後に置き、全サーバーに行き渡ってから"
            " `seikyu vault rotate --no-new-key` を実行してください。",
            "Put a new one (openssl rand -hex 32) before the present one, see that every server has both, then run"
            " `seikyu vault rotate --no-new-key`.",
        ),
        written=NOTHING,
    )
