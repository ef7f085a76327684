"""`seikyu edit`: an operator corrects what waits for approval, and never votes on it afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import click

from seikyu.errors import InvalidArguments, Text
from seikyu.gate import operators
from seikyu.gate.revisions import NO_CHANGE, Draft, put
from seikyu.models import shown
from seikyu.spec import Tool
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.options import AS_JSON, REASON
from seikyu.surfaces.cli.secrets import read_secret


@click.command()
@click.argument("action_id")
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="NAME=VALUE",
    help="引数と新しい値 / an argument and its new value, such as lines.0.unit_price=900",
)
@click.option("--by", "operator", required=True, help="操作者名 / your operator name")
@REASON
@click.option("--secret-fd", type=int, help="合言葉を読む記述子 / read the passphrase from this descriptor")
@AS_JSON
@click.pass_obj
def edit(
    house: House,
    action_id: str,
    *,
    settings: tuple[str, ...],
    operator: str,
    reason: str,
    secret_fd: int | None,
    as_json: bool,
) -> None:
    """修正 / Correct what waits for approval. You become its maker: somebody else has to approve it."""
    rooms = house.rooms()
    changes = _changes(house, action_id, settings)
    draft = house.run(lambda: house.draft(action_id, changes))
    screen.console(stderr=True).print(screen.card_panel(rooms.cards.card(action_id), house.lang))
    _show(draft)
    prompt = Text(f"{operator} の合言葉", f"Passphrase of {operator}")
    key = operators.unlock(rooms.store, rooms.clock, operator, read_secret(prompt, house.lang, secret_fd))
    action = rooms.revisions.revise(draft, key=key, reason=reason)
    if as_json:
        screen.print_json(screen.card_json(rooms.cards.card(action.id), house.lang))
        return
    screen.say(rooms.cards.summary(action), house.lang, "bold yellow")


def _show(draft: Draft) -> None:
    out = screen.console(stderr=True)
    for path, (was, is_) in draft.changes.items():
        out.print(f"{shown(path, 100)}: {_plain(was)} → {_plain(is_)}", style="bold")


def _plain(value: object) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 600)


def _changes(house: House, action_id: str, settings: tuple[str, ...]) -> dict[str, object]:
    """The arguments as they shall be, of those that are named."""
    action = house.rooms().revisions.editable(action_id)
    arguments: object = json.loads(action.arguments or "{}")
    tool = next((tool for tool in house.tools if tool.name == action.tool), None)
    named: set[str] = set()
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise InvalidArguments(
                Text("--set は NAME=VALUE で指定してください。", "--set takes NAME=VALUE."), written=NO_CHANGE
            )
        named.add(path.partition(".")[0])
        arguments = put(arguments, path, _value(tool, path, text, arguments))
    return {name: value for name, value in cast("dict[str, object]", arguments).items() if name in named}


def _value(tool: Tool | None, path: str, text: str, arguments: object) -> object:
    """JSON, unless a text stands there now or the tool takes text there."""
    if isinstance(_at(arguments, path), str) or (tool is not None and _is_text(tool, path)):
        return text
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def _at(arguments: object, path: str) -> object:
    for name in path.split("."):
        if isinstance(arguments, list) and name.isdecimal():
            items = cast("list[object]", arguments)
            arguments = items[int(name)] if int(name) < len(items) else None
        else:
            arguments = cast("Mapping[str, object]", arguments).get(name) if isinstance(arguments, dict) else None
    return arguments


def _is_text(tool: Tool, path: str) -> bool:
    schema: dict[str, Any] = tool.command.model_json_schema().get("properties", {}).get(path, {})
    return schema.get("type") == "string"
