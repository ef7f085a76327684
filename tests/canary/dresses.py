"""The modules in which secrets are made and results leave, and how a diary listens in on them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any, Final, Protocol


class Listener(Protocol):
    """Who notes it."""

    def secret(self, value: object) -> None: ...

    def shown(self, kind: str, what: str | bytes) -> None: ...


Dress = Callable[[ModuleType, Listener], None]


def _dress_secrets(module: ModuleType, diary: Listener) -> None:
    """Pydantic's secret values: tokens, API keys, master keys, signing secrets, addresses with passwords."""
    for kind in (module.SecretStr, module.SecretBytes):
        made = kind.__init__

        def init(self: Any, value: Any, made: Callable[..., None] = made) -> None:
            made(self, value)
            diary.secret(value)

        kind.__init__ = init
    base: Any = module._SecretBase  # noqa: SLF001 - validation does not go through __init__ of the class in every case
    reveal = base.get_secret_value

    def revealed(self: Any) -> Any:
        value = reveal(self)
        diary.secret(value)
        return value

    base.get_secret_value = revealed


def _dress_keys(module: ModuleType, diary: Listener) -> None:
    """Passphrases and the operators' private keys."""
    derive, wrap, unwrap = module._derive, module.wrap, module.unwrap  # noqa: SLF001 - where the key is made

    def derived(passphrase: str, *rest: Any) -> bytes:
        made: bytes = derive(passphrase, *rest)
        diary.secret(made)
        return made

    def wrapped(private: Any, passphrase: str, *rest: Any, **named: Any) -> Any:
        diary.secret(passphrase)
        diary.secret(private.private_bytes_raw())
        return wrap(private, passphrase, *rest, **named)

    def unwrapped(sealed: str, passphrase: str, *rest: Any) -> Any:
        diary.secret(passphrase)
        private = unwrap(sealed, passphrase, *rest)
        if private is not None:
            diary.secret(private.private_bytes_raw())
        return private

    for name, dressed in (("_derive", derived), ("wrap", wrapped), ("unwrap", unwrapped)):
        setattr(module, name, dressed)


def _dress_pipeline(module: ModuleType, diary: Listener) -> None:
    """What an assistant is told."""
    call = module.Pipeline.call

    @wraps(call)
    async def called(self: Any, *given: Any, **named: Any) -> Any:
        answer = await call(self, *given, **named)
        diary.shown("results", f"{answer!r}\n")
        return answer

    module.Pipeline.call = called


def _dress_responses(module: ModuleType, diary: Listener) -> None:
    """What our own pages answer; the sandbox plays providers, and they do hand out tokens."""
    made = module.Response.__init__

    @wraps(made)
    def init(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        if _is_from("seikyu.surfaces"):
            diary.shown("pages", repr(self.raw_headers).encode() + b"\n" + bytes(getattr(self, "body", b"")) + b"\n")

    module.Response.__init__ = init


def _is_from(package: str) -> bool:
    frame, left = inspect.currentframe(), 8
    while frame is not None and left:
        if str(frame.f_globals.get("__name__", "")).startswith(package):
            return True
        frame, left = frame.f_back, left - 1
    return False


DRESSES: Final[Mapping[str, Dress]] = {
    "pydantic.types": _dress_secrets,
    "seikyu.gate.keys": _dress_keys,
    "seikyu.pipeline": _dress_pipeline,
    "starlette.responses": _dress_responses,
}
