from __future__ import annotations

import socket

import pytest

from afterwards.server import listener
from afterwards.settings import Settings


def test_an_address_that_is_given_up_soon_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr("afterwards.server.listener.time.sleep", lambda _: taken.close())
    with listener.listen(Settings(bind=address)) as ours:
        assert str(listener.Address.of(ours)) == f"http://{address}"
