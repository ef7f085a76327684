"""`seikyu freeze` and `seikyu unfreeze`: the kill switch."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from seikyu.errors import NotFound, Text
from seikyu.gate import freezing, operators
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.secrets import read_secret


def os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "?"


@click.command()
@click.option("--by", "operator", help="名乗る名前 / who you are; not proven, for the record")
@click.option("--reason", required=True, help="理由 / why")
@click.pass_obj
def freeze(house: House, operator: str | None, reason: str) -> None:
    """緊急停止 / Stop every send at once. No passphrase: stopping is always safe."""
    _refuse_nothing(house)
    rooms = house.rooms()
    done = freezing.freeze(rooms.store, rooms.clock, os_user=os_user(), operator=operator, reason=reason)
    screen.say(done.text, house.lang, "bold red")
    screen.say(
        Text("解除は seikyu unfreeze --by 操作者名 です。", "Lift it with `seikyu unfreeze --by OPERATOR`."), house.lang
    )
    if isinstance(house.settings.store_place, Path):
        screen.say(Text(f"対象: {house.settings.home}", f"This is about {house.settings.home}."), house.lang)


def _refuse_nothing(house: House) -> None:
    """Whoever stops another installation than the one that sends must not believe that it is stopped."""
    place = house.settings.store_place
    if isinstance(place, Path) and not place.exists():
        raise NotFound(
            Text(
                f"{place} がないため、ここから送信するものはありません。",
                f"There is no {place}: nothing is sent from there.",
            ),
            Text(
                "止めたいサーバーと同じ SEIKYU_HOME（PostgreSQL なら SEIKYU_DATABASE_URL）で実行してください。",
                "Run it with the SEIKYU_HOME of the server to be stopped, or its SEIKYU_DATABASE_URL.",
            ),
            written=Text("何も凍結されていません。", "Nothing was frozen."),
        )


@click.command()
@click.option("--by", "operator", required=True, help="操作者名 / your operator name")
@click.option("--reason", default="", help="理由 / why")
@click.option(
    "--all-told", is_flag=True, help="送信した全マシンで reconcile 済み / every machine that sent has run `reconcile`"
)
@click.option("--secret-fd", type=int, help="合言葉を読む記述子 / read the passphrase from this descriptor")
@click.pass_obj
def unfreeze(house: House, operator: str, reason: str, secret_fd: int | None, *, all_told: bool) -> None:
    """緊急停止の解除 / Let approved writes be sent again, with an operator's seal."""
    rooms = house.rooms()
    rooms.restoration.look()
    seen = freezing.current(rooms.store)
    if seen is None:
        raise freezing.not_frozen()
    screen.console(stderr=True).print(seen.text.say(house.lang), style="bold red")
    prompt = Text(f"{operator} の合言葉", f"Passphrase of {operator}")
    key = operators.unlock(rooms.store, rooms.clock, operator, read_secret(prompt, house.lang, secret_fd))
    is_alone = house.settings.database_url is None
    rooms.restoration.lift(seen, key=key, os_user=os_user(), reason=reason, are_all_told=all_told or is_alone)
    screen.say(Text("緊急停止を解除しました。", "The freeze is lifted."), house.lang, "green")
