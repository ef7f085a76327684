"""The walk of a login at a real terminal: what a person reads, types and presses."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx2
import pytest

from e2e.connecting import SECRETS, Desk, Held, follow, location, open_desk
from e2e.typist import Typist, at_a_terminal
from providers.raw_server import Peer
from seikyu.models import Connection
from seikyu.sandbox.authorization import OUT_OF_BAND
from seikyu.vault.keys import FILE_NAME

ELSEWHERE = "https://connect.example.co.jp/back"
LOST = "Is it lost, and shall a new one be made"
COMPANIES = "GET /freee/api/1/companies"
TOKEN = "POST /freee/public_api/token"


def begin(typist: Typist, desk: Desk) -> str:
    """Type the client secret; the address that is printed."""
    typist.reads(f"Client secret of {desk.connection.name}: ")
    typist.types(SECRETS[desk.connection.provider])
    return typist.reads(r"(http://\S+)\n")[1]


@pytest.mark.parametrize("provider,shown", [("freee", "株式会社サンプル (id 1234567)"), ("misoca", "id 4501")])
def test_a_person_consents_in_the_browser_looks_whose_account_it_is_and_says_yes(
    tmp_path: Path, provider: str, shown: str
) -> None:
    with (
        open_desk(tmp_path, provider) as desk,
        at_a_terminal("connect", f"{provider}-main", environment=desk.write()) as typist,
    ):
        follow(begin(typist, desk))
        typist.reads(f"Use it as {provider}-main\\?")
        before = desk.state()
        typist.types("y")

        assert typist.leaves() == 0
        assert (before, desk.state()) == ("missing", "ready")
        assert shown in typist.said
        assert f"{provider}-main is connected" in typist.said
        assert SECRETS[provider] not in typist.said
        assert "It opens in your browser" not in typist.said


def test_a_person_answers_in_japanese_as_their_keyboard_writes(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write() | {"SEIKYU_LANG": "ja"}) as typist,
    ):
        typist.reads("クライアントシークレット: ")
        typist.types(SECRETS["freee"])
        follow(typist.reads(r"(http://\S+)\n")[1])
        typist.reads("使いますか")
        os.write(typist.screen, "はい\n".encode("cp932"))
        typist.reads("「はい」か「いいえ」")
        typist.types("　はい")

        assert (typist.leaves(), desk.state()) == (0, "ready")
        assert "Error" not in typist.said


def test_a_person_who_does_not_know_the_company_says_no_and_nothing_is_left(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write()) as typist,
    ):
        follow(begin(typist, desk))
        typist.reads("Use it as freee-main")
        typist.types("")

        assert typist.leaves() == 1
        assert (desk.state(), desk.oauth.living) == ("missing", 0)
        assert "It is revoked at freee as well." in typist.said


def test_invoxs_address_is_pasted_within_its_minute_unseen(tmp_path: Path) -> None:
    with open_desk(tmp_path, "invox", redirect_uri=ELSEWHERE) as desk:
        desk.oauth.redirect_uris.append(ELSEWHERE)
        with at_a_terminal("connect", "invox-main", environment=desk.write()) as typist:
            back = location(begin(typist, desk))
            typist.reads("The address you were sent back to: ")
            typist.types(back)
            typist.reads("Use it as invox-main")
            typist.types("y")

            assert (typist.leaves(), desk.state()) == (0, "ready")
            assert "Paste within 60 s of your consent" in typist.said
            assert "invox's API cannot tell whose login this is" in typist.said
            assert back not in typist.said


def test_freees_code_is_pasted_from_its_own_page(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path, "freee", redirect_uri=OUT_OF_BAND) as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write()) as typist,
    ):
        with httpx2.Client(trust_env=False) as browser:
            page = browser.get(begin(typist, desk)).text
        typist.reads("The code that is shown: ")
        typist.types(page.split("<h1>")[1].split("</h1>")[0])
        typist.reads("Use it as freee-main")
        typist.types("y")

        assert (typist.leaves(), desk.state()) == (0, "ready")


def test_a_browser_on_another_machine_leads_to_an_address_that_is_pasted(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", "--paste", environment=desk.write()) as typist,
    ):
        back = location(begin(typist, desk))
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(back, trust_env=False)
        typist.reads("The address you were sent back to: ")
        typist.types(back)
        typist.reads("Use it as freee-main")
        typist.types("y")

        assert (typist.leaves(), desk.state()) == (0, "ready")


def test_a_secret_in_another_encoding_than_the_terminals_is_one_sentence(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write()) as typist,
    ):
        typist.reads("Client secret of freee-main: ")
        os.write(typist.screen, "秘密\n".encode("cp932"))

        assert (typist.leaves(), desk.state()) == (1, "missing")
        assert "What was typed is no text" in typist.said
        assert "Traceback" not in typist.said


def test_an_address_of_another_request_is_not_taken(tmp_path: Path) -> None:
    with open_desk(tmp_path, "invox", redirect_uri=ELSEWHERE) as desk:
        desk.oauth.redirect_uris.append(ELSEWHERE)
        with at_a_terminal("connect", "invox-main", environment=desk.write()) as typist:
            begin(typist, desk)
            typist.reads("The address you were sent back to: ")
            typist.types(f"{ELSEWHERE}?code=stolen&state=somebody-elses")

            assert typist.leaves() == 1
            assert "That is not the answer to this request" in typist.said
            assert desk.wire.count("POST /invox/oauth2/token/") == 0


@pytest.mark.parametrize("end", ["\x03", "\x04"], ids=["ctrl-c", "end-of-input"])
@pytest.mark.parametrize("provider", ["freee", "mfkessai"])
def test_whoever_gives_no_secret_ends_it(tmp_path: Path, provider: str, end: str) -> None:
    with open_desk(tmp_path, "freee") as desk:
        if provider == "mfkessai":
            base_url = f"{desk.wire.origin}/mfkessai/v2"
            desk.connection = Connection("mfk-main", "mfkessai", "sandbox", "会社", base_url)
        with at_a_terminal("connect", desk.connection.name, environment=desk.write()) as typist:
            typist.reads("(Client secret|API key) of .*: ")
            typist.presses(end, until="Stopped. No login was stored")

            assert (typist.leaves(), desk.state(), desk.wire.requests) == (130, "missing", [])


def test_ctrl_c_while_the_code_is_exchanged_gives_back_what_comes_of_it(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write()) as typist,
    ):
        held = desk.portal.call(_held, desk)
        desk.wire.plays(TOKEN, held)
        follow(begin(typist, desk))
        desk.portal.call(held.begun.wait)
        typist.presses("\x03", until="^C")
        desk.portal.call(held.let_go)
        typist.reads("Stopped. The new login was revoked. No login was stored")

        found = (typist.leaves(), desk.state(), desk.oauth.living)
        assert found == (130, "missing", 0), typist.seen


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGTERM])
def test_a_window_that_is_closed_while_the_code_is_exchanged_gives_back_what_comes_of_it(
    tmp_path: Path, end: signal.Signals
) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write()) as typist,
    ):
        held = desk.portal.call(_held, desk)
        desk.wire.plays(TOKEN, held)
        follow(begin(typist, desk))
        desk.portal.call(held.begun.wait)
        for _ in range(2):  # from the shell and from the kernel
            typist.process.send_signal(end)
        desk.portal.call(held.let_go)

        found = (typist.leaves(), desk.state(), desk.oauth.living)
        assert found == (130, "missing", 0), typist.seen


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGTERM])
def test_a_window_that_is_closed_at_the_question_gives_back_what_came(tmp_path: Path, end: signal.Signals) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write()) as typist,
    ):
        follow(begin(typist, desk))
        typist.reads("Use it as freee-main")
        typist.process.send_signal(end)

        found = (typist.leaves(), desk.state(), desk.oauth.living)
        assert found == (130, "missing", 0), typist.seen


def test_what_cannot_be_given_back_is_said_to_whoever_stops(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path, "misoca") as desk,
        at_a_terminal("connect", "misoca-main", environment=desk.write()) as typist,
    ):
        follow(begin(typist, desk))
        typist.reads("Use it as misoca-main")
        typist.presses("\x04", until="Stopped. The new login could not be revoked: end it on misoca's own screen.")

        assert (typist.leaves(), desk.state()) == (130, "missing")


def test_a_process_that_is_killed_before_it_stored_the_login_costs_the_former_one_nothing(tmp_path: Path) -> None:
    with open_desk(tmp_path, "freee") as desk:
        environment = desk.write()
        desk.connect()
        before = desk.grant().sealed
        with at_a_terminal("connect", "freee-main", environment=environment) as typist:
            follow(begin(typist, desk))
            typist.reads("Use it as freee-main")
            typist.process.kill()
            typist.leaves()
        after = desk.grant().sealed, desk.state()

        assert after == (before, "ready")
        assert (desk.connect().exit_code, desk.grant().generation) == (0, 2)


def test_a_terminal_that_does_not_know_a_letter_costs_no_login(tmp_path: Path) -> None:
    with open_desk(tmp_path, "freee") as desk:
        poor = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        with at_a_terminal("connect", "freee-main", environment=desk.write() | poor) as typist:
            follow(begin(typist, desk))
            typist.reads("Use it as freee-main")
            typist.types("y")

            assert (typist.leaves(), desk.state()) == (0, "ready")
            assert "\\u682a\\u5f0f\\u4f1a\\u793e" in typist.said


def test_a_new_key_is_made_beside_secrets_of_another_only_when_a_person_says_so(tmp_path: Path) -> None:
    with open_desk(tmp_path, "freee") as desk:
        environment = desk.write()
        desk.connect()
        key = tmp_path / "home" / FILE_NAME
        key.unlink()
        with at_a_terminal("connect", "freee-main", environment=environment) as typist:
            typist.reads(LOST)
            typist.types("n")
            refused = typist.leaves(), key.exists()
        with at_a_terminal("connect", "freee-main", environment=environment) as typist:
            typist.reads(LOST)
            typist.types("y")
            follow(begin(typist, desk))
            typist.reads("Use it as freee-main")
            typist.types("y")
            made = typist.leaves(), desk.state()

    assert (refused, made) == ((1, False), (0, "ready"))


@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGTERM])
def test_a_window_that_is_closed_during_a_renewal_costs_no_login(tmp_path: Path, end: signal.Signals) -> None:
    with open_desk(tmp_path, "freee") as desk:
        environment = desk.write()
        desk.connect()
        desk.twins.advance(6 * 3600 + 1)  # over at freee; our clock does not know it yet
        held = desk.portal.call(_held, desk)
        desk.wire.plays(TOKEN, held)
        with at_a_terminal("connections", "--check", environment=environment) as typist:
            desk.portal.call(held.begun.wait)
            typist.process.send_signal(end)
            desk.portal.call(held.let_go)
            code = typist.leaves()

        assert (code, desk.state(), desk.grant().generation) == (1, "ready", 2)


def test_a_login_that_another_key_opens_is_replaced_only_when_a_person_says_so(tmp_path: Path) -> None:
    with open_desk(tmp_path, "freee") as desk:
        environment = desk.write()
        desk.connect()
        key = tmp_path / "home" / FILE_NAME
        right = key.read_bytes()
        key.write_bytes(b"0" * 64)
        with at_a_terminal("connect", "freee-main", environment=environment) as typist:
            typist.reads("does not open with this master key")
            typist.types("n")
            refused = typist.leaves(), desk.wire.count(TOKEN)
        key.write_bytes(right)

        assert (refused, desk.state()) == ((1, 1), "ready")


@pytest.mark.parametrize("moment", ["waiting", "looking", "asked"])
def test_ctrl_c_ends_it_at_any_moment_and_leaves_nothing(tmp_path: Path, moment: str) -> None:
    with (
        open_desk(tmp_path, "freee") as desk,
        at_a_terminal("connect", "freee-main", environment=desk.write()) as typist,
    ):
        address = begin(typist, desk)
        typist.reads("Waiting up to")
        if moment == "looking":
            desk.wire.plays(COMPANIES, _silence)
        if moment != "waiting":
            follow(address)
        if moment == "looking":
            typist.sees(lambda: desk.wire.count(COMPANIES) == 1)
        if moment == "asked":
            typist.reads("Use it as freee-main")
        typist.stops("Stopped.")

        assert typist.leaves() == 130
        assert (desk.state(), desk.oauth.living) == ("missing", 0)
        assert "Traceback" not in typist.said


def test_with_a_display_the_browser_is_opened_without_our_variables_and_comes_back_by_itself(tmp_path: Path) -> None:
    program = tmp_path / "browser.py"
    program.write_text(
        "import os, sys, httpx2\n"
        "print('A browser talks.', *(name for name in os.environ if name.startswith('SEIKYU_')))\n"
        f"open({str(tmp_path / 'seen')!r}, 'w').write(' '.join(os.environ))\n"
        "httpx2.Client(trust_env=False, follow_redirects=True).get(sys.argv[1])\n",
        encoding="utf-8",
    )
    with open_desk(tmp_path, "freee") as desk:
        display = {"DISPLAY": ":99", "BROWSER": f"{sys.executable} {program} %s"}
        with at_a_terminal("connect", "freee-main", environment=desk.write() | display) as typist:
            begin(typist, desk)
            typist.reads("Use it as freee-main")
            typist.types("y")

            assert (typist.leaves(), desk.state()) == (0, "ready")
            assert "It opens in your browser." in typist.said
            assert "A browser talks." not in typist.said
            assert "SEIKYU_" not in (tmp_path / "seen").read_text(encoding="utf-8")


def test_disconnecting_asks_before_it_forgets_what_could_not_be_revoked(tmp_path: Path) -> None:
    with open_desk(tmp_path, "freee") as desk:
        environment = desk.write()
        desk.connect()
        desk.portal.call(_deafen, desk)
        with at_a_terminal("disconnect", "freee-main", environment=environment) as typist:
            typist.reads("Forget it here all the same")
            typist.stops("Stopped. Nothing was forgotten here")
            stopped = typist.leaves(), desk.state()
        with at_a_terminal("disconnect", "freee-main", environment=environment) as typist:
            typist.reads("Forget it here all the same")
            typist.types("n")
            kept = typist.leaves(), desk.state()
        with at_a_terminal("disconnect", "freee-main", environment=environment) as typist:
            typist.reads("Forget it here all the same")
            typist.types("y")
            forgotten = typist.leaves(), desk.state()

    assert (stopped, kept, forgotten) == ((130, "ready"), (1, "ready"), (0, "missing"))


async def _silence(peer: Peer, _request: bytes) -> None:
    """Hears, and never answers."""
    await peer.writer.wait_closed()


async def _held(desk: Desk) -> Held:
    return Held(desk.wire)


async def _deafen(desk: Desk) -> None:
    desk.wire.deafen()
