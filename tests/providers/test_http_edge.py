import asyncio
import base64
import hashlib
import io
import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from providers.raw_server import (
    Peer,
    RawServer,
    Script,
    answering,
    http,
    no_tls,
    raw_server,
    resetting,
    silent,
    stalling,
)
from seikyu.errors import (
    ConfigurationError,
    InvalidArguments,
    NotAllowed,
    ProviderBusy,
    ProviderUnavailable,
    Text,
)
from seikyu.providers.answers import NOT_JSON, read_json
from seikyu.providers.bodies import CHUNK
from seikyu.providers.http import (
    Body,
    HttpAnswer,
    HttpEdge,
    Written,
    body_with_document,
    build_url,
    json_body,
    quiet_http_logs,
)
from seikyu.spec import FileDigest, Lost, NotSent

NOW = datetime(2026, 11, 21, 3, 0, 0, tzinfo=UTC)
OK = http("200 OK", b'{"id":"D-1"}', "Content-Type: application/json")
LATE = 5
"""Seconds: far more than any deadline a test waits for."""


@dataclass(frozen=True)
class StoppedClock:
    def now(self) -> datetime:
        return NOW


async def open_fence() -> None:
    pass


async def forever() -> None:
    await asyncio.Event().wait()


async def write(server: RawServer, edge: HttpEdge | None = None, *, body: Body | None = None) -> Written:
    return await (edge or HttpEdge(write_deadline_s=1)).write(
        "POST",
        f"{server.url}/e_storage",
        headers={"Authorization": "Bearer secret"},
        body=body or json_body({"amount": 1980}),
        fence=open_fence,
    )


# a write: what its answer proves


@pytest.mark.parametrize(
    "answer,expected",
    [
        pytest.param(OK, HttpAnswer(200, {"id": "D-1"}, "application/json"), id="json"),
        pytest.param(http("422 Unprocessable", b'[{"code":"x"}]'), HttpAnswer(422, [{"code": "x"}], ""), id="refusal"),
        pytest.param(http("403 No", b"<html>"), HttpAnswer(403, NOT_JSON, ""), id="firewall-page"),
        pytest.param(http("429 Wait", b"{}"), HttpAnswer(429, {}, ""), id="busy"),
    ],
)
async def test_an_answer_that_may_be_judged_is_handed_on(answer: bytes, expected: HttpAnswer) -> None:
    async with raw_server(answering(answer)) as server:
        assert await write(server) == expected


