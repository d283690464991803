"""Webhooks of a real service, at receivers that verify with the library of the standard."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from afterwards.task_types.webhook import AT_ONCE
from afterwards_client import verify_webhook
from tests.integration.conftest import Service, wait_for
from tests.webhooks.receiver import Received, Receiver, receiving

HELLO = {"type": "notification", "payload": {"email": "a@example.com", "message": "Hello"}}
BOUNCE = {"type": "notification", "payload": {"email": "bounce@simulator.example", "message": ""}}
OWN = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OF_THE_SERVICE = "whsec_" + base64.b64encode(bytes(range(64))).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class World:
    """A service, and the receivers that it may reach."""

    def __init__(self, directory: Path, receivers: int) -> None:
        self._stack = ExitStack()
        self.receivers = [self._stack.enter_context(receiving()) for _ in range(receivers)]
        self.closed_port = free_port()
        ports = [one.url.split(":")[2].partition("/")[0] for one in self.receivers]
        self.service = Service(
            directory,
            http_networks="127.0.0.0/8",
            http_ports=",".join([*ports, str(self.closed_port)]),
            webhook_secrets=OF_THE_SERVICE,
        )

    def close(self) -> None:
        self.service.kill_everything()
        self.service.client.close()
        self._stack.close()

    def put(self, name: str, url: str, **body: Any) -> str:
        """The secret of a new webhook, whose tasks have its name as a label."""
        body = {"url": url, "labels": {"for": name}, **body}
        answer = self.service.client.put(f"/webhooks/{name}", json=body)
        assert answer.status_code == 201, answer.text
        secret: str = answer.json()["secret"]
        return secret

    def submit(self, name: str, task: dict[str, Any] = HELLO, **members: Any) -> str:
        """The id of a finished task."""
        body = {**task, "labels": {"for": name}, **members}
        answer = self.service.client.post("/tasks", params={"wait": 20}, json=body)
        assert answer.status_code == 200, answer.text
        task_id: str = answer.json()["id"]
        return task_id

    def deliveries(self, name: str) -> list[dict[str, Any]]:
        query = {"type": "webhook", "label": f"webhook={name}"}
        found: list[dict[str, Any]] = self.service.client.get("/tasks", params=query).json()[
            "tasks"
        ]
        return found

    def ended(self, name: str, number: int = 1) -> list[dict[str, Any]]:
        """The deliveries of a webhook, once so many have ended."""

        def all_ended() -> list[dict[str, Any]]:
            found = self.deliveries(name)
            ended = [one for one in found if one["finished_at"] is not None]
            return ended if len(ended) >= number else []

        return wait_for(all_ended, f"{number} deliveries of {name} ended")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with three receivers, for all tests that do not end it."""
    world = World(tmp_path_factory.mktemp("service"), receivers=3)
    world.service.start()
    yield world
    world.close()


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    """The first receiver, as it was at the beginning."""
    receiver = world.receivers[0]
    receiver.reset()
    yield receiver
    receiver.reset()


def test_a_finished_task_is_told_of_once_and_verified(world: World, receiver: Receiver) -> None:
    secret = world.put("told", receiver.url)
    task_id = world.submit("told")
    failed = world.submit("told", BOUNCE)
    requests = receiver.wait_for(2)
    by_id = {request.id: request for request in requests}
    assert set(by_id) == {f"{task_id}_0_success", f"{failed}_0_failed"}
    event = by_id[f"{failed}_0_failed"].verified(secret)
    assert event["type"] == "task.failed"
    assert event["data"]["id"] == failed
    assert event["data"]["status"] == "failed"
    assert event["data"]["labels"] == {"for": "told"}
    assert event["data"]["error"]
    ours = verify_webhook(requests[0].headers, requests[0].body, secret)
    assert (ours.id, ours.data["id"]) == (
        requests[0].id,
        requests[0].verified(secret)["data"]["id"],
    )
    ended = world.ended("told", 2)
    assert [(one["status"], one["result"]) for one in ended] == [("success", {"status": 204})] * 2
    # None of the deliveries is told of itself.
    assert len(receiver.received) == 2


def test_a_webhook_is_told_only_of_what_fits(world: World, receiver: Receiver) -> None:
    world.put("picky", receiver.url, events=["failed"], types=["notification"])
    world.submit("picky")
    world.submit("picky", {"type": "file", "payload": {"content": {}}})
    failed = world.submit("picky", BOUNCE)
    world.ended("picky")
    assert [request.id for request in receiver.received] == [f"{failed}_0_failed"]


def test_a_receiver_that_was_down_is_told_when_it_is_up(world: World) -> None:
    url = f"http://127.0.0.1:{world.closed_port}/finished"
    secret = world.put("down", url)
    task_id = world.submit("down")
    query = {"status": "retrying", "label": "webhook=down"}
    wait_for(
        lambda: world.service.client.get("/tasks", params=query).json()["tasks"],
        "the delivery waits for another attempt",
    )
    with receiving(world.closed_port) as receiver:
        (request,) = receiver.wait_for(1)
        assert request.id == f"{task_id}_0_success"
        assert request.verified(secret)["data"]["id"] == task_id
        (delivery,) = world.ended("down")
    assert (delivery["status"], delivery["attempts"]) == ("success", 2)


