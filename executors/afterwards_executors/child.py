"""One spawned child of the `process` executor, as the slot that owns it sees it."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Final

from afterwards_executors import child_main
from afterwards_executors.wire import Replies, frame

START_TIMEOUT_SECONDS: Final = 60.0
"""How long a child may take to import what it needs; the clock of a call starts after that."""

KILL_TIMEOUT_SECONDS: Final = 5.0
"""How long a killed process is waited for; one that hangs in the kernel is left behind."""

_LONGEST_POLL_SECONDS: Final = 3600.0
_CHUNK_BYTES: Final = 256 * 1024

_SPAWN: Final = multiprocessing.get_context("spawn")

_REAPING = threading.Lock()
"""Starting a process reaps all that have ended (`multiprocessing.process._cleanup`). Two threads
that reap at once can leave the exit status with neither, and a reaped pid must not be killed."""


class ChildDied(Exception):
    """The child has ended; its message says how."""

    def __init__(self, how: str, *, picked_up: bool) -> None:
        super().__init__(how)
        self.picked_up = picked_up
        """Whether it may have begun with the request. If not, the request can be made again."""


class Child:
    """A process that answers one request at a time.

    Every wait ends early when the child dies, when the deadline comes, and when `wake` becomes
    readable and there is a reason to stop; so neither a child that was stopped in mid-sentence nor
    one that does not read can hold its slot.

    Made, used and ended by one thread, which has to outlive it: the child asked the kernel to be
    killed when the thread that spawned it ends.

    Raises:
        OSError, MemoryError: it cannot be spawned; nothing is left of it.
    """

    def __init__(self, wake: int) -> None:
        self._wake = wake
        self._replies = Replies()
        with ExitStack() as undo:
            self._pipe, theirs = socket.socketpair()
            undo.callback(self._pipe.close)
            # The child has its own; ours would keep us from seeing that it is gone.
            with theirs:
                self._pipe.setblocking(False)
                # Whatever `socket.setdefaulttimeout` says, which is for everybody to set.
                theirs.setblocking(True)
                self._process = _SPAWN.Process(
                    target=child_main.serve, args=(theirs, os.getpid()), name="executor-child"
                )
                undo.callback(_end, self._process)
                with _REAPING:
                    self._process.start()
                    # Not `Process.sentinel`: that is a pipe, which whatever the child has forked
                    # holds open, and then its death would go unnoticed.
                    self.death = os.pidfd_open(self._process.pid or 0)
            undo.callback(os.close, self.death)
            self._poll = select.poll()
            for fd in (self._pipe.fileno(), self.death, wake):
                self._poll.register(fd, select.POLLIN)
            undo.pop_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    def is_dead(self) -> bool:
        """Whether it has ended."""
        return _is_readable(self.death, 0.0)

    def wait_ready(self, is_stopped: Callable[[], bool]) -> bool:
        """Wait until it has started; False if `is_stopped` before that.

        Raises:
            ChildDied: it ended, or took too long.
        """
        deadline = monotonic() + START_TIMEOUT_SECONDS
        first = self._exchange(b"", deadline, is_stopped, lambda _: None)
        if first is None and not is_stopped():
            self.kill()
            raise ChildDied(f"did not start in {START_TIMEOUT_SECONDS:g} s", picked_up=False)
        return first is not None

    def ask(
        self,
        request: bytes,
        deadline: float | None,
        is_stopped: Callable[[], bool],
        on_note: Callable[[bytes], None],
    ) -> bytes | None:
        """Send `request` and return the answer; None if the deadline came, or `is_stopped`.

        `on_note` gets what the child notes meanwhile. After None the child is still at it, and can
        only be killed.

        Raises:
            ChildDied: it ended.
        """
        return self._exchange(frame(request), deadline, is_stopped, on_note)

    def kill(self) -> None:
        """End it now, with what it has started, and wait until it has ended."""
        with _REAPING:
            if self._process.exitcode is None:
                with suppress(ProcessLookupError):  # it has not come to make its group yet
                    os.killpg(self.pid, signal.SIGKILL)
                self._process.kill()
        _is_readable(self.death, KILL_TIMEOUT_SECONDS)
        self.discard()

    def retire(self, timeout_seconds: float) -> None:
        """Let an idle child end by itself, with its exit handlers; kill it if it does not."""
        self._pipe.close()
        if _is_readable(self.death, timeout_seconds):
            self.discard()
        else:
            self.kill()

    def discard(self) -> None:
        """Reap it, if it has ended, and free its descriptors. May be called again."""
        self._pipe.close()
        if self.death < 0:
            return
        if self.is_dead():
            self._reap()
        os.close(self.death)
        self.death = -1

    # -- the conversation --------------------------------------------------------------------------

    def _exchange(
        self,
        outgoing: bytes,
        deadline: float | None,
        is_stopped: Callable[[], bool],
        on_note: Callable[[bytes], None],
    ) -> bytes | None:
        unsent = self._send(memoryview(outgoing))
        pipe = self._pipe.fileno()
        while True:
            self._poll.modify(pipe, select.POLLIN | (select.POLLOUT if unsent else 0))
            events = dict(self._poll.poll(_milliseconds_until(deadline)))
            if events.get(pipe, 0) & select.POLLOUT:
                unsent = self._send(unsent)
            if events.get(pipe, 0) & ~select.POLLOUT:
                answer = self._receive(all_sent=not unsent)
                # Only here, between looks at the deadline: a flood of notes cannot hold those up.
                if (latest := self._replies.take_note()) is not None:
                    on_note(latest)
                if answer is not None:
                    self._replies.clear()
                    return answer
            elif self.death in events:
                # Its end of the pipe is still open, in something that it has forked.
                raise ChildDied(self._how_it_ended(), picked_up=not unsent)
            if self._wake in events:
                clear(self._wake)
                if is_stopped():
                    return None
            if deadline is not None and monotonic() >= deadline:
                return None

    def _send(self, unsent: memoryview) -> memoryview:
        try:
            while unsent:
                unsent = unsent[self._pipe.send(unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            raise ChildDied(self._how_it_ended(), picked_up=False) from None
        return unsent

    def _receive(self, *, all_sent: bool) -> bytes | None:
        """The answer, if it is complete."""
        try:
            part = self._pipe.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # Linux says so, instead of an end of file, when the other end of a Unix socket was
            # closed with something in it that had not been read: our request, or the rest of it.
            raise ChildDied(self._how_it_ended(), picked_up=False) from None
        if not part:
            raise ChildDied(self._how_it_ended(), picked_up=all_sent)
        return self._replies.feed(part)

    def _how_it_ended(self) -> str:
        # The pipe ends a moment before the process does. If only the pipe was closed, the child is
        # of no use any more.
        if not _is_readable(self.death, 1.0):
            self.kill()
            return "closed its connection"
        return _how(self._reap())

    def _reap(self) -> int | None:
        with _REAPING:
            self._process.join()
            return self._process.exitcode


def _end(process: BaseProcess) -> None:
    """End and reap a child that cannot be used, if it was started at all."""
    with _REAPING:
        if process.pid is not None:
            process.kill()
            process.join()


def clear(wake: int) -> None:
    """Make an eventfd unreadable until it is written again."""
    with suppress(BlockingIOError):
        os.eventfd_read(wake)


def _is_readable(fd: int, timeout_seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_seconds * 1000))


def _milliseconds_until(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    # poll(2) takes whole milliseconds: one more, so that it does not spin through the last one.
    return 1 + 1000 * min(max(0.0, deadline - monotonic()), _LONGEST_POLL_SECONDS)


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended, and somebody else took its exit status"
    if exit_code >= 0:
        return f"exited with status {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if -exit_code == signal.SIGKILL:
        return f"was killed by {name}, as the kernel does when memory runs out"
    return f"was killed by {name}"
