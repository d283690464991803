"""The places that requests of the service may go to.

A URL comes from a client, so it may name what the client cannot reach and the service can: the
machine itself, its network, the metadata of its cloud. Names prove nothing, as anybody can have a
name lead to any address. So the address decides, at the moment it is connected to, and the host and
the port of the URL are checked besides.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

ANY_HOST: Final = "*"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_URL_CHARACTERS: Final = 2_048
_MAX_HOST_CHARACTERS: Final = 253
"""RFC 1035, 2.3.4, without the root's dot."""

# The IANA registries of special-purpose addresses (RFC 6890 and its successors): all that are not
# "globally reachable", and those that lead to an address within them.
_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier's customers; metadata of one cloud
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public, and metadata of one cloud
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; metadata of one cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is globally reachable lies in here, NAT64 excepted."""
_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: any IPv4 address
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""


_ODD: Final = re.compile(r"""[^!-~]|[\\<>"`{}|^]""")
"""A character that no URL has (RFC 3986, 2), and that some parsers take all the same."""
_NETLOC: Final = re.compile(r"([^\[\]:]+|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\])(:[0-9]*)?")
"""A host and a port. Some parsers pass over what stands behind a bracket. A zone in the brackets
(RFC 6874) names an interface of this machine."""
_NUMBER: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""A host that resolvers take for an IPv4 address in another spelling; no top-level domain is one
(WHATWG URL, 3.5)."""
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class Refused(ValueError):
    """A request of the service must not go there. The text names the place and the setting."""


class Target(NamedTuple):
    """The parts of a URL, as they are connected to and sent."""

    scheme: str
    host: str
    """In ASCII, in lower case, without a dot at its end and without brackets."""
    port: int
    path: str
    """With the query, in ASCII."""

    @property
    def authority(self) -> str:
        """The value of `Host` (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without its path."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.origin}{self.path}"


@dataclass(frozen=True, slots=True)
class Reach:
    """The hosts, ports and networks that may be reached.

    Args:
        hosts: names (`api.example.com`), names of a domain (`*.example.com`), addresses, or `*` for
            all. None of them opens a network that is not public.
        ports: the ports of URLs.
        networks: networks that may be reached although they are not public.
        setting: the setting that lists `hosts`.
    """

    hosts: tuple[str, ...] = ()
    ports: frozenset[int] = frozenset(DEFAULT_PORTS.values())
    networks: tuple[Network, ...] = ()
    setting: str = "AFTERWARDS_HTTP_HOSTS"

    def target(self, url: str) -> Target:
        """The parts of a URL that may be requested, as far as the URL itself tells.

        Raises:
            Refused: it may not, or it is no URL of http or https.
        """
        target = parsed(url)
        if not is_listed(target.host, self.hosts):
            raise Refused(
                f"{target.host[:100]!r} is not among the hosts that may be called; "
                f"{self.setting} lists them"
            )
        if target.port not in self.ports:
            raise Refused(
                f"port {target.port} is not among the ports that may be called; "
                "AFTERWARDS_HTTP_PORTS lists them"
            )
        address = _address_of(target.host)
        if address is not None:
            self.require(address)
        return target

    def require(self, address: Address) -> None:
        """Take an address to connect to.

        Raises:
            Refused: it is not public, and in none of the networks that are allowed.
        """
        reached = reached_by(address)
        if is_public(address) or any(reached in network for network in self.networks):
            return
        raise Refused(
            f"{address} is not a public address; to allow it, add its network to "
            "AFTERWARDS_HTTP_NETWORKS"
        )


def is_listed(host: str, patterns: Iterable[str]) -> bool:
    """True if one of the patterns has this host: its name, `*.` and its domain, or `*`."""
    return any(
        pattern in (ANY_HOST, host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))
        for pattern in patterns
    )


def host_pattern(text: str) -> str:
    """A pattern of `Reach.hosts` from its text, as hosts are compared with it.

    Raises:
        ValueError: it is none.
    """
    pattern = text.strip().lower().removesuffix(".")
    if pattern == ANY_HOST:
        return pattern
    domain = pattern.removeprefix("*.")
    try:
        host = _host_of(domain)
    except Refused:
        host = ""
    if not host or (domain != pattern and _address_of(host) is not None):
        raise ValueError(
            "must be names like api.example.com or *.example.com, without scheme and port, or *"
        )
    return pattern.removesuffix(domain) + host


def reached_by(address: Address) -> Address:
    """The address that is reached by way of another one: an IPv4 address that one of IPv6 maps."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """True if the address is reached over the internet, by anybody."""
    reached = reached_by(address)
    if isinstance(reached, ipaddress.IPv4Address):
        return not _is_in(reached, _NOT_PUBLIC_V4)
    # A zone (RFC 4007) names an interface of this machine.
    return (
        reached.scope_id is None and reached in _UNICAST_V6 and not _is_in(reached, _NOT_PUBLIC_V6)
    )


def parsed(url: str) -> Target:
    """The parts of a URL.

    What parsers understand differently is refused, so that no other reading of the same text leads
    elsewhere.

    Raises:
        Refused: it is no URL of http or https, or has a user, a fragment or an odd character.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise Refused(f"a URL has at most {MAX_URL_CHARACTERS:,} characters, not {len(url):,}")
    odd = _ODD.search(url)
    if odd is not None:
        raise Refused(
            f"a URL has no {odd[0]!r}; encode it as % and two digits, or in a host as Punycode"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"{url[:100]!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise Refused(f"only http and https URLs may be called, not {scheme[:20]!r}")
    if parts.username is not None or parts.password is not None:
        raise Refused("a URL has no user and no password here; send a header")
    if parts.fragment or url.endswith("#"):
        raise Refused("a URL has no fragment here: it would not be sent")
    if _NETLOC.fullmatch(parts.netloc) is None:
        raise Refused(f"{parts.netloc[:100]!r} is not a host and a port")
    host = _host_of(parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, path)


def _host_of(text: str) -> str:
    host = text.lower().removesuffix(".")
    address = _address_of(host)
    if address is not None:
        return str(address)
    if len(host) > _MAX_HOST_CHARACTERS or _NAME.fullmatch(host) is None:
        raise Refused(f"{text[:100]!r} is not the name or the address of a host")
    if _NUMBER.fullmatch(host) is not None:
        raise Refused(f"{text[:100]!r} is an odd spelling of an address; write it as four numbers")
    return host


def _address_of(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def network_of(text: str) -> Network:
    """A network from its text, such as `10.1.0.0/16`.

    Raises:
        ValueError: it is none.
    """
    return ipaddress.ip_network(text.strip())


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks from their texts; raises as `network_of`."""
    return tuple(network_of(text) for text in texts)
