"""Connections that share a worker's room, on a real server; addresses are those of loopback."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from afterwards.server.admission import ROOM, AdmittedHttpProtocol
from afterwards.server.connections import BYTES_IN_FLIGHT, SHARE, Connections
from tests.api.test_connections import DEADLINE_SECONDS, Server
from tests.server.test_http_protocol import GET, closes, received

HEALTH = b"GET /healthz?a HTTP/1.1\r\nHost: x\r\n\r\n"
WAITING = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"


class Application:
    """Answers at once, but for `/wait`, which begins a stream, and `/large`."""

    class state:  # noqa: N801 - what an application calls it
        always_answered = frozenset({"/healthz"})
        note_refusal: ClassVar[Callable[[int], str]] = staticmethod(lambda _status: "id-7")

    length = 4 * 2**20

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more, status = b"ok", scope["path"] == "/wait", 200
        while scope["method"] == "POST" and (await receive()).get("more_body"):
            pass
        if scope["path"] == "/large":
            must = scope["method"] != "GET"
            has_room = scope["extensions"][ROOM](self.length, must=must) or must
            status, body = (200, b"x" * self.length) if has_room else (503, b"full")
        headers = [] if more else [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": more})
        if more:
            while (await receive())["type"] != "http.disconnect":
                pass


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(limit: int, trusted: tuple[str, ...] = ()) -> Server:
        connections = Connections(limit, trusted)
        protocol: Any = functools.partial(AdmittedHttpProtocol, connections=connections)
        servers.append(Server(Application(), protocol))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Makes a connection from `127.0.0.<number>`; all are closed in the end."""
    made: list[socket.socket] = []

    def new(server: Server, number: int, send: bytes = b"", buffer_bytes: int = 0) -> socket.socket:
        connection = socket.socket()
        made.append(connection)
        connection.settimeout(DEADLINE_SECONDS)
        if buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        connection.bind((f"127.0.0.{number}", 0))
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(send)
        return connection

    yield new
    for connection in made:
        connection.close()


Connect = Callable[..., socket.socket]


def answer(connection: socket.socket) -> bytes:
    """The first answer's status and what came with it."""
    return connection.recv(65_536)


def test_the_longest_idle_connection_closes_for_a_new_one(serve: Serve, connect: Connect) -> None:
    server = serve(8)
    idle = [connect(server, number, GET) for number in range(1, 9)]
    assert all(answer(connection).startswith(b"HTTP/1.1 200") for connection in idle)
    idle[0].sendall(GET)
    assert answer(idle[0])
    assert answer(connect(server, 9, GET)).startswith(b"HTTP/1.1 200")
    assert closes(idle[1])
    for connection in (idle[0], *idle[2:]):
        connection.sendall(GET)
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_an_address_takes_no_place_of_another_s(serve: Serve, connect: Connect) -> None:
    server = serve(4 * SHARE)
    other = connect(server, 2, GET)
    assert answer(other)
    greedy = [connect(server, 3, GET) for _ in range(30)]
    assert answer(greedy[-1]).startswith(b"HTTP/1.1 200")
    assert all(closes(connection) for connection in greedy[:26])
    other.sendall(GET)
    assert answer(other).startswith(b"HTTP/1.1 200")


def test_when_all_are_busy_checks_of_health_get_in_and_others_are_told(
    serve: Serve, connect: Connect
) -> None:
    server = serve(SHARE)
    busy = [connect(server, number, WAITING) for number in range(1, SHARE + 1)]
    assert all(answer(connection) for connection in busy)
    refused = received(connect(server, 9, GET))
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in refused
    assert b"no room for another connection" in refused
    for number in range(10, 60):
        checked = received(connect(server, number, HEALTH))
        assert checked.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in checked
    busy[0].close()
    assert wait_for_room(lambda: answer(connect(server, 9, GET)).startswith(b"HTTP/1.1 200"))


def wait_for_room(is_there: Callable[[], bool]) -> bool:
    return any(is_there() for _ in range(1_000))


def test_silent_connections_keep_no_check_of_health_out(serve: Serve, connect: Connect) -> None:
    server = serve(SHARE)
    busy = [connect(server, number, WAITING) for number in range(1, SHARE + 1)]
    assert all(answer(connection) for connection in busy)
    for _ in range(100):
        connect(server, 9)
    assert received(connect(server, 10, HEALTH)).startswith(b"HTTP/1.1 200 ")


def large(method: bytes) -> bytes:
    return method + b" /large HTTP/1.1\r\nHost: x\r\n\r\n"


def test_what_is_not_read_has_a_share_of_an_address_and_a_limit(
    serve: Serve, connect: Connect
) -> None:
    server = serve(400)

    def fill(number: int) -> list[socket.socket]:
        """Ask until there is no room; read nothing but the beginning of the answers."""
        asked: list[socket.socket] = []
        while True:
            asked.append(connect(server, number, large(b"GET"), 4096))
            if not asked[-1].recv(12).endswith(b"200"):
                return asked[:-1]

    share = BYTES_IN_FLIGHT // SHARE // Application.length
    first = fill(1)
    assert len(first) >= share  # the kernel has taken some of each
    for number in range(2, SHARE + 1):
        fill(number)
    assert answer(connect(server, 9, large(b"GET"))).startswith(b"HTTP/1.1 503")
    assert answer(connect(server, 9, GET)).startswith(b"HTTP/1.1 200")
    # What has to be answered is.
    must = connect(server, 9, large(b"POST"))
    assert answer(must).startswith(b"HTTP/1.1 200")
    must.close()
    for connection in first:
        connection.close()
    assert wait_for_room(
        lambda: answer(connect(server, 9, large(b"GET"))).startswith(b"HTTP/1.1 200")
    )


def test_bodies_that_are_not_whole_have_a_share_of_an_address_and_a_limit(
    serve: Serve, connect: Connect
) -> None:
    server = serve(400)
    part = b"x" * 1_000_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    unfinished = head % (len(part) + 1) + part

    def fill(number: int, most: int) -> list[socket.socket]:
        """Begin bodies until one is refused."""
        begun: list[socket.socket] = []
        while len(begun) < most:
            begun.append(connect(server, number, unfinished))
            begun[-1].settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                assert begun[-1].recv(12).endswith(b"503")
                return begun[:-1]
        raise AssertionError("none was refused")

    share = BYTES_IN_FLIGHT // SHARE // len(part)
    first = fill(1, share + 2)
    assert share - 1 <= len(first) <= share
    for connection in first:
        connection.sendall(b"x")
        assert answer(connection).startswith(b"HTTP/1.1 200")
    again = connect(server, 1, head % len(part) + part)
    assert answer(again).startswith(b"HTTP/1.1 200")


def test_who_reads_all_it_asks_for_always_has_room(serve: Serve, connect: Connect) -> None:
    connection = connect(serve(4), 1)
    for _ in range(2 * BYTES_IN_FLIGHT // SHARE // Application.length):
        connection.sendall(large(b"GET"))
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        assert data.startswith(b"HTTP/1.1 200")
        left = Application.length - len(data.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(connection.recv(min(left, 1 << 20)))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_client_has_the_address_that_people_write(host: str) -> None:
    async def echo(scope: Any, _receive: Any, send: Any) -> None:
        body = scope["client"][0].encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    protocol: Any = functools.partial(AdmittedHttpProtocol, connections=Connections(10))
    server = Server(echo, protocol, listener)
    try:
        with socket.create_connection((host, server.port), timeout=DEADLINE_SECONDS) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: client.recv(65536), b""))
        assert said.endswith(f"\r\n\r\n{host}".encode())
    finally:
        server.stop()
