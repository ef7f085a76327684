"""Every write of every provider, by name: what the gate may ever send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from seikyu.providers.invox import operations as invox
from seikyu.providers.mfkessai import operations as mfkessai
from seikyu.spec import WriteOperation

WRITE_OPERATIONS: Final[Mapping[str, WriteOperation[Any]]] = {
    row.name: row for row in (*mfkessai.OPERATIONS, *invox.OPERATIONS) if isinstance(row, WriteOperation)
}
