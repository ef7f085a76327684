"""Reading and writing the rows of secrets, whoever changes the ring meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from seikyu.errors import ConfigurationError
from seikyu.store.database import Row, Store, Tx
from seikyu.vault.rings import KnownRing, MasterKey

ResultT = TypeVar("ResultT")
_LAST: Final = 2**31 - 1
"""An INTEGER of PostgreSQL's."""


def write_sealed(store: Store, ring: KnownRing, work: Callable[[Tx, MasterKey], ResultT]) -> ResultT:
    """Do `work` in a transaction, with the key that seals.

    A process may know the ring of an hour ago. A key that was dropped since then is seen here, under the lock of all
    writers, and the ring is read again; when that fails, what is to be kept is kept under the key there is: the tokens
    of a renewal exist nowhere else.

    Raises:
        ConfigurationError: no usable master key is known; nothing was written.
        StoreBusy, CommitUnknown, StoreDamaged: as `Store.write`.
    """
    key, is_last = ring.current, False
    while True:
        with store.write() as tx:
            if is_last or tx.one("dropped_key", key_id=key.id) is None:
                return work(tx, key)
        newest = _newest(ring)  # outside: a program or a keyring may take seconds
        key, is_last = newest, newest == key


def row_to_open(store: Store, ring: KnownRing, name: str) -> Row | None:
    """The row of that name; read again when its key is not in the ring: a rotation may just have sealed it anew.

    Raises:
        ConfigurationError: the ring cannot be read.
        StoreBusy, StoreDamaged: as `Store.read`.
    """
    row = _row(store, name)
    while row is not None and ring.by_id(row["key_id"]) is None:
        before, row = row, _row(store, name)
        if row is not None and row["key_id"] == before["key_id"]:
            break
    return row


def next_generation(former: Row | None) -> int:
    """Of what is put in the place of `former`; 1 where that row was changed and holds no number to count on from."""
    found = 0 if former is None else former["generation"]
    return found + 1 if isinstance(found, int) and 0 <= found < _LAST else 1


def _row(store: Store, name: str) -> Row | None:
    with store.read() as tx:
        return tx.one("secret", connection=name)


def _newest(ring: KnownRing) -> MasterKey:
    try:
        return ring.again().current
    except ConfigurationError:
        return ring.current
