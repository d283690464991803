"""Generations of task code, as the master keeps them.

    SIGHUP -> a child looks at the modules as they are on the disk
                 |-- they can be used:  the next generation; workers find it on the board, and
                 |                      the look has ended when all have taken it
                 `-- or not:            one line in the log; the latest generation goes on

The master waits for nothing meanwhile: it has workers to look after.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple, NoReturn, Protocol

from afterwards.errors import AfterwardsError
from afterwards.logs import get_logger
from afterwards.server.worker import HELD_SIGNALS, leave
from afterwards.system.board import Board, Notice
from afterwards_executors.prctl import end_with_parent

log = get_logger(__name__)

LOOK_SECONDS: Final = 75.0
"""The time for which the child may look; it has a limit of its own, which is shorter."""

TAKE_SECONDS: Final = 20.0
"""The time for which workers are waited for: each starts a host, which imports the modules."""

_FAILED: Final = b"-"
_DONE: Final = b"+"


class Result(NamedTuple):
    """The result of a look at the modules."""

    number: int
    """The number of the latest generation now."""
    text: str
    """The summary of the generation, or the reason why it is no new one."""
    failed: bool


class Witness(Protocol):
    """Is told of each look at the modules."""

    def open(self) -> None:
        """Looks can be asked for."""

    def begun(self, look: int) -> None:
        """So many looks have begun by now."""

    def ended(self, look: int, result: Result) -> None:
        """This one has ended."""


class Generations:
    """Numbers generations from 1, which is there from the start.

    Args:
        first: what the first one consists of.
        describe: says what the next one consists of, in a child; raises `AfterwardsError`.
        summary: says it in a few words, beside what was before it.
        witnesses: are told of each look, in this order.
    """

    def __init__(
        self,
        first: bytes,
        describe: Callable[[], bytes],
        summary: Callable[[bytes, bytes], str],
        witnesses: Sequence[Witness],
    ) -> None:
        self.board = Board()
        self.latest = Notice(1, first)
        self._describe = describe
        self._summary = summary
        self._witnesses = witnesses
        self._child: _Child | None = None
        self._looks = 0
        self._is_wanted = False
        self._published: Result | None = None
        """The latest generation, while workers are waited for to take it."""
        self._taken_by = 0.0
        """The moment at which they are not waited for any longer."""
        self.board.publish(self.latest)

    def open(self) -> None:
        """Tell that looks can be asked for."""
        for witness in self._witnesses:
            witness.open()

    def renew(self) -> None:
        """Look at the modules: now, or once more as soon as the look that is under way ends."""
        self._is_wanted = True
        if self._child is None:
            self._begin_if_wanted()

    def look_after(self, workers: Collection[int]) -> None:
        """Go on if the child has ended, or the workers have what is published. Never raises.

        Cheap, to be called often.
        """
        if self._child is not None and self._child.has_ended():
            child, self._child = self._child, None
            self._end(child.answer())
        if self._published is not None:
            self._see_taken(self._published, workers)
        self._begin_if_wanted()

    def _begin_if_wanted(self) -> None:
        if self._child is None and self._is_wanted:
            self._is_wanted = False
            self._begin()

    def close(self) -> None:
        """Look no more."""
        self._is_wanted = False
        if self._child is not None:
            self._child.kill()
            self._child.answer()
            self._child = None

    def _begin(self) -> None:
        if self._published is not None:
            self._see_taken(self._published, ())
        self._looks += 1
        for witness in self._witnesses:
            witness.begun(self._looks)
        try:
            self._child = _Child(self._describe)
        except (OSError, MemoryError) as error:
            self._fail(f"no process can be started: {error}")

    def _end(self, answer: bytes) -> None:
        kind, data = answer[:1], answer[1:]
        if kind != _DONE:
            said = data.decode(errors="replace") if kind == _FAILED else ""
            self._fail(said or "the process that looked at the modules ended before it was done")
            return
        notice = Notice(self.latest.number + 1, data)
        try:
            self.board.publish(notice)
        except OSError as error:
            self._fail(f"it cannot be published: {error.strerror or error}")
            return
        summary = self._summary(data, self.latest.data)
        self.latest = notice
        log.info("task code is renewed", generation=notice.number, consists_of=summary)
        self._published = Result(notice.number, summary, failed=False)
        self._taken_by = time.monotonic() + TAKE_SECONDS

    def _see_taken(self, published: Result, workers: Collection[int]) -> None:
        """Tell of the generation once all workers have it, or have had their time."""
        late = set(workers) - self.board.takers(published.number)
        if late and time.monotonic() < self._taken_by:
            return
        self._published = None
        if late:
            text = f"{published.text}; not yet in use by {len(late)} of {len(workers)} workers"
            published = published._replace(text=text)
        self._tell_end(published)

    def _fail(self, reason: str) -> None:
        number = self.latest.number
        log.error("task code is not renewed; it goes on as it was", generation=number, error=reason)
        self._tell_end(Result(number, reason, failed=True))

    def _tell_end(self, result: Result) -> None:
        for witness in self._witnesses:
            witness.ended(self._looks, result)


class _Child:
    """A forked process that says something, at most once.

    Raises:
        OSError, MemoryError: it cannot be started.
    """

    def __init__(self, describe: Callable[[], bytes]) -> None:
        self._answer = os.memfd_create("afterwards-answer")
        parent = os.getpid()
        try:
            self._pid = os.fork()
            if self._pid == 0:
                self._serve(parent, describe)
            # Whoever waits for all children may take this one's status.
            self._death = os.pidfd_open(self._pid)
        except BaseException:
            os.close(self._answer)
            raise
        self._until = time.monotonic() + LOOK_SECONDS

    def has_ended(self) -> bool:
        """True if it has ended; it is killed if it takes too long."""
        if time.monotonic() >= self._until:
            self.kill()
        poll = select.poll()
        poll.register(self._death, select.POLLIN)
        return bool(poll.poll(0))

    def kill(self) -> None:
        """End it; what it has started ends with it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._death, signal.SIGKILL)

    def answer(self) -> bytes:
        """The answer of the child; empty: none. Frees everything."""
        try:
            with contextlib.suppress(ChildProcessError):  # somebody else has reaped it
                os.waitid(os.P_PIDFD, self._death, os.WEXITED)
            return os.pread(self._answer, os.fstat(self._answer).st_size, 0)
        finally:
            os.close(self._answer)
            os.close(self._death)

    def _serve(self, parent: int, describe: Callable[[], bytes]) -> NoReturn:
        status = 1
        try:
            for number in (*HELD_SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            end_with_parent(signal.SIGKILL, parent)
            self._say(*_answer_of(describe))
            status = 0
        except Exception:
            log.exception("task modules cannot be looked at")
        finally:
            leave(status)

    def _say(self, kind: bytes, data: bytes) -> None:
        rest, at = memoryview(data), len(kind)
        while rest:
            written = os.pwrite(self._answer, rest, at)
            rest, at = rest[written:], at + written
        # Last: half an answer is none.
        os.pwrite(self._answer, kind, 0)


def _answer_of(describe: Callable[[], bytes]) -> tuple[bytes, bytes]:
    try:
        return _DONE, describe()
    except (AfterwardsError, OSError, MemoryError) as error:
        return _FAILED, (str(error) or repr(error)).encode(errors="replace")
