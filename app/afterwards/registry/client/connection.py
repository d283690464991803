"""Keeps a worker connected to its registry: connects, joins, has it spoken to, and begins again.

A connection is made in a thread: that waits for the registry. Once it has joined, the event loop
exchanges over it (`conversation`). The keeper looks on from another thread: only so it notices a
registry that leaves a call without an answer. The thread that has joined makes a second connection,
which the loop reads tasks over (`reader`). A third thread watches for news, over a connection of
its own, and says there that this process is alive (rule 21), whatever holds up the event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from afterwards.errors import AfterwardsError, NotJoined
from afterwards.logs import get_logger
from afterwards.registry.client.channel import exchanges_with, reads_of
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.conversation import Conversation
from afterwards.registry.client.reader import Reader
from afterwards.registry.client.reconnecting import NotConnected, keep_connected
from afterwards.registry.client.waiting_calls import Answered, resolve
from afterwards.registry.client.worker_side import ClaimHolder
from afterwards.registry.protocol.base import ALIVE_SECONDS, HEARTBEAT_SECONDS, Registry, Worker
from afterwards.registry.protocol.requests import Alive
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

_CHECK_SECONDS: Final = 0.25
_WATCH_PAUSE_SECONDS: Final = 0.1
_WATCH_AGAIN_SECONDS: Final = 0.5


@dataclass
class _Talk:
    """One connection, from its making to its end."""

    number: int
    joined: bool = False
    watched: bool = False
    failed: bool = False
    """By what was not foreseen."""
    reader: Reader | None = None
    """Belongs to the event loop."""
    over: threading.Event = field(default_factory=threading.Event)


class RegistryConnection:
    """Holds a worker's connection, of which there is one at a time.

    Args:
        connect: gives the registry, for the calling thread only.
        worker: this process' incarnation.
        fence_seconds: without an answer for so long, all attempts are stopped.
    """

    def __init__(
        self,
        connect: Callable[[], Registry],
        worker: Worker,
        client: RegistryClient,
        holder: ClaimHolder,
        fence_seconds: float,
    ) -> None:
        self._fence_seconds = fence_seconds
        self._connect = connect
        self._worker = worker
        self._client = client
        self._holder = holder
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = threading.Event()
        self._joined = threading.Event()
        self._last_answer = self._last_exchange = time.monotonic()
        self._fenced = False
        self._no_watch = Trouble(log, "no thread to hear of new work by; trying again")
        keep = partial(keep_connected, self._hold_connection, self._closed, self._is_done)
        self._keeper = threading.Thread(target=keep, name="registry", daemon=True)

    def start(self) -> None:
        """Connect, and stay connected until closed, from the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._keeper.start()

    def wait_joined(self, timeout_seconds: float) -> bool:
        """Wait for the registry to know this worker; False if it does not in time."""
        return self._joined.wait(timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Send what is left, leave, and end the threads. Reports that cannot be sent are lost.

        Blocks, and the event loop has to run meanwhile.
        """
        self._client.leave()
        self._keeper.join(timeout_seconds)
        self._closed.set()
        if self._keeper.is_alive():
            log.error("registry did not take the last reports; their attempts will be lost")

    # -- the keeper ----------------------------------------------------------------------------

    def _hold_connection(self) -> None:
        """One connection from its making to its end.

        Raises:
            NotConnected: the next one had better wait: this one was not even made, or failed.
        """
        self._number += 1
        talk = _Talk(self._number)
        name = f"registry-{talk.number}"
        thread = threading.Thread(target=self._open, args=[talk], name=name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            log.warning(
                "no thread for a connection to the registry; trying again", error=str(error)
            )
            self._fence_if_silent()
            raise NotConnected from None
        while not (talk.over.wait(_CHECK_SECONDS) or self._closed.is_set()):
            self._fence_if_silent()
        self._fence_if_silent()
        if talk.failed or not talk.joined:
            raise NotConnected

    def _fence_if_silent(self) -> None:
        # The registry ends the lease of a worker it does not hear, and gives its tasks to another.
        # By then this one must have stopped them, or they would run twice.
        if time.monotonic() - self._last_answer < self._fence_seconds:
            self._fenced = False
        elif not self._fenced:
            self._fenced = True
            log.error("registry has been silent for too long; stopping all attempts")
            self._holder.fence()

    def _is_done(self) -> bool:
        return self._closed.is_set() or self._client.has_left

    # -- one conversation ----------------------------------------------------------------------

    def _open(self, talk: _Talk) -> None:
        """Connect and join, then hand over to the event loop."""
        loop = self._loop
        assert loop is not None
        try:
            registry = self._connect()
            batch = self._client.first_batch()
            requests = [pending.request for pending in batch]
            reply = registry.exchange(self._worker, talk.number, requests)
            self._resolve(self._client.settle(batch, reply))
            conversation = Conversation(
                exchanges_with(registry, self._worker, talk.number),
                self._client,
                self._holder,
                heard=partial(self._heard, talk),
                ended=partial(self._end, talk),
            )
            if not self._heard(talk) or loop.is_closed():
                self._end(talk, None)
            else:
                loop.call_soon_threadsafe(conversation.begin, loop)
                self._open_reader(talk, loop)
        except Exception as error:  # noqa: BLE001 - all of them are told
            self._end(talk, error)

    def _open_reader(self, talk: _Talk, loop: asyncio.AbstractEventLoop) -> None:
        """Connect once more, for reads. Without it they go with the exchanges."""
        try:
            registry = self._connect()
            # A proxy connects with its first call.
            registry.read([])
        except Exception as error:  # noqa: BLE001 - of this connection only; the other one goes on
            if not talk.over.is_set():
                log.warning("no connection for reads; they wait for commits", error=repr(error))
            return
        reader = Reader(
            reads_of(registry),
            resolve=resolve,
            otherwise=self._client.read_with_exchanges,
            broke=partial(self._end_reading, talk),
        )
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._begin_reader, talk, reader)

    def _begin_reader(self, talk: _Talk, reader: Reader) -> None:
        reader.begin(asyncio.get_running_loop())
        if talk.over.is_set():
            reader.close()
        else:
            talk.reader = reader
            self._client.read_by(reader)

    def _end_reading(self, talk: _Talk, error: Exception) -> None:
        if not talk.over.is_set():
            self._client.read_by(None)
            # If the registry has ended, the connection that exchanges says so.
            log.info("the connection for reads broke; they wait for commits", error=repr(error))

    def _resolve(self, answered: Answered) -> None:
        loop = self._loop
        if answered and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(resolve, answered)

    def _end(self, talk: _Talk, error: Exception | None) -> None:
        try:
            if error is not None:
                self._tell(talk, error)
        finally:
            talk.over.set()
            if talk.reader is not None:
                self._client.read_by(None)
                talk.reader.close()

    def _tell(self, talk: _Talk, error: Exception) -> None:
        if isinstance(error, NotJoined):
            # The lease has ended, and whatever this worker held may run elsewhere by now.
            log.warning("registry has given up this worker; stopping its attempts, joining again")
            self._holder.fence()
        elif isinstance(error, OSError | EOFError | AfterwardsError):
            if talk.joined:
                log.warning("connection to the registry broke; connecting again", error=repr(error))
        else:
            talk.failed = True
            log.error("connection to the registry failed; connecting again", exc_info=error)

    def _heard(self, talk: _Talk) -> bool:
        """Take an answer for a sign of life; whether to go on.

        One that says that this worker is not known does not come here.
        """
        self._last_answer = self._last_exchange = time.monotonic()
        if not (talk.joined and talk.watched):
            self._note_joined(talk)
        return not self._is_done()

    def _note_joined(self, talk: _Talk) -> None:
        if not talk.joined:
            talk.joined = True
            self._joined.set()
        if not talk.watched:
            self._start_watch(talk)

    def _start_watch(self, talk: _Talk) -> None:
        name = f"registry-watch-{talk.number}"
        thread = threading.Thread(target=self._watch, args=[talk], name=name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            # The next exchange tries again; until then each beat brings what there is.
            self._no_watch.failed(error)
        else:
            talk.watched = True
            self._no_watch.over()

    def _watch(self, talk: _Talk) -> None:
        while not talk.over.is_set():
            try:
                self._watch_on(talk, self._connect())
            except (OSError, EOFError, MemoryError, AfterwardsError):
                # The exchanging connection has noticed the same and begins anew; unless it was only
                # this one that lacked something, such as a descriptor.
                talk.over.wait(_WATCH_AGAIN_SECONDS)
            except Exception:
                log.exception("watching the registry failed; watching again")
                talk.over.wait(_WATCH_AGAIN_SECONDS)

    def _watch_on(self, talk: _Talk, registry: Registry) -> None:
        said_at = time.monotonic()
        while not talk.over.is_set():
            if registry.watch(self._worker, talk.number, HEARTBEAT_SECONDS):
                self._client.nudge()
            else:
                # At once if the registry does not know this connection any more.
                talk.over.wait(_WATCH_PAUSE_SECONDS)
            if time.monotonic() - said_at >= HEARTBEAT_SECONDS:
                said_at = time.monotonic()
                self._say_alive(talk, registry)

    def _say_alive(self, talk: _Talk, registry: Registry) -> None:
        [answer] = registry.exchange(self._worker, talk.number, [Alive()]).answers
        now = time.monotonic()
        # For no longer than the registry goes by it.
        if answer is None and now - self._last_exchange < ALIVE_SECONDS:
            self._last_answer = now
