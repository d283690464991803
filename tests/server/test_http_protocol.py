"""The bounds of one client: waiting requests, unread answers, idle connections."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from afterwards.server import http_protocol
from afterwards.server.http_protocol import MAX_WAITING, BoundedHttpProtocol
from tests.api.test_connections import DEADLINE_SECONDS, Server

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CODING = b"Transfer-Encoding"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def empty(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body"})


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(
        application: Any = empty, protocol: type[BoundedHttpProtocol] = BoundedHttpProtocol
    ) -> Server:
        servers.append(Server(application, protocol))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def closes(connection: socket.socket) -> bool:
    """True if the server ends the connection; its end may be a reset."""
    try:
        received(connection)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("part_bytes", [None, 1_000, 7])
def test_so_many_requests_of_a_connection_wait_and_all_are_answered(
    serve: Serve, part_bytes: int | None
) -> None:
    most = 0

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        nonlocal most
        most = max(most, *(len(connection.pipeline) for connection in server.connections()))
        await asyncio.sleep(0)
        await empty(scope, receive, send)

    server = serve(watched)
    number = 5_000 if part_bytes is None else 200
    data = GET * number + LAST
    with server.connect() as connection:
        step = part_bytes or len(data)
        parts = [data[at : at + step] for at in range(0, len(data), step)]
        sender = threading.Thread(target=lambda: [*map(connection.sendall, parts)])
        sender.start()
        assert received(connection).count(b"HTTP/1.1 200 OK") == number + 1
        sender.join()
    assert most <= MAX_WAITING


@pytest.mark.parametrize("split", range(len(GET) - 6, len(GET)))
def test_a_head_that_ends_in_the_part_of_the_next_lets_no_more_wait(
    serve: Serve, split: int
) -> None:
    begun = threading.Event()
    goes_on = threading.Event()

    async def held(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.to_thread(goes_on.wait, DEADLINE_SECONDS)
        await empty(scope, receive, send)

    server = serve(held)
    with server.connect() as connection:
        connection.sendall(GET)
        assert begun.wait(DEADLINE_SECONDS)
        [protocol] = server.connections()
        parts = [*[GET] * (MAX_WAITING - 1), GET[:split], GET[split:] + GET]
        for part in parts:
            protocol.loop.call_soon_threadsafe(protocol.data_received, part)
        done = threading.Event()
        protocol.loop.call_soon_threadsafe(done.set)
        assert done.wait(DEADLINE_SECONDS)
        assert MAX_WAITING - 1 <= len(protocol.pipeline) <= MAX_WAITING
        goes_on.set()


def test_requests_with_bodies_wait_in_order(serve: Serve) -> None:
    bodies: list[bytes] = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        bodies.append(body)
        await empty(scope, receive, send)

    sent = [b"\r\n\r\n" * n for n in range(60)]
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with serve(keep).connect() as connection:
        connection.sendall(b"".join(head % len(body) + body for body in sent) + LAST)
        received(connection)
    assert bodies == [*sent, b""]


@pytest.mark.parametrize("more", [False, True], ids=["a whole answer", "a stream"])
def test_what_is_not_read_is_not_kept_for_ever(serve: Serve, more: bool) -> None:
    class Impatient(BoundedHttpProtocol):
        stall_seconds: ClassVar[float] = 0.2

    async def large(scope: Any, receive: Any, send: Any) -> None:
        body = b"x" * 20_000_000
        headers = [(b"content-length", b"%d" % (len(body) * (1 + more)))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": more})
        if more:
            await send({"type": "http.response.body", "body": body})

    server = serve(large, Impatient)
    with server.connect() as connection:
        connection.sendall(GET)
        assert connection.recv(1)
        wait_until_gone(server)


def wait_until_gone(server: Server) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while server.connections():
        assert time.monotonic() < deadline, "the connection is still there"
        time.sleep(0.01)


def test_who_reads_slowly_gets_all(serve: Serve) -> None:
    class Impatient(BoundedHttpProtocol):
        stall_seconds: ClassVar[float] = 0.3

    async def large(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"12000000"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 12_000_000})

    with serve(large, Impatient).connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sendall(GET)
        total = 0
        while part := connection.recv(200_000):
            total += len(part)
            time.sleep(0.01)  # slower than the limit, as a whole, and never silent
    assert total > 12_000_000


@pytest.mark.parametrize(
    "sizes", [[8_000_000] * 10, [8_000_000, 48_000_000]], ids=["equal", "growing"]
)
def test_who_reads_steadily_gets_one_part_after_the_other(serve: Serve, sizes: list[int]) -> None:
    class Impatient(BoundedHttpProtocol):
        stall_seconds: ClassVar[float] = 0.3

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.set_write_buffer_limits(high=0)  # as among other connections

    async def parts(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % sum(sizes)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for size in sizes:
            await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
        await send({"type": "http.response.body"})

    with serve(parts, Impatient).connect() as connection:
        connection.sendall(GET)
        total = 0
        while part := connection.recv(65_536):
            if total // 8_000_000 < (total + len(part)) // 8_000_000:
                time.sleep(0.1)  # so that most of a part is unsent most of the time
            total += len(part)
    assert total > sum(sizes)


def test_line_breaks_keep_no_idle_connection_open(serve: Serve) -> None:
    server = serve()
    with server.connect() as quiet, server.connect() as breaking:
        for connection in (quiet, breaking):
            connection.sendall(GET)
            assert connection.recv(1_000)
        for connection in server.connections():
            # Shorter than by default, for both.
            connection.loop.call_soon_threadsafe(shorten, connection)
        breaking.sendall(b"\r\n")
        assert closes(quiet)
        assert closes(breaking)


def shorten(connection: Any) -> None:
    connection.timeout_keep_alive_task.cancel()
    connection.timeout_keep_alive_task = connection.loop.call_later(
        0.3, connection.timeout_keep_alive_handler
    )


def test_a_body_that_never_falls_silent_has_a_limit_too(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", 0.3)

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    with serve(reads).connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        connection.settimeout(0.02)
        answer = b""
        for _ in range(100):
            connection.sendall(b"x")
            try:
                answer = connection.recv(1_000)
                break
            except TimeoutError:
                continue
    assert b"408" in answer.split(b"\r\n")[0]
    assert b"one more for each 1024 bytes" in answer


def test_a_client_that_closes_its_sending_side_gets_its_answers(serve: Serve) -> None:
    async def late(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        await empty(scope, receive, send)

    with serve(late).connect() as connection:
        connection.sendall(GET * 3)
        connection.shutdown(socket.SHUT_WR)
        assert received(connection).count(b"HTTP/1.1 200 OK") == 3


def test_a_stream_ends_with_the_client_s_sending_side(serve: Serve) -> None:
    ended = threading.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    with serve(stream).connect() as connection:
        connection.sendall(GET)
        assert connection.recv(1_000)
        connection.shutdown(socket.SHUT_WR)
        assert ended.wait(DEADLINE_SECONDS)


# -- HTTP to the letter ------------------------------------------------------------------------


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The path, the query and the host, without a length."""
    host = dict(scope["headers"]).get(b"host", b"none").decode()
    said = f"{scope['path']} {scope['query_string'].decode()} {host}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in said.split(" "):
        message = {"type": "http.response.body", "body": part.encode() + b" ", "more_body": True}
        await send(message)
    await send({"type": "http.response.body", "body": b"end"})


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\n%b: gzip\r\n%b: chunked\r\n\r\n" % (CODING, CODING), 501),
    ],
)
def test_a_head_that_http_forbids_is_refused(serve: Serve, head: bytes, status: int) -> None:
    with serve(echo).connect() as connection:
        connection.sendall(head)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (b"http://there.example", "/  there.example end"),
        (b"http://there.example?a=b", "/ a=b there.example end"),
        (b"http://there.example:81/x?a", "/x a there.example:81 end"),
        (b"/x", "/x  here end"),
    ],
)
def test_a_whole_url_as_target_is_a_path_and_a_host(serve: Serve, target: bytes, said: str) -> None:
    with serve(echo).connect() as connection:
        connection.sendall(b"GET %b HTTP/1.0\r\nHost: here\r\n\r\n" % target)
        assert received(connection).partition(b"\r\n\r\n")[2].decode() == said


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the request's method, path, headers and body."""
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    body += message.get("body", b"")
    headers = b",".join(b"%b=%b" % header for header in scope["headers"])
    said = b"<%b %b %b|%b>" % (scope["method"].encode(), scope["raw_path"], headers, body)
    length = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": said})


