"""Server-sent events of a real service, whoever dies meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Service, wait_for
from tests.integration.test_uvicorn import UvicornService

FINAL = frozenset({"success", "failed", "cancelled"})
NOTICE = {"email": "a@example.com", "message": "Hello"}
ACCEPTED_ORDER = ("pending", "processing", "success")


def messages(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The fields of each message; `data` parsed. Comments and ids alone are messages, too."""
    fields: dict[str, Any] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name or "comment"] = json.loads(value) if name == "data" else value
        elif fields:
            yield fields
            fields = {}


class Listener:
    """A client that comes back with the last id it has seen, as `EventSource` does."""

    def __init__(self, service: Service, path: str) -> None:
        self.messages: list[dict[str, Any]] = []
        self.connections = 0
        self.ended = threading.Event()
        """Told to come back no more (204)."""
        self._service = service
        self._path = path
        self._last_id: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set() and not self.ended.is_set():
            with contextlib.suppress(httpx.TransportError):
                self._listen_once()
            self._over.wait(0.05)

    def _listen_once(self) -> None:
        headers = {} if self._last_id is None else {"Last-Event-ID": self._last_id}
        with httpx.stream(
            "GET", self._service.url + self._path, headers=headers, timeout=20
        ) as answer:
            if answer.status_code == 204:
                self.ended.set()
            elif answer.status_code == 200:
                self.connections += 1
                for message in messages(answer.iter_lines()):
                    self._last_id = message.get("id", self._last_id)
                    if "event" in message:
                        self.messages.append(message)
                    if self._over.is_set():
                        return

    def stop(self) -> None:
        self._over.set()

    def states_by_task(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for message in list(self.messages):
            if message["event"] == "state":
                data = message["data"]
                found.setdefault(data["task_id"], []).append(data["status"])
        return found

    def has_told_the_end_of(self, tasks: Sequence[str]) -> bool:
        told = self.states_by_task()
        return all(told.get(task_id, [""])[-1] in FINAL for task_id in tasks)

    def has_connected(self, times: int) -> bool:
        return self.connections >= times

    def resets(self) -> int:
        return sum(message["event"] == "reset" for message in list(self.messages))


@pytest.fixture
def listen() -> Iterator[Callable[[Service, str], Listener]]:
    made: list[Listener] = []

    def start(service: Service, path: str) -> Listener:
        listener = Listener(service, path)
        made.append(listener)
        wait_for(lambda: listener.connections, "listens")
        return listener

    yield start
    for listener in made:
        listener.stop()


Listen = Callable[[Service, str], Listener]


def test_a_task_is_followed_to_its_end_from_any_worker(service: Service, listen: Listen) -> None:
    service.post("/notify/", NOTICE)
    followed = []
    for _ in range(10):
        task_id = service.submit("/notify/", NOTICE)
        followed.append((task_id, Listener(service, f"/tasks/{task_id}/events")))
    for task_id, listener in followed:
        assert listener.ended.wait(20), task_id
        first, *rest = listener.messages
        assert (first["event"], first["data"]["id"]) == ("task", task_id)
        told = [first["data"]["status"], *(message["data"]["status"] for message in rest)]
        assert tuple(told) == ACCEPTED_ORDER[ACCEPTED_ORDER.index(told[0]) :]


def test_both_workers_tell_all_events_in_one_order(service: Service, listen: Listen) -> None:
    listeners = [listen(service, "/events") for _ in range(6)]
    ids = [service.submit("/notify/", NOTICE) for _ in range(20)]
    for listener in listeners:
        wait_for(partial(listener.has_told_the_end_of, ids), "all told")
        mine = [m for m in listener.messages if m["data"]["task_id"] in ids]
        assert {tuple(listener.states_by_task()[task_id]) for task_id in ids} == {ACCEPTED_ORDER}
        sequences = [int(m["id"].rpartition("-")[2]) for m in mine]
        assert sequences == sorted(set(sequences))


def test_a_filter_lets_through_what_it_says(service: Service, listen: Listen) -> None:
    listener = listen(service, "/events?type=notification&status=success&status=failed")
    service.submit("/report/", {"name": "Sales", "details": {}})
    task_id = service.submit("/notify/", NOTICE)
    wait_for(lambda: listener.messages, "told")
    assert listener.states_by_task() == {task_id: ["success"]}


def test_a_stream_opens_while_the_registry_is_away_and_goes_on(
    service: Service, listen: Listen
) -> None:
    """`EventSource` gives up for good on any other status than 200."""
    task_id = service.submit("/notify/", NOTICE)
    service.finished(task_id)
    registry = service.registry_pid()
    os.kill(registry, signal.SIGSTOP)
    try:
        one = listen(service, f"/tasks/{task_id}/events")
        everything = listen(service, "/events")
        assert not one.messages
    finally:
        os.kill(registry, signal.SIGCONT)
    assert one.ended.wait(20)
    assert [message["event"] for message in one.messages] == ["task"]
    task_id = service.submit("/notify/", NOTICE)
    wait_for(partial(everything.has_told_the_end_of, [task_id]), "told")
    assert (one.connections, everything.connections) == (1, 1)
    unknown = "00000000-0000-4000-8000-000000000000"
    assert service.get(f"/tasks/{unknown}/events").status_code == 404


def has_told_of_more(listener: Listener, successes: int) -> bool:
    return bool(listener.messages[-1]["data"]["tasks"]["success"] > successes)


def test_statistics_come_from_both_workers_and_go_on_when_the_registry_has_died(
    service: Service, listen: Listen
) -> None:
    listeners = [listen(service, "/stats/events") for _ in range(4)]
    task_id = service.submit("/notify/", NOTICE)
    service.finished(task_id)
    dead = service.registry_pid()
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: service.registry_pid() not in (0, dead), "another registry")
    # Of some task before this one, too.
    done = service.get("/stats").json()["tasks"]["success"]
    service.finished(service.submit("/notify/", NOTICE))
    for listener in listeners:
        wait_for(partial(has_told_of_more, listener, done), "told")
        assert listener.connections == 1
        assert {message["event"] for message in listener.messages} == {"stats"}
    past = service.get("/stats/series?range=1h").json()
    numbers = [number for number in past["submitted"] if number is not None]
    assert min(numbers) >= 0
    assert past["tasks"]["success"][-1] > done


