"""The calls of a client without an event loop. `async_sender` is its twin."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from afterwards_client import connections, flows
from afterwards_client.calls import STREAMED, Call
from afterwards_client.flows import Flow, Pause
from afterwards_client.lines import hang_up
from afterwards_client.requests import unbroken
from afterwards_client.subscription import Following

T = TypeVar("T")


class Sender(connections.Connections[httpx.Client]):
    """Carries out calls, flows and streams. `Client` gives it its verbs."""

    _clients = staticmethod(connections.clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def _perform(self, call: Call[T]) -> T:
        """Send it until it is answered."""
        return self._run(flows.perform(call, self._retries))

    def _run(self, flow: Flow[T]) -> T:
        """Do what the flow wants done."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = flow.send(None)
                    continue
                try:
                    response = self._send(step.call)
                except httpx.TransportError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
        except StopIteration as finished:
            result: T = finished.value
            return result

    def _follow(self, subscription: Following[T]) -> Generator[T, None, None]:
        """The events of a stream, over as many connections as it takes."""
        while True:
            with subscription.connection(), self._opened(subscription.call()) as response:
                if subscription.opened(response):
                    for chunk in response.iter_bytes():
                        yield from subscription.feed(chunk)
                        if subscription.is_over:
                            return
            if subscription.is_over:
                return
            time.sleep(subscription.pause_seconds())

    def _send(self, call: Call[Any]) -> httpx.Response:
        """The response; of a stream that was opened, without its body."""
        request = self._request(call)
        try:
            with unbroken(request):
                return self._http.send(request, stream=call.stream)
        except BaseException:
            hang_up(request)
            raise

    @contextmanager
    def _opened(self, call: Call[None]) -> Iterator[httpx.Response]:
        """The response to a stream's request, closed at the end. A refusal has been read."""
        response = self._send(call)
        try:
            with unbroken(response.request):
                if response.status_code not in STREAMED:
                    response.read()
                yield response
        except BaseException:
            hang_up(response.request)
            raise
        finally:
            response.close()
