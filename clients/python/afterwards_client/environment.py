"""Proxies and certificates in the environment: the variables of curl and of OpenSSL.

httpx reads them, too; but its errors name no variable, and show the value, password included.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import logging
import os
import re
import ssl
import sys
from pathlib import Path
from typing import Final
from urllib.request import getproxies

import httpx

from afterwards_client.errors import WrongEnvironment
from afterwards_client.urls import address_of, is_host, unreachable, without_all_before_at

_SCHEMES: Final = ("http", "https", "all")
_CERTIFICATE_FILE: Final = "SSL_CERT_FILE"
_CERTIFICATE_DIRECTORY: Final = "SSL_CERT_DIR"
_KEY_LOG: Final = "SSLKEYLOGFILE"

_MAPPED_BITS: Final = 96
"""The prefix of the IPv4-mapped addresses (RFC 4291, 2.5.5.2)."""

_SOCKS_LOGGER: Final = "httpcore.socks"
_SOCKS_USER: Final = re.compile(r"auth=\(.*?\)(?= |$)")


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy that is to be asked for this URL; None if it is reached directly.

    `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; in small letters they go first. What is
    on this machine is reached directly whatever they say, so that they are not even looked at.

    Raises:
        WrongEnvironment: one of them has a value that cannot be used.
    """
    if _is_this_machine(url.host):
        return None
    said = getproxies()
    exceptions = [entry for one in said.get("no", "").split(",") if (entry := one.strip())]
    if "*" in exceptions:
        return None
    proxies = {scheme: _proxy(scheme, said[scheme]) for scheme in _SCHEMES if said.get(scheme)}
    # All of them, so that a fault is told whatever the URL is.
    if [entry for entry in exceptions if _excepts(entry, url, said["no"])]:
        return None
    scheme = url.scheme if url.scheme in proxies else "all"
    proxy = proxies.get(scheme)
    if proxy is not None and proxy.url.scheme.startswith("socks"):
        _prepare_socks(_variable(scheme, said[scheme]))
    return proxy


def certificates() -> ssl.SSLContext:
    """Those to trust: of `SSL_CERT_FILE`, or else of `SSL_CERT_DIR`, or else the ones of httpx.

    What `ssl.create_default_context` does with them logs keys to `SSLKEYLOGFILE`, too.

    Raises:
        WrongEnvironment: they cannot be read, or that file cannot be written.
    """
    _check_key_log()
    file, directory = (os.environ.get(name) for name in (_CERTIFICATE_FILE, _CERTIFICATE_DIRECTORY))
    if not file and directory:
        # OpenSSL would say nothing, and trust nobody.
        if not any(Path(one).is_dir() for one in directory.split(os.pathsep)):
            raise WrongEnvironment([_CERTIFICATE_DIRECTORY], f"{directory!r} is no directory")
        return httpx.create_ssl_context()
    try:
        return httpx.create_ssl_context()
    except ssl.SSLError:
        problem = "has no certificate"
    except OSError as error:
        if not file:
            raise
        problem = f"cannot be read: {error.strerror}"
    raise WrongEnvironment([_CERTIFICATE_FILE], f"{file!r} {problem}")


def _check_key_log() -> None:
    """Open the file as `ssl` will; its error there could not be told from one of certificates."""
    path = os.environ.get(_KEY_LOG)
    if not path or sys.flags.ignore_environment:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = path
    except OSError as error:
        problem = f"{path!r} cannot be written: {error.strerror}"
    else:
        return
    raise WrongEnvironment([_KEY_LOG], problem)


def _proxy(scheme: str, value: str) -> httpx.Proxy:
    proxy = None
    with contextlib.suppress(ValueError, httpx.InvalidURL):
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
    # Not while the error is handled: it has the value, and so the password.
    if proxy is None:
        problem = "it is no URL of a proxy, such as http://proxy.example:3128"
        raise WrongEnvironment([_variable(scheme, value)], problem)
    fault = unreachable(proxy.url)
    if fault is not None:
        raise WrongEnvironment([_variable(scheme, value)], f"it {fault}")
    return proxy


def _prepare_socks(name: str) -> None:
    if importlib.util.find_spec("socksio") is None:
        raise WrongEnvironment(
            [name], "a SOCKS proxy needs the package socksio: pip install 'httpx[socks]'"
        )
    # httpcore logs what it is called with, the password included. A filter is only added once.
    logging.getLogger(_SOCKS_LOGGER).addFilter(_without_user)


def _without_user(record: logging.LogRecord) -> bool:
    record.msg = _SOCKS_USER.sub("auth=[secure]", str(record.msg))
    return True


def _excepts(entry: str, url: httpx.URL, value: str) -> bool:
    """True if this entry of `NO_PROXY` means the URL: an address, a network, or a domain."""
    network = _network(entry)
    if network is not None:
        address = address_of(url.host)
        return address is not None and address in network
    scheme, _, rest = entry.rpartition("://")
    host = None
    with contextlib.suppress(ValueError, httpx.InvalidURL):
        meant = httpx.URL(f"{scheme or 'all'}://{rest.removeprefix('*')}")
        host = meant.host
    if host is None or not (host == "" or is_host(meant.raw_host.removeprefix(b"."))):
        shown = without_all_before_at(entry)
        problem = f"{shown!r} is no host, domain or network"
        raise WrongEnvironment([_variable("no", value)], problem)
    if scheme not in ("", "all", url.scheme) or meant.port not in (None, url.port):
        return False
    if host in ("", url.host):
        return True
    # A domain means all that is in it; with a dot before it, not itself.
    return not scheme and url.host.endswith("." + host.removeprefix("."))


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if entry.startswith("[") and entry.endswith("]"):
        entry = entry[1:-1]
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    # As `address_of` has the addresses in it.
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def _is_this_machine(host: str) -> bool:
    """RFC 6761, 6.3, for the names."""
    name = host.removesuffix(".")
    address = address_of(host)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _variable(scheme: str, value: str) -> str:
    """The name of the variable that says so, as it is spelt; small letters go first."""
    lower = f"{scheme}_proxy"
    names = (name for name in sorted(os.environ, reverse=True) if name.lower() == lower)
    return next((name for name in names if os.environ[name] == value), "the system's settings")
