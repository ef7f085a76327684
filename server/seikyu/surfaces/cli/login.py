"""A login by authorization code, as a person walks through it: consent in the browser, then a look at whose it is."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from seikyu.errors import ConfigurationError, LoginRequired, NotAllowed, Text
from seikyu.gate.connections import has_another_name
from seikyu.gate.logins import Arrival, LoginStopped, Revocation, given_back
from seikyu.models import Connection
from seikyu.providers.consent import KEPT, OUT_OF_BAND, Consent, again
from seikyu.surfaces.cli import screen
from seikyu.surfaces.cli.house import House, Logins
from seikyu.surfaces.cli.loopback import Loopback, is_loopback
from seikyu.surfaces.cli.secrets import read_secret
from seikyu.surfaces.cli.serving import INTERRUPTED
from seikyu.surfaces.cli.stopping import ended_like_ctrl_c, stopped_by_signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How this login is walked through."""

    secret_fd: int | None
    code_fd: int | None
    paste: bool
    """The address is pasted, though we could wait for it ourselves."""
    company_id: str | None
    """Given by a program, which nobody can ask."""


def log_in(house: House, connection: Connection, how: Ways) -> None:
    """Connect `connection`. Until a person, or `--company`, has named the account nothing is stored.

    Raises:
        SeikyuError: what it came to; a former login stays as it is.
    """
    _check_ways(connection, how)
    logins = house.logins()
    with unless_stopped(house, KEPT):
        say_ready(house, logins, connection)
        consent, code = _consented(house, logins, connection, how)
        with ended_like_ctrl_c():
            arrival = house.run(lambda: logins.arrive(consent, code))
            _look_at(house, logins, arrival, how)
    with unless_stopped(house, _MAYBE_KEPT), ended_like_ctrl_c():
        house.run(lambda: logins.keep(arrival))
    say_connected(house, logins, connection, _account_text(arrival))
    if arrival.answer.refresh_token is None:
        screen.say(_ENDS, house.lang, "yellow")


def _check_ways(connection: Connection, how: Ways) -> None:
    """Raises `ConfigurationError`: nobody can be asked what the walk will ask for."""
    if is_asking():
        return
    is_pasted = how.paste or not is_loopback(connection.options.get("redirect_uri", ""))
    wanted = {
        "`--company ID`": how.company_id is None,
        "`--secret-fd N`": how.secret_fd is None,
        "`--code-fd N`": is_pasted and how.code_fd is None,
    }
    missing = [option for option, is_missing in wanted.items() if is_missing]
    if missing:
        raise ConfigurationError(
            Text("端末がないため、尋ねることができません。", "There is no terminal to ask on."),
            Text(f"{'、'.join(missing)} を付けてください。", f"Add {', '.join(missing)}."),
            written=KEPT,
        )


def _consented(house: House, logins: Logins, connection: Connection, how: Ways) -> tuple[Consent, SecretStr]:
    """Ask for the secret and for consent; what was asked, and the code that came of it."""
    registered = logins.redirect_uri(connection)
    prompt = Text(f"{connection.name} のクライアントシークレット", f"Client secret of {connection.name}")
    with _held(connection, registered, paste=how.paste) as loopback:
        secret = SecretStr(
            read_secret(prompt, house.lang, how.secret_fd).strip()
        )  # blanks come along when it is copied
        redirect_uri = registered if loopback is None else loopback.redirect_uri
        consent = logins.request_consent(connection, client_secret=secret, redirect_uri=redirect_uri)
        return consent, _code(house, consent, how, loopback)


def is_asking() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin.isatty()


def say_ready(house: House, logins: Logins, connection: Connection) -> None:
    """As `say_prepared`; and what is stored of `connection` and does not open is replaced only knowingly.

    Raises:
        ConfigurationError: as `say_prepared`, or the person means to find the right key first.
    """
    if not say_prepared(house, logins) and logins.is_shut(connection):
        _say_replaced(house, connection)


def _say_replaced(house: House, connection: Connection) -> None:
    """A shell with another key than the server's must not cost the server its login."""
    name = connection.name
    what = Text(
        f"{name} の保存済みログインは、このマスターキーか接続先では開けません。",
        f"The stored login of {name} does not open with this master key, or at this address.",
    )
    screen.say(what, house.lang, "yellow")
    asked = Text("新しいログインで置き換えますか", "Shall a new login take its place?")
    if is_asking() and not screen.agrees(asked, house.lang):
        raise ConfigurationError(
            what, Text("サーバーと同じ鍵を用意してください。", "Provide the key that the server has."), written=KEPT
        )


