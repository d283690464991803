"""The messages to the service manager, and their moments."""

from __future__ import annotations

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from afterwards.server import service_manager
from afterwards.server.generations import Result
from afterwards.server.service_manager import ServiceManager
from afterwards.system.notify_socket import NotifySocket

RENEWED = Result(2, "12 task types", failed=False)


class Listener:
    """Stands for the socket."""

    def __init__(self) -> None:
        self.watchdog = True
        self.is_there = True
        self.heard: list[str] = []

    def send(self, *assignments: str) -> None:
        if not self.is_there:
            raise ConnectionRefusedError(111, "Connection refused")
        self.heard.append(assignments[0])


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def manager(listener: Listener) -> ServiceManager:
    return ServiceManager(cast("NotifySocket", listener))


def test_ready_is_told_once(listener: Listener, manager: ServiceManager) -> None:
    manager.ready()
    manager.ready()
    assert listener.heard == ["READY=1"]


def test_ready_is_told_again_until_it_is_heard(listener: Listener, manager: ServiceManager) -> None:
    listener.is_there = False
    with capture_logs() as logs:
        manager.ready()
        manager.ready()
    assert len(logs) == 1
    listener.is_there = True
    manager.ready()
    assert listener.heard == ["READY=1"]


def test_a_reload_is_told_with_its_end(listener: Listener, manager: ServiceManager) -> None:
    manager.ready()
    manager.begun(1)
    manager.ended(1, RENEWED)
    assert listener.heard == ["READY=1", "RELOADING=1", "READY=1"]


def test_a_reload_s_end_that_is_not_heard_is_told_later(
    listener: Listener, manager: ServiceManager
) -> None:
    manager.ready()
    manager.begun(1)
    listener.is_there = False
    manager.ended(1, RENEWED)
    listener.is_there = True
    manager.ready()
    assert listener.heard == ["READY=1", "RELOADING=1", "READY=1"]


def test_a_reload_makes_no_service_ready_that_does_not_serve_yet(
    listener: Listener, manager: ServiceManager
) -> None:
    manager.begun(1)
    manager.ended(1, RENEWED)
    assert listener.heard == []


def test_a_service_that_stops_is_not_ready_again(
    listener: Listener, manager: ServiceManager
) -> None:
    manager.ready()
    manager.begun(1)
    manager.stopping()
    manager.ended(1, RENEWED)
    assert listener.heard == ["READY=1", "RELOADING=1", "STOPPING=1"]


def test_life_is_told_once_a_second(
    listener: Listener, manager: ServiceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    clock: Any = type("Clock", (), {"monotonic": staticmethod(lambda: now[0])})
    monkeypatch.setattr(service_manager, "time", clock)
    for _ in range(20):
        manager.alive()
        now[0] += 0.1
    assert listener.heard == ["WATCHDOG=1"] * 2


def test_nobody_is_told_of_life_who_does_not_watch(
    listener: Listener, manager: ServiceManager
) -> None:
    listener.watchdog = False
    manager.alive()
    assert listener.heard == []
