"""Commands before a service that answers as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from afterwards.cli import remote
from afterwards_client import Client, Retries
from tests.client.conftest import IMPATIENT, Handler


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Handler]:
    handler = Handler()
    transport = httpx.MockTransport(handler)
    with httpx.Client(transport=transport) as http:

        def client(arguments: Any, retries: Retries = IMPATIENT) -> Client:
            return Client(remote.url(arguments), retries=IMPATIENT, http=http)

        monkeypatch.setattr(remote, "client", client)
        yield handler


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out