def say_prepared(house: House, logins: Logins) -> bool:
    """Make the master key when there is none yet, and say so; whether one was made.

    Raises:
        ConfigurationError: there is none any more, and nobody said that a new one may be made.
    """
    waiting = logins.waiting_for_key()
    if waiting:
        _ask_for_another_key(house, waiting)
    made = logins.prepare_key()
    if made is not None:
        said = Text(
            f"鍵ファイルを作りました: {made}（必ず控えを保管）", f"Made the master key {made}; keep a copy of it."
        )
        screen.say(said, house.lang, "yellow")
    return made is not None


def _ask_for_another_key(house: House, waiting: int) -> None:
    """What opens with a key that is only missing, or set elsewhere, must not be parted from what comes now."""
    what = Text(
        f"マスターキーがありません。保存済みの {waiting} 件はその鍵でしか開けません。",
        f"There is no master key, and {waiting} stored secret(s) open with the former one only.",
    )
    if is_asking():
        screen.say(what, house.lang, "yellow")
        asked = Text("以前の鍵は失われたので、新しい鍵を作りますか", "Is it lost, and shall a new one be made?")
        if screen.agrees(asked, house.lang):
            return
    raise ConfigurationError(
        what,
        Text(
            "サーバーと同じ SEIKYU_MASTER_KEY などを設定するか、控えを戻します。失われたなら端末で実行してください。",
            "Set SEIKYU_MASTER_KEY as for the server, or put your copy back; if it is lost, run this at a terminal.",
        ),
        written=KEPT,
    )


def say_connected(house: House, logins: Logins, connection: Connection, account: Text) -> None:
    """That it is connected, and to what."""
    place = Text(f"（{account.ja}、{connection.environment}）", f"({account.en}, {connection.environment})")
    said = Text(f"{connection.name} を接続しました{place.ja}。", f"{connection.name} is connected {place.en}.")
    screen.say(said, house.lang, "green")
    if not logins.has_tools(connection):
        screen.say(
            Text(
                f"{connection.provider} の道具はまだありません。更新するのは `seikyu connections --check` だけです。",
                f"No tool uses {connection.provider} yet; only `seikyu connections --check` renews the login.",
            ),
            house.lang,
        )


@contextmanager
def unless_stopped(house: House, so: Text) -> Generator[None]:
    """Ctrl+C, or the end of the input, ends the command; `so` says how things stand then."""
    told = Text("中止しました。", "Stopped.")
    try:
        yield
    except (KeyboardInterrupt, EOFError, click.Abort):
        _say_stopped(house, told + so)
    except LoginStopped as stopped:
        _say_stopped(house, told + stopped.told + so)


def _say_stopped(house: House, said: Text) -> NoReturn:
    if is_asking():
        click.echo()  # a prompt stands in the line
    screen.say(said, house.lang, "yellow")
    raise SystemExit(INTERRUPTED) from None


@contextmanager
def _held(connection: Connection, redirect_uri: str, *, paste: bool) -> Generator[Loopback | None]:
    """Our own port, while somebody is on the way to it; None where the redirect address is not ours to wait at.

    Of port 0 a free one is taken in any case: the address must name one.
    """
    if not is_loopback(redirect_uri) or (paste and urlsplit(redirect_uri).port):
        yield None
        return
    name = connection.name
    instead = Text(
        f"`seikyu connect {name} --paste` を実行してください。", f"Run `seikyu connect {name} --paste` instead."
    )
    loopback = Loopback(redirect_uri, instead=instead)
    try:
        yield loopback
    finally:
        loopback.close()


def _code(house: House, consent: Consent, how: Ways, loopback: Loopback | None) -> SecretStr:
    """What the person brings back. Raises `LoginRequired`, `InvalidArguments`: nothing of use, or nothing in time."""
    listener = None if how.paste else loopback
    if listener is not None:
        listener.listen(consent.is_answered_by)
    screen.say(_OPEN_THIS, house.lang)
    click.echo(consent.address)
    if how.code_fd is None and house.browse(consent.address):
        screen.say(Text("ブラウザーで開きます。", "It opens in your browser."), house.lang)
    if listener is not None:
        return _awaited(house, consent, listener)
    return _pasted(house, consent, how.code_fd)


def _awaited(house: House, consent: Consent, loopback: Loopback) -> SecretStr:
    wait_s = house.settings.timing.consent_s
    screen.say(
        Text(f"{wait_s} 秒まで待ちます（Ctrl+C で中止）。", f"Waiting up to {wait_s} s; Ctrl+C ends it."), house.lang
    )
    address = loopback.wait(wait_s)
    if address is None:
        raise LoginRequired(
            Text(f"{wait_s} 秒以内に許可されませんでした。", f"Nobody consented within {wait_s} s."),
            again(consent.connection),
            written=KEPT,
        )
    return consent.code_in(address)


