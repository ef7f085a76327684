"""`seikyu connections --check`: how the accounts really stand, worst first below the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from seikyu.errors import Lang, Text
from seikyu.gate.connections import Checkup, Standing
from seikyu.models import timestamp
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House

_STYLE: Final = {Standing.WORKS: "green", Standing.EXPIRES: "yellow", Standing.UNKNOWN: "yellow"}


def check_connections(house: House, *, as_json: bool) -> int:
    """Ask every provider and show what was found; the exit code: 0 when every account works, else 1."""
    logins, lang = house.logins(), house.lang
    found = house.run(lambda: logins.check(house.settings.connections)) if house.settings.connections else []
    if as_json:
        screen.print_json([checkup_json(checkup, lang) for checkup in found])
    elif not found:
        screen.say(Text("接続はありません。", "There are no connections."), lang)
    else:
        _show(found, lang)
    return 0 if all(checkup.standing.is_good for checkup in found) else 1


def checkup_json(checkup: Checkup, lang: Lang) -> dict[str, Any]:
    """A checkup for programs."""
    connection, account = checkup.connection, checkup.account
    return {
        "name": connection.name,
        "provider": connection.provider,
        "environment": connection.environment,
        "company": connection.company,
        "stored": checkup.stored,
        "state": checkup.standing.value,
        "works": checkup.standing.is_good,
        "asked": checkup.was_asked,
        "account": None if account is None else {"id": account.id, "name": account.name},
        "token_expires_at": None if checkup.expires_at is None else timestamp(checkup.expires_at),
        "clock_ahead_s": checkup.skew_s,
        "what": checkup.what.say(lang),
        "next_step": checkup.next_step.say(lang),
    }


def _show(found: Sequence[Checkup], lang: Lang) -> None:
    labels = Text("名前 提供元 環境 会社 状態", "name provider environment company state").say(lang).split()
    rows = [
        (each.connection.name, each.connection.provider, each.connection.environment, each.connection.company, word)
        for each in found
        for word in [each.standing.text.say(lang)]
    ]
    screen.table(Text("接続（提供元に確認）", "Connections, as their providers say").say(lang), labels, rows)
    for checkup in sorted(found, key=lambda each: list(Standing).index(each.standing)):
        said = Text(f"{checkup.connection.name}: ", f"{checkup.connection.name}:") + checkup.what + checkup.next_step
        screen.say(said, lang, _STYLE.get(checkup.standing, "bold red"))
