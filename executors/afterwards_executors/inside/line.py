"""The line of one call in a host to its submitter."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import Final

from afterwards_executors.frames import Kind, frame
from afterwards_executors.inside.questions import Questions
from afterwards_executors.inside.wire import Wire
from afterwards_executors.progress import ProgressSender

_NEW_QUESTIONS: Final = threading.Lock()


class HostLine:
    """See `afterwards_executors.progress.Line`."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.number = number
        """The call's, on the wire."""
        self.is_stop_asked = False
        self._wire = wire
        self._pid = os.getpid()
        self._is_closed = False
        self._progress: ProgressSender | None = None
        self._questions: Questions | None = None

    @property
    def is_stopping(self) -> bool:
        """True if the host is to be ended soon."""
        return self._wire.is_winding_up()

    def send_progress(self, data: bytes) -> None:
        """Send it, unless another comes soon."""
        # A fork shares no lock that would keep its words apart from ours, and no wire.
        if os.getpid() == self._pid:
            if self._progress is None:
                self._progress = ProgressSender(self._send)
            self._progress.send(data)

    def time_out_delay(self, seconds: float | None) -> None:
        """Send it."""
        if os.getpid() == self._pid:
            self._wire.delay(self.number, seconds)

    def tell(self, data: bytes) -> None:
        """Send it."""
        self._all_questions().tell(data)

    def ask(self, data: bytes) -> Future[bytes]:
        """Send it; the answer comes later."""
        return self._all_questions().ask(data)

    def wait_for(self, answer: Future[bytes]) -> bytes:
        """Wait until it is here."""
        return self._all_questions().wait_for(answer)

    def answered(self, body: bytes) -> None:
        """The body of a frame with an answer has come."""
        if self._questions is not None:
            self._questions.answered(body)

    def close(self) -> None:
        """Send nothing more: what the call has left running must not cut into what comes."""
        if self._progress is not None:
            self._progress.close()
        with _NEW_QUESTIONS:
            self._is_closed = True
        if self._questions is not None:
            self._questions.close()

    def _all_questions(self) -> Questions:
        if os.getpid() != self._pid:
            raise RuntimeError("a fork of an attempt cannot ask for it")
        with _NEW_QUESTIONS:
            if self._is_closed:
                raise RuntimeError("the attempt is over, and asks nothing any more")
            if self._questions is None:
                self._questions = Questions(self._wire, self.number)
            return self._questions

    def _send(self, data: bytes) -> bool:
        return self._wire.try_to_send(frame(Kind.PROGRESS, self.number, data))