HIDDEN = b"POST /hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def test_a_whole_url_brings_its_host_where_there_is_no_other(serve: Serve) -> None:
    with serve(tell).connect() as connection:
        connection.sendall(b"GET http://there.example/x HTTP/1.0\r\n\r\n")
        assert b"<GET /x host=there.example|>" in received(connection)


@pytest.mark.parametrize("step", [None, 1, 50])
@pytest.mark.parametrize(
    "options", [b"Upgrade", b"Upgrade, HTTP2-Settings", b"keep-alive, upgrade"]
)
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0, x"])
def test_who_asks_for_another_protocol_is_answered_in_this_one(
    serve: Serve, protocol: bytes, options: bytes, step: int | None
) -> None:
    asks = b"Host: x\r\nConnection: %b\r\nUpgrade: %b\r\nHTTP2-Settings: a\r\n" % (
        options,
        protocol,
    )
    data = (
        b"POST /a HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (asks, len(HIDDEN), HIDDEN)
        + b"GET /b HTTP/1.1\r\n%b\r\n" % asks
        + b"POST /c HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" % asks
        + b"GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    with serve(tell).connect() as connection:
        for at in range(0, len(data), step or len(data)):
            connection.sendall(data[at : at + (step or len(data))])
        answers = received(connection)
    assert answers.count(b"HTTP/1.1 200 ") == 4
    bodies = [b"|%b>" % HIDDEN, b"|>", b"|ok>", b"|>"]
    for path, body in zip((b"POST /a", b"GET /b", b"POST /c", b"GET /d"), bodies, strict=True):
        _, _, rest = answers.partition(b"<%b " % path)
        assert body in rest
        assert b"upgrade" not in rest.partition(b"|")[0].lower()


def test_a_tunnel_is_refused(serve: Serve) -> None:
    with serve(tell).connect() as connection:
        connection.sendall(b"CONNECT there.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("split", [False, True])
def test_trailers_are_no_headers(serve: Serve, split: bool) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n"
    head += b"Connection: close\r\n\r\n"
    rest = b"2\r\nok\r\n0\r\nHost: x\r\nOrigin: http://x\r\nIdempotency-Key: t\r\n\r\n"
    with serve(tell).connect() as connection:
        for part in (head, rest) if split else (head + rest,):
            connection.sendall(part)
        answer = received(connection)
    assert b"host=evil.example," in answer
    assert b"|ok>" in answer
    for name in (b"host=x", b"origin", b"idempotency-key"):
        assert name not in answer


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_chunks_are_sent_to_who_knows_them(serve: Serve, version: bytes) -> None:
    with serve(echo).connect() as connection:
        connection.sendall(b"GET / HTTP/%b\r\nHost: h\r\nConnection: close\r\n\r\n" % version)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    knows = version == b"1.1"
    assert (b"transfer-encoding: chunked" in head.lower()) is knows
    assert body.startswith(b"2\r\n/ \r\n" if knows else b"/  h end")


def test_a_refusal_has_a_request_id_and_is_noted(serve: Serve) -> None:
    class Application:
        noted: ClassVar[list[int]] = []

        class state:  # noqa: N801 - what an application calls it
            @staticmethod
            def note_refusal(status: int) -> str:
                Application.noted.append(status)
                return "id-7"

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await empty(scope, receive, send)

    with serve(Application()).connect() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert b"X-Request-ID: id-7\r\n" in received(connection)
    assert Application.noted == [400]
