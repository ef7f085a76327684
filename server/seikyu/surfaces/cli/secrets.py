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
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        return stream.readline(_CAP).decode("utf-8", "strict").rstrip("\r\n")


def _from_terminal(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            Text("端末がないため入力できません。", "There is no terminal to ask on."),
            Text("--secret-fd N を使ってください。", "Use --secret-fd N."),
        )
    import getpass

    return getpass.getpass(f"{prompt}: ")
