"""The httpx clients of both clients: made alike, and one for each process."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import httpx

from afterwards_client.errors import WrongEnvironment
from afterwards_client.version import USER_AGENT

H = TypeVar("H", httpx.Client, httpx.AsyncClient)

_LOOPBACK: Final = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


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


def own(kind: type[H], timeout: float) -> H:
    """An httpx client that says who it is, and asks no proxy for what is on this machine.

    Raises:
        WrongEnvironment: a variable that httpx reads has a value it cannot use.
    """
    # A pattern without a transport is reached directly, whatever the environment says.
    direct: dict[str, Any] = dict.fromkeys(_LOOPBACK)
    try:
        return kind(timeout=timeout, headers={"User-Agent": USER_AGENT}, mounts=direct)
    except (OSError, ssl.SSLError) as error:
        named = _set(_CERTIFICATES)
        missing = [name for name in named if not Path(os.environ[name]).exists()]
        raise WrongEnvironment(missing or named, error) from None
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        raise WrongEnvironment(_set(_PROXIES), error) from None


def without_user(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its user and password, and the header that says them (RFC 7617).

    httpx logs the URLs of its requests.
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    credentials = base64.b64encode(unquote_to_bytes(user)).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {credentials}"}


def _set(names: tuple[str, ...]) -> list[str]:
    return [name for each in names for name in (each, each.lower()) if os.environ.get(name)]
