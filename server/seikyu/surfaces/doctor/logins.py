"""Everybody Seikyu speaks to: each account's provider, the twins of a rehearsal, Slack."""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import urlsplit

from seikyu.errors import LoginRequired, NotDelivered, SeikyuError, Text
from seikyu.gate.connections import Checkup, Standing
from seikyu.models import Connection
from seikyu.settings import LOOPBACK_HOSTS
from seikyu.surfaces.doctor.database import MOST_SKEW_S, clock_finding
from seikyu.surfaces.doctor.findings import Finding, Findings, Level, failed, fault, ok, warning
from seikyu.surfaces.doctor.patient import Patient
from seikyu.vault.secrets import connect_again

REACH_S: Final = 2
_LEVELS: Final = {
    Standing.WORKS: Level.OK,
    Standing.EXPIRES: Level.WARNING,
    Standing.UNKNOWN: Level.WARNING,
    Standing.MISSING: Level.WARNING,
}
"""How bad a standing is; any other is a fault."""


def look_at_connections(patient: Patient) -> Findings:
    """Each account at its provider, the worst first; then the clocks of those who told the time."""
    found = sorted(patient.checkups(), key=lambda each: list(Standing).index(each.standing))
    for checkup in found:
        yield _standing(checkup)
    yield from _clocks(found)


def look_at_new_connections(patient: Patient) -> Findings:
    """Before there is a database, nothing is connected."""
    for connection in patient.settings.connections:
        name = connection.name
        said = Text(f"{name}: まだ接続していません。", f"{name} is not connected yet.")
        yield warning("connections.live", said, connect_again(connection), about=name)


def _standing(checkup: Checkup) -> Finding:
    name, standing = checkup.connection.name, checkup.standing
    said = Text(f"{name}（{standing.text.ja}）: ", f"{name} ({standing.text.en}):") + checkup.what
    return Finding("connections.live", _LEVELS.get(standing, Level.FAULT), said, checkup.next_step, about=name)


def _clocks(found: list[Checkup]) -> Findings:
    """One sentence when all agree; else one for each provider that does not."""
    told = [(each.connection.provider, each.skew_s) for each in found if each.skew_s is not None]
    wrong = {provider: skew_s for provider, skew_s in told if abs(skew_s) > MOST_SKEW_S}
    for provider, skew_s in wrong.items():
        yield clock_finding("clock.provider", Text(f" {provider} ", provider), skew_s, about=provider)
    if told and not wrong:
        yield clock_finding("clock.provider", Text("提供元", "the providers"), 0)


def look_at_twins(patient: Patient) -> Findings:
    """Where a connection points at this machine, whether anything listens there."""
    for connection in patient.settings.connections:
        host = urlsplit(connection.base_url).hostname
        if host in LOOPBACK_HOSTS:
            yield _twin(connection)


def _twin(connection: Connection) -> Finding:
    parts = urlsplit(connection.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=REACH_S):
            pass
    except OSError:
        return fault(
            "connections.twin",
            Text(
                f"{connection.name} の接続先 {parts.netloc} で何も動いていません。",
                f"Nothing listens at {parts.netloc}, where {connection.name} points.",
            ),
            Text(
                f"練習なら seikyu sandbox --port {port} を動かしてください。",
                f"For a rehearsal, run `seikyu sandbox --port {port}`.",
            ),
            about=connection.name,
        )
    said = Text(
        f"{connection.name} はこの機械の {parts.netloc} を使います。",
        f"{connection.name} speaks to {parts.netloc} on this machine, not to the provider itself.",
    )
    return ok("connections.twin", said, about=connection.name)


def look_at_slack(patient: Patient) -> Findings:
    """Whether the app's token is good, and of the team that connections.toml names."""
    app = patient.settings.slack
    if app is None:
        return
    store = Text("seikyu slack connect を実行してください。", "Run `seikyu slack connect`.")
    try:
        said = patient.ask_slack()
    except LoginRequired as error:
        yield warning("slack.app", error.what, store)
        return
    except NotDelivered as error:
        yield fault("slack.app", error.what, _SLACK_STEP + store)
        return
    except SeikyuError as error:
        yield failed("slack.app", error)
        return
    if said.get("team_id") == app.team:
        yield ok("slack.app", Text("Slack のトークンは有効です。", "Slack accepts the app's token."))
        return
    yield fault(
        "slack.app",
        Text("Slack のトークンが別のチームのものです。", "The token is another Slack team's."),
        Text("connections.toml の [slack] を直すか、", "Mend [slack] in connections.toml, or") + store,
    )


_SLACK_STEP: Final = Text("ネットワークを確かめ、だめなら ", "Check the network; if that is well:")