def test_a_slow_receiver_delays_no_other(world: World) -> None:
    slow, quick = world.receivers[1:3]
    go_on = threading.Event()

    def slowly(_: Received) -> tuple[int, dict[str, str]]:
        assert go_on.wait(30)
        return 204, {}

    slow.answer = slowly
    world.put("slow", slow.url, labels={"for": "both"})
    world.put("quick", quick.url, labels={"for": "both"})
    ids = {world.submit("both") for _ in range(20)}
    # None has been answered by the slow one when the quick one has them all.
    told = {request.id for request in quick.wait_for(20)}
    assert told == {f"{task_id}_0_success" for task_id in ids}
    assert all(one["finished_at"] is None for one in world.deliveries("slow"))
    assert len(slow.received) <= AT_ONCE
    go_on.set()
    assert {one["status"] for one in world.ended("slow", 20)} == {"success"}


def test_a_receiver_that_is_gone_disables_its_webhook(world: World, receiver: Receiver) -> None:
    receiver.status = 410
    world.put("gone", receiver.url)
    world.submit("gone")
    (delivery,) = world.ended("gone")
    assert (delivery["status"], delivery["attempts"]) == ("failed", 1)
    assert "answered 410" in delivery["error"]
    client = world.service.client
    webhook = client.get("/webhooks/gone").json()
    assert (webhook["state"], "410" in webhook["disabled_because"]) == ("disabled", True)
    (entry,) = [
        one
        for one in client.get("/activity").json()["entries"]
        if (one["verb"], one["name"]) == ("disable", "gone")
    ]
    assert entry["actor"] is None
    world.submit("gone")
    receiver.status = 204
    assert client.post("/webhooks/gone/enable").json()["state"] == "enabled"
    told = world.submit("gone")
    world.ended("gone", 2)
    assert [request.id for request in receiver.received[1:]] == [f"{told}_0_success"]


def test_while_a_secret_is_rotated_both_verify(world: World, receiver: Receiver) -> None:
    first = world.put("rotated", receiver.url)
    client = world.service.client
    second = client.post("/webhooks/rotated/secret").json()["secret"]
    world.submit("rotated")
    (request,) = receiver.wait_for(1)
    assert request.verified(first) == request.verified(second)
    third = client.post("/webhooks/rotated/secret", json={"overlap_seconds": 0}).json()["secret"]
    world.submit("rotated")
    _, request = receiver.wait_for(2)
    assert len(request.headers["webhook-signature"].split(" ")) == 1
    assert request.verified(third)


def test_a_replay_sends_the_same_notice_again_and_a_test_another(
    world: World, receiver: Receiver
) -> None:
    secret = world.put("again", receiver.url)
    task_id = world.submit("again")
    (first,) = receiver.wait_for(1)
    client = world.service.client
    for body in ({"task_id": task_id}, {"since": "2026-01-01T00:00:00Z"}):
        answer = client.post("/webhooks/again/replay", json=body)
        assert (answer.status_code, answer.json()["replayed"]) == (202, 1)
    _, second, third = receiver.wait_for(3)
    assert {one.id for one in (first, second, third)} == {f"{task_id}_0_success"}
    assert first.body == second.body == third.body
    delivery = client.post("/webhooks/again/test").json()
    *_, test = receiver.wait_for(4)
    assert test.verified(secret)["type"] == "webhook.test"
    done = client.get(f"/tasks/{delivery['id']}", params={"wait": 20}).json()
    assert done["status"] == "success"


def test_a_callback_is_told_of_its_task_alone(world: World, receiver: Receiver) -> None:
    world.submit("none")
    own = world.submit("none", callback={"url": f"{receiver.url}/own", "secret": OWN})
    shared = world.submit("none", callback={"url": f"{receiver.url}/shared"})
    by_path = {request.path: request for request in receiver.wait_for(2)}
    assert by_path["/finished/own"].verified(OWN)["data"]["id"] == own
    assert by_path["/finished/shared"].verified(OF_THE_SERVICE)["data"]["id"] == shared
    answer = world.service.client.get("/tasks", params={"type": "webhook", "label": f"task={own}"})
    assert OWN not in answer.text
    assert len(answer.json()["tasks"]) == 1


def test_clients_can_neither_submit_nor_change_a_delivery(world: World, receiver: Receiver) -> None:
    client = world.service.client
    refused = client.post("/tasks", json={"type": "webhook", "payload": {}})
    assert refused.status_code == 422
    assert "the service alone makes and changes these tasks" in refused.text
    world.put("forged", receiver.url, events=["failed"])
    receiver.status = 410
    world.submit("forged", BOUNCE)
    (delivery,) = world.ended("forged")
    payload = {**delivery["payload"], "event": {"type": "task.success"}}
    for path, body in (
        (f"/tasks/{delivery['id']}/retry", {"payload": payload}),
        (f"/tasks/{delivery['id']}/retry", {"new_type": "file"}),
        ("/tasks/retry", {"ids": [delivery["id"]], "payload": payload}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 422 or answer.json()["skipped"] == 1, answer.text


def test_a_notice_whose_service_is_killed_is_delivered_after_its_start_under_the_same_id(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, receivers=1)
    (receiver,) = world.receivers
    killed = threading.Event()

    def never_the_first(request: Received) -> tuple[int, dict[str, str]]:
        if len(receiver.received) == 1:
            killed.wait(60)
        return 204, {}

    receiver.answer = never_the_first
    try:
        world.service.start()
        secret = world.put("killed", receiver.url)
        task_id = world.submit("killed")
        receiver.wait_for(1)
        world.service.kill_everything()
        killed.set()
        world.service.start()
        requests = receiver.wait_for(2)
        assert {request.id for request in requests} == {f"{task_id}_0_success"}
        assert requests[1].verified(secret)["data"]["id"] == task_id
        (delivery,) = world.ended("killed")
        assert delivery["status"] == "success"
    finally:
        killed.set()
        world.close()
