"""`seikyu connect`, `connections`, `disconnect`: the accounts and their logins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from seikyu.errors import (
    ConfigurationError,
    InvalidArguments,
    LoginRequired,
    NotFound,
    ProviderUnavailable,
    Text,
)
from seikyu.gate.logins import Revocation
from seikyu.models import Connection
from seikyu.providers.consent import KEPT, again
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House, Logins
from seikyu.surfaces.cli.login import Ways, is_asking, log_in, say_connected, say_ready, unless_stopped
from seikyu.surfaces.cli.options import AS_JSON
from seikyu.surfaces.cli.secrets import read_secret


def named(house: House, name: str) -> Connection:
    """The connection of that name. Raises `NotFound`."""
    found = house.settings.connection(name)
    if found is None:
        names = ", ".join(row.name for row in house.settings.connections) or "—"
        raise NotFound(
            Text(
                f"接続 {name} は connections.toml にありません（{names}）。",
                f"There is no connection {name} in connections.toml ({names}).",
            ),
            Text("先に connections.toml に書いてください。", "Write it into connections.toml first."),
        )
    return found


@click.command()
@click.argument("name")
@click.option(
    "--secret-fd",
    type=int,
    help="API キーかクライアントシークレットの記述子 / descriptor of the API key or client secret",
)
@click.option(
    "--code-fd", type=int, help="認可後のアドレスの記述子 / descriptor of the address the provider sent you back to"
)
@click.option("--paste", is_flag=True, help="戻ったアドレスを貼り付ける / paste the address, for a browser elsewhere")
@click.option("--company", "company_id", help="会社のID。確認の代わり / the company's id, instead of being asked")
@click.pass_obj
def connect(
    house: House, name: str, secret_fd: int | None, code_fd: int | None, *, paste: bool, company_id: str | None
) -> None:
    """アカウントを接続 / Connect an account; asks for what the provider wants and keeps it encrypted."""
    connection, logins = named(house, name), house.logins()
    if connection.provider == "mfkessai":
        if company_id is not None:
            raise InvalidArguments(_NO_COMPANY, again(connection), written=KEPT)
        with unless_stopped(house, KEPT):
            say_ready(house, logins, connection)
            _connect_with_key(house, logins, connection, secret_fd)
        return
    how = Ways(secret_fd=secret_fd, code_fd=code_fd, paste=paste or code_fd is not None, company_id=company_id)
    log_in(house, connection, how)


def _connect_with_key(house: House, logins: Logins, connection: Connection, secret_fd: int | None) -> None:
    """A key of the sandbox does not open production, so trying it also tells which of the two it is for."""
    name, host = connection.name, urlsplit(connection.base_url).netloc
    prompt = Text(f"{name} の API キー（{connection.environment}）", f"API key of {name} ({connection.environment})")
    api_key = SecretStr(read_secret(prompt, house.lang, secret_fd).strip())
    if not _KEY.fullmatch(api_key.get_secret_value()):
        raise InvalidArguments(_NO_KEY, again(connection), written=KEPT)
    try:
        house.run(lambda: logins.put_api_key(connection, api_key))
    except LoginRequired as error:
        raise LoginRequired(
            Text(
                f"{host}（{connection.environment}）はこの API キーを受け付けません（環境ごとにキーが違います）。",
                f"{host} ({connection.environment}) does not accept this API key; each environment has its own.",
            ),
            again(connection),
            written=KEPT,
        ) from error
    say_connected(house, logins, connection, Text(host, host))


_KEY: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
"""What a header can carry."""
_NO_KEY: Final = Text(
    "これは API キーではありません（空白や全角文字があります）。",
    "That is no API key: it has blanks, or letters beyond ASCII.",
)
_NO_COMPANY: Final = Text(
    "MFK の API は会社を答えないため、`--company` を確かめられません。",
    "MFK's API names no company, so `--company` cannot be checked: leave it out.",
)


@click.command()
@click.option("--check", is_flag=True, help="提供元に確かめる / ask each provider; exit code 0 when all work, else 1")
@AS_JSON
@click.pass_obj
def connections(house: House, *, check: bool, as_json: bool) -> None:
    """接続の一覧 / Every account and the state of its login, as stored; with --check as its provider says."""
    if check:
        from seikyu.surfaces.cli.checkups import check_connections

        raise SystemExit(check_connections(house, as_json=as_json))
    logins = house.logins()
    rows = [(row, logins.state(row)) for row in house.settings.connections]
    if as_json:
        screen.print_json(
            [
                {
                    "name": row.name,
                    "provider": row.provider,
                    "environment": row.environment,
                    "company": row.company,
                    "state": state,
                    "has_tools": logins.has_tools(row),
                }
                for row, state in rows
            ]
        )
        return
    if not rows:
        screen.say(
            Text(
                "接続はありません。connections.toml に書いてください。",
                "No connections yet; write them into connections.toml.",
            ),
            house.lang,
        )
        return
    labels = Text("名前 提供元 環境 会社 状態", "name provider environment company state").say(house.lang).split()
    screen.table(
        Text("接続（保存した状態）", "Connections, as stored").say(house.lang),
        labels,
        [(row.name, row.provider, row.environment, row.company, _STATES[state].say(house.lang)) for row, state in rows],
    )
    screen.say(
        Text(
            "提供元にはまだ確かめていません: seikyu connections --check",
            "No provider was asked; `seikyu connections --check` does.",
        ),
        house.lang,
        "dim",
    )
    for row, state in rows:
        if state == "ready" and not logins.has_tools(row):
            screen.say(_no_tools(row), house.lang)


_STATES: Final[Mapping[str, Text]] = {
    "ready": Text("登録済み", "ready"),
    "needs_login": Text("要ログイン", "needs login"),
    "refresh_unknown": Text("更新の結果が不明", "renewal unknown"),
    "missing": Text("未接続", "not connected"),
    "undecryptable": Text("開けません", "does not open"),
}
"""How a login stands, as far as we know without asking."""


def _no_tools(connection: Connection) -> Text:
    name, provider = connection.name, connection.provider
    return Text(
        f"{name}: ログインは保存してありますが、{provider} の道具はまだありません。",
        f"{name}: its login is stored, but no tool uses {provider} yet.",
    )


@click.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="取り消せなくても消す / forget it even if it cannot be revoked")
@click.pass_obj
def disconnect(house: House, name: str, *, force: bool) -> None:
    """接続を解除 / Revoke an account's login at the provider, and forget it here; its history stays."""
    connection, logins = named(house, name), house.logins()
    if not logins.has(connection):
        raise ConfigurationError(
            Text(f"{name} は接続されていません。", f"{name} is not connected."),
            Text("接続の一覧は `seikyu connections` です。", "`seikyu connections` lists what is."),
        )
    with unless_stopped(house, _NOT_FORGOTTEN):
        farewell = house.run(lambda: logins.revoke(connection))
        revocation = farewell.revocation
        if revocation in _IN_DOUBT:
            _ask_to_forget(house, connection, revocation, force=force)
    logins.forget(connection, farewell)
    screen.say(Text(f"{name} の接続情報を消しました。", f"Forgot the login of {name}."), house.lang, "green")
    screen.say(_after(revocation, connection.provider), house.lang)