def _pasted(house: House, consent: Consent, code_fd: int | None) -> SecretStr:
    life_s = consent.server.code_lifetime_s
    screen.say(
        Text(
            f"許可した時から {life_s} 秒以内に貼り付けてください（入力は表示されません）。",
            f"Paste within {life_s} s of your consent; what you paste is not shown.",
        ),
        house.lang,
        "yellow",
    )
    if consent.client.redirect_uri == OUT_OF_BAND:
        asked = Text("表示された認可コード", "The code that is shown")
        return consent.code_shown(read_secret(asked, house.lang, code_fd, option="--code-fd"))
    asked = Text("戻ってきたアドレス", "The address you were sent back to")
    return consent.code_in(read_secret(asked, house.lang, code_fd, option="--code-fd"))


def _look_at(house: House, logins: Logins, arrival: Arrival, how: Ways) -> None:
    """Let a person, or a program that knows the id, say that this is the account they mean.

    Raises:
        NotAllowed: they said no; the login was given back.
        LoginStopped: they stopped, or their terminal is gone; the login was given back.
    """
    try:
        with stopped_by_signals():
            is_meant = _is_meant(house, arrival, how.company_id)
    except (click.Abort, KeyboardInterrupt, OSError):
        told = given_back(arrival.connection, house.run(lambda: logins.give_back(arrival)))
        raise LoginStopped(told) from None
    if is_meant:
        return
    revocation = house.run(lambda: logins.give_back(arrival))
    raise NotAllowed(_not_meant(arrival, revocation), again(arrival.connection), written=KEPT)


def _is_meant(house: House, arrival: Arrival, company_id: str | None) -> bool:
    connection = arrival.connection
    screen.say(_account_line(arrival), house.lang, "bold")
    screen.say(
        Text(
            f"connections.toml: {connection.company}（{connection.environment}）",
            f"connections.toml: {connection.company} ({connection.environment})",
        ),
        house.lang,
    )
    missing = _missing_rights(arrival)
    if missing:
        screen.say(
            Text(f"求めた権限のうち、許可されていないもの: {missing}", f"Asked for, and not granted: {missing}"),
            house.lang,
            "yellow",
        )
    if arrival.account is not None and has_another_name(connection, arrival.account):
        screen.say(_ANOTHER_NAME, house.lang, "yellow")
    if company_id is not None:
        return company_id == _own_id(arrival)
    asked = Text(f"これを {connection.name} として使いますか", f"Use it as {connection.name}?")
    return screen.agrees(asked, house.lang)


def _missing_rights(arrival: Arrival) -> str:
    """What was asked for beyond what was granted; nothing where the provider did not say. Source: RFC 6749, 5.1."""
    asked, granted = arrival.consent.server.scope.split(), arrival.answer.scope
    return "" if granted is None else " ".join(word for word in asked if word not in granted.split())


def _own_id(arrival: Arrival) -> str:
    """What `--company` must say; where the provider tells nothing, what the configuration says."""
    if arrival.account is not None:
        return arrival.account.id
    return arrival.connection.options.get("company_code") or arrival.connection.company


def _account_text(arrival: Arrival) -> Text:
    account = arrival.account
    if account is None:
        company = arrival.connection.company
        return Text(f"{company}、会社は未確認", f"{company}, not verified by the provider")
    said = f"{account.name} {account.id}"
    return Text(said, said)


def _account_line(arrival: Arrival) -> Text:
    provider, account, question = arrival.connection.provider, arrival.account, arrival.consent.server.account
    if account is not None and question is not None:
        return Text(
            f"{provider} の{question.what.ja}: {account.name}（ID {account.id}）",
            f"{provider} {question.what.en}: {account.name} (id {account.id})",
        )
    return Text(
        f"{provider} の API はどの会社のログインかを答えません。許可の画面に出た会社を確かめてください。",
        f"{provider}'s API cannot tell whose login this is: make sure of the company its consent page showed.",
    )


def _not_meant(arrival: Arrival, revocation: Revocation) -> Text:
    provider = arrival.connection.provider
    what = Text(
        "確認された会社と違うため、接続しませんでした。",
        "It is not the company that was meant, so it was not connected.",
    )
    if revocation is Revocation.DONE:
        return what + Text(f"{provider} でも取り消しました。", f"It is revoked at {provider} as well.")
    return what + Text(
        f"{provider} では有効です。{provider} の画面で解除してください。",
        f"At {provider} it is still good: end it on {provider}'s own screen.",
    )


_OPEN_THIS = Text("次のアドレスをブラウザーで開き、許可してください:", "Open this address in a browser and consent:")
_ANOTHER_NAME = Text(
    "名前が違います。正しい会社なら、connections.toml の company に ID を書いてください。",
    "The names differ; if it is the right company, write its id as `company` into connections.toml.",
)
_MAYBE_KEPT = Text(
    "保存できたかどうかは `seikyu connections` で確かめてください。",
    "Whether the login was stored, `seikyu connections` tells.",
)
_ENDS = Text(
    "このログインは更新できません。期限は `seikyu connections --check` で分かります。",
    "This login cannot be renewed; `seikyu connections --check` tells when it ends.",
)
