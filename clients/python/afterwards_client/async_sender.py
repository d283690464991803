"""What a client with an event loop sends its calls with: `sender`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from afterwards_client import calls, connections, urls
from afterwards_client.calls import Call
from afterwards_client.connections import PerProcess
from afterwards_client.errors import UnexpectedAnswer
from afterwards_client.flows import Flow, Pause
from afterwards_client.lines import hang_up_async
from afterwards_client.requests import request_of, sendable
from afterwards_client.retries import Retries
from afterwards_client.sender import DEFAULT_TIMEOUT_SECONDS, DEFAULT_URL

T = TypeVar("T")


class AsyncSender:
    """Connections to one service for one event loop, and how calls are carried out over them.

    Its arguments are described at `Client`; `AsyncClient` gives it its verbs.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._base_url, self._headers = urls.of_service(base_url)
        self._headers.update(sendable(headers))
        self._retries = retries or Retries()
        self._owns_http = http is None
        make = (lambda: http) if http else connections.async_clients(self._base_url, timeout)
        self._each_process = PerProcess(make)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _http(self) -> httpx.AsyncClient:
        return self._each_process.get()

    async def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        """Do what the flow wants done."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await anyio.sleep(step.seconds)
                    step = flow.send(None)
                    continue
                try:
                    response = await self._send(step.call)
                except httpx.TransportError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
        except StopIteration as finished:
            result: T = finished.value
            return result

    async def _send(self, call: Call[Any]) -> httpx.Response:
        """The response; of a stream that was opened, without its body."""
        http = self._http
        request = request_of(call, http.build_request, self._base_url, self._headers, http.timeout)
        try:
            return await http.send(request, stream=call.stream)
        except BaseException as error:
            await hang_up_async(request)
            if isinstance(error, calls.BROKEN):
                raise UnexpectedAnswer(str(request.url), f"broken: {error}") from error
            raise

    @asynccontextmanager
    async def _opened(self, call: Call[None]) -> AsyncIterator[httpx.Response]:
        """The response to a stream's request, closed at the end."""
        response = await self._send(call)
        try:
            yield response
        except BaseException:
            await hang_up_async(response.request)
            raise
        finally:
            await response.aclose()
