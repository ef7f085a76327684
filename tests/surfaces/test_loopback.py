"""The port on which the browser comes back: one answer, and nobody else disturbs it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator

import httpx2
import pytest

from seikyu.errors import ConfigurationError
from seikyu.surfaces.cli.loopback import Loopback, is_loopback

ANSWER = "?code=c0de&state=ours"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as any_port:
            any_port.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@pytest.fixture
def loopback() -> Generator[Loopback]:
    made = Loopback("http://127.0.0.1:0/back")
    yield made
    made.close()


@pytest.fixture
def browser(loopback: Loopback) -> Generator[httpx2.Client]:
    loopback.listen(lambda address: address == f"{loopback.redirect_uri}{ANSWER}")
    with httpx2.Client(trust_env=False, timeout=10) as client:
        yield client


def test_the_one_answer_gets_a_quiet_page_in_both_languages_that_says_nothing_of_it(
    loopback: Loopback, browser: httpx2.Client
) -> None:
    page = browser.get(loopback.redirect_uri + ANSWER)

    assert loopback.wait(10) == loopback.redirect_uri + ANSWER
    assert page.status_code == 200
    assert "端末に戻ってください" in page.text
    assert "go back to the terminal" in page.text
    assert "c0de" not in page.text
    assert page.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert "python" not in page.headers["server"].lower()


def test_strangers_get_a_plain_refusal_and_do_not_end_the_wait(loopback: Loopback, browser: httpx2.Client) -> None:
    root = loopback.redirect_uri.removesuffix("/back")
    refused = [
        browser.get(f"{root}/favicon.ico"),
        browser.get(f"{root}/elsewhere{ANSWER}"),
        browser.get(f"{root}/back?code=c0de&state=theirs"),
        browser.get(f"{root}/back{ANSWER}", headers={"Host": "evil.example"}),
        browser.post(f"{root}/back{ANSWER}"),
        browser.head(f"{root}/back{ANSWER}"),
        browser.options(f"{root}/back{ANSWER}"),
    ]
    before = loopback.wait(0)
    browser.get(loopback.redirect_uri + ANSWER)

    assert {answer.status_code for answer in refused} == {404, 501}
    assert {answer.text for answer in refused} <= {"Not here.\n", ""}
    assert before is None
    assert loopback.wait(10) is not None


def test_the_answer_is_taken_once(loopback: Loopback, browser: httpx2.Client) -> None:
    first = browser.get(loopback.redirect_uri + ANSWER)
    second = browser.get(loopback.redirect_uri + ANSWER)

    assert (first.status_code, second.status_code) == (200, 404)


def test_of_many_that_bring_the_answer_at_once_one_is_first(loopback: Loopback, browser: httpx2.Client) -> None:
    at_once, seen = threading.Barrier(8), list[int]()

    def bring() -> None:
        at_once.wait(10)
        seen.append(browser.get(loopback.redirect_uri + ANSWER).status_code)

    bringers = [threading.Thread(target=bring) for _ in range(8)]
    for bringer in bringers:
        bringer.start()
    for bringer in bringers:
        bringer.join(30)

    assert sorted(seen) == [200] + [404] * 7


def test_a_connection_that_says_nothing_keeps_nobody_waiting(loopback: Loopback, browser: httpx2.Client) -> None:
    port = int(loopback.redirect_uri.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)):
        page = browser.get(loopback.redirect_uri + ANSWER)

    assert page.status_code == 200


@pytest.mark.parametrize(
    "nonsense", [b"\x00\xff\r\n\r\n", b"GET /\r\n\r\n", b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_disturbs_nothing(loopback: Loopback, browser: httpx2.Client, nonsense: bytes) -> None:
    port = int(loopback.redirect_uri.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(nonsense)
        peer.shutdown(socket.SHUT_WR)

    assert browser.get(loopback.redirect_uri + ANSWER).status_code == 200


def test_a_fixed_address_is_kept_to_the_letter() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    loopback = Loopback(f"http://localhost:{port}/back?")
    loopback.close()

    assert loopback.redirect_uri == f"http://localhost:{port}/back?"


def test_it_is_heard_on_127_0_0_1_only_and_not_at_all_once_closed() -> None:
    loopback = Loopback("http://127.0.0.1:0/back")
    loopback.listen(lambda _address: True)
    port = int(loopback.redirect_uri.split(":")[2].split("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=2)
    loopback.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


@needs_ipv6
def test_localhost_is_heard_by_both_protocols_for_a_browser_may_choose_either() -> None:
    for host in ("127.0.0.1", "[::1]"):
        loopback = Loopback("http://localhost:0/back")
        name = loopback.redirect_uri.split("/")[2]
        loopback.listen(lambda address: address == f"http://{name}/back{ANSWER}")  # noqa: B023 - heard in this turn only
        address = f"http://{host}:{name.split(':')[1]}/back{ANSWER}"
        status = httpx2.get(address, headers={"Host": name}, trust_env=False).status_code
        came = loopback.wait(10)
        loopback.close()

        assert (status, came) == (200, f"http://{name}/back{ANSWER}")


@needs_ipv6
def test_a_stranger_at_the_other_address_of_localhost_is_named_before_the_code_goes_there() -> None:
    with socket.socket(socket.AF_INET6) as stranger:
        stranger.bind(("::1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Another program uses port {port}"):
            Loopback(f"http://localhost:{port}/back")
        Loopback(f"http://127.0.0.1:{port}/back").close()


def test_a_port_that_is_only_held_answers_nobody_and_is_free_again_afterwards() -> None:
    held = Loopback("http://127.0.0.1:0/back")
    port = int(held.redirect_uri.split(":")[2].split("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)
    with pytest.raises(ConfigurationError, match=f"Another program uses port {port}"):
        Loopback(held.redirect_uri)
    held.close()

    Loopback(held.redirect_uri).close()


def test_a_fixed_port_is_ours_alone_from_the_beginning_and_can_be_taken_again_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    redirect_uri = f"http://127.0.0.1:{port}/back"
    seen: list[str | None] = []
    for _ in range(2):
        loopback = Loopback(redirect_uri)
        with pytest.raises(ConfigurationError, match=f"Another program uses port {port}"):
            Loopback(redirect_uri)
        loopback.listen(lambda _address: True)
        httpx2.get(redirect_uri, trust_env=False)
        seen.append(loopback.wait(10))
        loopback.close()

    assert seen == [redirect_uri, redirect_uri]


@pytest.mark.parametrize(
    "redirect_uri,is_ours",
    [
        ("http://127.0.0.1:0/back", True),
        ("http://localhost:8723/callback", True),
        ("http://127.0.0.1/back", False),
        ("http://[::1]:8723/back", False),
        ("https://127.0.0.1:8723/back", False),
        ("https://connect.example.co.jp/back", False),
        ("http://127.0.0.1:99999/back", False),
        ("http://user@127.0.0.1:8723/back", False),
        ("urn:ietf:wg:oauth:2.0:oob", False),
    ],
)
def test_only_addresses_of_this_machine_are_waited_at(redirect_uri: str, *, is_ours: bool) -> None:
    assert is_loopback(redirect_uri) is is_ours
