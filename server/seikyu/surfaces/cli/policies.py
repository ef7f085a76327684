"""`seikyu policy`: the guardrails."""

from __future__ import annotations

from pathlib import Path

import click

from seikyu.errors import ConfigurationError, Text
from seikyu.gate.policy import parse_policy
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House


@click.group()
def policy() -> None:
    """方針 / The guardrails."""


@policy.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@click.pass_obj
def check(house: House, file: str | None) -> None:
    """方針を検査 / Read the policy and try its examples."""
    path = house.settings.policy_file if file is None else Path(file)
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(Text(f"{path} を読めません。", f"{path} cannot be read.")) from error
    found = parse_policy(source, str(path), [row.name for row in house.settings.connections])
    rules = len(found.file.deny) + len(found.file.ask) + len(found.file.allow)
    said = Text(
        f"規則 {rules}件、例 {len(found.file.example)}件、すべて成り立ちます。",
        f"{rules} rules, {len(found.file.example)} examples, all hold.",
    )
    screen.say(said, house.lang, "bold green")
