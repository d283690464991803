"""URLs of a client that means harm, and names that lead where no request may go."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence

import httpcore
import pytest

from afterwards.outgoing.calls import Call
from afterwards.outgoing.client import Outgoing
from afterwards.outgoing.network import resolved
from afterwards.outgoing.reach import Address, Reach, Refused, networks_of, parsed

pytestmark = pytest.mark.anyio

TLS = ssl.create_default_context()
ANYWHERE = Reach(hosts=("*",), ports=frozenset({80, 443, 8080}))

NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "localtest.example": ["127.0.0.1"],
    "both.example": ["10.0.0.7", "192.168.1.1"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "unique-local.example": ["fd00:ec2::254"],
    "zoned.example": ["fe80::1%lo"],
    "none.example": ["0.0.0.0"],
}

HOSTILE = [
    # Addresses of the machine itself, in every spelling that a resolver takes.
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://localhost/",
    "http://localtest.example/",
    "http://LOCALTEST.example./",
    "http://six.example/",
    "http://mapped.example/",
    "http://nat64.example/",
    "http://none.example/",
    # Its network.
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://198.18.0.1/",
    "http://both.example/",
    "http://[fc00::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "http://[fec0::1]/",
    "http://zoned.example/",
    "http://unique-local.example/",
    # Metadata of clouds.
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://168.63.129.16/",
    "http://metadata.google.internal/computeMetadata/v1/",
    # Everybody, and nobody.
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://[ff02::1]/",
    # Other spellings of addresses that are public; a proxy may take them for others.
    "http://134744072/",
    "http://8.8.8/",
    "http://8.8.8.0x8/",
    # What parsers read differently.
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1\t.example.com/",
    "http://exam\nple.com/",
    "http://ⓛocalhost/",
    "http://127。0。0。1/",
    "http://%6c%6f%63alhost/",
    "http://[::1/",
    "http://[::1].example.com/",
    "http://[v1.a]/",
    "http://[8.8.8.8]/",
    "http:///path",
    "http://",
    "//example.com/",
    "http:example.com",
    "http://a..b/",
    "http://example.com:22/",
    "http://example.com:0/",
    "http://example.com:-1/",
    "http://example.com:99999/",
    "http://example.com:80:80/",
    # Other schemes.
    "file:///etc/passwd",
    "gopher://example.com/",
    "ftp://example.com/",
    "unix:///run/docker.sock",
    "jar:http://example.com!/",
    "javascript:alert(1)",
    "",
    "http://" + "a" * 254 + "/",
    "http://example.com/" + "a" * 2_100,
]


class Untouched(httpcore.AsyncNetworkBackend):
    """A network on which nothing may be connected to."""

    async def connect_tcp(self, host: str, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        raise AssertionError(f"connected to {host}")


async def names(host: str, port: int) -> Sequence[Address]:
    """The addresses of the names above; others by the system's resolver, which takes any number."""
    if host in NAMES:
        return [ipaddress.ip_address(text) for text in NAMES[host]]
    return await resolved(host, port)


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpcore, "AnyIOBackend", Untouched)


def test_there_are_at_least_sixty_of_them() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) > 60


@pytest.mark.parametrize("url", HOSTILE, ids=lambda url: url[:40].encode("unicode_escape").decode())
async def test_a_hostile_url_connects_to_nothing(url: str, untouched: None) -> None:
    async with Outgoing(ANYWHERE, tls=TLS, resolve=names) as outgoing:
        with pytest.raises(Refused):
            await outgoing.send(Call(method="GET", url=url, timeout_seconds=20))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.com", ("http", "example.com", 80, "/")),
        ("https://EXAMPLE.com.:8443/a?b=c%20d", ("https", "example.com", 8443, "/a?b=c%20d")),
        ("http://[2606:4700::1]:8080/", ("http", "2606:4700::1", 8080, "/")),
        ("http://xn--mnchen-3ya.example/", ("http", "xn--mnchen-3ya.example", 80, "/")),
        ("http://8.8.8.8?x", ("http", "8.8.8.8", 80, "/?x")),
    ],
)
def test_a_url_is_read_into_its_parts(url: str, target: tuple[object, ...]) -> None:
    assert parsed(url) == target


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://example.com:80/a", "http://example.com/a"),
        ("https://[2606:4700::1]:8443/", "https://[2606:4700::1]:8443/"),
    ],
)
def test_the_port_of_a_scheme_is_left_out_where_it_is_sent(url: str, sent: str) -> None:
    assert parsed(url).url == sent


@pytest.mark.parametrize(
    ("hosts", "url", "is_allowed"),
    [
        (("api.example.com",), "https://api.example.com/", True),
        (("api.example.com",), "https://API.example.com./", True),
        (("api.example.com",), "https://example.com/", False),
        (("api.example.com",), "https://api.example.com.evil.example/", False),
        (("*.example.com",), "https://a.b.example.com/", True),
        (("*.example.com",), "https://example.com/", False),
        (("*.example.com",), "https://evilexample.com/", False),
        (("8.8.8.8",), "http://8.8.8.8/", True),
        ((), "https://api.example.com/", False),
        (("*",), "https://api.example.com/", True),
    ],
)
def test_only_hosts_that_are_listed_may_be_called(
    hosts: tuple[str, ...], url: str, is_allowed: bool
) -> None:
    reach = Reach(hosts=hosts)
    if is_allowed:
        assert reach.target(url).url
    else:
        with pytest.raises(Refused, match="AFTERWARDS_HTTP_HOSTS"):
            reach.target(url)


@pytest.mark.parametrize(
    "text", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd00::1", "8.8.8.8", "2606::1"]
)
def test_a_network_that_is_allowed_and_all_public_ones_may_be_connected_to(text: str) -> None:
    reach = Reach(hosts=("*",), networks=networks_of(["10.1.0.0/16", "fd00::/8"]))
    reach.require(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["10.2.0.1", "127.0.0.1", "fc00::1", "::ffff:10.2.0.1"])
def test_an_allowed_network_opens_no_other(text: str) -> None:
    reach = Reach(hosts=("*",), networks=networks_of(["10.1.0.0/16", "fd00::/8"]))
    with pytest.raises(Refused, match=r"not a public address.*AFTERWARDS_HTTP_NETWORKS"):
        reach.require(ipaddress.ip_address(text))
