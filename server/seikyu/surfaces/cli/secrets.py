"""Secrets a person types, or a program hands over on a file descriptor. Never an argument, never a variable."""

from __future__ import annotations

import os
import sys

from seikyu.errors import ConfigurationError, Lang, Text

_CAP = 64 * 1024


def read_secret(prompt: Text, lang: Lang, descriptor: int | None) -> str:
    """The secret from `--secret-fd`, or asked on the terminal without echo. One line, without its end.

    Raises:
        ConfigurationError: no terminal to ask on, or nothing came.
    """
    secret = _from_descriptor(descriptor) if descriptor is not None else _from_terminal(prompt.say(lang))
    if not secret:
        raise ConfigurationError(
            Text("秘密が空です。", "The secret is empty."), Text("もう一度実行してください。", "Run the command again.")
        )
    return secret


def _from_descriptor(descriptor: int) -> str:
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.readline(_CAP).decode("utf-8", "strict").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            Text(f"記述子 {descriptor} から読めません。", f"Descriptor {descriptor} gives no text."),
            Text("例: --secret-fd 3 3<FILE", "For example --secret-fd 3 3<FILE."),
        ) from error


def _from_terminal(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            Text("端末がないため入力できません。", "There is no terminal to ask on."),
            Text("--secret-fd N を使ってください。", "Use --secret-fd N."),
        )
    import getpass

    return getpass.getpass(f"{prompt}: ")
