"""How cards, tables and errors look in a terminal. Programs get `--json` instead."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from seikyu.errors import Lang, SeikyuError, Text
from seikyu.gate.actions import State
from seikyu.models import is_hidden

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from seikyu.gate.cards import Card
    from seikyu.gate.revisions import Edit

STATE_STYLE: Final[Mapping[State, str]] = {
    State.AWAITING: "yellow",
    State.APPROVED: "cyan",
    State.EXECUTING: "cyan",
    State.SUCCEEDED: "green",
    State.UNKNOWN: "magenta",
    State.MANUAL_REVIEW: "magenta",
    State.DENIED: "red",
    State.REJECTED: "red",
    State.FAILED: "red",
}

WIDTH_OF_A_PIPE: Final = 120
"""Columns, when nobody's window says how many there are."""

LEAST_COLUMN: Final = 6
"""Letters a line of a cell that may be broken should hold."""

BETWEEN_COLUMNS: Final = 3


def console(*, stderr: bool = False) -> Console:
    """Colours and line breaks when the output is a terminal; plain, unbroken sentences otherwise."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    wide = None if file.isatty() else WIDTH_OF_A_PIPE
    return Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=wide is not None, width=wide)


def say(text: Text, lang: Lang, style: str | None = None) -> None:
    """One sentence to the person."""
    console().print(text.say(lang), style=style)


def agrees(question: Text, lang: Lang) -> bool:
    """Whether the person says yes, in either language and in the wide letters of Japanese input; an empty line is no.

    Raises:
        click.Abort: Ctrl+C, or the end of the input.
    """
    while True:
        said = _answer(f"{question.say(lang)} [y/N]")
        if said in _YES or said in _NO:
            return said in _YES
        say(_YES_OR_NO, lang)


def _answer(question: str) -> str:
    try:
        said = str(click.prompt(question, default="", show_default=False))
    except UnicodeDecodeError:
        return "?"
    return unicodedata.normalize("NFKC", said).strip().lower()


_YES: Final = frozenset({"y", "yes", "はい"})
_NO: Final = frozenset({"", "n", "no", "いいえ"})
_YES_OR_NO: Final = Text("「はい」か「いいえ」（y か n）で答えてください。", "Answer y or n.")


def complain(error: SeikyuError, lang: Lang) -> None:
    """An error, to stderr: what happened, what was written, what next."""
    out = console(stderr=True)
    out.print(error.what.say(lang), style="bold red")
    for part in (error.written.say(lang), in_commands(error.next_step.say(lang))):
        if part:
            out.print(part)


def in_commands(said: str) -> str:
    """A next step that names a tool of the assistant, with the command that does the same."""
    for tool, command in _COMMANDS.items():
        said = said.replace(tool, f"`{command}`")
    return said


_COMMANDS: Final = {"list_actions": "seikyu actions", "list_connections": "seikyu connections"}


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """For programs: one JSON document on stdout, whatever its encoding; what is invisible in it is spelled out."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    said = json.dumps(value, ensure_ascii=not is_unicode, indent=2)
    # the same value to a program, and nothing that moves a cursor or turns the line to whoever looks at it
    sys.stdout.write("".join(json.dumps(char)[1:-1] if _is_odd(char) else char for char in said) + "\n")


