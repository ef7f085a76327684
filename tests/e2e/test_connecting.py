"""Connecting an account by authorization code: the whole walk, and everything that can go wrong on it."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from e2e.connecting import SECRETS, Desk, Held, follow, location, open_desk
from faults.between import after, altered, resets, says
from seikyu.errors import Lang
from seikyu.models import Connection
from seikyu.sandbox import freee
from seikyu.sandbox.mfkessai_data import API_KEY
from seikyu.settings import Timing
from seikyu.spec import Principal
from seikyu.vault.keys import FILE_NAME

PROVIDERS = ["freee", "misoca", "invox"]
TOKEN = {"freee": "POST /freee/public_api/token", "misoca": "POST /misoca/oauth2/token", "invox": "POST /invox/oauth2/"}


@pytest.fixture
def desk(tmp_path: Path) -> Generator[Desk]:
    with open_desk(tmp_path, "freee") as made:
        yield made


@pytest.fixture
def connected(desk: Desk) -> Desk:
    """Connected before; whatever goes wrong now must not cost this login."""
    assert (desk.connect()).exit_code == 0
    return desk


def changed(address: str, **parameters: str) -> str:
    """`address` with other parameters in its query."""
    parts = urlsplit(address)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | parameters
    return str(httpx2.URL(address).copy_with(params=query))


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


# the whole walk


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_account_is_connected_through_the_browser_and_its_token_is_renewed_later(
    tmp_path: Path, provider: str
) -> None:
    with open_desk(tmp_path, provider) as desk:
        done = desk.connect()
        stored = desk.grant()
        renewed = desk.portal.call(_renew, desk)

        assert (done.exit_code, desk.state()) == (0, "ready"), done.output
        assert "is connected" in done.output
        assert renewed != stored.secret.access_token.get_secret_value()
        assert desk.oauth.accepts(renewed)
        assert (desk.oauth.refreshes, desk.oauth.reuses, desk.grant().generation) == (1, 0, 2)
        assert desk.is_log_sound()


async def _renew(desk: Desk) -> str:
    """What a call would carry after the provider has called the stored token expired."""
    home = desk.home()
    client: Any = home.logins()
    token = desk.grant().secret.access_token
    try:
        custodian = client._opened.custodian  # noqa: SLF001 - no tool of freee or Misoca drives it yet
        fresh = await custodian.access_token(desk.connection, refused=token)
        return str(fresh.get_secret_value())
    finally:
        home.close()


def test_a_fixed_redirect_port_is_used_as_it_is_written(desk: Desk) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    redirect_uri = f"http://localhost:{port}/callback?of=seikyu"
    _write(desk, redirect_uri=redirect_uri)
    desk.oauth.redirect_uris.append(redirect_uri)

    done = desk.connect()

    assert done.exit_code == 0, done.output
    assert parse_qs(urlsplit(desk.browser.shown[0]).query)["redirect_uri"] == [redirect_uri]


def test_blanks_that_were_copied_along_with_the_secret_are_left_out(desk: Desk) -> None:
    assert desk.connect(secret_fd=f" {SECRETS['freee']}\t").exit_code == 0


def test_the_company_is_shown_as_the_provider_names_it_and_what_freee_gave_is_for_that_company(
    desk: Desk,
) -> None:
    desk.oauth.company = freee.OTHER_COMPANY

    done = desk.connect(company=freee.OTHER_COMPANY)

    assert f"freee company: 別会社サンプル (id {freee.OTHER_COMPANY})" in done.output
    assert "connections.toml: 株式会社サンプル (sandbox)" in done.output
    assert desk.grant().secret.company == freee.OTHER_COMPANY


def test_no_secret_of_the_walk_is_printed_or_lies_on_the_disk(desk: Desk) -> None:
    done = desk.connect()

    secret = desk.grant().secret
    forms = [parse_qs(body.decode()) for body in desk.wire.bodies if b"grant_type=authorization_code" in body]
    [form] = forms
    taboo = [
        form["code"][0],
        form["code_verifier"][0],
        form["client_secret"][0],
        secret.access_token.get_secret_value(),
        (secret.refresh_token or secret.access_token).get_secret_value(),
    ]
    kept = b"".join(path.read_bytes() for path in desk.folder.rglob("*") if path.is_file())
    assert [word for word in taboo if word in done.output or word.encode() in kept] == []
    assert len(form["code_verifier"][0]) == 43


def test_a_login_without_tools_says_so_where_connections_are_listed(connected: Desk) -> None:
    listed = connected.call("connections")

    assert "freee-main: its login is stored, but no tool uses freee yet." in listed.output


def test_an_assistant_is_told_which_accounts_no_tool_uses(connected: Desk) -> None:
    home = connected.home()
    told = connected.portal.call(home.call, Principal("suzuki", "test", "en"), "list_connections", None)
    home.close()

    assert "Connections: 1. No tool uses freee-main yet." in told.text


def test_connecting_again_keeps_the_name_and_wins_over_a_renewal_under_way(connected: Desk) -> None:
    held = connected.portal.call(_held, connected)
    connected.wire.plays(TOKEN["freee"], held)
    renewal = connected.portal.start_task_soon(_renew, connected)
    connected.portal.call(held.begun.wait)

    again = connected.connect()

    new = connected.grant().secret.access_token.get_secret_value()
    connected.portal.call(held.let_go)
    assert again.exit_code == 0, again.output
    assert renewal.result(30) == new
    assert (connected.grant().secret.access_token.get_secret_value(), connected.state()) == (new, "ready")


async def _held(desk: Desk) -> Held:
    return Held(desk.wire)


# what can go wrong: one sentence, one next command, and the former login still works


def delivers(change: Callable[[str], str]) -> Callable[[str], bool]:
    """A browser that is sent back to another address than the provider said."""
    return lambda address: follow(change(location(address)))


def wrong_code(desk: Desk) -> None:
    desk.browser.does = delivers(lambda address: changed(address, code="made-up"))


def giant_code(desk: Desk) -> None:
    desk.browser.does = delivers(lambda address: changed(address, code="c" * 50_000))


def binary_code(desk: Desk) -> None:
    desk.browser.does = delivers(lambda address: changed(address, code="\x00\x1b[31m\u202e"))


def no_code(desk: Desk) -> None:
    desk.browser.does = delivers(lambda address: changed(address, code=""))


def expired_code(desk: Desk) -> None:
    def late(address: str) -> str:
        desk.twins.advance(601)
        return address

    desk.browser.does = delivers(late)


def used_code(desk: Desk) -> None:
    """Somebody who knows everything was faster."""

    def spent(address: str) -> str:
        [code] = parse_qs(urlsplit(address).query)["code"]
        desk.oauth._codes[code].is_used = True  # noqa: SLF001 - as if redeemed
        return address

    desk.browser.does = delivers(spent)


def denied(desk: Desk) -> None:
    desk.oauth.denies = True


def strange_refusal(desk: Desk) -> None:
    desk.browser.does = delivers(
        lambda address: changed(address, error="\x1b[31m<script>", error_description="\x1b[31m")
    )


def unexpected_issuer(desk: Desk) -> None:
    desk.oauth.issuer = "https://evil.example"


def wrong_issuer(desk: Desk) -> None:
    desk.oauth.issuer = "https://accounts.example.com/"
    _write(desk, issuer="https://accounts.example.com")


def missing_issuer(desk: Desk) -> None:
    _write(desk, issuer="https://accounts.example.com")


def no_answer(desk: Desk) -> None:
    desk.wire.plays(TOKEN["freee"], resets)


def answer_lost(desk: Desk) -> None:
    desk.wire.plays(TOKEN["freee"], after(desk.wire, resets))


def html(desk: Desk) -> None:
    desk.wire.plays(TOKEN["freee"], says("200 OK", b"<html>maintenance</html>", "Content-Type: text/html"))


def busy(desk: Desk) -> None:
    desk.wire.plays(TOKEN["freee"], says("429 Too Many Requests", b"{}", "Retry-After: 60"))


def wrong_client(desk: Desk) -> None:
    desk.wire.plays(TOKEN["freee"], says("401 Unauthorized", b'{"error":"invalid_client"}'))


def other_company(desk: Desk) -> None:
    desk.oauth.company = freee.OTHER_COMPANY


def not_the_company_written(desk: Desk) -> None:
    desk.connection = replace(desk.connection, company="999")


def no_company(desk: Desk) -> None:
    desk.twins.freee.companies.clear()


def too_late(desk: Desk) -> None:
    desk.timing = Timing(consent_s=0, read_s=2)
    desk.browser.does = lambda _address: True


def foreign_state(desk: Desk) -> None:
    """Nobody but a stranger came to the port."""
    too_late(desk)
    desk.browser.does = delivers(lambda address: changed(address, state="somebody-elses"))


def pasted_foreign_state(_desk: Desk) -> dict[str, str]:
    return {"code_fd": "http://127.0.0.1:1/callback?code=c0de&state=somebody-elses"}


def second_use(desk: Desk) -> dict[str, str]:
    """The answer to the former login, once more."""
    return {"code_fd": location(desk.browser.shown[0])}


def code_alone(_desk: Desk) -> dict[str, str]:
    return {"code_fd": "a-code-without-its-address"}


def repeated_parameter(desk: Desk) -> None:
    too_late(desk)
    desk.browser.does = delivers(lambda address: f"{address}&code=another")


def port_taken(desk: Desk) -> None:
    other = desk.undo.enter_context(socket.socket())
    other.bind(("127.0.0.1", 0))
    other.listen()
    _write(desk, redirect_uri=f"http://127.0.0.1:{other.getsockname()[1]}/callback")


def locked(desk: Desk) -> None:
    desk.undo.enter_context(pytest.MonkeyPatch.context()).setattr("seikyu.store.sqlite.BUSY_TIMEOUT_S", 0)
    holder = desk.undo.enter_context(closing(sqlite3.connect(desk.folder / "home/seikyu.db", isolation_level=None)))
    holder.execute("BEGIN IMMEDIATE")


def missing_key(desk: Desk) -> None:
    key, elsewhere = desk.folder / "home" / FILE_NAME, desk.folder / "elsewhere"
    key.rename(elsewhere)
    desk.undo.callback(elsewhere.rename, key)


def company_not_listed(desk: Desk) -> None:
    desk.oauth.company = "31415"


def redirected(desk: Desk) -> None:
    desk.wire.plays(TOKEN["freee"], says("307 Temporary Redirect", b"", f"Location: {desk.twins.origin}/elsewhere"))


def no_token(desk: Desk) -> None:
    desk.wire.plays(TOKEN["freee"], says("200 OK", b'[{"access_token": "a"}]'))


def cut_short(desk: Desk) -> None:
    async def half(peer: Any, request: bytes) -> None:
        await peer.say((await desk.wire.ask(request))[:-20])

    desk.wire.plays(TOKEN["freee"], half)


def exposed_key(desk: Desk) -> None:
    (desk.folder / "home" / FILE_NAME).chmod(0o644)


async def _deafen(desk: Desk) -> None:
    desk.wire.deafen()


def _write(desk: Desk, **options: str) -> None:
    desk.connection = replace(desk.connection, options={**desk.connection.options, **options})


@dataclass(frozen=True)
class Row:
    """One line of the list of what goes wrong: what is said of it, and the next step where it is not to do it again.

    `is_sent`: the code left for the token endpoint.
    """

    goes_wrong: Callable[[Desk], dict[str, str] | None]
    ja: str
    en: str
    step: str = "seikyu connect freee-main"
    is_sent: bool = False

    def sentence(self, lang: Lang) -> str:
        return self.ja if lang == "ja" else self.en


SPENT = (
    "freee は認可コードを受け付けませんでした（誤り、使用済み、または 600 秒の期限切れ）。",
    "freee did not take the code: it is wrong, used already, or older than 600 s.",
)
FOREIGN = (
    "これは今回の依頼への応答ではありません（別の依頼のものか、二度目です）。",
    "That is not the answer to this request: it is another one's, or comes a second time.",
)
UNREADABLE = ("認可コードが読み取れません。", "There is no authorization code in that.")
NOBODY = ("0 秒以内に許可されませんでした。", "Nobody consented within 0 s.")
UNNAMED = (
    "freee がどの会社のログインかを答えません（HTTP 200）。",
    "freee does not say whose account this is (HTTP 200).",
)
NOT_KNOWN = ("freee がトークンを出したかどうかは分かりません。", "Whether freee gave tokens is not known.")
WRONG = [
    Row(wrong_code, *SPENT, is_sent=True),
    Row(expired_code, *SPENT, is_sent=True),
    Row(used_code, *SPENT, is_sent=True),
    Row(no_code, *UNREADABLE),
    Row(giant_code, *UNREADABLE),
    Row(binary_code, *UNREADABLE),
    Row(denied, "freee の画面で許可されませんでした。", "Consent was denied at freee."),
    Row(strange_refusal, "freee は許可の画面を出しませんでした（?）。", "freee did not ask for consent (?)."),
    Row(foreign_state, *NOBODY),
    Row(repeated_parameter, *NOBODY),
    Row(too_late, *NOBODY),
    Row(pasted_foreign_state, *FOREIGN),
    Row(second_use, *FOREIGN),
    Row(code_alone, "アドレスではありません。", "That is no address: paste the whole of what"),
    Row(
        unexpected_issuer,
        "想定していない発行者（iss）の応答です。コードは送っていません。",
        "The answer names an issuer (iss) although none is expected; the code was sent nowhere.",
    ),
    Row(
        wrong_issuer,
        "応答の発行者（iss）が connections.toml の issuer と違います。コードは送っていません。",
        "The answer's issuer (iss) is not the `issuer` of connections.toml; the code was sent nowhere.",
    ),
    Row(
        missing_issuer,
        "応答に発行者（iss）がありません。コードは送っていません。",
        "The answer names no issuer (iss) although one is expected; the code was sent nowhere.",
    ),
    Row(
        port_taken, "は別のプログラムが使っています。", "Another program uses port", "seikyu connect freee-main --paste"
    ),
    Row(no_answer, *NOT_KNOWN, is_sent=True),
    Row(answer_lost, *NOT_KNOWN, is_sent=True),
    Row(cut_short, *NOT_KNOWN, is_sent=True),
    Row(no_token, *NOT_KNOWN, is_sent=True),
    Row(redirected, *NOT_KNOWN, is_sent=True),
    Row(html, *NOT_KNOWN, is_sent=True),
    Row(
        busy, f"認可サーバーが混雑を告げています(HTTP 429)。{NOT_KNOWN[0]}", f"(HTTP 429). {NOT_KNOWN[1]}", is_sent=True
    ),
    Row(
        wrong_client,
        "client_id かクライアントシークレットが違います。",
        "The client_id or the client secret is wrong.",
        is_sent=True,
    ),
    Row(
        other_company,
        "別の会社のログインです: 別会社サンプル（7654321）。接続 freee-main は 1234567 のものです。",
        "That is another account: 別会社サンプル (7654321); connection freee-main is 1234567's.",
        is_sent=True,
    ),
    Row(
        not_the_company_written,
        "別の会社のログインです: 株式会社サンプル（1234567）。接続 freee-main は 999 のものです。",
        "That is another account: 株式会社サンプル (1234567); connection freee-main is 999's.",
        is_sent=True,
    ),
    Row(no_company, *UNNAMED, is_sent=True),
    Row(company_not_listed, *UNNAMED, is_sent=True),
    Row(locked, "データベースが使用中のため処理できませんでした。", "The database stayed locked for 30 s."),
    Row(
        missing_key, "マスターキーがありません。", "There is no master key, and 1 stored secret(s)", "SEIKYU_MASTER_KEY"
    ),
]
KEPT_IN: dict[Lang, str] = {
    "ja": "ログインは保存していません。以前のログインがあれば、そのままです。",
    "en": "No login was stored; a former one, if there is any, stays as it is.",
}


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("row", WRONG, ids=[row.goes_wrong.__name__ for row in WRONG])
def test_what_goes_wrong_is_one_sentence_and_one_next_step_and_costs_nothing(
    connected: Desk, row: Row, lang: Lang
) -> None:
    before, kept = connected.grant(), connected.connection
    connected.lang = lang
    secrets = row.goes_wrong(connected)

    told = connected.connect(**secrets or {})

    connected.undo.close()
    connected.connection = kept
    last = connected.grant()
    what, written, step = lines(told.stderr)
    assert told.exit_code == 1
    assert row.sentence(lang) in what
    assert written == KEPT_IN[lang]
    assert row.step in step
    assert not {"\x1b", "\u202e"} & set(told.output)
    assert freee.CLIENT_SECRET not in told.output
    assert connected.wire.count(TOKEN["freee"]) == 1 + row.is_sent
    assert (last.sealed, last.generation, connected.state()) == (before.sealed, before.generation, "ready")
    assert connected.is_log_sound()


@pytest.mark.parametrize("goes_wrong", [other_company, not_the_company_written, no_company])
def test_a_login_nobody_keeps_is_given_back(connected: Desk, goes_wrong: Callable[[Desk], None]) -> None:
    goes_wrong(connected)
    told = connected.connect()

    assert "The new login was revoked." in told.stderr
    assert connected.oauth.living == 1


def test_another_company_than_the_program_named_is_given_back(connected: Desk) -> None:
    told = connected.connect(company="31")

    assert (told.exit_code, connected.oauth.living, connected.grant().generation) == (1, 1, 1)
    assert (
        "It is not the company that was meant, so it was not connected. It is revoked at freee as well." in told.stderr
    )


def test_what_was_connected_is_remembered_after_a_disconnection_and_another_company_needs_another_name(
    connected: Desk,
) -> None:
    assert (connected.run("disconnect")).exit_code == 0
    connected.oauth.company = freee.OTHER_COMPANY
    told = connected.connect(company=freee.OTHER_COMPANY)
    connected.connection = replace(connected.connection, company=freee.OTHER_COMPANY)
    renamed = connected.connect(company=freee.OTHER_COMPANY)

    assert (told.exit_code, renamed.exit_code) == (1, 0)
    assert "connection freee-main is 1234567's" in told.stderr


def test_a_key_others_can_read_stops_the_walk_before_it_begins(connected: Desk) -> None:
    exposed_key(connected)
    told = connected.connect()

    assert told.exit_code == 1
    assert "has mode 0644, not 0600" in told.stderr
    assert "chmod 600" in told.stderr
    assert len(connected.browser.shown) == 1


def test_a_program_without_a_terminal_must_name_the_company_before_anything_begins(desk: Desk) -> None:
    told = desk.run("connect", secret_fd=freee.CLIENT_SECRET)

    assert told.exit_code == 1
    assert "Add `--company ID`." in told.stderr
    assert desk.browser.shown == []


def test_a_connection_that_lacks_its_client_id_is_named(desk: Desk) -> None:
    _write(desk, client_id="")
    told = desk.connect()

    assert told.exit_code == 1
    assert "Connection freee-main lacks client_id." in told.stderr


def test_a_login_works_at_its_own_addresses_only(connected: Desk) -> None:
    _write(connected, oauth_url="http://127.0.0.1:9/elsewhere")

    assert connected.state() == "undecryptable"


def test_a_database_that_locks_after_the_exchange_costs_the_new_login_only(
    connected: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seikyu.store.sqlite.BUSY_TIMEOUT_S", 0)
    database = connected.folder / "home" / "seikyu.db"
    before = connected.grant().sealed
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as holder:

        async def lock(peer: Any, request: bytes) -> None:
            holder.execute("BEGIN IMMEDIATE")
            await peer.say(await connected.wire.ask(request))

        connected.wire.plays("GET /freee/api/1/companies", lock)
        told = connected.connect()
        holder.execute("ROLLBACK")

    what, written, _ = lines(told.stderr)
    assert (told.exit_code, written) == (1, KEPT_IN["en"])
    assert what == "The database stayed locked for 30 s. The new login was revoked."
    assert (connected.grant().sealed, connected.oauth.living) == (before, 1)


@pytest.mark.parametrize("change", [{"environment": "production"}, {"company": "改名後"}])
def test_the_same_name_for_another_environment_or_company_starts_anew(connected: Desk, change: dict[str, Any]) -> None:
    connected.connection = replace(connected.connection, **change)
    connected.oauth.company = freee.OTHER_COMPANY

    assert connected.connect(company=freee.OTHER_COMPANY).exit_code == 0


def test_a_company_written_by_another_name_is_pointed_out(desk: Desk) -> None:
    desk.oauth.company = freee.OTHER_COMPANY
    other = desk.connect(company=freee.OTHER_COMPANY)
    desk.oauth.company = freee.COMPANY
    desk.connection = replace(desk.connection, company="（株）サンプル")
    same = desk.connect()

    assert "The names differ; if it is the right company, write its id as `company`" in other.output
    assert "The names differ" not in same.output


def test_a_company_that_was_renamed_since_it_was_confirmed_is_the_same_company(connected: Desk) -> None:
    connected.twins.freee.companies[freee.COMPANY] = "株式会社改名後"
    checked = connected.call("connections", "--check", "--json")
    again = connected.connect()
    connected.connection = replace(connected.connection, company="株式会社別")
    unconfirmed = connected.call("connections", "--check", "--json")

    [works], [other] = json.loads(checked.stdout), json.loads(unconfirmed.stdout)
    assert (checked.exit_code, works["state"], again.exit_code) == (0, "works", 0)
    assert works["what"] == (
        "freee accepts it: 株式会社改名後 (1234567)."
        " It is the company confirmed when it was connected, though connections.toml calls it 株式会社サンプル."
    )
    assert (unconfirmed.exit_code, other["state"]) == (1, "other_company")


@pytest.mark.parametrize("provider,account", [("freee", "1234567"), ("misoca", "4501")])
def test_a_login_that_was_connected_is_checked_at_its_provider(tmp_path: Path, provider: str, account: str) -> None:
    with open_desk(tmp_path, provider) as desk:
        desk.connect()
        good = desk.call("connections", "--check", "--json")
        desk.oauth.forget()
        over = desk.call("connections", "--check", "--json")

    [works], [ended] = json.loads(good.stdout), json.loads(over.stdout)
    assert (good.exit_code, works["state"], works["account"]["id"]) == (0, "works", account)
    assert (over.exit_code, ended["works"], "seikyu connect" in ended["next_step"]) == (1, False, True)


def test_rights_that_were_not_granted_and_a_login_that_cannot_be_renewed_are_said(desk: Desk) -> None:
    def less(said: Any) -> Any:
        return {name: value for name, value in said.items() if name != "refresh_token"} | {"scope": "read"}

    desk.wire.plays(TOKEN["freee"], altered(desk.wire, less))
    done = desk.connect()

    assert done.exit_code == 0
    assert "Asked for, and not granted: write" in done.output
    assert "This login cannot be renewed; `seikyu connections --check` tells when it ends." in done.output


def test_a_key_that_goes_missing_after_the_exchange_is_what_the_next_step_is_about(connected: Desk) -> None:
    async def steal(peer: Any, request: bytes) -> None:
        missing_key(connected)
        await peer.say(await connected.wire.ask(request))

    before = connected.grant().sealed
    connected.wire.plays("GET /freee/api/1/companies", steal)
    told = connected.connect()
    connected.undo.close()

    what, written, step = lines(told.stderr)
    assert (told.exit_code, written) == (1, KEPT_IN["en"])
    assert what == "There is no master key. The new login was revoked."
    assert "Put it back from your copy" in step
    assert (connected.grant().sealed, connected.oauth.living) == (before, 1)


def test_a_first_key_is_not_made_beside_secrets_that_wait_for_another(connected: Desk) -> None:
    missing_key(connected)
    freee_main = connected.connection
    connected.connection = Connection("mfk-main", "mfkessai", "sandbox", "会社", f"{connected.wire.origin}/mfkessai/v2")
    told = connected.run("connect", secret_fd=API_KEY)
    was_made = (connected.folder / "home" / FILE_NAME).exists()
    connected.undo.close()
    connected.connection = freee_main

    assert (told.exit_code, was_made, connected.state()) == (1, False, "ready")


# what a program gives


@pytest.mark.parametrize("descriptor", ["-1", "999", "99999999999999"])
def test_a_descriptor_that_cannot_be_read_is_named(desk: Desk, descriptor: str) -> None:
    told = desk.run("connect", "--company", freee.COMPANY, "--secret-fd", descriptor)

    assert told.exit_code == 1
    assert lines(told.stderr)[0] == f"Descriptor {descriptor} gives no text."


def test_everything_that_a_program_must_give_is_said_before_anything_begins(desk: Desk) -> None:
    _write(desk, redirect_uri="https://connect.example.co.jp/back")
    told = desk.run("connect")

    assert told.exit_code == 1
    assert lines(told.stderr)[-1] == "Add `--company ID`, `--secret-fd N`, `--code-fd N`."
    assert desk.browser.shown == []


# a key instead of a login


def test_a_key_is_tried_and_the_environment_it_opens_is_shown(tmp_path: Path) -> None:
    with open_desk(tmp_path, "freee") as desk:
        base_url = f"{desk.wire.origin}/mfkessai/v2"
        desk.connection = Connection("mfk-main", "mfkessai", "sandbox", "会社", base_url)
        wrong = desk.run("connect", secret_fd="a-key-of-production")
        right = desk.run("connect", secret_fd=API_KEY)
        state = desk.state()
        gone = desk.run("disconnect")

    host = urlsplit(base_url).netloc
    assert lines(wrong.stderr) == [
        f"{host} (sandbox) does not accept this API key; each environment has its own.",
        KEPT_IN["en"],
        "Run `seikyu connect mfk-main` again.",
    ]
    assert (right.exit_code, state) == (0, "ready")
    assert f"mfk-main is connected ({host}, sandbox)." in right.output
    assert "At mfkessai it is still good: end it on mfkessai's own screen." in gone.output


@pytest.mark.parametrize("key", ["日本語の鍵", "two words", "a\x00b", "key\u202e", " "])
def test_what_is_no_key_is_sent_nowhere(tmp_path: Path, key: str) -> None:
    with open_desk(tmp_path, "freee") as desk:
        desk.connection = Connection("mfk-main", "mfkessai", "sandbox", "会社", f"{desk.wire.origin}/mfkessai/v2")
        told = desk.run("connect", secret_fd=key)

        assert told.exit_code == 1
        assert lines(told.stderr)[0] == "That is no API key: it has blanks, or letters beyond ASCII."
        assert desk.wire.requests == []


def test_a_company_that_mfk_cannot_name_is_not_taken_for_checked(tmp_path: Path) -> None:
    with open_desk(tmp_path, "freee") as desk:
        desk.connection = Connection("mfk-main", "mfkessai", "sandbox", "会社", f"{desk.wire.origin}/mfkessai/v2")
        told = desk.run("connect", "--company", "77", secret_fd=API_KEY)

        assert (told.exit_code, desk.state()) == (1, "missing")
        assert "MFK's API names no company" in told.stderr


# giving it up


def test_disconnecting_revokes_at_the_provider_and_forgets_here(connected: Desk) -> None:
    done = connected.run("disconnect")

    assert (done.exit_code, connected.state(), connected.oauth.living) == (0, "missing", 0)
    assert "It is revoked at freee as well." in done.output
    assert connected.is_log_sound()


def test_what_is_not_connected_cannot_be_given_up(desk: Desk) -> None:
    told = desk.run("disconnect")

    assert told.exit_code == 1
    assert lines(told.stderr) == [
        "freee-main is not connected.",
        "Nothing was written.",
        "`seikyu connections` lists what is.",
    ]


def test_a_login_is_not_revoked_while_it_cannot_be_forgotten_here(connected: Desk) -> None:
    locked(connected)

    told = connected.run("disconnect")

    connected.undo.close()
    assert (told.exit_code, connected.state(), connected.oauth.living) == (1, "ready", 1)
    assert "The database stayed locked" in told.stderr


def test_what_cannot_be_revoked_is_said_and_forgotten_only_when_told_to(connected: Desk) -> None:
    connected.portal.call(_deafen, connected)
    told = connected.run("disconnect")
    kept = connected.state()
    forced = connected.run("disconnect", "--force")

    assert (told.exit_code, kept, forced.exit_code, connected.state()) == (1, "ready", 0, "missing")
    assert lines(told.stderr) == [
        "freee did not confirm that the login is revoked.",
        "Nothing was forgotten.",
        "To forget it: `seikyu disconnect freee-main --force`.",
    ]
    assert "At freee it may still be good: end it on freee's own screen." in forced.output


def test_misoca_revokes_only_where_the_configuration_says_where(tmp_path: Path) -> None:
    with open_desk(tmp_path, "misoca") as desk:
        desk.connect()
        silent = desk.run("disconnect")
        _write(desk, revoke_url=f"{desk.wire.origin}/misoca/oauth2/revoke")
        desk.connect()
        revoked = desk.run("disconnect")

    assert "At misoca it is still good: end it on misoca's own screen." in silent.output
    assert "It is revoked at misoca as well." in revoked.output


def test_a_login_that_does_not_open_is_forgotten_when_told_to(connected: Desk) -> None:
    (connected.folder / "home" / FILE_NAME).unlink()
    told = connected.run("disconnect")
    forced = connected.run("disconnect", "--force")

    assert (told.exit_code, forced.exit_code, connected.state()) == (1, 0, "missing")
    assert "The stored login does not open, so it cannot be revoked at freee." in told.stderr


@pytest.mark.parametrize("state", ["needs_login", "refresh_unknown"])
def test_a_login_that_is_over_or_in_doubt_is_disconnected_like_any_other(connected: Desk, state: str) -> None:
    with closing(sqlite3.connect(connected.folder / "home" / "seikyu.db")) as raw, raw:
        raw.execute("UPDATE secret SET state = ?", (state,))
    shown = connected.state()

    done = connected.run("disconnect")

    assert (shown, done.exit_code, connected.state()) == (state, 0, "missing")
    assert connected.oauth.living == 0
    assert "At freee it may still be good: end it on freee's own screen." in done.output  # by a lost renewal
