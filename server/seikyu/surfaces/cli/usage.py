"""A command that was not written as its help says: what is wrong with it, and where its help is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import click

from seikyu.errors import NOTHING, Text
from seikyu.models import shown

NOTHING_DONE: Final = Text("何も実行していません。", "Nothing was done.")

_EXTRA: Final = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)


def misused(error: click.UsageError) -> Text:
    """What happened, that nothing came of it, and the command that helps."""
    return _said(error) + NOTHING_DONE + _help(error)


def stopped() -> Text:
    """After Ctrl+C or the end of what is typed, at a question."""
    return Text(
        "中止しました。申請の状態は `seikyu actions` で確かめられます。",
        "Stopped. `seikyu actions` tells how requests stand.",
    )


def _help(error: click.UsageError) -> Text:
    path = "seikyu" if error.ctx is None else _path(error.ctx)
    return Text(f"書き方は `{path} --help` で確かめられます。", f"`{path} --help` tells how it is written.")


def _path(ctx: click.Context) -> str:
    names: list[str] = []
    while ctx.parent is not None:
        names.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(["seikyu", *names])


def _said(error: click.UsageError) -> Text:
    if isinstance(error, click.MissingParameter):
        name = _name(error)
        return Text(f"{name} が必要です。", f"{name} is needed.")
    if isinstance(error, click.NoSuchOption):
        name = shown(error.option_name, 60)
        return Text(f"{name} というオプションはありません。", f"There is no option {name}.") + _near(
            error.possibilities
        )
    if isinstance(error, click.exceptions.NoSuchCommand):
        name = shown(error.command_name, 60)
        said = Text(f"{name} というコマンドはありません。", f"There is no command {name}.")
        return said + _near(error.possibilities)
    if isinstance(error, click.BadParameter):
        name, wanted = _name(error), _wanted(error)
        return Text(f"{name} の値が正しくありません。{wanted.ja}", f"The value of {name} is wrong. {wanted.en}".strip())
    if isinstance(error, click.BadOptionUsage):
        name = shown(error.option_name, 60)
        return Text(f"{name} の使い方が正しくありません。", f"{name} is not used as it can be.")
    return _other(error.format_message())


def _other(message: str) -> Text:
    """Words of ours are said in the reader's language already; click has one more sentence of its own."""
    extra = _EXTRA.match(message)
    if extra is not None:
        names = shown(extra[1], 60)
        return Text(f"余分な指定があります: {names}。", f"This is too much: {names}.")
    return Text(message, message)


def _name(error: click.BadParameter) -> str:
    parameter = error.param
    if parameter is None:
        return error.param_hint if isinstance(error.param_hint, str) else "?"
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.make_metavar(error.ctx) if error.ctx is not None else (parameter.name or "?").upper()


def _near(names: Sequence[str] | None) -> Text:
    near = ", ".join(names or ())
    return Text(f"{near} のことですか？", f"Did you mean {near}?") if near else NOTHING


def _wanted(error: click.BadParameter) -> Text:
    kind = None if error.param is None else error.param.type
    if isinstance(kind, click.Choice):
        listed = ", ".join(str(choice) for choice in kind.choices)
        return Text(f"使えるのは {listed} です。", f"There are: {listed}.")
    if isinstance(kind, click.DateTime):
        return Text("2026-12-31 の形の日付で書いてください。", "Write a day such as 2026-12-31.")
    if isinstance(kind, click.IntRange):
        least = 0 if kind.min is None else kind.min
        most = Text("以上", "or more") if kind.max is None else Text(f"から {kind.max} まで", f"to {kind.max}")
        return Text(f"{least} {most.ja}の整数で書いてください。", f"Write a whole number, {least} {most.en}.")
    if kind is click.INT:
        return Text("整数で書いてください。", "Write a whole number.")
    return NOTHING
