"""`seikyu operator`: who may decide."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click

from seikyu.errors import InvalidArguments, Text
from seikyu.gate import operators
from seikyu.gate.cards import japan_time
from seikyu.gate.mandates import Operator
from seikyu.models import jst_date, yen_text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.options import AS_JSON
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
_ROLE = click.option("--role", "roles", multiple=True, help="役割（何度でも） / a role; may be given several times")
_CEILING = click.option("--ceiling", type=click.IntRange(0, 10**15), help="承認できる上限額（円） / yen, at most")
_SECRET = click.option("--secret-fd", type=int, help="合言葉を読む記述子 / read the passphrase from this descriptor")


def _by(help_: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--by", "by", required=True, help=help_)


def _unlock(house: House, name: str, descriptor: int | None) -> operators.Key:
    rooms = house.rooms()
    return operators.unlock(rooms.store, rooms.clock, name, read_secret(_passphrase(name), house.lang, descriptor))


def _mandate(one: Operator) -> Text:
    """Roles and ceiling in words."""
    roles = ", ".join(sorted(one.roles)) or "—"
    limit = Text("上限なし", "no ceiling")
    if one.ceiling is not None:
        limit = Text(f"上限 {yen_text(one.ceiling)}", f"up to {yen_text(one.ceiling)}")
    return Text(f"{one.name}: 役割 {roles}、{limit.ja}", f"{one.name}: roles {roles}, {limit.en}")


@group.command()
@click.argument("name")
@click.option("--by", "endorser", help="保証する操作者 / the enrolled operator who vouches (from the second on)")
@_ROLE
@_CEILING
@click.option("--secret-fd", type=int, help="合言葉を読む記述子 / read the new passphrase from this descriptor")
@click.option("--by-secret-fd", type=int, help="保証する人の合言葉の記述子 / the endorser's passphrase")
@click.pass_obj
def add(
    house: House,
    name: str,
    *,
    endorser: str | None,
    roles: tuple[str, ...],
    ceiling: int | None,
    secret_fd: int | None,
    by_secret_fd: int | None,
) -> None:
    """操作者を登録 / Enrol an operator with a passphrase only they know; without --ceiling, no limit."""
    rooms = house.rooms()
    key = None if endorser is None else _unlock(house, endorser, by_secret_fd)
    chosen = read_secret(_NEW, house.lang, secret_fd)
    if secret_fd is None and read_secret(_AGAIN, house.lang, None) != chosen:
        raise InvalidArguments(
            Text("二つの合言葉が一致しません。", "The two passphrases differ."),
            Text("もう一度実行してください。", "Run the command again."),
            written=Text("登録していません。", "Nobody was enrolled."),
        )
    made = operators.enrol(rooms.store, rooms.clock, name, chosen, endorser=key, roles=roles, ceiling=ceiling)
    screen.say(Text(f"操作者 {name} を登録しました。", f"Operator {name} is enrolled."), house.lang, "green")
    screen.say(_mandate(made), house.lang)


@group.command()
@click.argument("name")
@_ROLE
@_CEILING
@click.option("--no-ceiling", is_flag=True, help="上限なし / without limit")
@_by("与える操作者 / the operator who gives it; never oneself")
@_SECRET
@click.pass_obj
def grant(
    house: House,
    name: str,
    *,
    roles: tuple[str, ...],
    ceiling: int | None,
    by: str,
    secret_fd: int | None,
    no_ceiling: bool,
) -> None:
    """役割と上限額を決める / Set roles and ceiling, in the place of those there were."""
    if (ceiling is None) is not no_ceiling:
        raise click.UsageError(
            Text(
                "--ceiling か --no-ceiling のどちらかを指定してください。", "Give either --ceiling or --no-ceiling."
            ).say(house.lang)
        )
    rooms, key = house.rooms(), _unlock(house, by, secret_fd)
    made = operators.grant(rooms.store, rooms.clock, name, roles=roles, ceiling=ceiling, by=key)
    screen.say(_mandate(made), house.lang, "green")


@group.command(name="list")
@AS_JSON
@click.pass_obj
def list_(house: House, *, as_json: bool) -> None:
    """操作者の一覧 / Everyone ever enrolled: roles, ceilings, and what they lent."""
    rooms = house.rooms()
    with rooms.store.read() as tx:
        everyone = operators.list_operators(tx)
    if as_json:
        screen.print_json([_operator_json(one) for one in everyone])
        return
    today = jst_date(rooms.clock.now())
    rows = [_row(one, house, today) for one in everyone]
    labels = Text("名前 有効 役割 上限額 委任 保証した人 登録", "name active roles ceiling lent vouched-by enrolled")
    screen.table(Text("操作者", "Operators").say(house.lang), labels.say(house.lang).split(), rows, right=[3])


def _row(one: Operator, house: House, today: date) -> tuple[str, ...]:
    lent = [Text(f"{to.to}（{to.until} まで）", f"{to.to} until {to.until}") for to in one.lent_now(today)]
    return (
        one.name,
        "○" if one.is_active else "×",
        " ".join(sorted(one.roles)) or "—",
        "—" if one.ceiling is None else yen_text(one.ceiling),
        ", ".join(text.say(house.lang) for text in lent) or "—",
        one.endorsed_by,
        japan_time(one.enrolled_at)[:16],
    )


def _operator_json(one: Operator) -> dict[str, Any]:
    lent = [{"to": to.to, "until": str(to.until), "ceiling": to.ceiling} for to in one.lent_now(date.min)]
    return {
        "name": one.name,
        "enrolled_at": one.enrolled_at,
        "endorsed_by": one.endorsed_by,
        "active": one.is_active,
        "roles": sorted(one.roles),
        "ceiling": one.ceiling,
        "delegations": lent,
    }


@group.command()
@click.argument("name")
@_by("削除する操作者 / the operator who removes")
@_SECRET
@click.pass_obj
def remove(house: House, name: str, by: str, secret_fd: int | None) -> None:
    """操作者を外す / Take the right to decide away, for good."""
    rooms, key = house.rooms(), _unlock(house, by, secret_fd)
    operators.remove(rooms.store, rooms.clock, name, by=key)
    screen.say(Text(f"操作者 {name} を外しました。", f"Operator {name} is removed."), house.lang, "green")


@click.command()
@click.argument("to")
@click.option("--until", required=True, type=click.DateTime(["%Y-%m-%d"]), help="最終日 / the last day, in Japan")
@_CEILING
@_by("委任する操作者 / your operator name")
@_SECRET
@click.pass_obj
def delegate(house: House, to: str, *, until: datetime, ceiling: int | None, by: str, secret_fd: int | None) -> None:
    """決定を委任 / Let another operator decide for you until a day; they use it with `--for`."""
    rooms, key = house.rooms(), _unlock(house, by, secret_fd)
    operators.lend(rooms.store, rooms.clock, to, until=until.date(), ceiling=ceiling, by=key)
    said = Text(
        f"{until.date()} まで、{to} は {by} の代理として決定できます。",
        f"Until {until.date()}, {to} may decide for {by}.",
    )
    screen.say(said, house.lang, "green")


@click.command()
@click.argument("to")
@_by("委任した操作者 / your operator name")
@_SECRET
@click.pass_obj
def undelegate(house: House, to: str, by: str, secret_fd: int | None) -> None:
    """委任を取り消す / Take it back; votes already cast with it stop counting."""
    rooms, key = house.rooms(), _unlock(house, by, secret_fd)
    operators.take_back(rooms.store, rooms.clock, to, by=key)
    screen.say(Text(f"{to} への委任を取り消しました。", f"What was lent to {to} is taken back."), house.lang, "green")
