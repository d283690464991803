"""Limits of connections and of unread answers: from the settings to a real service's sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Self

import pytest

from afterwards.server.connections import BYTES_IN_FLIGHT, SHARE
from tests.integration.conftest import Service, started

LIMIT = 32
PAGE_BYTES = 4 * 2**20
STRANGER, PROXY = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(
        tmp_path_factory.mktemp("service"),
        workers="1",
        max_connections=str(LIMIT),
        trusted_proxies=PROXY,
    )
    with started(service):
        yield service


class Peers:
    """Connections that are kept open, each after a request."""

    def __init__(self, service: Service) -> None:
        self._port = int(service.address.rpartition(":")[2])
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def connect(self, address: str) -> http.client.HTTPConnection:
        """One that has been answered, from this address."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=20, source_address=(address, 0)
        )
        self._stack.enter_context(closing(connection))
        assert is_answered(connection)
        return connection


def is_answered(connection: http.client.HTTPConnection) -> bool:
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200


def is_open(connection: http.client.HTTPConnection) -> bool:
    connection.auto_open = 0
    try:
        return is_answered(connection)
    except (http.client.RemoteDisconnected, http.client.NotConnected, OSError):
        return False


def test_an_address_holds_a_quarter_of_the_connections_and_a_trusted_proxy_all(
    service: Service,
) -> None:
    with Peers(service) as peers:
        strangers = [peers.connect(STRANGER) for _ in range(LIMIT // SHARE + 2)]
        assert [is_open(one) for one in strangers] == [False] * 2 + [True] * (LIMIT // SHARE)

        proxies = [peers.connect(PROXY) for _ in range(LIMIT)]
        assert not any(is_open(one) for one in strangers)
        assert all(is_open(one) for one in proxies)
        peers.connect(PROXY)
        assert [is_open(one) for one in proxies] == [False] + [True] * (LIMIT - 1)


def test_who_reads_nothing_is_refused_large_answers_and_checks_of_health_are_not(
    service: Service,
) -> None:
    for _ in range(5):
        service.submit("/file/", {"content": {"text": "x" * 1_000_000}})
    page = service.get("/tasks")
    assert len(page.content) > PAGE_BYTES * 0.9

    with ExitStack() as unread:
        fit = BYTES_IN_FLIGHT // SHARE // len(page.content)
        for _ in range(fit):
            connection = unread.enter_context(unread_page(service))
            assert connection.recv(12) == b"HTTP/1.1 200"

        refused = service.get("/tasks")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert service.get("/healthz").status_code == 200


def unread_page(service: Service) -> socket.socket:
    """A connection from the tests' own address, whose answer is on its way."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", int(service.address.rpartition(":")[2])))
    connection.sendall(b"GET /tasks HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection
