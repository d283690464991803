"""The event loop's messages on a registry's socket are those of a proxy."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from afterwards.errors import JournalUnavailable
from afterwards.registry.client import channel as channel_module
from afterwards.registry.client.channel import Listener, SocketChannel, framed, message_in
from afterwards.registry.protocol.answers import Reply
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Get, Request, Succeeded
from tests.registry.peers import WAIT_SECONDS

WORKER = Worker("test", 1, 1)
REPLY = Reply([None], [], [])
LARGE = 4 * 2**20
"""Bytes, more than a socket takes at once."""


class Ends:
    """A channel, the registry's end of it, and what was heard."""

    def __init__(self) -> None:
        ours, self.registry = Pipe()
        proxy: Any = SimpleNamespace(_tls=SimpleNamespace(connection=ours), _id="the registry")
        self.channel = SocketChannel(proxy, "exchange", WORKER, 7)
        self.heard: asyncio.Queue[Any] = asyncio.Queue()

    def begin(self) -> None:
        put = self.heard.put_nowait
        self.channel.begin(asyncio.get_running_loop(), Listener(put, put))

    async def next(self) -> Any:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.heard.get()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.registry.close()


@pytest.fixture(params=[0x7FFFFFFF, 10], ids=["small", "large"])
def most_small_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_MOST_SMALL_BYTES", request.param)


@pytest.mark.usefixtures("most_small_bytes")
def test_a_frame_is_what_a_connection_reads() -> None:
    ours, theirs = Pipe()
    message = b"a message that is longer than ten bytes"
    data = framed(message)
    with ours, theirs:
        ours._send(data)  # type: ignore[attr-defined] # the stubs leave it out
        assert theirs.recv_bytes() == message
    begin, end = message_in(data)
    assert data[begin:end] == message
    for received in range(len(data)):
        assert message_in(data[:received])[1] > received


def test_an_exchange_is_the_call_of_a_proxy(ends: Ends) -> None:
    async def story() -> None:
        ends.begin()
        requests: list[Request] = [Get("a")]
        ends.channel.send(requests)
        said = await asyncio.to_thread(ends.registry.recv)
        assert said == ("the registry", "exchange", (WORKER, 7, requests), {})
        ends.registry.send(("#RETURN", REPLY))
        assert await ends.next() == REPLY
        ends.channel.close()

    asyncio.run(story())


def test_what_a_socket_does_not_take_at_once_goes_on_without_holding_up_the_loop(
    ends: Ends,
) -> None:
    async def story() -> None:
        ends.begin()
        report = Succeeded("a", 1, bytes(LARGE), 0.1)
        ends.channel.send([report])
        # Nobody has read a byte of it.
        assert (await asyncio.to_thread(ends.registry.recv))[2][2] == [report]
        large = Reply([bytes(LARGE)], [], [])
        await asyncio.to_thread(ends.registry.send, ("#RETURN", large))
        assert await ends.next() == large
        ends.channel.send([Get("a")])
        assert (await asyncio.to_thread(ends.registry.recv))[2][2] == [Get("a")]
        ends.channel.close()

    asyncio.run(story())


def test_an_answer_may_come_byte_by_byte(ends: Ends) -> None:
    async def story() -> None:
        ends.begin()
        for byte in framed(pickle.dumps(("#RETURN", REPLY))):
            ends.registry._send(bytes([byte]))  # type: ignore[attr-defined] # the stubs leave it out
            await asyncio.sleep(0)
        assert await ends.next() == REPLY
        ends.channel.close()

    asyncio.run(story())


def say_an_error(registry: Connection) -> None:
    registry.send(("#ERROR", JournalUnavailable("full")))


def say_half_a_frame(registry: Connection) -> None:
    registry._send(framed(b"half")[:6])  # type: ignore[attr-defined] # the stubs leave it out
    registry.close()


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (say_an_error, JournalUnavailable),
        (say_half_a_frame, EOFError),
        (Connection.close, EOFError),
        (lambda registry: registry.send_bytes(b"no pickle"), pickle.UnpicklingError),
    ],
)
def test_what_is_no_answer_breaks_the_channel(ends: Ends, end: Any, error: type) -> None:
    async def story() -> None:
        ends.begin()
        end(ends.registry)
        assert isinstance(await ends.next(), error)
        ends.channel.close()

    asyncio.run(story())


def test_a_channel_that_is_closed_leaves_no_descriptor_and_no_listener(ends: Ends) -> None:
    async def story() -> None:
        ends.begin()
        ends.channel.close()
        with pytest.raises(EOFError):
            ends.registry.recv()
        assert ends.heard.empty()

    asyncio.run(story())
