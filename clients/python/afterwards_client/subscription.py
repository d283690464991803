"""A stream of events that survives its connections. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

import httpx

from afterwards_client import calls
from afterwards_client.errors import ConnectionFailed, UnexpectedAnswer
from afterwards_client.event_stream import EventStreamParser, Message
from afterwards_client.events import Event, StateEvent, TaskEvent, event_of
from afterwards_client.flows import explained
from afterwards_client.requests import is_sendable
from afterwards_client.retries import RETRIED_STATUSES, Patience, Retries, retry_after_seconds

E = TypeVar("E")


class Following(Generic[E]):
    """The place of a listener in a stream, and its next step when a connection ends.

    Within `connection()` a client sends `call()`, gives the response to `opened`, and if that says
    so its bytes to `feed`, until it `is_over`. Then it waits for `pause_seconds()`, and so on.
    """

    def __init__(self, last_event_id: str | None, retries: Retries) -> None:
        self.is_over = False
        self._patience = Patience(retries)
        self._parser = EventStreamParser(last_event_id or "")
        self._asked: float | None = None
        self._error: httpx.TransportError | None = None
        self._url = ""

    @contextmanager
    def connection(self) -> Iterator[None]:
        """One connection, from its making to its end. What breaks it ends nothing else."""
        self._error = None
        try:
            yield
        except httpx.TransportError as error:
            self._error = error

    def call(self) -> calls.Call[None]:
        """The request that goes on where the stream was."""
        raise NotImplementedError

    def _read(self, message: Message) -> E | None:
        """The event of a message; None for a kind that a later service has added.

        Raises one of `calls.UNREADABLE` if it is something else.
        """
        raise NotImplementedError

    def _is_last(self, event: E) -> bool:
        """True if the stream has nothing more to tell after it."""
        return False

    def opened(self, response: httpx.Response) -> bool:
        """True if events follow. The body of anything but a 200 has been read.

        Raises:
            ApiError: there is no such stream.
            UnexpectedAnswer: it is no stream.
        """
        self._url = str(response.url)
        self._asked = None
        if response.status_code == httpx.codes.NO_CONTENT:
            self.is_over = True
            return False
        if response.status_code in RETRIED_STATUSES:
            self._asked = retry_after_seconds(response)
            return False
        calls.check(response)
        if response.headers.get("Content-Type", "").split(";")[0] != "text/event-stream":
            raise UnexpectedAnswer(self._url, "no event stream")
        # What the last connection left incomplete is sent again.
        former, self._parser = self._parser, EventStreamParser(self._parser.last_event_id)
        self._parser.retry_seconds = former.retry_seconds
        return True

    def feed(self, chunk: bytes) -> Iterator[E]:
        """The events that these bytes complete, to the last of the stream."""
        self._patience.renew()
        messages = self._parser.feed(chunk)
        if not is_sendable(self._parser.last_event_id):
            raise UnexpectedAnswer(self._url, "an event's id that no header can carry")
        for message in messages:
            try:
                event = self._read(message)
            except calls.UNREADABLE as error:
                problem = f"{type(error).__name__}: {error} in an event {message.event}"
                raise UnexpectedAnswer(self._url, problem) from error
            if event is None:
                continue
            # The next connection would begin anew.
            if self._is_last(event):
                self.is_over = True
            yield event
            if self.is_over:
                return

    def pause_seconds(self) -> float:
        """The wait before the next connection.

        Raises:
            ConnectionFailed: the patience is at its end.
        """
        error = self._error
        at_least = max(self._asked or 0.0, self._parser.retry_seconds or 0.0)
        delay = self._patience.delay_seconds(at_least)
        if delay is None:
            url = self._url if error is None else str(error.request.url)
            cause = "the stream ends again and again" if error is None else explained(error)
            raise ConnectionFailed(url, cause) from error
        return delay


class Subscription(Following[Event]):
    """A stream of events: of one task until its end, or of all that the filters let through."""

    def __init__(
        self,
        task_id: str | None,
        filters: Mapping[str, str | Sequence[str] | None],
        last_event_id: str | None,
        retries: Retries,
    ) -> None:
        super().__init__(last_event_id, retries)
        self._task_id = task_id
        self._filters = filters

    def call(self) -> calls.Call[None]:
        return calls.events(self._task_id, self._filters, self._parser.last_event_id)

    def _read(self, message: Message) -> Event | None:
        return event_of(message)

    def _is_last(self, event: Event) -> bool:
        return self._task_id is not None and _is_final(event)


def _is_final(event: Event) -> bool:
    if isinstance(event, StateEvent):
        return event.status.is_final
    return isinstance(event, TaskEvent) and event.task.is_finished
