"""Connections to addresses that may be reached, for httpcore."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import httpcore

from afterwards.outgoing.reach import Address, Reach, Refused

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a name, the preferred one first. Raises `OSError`."""

_MOST_ADDRESSES: Final = 8
"""A name may have any number of addresses; each takes a part of the time to connect."""
_LOOK_UPS: Final = ThreadPoolExecutor(32, "look-up")
"""uvloop has four threads for look-ups, which four slow name servers would keep from all others."""
_ADDRESS_SECONDS: Final = 3.0
"""The time after which the next address is tried."""


async def resolved(host: str, port: int) -> Sequence[Address]:
    """The addresses that the system's resolver gives for a name, or for an address itself."""
    loop = asyncio.get_running_loop()
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await loop.run_in_executor(_LOOK_UPS, ask)
    return [ipaddress.ip_address(place[0]) for *_, place in found]


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to a name by the addresses that it has now, and to those that may be reached only.

    The address that is checked is the one that is connected to: there is no second look-up, which a
    name server could answer otherwise (DNS rebinding). TLS goes on with the name of the URL.
    """

    def __init__(
        self,
        reach: Reach,
        resolve: Resolve = resolved,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._reach = reach
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend() if network is None else network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            Refused: the name has no address that may be reached.
            httpcore.ConnectTimeout: not within `timeout` seconds, the look-up included.
            httpcore.ConnectError: no such name, or no address answers.
        """
        try:
            async with asyncio.timeout(timeout):
                addresses = self._permitted(await self._addresses(host, port))
                return await self._first(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(error) from error

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        try:
            return await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(error) from error

    def _permitted(self, addresses: Sequence[Address]) -> list[Address]:
        permitted, refusal = [], None
        for address in dict.fromkeys(addresses):
            try:
                self._reach.require(address)
            except Refused as error:
                refusal = refusal or error
            else:
                permitted.append(address)
        if not permitted:
            raise refusal or httpcore.ConnectError("the name has no address")
        return permitted[:_MOST_ADDRESSES]

    async def _first(
        self,
        addresses: Sequence[Address],
        port: int,
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> httpcore.AsyncNetworkStream:
        for address in addresses[:-1]:
            try:
                async with asyncio.timeout(_ADDRESS_SECONDS):
                    return await self._network.connect_tcp(
                        str(address), port, None, local_address, socket_options
                    )
            except (TimeoutError, httpcore.ConnectError):
                continue
        return await self._network.connect_tcp(
            str(addresses[-1]), port, None, local_address, socket_options
        )
