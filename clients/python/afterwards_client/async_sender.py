"""The calls of a client with an event loop: `sender`, awaited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from afterwards_client import connections, flows
from afterwards_client.calls import STREAMED, Call
from afterwards_client.flows import Flow, Pause
from afterwards_client.lines import hang_up_async
from afterwards_client.requests import unbroken
from afterwards_client.subscription import Following

T = TypeVar("T")


class AsyncSender(connections.Connections[httpx.AsyncClient]):
    """Carries out calls, flows and streams. `AsyncClient` gives it its verbs."""

    _clients = staticmethod(connections.async_clients)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    async def _perform(self, call: Call[T]) -> T:
        """Send it until it is answered."""
        return await self._run(flows.perform(call, self._retries))

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

    async def _follow(self, subscription: Following[T]) -> AsyncGenerator[T, None]:
        """The events of a stream, over as many connections as it takes."""
        while True:
            with subscription.connection():
                async with self._opened(subscription.call()) as response:
                    if subscription.opened(response):
                        async for chunk in response.aiter_bytes():
                            for event in subscription.feed(chunk):
                                yield event
                            if subscription.is_over:
                                return
            if subscription.is_over:
                return
            await anyio.sleep(subscription.pause_seconds())

    async def _send(self, call: Call[Any]) -> httpx.Response:
        """The response; of a stream that was opened, without its body."""
        request = self._request(call)
        try:
            with unbroken(request):
                return await self._http.send(request, stream=call.stream)
        except BaseException:
            await hang_up_async(request)
            raise

    @asynccontextmanager
    async def _opened(self, call: Call[None]) -> AsyncIterator[httpx.Response]:
        """The response to a stream's request, closed at the end. A refusal has been read."""
        response = await self._send(call)
        try:
            with unbroken(response.request):
                if response.status_code not in STREAMED:
                    await response.aread()
                yield response
        except BaseException:
            await hang_up_async(response.request)
            raise
        finally:
            await response.aclose()
