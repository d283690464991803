"""Requests to a real server of HTTP, with its faults."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from afterwards.outgoing.calls import Answer, Call, NotInTime, Unanswered
from afterwards.outgoing.client import Outgoing
from afterwards.outgoing.reach import Address, Reach, Refused, networks_of
from tests.outgoing.http_server import Handle, Server, answer, listening, serving

pytestmark = pytest.mark.anyio

SECONDS = 20.0
LOOPBACK = networks_of(["127.0.0.0/8"])
TLS = ssl.create_default_context()


def outgoing(port: int, **options: Any) -> Outgoing:
    reach = Reach(hosts=("*",), ports=frozenset({port}), networks=LOOPBACK)
    return Outgoing(reach, tls=TLS, **options)


def call(port: int, path: str = "/", **members: Any) -> Call:
    members = {"method": "GET", "timeout_seconds": SECONDS, **members}
    return Call(url=f"http://127.0.0.1:{port}{path}", **members)


async def sent(server: Server, path: str = "/", **members: Any) -> Answer:
    async with outgoing(server.port) as client:
        return await client.send(call(server.port, path, **members))


async def test_a_request_is_sent_as_it_is_said_and_its_answer_is_given() -> None:
    async with serving({"/a?b=1": answer(201, b"made", **{"x-kind": "new"})}) as server:
        given = await sent(
            server,
            "/a?b=1",
            method="POST",
            headers=[("Content-Type", "text/plain")],
            secret_headers=[("Authorization", "Bearer s")],
            body=b"hello",
        )
    assert (given.status, given.body, given.is_whole) == (201, b"made", True)
    assert given.header("x-kind") == "new"
    assert given.header("x-none") is None
    [(method, path, headers, body)] = server.requests
    assert (method, path, body) == ("POST", "/a?b=1", b"hello")
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "content-type": "text/plain",
        "authorization": "bearer s",
        "content-length": "5",
    }


async def test_connections_are_kept() -> None:
    async with serving({"/": answer(body=b"x")}) as server, outgoing(server.port) as client:
        for _ in range(3):
            await client.send(call(server.port))
    assert (len(server.requests), server.connections) == (3, 1)


async def test_of_a_longer_answer_the_beginning_is_kept_and_its_connection_is_closed() -> None:
    long = {"/": answer(body=b"x" * 100_000)}
    async with serving(long) as server, outgoing(server.port) as client:
        given = await client.send(call(server.port, keep_bytes=1_000))
        again = await client.send(call(server.port, keep_bytes=100_000))
    assert (given.body, given.is_whole) == (b"x" * 1_000, False)
    assert (len(again.body), again.is_whole) == (100_000, True)
    assert server.connections == 2


# -- redirects ---------------------------------------------------------------------------------


async def test_a_redirect_is_not_followed_unless_that_is_asked_for() -> None:
    async with serving({"/": answer(302, location="/b"), "/b": answer()}) as server:
        assert (await sent(server)).status == 302
        followed = await sent(server, redirects=1)
    assert (followed.status, followed.url) == (200, f"http://127.0.0.1:{server.port}/b")


async def test_no_more_redirects_are_followed_than_was_said_and_never_more_than_five() -> None:
    async with serving({"/": answer(302, location="/")}) as server:
        assert (await sent(server, redirects=2)).status == 302
        assert len(server.requests) == 3
        assert (await sent(server, redirects=1_000)).status == 302
        assert len(server.requests) == 3 + 6


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "//10.0.0.1/",
        "http://127.0.0.1:22/",
        "file:///etc/passwd",
        "http://user@127.0.0.1/",
    ],
)
async def test_a_redirect_leads_nowhere_else_than_a_url_may(location: str) -> None:
    async with serving({"/": answer(302, location=location)}) as server:
        with pytest.raises(Refused):
            await sent(server, redirects=5)
    assert len(server.requests) == 1


async def test_the_fragment_of_a_redirect_is_not_sent() -> None:
    async with serving({"/": answer(302, location="/b#part"), "/b": answer()}) as server:
        assert (await sent(server, redirects=1)).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_takes_the_body_along_where_the_method_stays(status: int) -> None:
    async with serving({"/": answer(status, location="/b"), "/b": answer()}) as server:
        await sent(
            server, method="POST", redirects=1, body=b"x", headers=[("Content-Type", "text/plain")]
        )
    method, _, headers, body = server.requests[1]
    if status in (307, 308):
        assert (method, body, headers["content-type"]) == ("POST", b"x", "text/plain")
    else:
        assert (method, body) == ("GET", b"")
        assert headers.keys() == {"host"}


async def test_a_secret_is_sent_to_the_first_place_only() -> None:
    async with serving({"/": answer(307, location="/b"), "/b": answer()}) as server:
        await sent(
            server, redirects=1, headers=[("X-Plain", "1")], secret_headers=[("X-Secret", "s")]
        )
    assert [headers.get("x-secret") for *_, headers, _ in server.requests] == ["s", None]
    assert [headers.get("x-plain") for *_, headers, _ in server.requests] == ["1", "1"]


async def test_credentials_stay_with_the_origin_that_they_were_sent_to() -> None:
    async with serving({"/c": answer()}) as other:
        location = f"http://127.0.0.1:{other.port}/c"
        async with serving({"/": answer(307, location=location)}) as server:
            reach = Reach(("*",), frozenset({server.port, other.port}), LOOPBACK)
            async with Outgoing(reach, tls=TLS) as client:
                headers = [("Authorization", "Basic x"), ("Cookie", "a=b"), ("X-Plain", "1")]
                await client.send(call(server.port, redirects=1, headers=headers))
    [(*_, headers_there, _)] = other.requests
    assert headers_there.keys() == {"host", "x-plain"}


# -- TLS ---------------------------------------------------------------------------------------


def certified(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side with a certificate for a name, and a client's that trusts who signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(file)
    return theirs, ssl.create_default_context(cafile=str(file))


async def test_a_certificate_has_to_be_trusted_and_of_the_name(tmp_path: Path) -> None:
    async def loopback(*_: object) -> Sequence[Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    server = Server({"/": answer(body=b"x")})
    theirs, trusting = certified("shop.example", tmp_path)
    async with listening(server.serve, ssl=theirs) as port:
        reach = Reach(("*",), frozenset({port}), LOOPBACK)

        async def ask(host: str, tls: ssl.SSLContext) -> Answer:
            async with Outgoing(reach, tls=tls, resolve=loopback) as client:
                url = f"https://{host}:{port}/"
                return await client.send(Call(method="GET", url=url, timeout_seconds=SECONDS))

        assert (await ask("shop.example", trusting)).body == b"x"
        with pytest.raises(Unanswered, match="certificate"):
            await ask("other.example", trusting)
        with pytest.raises(Unanswered, match="certificate"):
            await ask("shop.example", TLS)
    assert len(server.requests) == 1


# -- a proxy -----------------------------------------------------------------------------------


async def test_a_proxy_gets_the_name_and_the_url_is_checked_all_the_same() -> None:
    async def unasked(*_: object) -> Sequence[Address]:
        raise AssertionError("the proxy looks names up")

    url = "http://shop.example/a"
    async with serving({url: answer(body=b"x")}) as proxy:
        address = f"http://user:p%40ss@127.0.0.1:{proxy.port}"
        reach = Reach(hosts=("shop.example",))
        async with Outgoing(reach, proxy=address, tls=TLS, resolve=unasked) as client:
            given = await client.send(Call(method="GET", url=url, timeout_seconds=SECONDS))
            for refused in ("http://other.example/", "http://shop.example:81/", "http://10.0.0.1/"):
                with pytest.raises(Refused):
                    await client.send(Call(method="GET", url=refused, timeout_seconds=SECONDS))
    assert given.body == b"x"
    [(_, target, headers, _)] = proxy.requests
    assert (target, headers["host"]) == (url, "shop.example")
    assert headers["proxy-authorization"] == "basic " + b64encode(b"user:p@ss").decode().lower()


# -- faults ------------------------------------------------------------------------------------


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    try:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)
    except ConnectionError:
        writer.close()


async def closing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    writer.close()


async def chattering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example ESMTP\r\n" * 10)
    writer.close()


async def boundless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    try:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x-more: " + b"x" * 1_000 + b"\r\n")
            await writer.drain()
    except ConnectionError:
        writer.close()


async def test_a_header_that_is_none_is_not_shown() -> None:
    async with serving({"/": answer()}) as server:
        with pytest.raises(Unanswered) as raised:
            await sent(server, secret_headers=[("Authorization", "hidden\nagain")])
    assert "hidden" not in str(raised.value)
    assert server.requests == []


@pytest.mark.parametrize("handle", [silent, dripping], ids=["silent", "dripping"])
async def test_the_time_is_for_the_whole_answer(handle: Handle) -> None:
    async with listening(handle) as port, outgoing(port) as client:
        with pytest.raises(NotInTime, match=r"no answer within 0\.3 s"):
            await client.send(call(port, timeout_seconds=0.3, keep_bytes=1_000_000))


@pytest.mark.parametrize("handle", [closing, cut_off, chattering, boundless])
async def test_what_is_no_whole_answer_is_said_to_be_none(handle: Handle) -> None:
    async with listening(handle) as port, outgoing(port) as client:
        with pytest.raises(Unanswered) as raised:
            await client.send(call(port))
    assert str(raised.value)


async def test_a_port_at_which_nobody_listens_gives_no_answer() -> None:
    async with listening(silent) as port:
        pass
    async with outgoing(port) as client:
        with pytest.raises(Unanswered, match=r".+"):
            await client.send(call(port))


async def test_a_name_is_reached_at_the_first_address_that_answers() -> None:
    looked_up: list[str] = []

    async def names(host: str, _: int) -> Sequence[Address]:
        looked_up.append(host)
        # Nothing listens at the first; the second may not be reached.
        return [ipaddress.ip_address(text) for text in ("127.0.0.2", "10.0.0.1", "127.0.0.1")]

    async with serving({"/": answer()}) as server, outgoing(server.port, resolve=names) as client:
        given = await client.send(
            Call(method="GET", url=f"http://shop.example:{server.port}/", timeout_seconds=SECONDS)
        )
    assert given.status == 200
    assert server.requests[0][2]["host"] == f"shop.example:{server.port}"
    assert looked_up == ["shop.example"]


async def test_a_name_that_changes_its_address_is_refused_when_it_is_connected_to() -> None:
    addresses = iter(["127.0.0.1", "169.254.169.254"])

    async def rebinding(*_: object) -> Sequence[Address]:
        return [ipaddress.ip_address(next(addresses))]

    closing_each = answer(connection="close")
    async with (
        serving({"/": closing_each}) as server,
        outgoing(server.port, resolve=rebinding) as client,
    ):
        url = f"http://shop.example:{server.port}/"
        request = Call(method="GET", url=url, timeout_seconds=SECONDS)
        assert (await client.send(request)).status == 200
        with pytest.raises(Refused, match="not a public address"):
            await client.send(request)


async def test_a_name_that_is_not_known_gives_no_answer() -> None:
    async def unknown(*_: object) -> Sequence[Address]:
        raise OSError("Name or service not known")

    async with outgoing(80, resolve=unknown) as client:
        with pytest.raises(Unanswered, match="Name or service not known"):
            await client.send(
                Call(method="GET", url="http://nowhere.example/", timeout_seconds=SECONDS)
            )
