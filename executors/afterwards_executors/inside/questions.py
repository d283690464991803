"""The questions of one call in a host to its submitter, and the answers to them."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from itertools import count

from afterwards_executors.frames import MAX_UNANSWERED, NUMBER, Kind, frame
from afterwards_executors.inside.wire import Wire
from afterwards_executors.progress import new_answer

_OVER = "the attempt is over, and asks nothing any more"


class Questions:
    """Asks no more than `MAX_UNANSWERED` at a time; others wait here. For any thread."""

    def __init__(self, wire: Wire, call: int) -> None:
        self._wire = wire
        self._call = call
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._open: dict[int, Future[bytes]] = {}
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._is_over = False

    def tell(self, data: bytes) -> None:
        """Send what has no answer.

        Raises:
            ValueError: it is larger than a frame may be.
            RuntimeError: the call is over.
        """
        if self._is_over:
            raise RuntimeError(_OVER)
        self._send(0, self._checked(data))

    def ask(self, data: bytes) -> Future[bytes]:
        """The answer to come. Raises as `tell`."""
        answer = new_answer()
        self._checked(data)
        with self._lock:
            if self._is_over:
                raise RuntimeError(_OVER)
            number = next(self._numbers)
            is_next = len(self._open) - len(self._unsent) < MAX_UNANSWERED
            self._open[number] = answer
            if not is_next:
                self._unsent.append((number, data))
        if is_next:
            self._send(number, data)
        return answer

    def wait_for(self, answer: Future[bytes]) -> bytes:
        """Wait for an answer; not in the thread that reads the wire for others."""
        if self._wire.is_read_between_calls:
            self._wire.read_until(answer.done, self._call, self.answered)
        return answer.result()

    def answered(self, body: bytes) -> None:
        """The body of an answer has come."""
        (number,) = NUMBER.unpack_from(body)
        with self._lock:
            answer = self._open.pop(number, None)
            following = self._unsent.popleft() if self._unsent else None
        if following is not None:
            self._send(*following)
        if answer is not None:
            answer.set_result(body[NUMBER.size :])

    def close(self) -> None:
        """The call is over: what is not answered never will be."""
        with self._lock:
            self._is_over = True
            left = list(self._open.values())
            self._open.clear()
            self._unsent.clear()
        for answer in left:
            answer.set_exception(RuntimeError(_OVER))
        self._wire.end_reading()

    def _checked(self, data: bytes) -> bytes:
        most = self._wire.max_frame_bytes - NUMBER.size
        if len(data) > most:
            raise ValueError(f"a message of {len(data)} bytes; {most} can be sent")
        return data

    def _send(self, number: int, data: bytes) -> None:
        self._wire.send(frame(Kind.ASKED, self._call, NUMBER.pack(number) + data))
