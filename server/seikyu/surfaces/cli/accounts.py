"""`seikyu connect`, `connections`, `disconnect`: the accounts and their logins."""

from __future__ import annotations

import secrets
from urllib.parse import parse_qs, urlsplit

import click
from pydantic import SecretStr

from seikyu.errors import NOTHING, ConfigurationError, InvalidArguments, NotFound, Text
from seikyu.spec import Connection
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House, Logins
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
@click.pass_obj
def connect(house: House, name: str, secret_fd: int | None, code_fd: int | None) -> None:
    """アカウントを接続 / Connect an account; asks for what the provider wants and keeps it encrypted."""
    connection, logins = named(house, name), house.logins()
    say_prepared(house, logins)
    if connection.provider == "mfkessai":
        prompt = Text(f"{name} の API キー", f"API key of {name}")
        api_key = SecretStr(read_secret(prompt, house.lang, secret_fd))
        house.run(lambda: logins.put_api_key(connection, api_key))
        _say_connected(house, connection)
        return
    _connect_oauth(house, logins, connection, secret_fd, code_fd)


def say_prepared(house: House, logins: Logins) -> None:
    """Make the master key when there is none yet, and say so."""
    made = logins.prepare_key()
    if made is not None:
        said = Text(
            f"鍵ファイルを作りました: {made}（必ず控えを保管）", f"Made the master key {made}; keep a copy of it."
        )
        screen.say(said, house.lang, "yellow")


def _connect_oauth(
    house: House, logins: Logins, connection: Connection, secret_fd: int | None, code_fd: int | None
) -> None:
    state = secrets.token_urlsafe(24)
    prompt = Text(f"{connection.name} のクライアントシークレット", f"Client secret of {connection.name}")
    secret = SecretStr(read_secret(prompt, house.lang, secret_fd))
    screen.say(
        Text("次のアドレスをブラウザーで開き、許可してください:", "Open this address in a browser and consent:"),
        house.lang,
    )
    click.echo(logins.authorize_url(connection, state))
    asked = Text("戻ってきたアドレスを貼り付けてください", "Paste the address you were sent back to")
    code = _code(read_secret(asked, house.lang, code_fd), state, connection)
    house.run(lambda: logins.put_code(connection, code=SecretStr(code), client_secret=secret))
    _say_connected(house, connection)


def _say_connected(house: House, connection: Connection) -> None:
    said = Text(
        f"{connection.name} を接続しました（{connection.company}、{connection.environment}）。",
        f"{connection.name} is connected ({connection.company}, {connection.environment}).",
    )
    screen.say(said, house.lang, "green")


def _code(pasted: str, state: str, connection: Connection) -> str:
    """The code inside the pasted address; the state must be the one we sent.

    Raises:
        InvalidArguments: another request's answer, a refusal, or not the registered address.
    """
    parts = urlsplit(pasted.strip())
    query = parse_qs(parts.query)
    wanted = connection.options.get("redirect_uri", "")
    came_back_to = f"{parts.scheme}://{parts.netloc}{parts.path}"
    if came_back_to != wanted.split("?")[0] or query.get("state") != [state]:
        raise InvalidArguments(
            Text("この接続の応答ではありません。", "That is not the answer to this connection's request."),
            Text(
                f"seikyu connect {connection.name} をやり直してください。",
                f"Run `seikyu connect {connection.name}` again.",
            ),
        )
    if "error" in query or len(query.get("code", [])) != 1:
        raise InvalidArguments(
            Text("許可されませんでした。", "Consent was not given."),
            Text(
                f"seikyu connect {connection.name} をやり直してください。",
                f"Run `seikyu connect {connection.name}` again.",
            ),
        )
    return query["code"][0]


@click.command()
@click.option("--check", is_flag=True, help="提供元に確かめる / ask each provider; exit code 0 when all work, else 1")
@click.option("--json", "as_json", is_flag=True)
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
        [(row.name, row.provider, row.environment, row.company, state) for row, state in rows],
    )
    screen.say(
        Text(
            "提供元にはまだ確かめていません: seikyu connections --check",
            "No provider was asked; `seikyu connections --check` does.",
        ),
        house.lang,
        "dim",
    )


@click.command()
@click.argument("name")
@click.pass_obj
def disconnect(house: House, name: str) -> None:
    """接続を解除 / Forget an account's login; its history stays."""
    connection = named(house, name)
    if not house.logins().has(connection):
        raise ConfigurationError(Text(f"{name} は接続されていません。", f"{name} is not connected."), NOTHING)
    house.run(lambda: house.logins().forget(connection))
    screen.say(Text(f"{name} の接続情報を消しました。", f"Forgot the login of {name}."), house.lang, "green")
