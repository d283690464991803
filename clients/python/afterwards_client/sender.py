"""What a client without an event loop sends its calls with. `async_sender` is its twin."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from afterwards_client import calls, connections, urls
from afterwards_client.calls import Call
from afterwards_client.connections import PerProcess
from afterwards_client.errors import UnexpectedAnswer
from afterwards_client.flows import Flow, Pause
from afterwards_client.lines import hang_up
from afterwards_client.requests import request_of, sendable
from afterwards_client.retries import Retries

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 10.0
"""For a connection, and for an answer that is not waited for on purpose."""


class Sender:
    """Connections to one service, and how calls and flows are carried out over them.

    Its arguments are described at `Client`, which gives it its verbs.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._base_url, self._headers = urls.of_service(base_url)
        self._headers.update(sendable(headers))
        self._retries = retries or Retries()
        self._owns_http = http is None
        make = (lambda: http) if http else connections.clients(self._base_url, timeout)
        self._each_process = PerProcess(make)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _http(self) -> httpx.Client:
        return self._each_process.get()

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

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

    def _send(self, call: Call[Any]) -> httpx.Response:
        """The response; of a stream that was opened, without its body."""
        http = self._http
        request = request_of(call, http.build_request, self._base_url, self._headers, http.timeout)
        try:
            return http.send(request, stream=call.stream)
        except BaseException as error:
            hang_up(request)
            if isinstance(error, calls.BROKEN):
                raise UnexpectedAnswer(str(request.url), f"broken: {error}") from error
            raise

    @contextmanager
    def _opened(self, call: Call[None]) -> Iterator[httpx.Response]:
        """The response to a stream's request, closed at the end."""
        response = self._send(call)
        try:
            yield response
        except BaseException:
            hang_up(response.request)
            raise
        finally:
            response.close()
