"""The connections of one web worker: how many there may be, whose, and who gives way to whom."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Protocol, TypeAlias

from afterwards.logs import get_logger

log = get_logger(__name__)

SHARE: Final = 4
"""One address holds at most one in so many of the connections, and of the bytes in flight."""

TRIALS: Final = 32
"""Connections beyond the limit that are held until their request is known: it may be a check of
the service's health."""

BYTES_IN_FLIGHT: Final = 64 * 2**20
"""So many bytes may large bodies that are not answered, and large answers that clients have not
taken, have together."""

_IPV6_SITE_BITS: Final = 64
_SECONDS_BETWEEN_WARNINGS: Final = 60.0

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Connection(Protocol):
    """A counted connection, which can be closed for the sake of another."""

    def give_way(self) -> None:
        """Close, for another one's sake."""


@dataclass(slots=True)
class Client:
    """The connections that count as one address's."""

    key: str
    most: int
    """Connections it may have."""
    most_bytes: int
    """It may have in flight."""
    held: int = 0
    """Connections it has, those on trial, too."""
    count: int = 0
    """The number of them that have a place of their own."""
    bytes_in_flight: int = 0
    idle: dict[Connection, None] = field(default_factory=dict)
    """Connections that no request is answered on, the longest idle first."""


class Connections:
    """All connections of a worker.

    An idle connection is one that no request is being answered on. At the limit, the longest idle
    one closes for the sake of a new one; at an address's share, the longest idle one of that
    address. Where none is idle, the new one is on trial.

    Args:
        limit: so many connections, at least 1.
        trusted: proxies: an address in one of these networks may hold all of them.
    """

    def __init__(self, limit: int, trusted: Iterable[str] = ()) -> None:
        self.limit = limit
        self._share = max(1, limit // SHARE)
        self._trusted: tuple[Network, ...] = tuple(map(ipaddress.ip_network, trusted))
        self._clients: dict[str, Client] = {}
        self._count = 0
        self._idle: dict[Connection, None] = {}
        self._trials: dict[Connection, None] = {}
        self._bytes_in_flight = 0
        self._warned_at = -_SECONDS_BETWEEN_WARNINGS

    def client_of(self, address: str | None) -> Client:
        """The client that the connections of a peer count for; None is a peer without an address.

        A site with IPv6 has a network of 64 bits at least, and counts as one address.
        """
        key = _site(address)
        client = self._clients.get(key)
        if client is None:
            is_whole = address is None or self._is_trusted(address)
            most = self.limit if is_whole else self._share
            most_bytes = BYTES_IN_FLIGHT if is_whole else BYTES_IN_FLIGHT // SHARE
            client = self._clients[key] = Client(key, most, most_bytes)
        return client

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted:
            return False
        parsed = _plain(ipaddress.ip_address(address.partition("%")[0]))
        return any(parsed in network for network in self._trusted)

    def open(self, connection: Connection, client: Client) -> bool:
        """Count a new connection, which is idle; others may have to give way to it.

        Returns:
            Whether there is room for it. If not, it is on trial until `admit` or `close`.
        """
        client.held += 1
        if self.admit(connection, client):
            return True
        self._warn(client)
        if len(self._trials) >= TRIALS:
            next(iter(self._trials)).give_way()
        self._trials[connection] = None
        return False

    def admit(self, connection: Connection, client: Client) -> bool:
        """Count a connection that was on trial, if there is room for it by now."""
        if client.count >= client.most:
            idle = client.idle
        elif self._count >= self.limit:
            idle = self._idle
        else:
            idle = None
        if idle is not None:
            if not idle:
                return False
            self._warn(client)
            next(iter(idle)).give_way()
        self._trials.pop(connection, None)
        self._count += 1
        client.count += 1
        self.become_idle(connection, client)
        return True

    def become_idle(self, connection: Connection, client: Client) -> None:
        """Note that a counted connection is idle from now on."""
        self._idle[connection] = client.idle[connection] = None

    def become_busy(self, connection: Connection, client: Client) -> None:
        """Note that a request is being answered on a connection."""
        self._idle.pop(connection, None)
        client.idle.pop(connection, None)

    def close(self, connection: Connection, client: Client) -> None:
        """Forget a connection. Called once for each, by `give_way` or after its end."""
        self.become_busy(connection, client)
        client.held -= 1
        if connection in self._trials:
            del self._trials[connection]
        else:
            self._count -= 1
            client.count -= 1
        self._forget(client)

    def take(self, length: int, client: Client) -> None:
        """Count so many bytes of a body or an answer as in flight."""
        self._bytes_in_flight += length
        client.bytes_in_flight += length

    def has_room(self, length: int, client: Client) -> bool:
        """True if so many more bytes may be in flight."""
        return (
            self._bytes_in_flight + length <= BYTES_IN_FLIGHT
            and client.bytes_in_flight + length <= client.most_bytes
        )

    def give_back(self, length: int, client: Client) -> None:
        """Note that the client has taken what `take` counted, or is gone."""
        self._bytes_in_flight -= length
        client.bytes_in_flight -= length
        self._forget(client)

    def _forget(self, client: Client) -> None:
        if not client.held and not client.bytes_in_flight:
            self._clients.pop(client.key, None)

    def _warn(self, client: Client) -> None:
        now = monotonic()
        if now - self._warned_at < _SECONDS_BETWEEN_WARNINGS:
            return
        self._warned_at = now
        if client.count >= client.most and client.most < self.limit:
            log.warning(
                "an address holds its share of connections; its longest idle ones close for its "
                "new ones (a proxy: AFTERWARDS_TRUSTED_PROXIES)",
                address=client.key,
                share=client.most,
            )
        else:
            log.warning(
                "connections are at their limit; the longest idle close for new ones "
                "(AFTERWARDS_MAX_CONNECTIONS)",
                limit=self.limit,
            )


def _plain(address: IPAddress) -> IPAddress:
    """An IPv4 address that was mapped into IPv6 (RFC 4291, 2.5.5.2), as itself."""
    return getattr(address, "ipv4_mapped", None) or address


def plain(address: str) -> str:
    """An address as its own kind writes it: an IPv4 client of an IPv6 socket has one of IPv4."""
    return str(_plain(ipaddress.ip_address(address))) if address.startswith("::ffff:") else address


def _site(address: str | None) -> str:
    if address is None or ":" not in address:
        return address or ""
    parsed = _plain(ipaddress.ip_address(address.partition("%")[0]))
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_SITE_BITS), strict=False))
