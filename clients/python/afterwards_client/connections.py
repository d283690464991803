"""The connections of a client: an address, and an httpx client for each process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx

from afterwards_client import environment, urls
from afterwards_client.calls import Call
from afterwards_client.errors import InvalidArgument
from afterwards_client.lines import LIMITS, AsyncLines, Lines
from afterwards_client.requests import is_sendable, request_of, sendable
from afterwards_client.retries import Retries
from afterwards_client.version import USER_AGENT

H = TypeVar("H", httpx.Client, httpx.AsyncClient)

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 10.0
"""For a connection, and for an answer that is not waited for on purpose."""


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


class Connections(Generic[H]):
    """Connections to one service. The arguments are described at `Client`."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: Retries | None = None,
        headers: Mapping[str, str] | None = None,
        http: H | None = None,
    ) -> None:
        self._base_url, self._headers = urls.of_service(base_url)
        if token is not None:
            self._headers.update(_shown(token, self._headers))
        self._headers.update(sendable(headers))
        self._retries = retries or Retries()
        self._owns_http = http is None
        self._each_process: PerProcess[H] = PerProcess(
            self._clients(self._base_url, timeout) if http is None else lambda: http
        )

    @staticmethod
    def _clients(base_url: str, timeout: float) -> Callable[[], H]:
        """A maker of httpx clients: `clients` or `async_clients`."""
        raise NotImplementedError

    @property
    def _http(self) -> H:
        return self._each_process.get()

    def _request(self, call: Call[Any]) -> httpx.Request:
        http = self._http
        return request_of(call, http.build_request, self._base_url, self._headers, http.timeout)


def _shown(token: str, known: httpx.Headers) -> httpx.Headers:
    """The header that shows a key (RFC 6750, 2.1).

    Raises:
        InvalidArgument: it cannot be sent, or the URL has a user already.
    """
    if "Authorization" in known:
        raise InvalidArgument("token", "the URL has a user, whom the same header would name")
    if not token or not is_sendable(token):
        # Not repeated: it is a secret.
        raise InvalidArgument("token", "it is no `aw_...`, as `afterwards keys create` shows it")
    return httpx.Headers({"Authorization": f"Bearer {token}"})


def clients(base_url: str, timeout: float) -> Callable[[], httpx.Client]:
    """A function that makes httpx clients for this URL. The environment is read now, once.

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
