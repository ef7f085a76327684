"""`seikyu slack` and `seikyu operator slack`: the Slack app, and who speaks for whom there."""

from __future__ import annotations

import click
from pydantic import SecretStr

from seikyu.errors import ConfigurationError, Text
from seikyu.gate import operators
from seikyu.gate import slack as links
from seikyu.gate.operators import Key
from seikyu.models import yen_text
from seikyu.settings import SlackApp
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.login import say_prepared
from seikyu.surfaces.cli.options import AS_JSON
from seikyu.surfaces.cli.secrets import read_secret


@click.group()
def slack() -> None:
    """Slack で知らせ、決定を受ける / Show requests in Slack and take decisions there."""


@slack.command()
@click.option("--token-fd", type=int, help="ボットのトークンの記述子 / descriptor of the bot token (xoxb-…)")
@click.option("--secret-fd", type=int, help="署名シークレットの記述子 / descriptor of the app's signing secret")
@click.pass_obj
def connect(house: House, token_fd: int | None, secret_fd: int | None) -> None:
    """アプリの秘密を登録 / Store the app's token and signing secret, encrypted."""
    app, logins = _app(house), house.logins()
    say_prepared(house, logins)
    token = SecretStr(read_secret(Text("ボットのトークン", "Bot token"), house.lang, token_fd))
    secret = SecretStr(read_secret(Text("署名シークレット", "Signing secret"), house.lang, secret_fd))
    house.run(lambda: logins.put_slack(app, token=token, signing_secret=secret))
    screen.say(Text("Slack に接続しました。", "Slack is connected."), house.lang, "green")


@slack.command(name="links")
@AS_JSON
@click.pass_obj
def list_links(house: House, *, as_json: bool) -> None:
    """Slack の誰が誰か / Who in Slack speaks for whom, and up to what amount."""
    with house.rooms().store.read() as tx:
        found = links.links(tx)
    if as_json:
        screen.print_json(
            [
                {
                    "operator": one.operator,
                    "team": one.team,
                    "user": one.user,
                    "up_to": one.up_to,
                    "vouched_by": one.vouched_by,
                }
                for one in found
            ]
        )
        return
    rows = [(one.operator, one.team, one.user, yen_text(one.up_to), one.vouched_by) for one in found]
    labels = Text("操作者 チーム 利用者 上限 保証した人", "operator team user up-to vouched-by").say(house.lang).split()
    screen.table(Text("Slack との対応", "Slack links").say(house.lang), labels, rows)


@click.command(name="slack")
@click.argument("name")
@click.option("--user", help="Slack の利用者 / the Slack user, such as U0123ABCD")
@click.option("--up-to", type=click.IntRange(min=0), help="承認できる上限（円）/ largest amount in yen")
@click.option("--by", "voucher", help="保証する操作者 / the operator who vouches (from the second on)")
@click.option("--remove", is_flag=True, help="対応をやめる / let nobody in Slack speak for NAME")
@click.option("--secret-fd", type=int, help="NAME の合言葉の記述子 / descriptor of NAME's passphrase")
@click.option("--by-secret-fd", type=int, help="保証する人の合言葉の記述子 / descriptor of the voucher's passphrase")
@click.pass_obj
def operator_slack(
    house: House,
    name: str,
    user: str | None,
    up_to: int | None,
    voucher: str | None,
    *,
    remove: bool,
    secret_fd: int | None,
    by_secret_fd: int | None,
) -> None:
    """Slack の利用者を操作者に対応させる / Let a Slack user speak for an operator, up to an amount."""
    rooms, app = house.rooms(), _app(house)
    if remove:
        by = _unlocked(house, voucher or name, by_secret_fd if voucher else secret_fd)
        links.unlink(rooms.store, rooms.clock, name, by=by)
        screen.say(Text(f"{name} の Slack を外しました。", f"Nobody in Slack speaks for {name}."), house.lang, "green")
        return
    if user is None or up_to is None:
        raise ConfigurationError(
            Text("--user と --up-to が必要です。", "Give --user and --up-to."),
            Text("例: --user U0123ABCD --up-to 300000", "For example --user U0123ABCD --up-to 300000."),
        )
    key = _unlocked(house, name, secret_fd)
    by = key if voucher is None else _unlocked(house, voucher, by_secret_fd)
    sealed_with = links.public_half(Key(name, house.logins().sealing_key()))
    links.link(rooms.store, rooms.clock, links.Wanted(app.team, user, up_to, sealed_with), key=key, by=by)
    said = Text(
        f"{user} は {name} として{yen_text(up_to)}まで承認できます。",
        f"{user} speaks for {name}, up to {yen_text(up_to)}.",
    )
    screen.say(said, house.lang, "green")


def _app(house: House) -> SlackApp:
    if house.settings.slack is None:
        raise ConfigurationError(
            Text("connections.toml に [slack] がありません。", "There is no [slack] in connections.toml."),
            Text("team、app、channel を書いてください。", "Write team, app and channel there."),
        )
    return house.settings.slack


def _unlocked(house: House, name: str, descriptor: int | None) -> Key:
    rooms = house.rooms()
    passphrase = read_secret(Text(f"{name} の合言葉", f"Passphrase of {name}"), house.lang, descriptor)
    return operators.unlock(rooms.store, rooms.clock, name, passphrase)
