"""How the story is told in a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text as Styled

from seikyu.errors import Lang, Text

WIDTH: Final = 96


class Teller:
    """Prints the steps of the story, in one language."""

    def __init__(self, lang: Lang) -> None:
        self.lang: Lang = lang
        self.console = Console(highlight=False, emoji=False, markup=False, width=None)
        if not self.console.is_terminal or self.console.width > WIDTH:
            self.console.width = WIDTH
        self._step = 0

    def open(self) -> None:
        title = Text(
            "請求 Seikyu — アシスタントに請求の手を、印鑑は人の手に",
            "Seikyu 請求 — hands for invoicing, the seal in your hand",
        )
        said = Text(
            "練習用の提供元（マネーフォワード ケッサイ、invox）をこの端末の中で動かし、"
            "本物の MCP クライアントから話しかけます。",
            "Stand-ins of Money Forward Kessai and invox run on this machine; a real MCP client talks to the server.",
        )
        body = Group(Styled(title.say(self.lang), style="bold"), Styled(said.say(self.lang), style="dim"))
        self.console.print(Panel(body, box=box.DOUBLE, border_style="cyan"))

    def preparing(self, said: Text) -> None:
        self.console.print(Styled(f"  … {said.say(self.lang)}", style="dim"))

    def step(self, title: Text, who: Text) -> None:
        self._step += 1
        self.console.print()
        heading = Styled(f"{self._step}  {title.say(self.lang)}", style="bold cyan")
        self.console.print(Rule(heading, align="left", style="cyan"))
        self.console.print(Styled(f"   {who.say(self.lang)}", style="dim"))

    def call(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """What the assistant says to the server."""
        short = json.dumps(arguments, ensure_ascii=False)
        self.console.print(Padding(Styled.assemble(("→ ", "dim"), (tool, "bold blue"), (f" {short}", "dim")), (0, 3)))

    def answer(self, sentence: str, *, is_error: bool = False) -> None:
        """What the server answers in words."""
        self.console.print(Padding(Styled.assemble(("← ", "dim"), (sentence, "red" if is_error else "")), (0, 3)))

    def rows(self, columns: Sequence[Text], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for place, name in enumerate(columns):
            grid.add_column(name.say(self.lang), justify="right" if place in right else "left", overflow="fold")
        for row in rows:
            grid.add_row(*row)
        self.console.print(Padding(grid, (0, 3)))

    def show(self, renderable: Any) -> None:  # noqa: ANN401 - a rich renderable
        self.console.print(Padding(renderable, (0, 3)))

    def proof(self, said: Text, *, holds: bool) -> None:
        """A fact the demo checked itself, at the provider or in the log."""
        mark, style = ("✓", "bold green") if holds else ("✗", "bold red")
        self.console.print(Padding(Styled(f"{mark} {said.say(self.lang)}", style=style), (0, 3)))

    def close(self, command: str, seconds: int) -> None:
        self.console.print()
        self.console.print(Rule(style="green"))
        said = Text(
            f"以上です（{seconds}秒）。後には何も残していません。",
            f"That is all, in {seconds} s. Nothing was left behind.",
        )
        self.console.print(Styled(said.say(self.lang), style="bold green"))
        lead = Text("自分のアシスタントにつなぐには:", "To connect your own assistant:")
        self.console.print(Styled(lead.say(self.lang), style="bold"))
        entry = {"mcpServers": {"seikyu": {"command": command, "args": ["serve"]}}}
        claude = Styled(f"claude mcp add seikyu -- {command} serve")
        rows: list[tuple[str, Any]] = [
            ("Claude Code", claude),
            (
                "Claude Desktop, Cursor",
                Syntax(json.dumps(entry), "json", theme="ansi_dark", background_color="default", word_wrap=True),
            ),
            ("VS Code", Styled(f'code --add-mcp \'{{"name":"seikyu","command":"{command}","args":["serve"]}}\'')),
            (
                Text("承認画面", "Approval page").say(self.lang),
                Styled(f"{command} serve --http 127.0.0.1:8787  →  http://127.0.0.1:8787/approvals"),
            ),
            (Text("動かしたまま試す", "Play with it").say(self.lang), Styled(f"{command} demo --keep")),
        ]
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in rows:
            grid.add_row(label, value)
        self.console.print(Padding(grid, (0, 3)))
