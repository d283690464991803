"""HTTP/1.1 that costs little: prepared bytes go out, a status and a body come in.

A client that takes as long as the server would measure itself; this one takes a few microseconds.
It understands what the service and the bare application answer, and no more: a Content-Length.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from loadtests.errors import LoadTestError

_CHUNK_BYTES: Final = 65_536
_TIMEOUT_SECONDS: Final = 60.0
_END_OF_HEAD: Final = b"\r\n\r\n"

Address = tuple[str, int]


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    body: bytes


def get(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: Mapping[str, object]) -> bytes:
    """A POST request with a JSON body."""
    content = json.dumps(dict(body)).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Connection:
    """One connection, kept alive; one request at a time.

    Args:
        token: of a key, which is sent with each request; empty: none is.

    Raises:
        OSError: there is no listener, or the connection was closed.
    """

    def __init__(self, address: Address, token: str = "") -> None:
        self._authorization = f"\r\nAuthorization: Bearer {token}\r\n".encode() if token else b""
        self._socket = socket.create_connection(address, timeout=_TIMEOUT_SECONDS)
        # Without it a request waits for the acknowledgement of the one before.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        """Send a request whose answer is taken by `receive`."""
        if self._authorization:
            # After the request line, which ends with the first of these.
            request = request.replace(b"\r\n", self._authorization, 1)
        self._socket.sendall(request)

    def receive(self) -> Answer | None:
        """Take what has come, waiting for it if need be; None: the answer is not whole yet."""
        chunk = self._socket.recv(_CHUNK_BYTES)
        if not chunk:
            raise ConnectionResetError("the server has closed the connection")
        self._received += chunk
        answer = parse(self._received)
        if answer is not None:
            self._received = b""
        return answer

    def exchange(self, request: bytes) -> Answer:
        """Send a request and wait for its answer."""
        self.send(request)
        while (answer := self.receive()) is None:
            pass
        return answer

    def expect(self, status: int, request: bytes) -> bytes:
        """The body of the answer to a request.

        Raises:
            LoadTestError: it has another status.
        """
        return checked(status, self.exchange(request))


def parse(received: bytes) -> Answer | None:
    """One answer; None if it is not whole.

    Raises:
        LoadTestError: it is of a kind that this client does not understand.
    """
    head, end, body = received.partition(_END_OF_HEAD)
    if not end:
        return None
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise LoadTestError(f"an answer without a Content-Length: {head!r}")
    if len(body) < int(rest.partition(b"\r\n")[0]):
        return None
    return Answer(int(head[9:12]), body)


def checked(status: int, answer: Answer) -> bytes:
    """The body, if it is the answer that was expected."""
    if answer.status != status:
        raise LoadTestError(f"answered {answer.status}, not {status}: {answer.body[:500]!r}")
    return answer.body


def id_in(body: bytes) -> str:
    """The id of an accepted task: `/tasks` answers all of it, other routes what their API says.

    Of a batch, the id of its first task.
    """
    accepted = json.loads(body)
    [accepted, *_] = accepted.get("tasks", [accepted])
    task_id: str = accepted.get("task_id") or accepted["id"]
    return task_id


class Submitted(NamedTuple):
    """Tasks that were accepted."""

    task_ids: list[str]
    started: float
    """The moment at which the first was sent (`time.perf_counter`)."""
    ended: float
    """The moment at which the last was accepted."""


def submit(address: Address, request: bytes, number: int, connections: int) -> Submitted:
    """Send a request exactly so many times, over so many connections at once.

    Raises:
        LoadTestError: one was not answered 202.
    """
    task_ids: list[str] = []
    with selectors.DefaultSelector() as selector:
        clients = [Connection(address) for _ in range(min(connections, number))]
        for client in clients:
            selector.register(client, selectors.EVENT_READ, client)
        started = time.perf_counter()
        for client in clients:
            client.send(request)
        sent = len(clients)
        while len(task_ids) < number:
            for key, _ in selector.select(_TIMEOUT_SECONDS):
                client = key.data
                answer = client.receive()
                if answer is None:
                    continue
                task_ids.append(id_in(checked(202, answer)))
                if sent < number:
                    client.send(request)
                    sent += 1
        ended = time.perf_counter()
    for client in clients:
        client.__exit__()
    return Submitted(task_ids, started, ended)