@pytest.mark.parametrize(
    "answer,status",
    [
        pytest.param(http("302 Found", b"", "Location: http://127.0.0.1:1/elsewhere"), 302, id="redirect-302"),
        pytest.param(http("307 Again", b"", "Location: http://["), 307, id="redirect-to-nonsense"),
        pytest.param(http("308 Moved", b"{}", "Location: /other"), 308, id="redirect-308"),
        pytest.param(http("408 Request Timeout", b"{}"), 408, id="request-timeout"),
        pytest.param(http("500 Oops", b'{"id":"D-1"}'), 500, id="500"),
        pytest.param(http("503 Busy", b"", "Retry-After: 0"), 503, id="503-retry-after"),
        pytest.param(http("200 OK", b"<html>login</html>"), 200, id="html-with-200"),
        pytest.param(http("204 No Content"), 204, id="no-content"),
        pytest.param(http("202 Accepted", b'{"id":"D-1"}'), 202, id="put-aside"),
        pytest.param(http("203 Non-Authoritative", b'{"id":"D-1"}'), 203, id="rewritten-on-the-way"),
        pytest.param(http("206 Partial Content", b'{"id":"D-1"}'), 206, id="a-part"),
        pytest.param(http("200 OK", b'{"id":NaN}'), 200, id="not-a-number"),
        pytest.param(http("200 OK", b'{"id":"D-1"}')[:-3], 200, id="truncated"),
        pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"id":"D-', 200, id="truncated-without-length"),
        pytest.param(b"HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\n[", 400, id="truncated-refusal"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 200, id="broken-chunks"),
        pytest.param(b"", None, id="closed-without-a-word"),
        pytest.param(b"SSH-2.0-OpenSSH_9\r\n\r\n", None, id="not-http"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", None, id="upgrade"),
        pytest.param(http("200 OK", b"\x1f\x8b", "Content-Encoding: gzip"), 200, id="compressed"),
    ],
)
async def test_after_the_first_byte_anything_else_is_unknown_and_is_sent_only_once(
    answer: bytes, status: int | None
) -> None:
    async with raw_server(answering(answer)) as server:
        outcome = await write(server)

    assert isinstance(outcome, Lost)
    assert outcome.status == status
    assert len(server.heard) == 1


async def test_a_reset_after_the_request_is_unknown() -> None:
    async with raw_server(resetting) as server:
        assert isinstance(await write(server), Lost)

    assert len(server.heard) == 1


async def test_silence_ends_at_the_deadline_as_unknown() -> None:
    async with raw_server(silent) as server, asyncio.timeout(LATE):
        assert isinstance(await write(server), Lost)


async def test_a_body_that_trickles_ends_at_the_total_deadline_and_keeps_its_status() -> None:
    async def trickle(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await peer.say(b" ")
            await asyncio.sleep(0.05)  # the pace of the fault itself, not an order of events

    async with raw_server(trickle) as server, asyncio.timeout(LATE):
        outcome = await write(server)

    assert isinstance(outcome, Lost)
    assert outcome.status == 200


async def test_an_endless_body_is_cut_at_the_cap() -> None:
    async def pour(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.say(b"10000\r\n" + b" " * 65536 + b"\r\n")

    async with raw_server(pour) as server, asyncio.timeout(LATE):
        outcome = await write(server, HttpEdge(body_cap=1024 * 1024))

    assert isinstance(outcome, Lost)
    assert outcome.status == 200


async def test_a_compressed_answer_is_refused_before_its_body_comes() -> None:
    async def bomb(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 99\r\n\r\n")
        await peer.until_end()  # no body ever

    async with raw_server(bomb) as server, asyncio.timeout(LATE):
        assert isinstance(await write(server, HttpEdge()), Lost)


# a write: what never left


async def test_a_refused_connection_is_not_sent() -> None:
    async with raw_server(silent) as server:
        pass

    assert isinstance(await write(server), NotSent)


async def test_an_unknown_host_is_not_sent() -> None:
    outcome = await HttpEdge().write("POST", "https://api.invalid/x", headers={}, body=None, fence=open_fence)

    assert isinstance(outcome, NotSent)


async def test_a_failed_tls_handshake_is_not_sent() -> None:
    async with raw_server(no_tls) as server:
        url = server.url.replace("http:", "https:")
        outcome = await HttpEdge().write("POST", url, headers={}, body=None, fence=open_fence)

    assert isinstance(outcome, NotSent)


@pytest.mark.parametrize("value", ["Bearer 秘密", "Bearer a\r\nX-Evil: 1"])
async def test_a_header_that_cannot_be_written_is_not_sent_and_not_told(value: str) -> None:
    async with raw_server(silent) as server:
        outcome = await HttpEdge(write_deadline_s=1).write(
            "POST", server.url, headers={"Authorization": value}, body=None, fence=open_fence
        )

    assert isinstance(outcome, NotSent)
    assert "Bearer" not in outcome.reason.ja + outcome.reason.en


async def test_a_read_with_a_header_that_cannot_be_written_fails_like_any_other_and_does_not_tell_it() -> None:
    async def at_once(_seconds: float) -> None:
        pass

    with pytest.raises(ProviderUnavailable, match="UnicodeEncodeError") as failed:
        await HttpEdge(sleep=at_once).read("http://127.0.0.1:9/", headers={"apikey": "鍵"})

    assert "鍵" not in str(failed.value)


async def test_the_fence_is_asked_once_when_connected_and_before_the_first_byte() -> None:
    heard_at_the_fence: list[bytes] = []
    async with raw_server(answering(OK)) as server:

        async def fence() -> None:
            await server.accepted.wait()
            heard_at_the_fence.append(bytes(server.heard[0]))

        outcome = await HttpEdge().write("POST", server.url, headers={}, body=json_body({"a": 1}), fence=fence)

    assert isinstance(outcome, HttpAnswer)
    assert heard_at_the_fence == [b""]


async def test_a_closed_fence_lets_nothing_leave() -> None:
    async def closed() -> None:
        raise NotAllowed(Text("取り消されました。", "The claim is gone."))

    async with raw_server(silent) as server:
        outcome = await HttpEdge().write("POST", server.url, headers={}, body=None, fence=closed)
        await server.ended[0].wait()

    assert outcome == NotSent(Text("取り消されました。", "The claim is gone."))
    assert server.heard == [b""]


async def test_a_fence_that_never_opens_is_not_sent() -> None:
    async with raw_server(silent) as server, asyncio.timeout(LATE):
        outcome = await HttpEdge(write_deadline_s=1).write("POST", server.url, headers={}, body=None, fence=forever)

    assert isinstance(outcome, NotSent)


async def test_a_cancelled_write_stays_cancelled() -> None:
    async with raw_server(silent) as server:
        task = asyncio.create_task(write(server, HttpEdge()))
        await server.accepted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# a write: what leaves


async def test_a_write_says_who_asks_and_wants_it_plain_on_a_connection_of_its_own() -> None:
    edge = HttpEdge()
    async with raw_server(answering(OK)) as server:
        await write(server, edge, body=json_body({"b": "円", "a": [1, True, None]}))
        await write(server, edge)

    head, _, body = bytes(server.heard[0]).partition(b"\r\n\r\n")
    assert dict(line.split(b": ") for line in head.split(b"\r\n")[1:]) == {
        b"Host": f"127.0.0.1:{server.port}".encode(),
        b"Accept": b"application/json",
        b"Authorization": b"Bearer secret",
        b"Content-Type": b"application/json",
        b"Accept-Encoding": b"identity",
        b"User-Agent": b"seikyu/0.1.0",
        b"Content-Length": str(len(body)).encode(),
        b"Connection": b"close",
    }
    assert body == '{"a":[1,true,null],"b":"円"}'.encode()
    assert len(server.heard) == 2


async def test_a_form_is_sent_once_and_read_like_a_write() -> None:
    async with raw_server(answering(http("400 Bad", b'{"error":"invalid_grant"}'))) as server:
        answer = await HttpEdge().post_form(server.url, headers={}, form={"code": "a b+c", "x": "円"})

    assert answer == HttpAnswer(400, {"error": "invalid_grant"}, "")
    assert server.heard[0].endswith(b"code=a+b%2Bc&x=%E5%86%86")
    assert b"Content-Type: application/x-www-form-urlencoded" in server.heard[0]


@pytest.mark.parametrize("value", [1.5, Decimal("1.5"), b"x"])
def test_a_request_holds_nothing_but_json_without_floats(value: object) -> None:
    with pytest.raises(TypeError):
        json_body({"amount": [value]})


# a write with a document


def document(content: bytes, *, size: int | None = None, sha256: str | None = None) -> Body:
    digest = FileDigest(
        name="請求書.pdf",
        size=len(content) if size is None else size,
        sha256=sha256 or hashlib.sha256(content).hexdigest(),
        field="e_storage.file_content",
    )
    return body_with_document({"z": 1, "e_storage": {"a": "前", "url": "後"}}, digest, io.BytesIO(content))


@pytest.mark.parametrize("size", [0, 1, 2, 3, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 2])
async def test_a_document_is_spliced_into_canonical_json_with_its_exact_length(size: int) -> None:
    content = os.urandom(size)
    async with raw_server(answering(OK)) as server:
        outcome = await write(server, HttpEdge(), body=document(content))

    body = bytes(server.heard[0]).partition(b"\r\n\r\n")[2]
    expected = {"a": "前", "file_content": base64.b64encode(content).decode(), "url": "後"}
    assert isinstance(outcome, HttpAnswer)
    assert body == json_body({"z": 1, "e_storage": expected}).head
    assert b"chunked" not in server.heard[0]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(document(b"paper", size=4), id="longer"),
        pytest.param(document(b"paper", size=6), id="shorter"),
        pytest.param(document(b"paper", sha256="0" * 64), id="other"),
    ],
)
async def test_a_document_that_is_not_the_approved_one_does_not_even_connect(body: Body) -> None:
    async with raw_server(silent) as server:
        outcome = await write(server, body=body)

    assert isinstance(outcome, NotSent)
    assert server.heard == []


async def test_a_document_that_changes_while_it_is_sent_never_completes_the_request() -> None:
    content = bytes(2 * CHUNK)
    body = document(content)
    assert body.document is not None

    async def change() -> None:
        assert body.document is not None
        body.document.content.seek(CHUNK)
        body.document.content.write(b"forged")

    async with raw_server(silent) as server:
        outcome = await HttpEdge().write("POST", server.url, headers={}, body=body, fence=change)
        await server.ended[0].wait()

    sent = bytes(server.heard[0]).partition(b"\r\n\r\n")[2]
    assert isinstance(outcome, Lost)
    assert 0 < len(sent) < body.length


async def test_an_upload_that_stalls_ends_at_the_deadline_as_unknown() -> None:
    async with raw_server(stalling) as server, asyncio.timeout(LATE):
        assert isinstance(await write(server, body=document(bytes(20 * 1024 * 1024))), Lost)


@pytest.mark.parametrize("field", ["e_storage.a", "nowhere.file_content", "z.file_content"])
def test_a_document_needs_a_free_place_in_the_request(field: str) -> None:
    digest = FileDigest(name="a.pdf", size=0, sha256="", field=field)

    with pytest.raises(ValueError, match=r"already stands|no object"):
        body_with_document({"z": 1, "e_storage": {"a": ""}}, digest, io.BytesIO())


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
async def test_a_large_document_is_sent_whole_in_little_memory(tmp_path: Path) -> None:
    small, large = tmp_path / "small.pdf", tmp_path / "large.pdf"
    small.write_bytes(os.urandom(3 * CHUNK))
    large.write_bytes(os.urandom(35 * 1024 * 1024 + 1))

    async with raw_server(hash_the_document) as server:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("upload_program.py")),
            server.url,
            str(small),
            str(large),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        output, _ = await program.communicate()

    report = json.loads(output)
    assert report["answer"] == {"sha256": hashlib.sha256(large.read_bytes()).hexdigest()}
    assert report["grown_kib"] < 16 * 1024


async def hash_the_document(peer: Peer) -> None:
    """Decode the base64 as it comes, keep nothing, answer with the hash."""
    await peer.head()
    await peer.reader.readuntil(b'"file_content":"')
    digest, rest = hashlib.sha256(), b""
    while b'"' not in rest:
        usable = len(rest) // 4 * 4
        digest.update(base64.b64decode(rest[:usable]))
        rest = rest[usable:] + await peer.reader.read(65536)
    digest.update(base64.b64decode(rest.partition(b'"')[0]))
    await peer.say(http("200 OK", json.dumps({"sha256": digest.hexdigest()}).encode()))


# a read


async def read(server: RawServer, *, waits: list[float] | None = None, deadline_s: int = 20) -> HttpAnswer:
    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    edge = HttpEdge(read_deadline_s=deadline_s, clock=StoppedClock(), sleep=sleep)
    try:
        return await edge.read(f"{server.url}/items", headers={"apikey": "secret"})
    finally:
        await edge.aclose()


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([resetting, resetting], id="reset"),
        pytest.param([answering(http("503 Busy")), answering(http("500 Oops"))], id="5xx"),
        pytest.param([answering(http("429 Wait", b"{}"))], id="429"),
        pytest.param([answering(http("408 Slow", b"{}"))], id="408"),
        pytest.param([answering(OK[:-2])], id="truncated"),
    ],
)
async def test_a_read_tries_again_and_gives_the_answer(faults: list[Script]) -> None:
    async with raw_server(*faults, answering(OK)) as server:
        answer = await read(server)

    assert answer == HttpAnswer(200, {"id": "D-1"}, "application/json")
    assert len(server.heard) == len(faults) + 1


