"""Children and groups while hosts, workers, the registry and everything are killed (SIGKILL)."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import wait_for
from tests.integration.own_types import OwnTypesService, serving

MODULE = """
import asyncio, time
from pydantic import BaseModel
from afterwards import TaskType

class Name(BaseModel):
    name: str = ""

def names(payload):
    return [{"name": f"{payload.name}/{n}"} for n in ("now", "1", "2")]

def submit(payload, context):
    first, *rest = names(payload)
    context.submit("leaf", first, now=True)
    time.sleep(0.02)
    for name in rest:
        context.submit("leaf", name)
    return {}

async def submit_async(payload, context):
    first, *rest = names(payload)
    await context.submit("leaf", first, now=True)
    await asyncio.sleep(0.02)
    for name in rest:
        context.submit("leaf", name)
    return {}

async def leaf(payload, context):
    await asyncio.sleep(0.02)
    return {"name": payload.name}

async def total(payload, context):
    return {"ends": [member.status async for member in context.group]}

LEAF = TaskType("leaf", Name, leaf, max_attempts=20)
TOTAL = TaskType("total", Name, total, max_attempts=20)
A = TaskType("parent-async", Name, submit_async, max_attempts=20)
T = TaskType("parent-thread", Name, submit, executor="thread", max_attempts=20)
P = TaskType("parent-process", Name, submit, executor="process", max_attempts=20)
"""
KINDS = ("parent-async", "parent-thread", "parent-process")
VICTIMS = ("host", "worker", "registry", "host", "worker", "registry", "host", "everything")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[OwnTypesService]:
    (tmp_path / "family.py").write_text(MODULE)
    home = tmp_path / "home"
    home.mkdir()
    with serving(home, tmp_path, task_modules="family", workers="2") as running:
        yield running


def submit(service: OwnTypesService, number: int) -> Any:
    """A group of parents of all kinds, as soon as it is acknowledged."""
    names = [(kind, f"{number}-{kind}-{n}") for kind in KINDS for n in (1, 2)]
    tasks = [{"type": kind, "payload": {"name": name}} for kind, name in names]
    body = {"tasks": tasks, "then": {"type": "total", "on": "finished"}}
    headers = {"Idempotency-Key": f"round-{number}"}

    def acknowledged() -> Any:
        with suppress(httpx.TransportError):
            answer = service.post("/tasks/batch", body, headers)
            assert answer.status_code in (202, 503), answer.text
            return answer.json() if answer.status_code == 202 else None

    return wait_for(acknowledged, "a group is acknowledged")


def strike(service: OwnTypesService, victim: str, rng: random.Random) -> None:
    """Kill one of these (SIGKILL)."""
    if victim == "everything":
        service.kill_everything()
        service.start()
        return
    workers = service.worker_pids()
    victims = {
        "host": [child for worker in workers for child in children_of(worker)],
        "worker": workers,
        "registry": [service.registry_pid()],
    }[victim]
    with suppress(ProcessLookupError):
        os.kill(rng.choice(victims or workers), signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for children in found for child in children]


def read(service: OwnTypesService, path: str) -> Any:
    def answered() -> Any:
        with suppress(httpx.TransportError):
            answer = service.get(path)
            return answer.json() if answer.status_code == 200 else None

    return wait_for(answered, path)


def finished(service: OwnTypesService, task_id: str) -> Any:
    def look() -> Any:
        document = read(service, f"/tasks/{task_id}")
        return document if document["status"] in ("success", "failed", "cancelled") else None

    return wait_for(look, f"{task_id} finished")


def test_no_child_is_there_twice_or_lost_and_a_follower_starts_once_whatever_is_killed(
    service: OwnTypesService,
) -> None:
    rng = random.Random(7)
    groups = []
    for number, victim in enumerate(VICTIMS):
        groups.append(submit(service, number))
        # Another moment each time; whatever it hits, the same has to hold.
        time.sleep(rng.uniform(0.0, 0.3))
        strike(service, victim, rng)

    for group in groups:
        for parent in group["tasks"]:
            check_parent(service, finished(service, parent["id"]))
        check_group(service, group)


def check_parent(service: OwnTypesService, parent: Any) -> None:
    children = read(service, f"/tasks?parent={parent['id']}")["tasks"]
    found = Counter(child["payload"]["name"] for child in children)
    name = parent["payload"]["name"]
    if parent["status"] == "success":
        assert found == Counter([f"{name}/now", f"{name}/1", f"{name}/2"])
    else:
        # It was lost too often.
        assert found <= Counter([f"{name}/now"])
    for child in children:
        assert finished(service, child["id"])["parent"] == parent["id"]


def check_group(service: OwnTypesService, group: Any) -> None:
    then = finished(service, group["then"]["id"])
    members = [finished(service, member["id"]) for member in group["tasks"]]
    assert then["status"] == "success", then
    assert [one["outcome"] for one in then["history"]].count("success") == 1
    first = then["history"][0]["started_at"]
    assert all(member["finished_at"] <= first for member in members)
    assert then["result"] == {"ends": [member["status"] for member in members]}
    progress = read(service, f"/groups/{then['id']}")
    assert (progress["size"], progress["finished"]) == (len(members), len(members))
