"""`seikyu operator`: who may decide."""

from __future__ import annotations

import click

from seikyu.errors import Text
from seikyu.gate import operators
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.secrets import read_secret
from seikyu.surfaces.cli.slack import operator_slack

_NEW = Text("新しい合言葉（12文字以上）", "New passphrase, at least 12 characters")
_AGAIN = Text("もう一度", "Once more")


def _passphrase(name: str) -> Text:
    return Text(f"{name} の合言葉", f"Passphrase of {name}")


@click.group(name="operator")
def group() -> None:
    """承認できる人 / The people who may decide."""


group.add_command(operator_slack)


@group.command()
@click.argument("name")
@click.option("--by", "endorser", help="保証する操作者 / the enrolled operator who vouches (from the second on)")
@click.option("--secret-fd", type=int, help="合言葉を読む記述子 / read the new passphrase from this descriptor")
@click.option("--by-secret-fd", type=int, help="保証する人の合言葉の記述子 / the endorser's passphrase")
@click.pass_obj
def add(house: House, name: str, endorser: str | None, secret_fd: int | None, by_secret_fd: int | None) -> None:
    """操作者を登録 / Enrol an operator with a passphrase only they know."""
    rooms = house.rooms()
    key = None
    if endorser is not None:
        passphrase = read_secret(_passphrase(endorser), house.lang, by_secret_fd)
        key = operators.unlock(rooms.store, rooms.clock, endorser, passphrase)
    chosen = read_secret(_NEW, house.lang, secret_fd)
    if secret_fd is None and read_secret(_AGAIN, house.lang, None) != chosen:
        raise click.ClickException(Text("合言葉が一致しません。", "The two passphrases differ.").say(house.lang))
    operators.enrol(rooms.store, rooms.clock, name, chosen, endorser=key)
    screen.say(Text(f"操作者 {name} を登録しました。", f"Operator {name} is enrolled."), house.lang, "green")


@group.command(name="list")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_(house: House, *, as_json: bool) -> None:
    """操作者の一覧 / Everyone ever enrolled."""
    with house.rooms().store.read() as tx:
        everyone = operators.list_operators(tx)
    if as_json:
        screen.print_json(
            [
                {
                    "name": one.name,
                    "enrolled_at": one.enrolled_at,
                    "endorsed_by": one.endorsed_by,
                    "active": one.is_active,
                }
                for one in everyone
            ]
        )
        return
    rows = [(one.name, one.enrolled_at[:19], one.endorsed_by, "○" if one.is_active else "×") for one in everyone]
    labels = Text("名前 登録(UTC) 保証した人 有効", "name enrolled(UTC) vouched-by active").say(house.lang).split()
    screen.table(Text("操作者", "Operators").say(house.lang), labels, rows)


@group.command()
@click.argument("name")
@click.option("--by", "remover", required=True, help="削除する操作者 / the operator who removes")
@click.option("--secret-fd", type=int)
@click.pass_obj
def remove(house: House, name: str, remover: str, secret_fd: int | None) -> None:
    """操作者を外す / Take the right to decide away."""
    rooms = house.rooms()
    key = operators.unlock(rooms.store, rooms.clock, remover, read_secret(_passphrase(remover), house.lang, secret_fd))
    operators.remove(rooms.store, rooms.clock, name, by=key)
    screen.say(Text(f"操作者 {name} を外しました。", f"Operator {name} is removed."), house.lang, "green")
