"""Real connections: refusals arrive, and a client's data is bounded.

uvicorn with the web worker's protocol, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from afterwards.server.http_protocol import MAX_HEAD_BYTES, BoundedHttpProtocol
from afterwards.server.transport import OneWriteTransport

DEADLINE_SECONDS = 60.0
LIMIT = 10_000  # of conftest's settings
TRIES = 20


class ImpatientProtocol(BoundedHttpProtocol):
    first_seconds = head_seconds = body_seconds = 0.2


class Server:
    """A running server; `connect` to it."""

    def __init__(
        self, app: Any, protocol: type[BoundedHttpProtocol], listener: socket.socket | None = None
    ) -> None:
        config = uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False
        )
        self.uvicorn = uvicorn.Server(config)
        self.listener = listener or socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.uvicorn.run, args=([self.listener],))
        self.thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)

    def connections(self) -> list[Any]:
        return list(self.uvicorn.server_state.connections)

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(DEADLINE_SECONDS)
        self.listener.close()


Serve = Callable[..., Server]


@pytest.fixture
def serve(app: FastAPI) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(
        protocol: type[BoundedHttpProtocol] = BoundedHttpProtocol, application: Any = app
    ) -> Server:
        servers.append(Server(application, protocol))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def answers(
    connection: socket.socket, received: bytes = b""
) -> list[tuple[int, str, dict[str, Any]]]:
    """Status, head and JSON of every answer until the server closes; resets are not forgiven."""
    while part := connection.recv(65_536):
        received += part
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        stated = re.search(rb"(?i)content-length: (\d+)", head)
        assert stated is not None
        length = int(stated[1])
        document = json.loads(received[:length])
        found.append((int(head.split()[1]), head.decode().lower(), document))
        received = received[length:]
    return found


def problem(connection: socket.socket) -> int:
    """The status of the one answer, which has to be a problem that ends the connection."""
    [(status, head, document)] = answers(connection)
    assert "content-type: application/problem+json" in head
    assert "connection: close" in head
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return status


# -- answers -----------------------------------------------------------------------------------


class RecordingTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def is_closing(self) -> bool:
        return "close" in self.calls

    def write(self, data: Any) -> None:
        self.calls.append(data)

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")


@pytest.mark.parametrize("ending", [None, "eof", "close"])
def test_what_is_written_in_one_go_is_sent_in_one_and_before_an_end(ending: str | None) -> None:
    recorder = RecordingTransport()

    async def story() -> None:
        transport = OneWriteTransport(recorder, asyncio.get_running_loop())
        for part in (b"head", b"", b"body"):
            transport.write(part)
        assert recorder.calls == []
        if ending == "eof":
            transport.write_eof()
        elif ending == "close":
            transport.close()
        await asyncio.sleep(0)
        transport.write(b"more")
        await asyncio.sleep(0)

    asyncio.run(story())
    more = [] if ending == "close" else [b"more"]
    assert recorder.calls == [b"headbody", *([ending] if ending else []), *more]


def test_clients_that_pipeline_and_hang_up_leave_no_error_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    for _ in range(TRIES):
        connection = server.connect()
        connection.sendall(get() * 3)
        # Without reading, so that it is reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    with server.connect() as connection:
        connection.sendall(get("Connection: close"))
        assert answers(connection)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while server.connections():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_an_answer_is_one_write(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    flush = OneWriteTransport._flush

    def recorded(transport: OneWriteTransport) -> None:
        if transport._parts:
            written.append(b"".join(transport._parts))
        flush(transport)

    monkeypatch.setattr(OneWriteTransport, "_flush", recorded)
    with serve().connect() as connection:
        connection.sendall(get())
        received = connection.recv(65_536)
    assert written == [received]
    assert received.endswith(b'{"status":"ok"}')


# -- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [f"Content-Length: {12 * LIMIT}", "Transfer-Encoding: chunked"],
    ids=["announced", "not announced"],
)
def test_a_client_that_sends_everything_before_it_reads_gets_its_413(
    serve: Serve, field: str
) -> None:
    server = serve()
    head = f"POST /file/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{field}\r\n\r\n"
    part = b"x" * LIMIT
    if "chunked" in field:
        part = b"%x\r\n%b\r\n" % (len(part), part)
    for _ in range(TRIES):
        with server.connect() as connection:
            connection.sendall(head.encode())
            for _ in range(12):
                connection.sendall(part)
            if "chunked" in field:
                connection.sendall(b"0\r\n\r\n")
            assert problem(connection) == 413


def test_a_client_that_asks_first_is_refused_at_once(serve: Serve) -> None:
    with serve().connect() as connection:
        connection.sendall(
            b"POST /file/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert problem(connection) == 413


# -- heads -------------------------------------------------------------------------------------


def get(*fields: str) -> bytes:
    return "\r\n".join(("GET /healthz HTTP/1.1", "Host: x", *fields, "\r\n")).encode()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(get("a: " + "x" * MAX_HEAD_BYTES), id="one long header"),
        pytest.param(get(*["a: " + "x" * 100] * 800), id="many headers"),
        pytest.param(b"GET /" + b"x" * MAX_HEAD_BYTES + get()[12:], id="a long path"),
        pytest.param(get("a: " + "x" * 10 * MAX_HEAD_BYTES)[:-4], id="without an end"),
        pytest.param(get("a" * 2 * MAX_HEAD_BYTES), id="one long name"),
    ],
)
def test_a_head_over_the_limit_is_refused_and_the_refusal_arrives(
    serve: Serve, head: bytes
) -> None:
    server = serve()
    for _ in range(TRIES):
        with server.connect() as connection:
            connection.sendall(head)
            connection.shutdown(socket.SHUT_WR)
            assert problem(connection) == 431


def test_a_large_head_behind_a_small_request_is_refused(serve: Serve) -> None:
    with serve().connect() as connection:
        connection.sendall(get() + get("a: " + "x" * MAX_HEAD_BYTES))
        assert [status for status, _, _ in answers(connection)].count(200) == 1


def test_a_head_below_the_limit_is_taken(serve: Serve) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serve().port, timeout=DEADLINE_SECONDS)
    with contextlib.closing(connection):
        for _ in range(3):
            connection.request("GET", "/healthz", headers={"a": "x" * (MAX_HEAD_BYTES - 200)})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')


def test_a_header_without_end_is_not_kept(serve: Serve) -> None:
    with serve().connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\na: ")
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall(b"x" * 1_000 * MAX_HEAD_BYTES)


def test_trailers_without_end_are_refused(serve: Serve) -> None:
    with serve().connect() as connection:
        connection.sendall(
            b"POST /file/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\na: " + b"x" * 8 * MAX_HEAD_BYTES
        )
        assert problem(connection) == 431


@pytest.mark.parametrize("start", [b"G", get("a: b")[:-2]], ids=["one byte", "all but the end"])
def test_a_head_that_does_not_end_in_time_is_given_up(serve: Serve, start: bytes) -> None:
    with serve(ImpatientProtocol).connect() as connection:
        connection.sendall(start)
        assert problem(connection) == 408


def test_a_head_that_trickles_in_is_given_up_all_the_same(serve: Serve) -> None:
    server = serve(ImpatientProtocol)
    with server.connect() as connection, contextlib.suppress(OSError):
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\na: ")
        connection.settimeout(0.01)
        received = b""
        while not received:
            assert time.monotonic() < began + DEADLINE_SECONDS
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                received = connection.recv(1_000)
        assert received.startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_never_says_anything_is_closed(serve: Serve) -> None:
    with serve(ImpatientProtocol).connect() as connection:
        assert connection.recv(1) == b""


HALF_A_BODY = (
    b"POST /file/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b'Content-Length: 100\r\n\r\n{"content"'
)


def test_a_body_that_falls_silent_is_given_up(serve: Serve) -> None:
    with serve(ImpatientProtocol).connect() as connection:
        connection.sendall(HALF_A_BODY)
        assert problem(connection) == 408


def test_a_body_that_comes_slowly_but_steadily_is_taken(serve: Serve) -> None:
    pause = threading.Event()
    with serve(ImpatientProtocol).connect() as connection:
        connection.sendall(HALF_A_BODY.partition(b"{")[0])
        for byte in b'{"content":{}}'.ljust(100):
            connection.sendall(bytes([byte]))
            pause.wait(ImpatientProtocol.body_seconds / 20)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 202 ")


def test_an_application_that_reads_slowly_is_no_silent_client(serve: Serve) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(5 * ImpatientProtocol.body_seconds)
        while (message := await receive()).get("more_body"):
            pass
        assert message["type"] == "http.request"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    size = 10_000_000
    with serve(ImpatientProtocol, slow).connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        connection.sendall(bytes(size))
        assert connection.recv(1_000).startswith(b"HTTP/1.1 204 ")


def test_an_answer_that_did_not_need_the_body_is_the_only_one(serve: Serve) -> None:
    with serve(ImpatientProtocol).connect() as connection:
        connection.sendall(HALF_A_BODY.replace(b"/file/", b"/nowhere"))
        [(status, _, _)] = answers(connection)
        assert status == 404


def is_awaited(connection: Any) -> bool:
    """True if the rest of a request is waited for."""
    return connection._late in (connection._head_is_late, connection._body_is_late)


@pytest.mark.parametrize("beginning", [HALF_A_BODY, HALF_A_BODY[:30]], ids=["body", "head"])
def test_a_server_that_stops_does_not_wait_for_the_rest_of_a_request(
    serve: Serve, beginning: bytes
) -> None:
    server = serve()
    with server.connect() as connection:
        connection.sendall(beginning)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not any(is_awaited(each) for each in server.connections()):
            assert time.monotonic() < deadline
        for each in server.connections():
            each.loop.call_soon_threadsafe(each.hasten)
        assert problem(connection) == 408


def test_a_connection_in_use_is_not_given_up(serve: Serve) -> None:
    server = serve(ImpatientProtocol)
    end = time.monotonic() + 3 * ImpatientProtocol.head_seconds
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    with contextlib.closing(connection):
        while time.monotonic() < end:
            head = get()
            if connection.sock is None:
                connection.connect()
            connection.sock.sendall(head[:10])
            connection.sock.sendall(head[10:])
            answer = http.client.HTTPResponse(connection.sock)
            answer.begin()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize(
    "request_bytes",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"\x16\x03\x01\x02\x00"],
)
def test_what_is_no_request_is_answered_with_a_problem(serve: Serve, request_bytes: bytes) -> None:
    with serve().connect() as connection:
        connection.sendall(request_bytes)
        assert problem(connection) == 400


@pytest.mark.parametrize("successor", [b"nonsense\r\n\r\n", get("a: " + "x" * MAX_HEAD_BYTES)])
def test_a_whole_request_is_answered_before_the_connection_ends_for_its_successor(
    serve: Serve, successor: bytes
) -> None:
    refused = threading.Event()

    class TellingProtocol(BoundedHttpProtocol):
        def _refuse(self, *reason: Any) -> None:
            super()._refuse(*reason)
            refused.set()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(refused.wait, DEADLINE_SECONDS)
        headers = [(b"content-length", b"15")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"status":"ok"}'})

    with serve(TellingProtocol, late).connect() as connection:
        connection.sendall(get() + successor)
        [(status, head, document)] = answers(connection)
        assert (status, document) == (200, {"status": "ok"})
        assert "connection: close" in head


@pytest.mark.parametrize("of_it", [10, MAX_HEAD_BYTES - 100])
def test_a_large_head_is_refused_wherever_it_begins_in_what_is_received(
    serve: Serve, of_it: int
) -> None:
    successor = get("a: " + "x" * MAX_HEAD_BYTES)
    with serve().connect() as connection:
        connection.sendall(get() + successor[:of_it])
        assert connection.recv(1) == b"H"  # the beginning of the first answer
        connection.sendall(successor[of_it:])
        assert [status for status, *_ in answers(connection, b"H")] == [200, 431]


def test_a_head_that_is_not_too_large_is_read_wherever_it_begins(serve: Serve) -> None:
    successor = get("a: " + "x" * (MAX_HEAD_BYTES - 1_000))
    body = b"y" * 9_000
    first = (
        b"POST /notify/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 9000\r\n\r\n" + body
    )
    with serve().connect() as connection:
        connection.sendall(first + successor[:-2_000])
        assert connection.recv(1) == b"H"
        connection.sendall(successor[-2_000:] + get("Connection: close"))
        assert [status for status, *_ in answers(connection, b"H")] == [422, 200, 200]


def test_a_request_that_turns_out_bad_while_it_is_answered_ends_without_a_second_answer(
    serve: Serve,
) -> None:
    ended = threading.Event()

    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    with serve(application=half).connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        received = b""
        while b"half" not in received:
            received += connection.recv(1_000)
        connection.sendall(b"nonsense\r\n")
        while part := connection.recv(1_000):
            received += part
        assert received.count(b"HTTP/1.1") == 1
        assert ended.wait(DEADLINE_SECONDS)


def test_refused_connections_are_let_go(serve: Serve) -> None:
    server = serve(ImpatientProtocol)
    for _ in range(TRIES):
        with server.connect() as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert problem(connection) == 400
    deadline = time.monotonic() + DEADLINE_SECONDS
    while server.connections():
        assert time.monotonic() < deadline
        time.sleep(0.01)
