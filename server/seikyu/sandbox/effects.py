"""What really changed at a provider: the truth that the tests compare with what Seikyu says."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from seikyu.sandbox.clock import Clock


@dataclass(frozen=True, slots=True)
class Effect:
    """One change. `natural_key` is the provider's own unique word for it; of an upload, its file name."""

    sequence: int
    provider: str
    operation: str
    natural_key: str
    resource_id: str
    body_sha256: str
    at: datetime


@dataclass(slots=True)
class EffectLog:
    """Numbered from 1 in the order in which things happened."""

    clock: Clock
    entries: list[Effect] = field(default_factory=list[Effect])

    def record(self, operation: str, *, natural_key: str, resource_id: str, body: bytes) -> None:
        provider = operation.partition(".")[0]
        digest = hashlib.sha256(body).hexdigest()
        number = len(self.entries) + 1
        self.entries.append(
            Effect(number, provider, operation, natural_key, resource_id, digest, self.clock.now()),
        )

    def of(self, provider: str | None = None) -> list[Effect]:
        return [entry for entry in self.entries if provider in (None, entry.provider)]