async def test_a_read_gives_up_after_three_tries() -> None:
    async with raw_server(resetting) as server:
        with pytest.raises(ProviderUnavailable):
            await read(server)

    assert len(server.heard) == 3


async def test_a_read_that_stays_busy_says_so() -> None:
    async with raw_server(answering(http("429 Wait", b"", "Retry-After: 2"))) as server:
        with pytest.raises(ProviderBusy, match="asks to wait"):
            await read(server)

    assert len(server.heard) == 3


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http("302 Found", b"", "Location: /items"), id="redirect"),
        pytest.param(http("200 OK", b"<html>login"), id="html"),
        pytest.param(http("202 Accepted", b'{"items":[]}'), id="put-aside"),
        pytest.param(http("206 Partial Content", b'{"items":[]}'), id="a-part"),
        pytest.param(http("200 OK", b"\x1f\x8b", "Content-Encoding: gzip"), id="compressed"),
        pytest.param(http("200 OK", b" " * (8 * 1024 * 1024 + 1)), id="too-large"),
    ],
)
async def test_a_read_does_not_ask_again_for_what_will_not_change(answer: bytes) -> None:
    async with raw_server(answering(answer)) as server:
        with pytest.raises(ProviderUnavailable):
            await read(server)

    assert len(server.heard) == 1