def busy(service: Service, over: threading.Event) -> list[str]:
    ids: list[str] = []
    while not over.is_set():
        try:
            ids.append(service.submit("/notify/", NOTICE))
        except (httpx.TransportError, AssertionError):
            time.sleep(0.02)
    return ids


def test_each_transition_is_told_once_or_a_reset_whoever_is_killed(
    new_service: Callable[..., Service], listen: Listen
) -> None:
    service = new_service(workers="2")
    service.start()
    listeners = [listen(service, "/events") for _ in range(4)]
    over, ids = threading.Event(), []
    load = threading.Thread(target=lambda: ids.extend(busy(service, over)))
    load.start()

    for _ in range(2):
        before = [listener.connections for listener in listeners]
        for pid in service.worker_pids():
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: len(service.worker_pids()) == 2, "two workers")
        for listener, connections in zip(listeners, before, strict=True):
            wait_for(partial(listener.has_connected, connections + 1), "listens again")
    assert [listener.resets() for listener in listeners] == [0, 0, 0, 0], "all of one epoch"
    dead = service.registry_pid()
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: service.registry_pid() != dead, "another registry")
    for listener in listeners:
        wait_for(listener.resets, "told that events were missed")
    over.set()
    load.join(30)
    for task_id in ids:
        service.finished(task_id)

    last = ids[-1]
    for listener in listeners:
        wait_for(partial(listener.has_told_the_end_of, [last]), "told")
        check(listener)
        assert listener.resets() == 1


def check(listener: Listener) -> None:
    """Within an epoch no id comes twice, and of all that is told nothing is left out."""
    epochs: dict[str, list[int]] = {}
    for message in listener.messages:
        epoch, _, sequence = message["id"].rpartition("-")
        epochs.setdefault(epoch, []).append(int(sequence))
    assert len(epochs) == 2
    for sequences in epochs.values():
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))


@pytest.mark.parametrize("kind", ["serve", "uvicorn"])
def test_a_stop_is_not_held_by_streams_and_waits(
    tmp_path: Path, new_service: Callable[..., Service], listen: Listen, kind: str
) -> None:
    service = new_service() if kind == "serve" else UvicornService(tmp_path)
    service.set(notification_delay_seconds="0")
    service.start()
    try:
        listeners = [listen(service, "/events") for _ in range(20)]
        for listener in listeners:
            listener.stop()
        assert service.stop() in (0, -signal.SIGTERM)
    finally:
        service.kill_everything()
    # uvicorn says so of each that is cut off after REQUEST_DRAIN_SECONDS.
    assert "cancel" not in service.log_file.read_text().lower()


def test_a_stop_of_workers_moves_streams_to_the_new_ones(
    new_service: Callable[..., Service], listen: Listen
) -> None:
    service = new_service()
    service.start()
    listeners = [listen(service, "/events") for _ in range(4)]
    old = set(service.worker_pids())
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    ids = [service.submit("/notify/", NOTICE) for _ in range(20)]
    wait_for(lambda: not old & set(service.worker_pids()), "new workers")
    ids += [service.submit("/notify/", NOTICE) for _ in range(20)]
    for listener in listeners:
        wait_for(partial(listener.has_told_the_end_of, ids), "all told")
        assert {tuple(told) for told in listener.states_by_task().values()} == {ACCEPTED_ORDER}
        assert listener.resets() == 0
    assert service.stop() == 0
