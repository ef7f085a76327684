"""What may happen before an answer: names, TLS, connecting, sending."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from faults.house import FREE_DOCUMENTS, POST, STORE, UPLOAD, House, document, open_house
from providers.raw_server import Peer, answering, http, raw_server
from seikyu.providers.http import HttpAnswer, HttpEdge, json_body
from seikyu.providers.wire import no_fence
from seikyu.settings import Timing
from seikyu.spec import NotSent

OK = http("200 OK", b"{}")


@pytest.mark.fault("F19")
async def test_a_provider_that_is_not_there_gets_nothing_and_the_approval_waits_for_it(house: House) -> None:
    house.steps.at["claimed"] = house.wire.deafen
    told = await house.register()
    before, card = house.effects(), await house.operator_json("show", told["action_id"])
    await house.wire.listen()
    seen = await house.settled(told["action_id"])

    assert (told["status"], told["written"], before) == ("approved", "no", 0)
    assert "the connection failed" in card["outcome"]
    assert (seen["status"], house.effects(), house.wire.count(POST)) == ("succeeded", 1, 1)


@pytest.mark.fault("F19")
@pytest.mark.parametrize("wrong", ["expired", "another host", "plain http", "good"])
async def test_a_certificate_that_does_not_fit_is_not_sent_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    name = "example.test" if wrong == "another host" else "localhost"
    certificate, served = tmp_path / "cert.pem", [bytearray()]
    make_certificate(certificate, name, days=-1 if wrong == "expired" else 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "*")
    context = None if wrong == "plain http" else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if context is not None:
        context.load_cert_chain(certificate)
    async with tls_server(context, served) as port:
        edge = HttpEdge(write_deadline_s=9, trust_env=True)
        url = f"https://localhost:{port}/v2/transactions"
        told = await edge.write("POST", url, headers={"apikey": "secret"}, body=json_body({}), fence=no_fence)

    assert isinstance(told, HttpAnswer if wrong == "good" else NotSent)
    assert (b"apikey" in served[0]) is (wrong == "good")
    is_told = isinstance(told, NotSent) and "its certificate is not trusted" in told.reason.en
    assert is_told is (wrong in {"expired", "another host"})


@pytest.mark.fault("F20")
async def test_a_provider_that_does_not_take_the_connection_gets_nothing(tmp_path: Path) -> None:
    async with open_house(tmp_path, timing=Timing(write_s=8, read_s=3)) as house:
        fillers: list[socket.socket] = []
        house.steps.at["claimed"] = lambda: fillers.extend(stuff_backlog(house))
        began = time.monotonic()
        told = await house.register()
        took_s = time.monotonic() - began
        for filler in fillers:
            filler.close()
        await house.wire.listen()
        seen = await house.settled(told["action_id"])

        assert (told["status"], told["written"]) == ("approved", "no")
        assert 4 < took_s < 7
        assert (seen["status"], house.effects()) == ("succeeded", 1)


@pytest.mark.fault("F21")
async def test_an_upload_that_stalls_halfway_is_unknown_at_the_writes_deadline(tmp_path: Path) -> None:
    async with open_house(tmp_path, FREE_DOCUMENTS, with_invox=True) as house:
        house.wire.stalled.add(UPLOAD)
        began = time.monotonic()
        told = await house.view("upload_e_storage_document", **document(house, more=b"%" * 20_000_000))
        took_s = time.monotonic() - began
        house.wire.stalled.clear()
        for _ in range(10):
            await house.pass_time(60)
        seen = await house.view("get_action", action_id=told["action_id"])

        assert (told["status"], told["written"]) == ("unknown", "unknown")
        assert took_s < house.home.settings.timing.write_s + 3
        assert (seen["status"], house.wire.count(UPLOAD), house.effects(STORE)) == ("manual_review", 0, 0)


@pytest.mark.fault("F25")
async def test_a_kept_connection_that_is_reset_costs_a_read_another_try_and_a_write_never_uses_one() -> None:
    async def answers_once_then_resets(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()
        peer.cut()

    async with raw_server(answers_once_then_resets, answering(OK, OK, OK)) as server:
        edge = HttpEdge()
        first = await edge.read(f"{server.url}/a", headers={})
        second = await edge.read(f"{server.url}/b", headers={})
        told = await edge.write("POST", f"{server.url}/c", headers={}, body=json_body({}), fence=no_fence)
        await edge.aclose()

    assert isinstance(told, HttpAnswer)
    assert (first.status, second.status) == (200, 200)
    assert [heard.count(b"GET /b") for heard in server.heard] == [1, 1, 0]
    assert server.heard[2].startswith(b"POST /c")


@asynccontextmanager
async def tls_server(context: ssl.SSLContext | None, served: list[bytearray]) -> AsyncGenerator[int]:
    """Says OK to one who shakes hands; what it heard is in `served`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            if context is None:
                served[0] += await reader.read(1)
            else:
                served[0] += await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


def make_certificate(path: Path, name: str, *, days: int) -> None:
    """A self-signed certificate with its key; one of minus days is over since that long."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))


def stuff_backlog(house: House) -> list[socket.socket]:
    """In place of the provider, a socket that listens and never takes a connection, its queue full."""
    house.wire.deafen()
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deaf.bind(("127.0.0.1", house.wire.port))
    deaf.listen(0)
    fillers = [deaf]
    for _ in range(3):
        filler = socket.socket()
        filler.settimeout(0)
        filler.connect_ex(("127.0.0.1", house.wire.port))
        fillers.append(filler)
    return fillers
