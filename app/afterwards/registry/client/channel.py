"""The event loop's way to a registry: one call at a time, and nothing that waits.

A registry in another process is reached through its socket, which the loop takes over from the
proxy that has connected it: messages are those of `multiprocessing.managers`, frames those of
`multiprocessing.connection`. One in this process is called in a thread.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.managers import BaseProxy, convert_to_error  # type: ignore[attr-defined] # the stubs leave it out
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, Protocol, cast

from afterwards.registry.protocol.base import Registry, Worker
from afterwards.registry.protocol.requests import Request

_READ_BYTES: Final = 64 * 1024
_HEAD: Final = struct.Struct("!i")
_LARGE_HEAD: Final = struct.Struct("!iQ")
_LARGE: Final = -1
"""In the place of a length: it follows, in eight bytes."""
_MOST_SMALL_BYTES: Final = 0x7FFFFFFF
_NO_KEYWORDS: Final[dict[str, object]] = {}


class Listener(NamedTuple):
    """The callbacks of a channel, called on the event loop."""

    answered: Callable[[Any], None]
    """Is given what the method of the registry gave."""
    broke: Callable[[Exception], None]
    """Called once at most; nothing is answered after it."""


class Channel(Protocol):
    """A connection on the event loop."""

    def begin(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        """Take it to this loop, which is the running one."""

    def send(self, requests: Sequence[Request]) -> None:
        """Call the registry's method with these. Not before the last call was answered."""

    def close(self) -> None:
        """Hear nothing more of it."""


def exchanges_with(registry: Registry, worker: Worker, number: int) -> Channel:
    """The way to `Registry.exchange`.

    Args:
        registry: the calling thread has just used it, and does not use it any more.
        worker: who speaks.
        number: of the connection.
    """
    return _channel_to(registry, "exchange", worker, number)


def reads_of(registry: Registry) -> Channel:
    """The way to `Registry.read`; `registry` as for `exchanges_with`."""
    return _channel_to(registry, "read")


def _channel_to(registry: Registry, method: str, *arguments: object) -> Channel:
    if isinstance(registry, BaseProxy):
        return SocketChannel(registry, method, *arguments)
    return ThreadChannel(partial(getattr(registry, method), *arguments))


class SocketChannel:
    """Speaks over the socket that a proxy has connected, in the calling thread."""

    def __init__(self, proxy: BaseProxy, method: str, *arguments: object) -> None:
        # What `BaseProxy._callmethod` goes by. The connection is this thread's own.
        self._connection: Connection = proxy._tls.connection  # type: ignore[attr-defined] # noqa: SLF001
        self._ident: str = proxy._id  # type: ignore[attr-defined] # noqa: SLF001
        self._method = method
        self._arguments = arguments
        self._descriptor = self._connection.fileno()
        self._received = bytearray()
        self._unsent = memoryview(b"")

    def begin(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        """See `Channel.begin`."""
        self._loop, self._listener = loop, listener
        os.set_blocking(self._descriptor, False)
        loop.add_reader(self._descriptor, self._read)

    def send(self, requests: Sequence[Request]) -> None:
        """See `Channel.send`."""
        call = (self._ident, self._method, (*self._arguments, requests), _NO_KEYWORDS)
        self._unsent = memoryview(framed(pickle.dumps(call, pickle.HIGHEST_PROTOCOL)))
        self._write()
        if self._unsent:
            self._loop.add_writer(self._descriptor, self._write_on)

    def close(self) -> None:
        """See `Channel.close`."""
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._connection.close()

    def _write(self) -> None:
        try:
            written = os.write(self._descriptor, self._unsent)
        except BlockingIOError:
            return
        self._unsent = self._unsent[written:]

    def _write_on(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._listener.broke(error)
        else:
            if not self._unsent:
                self._loop.remove_writer(self._descriptor)

    def _read(self) -> None:
        try:
            answered = self._answered()
        except Exception as error:  # noqa: BLE001 - what the registry raised may be anything
            self._listener.broke(error)
        else:
            if answered is not None:
                self._listener.answered(answered)

    def _answered(self) -> object:
        """The value that the call gave, once it is whole; before that None, which no call gives."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise EOFError("the registry has closed the connection")
        self._received += data
        begin, end = message_in(self._received)
        if end > len(self._received):
            return None
        message = memoryview(self._received)[begin:end]
        kind, result = pickle.loads(message)  # noqa: S301 - as the proxy does; both know the key
        # There is one call at a time, so nothing follows.
        self._received = bytearray()
        if kind != "#RETURN":
            raise convert_to_error(kind, result)
        return cast("object", result)


def framed(message: bytes) -> bytes:
    """A message as `multiprocessing.connection` sends it."""
    size = len(message)
    if size > _MOST_SMALL_BYTES:
        return _LARGE_HEAD.pack(_LARGE, size) + message
    return _HEAD.pack(size) + message


def message_in(received: bytes | bytearray) -> tuple[int, int]:
    """The span of the message in the received bytes; it may end beyond what is there yet."""
    if len(received) < _HEAD.size:
        return _HEAD.size, _HEAD.size
    [size] = _HEAD.unpack_from(received)
    if size != _LARGE:
        return _HEAD.size, _HEAD.size + size
    if len(received) < _LARGE_HEAD.size:
        return _LARGE_HEAD.size, _LARGE_HEAD.size
    _, size = _LARGE_HEAD.unpack_from(received)
    return _LARGE_HEAD.size, _LARGE_HEAD.size + size


class ThreadChannel:
    """Calls a registry in this process, in a thread of its own."""

    def __init__(self, method: Callable[[Sequence[Request]], object]) -> None:
        self._method = method
        self._calls: SimpleQueue[Sequence[Request] | None] = SimpleQueue()
        self._is_closed = False

    def begin(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        """See `Channel.begin`."""
        self._loop, self._listener = loop, listener
        threading.Thread(target=self._serve, name="registry-call", daemon=True).start()

    def send(self, requests: Sequence[Request]) -> None:
        """See `Channel.send`."""
        self._calls.put(requests)

    def close(self) -> None:
        """See `Channel.close`."""
        self._is_closed = True
        self._calls.put(None)

    def _serve(self) -> None:
        while (requests := self._calls.get()) is not None:
            try:
                tell = partial(self._listener.answered, self._method(requests))
            except Exception as error:  # noqa: BLE001 - whoever listens judges it
                tell = partial(self._listener.broke, error)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._tell, tell)
            # Until the next ones come, nothing is to be kept that may be large.
            del requests, tell

    def _tell(self, tell: Callable[[], None]) -> None:
        if not self._is_closed:
            tell()