@pytest.mark.parametrize("status", ["404 Not Found", "401 Unauthorized"])
async def test_a_refusal_of_a_read_is_for_the_client_to_judge(status: str) -> None:
    async with raw_server(answering(http(status, b"[]"))) as server:
        assert await read(server) == HttpAnswer(int(status[:3]), [], "")

    assert len(server.heard) == 1


@pytest.mark.parametrize(
    "header,wait_s",
    [
        ("7", 7),
        ("0", 0),
        ("Sat, 21 Nov 2026 03:00:05 GMT", 5),
    ],
)
async def test_a_retry_after_is_obeyed(header: str, wait_s: int) -> None:
    waits: list[float] = []
    async with raw_server(answering(http("429 Wait", b"", f"Retry-After: {header}")), answering(OK)) as server:
        await read(server, waits=waits)

    assert waits == [wait_s]


@pytest.mark.parametrize("header", ["-5", "1e9", "1000000000", "soon", "", "Sat, 21 Nov 2020 03:00:05 GMT"])
async def test_an_absurd_retry_after_is_ignored(header: str) -> None:
    waits: list[float] = []
    async with raw_server(answering(http("503 Wait", b"", f"Retry-After: {header}")), answering(OK)) as server:
        await read(server, waits=waits)

    [wait_s] = waits
    assert 0 < wait_s <= 0.5


