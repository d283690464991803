"""Leads all clients that are made meanwhile to a fake service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx

from afterwards_client.async_sender import AsyncSender
from afterwards_client.connections import DEFAULT_URL, Connections
from afterwards_client.retries import Retries
from afterwards_client.testing.transport import FakeTransport


def quick(retries: Retries | None, clock: Callable[[], float]) -> Retries:
    """The patience of a client, by the fake's clock and without sleeping."""
    return replace(
        retries or Retries(), first_delay_seconds=0.0, max_delay_seconds=0.0, clock=clock
    )


@contextmanager
def installed(transport: FakeTransport, clock: Callable[[], float]) -> Iterator[None]:
    """Have each client that is made meanwhile use the transport, unless it is given its httpx.

    Args:
        clock: that of the fake.
    """
    made = Connections.__init__

    def make(self: Any, base_url: str = DEFAULT_URL, **options: Any) -> None:
        if options.get("http") is None:
            options["retries"] = quick(options.get("retries"), clock)
            awaited = isinstance(self, AsyncSender)
            options["http"] = (httpx.AsyncClient if awaited else httpx.Client)(transport=transport)
        made(self, base_url, **options)

    Connections.__init__ = make  # type: ignore[method-assign] # for as long as it is installed
    try:
        yield
    finally:
        Connections.__init__ = made  # type: ignore[method-assign] # as it was
