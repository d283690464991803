"""Keeps a worker connected to its registry: connects, joins, exchanges, and begins again.

Each connection has a thread of its own, and the keeper looks on from another: only so it notices a
registry that leaves a call without an answer. A third thread watches for news, over a connection of
its own, and says there that this process is alive (rule 21), whatever holds up the first one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
)

from afterwards.errors import AfterwardsError, NotJoined
from afterwards.logs import get_logger
from afterwards.registry.client.client import ClaimHolder, RegistryClient
from afterwards.registry.client.send_queue import Pending
from afterwards.registry.protocol.base import (
    ALIVE_SECONDS,
    HEARTBEAT_SECONDS,
    Registry,
    Worker,
)
from afterwards.registry.protocol.requests import Alive
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

_CHECK_SECONDS: Final = 0.25
_WATCH_PAUSE_SECONDS: Final = 0.1
_WATCH_AGAIN_SECONDS: Final = 0.5


class _NotConnectedError(Exception):
    """A connection could not be made, or joined."""


@dataclass
class _Conversation:
    """One connection, from its first exchange to its end."""

    number: int
    joined: bool = False
    watched: bool = False
    failed: bool = False
    """By what was not foreseen."""
    over: threading.Event = field(default_factory=threading.Event)


class RegistryConnection:
    """The threads that hold a worker's connection.

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
        self._closed = threading.Event()
        self._joined = threading.Event()
        self._last_answer = self._last_exchange = time.monotonic()
        self._fenced = False
        self._no_watch = Trouble(log, "no thread to hear of new work by; trying again")
        self._keeper = threading.Thread(target=self._keep, name="registry", daemon=True)

    def start(self) -> None:
        """Connect, and stay connected until closed."""
        self._keeper.start()

    def wait_joined(self, timeout_seconds: float) -> bool:
        """Wait for the registry to know this worker; False if it does not in time."""
        return self._joined.wait(timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Send what is left, leave, and end the threads. Reports that cannot be sent are lost."""
        self._client.leave()
        self._keeper.join(timeout_seconds)
        self._closed.set()
        if self._keeper.is_alive():
            log.error("registry did not take the last reports; their attempts will be lost")

    # -- the keeper ----------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._is_done():
            attempts = Retrying(
                retry=retry_if_exception_type(_NotConnectedError),
                wait=wait_exponential(multiplier=0.02, max=0.5),
                stop=stop_when_event_set(self._closed),
                sleep=sleep_using_event(self._closed),
                reraise=True,
            )
            try:
                attempts(self._hold_connection)
            except _NotConnectedError:
                return

    def _hold_connection(self) -> None:
        """One connection from its making to its end.

        Raises:
            _NotConnectedError: the next one had better wait: this one was not even made, or failed.
        """
        self._number += 1
        talk = _Conversation(self._number)
        name = f"registry-{talk.number}"
        thread = threading.Thread(target=self._converse, args=[talk], name=name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            log.warning(
                "no thread for a connection to the registry; trying again", error=str(error)
            )
            self._fence_if_silent()
            raise _NotConnectedError from None
        while thread.is_alive():
            thread.join(_CHECK_SECONDS)
            self._fence_if_silent()
        self._fence_if_silent()
        if talk.failed or not talk.joined:
            raise _NotConnectedError

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

    def _converse(self, talk: _Conversation) -> None:
        try:
            self._exchange(talk, self._connect())
        except NotJoined:
            # The lease has ended, and whatever this worker held may run elsewhere by now.
            log.warning("registry has given up this worker; stopping its attempts, joining again")
            self._holder.fence()
        except (OSError, EOFError, AfterwardsError) as error:
            if talk.joined:
                log.warning("connection to the registry broke; connecting again", error=repr(error))
        except Exception:
            talk.failed = True
            log.exception("connection to the registry failed; connecting again")
        finally:
            talk.over.set()

    def _exchange(self, talk: _Conversation, registry: Registry) -> None:
        batch: list[Pending] | None = self._client.first_batch()
        while True:
            if batch is not None:
                requests = [pending.request for pending in batch]
                reply = registry.exchange(self._worker, talk.number, requests)
                self._client.settle(batch, reply)
                # Not before: an answer that this worker is not known is no sign of life.
                self._last_answer = self._last_exchange = time.monotonic()
                self._note_joined(talk)
            if self._is_done():
                return
            batch = self._client.next_batch()

    def _note_joined(self, talk: _Conversation) -> None:
        if not talk.joined:
            talk.joined = True
            self._joined.set()
        if not talk.watched:
            self._start_watch(talk)

    def _start_watch(self, talk: _Conversation) -> None:
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

    def _watch(self, talk: _Conversation) -> None:
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

    def _watch_on(self, talk: _Conversation, registry: Registry) -> None:
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

    def _say_alive(self, talk: _Conversation, registry: Registry) -> None:
        [answer] = registry.exchange(self._worker, talk.number, [Alive()]).answers
        now = time.monotonic()
        # For no longer than the registry goes by it.
        if answer is None and now - self._last_exchange < ALIVE_SECONDS:
            self._last_answer = now