async def test_a_retry_after_beyond_the_deadline_is_told_at_once() -> None:
    waits: list[float] = []
    async with raw_server(answering(http("429 Wait", b"", "Retry-After: 120"))) as server:
        with pytest.raises(ProviderBusy) as busy:
            await read(server, waits=waits)

    assert busy.value.next_step.en == "Try again in about 120 seconds."
    assert waits == []


async def test_a_read_ends_at_its_total_deadline() -> None:
    async with raw_server(silent) as server, asyncio.timeout(LATE):
        with pytest.raises(ProviderUnavailable, match="no answer in time"):
            await read(server, deadline_s=1)


async def test_reads_share_a_connection_but_no_cookies() -> None:
    edge = HttpEdge()
    with_cookie = http("200 OK", b"{}", "Set-Cookie: account=a; Path=/")
    async with raw_server(answering(with_cookie, with_cookie)) as server:
        for _ in range(2):
            await edge.read(server.url, headers={}, query=[("from", "2026-11-21T00:00:00+09:00"), ("number", "A 1")])
        await edge.aclose()

    [heard] = server.heard
    assert heard.count(b"GET /?from=2026-11-21T00%3A00%3A00%2B09%3A00&number=A%201 HTTP/1.1") == 2
    assert b"cookie" not in heard.lower()


# proxies and logs


