"""`seikyu webhook`: the secret a provider signs its events with."""

from __future__ import annotations

import click
from pydantic import SecretStr

from seikyu.errors import NOTHING, ConfigurationError, Text
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.accounts import named
from seikyu.surfaces.cli.house import House
from seikyu.surfaces.cli.login import say_prepared
from seikyu.surfaces.cli.secrets import read_secret

MIN_SECRET = 16
"""Characters. Whoever guesses it can make Seikyu ask the provider questions, and nothing else."""


@click.command()
@click.argument("name")
@click.option("--secret-fd", type=int, help="シークレットを読む記述子 / read the secret from this descriptor")
@click.option("--forget", is_flag=True, help="受信をやめる / take no more events")
@click.pass_obj
def webhook(house: House, name: str, secret_fd: int | None, *, forget: bool) -> None:
    """Webhook を受信 / Take a connection's events: store the secret you gave MFK's screen."""
    connection, logins = named(house, name), house.logins()
    if connection.provider != "mfkessai":
        raise ConfigurationError(
            Text(
                f"{connection.provider} の Webhook は使いません。",
                f"Seikyu takes no events from {connection.provider}.",
            )
        )
    if forget:
        if not logins.forget_webhook_secret(connection):
            raise ConfigurationError(Text(f"{name} は受信していません。", f"{name} takes no events."), NOTHING)
        screen.say(Text(f"{name} の受信をやめました。", f"{name} takes no more events."), house.lang, "green")
        return
    say_prepared(house, logins)
    secret = read_secret(Text(f"{name} の Webhook シークレット", f"Webhook secret of {name}"), house.lang, secret_fd)
    if len(secret) < MIN_SECRET:
        raise ConfigurationError(
            Text(
                f"シークレットは{MIN_SECRET}文字以上にしてください。", f"A secret has at least {MIN_SECRET} characters."
            ),
            NOTHING,
        )
    logins.put_webhook_secret(connection, SecretStr(secret))
    path = f"/webhooks/mfkessai/{name}"
    screen.say(
        Text(
            f"{path} で受信します（以前のシークレットは48時間有効）。",
            f"Events are taken at {path}; a former secret stays good for 48 hours.",
        ),
        house.lang,
        "green",
    )
