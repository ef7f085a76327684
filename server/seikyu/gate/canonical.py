"""One byte sequence for one value: RFC 8785 JSON, and its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, cast

import rfc8785

from seikyu.spec import Connection, Particulars, Plan, ProviderRequest

FORMAT: Final = 1
"""Version of the canonical action; a change makes old digests impossible to mistake for new ones."""

TARGET: Final = "target"
"""What the request stands on at the provider; only in the content of an operation that has one."""


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value; floats are refused below
    """The RFC 8785 bytes of `value`.

    Raises:
        ValueError: a float is inside, or an integer no JSON reader keeps exact.
    """
    _refuse_floats(value)
    return rfc8785.dumps(value)


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        msg = "a float has no place in a canonical action"
        raise ValueError(msg)  # noqa: TRY004 - the caller handles one class of fault
    if isinstance(value, dict):
        for part in cast("dict[str, object]", value).values():
            _refuse_floats(part)
    elif isinstance(value, list | tuple):
        for part in cast("Sequence[object]", value):
            _refuse_floats(part)


def sha256(data: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def flat_sha256(*fields: tuple[str, str | int | None]) -> str:
    """The digest of `fields` as one object: of a row, which is held against the log a moment after it was written.

    Raises as `canonical`.
    """
    return _flat_sha256(tuple(name for name, _ in fields), *(value for _, value in fields))


@lru_cache(maxsize=512, typed=True)  # an argument each: only of these the kind counts, and 1 equals True
def _flat_sha256(names: tuple[str, ...], *values: str | int | None) -> str:
    return sha256(canonical(dict(zip(names, values, strict=True))))


def canonical_action(connection: Connection, plan: Plan, edited_by: Sequence[str] = ()) -> bytes:
    """What is approved: account, operation, exact request, documents, key, and the particulars a person reads.

    Operators who edited it are named inside, so that a vote is a vote about whose work it is, too.
    """
    makers = {"edited_by": sorted(set(edited_by))} if edited_by else {}
    target = {} if plan.target is None else {TARGET: dict(plan.target)}
    return canonical(
        {
            **makers,
            **target,
            "format": FORMAT,
            "connection": connection.name,
            "provider": connection.provider,
            "environment": connection.environment,
            "company": connection.company,
            "address": connection.base_url,
            "request": plan.request.model_dump(mode="json"),
            "natural_key": plan.natural_key,
            "particulars": plan.particulars.model_dump(mode="json"),
        }
    )


def request_of(action: dict[str, Any]) -> ProviderRequest:
    """The request inside a parsed canonical action."""
    return ProviderRequest.model_validate(action["request"])


def particulars_of(action: dict[str, Any]) -> Particulars:
    """The particulars inside a parsed canonical action."""
    return Particulars.model_validate(action["particulars"])
