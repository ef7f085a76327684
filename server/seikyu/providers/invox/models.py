"""What invox answers. Fields that are not documented are kept beside it: they may contradict it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints


def _id_text(value: object) -> object:
    if isinstance(value, str):
        return value.strip()
    return str(value) if type(value) is int else value


DocumentId = Annotated[str, BeforeValidator(_id_text), StringConstraints(min_length=1, max_length=200)]
"""Documented as text; a number is read as its digits (assumed harmless)."""


class EStorageRegistered(BaseModel):
    """書類登録: the document is in 電子帳簿保存."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", defer_build=True)

    id: DocumentId
    """書類ID."""
    url: object = None
    """書類URL, as invox says; the document is there without it, so its shape is not asked for."""