def _is_odd(char: str) -> bool:
    return char != "\n" and is_hidden(char)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table; the columns numbered in `right` are aligned to the right.

    In a window too narrow for it, each row is told in lines of its own: an amount cut off is another amount.
    """
    from rich import box
    from rich.table import Table

    out = console()
    if _least_width(columns, rows, {0, *right}) > out.width:
        _tell_rows(out, title, columns, rows)
        return
    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for place, name in enumerate(columns):
        # the first column is what one copies, the right ones are numbers: they are never broken
        grid.add_column(
            name, justify="right" if place in right else "left", overflow="fold", no_wrap=place == 0 or place in right
        )
    for row in rows:
        grid.add_row(*row)
    out.print(grid)


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]], unbroken: set[int]) -> int:
    """Columns of the window below which a table would lose something."""
    from rich.cells import cell_len

    whole = sum(max(cell_len(line[place]) for line in (columns, *rows)) for place in unbroken)
    return whole + LEAST_COLUMN * (len(columns) - len(unbroken)) + BETWEEN_COLUMNS * len(columns)


def _tell_rows(out: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    out.print(title, style="bold")
    for row in rows:
        out.print()
        out.print(_pairs((name, value, "") for name, value in zip(columns, row, strict=True)))


def _pairs(rows: Iterable[tuple[str, str, str]]) -> Table:
    """Labels and values, each with its style. Whatever is too long goes on below itself: nothing is cut."""
    from rich.table import Table
    from rich.text import Text as Styled

    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for label, value, style in rows:
        grid.add_row(Styled(label, style="dim"), Styled(value, style=style))
    return grid


def marked(rows: Iterable[tuple[str, str]]) -> Table:
    """Lines, each behind its mark; what does not fit goes on right of the marks, where no line of ours begins."""
    from rich.table import Table
    from rich.text import Text as Styled

    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for mark, said in rows:
        grid.add_row(mark, Styled(said))
    return grid


def card_panel(card: Card, lang: Lang) -> Any:  # noqa: ANN401 - a rich renderable
    """The whole card of an action."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.rule import Rule
    from rich.text import Text as Styled

    head = _pairs((line.label.say(lang), line.value, "bold") for line in card.head)
    body = _pairs((line.label.say(lang), line.value, "") for line in card.lines)
    foot = _pairs((label.say(lang), value.say(lang), "") for label, value in _foot(card))
    style = STATE_STYLE.get(card.state, "white")
    title = Styled(f" {card.title.say(lang)} · {card.state_text.say(lang)} ", style=f"bold {style}")
    return Panel(
        Group(head, Rule(style="dim"), body, Rule(style="dim"), foot), title=title, border_style=style, box=box.ROUNDED
    )


def _same(value: str) -> Text:
    return Text(value, value)


def _in_both(texts: Sequence[Text]) -> tuple[list[str], list[str]]:
    return [text.ja for text in texts], [text.en for text in texts]


def edit_json(edit: Edit) -> dict[str, Any]:
    """An edit for programs."""
    changes = [{"argument": path, "before": was, "after": is_} for path, was, is_ in edit.changes]
    said = {"revision": edit.revision, "editor": edit.editor, "at": edit.at, "reason": edit.reason}
    return {**said, "is_by_operator": edit.is_by_operator, "is_by_provider": edit.is_by_provider, "changes": changes}


def _foot(card: Card) -> list[tuple[Text, Text]]:
    rows = [
        (Text("申請番号", "Action"), _same(card.action_id)),
        *((Text(f"第{edit.revision}版", f"Revision {edit.revision}"), edit.text) for edit in card.edits),
        (Text("依頼者", "Requester"), _same(card.requester)),
        (
            Text("承認", "Approvals"),
            Text(*(f"{len(card.votes)}/{card.approvers}  {', '.join(vote)}".rstrip() for vote in _in_both(card.votes))),
        ),
        *((Text("不足している承認", "Still missing"), card.missing) for _ in range(bool(card.missing.en))),
        *((Text("確認の結果", "Conclusion"), said) for said in card.conclusions),
        *((Text("理由", "Why"), _same(reason)) for reason in card.why),
        *((Text("注意", "Note"), note) for note in card.notes),
    ]
    if card.state in {State.AWAITING, State.APPROVED}:
        rows.append((Text("期限", "Expires"), _same(card.expires)))
    if card.reference is not None:
        rows.append((Text("提供元の番号", "At the provider"), _same(card.reference)))
    if card.outcome is not None:
        rows.append((Text("結果", "Outcome"), card.outcome))
    rows.append((Text("照合番号", "Digest"), _same(card.digest[:12])))
    return rows


def card_json(card: Card, lang: Lang) -> dict[str, Any]:
    """A card for programs."""
    return {
        "action_id": card.action_id,
        "state": card.state.value,
        "title": card.title.say(lang),
        "digest": card.digest,
        "revision": card.revision,
        "edits": [edit_json(edit) for edit in card.edits],
        "requester": card.requester,
        "head": {line.label.say(lang): line.value for line in card.head},
        "lines": [[line.label.say(lang), line.value] for line in card.lines],
        "why": list(card.why),
        "notes": [note.say(lang) for note in card.notes],
        "approvals": list(card.approvals),
        "votes": [vote.say(lang) for vote in card.votes],
        "approvers": card.approvers,
        "missing": card.missing.say(lang) or None,
        "conclusions": [said.say(lang) for said in card.conclusions],
        "reference": card.reference,
        "outcome": None if card.outcome is None else card.outcome.say(lang),
        "history": [
            {"at": event.at, "kind": event.kind, "who": event.who, "detail": event.detail} for event in card.history
        ],
    }
