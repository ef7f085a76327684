"""Secrets a person types, or a program hands over on a file descriptor. Never an argument, never a variable."""

from __future__ import annotations

import os
import sys
from typing import Final

from seikyu.errors import ConfigurationError, Lang, Text

_CAP = 64 * 1024
_LAST_DESCRIPTOR = 2**31 - 1


def read_secret(prompt: Text, lang: Lang, descriptor: int | None, *, option: str = "--secret-fd") -> str:
    """The secret from `option`, or asked on the terminal without echo. One line, without its end.

    Raises:
        ConfigurationError: no terminal to ask on, nothing came, or it is no text.
    """
    secret = (
        _from_descriptor(descriptor, option) if descriptor is not None else _from_terminal(prompt.say(lang), option)
    )
    if not secret:
        raise ConfigurationError(
            Text("秘密が空です。", "The secret is empty."), Text("もう一度実行してください。", "Run the command again.")
        )
    return secret


def _from_descriptor(descriptor: int, option: str) -> str:
    if not 0 <= descriptor <= _LAST_DESCRIPTOR:
        raise _unreadable(descriptor, option)
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.readline(_CAP).decode("utf-8", "strict").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(descriptor, option) from error


def _unreadable(descriptor: int, option: str) -> ConfigurationError:
    return ConfigurationError(
        Text(f"記述子 {descriptor} から読めません。", f"Descriptor {descriptor} gives no text."),
        Text(f"例: {option} 3 3<FILE", f"For example {option} 3 3<FILE."),
    )


def _from_terminal(prompt: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            Text("端末がないため入力できません。", "There is no terminal to ask on."),
            Text(f"{option} N を使ってください。", f"Use {option} N."),
        )
    import getpass

    try:
        return getpass.getpass(f"{prompt}: ")
    except UnicodeDecodeError:
        raise ConfigurationError(_NO_TEXT, _TYPE_AGAIN) from None


_NO_TEXT: Final = Text(
    "入力を文字として読めません（端末の文字コードが違います）。",
    "What was typed is no text: the terminal writes in another encoding than it says.",
)
_TYPE_AGAIN: Final = Text(
    "日本語入力を切り、端末を UTF-8 にして、もう一度実行してください。",
    "Switch Japanese input off, set the terminal to UTF-8, and run the command again.",
)
