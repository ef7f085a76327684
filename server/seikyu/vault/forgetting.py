"""Giving up what no key opens any more, because a person says so: until then it is kept, for the key may turn up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from seikyu.errors import NOTHING, NotAllowed, NotFound, Text
from seikyu.store.database import Store
from seikyu.vault.holdings import WHY, Appraiser, Standing
from seikyu.vault.rings import KeyRing

LOST: Final = frozenset({Standing.UNKNOWN_KEY, Standing.UNREADABLE})
"""How a row stands that may be given up; a login that is only missing in connections.toml can still be revoked."""


def forget_lost(store: Store, name: str, ring: KeyRing, *, appraiser: Appraiser, tell: Callable[..., None]) -> None:
    """Delete the row of that name, and tell the log.

    Raises:
        NotFound: there is none.
        NotAllowed: it opens.
    """
    with store.write() as tx:
        row = tx.one("secret", connection=name)
        if row is None:
            raise _nothing(name)
        holding = appraiser.holding(row, ring)
        if holding.standing not in LOST:
            raise _not_lost(name, holding.standing)
        tx.run("forget_secret", connection=name)
        tell(tx, "vault.forgotten", row=name, key_id=holding.key_id, state=holding.standing.value)


def _nothing(name: str) -> NotFound:
    return NotFound(
        Text(f"{name} という秘密情報はありません。", f"There is no secret {name}."),
        Text("`seikyu vault status` で名前を確かめてください。", "See the names in `seikyu vault status`."),
        written=NOTHING,
    )


def _not_lost(name: str, standing: Standing) -> NotAllowed:
    why = WHY[standing]
    return NotAllowed(
        Text(f"{name} は失われていません（{why.ja}）。", f"{name} is not lost: {why.en}."),
        Text(
            "ログインは `seikyu disconnect`、Webhook は `seikyu webhook --forget` で消します。",
            "`seikyu disconnect` ends a login, and `seikyu webhook --forget` takes no more events.",
        ),
        written=Text("何も消していません。", "Nothing was forgotten."),
    )
