"""Waits behind a proxy that gives up before the service answers, and without anybody there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from afterwards.cli import main
from afterwards_client import ConnectionFailed, flows
from tests.client.documents import ID
from tests.client.stand import Proxy, Service, Stand, connected, eventually, stand

GIVES_UP_SECONDS = 0.15


@pytest.fixture(autouse=True)
def _short_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    # The shortest there is: the service is told whole seconds.
    monkeypatch.setattr(flows, "LONGEST_LEG_SECONDS", 1)


@pytest.fixture
def started() -> Iterator[Stand]:
    with stand() as one:
        yield one


@pytest.fixture
def service(started: Stand) -> Service:
    running: Service = started.start(Service())
    return running


kinds = pytest.mark.parametrize("kind", ["Client", "AsyncClient"])


@pytest.mark.parametrize("status", [502, 503, 504, None])
@kinds
def test_a_wait_goes_on_after_a_proxy_has_given_it_up(
    kind: str, status: int | None, started: Stand, service: Service
) -> None:
    proxy = started.start(Proxy(service.url, GIVES_UP_SECONDS, status))
    with connected(kind, proxy.url) as client, ThreadPoolExecutor(1) as pool:
        wait = pool.submit(client.result, ID)
        eventually(lambda: proxy.gave_up > 0, "the proxy gives up")
        # It asks at once how the task stands, and then waits again.
        again = [("GET", 1), ("GET", 0), ("GET", 1)]
        eventually(lambda: service.asked[:3] == again, "it waits again")
        started.call(service.finish)
        assert wait.result(20) == {"message": "Notification sent"}


@kinds
def test_a_task_is_known_although_every_wait_for_it_is_cut(
    kind: str, started: Stand, service: Service
) -> None:
    proxy = started.start(Proxy(service.url, GIVES_UP_SECONDS, status=None))
    with connected(kind, proxy.url) as client:
        submitted = client.submit("notification", wait=1)
    assert (submitted.id, submitted.is_finished) == (ID, False)
    assert proxy.gave_up > 0
    # The submission itself does not wait.
    assert service.asked[:2] == [("POST", 0), ("GET", 1)]


def test_the_command_says_the_id_before_it_waits(
    started: Stand, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = started.start(Proxy(service.url, GIVES_UP_SECONDS))
    said: list[str] = []

    def look() -> None:
        try:
            eventually(lambda: proxy.gave_up > 0, "the proxy gives up")
            said.extend(capsys.readouterr())
        finally:
            started.call(service.finish)

    looking = threading.Thread(target=look)
    looking.start()
    assert main(["submit", "notification", "--wait", "--url", proxy.url]) == 0
    looking.join()
    assert said == ["", f"afterwards: accepted as {ID}; waiting for its end\n"]
    out, err = capsys.readouterr()
    assert "status: success\n" in out
    assert err == ""


@pytest.fixture(params=["refused", "silent"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address that is closed, or one that never answers, as a stopped process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if request.param == "refused":
            listening.close()
        yield url


@kinds
def test_a_submission_takes_no_longer_than_its_wait_if_nobody_answers(kind: str, away: str) -> None:
    with connected(kind, away) as client:
        began = time.monotonic()
        with pytest.raises(ConnectionFailed):
            client.submit("notification", wait=1)
        # By itself it would be patient for half a minute.
        assert time.monotonic() - began < 15


@kinds
def test_a_wait_takes_two_seconds_more_at_most_if_nobody_answers(kind: str, away: str) -> None:
    with connected(kind, away) as client:
        began = time.monotonic()
        with pytest.raises(ConnectionFailed):
            client.wait(ID, timeout=0)
        assert time.monotonic() - began < 15
