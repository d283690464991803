"""The httpx clients of both clients: made alike, and one for each process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httpx

from afterwards_client import environment
from afterwards_client.lines import LIMITS, AsyncLines, Lines
from afterwards_client.version import USER_AGENT

H = TypeVar("H", httpx.Client, httpx.AsyncClient)


class PerProcess(Generic[H]):
    """An httpx client, and another one after a fork.

    Two processes that wrote to one connection would read each other's answers.
    """

    def __init__(self, make: Callable[[], H]) -> None:
        self._make: Callable[[], H] = make
        self._pid = os.getpid()
        self._http: H = make()

    def get(self) -> H:
        """The one of this process."""
        if self._pid != os.getpid():
            self._http, self._pid = self._make(), os.getpid()
        return self._http


def clients(base_url: str, timeout: float) -> Callable[[], httpx.Client]:
    """What makes httpx clients for this URL. The environment is read now, once.

    Raises:
        WrongEnvironment: a variable about proxies or certificates cannot be used.
    """
    how = _how_to_reach(base_url)

    def make() -> httpx.Client:
        return httpx.Client(
            transport=Lines(lambda: httpx.HTTPTransport(**how)), **_options(timeout)
        )

    return make


def async_clients(base_url: str, timeout: float) -> Callable[[], httpx.AsyncClient]:
    """The same with an event loop."""
    how = _how_to_reach(base_url)

    def make() -> httpx.AsyncClient:
        transport = AsyncLines(lambda: httpx.AsyncHTTPTransport(**how))
        return httpx.AsyncClient(transport=transport, **_options(timeout))

    return make


def _how_to_reach(base_url: str) -> dict[str, Any]:
    proxy = environment.proxy_for(httpx.URL(base_url))
    return {"proxy": proxy, "verify": environment.certificates(), "limits": LIMITS}


def _options(timeout: float) -> dict[str, Any]:
    return {"timeout": timeout, "headers": {"User-Agent": USER_AGENT}}
