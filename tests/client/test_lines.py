"""Connections: any number at once, and none left behind by calls that were given up."""

from __future__ import annotations

import asyncio
import contextlib
import linecache
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Self

import httpx
import pytest

from afterwards_client import AsyncClient, Client, ConnectionFailed, Retries, lines
from tests.client.documents import ID
from tests.client.stand import Service, Stand, connected, eventually, stand

WAITS = 110
"""More than httpx's own pool has."""

AT_ONCE = Retries(total_seconds=0)


@pytest.fixture
def running() -> Iterator[tuple[Stand, Service]]:
    with stand() as started:
        yield started, started.start(Service())


@pytest.fixture
def service(running: tuple[Stand, Service]) -> Service:
    return running[1]


@pytest.fixture(params=["Client", "AsyncClient"])
def real(request: pytest.FixtureRequest, service: Service) -> Iterator[Any]:
    """Either client, with connections of its own."""
    with connected(request.param, service.url, retries=AT_ONCE, timeout=5) as client:
        yield client


def test_any_number_of_waits_leave_room_for_a_submission(
    real: Any, running: tuple[Stand, Service]
) -> None:
    started, service = running
    with ThreadPoolExecutor(WAITS) as pool:
        waits = [pool.submit(real.wait, ID) for _ in range(WAITS)]
        eventually(lambda: service.waiting == WAITS, "all of them wait")
        try:
            assert real.submit("notification").id == ID
            assert not [wait for wait in waits if wait.done()]
        finally:
            started.call(service.finish)
        assert all(wait.result(20).succeeded for wait in waits)
    # Of that many, not all are kept.
    real.get(ID)
    eventually(lambda: service.connections <= lines.KEPT_AT_MOST, "the surplus is closed")


def test_calls_one_after_the_other_share_a_connection(real: Any, service: Service) -> None:
    seen = {(real.get(ID).id, service.connections) for _ in range(20)}
    assert seen == {(ID, 1)}


def test_a_closed_client_has_no_connections(service: Service) -> None:
    with Client(service.url, retries=AT_ONCE) as client, ThreadPoolExecutor(1) as pool:
        client.get(ID)
        wait = pool.submit(client.wait, ID, timeout=1)
        eventually(lambda: service.waiting == 1, "it waits")
        client.close()
        with pytest.raises((ConnectionFailed, RuntimeError)):
            wait.result(20)
    eventually(lambda: service.connections == 0, "all connections are closed")


@pytest.mark.parametrize("times", [1, 2])
def test_cancelled_calls_close_their_connections(service: Service, times: int) -> None:
    async def cancelled(client: AsyncClient, steps: int, seconds: float) -> None:
        call = asyncio.create_task(client.wait(ID) if seconds else client.get(ID))
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.sleep(seconds)
        for _ in range(times):
            call.cancel()
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await call

    async def main() -> None:
        async with AsyncClient(service.url, retries=AT_ONCE, timeout=5) as client:
            for number in range(200):
                # Wherever it is by then: at connecting, sending, reading.
                await cancelled(client, number % 20, 0.002 * (number % 3))
            assert (await client.get(ID)).id == ID
            deadline = time.monotonic() + 20
            while service.connections > 1:
                assert time.monotonic() < deadline, service.connections
                await asyncio.sleep(0.005)

    asyncio.run(main())


def test_a_call_cancelled_while_tls_is_agreed_closes_its_connection() -> None:
    async def main(url: str, accepted: Callable[[], socket.socket]) -> None:
        async with AsyncClient(url, retries=AT_ONCE) as client:
            call = asyncio.create_task(client.get(ID))
            connection = await asyncio.to_thread(accepted)
            with connection:
                assert await asyncio.to_thread(connection.recv, 10)
                call.cancel()
                await asyncio.wait({call})
                while await asyncio.to_thread(connection.recv, 1000):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accepted() -> socket.socket:
            connection = silent.accept()[0]
            connection.settimeout(20)
            return connection

        asyncio.run(main(f"https://127.0.0.1:{silent.getsockname()[1]}", accepted))


class Interruption:
    """Ctrl-C at the line of the client's or httpx's code that is executed as the so-manieth.

    Not where a lock is taken or let go: as with any lock, an interruption between that and its
    `with` leaves it locked, and httpcore then waits for itself.
    """

    def __init__(self, at: int) -> None:
        self.lines = 0
        self._at = at

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, arg: object) -> Any:
        name = frame.f_code.co_filename
        ours = any(part in name for part in ("/httpx/", "/httpcore/", "/afterwards_client/"))
        return self._line if ours and not name.endswith("/_synchronization.py") else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            self.lines += 1
            code = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            if 0 < self._at <= self.lines and "_lock:" not in code:
                raise KeyboardInterrupt
        return self._line


# Between a socket's birth and the note of it, the frames of the call hold it alone.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_interrupted_calls_close_their_connections(service: Service) -> None:
    with Client(service.url, retries=AT_ONCE, timeout=5) as client:
        with Interruption(at=0) as none:
            client.get(ID)
        assert none.lines > 400
        interrupted = 0
        for at in range(1, none.lines, none.lines // 400):
            try:
                with Interruption(at):
                    client.get(ID)
            except KeyboardInterrupt:
                interrupted += 1
        assert interrupted > 200
        assert client.get(ID).id == ID
        eventually(lambda: service.connections <= 2, "connections are closed")


@pytest.fixture
def ctrl_c_heard() -> Iterator[None]:
    """Heed SIGINT: children of a shell's background job ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_wait_that_is_interrupted_closes_its_connection(
    service: Service, ctrl_c_heard: None
) -> None:
    with Client(service.url, retries=AT_ONCE) as client:

        def interrupt() -> None:
            eventually(lambda: service.waiting == 1, "it waits")
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        for _ in range(3):
            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                client.wait(ID)
            thread.join()
            eventually(lambda: service.connections == 0, "its connection is closed")
        assert client.get(ID).id == ID


def test_a_limit_of_an_httpx_client_of_ones_own_is_told_as_what_it_is(
    running: tuple[Stand, Service],
) -> None:
    started, service = running
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(limits=limits, timeout=httpx.Timeout(5, pool=0.01)) as http:
        client = Client(service.url, http=http, retries=AT_ONCE)
        with ThreadPoolExecutor(1) as pool:
            wait = pool.submit(client.wait, ID)
            eventually(lambda: service.waiting == 1, "it waits")
            try:
                with pytest.raises(ConnectionFailed, match="all its connections are in use"):
                    client.get(ID)
            finally:
                started.call(service.finish)
            assert wait.result(20).succeeded