async def test_the_environments_proxy_counts_only_when_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(answering(OK)) as proxy, raw_server(answering(OK)) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        await write(server, HttpEdge())
        await write(server, HttpEdge(trust_env=True))

    assert len(server.heard) == 1
    assert proxy.heard[0].startswith(f"POST {server.url}/e_storage ".encode())


async def test_a_proxy_that_refuses_to_connect_leaves_the_write_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fence() -> None:
        pytest.fail("the fence was asked although no request could leave")

    async with raw_server(answering(http("403 No"))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        outcome = await HttpEdge(trust_env=True).write(
            "POST", "https://api.invox.jp/x", headers={"Authorization": "secret"}, body=None, fence=fence
        )

    assert isinstance(outcome, NotSent)
    assert b"secret" not in proxy.heard[0]


async def test_logs_hold_no_address_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    quiet_http_logs()
    async with raw_server(answering(OK)) as server:
        await write(server, HttpEdge())

    assert "e_storage" not in caplog.text
    assert "secret" not in caplog.text


# what counts as JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"a":NaN}',
        b"[-Infinity]",
        b"\xff\xfe{}",
        b"[" * 200_000,
        b"9" * 10_000,
        b"1e999999999999999999999",
        b"1e5000",
        b'{"name":"\\ud800"}',
        b'{"amount":1,"amount":1}',
        b'[{"a":{"status":"passed","status":"canceled"}}]',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_could_hurt_or_mislead_is_no_json(body: bytes) -> None:
    assert read_json(body) is NOT_JSON


def test_numbers_are_read_exactly() -> None:
    body = b'{"amount":1980.10,"rate":1E-1,"count":3,"name":"\\u5186"}'

    assert read_json(body) == {
        "amount": Decimal("1980.10"),
        "rate": Decimal("0.1"),
        "count": 3,
        "name": "円",
    }


# where a request goes


def test_path_parameters_are_filled_in() -> None:
    url = build_url(
        "https://api.mfkessai.co.jp/v2/",
        "/billings/{billing_id}/issues/{issue_id}",
        {"billing_id": "7679-YW36", "issue_id": "i/79NR-AP96"},
        may_have_slash=frozenset({"issue_id"}),
    )

    assert url == "https://api.mfkessai.co.jp/v2/billings/7679-YW36/issues/i/79NR-AP96"


@pytest.mark.parametrize(
    "value", ["..", "a/b", "a%2Fb", "a?b", "a#b", "", "a" * 65, "円", "a\n", "a b", ".", "a/../b", "/"]
)
def test_a_path_parameter_cannot_leave_its_place(value: str) -> None:
    with pytest.raises(InvalidArguments):
        build_url("https://api.example", "/items/{id}", {"id": value})


@pytest.mark.parametrize("value", ["a/b/c", "/b", "a/", "../b", "a/.."])
def test_a_slash_is_allowed_once_between_words(value: str) -> None:
    with pytest.raises(InvalidArguments):
        build_url("https://api.example", "/i/{id}", {"id": value}, may_have_slash=frozenset({"id"}))


@pytest.mark.parametrize("parameters", [{}, {"id": "1", "other": "2"}])
def test_path_parameters_fit_the_path(parameters: dict[str, str]) -> None:
    with pytest.raises(InvalidArguments):
        build_url("https://api.example", "/items/{id}", parameters)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "https://",
        "api.invox.jp",
        "https://user:pass@api.example",
        "https://api.example/a/../b",
        "https://api.example/?a=1",
        "https://api.example/#a",
        "https://api.example:0",
        "https://api.example:99999",
        "https://[::1",
        "https://api.example/a b",
        "",
    ],
)
def test_only_https_or_this_machine_is_a_base_address(base_url: str) -> None:
    with pytest.raises(ConfigurationError):
        build_url(base_url, "/items", {})


@pytest.mark.parametrize(
    "base_url",
    ["https://api.example/v2", "http://127.0.0.1:8080/invox", "http://[::1]:80", "http://localhost:1"],
)
def test_a_fit_base_address_is_kept(base_url: str) -> None:
    assert build_url(base_url, "/items", {}) == f"{base_url}/items"
