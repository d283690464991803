"""The step of `docs/keys.md` that turns keys on, on a stack that runs without."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.files import ROOT
from tests.deploy.stack import RUNNING, Stack
from tests.integration.conftest import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

STEP = re.compile(r"^    (docker compose .+?)(?: &&)?$", re.MULTILINE)
TOKEN = re.compile(r"aw_\w{12}_[\w-]{43}")
WATCHED = 'up{job="afterwards"}'


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if shutil.which("docker") is None:
        pytest.fail("docker is not on the PATH")
    # What the builder gets, and deploy/: the step writes a key there.
    checkout = tmp_path_factory.mktemp("keys")
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    unwanted = shutil.ignore_patterns("__pycache__", ".env")
    for name in (*kept, "deploy", ".dockerignore"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, checkout / name)
    stack = Stack(checkout / "deploy")
    try:
        stack.up()
        yield stack
    finally:
        sys.stdout.write(stack.logs()[-20_000:])
        stack.down()


def lines() -> list[str]:
    section = (ROOT / "docs" / "keys.md").read_text().partition("## Compose and containers")[2]
    return STEP.findall(section.partition("\n**")[0])


def as_holder(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_step_requires_keys_and_prometheus_goes_on_with_one_of_its_own(stack: Stack) -> None:
    assert stack.api.get("/tasks").status_code == 200
    before = stack.inspect("prometheus")["Id"]
    make_its_key, make_a_key, restart = lines()
    stack.follow(make_its_key)
    [token] = TOKEN.findall(stack.follow(make_a_key))
    assert restart.endswith("up --detach")
    # Grafana is nothing that could be asked.
    stack.follow(f"{restart} {' '.join(RUNNING)}")

    assert stack.api.get("/tasks").status_code == 401
    assert stack.api.get("/tasks", headers=as_holder(token)).status_code == 200
    its_key = Path(stack.directory, "prometheus", "key").read_text().strip()
    assert stack.api.get("/metrics", headers=as_holder(its_key)).status_code == 200
    assert stack.api.get("/tasks", headers=as_holder(its_key)).status_code == 403
    assert stack.inspect("prometheus")["Id"] != before
    wait_for(lambda: stack.query(WATCHED) == [1.0], "Prometheus reads the metrics with its key")


def test_a_task_is_done_for_who_has_a_key_after_a_restart(stack: Stack) -> None:
    [token] = TOKEN.findall(
        stack.follow("docker compose exec -T api afterwards keys create jo --role submitter")
    )
    stack.compose("restart", "api")
    wait_for(stack.is_ready, "the service is ready again")
    note = {"email": "johndoe@example.com", "message": "x"}
    assert stack.api.post("/notify/", json=note).status_code == 401
    accepted = stack.api.post("/notify/", json=note, headers=as_holder(token))
    assert accepted.status_code == 202
    path = f"/tasks/{accepted.json()['task_id']}?wait=30"
    found = stack.api.get(path, headers=as_holder(token), timeout=40)
    assert found.json()["status"] == "success"
