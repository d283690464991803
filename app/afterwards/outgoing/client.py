"""One request of the service: bounded in time and size, and guarded at every redirect."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import httpcore

from afterwards.outgoing.calls import MAX_REDIRECTS, Answer, Call, Headers, NotInTime, Unanswered
from afterwards.outgoing.network import GuardedNetwork, Resolve, resolved
from afterwards.outgoing.reach import DEFAULT_PORTS, Reach, Target

MOST_CONNECTIONS: Final = 1_000
_IDLE_SECONDS: Final = 4.0
"""Many servers close an idle connection after 5 s; a request that meets that has no answer."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BECOME_GET: Final = {301: frozenset({"POST"}), 302: frozenset({"POST"})}
"""Methods of which the next request is a GET (RFC 9110, 15.4.2 and 15.4.3); after a 303, any is."""
_OF_A_BODY: Final = frozenset({"content-type", "content-length", "content-encoding"})
_OF_AN_ORIGIN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


class Outgoing:
    """Sends requests over connections that are kept. To be entered and left on one event loop.

    Args:
        reach: where requests may go. Behind a proxy only scheme, host and port can be checked: the
            proxy resolves the name.
        proxy: the URL of an HTTP proxy for all requests, with its user and password if it asks.
        tls: verifies hosts; None: by the system's certificates.
        resolve: looks names up.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        proxy: str | None = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolved,
    ) -> None:
        self._reach = reach
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context() if tls is None else tls,
            proxy=None if proxy is None else _proxy(proxy),
            max_connections=MOST_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=GuardedNetwork(reach, resolve) if proxy is None else None,
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._pool.__aexit__(kind, error, traceback)

    async def send(self, call: Call) -> Answer:
        """Send a request, and follow as many redirects as it says.

        Raises:
            Refused: it, or a redirect, leads to where no request of the service may go.
            NotInTime: there was no whole answer in time.
            Unanswered: the connection failed, or what came was not HTTP; or a header is none.
        """
        try:
            async with asyncio.timeout(call.timeout_seconds):
                return await self._followed(call)
        except (TimeoutError, httpcore.TimeoutException):
            raise NotInTime(f"no answer within {call.timeout_seconds:g} s") from None
        except httpcore.LocalProtocolError:
            # Its text may show a header, and with it a secret.
            raise Unanswered("the request cannot be written as HTTP") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise Unanswered(_reason(error)) from error

    async def _followed(self, call: Call) -> Answer:
        method, body = call.method, call.body
        headers: list[tuple[str, str]] = [*call.headers, *call.secret_headers]
        target = self._reach.target(call.url)
        left = min(call.redirects, MAX_REDIRECTS)
        while True:
            answer = await self._once(method, target, headers, body, call.keep_bytes)
            location = answer.header("location")
            if answer.status not in _REDIRECTS or location is None or not left:
                return answer
            left -= 1
            following = self._reach.target(urldefrag(urljoin(target.url, location)).url)
            headers = _without(headers, {name.lower() for name, _ in call.secret_headers})
            if following[:3] != target[:3]:
                headers = _without(headers, _OF_AN_ORIGIN)
            if answer.status == 303 or method in _BECOME_GET.get(answer.status, ()):
                method, body = "HEAD" if method == "HEAD" else "GET", b""
                headers = _without(headers, _OF_A_BODY)
            target = following

    async def _once(
        self, method: str, target: Target, headers: Headers, body: bytes, keep_bytes: int
    ) -> Answer:
        fields = [("Host", target.authority), *headers]
        if body or method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", str(len(body))))
        request = httpcore.Request(
            method,
            httpcore.URL(
                scheme=target.scheme.encode(),
                host=target.host.encode(),
                # A proxy is sent the whole URL, which has no port where it is the scheme's.
                port=None if target.port == DEFAULT_PORTS[target.scheme] else target.port,
                target=target.path.encode(),
            ),
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields],
            content=body,
        )
        response = await self._pool.handle_async_request(request)
        try:
            kept, is_whole = await _beginning(response, keep_bytes)
        finally:
            await response.aclose()
        return Answer(
            status=response.status,
            headers=[
                (name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, value in response.headers
            ],
            body=kept,
            is_whole=is_whole,
            url=target.url,
        )


def _proxy(url: str) -> httpcore.Proxy:
    parts = urlsplit(url)
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    return httpcore.Proxy(url, auth=auth)


async def _beginning(response: httpcore.Response, most: int) -> tuple[bytes, bool]:
    chunks, size = [], 0
    async for chunk in response.aiter_stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            return b"".join(chunks)[:most], False
    return b"".join(chunks), True


def _without(headers: Headers, names: frozenset[str] | set[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in names]


def _reason(error: BaseException) -> str:
    # Some of httpcore's say nothing themselves and wrap an error that does.
    inner = error.args[0] if error.args else error.__cause__
    while isinstance(inner, BaseException) and not str(inner) and inner.__cause__ is not None:
        inner = inner.__cause__
    said = str(inner) if inner is not None else ""
    return said[:300] or type(error).__name__