_NOT_FORGOTTEN: Final = Text(
    "ここでは何も消していません。提供元での状態は `seikyu connections --check` で確かめてください。",
    "Nothing was forgotten here; how it stands at the provider, `seikyu connections --check` tells.",
)
_IN_DOUBT = frozenset({Revocation.FAILED, Revocation.UNREADABLE})
"""The login may go on at the provider: a person says whether it is forgotten here all the same."""


def _ask_to_forget(house: House, connection: Connection, revocation: Revocation, *, force: bool) -> None:
    """Raises `ProviderUnavailable`: nobody said that it may be forgotten."""
    provider, name = connection.provider, connection.name
    why = (
        Text(f"{provider} での取り消しを確認できません。", f"{provider} did not confirm that the login is revoked.")
        if revocation is Revocation.FAILED
        else Text(
            f"保存したログインを開けないため、{provider} で取り消せません。",
            f"The stored login does not open, so it cannot be revoked at {provider}.",
        )
    )
    if force:
        screen.say(why, house.lang, "yellow")
        return
    if is_asking():
        screen.say(why, house.lang, "yellow")
        if screen.agrees(Text("ここでは消しますか", "Forget it here all the same?"), house.lang):
            return
    raise ProviderUnavailable(
        why,
        Text(f"消すには `seikyu disconnect {name} --force`。", f"To forget it: `seikyu disconnect {name} --force`."),
        written=Text("何も消していません。", "Nothing was forgotten."),
    )


def _after(revocation: Revocation, provider: str) -> Text:
    """How it stands at the provider, once it is forgotten here."""
    if revocation is Revocation.DONE:
        return Text(f"{provider} でも取り消しました。", f"It is revoked at {provider} as well.")
    if revocation is Revocation.NOT_OFFERED:
        return Text(
            f"{provider} では有効なままです。{provider} の画面で解除してください。",
            f"At {provider} it is still good: end it on {provider}'s own screen.",
        )
    return Text(
        f"{provider} では有効かもしれません。{provider} の画面で解除してください。",
        f"At {provider} it may still be good: end it on {provider}'s own screen.",
    )
