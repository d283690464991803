"""The deployment runs: built, brought up, used, watched, killed, loaded, backed up, stopped.

In this order, on one stack: each test finds it as the one before has left it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from functools import partial

import pytest

from tests.deploy.files import ROOT, alerts, queries
from tests.deploy.stack import Stack
from tests.integration.conftest import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

NOTIFICATION = {"email": "johndoe@example.com", "message": "x"}
TASKS = (
    ("/notify/", NOTIFICATION),
    ("/report/", {"name": "n", "details": {}}),
    ("/file/", {"content": {"a": 1}}),
    ("/send-email", {"email": "johndoe@example.com", "subject": "s", "body": "b"}),
)
BOUNCING = {"email": "bounce@simulator.example", "message": "x"}
BACKUP = "/backups/journal.sqlite3"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if shutil.which("docker") is None:
        pytest.fail("docker is not on the PATH")
    stack = Stack()
    try:
        stack.up()
        yield stack
    finally:
        sys.stdout.write(stack.logs()[-20_000:])
        stack.down()


def finish(stack: Stack, task_ids: list[str]) -> list[str]:
    """Their final states, once all have one."""
    return [
        wait_for(partial(stack.status, task_id), f"task {task_id} finished", 60)
        for task_id in task_ids
    ]


def test_the_image_adds_at_most_120_mb_to_its_base(stack: Stack) -> None:
    assert 0 < stack.added_bytes() <= 120_000_000


def test_the_container_can_do_no_more_than_it_needs(stack: Stack) -> None:
    container = stack.inspect()
    assert container["Config"]["User"] == "10001:10001"
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["Init"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] == 2**30
    published = [each["HostIp"] for ports in host["PortBindings"].values() for each in ports]
    assert published == ["127.0.0.1"]


def test_there_is_nothing_in_it_to_build_or_install_with(stack: Stack) -> None:
    assert stack.inside("id -u").stdout.strip() == "10001"
    assert stack.inside("touch /opt/afterwards/x").returncode != 0
    for program in ("gcc", "cc", "make"):
        assert stack.inside(f"command -v {program}").returncode != 0
    assert stack.inside("python -c 'import pip'").returncode != 0


def test_tasks_submitted_to_the_published_port_are_done(stack: Stack) -> None:
    submitted = [stack.submit(path, body) for path, body in TASKS]
    bounced = stack.submit("/notify/", BOUNCING)

    assert finish(stack, submitted) == ["success"] * len(TASKS)
    assert finish(stack, [bounced]) == ["failed"]
    (file,) = stack.inside("ls /outputs").stdout.split()
    assert file == f"{submitted[2]}.json"


def shows(stack: Stack, expr: str, value: float) -> bool:
    return stack.query(expr) == [value]


def test_prometheus_has_them_from_its_scrape(stack: Stack) -> None:
    expected = {
        "sum(afterwards_tasks_submitted_total)": len(TASKS) + 1,
        'sum(afterwards_tasks{state="success"})': len(TASKS),
        'sum(afterwards_task_transitions_total{state="failed"})': 1,
        "sum(instance_type:afterwards_tasks_failed:sum)": 1,
    }
    for expr, value in expected.items():
        wait_for(partial(shows, stack, expr, value), expr)
    assert stack.query('up{job="afterwards"}') == [1.0]


def test_a_killed_container_comes_back_with_its_unfinished_tasks(stack: Stack) -> None:
    running = [stack.submit("/send-email", TASKS[3][1]) for _ in range(20)]

    # Everything in it but its init at once; the shell that does it dies, too. `docker kill` would
    # not do: what an operator has killed is not started again.
    stack.inside("kill -KILL -1")

    wait_for(lambda: stack.inspect()["RestartCount"] == 1, "container started again")
    wait_for(stack.is_ready, "service ready again", 60)
    assert finish(stack, running) == ["success"] * len(running)
    assert all(stack.status(task_id) == "success" for task_id in running)


def test_the_alert_for_lost_attempts_fires_and_no_other(stack: Stack) -> None:
    wait_for(lambda: stack.firing() == {"AfterwardsAttemptsLost"}, "the alert fires", 60)
    assert "AfterwardsAttemptsLost" in alerts()


def test_locust_loads_it_for_ten_seconds(stack: Stack) -> None:
    assert (ROOT / "loadtests" / "locustfile.py").exists()
    (before,) = stack.query("sum(afterwards_tasks_submitted_total)")

    options = ("--headless", "--users", "10", "--spawn-rate", "10", "--run-time", "10s")
    run = stack.compose("--profile", "load", "run", "--rm", "-T", "locust", *options, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    more = f"sum(afterwards_tasks_submitted_total) > {before + 20}"
    wait_for(lambda: stack.query(more), "its tasks in Prometheus")


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.title)
def test_a_panel_has_data(stack: Stack, query: tuple[str, str]) -> None:
    _, expr = query
    wait_for(lambda: stack.query(expr), expr)


def test_a_backup_is_made_while_it_runs_and_restored_while_it_does_not(stack: Stack) -> None:
    running = stack.submit("/send-email", TASKS[3][1])
    made = stack.compose("exec", "-T", "api", "afterwards", "backup", BACKUP)
    assert made.stdout.startswith(f"{BACKUP}: backup of /data; unfinished tasks: ")
    later = stack.submit("/notify/", NOTIFICATION)
    restore = ("run", "--rm", "-T", "--no-deps", "api", "restore", BACKUP)

    refused = stack.compose(*restore, check=False)
    assert refused.returncode == 1
    assert "the data directory /data is in use by another service" in refused.stderr
    assert stack.is_ready()

    stack.compose("stop", "api")
    assert stack.compose(*restore).stdout.startswith("/data: restored from ")
    stack.compose("up", "--detach", "--wait", "--wait-timeout", "60", "api")
    assert finish(stack, [running]) == ["success"]
    assert stack.api.get(f"/status/{later}").status_code == 404


def test_it_stops_in_order_within_its_grace(stack: Stack) -> None:
    stack.compose("stop", "api")
    state = stack.inspect()["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
