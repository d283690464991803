"""The client and the command line against a real service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import anyio
import pytest

from afterwards.cli import main
from afterwards_client import (
    AsyncClient,
    CancelledChildren,
    Client,
    Conflict,
    Gone,
    Invalid,
    NewSchedule,
    NewTask,
    NotFound,
    ResetEvent,
    Retries,
    StateEvent,
    TaskEvent,
    TaskFailed,
    WaitTimeout,
)
from tests.integration.conftest import AFTERWARDS, Service, started, wait_for

pytestmark = pytest.mark.processes

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
PAGE = Path(__file__).parents[2] / "docs" / "client.md"
EXAMPLES = re.findall(
    r"^```python\n(.+?)^```$", README.read_text() + PAGE.read_text(), re.MULTILINE | re.DOTALL
)
COMMANDS = re.findall(r"^```(?:console|sh)\n(.+?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)

HELLO = {"email": "johndoe@example.com", "message": "Hello"}
BOUNCE = {**HELLO, "email": "bounce@simulator.example"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


TALKING = """
from pydantic import BaseModel
from afterwards import TaskContext, TaskType

class Cards(BaseModel):
    numbers: list[str]

class Card(BaseModel):
    number: str

async def charge(payload: Card, context: TaskContext) -> dict[str, str]:
    if payload.number == "fail":
        raise ValueError("no such card")
    print(f"charging card {payload.number}")
    print("charged")
    return {}

async def charge_all(payload: Cards, context: TaskContext) -> dict[str, str]:
    for number in payload.numbers:
        context.submit("charge", {"number": number})
    return {}

CHARGE = TaskType("charge", Card, charge, max_attempts=1)
CHARGE_ALL = TaskType("charge-all", Cards, charge_all)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that every test of this page shares."""
    directory = tmp_path_factory.mktemp("service")
    (directory / "talking.py").write_text(TALKING)
    with started(Service(directory, task_modules="talking")) as service:
        yield service


@pytest.fixture
def client(running: Service) -> Iterator[Client]:
    with Client(running.url) as client:
        yield client


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Service]:
    """A service of one test's own, not started yet."""
    service = Service(tmp_path)
    yield service
    service.kill_everything()


def run(running: Service, *arguments: str, status: int = 0, stdin: str = "") -> str:
    """The output of a command."""
    command = subprocess.run(
        [AFTERWARDS, *arguments],
        env={**os.environ, "AFTERWARDS_URL": running.url},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert command.returncode == status, command.stderr
    return command.stdout


@pytest.fixture
def call(
    running: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """A command in this process, which takes less time to start."""
    monkeypatch.setenv("AFTERWARDS_URL", running.url)

    def called(*arguments: str, status: int = 0) -> str:
        assert main(arguments) == status
        return capsys.readouterr().out

    return called


def test_a_result_comes_as_soon_as_there_is_one(client: Client) -> None:
    task = client.submit("notification", HELLO)
    assert client.result(task.id, timeout=20) == {"message": "Notification sent"}
    done = client.get(task.id)
    assert (done.succeeded, done.attempts, done.history[-1].outcome) == (True, 1, "success")


def test_a_submission_may_wait_for_the_end(client: Client) -> None:
    assert client.submit("notification", HELLO, wait=20).succeeded


def test_a_key_makes_two_submissions_one_task(client: Client) -> None:
    first, second = (client.submit("notification", HELLO, idempotency_key="one") for _ in range(2))
    assert first.id == second.id


def test_many_are_accepted_in_their_order(client: Client) -> None:
    tasks = client.submit_many(
        [NewTask("report", {"name": str(n), "details": {}}) for n in range(9)]
    )
    assert [task.payload["name"] for task in tasks] == [str(n) for n in range(9)]
    assert all(client.wait(task.id, timeout=20).succeeded for task in tasks)


def test_a_task_follows_a_batch_and_tells_of_its_end(client: Client) -> None:
    failing = [NewTask("charge", {"number": number}) for number in ("1", "2", "fail")]
    batch = client.submit_many(failing, then=NewTask("notification", HELLO), on="finished")
    assert batch.then is not None
    assert client.wait(batch.then.id, timeout=20).succeeded
    group = client.group(batch.then.id)
    assert (group.size, group.finished, group.succeeded, group.failed) == (3, 3, 2, 1)
    assert [task.id for task in client.list(group=group.id)] == [task.id for task in batch[::-1]]


def test_a_task_is_cancelled_with_the_group_that_it_follows(client: Client) -> None:
    waiting = [NewTask("charge", {"number": "1"}, delay=999)] * 3
    batch = client.submit_many(waiting, then=NewTask("notification", HELLO))
    assert batch.then is not None
    cancellation = client.cancel(batch.then.id, children=True)
    assert (cancellation.outcome, cancellation.children) == (
        "prevented",
        CancelledChildren(cancelled=3, requested=0, more=False),
    )
    assert client.group(batch.then.id).cancelled == 3


def test_a_task_has_its_children(client: Client) -> None:
    parent = client.submit("charge-all", {"numbers": ["1", "2"]}, wait=20)
    assert client.get(parent.id).children == 2
    assert {child.parent for child in client.list(parent=parent.id)} == {parent.id}
    assert client.cancel(parent.id, children=True).outcome == "finished"


def test_one_wrong_task_of_many_is_named_and_none_is_accepted(client: Client) -> None:
    before = datetime.now(UTC)
    with pytest.raises(Invalid) as refused:
        client.submit_many([NewTask("file", {"content": {}}), NewTask("notification", {})])
    assert refused.value.errors[0].pointer.startswith("#/tasks/1/payload/")
    assert list(client.list(type="file", created_after=before)) == []


def test_a_task_that_fails_can_be_retried_with_another_payload(client: Client) -> None:
    task = client.submit("notification", BOUNCE)
    with pytest.raises(TaskFailed, match="does not exist"):
        client.result(task.id, timeout=20)
    client.retry(task.id, HELLO)
    done = client.wait(task.id, timeout=20)
    assert (done.succeeded, done.retries, done.payload["email"]) == (True, 1, HELLO["email"])
    with pytest.raises(Conflict):
        client.retry(task.id)


def test_a_task_that_waits_is_cancelled_and_a_finished_one_is_not(client: Client) -> None:
    task = client.submit("notification", HELLO, delay=timedelta(hours=1), priority=9)
    assert (task.status, task.priority) == ("scheduled", 9)
    with pytest.raises(WaitTimeout):
        client.wait(task.id, timeout=0.1)
    assert client.cancel(task.id).outcome == "prevented"
    assert client.cancel(task.id).outcome == "finished"


def test_a_task_that_waits_is_changed_and_a_finished_one_is_not(client: Client) -> None:
    task = client.submit("notification", BOUNCE, delay=timedelta(hours=1))
    later = datetime.now(UTC) + timedelta(hours=2)
    assert client.change(task.id, run_at=later).run_at == later
    assert client.change(task.id, payload=HELLO, run_at=datetime.now(UTC)).payload == HELLO
    assert client.result(task.id, timeout=20) == {"message": "Notification sent"}
    with pytest.raises(Conflict):
        client.change(task.id, payload=BOUNCE)


def test_a_retry_moves_a_task_to_another_type_if_that_takes_its_payload(client: Client) -> None:
    task = client.submit("report", {"name": "Q3", "details": {}}, delay=timedelta(hours=1))
    client.cancel(task.id)
    with pytest.raises(Invalid, match="#/payload/email"):
        client.retry(task.id, new_type="notification")
    assert client.retry(task.id, HELLO, new_type="notification").type == "notification"
    assert client.wait(task.id, timeout=20).succeeded


def test_many_are_cancelled_and_retried_at_once(client: Client) -> None:
    before = datetime.now(UTC)
    reports = [NewTask("report", {"name": str(n), "details": {}}, delay=3600) for n in range(3)]
    ids = {task.id for task in client.submit_many(reports)}
    chosen: dict[str, Any] = {"type": "report", "created_after": before}
    assert client.cancel_many(**chosen, dry_run=True).matched == 3
    cancelled = client.cancel_many(**chosen, limit=2)
    assert (cancelled.cancelled, cancelled.requested, cancelled.more) == (2, 0, True)
    assert client.cancel_many(**chosen).cancelled == 1
    skipped = client.retry_many(**chosen, status="cancelled", new_type="notification")
    assert (skipped.matched, skipped.skipped, skipped.retried) == (3, 3, 0)
    retried = client.retry_many(
        **chosen, status=["failed", "cancelled"], payload=HELLO, new_type="notification"
    )
    assert (retried.retried, retried.more, retried.interrupted) == (3, False, None)
    assert all(client.wait(task_id, timeout=20).type == "notification" for task_id in ids)


def test_labelled_tasks_are_listed_counted_run_and_deleted(client: Client) -> None:
    labels = {"tenant": "acme", "batch": "to-delete"}
    waiting = [NewTask("notification", HELLO, delay=3600, labels=labels) for _ in range(3)]
    ids = [task.id for task in client.submit_many(waiting)]
    chosen: dict[str, Any] = {"type": "notification", "labels": labels}
    assert client.count(**chosen, status=["scheduled", "retrying"]).count == 3
    assert [task.id for task in client.summaries(**chosen, order="due")] == ids
    assert client.run(ids[0]).status in ("pending", "processing", "success")
    assert client.run_many(ids=ids[1:]).run == 2
    assert all(client.wait(task_id, timeout=20).succeeded for task_id in ids)
    with pytest.raises(Conflict, match="batch"):
        client.delete(ids[0])
    client.delete(ids[-1])
    with pytest.raises(Gone):
        client.get(ids[-1])
    page = client.page(**chosen, status="success", limit=1)
    assert (len(page.tasks), page.scan is not None) == (1, True)
    assert client.delete_many(**chosen, dry_run=True).matched == 2
    assert client.delete_many(**chosen).deleted == 2
    assert list(client.list(**chosen)) == []


def test_a_schedule_is_made_replaced_run_paused_and_deleted(client: Client) -> None:
    new = NewSchedule("notification", HELLO, every=timedelta(days=1), labels={"by": "clock"})
    assert len(client.put_schedule("greeting", new).next_runs) == 5
    replaced = client.put_schedule("greeting", replace(new, cron="0 6 * * *", every=None))
    assert (replaced.cron, replaced.every_seconds) == ("0 6 * * *", None)
    task = client.run_schedule("greeting")
    done = client.wait(task.id, timeout=20)
    assert (done.succeeded, done.labels, done.schedule) == (True, {"by": "clock"}, "greeting")
    assert client.pause_schedule("greeting").next_runs == ()
    assert client.resume_schedule("greeting").next_runs != ()
    assert [one.name for one in client.schedules()] == ["greeting"]
    assert client.schedule("greeting").payload == HELLO
    client.delete_schedule("greeting")
    with pytest.raises(NotFound):
        client.delete_schedule("greeting")


def test_a_paused_type_lets_its_tasks_wait(client: Client) -> None:
    assert client.pause_type("report").paused
    task = client.submit("report", {"name": "Q3", "details": {}})
    assert "report" in client.stats().paused_types
    assert client.get(task.id).status == "pending"
    resumed = client.resume_type("report")
    assert resumed is not None
    assert not resumed.paused
    assert client.wait(task.id, timeout=20).succeeded
    entries = [(one.verb, one.object, one.name) for one in client.activity(limit=2)]
    assert entries == [("resume", "task type", "report"), ("pause", "task type", "report")]


def test_a_group_of_errors_is_found_and_retried(client: Client) -> None:
    ids = [client.submit("notification", BOUNCE, wait=20).id for _ in range(2)]
    (group,) = [
        one for one in client.errors(type="notification").groups if ids[1] in one.sample_ids
    ]
    assert client.error(group.id).count >= 2
    assert set(ids) <= {task.id for task in client.list(error=group.id)}
    retried = client.retry_many(error=group.id, payload=HELLO)
    assert (retried.retried, retried.more) == (group.count, False)
    assert all(client.wait(task_id, timeout=20).succeeded for task_id in ids)


def test_the_service_tells_of_itself(client: Client) -> None:
    client.submit("notification", HELLO, wait=20)
    assert client.stats().tasks["success"] >= 1
    assert {one.name for one in client.task_types()} >= {"notification", "charge"}
    assert client.task_type("charge").executor == "async"
    series = client.series("24h", type="notification")
    assert len(series.times) == len(series.submitted) == 1_440
    assert any(series.submitted)
    with closing(client.stream_stats()) as moments:
        assert next(moments).tasks["success"] >= 1
    found = client.workers()
    assert len(found.workers) == client.stats().workers == 2
    assert found.registry.uptime_seconds > 0


def test_an_undone_cancellation_and_a_traceback(client: Client) -> None:
    task = client.submit("charge", {"number": "fail"}, delay=3600)
    due = client.cancel(task.id).task.run_at
    back = client.retry(task.id, run_at=due)
    assert (back.status, back.run_at) == ("scheduled", due)
    client.run(task.id)
    failed = client.wait(task.id, timeout=20)
    assert (failed.status, failed.history[-1].traceback) == ("failed", None)
    traceback = client.get(task.id, tracebacks=True).history[-1].traceback
    assert traceback is not None
    assert "in charge" in traceback


def test_what_a_task_prints_is_shown_to_who_asks(running: Service, client: Client) -> None:
    task_id = client.submit("charge", {"number": "1234"}, wait=20).id
    assert client.get(task_id, logs=True).log_lines == ("charging card 1234", "charged")
    assert client.get(task_id).log_lines is None
    shown = run(running, "status", task_id, "--logs").splitlines()
    assert shown[-2:] == ["log: charging card 1234", "log: charged"]


def test_wrong_fields_are_named(client: Client) -> None:
    with pytest.raises(Invalid) as refused:
        client.submit("notification", {**HELLO, "email": "nobody"})
    assert refused.value.errors[0].pointer == "#/payload/email"


def test_an_unknown_id_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.get(UNKNOWN)


def test_a_list_has_every_task_once_newest_first(client: Client) -> None:
    before = datetime.now(UTC)
    for _ in range(2):
        client.submit_many([NewTask("notification", HELLO)] * 600)
    found = list(client.list(created_after=before))
    assert len({task.id for task in found}) == len(found) == 1200
    assert [t.created_at for t in found] == sorted((t.created_at for t in found), reverse=True)


def test_a_task_s_stream_tells_its_whole_way(client: Client) -> None:
    task = client.submit("notification", HELLO, delay=0.5)
    first, *rest = client.stream(task.id)
    assert isinstance(first, TaskEvent)
    states = [event.status for event in rest if isinstance(event, StateEvent)]
    assert states[-2:] == ["processing", "success"]
    assert len(states) == len(set(states))


def test_the_stream_of_all_goes_on_after_any_event(client: Client) -> None:
    *_, last = client.stream(client.submit("notification", HELLO).id)
    later = client.submit("notification", HELLO, wait=20)
    with closing(client.stream(type="notification", last_event_id=last.id)) as events:
        states: list[str] = []
        while states[-1:] != ["success"]:
            event = next(events)
            assert isinstance(event, StateEvent)
            assert event.task_id == later.id
            states.append(str(event.status))
    assert states in (["pending", "processing", "success"], ["processing", "success"])


async def _asked(url: str) -> tuple[Any, list[str]]:
    async with AsyncClient(url) as client:
        task = await client.submit("notification", HELLO)
        states = [e.status async for e in client.stream(task.id) if isinstance(e, StateEvent)]
        return await client.result(task.id, timeout=20), [str(state) for state in states]


def test_the_same_with_an_event_loop(running: Service) -> None:
    result, states = anyio.run(_asked, running.url)
    assert result == {"message": "Notification sent"}
    # None, if the task was finished before its stream was open.
    assert states[-1:] in ([], ["success"])


def test_a_submission_made_while_the_service_starts_arrives_once(stopped: Service) -> None:
    with ThreadPoolExecutor(1) as pool, Client(stopped.url, retries=Retries(50)) as client:
        submitted = pool.submit(client.submit, "notification", HELLO, wait=20)
        stopped.start()
        assert submitted.result(50).succeeded
        assert len(list(client.list())) == 1


def test_a_stream_outlives_the_service(stopped: Service) -> None:
    stopped.start()
    with Client(stopped.url, retries=Retries(50)) as client:
        task = client.submit("notification", HELLO, delay=timedelta(hours=1))
        events = client.stream(task.id)
        next(events)
        stopped.kill_everything()
        with ThreadPoolExecutor(1) as pool:
            rest = pool.submit(list, events)
            stopped.start()
            client.cancel(task.id)
            last = rest.result(50)[-1]
        assert isinstance(last, StateEvent | TaskEvent)
        assert client.get(task.id).status == "cancelled"


def test_the_stream_of_all_begins_anew_after_the_service_did(stopped: Service) -> None:
    stopped.start()
    with Client(stopped.url, retries=Retries(50)) as client:
        *_, last = client.stream(client.submit("notification", HELLO).id)
        stopped.kill_everything()
        stopped.start()
        with closing(client.stream(last_event_id=last.id)) as events:
            reset = next(events)
        assert isinstance(reset, ResetEvent)
        assert reset.counts["notification"]["success"] == 1


@pytest.mark.parametrize("script", COMMANDS)
def test_the_commands_of_the_page_work(running: Service, tmp_path: Path, script: str) -> None:
    (tmp_path / "tenants.txt").write_text("acme\n")
    ran = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", re.sub(r"(?m)^\$ ", "", script)],
        env={
            **os.environ,
            "AFTERWARDS_URL": running.url,
            "PATH": f"{AFTERWARDS.parent}:{os.environ['PATH']}",
        },
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_pages_work(running: Service, example: str) -> None:
    code = example.replace("http://127.0.0.1:8000", running.url)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_command_line_submits_waits_and_shows(running: Service) -> None:
    task_id = run(running, "submit", "notification", json.dumps(HELLO)).strip()
    assert "status: success\n" in run(running, "status", task_id, "--watch")
    shown = json.loads(run(running, "submit", "notification", "-", "--wait", "--json",
                           stdin=json.dumps(HELLO)))  # fmt: skip
    assert shown["result"] == {"message": "Notification sent"}


def test_the_command_line_retries_what_failed(running: Service) -> None:
    failed = run(
        running, "submit", "notification", json.dumps(BOUNCE), "--wait", "--json", status=1
    )
    task_id = json.loads(failed)["id"]
    assert task_id in run(running, "list", "--status", "failed")
    retried = run(running, "retry", task_id, json.dumps(HELLO), "--wait")
    assert "status: success\n" in retried


def test_the_command_line_changes_and_cancels(running: Service) -> None:
    task_id = run(running, "submit", "notification", json.dumps(HELLO), "--delay", "999").strip()
    changed = run(running, "change", task_id, "--run-at", "2100-01-31T08:00:00Z", "--json")
    assert json.loads(changed)["run_at"] == "2100-01-31T08:00:00.000000+00:00"
    assert "cancelled before it started" in run(running, "cancel", task_id)
    run(running, "cancel", task_id, status=1)
    run(running, "status", UNKNOWN, status=1)


def test_the_command_line_acts_on_many(call: Callable[..., str], client: Client) -> None:
    labels = {"batch": "by-hand"}
    client.submit_many([NewTask("notification", BOUNCE, delay=999, labels=labels)] * 3)
    chosen = ("--label", "batch=by-hand")
    call("cancel", *chosen, status=1)  # there is no terminal to ask at
    assert client.count(labels=labels, status="scheduled").count == 3
    assert "cancelled: 3\n" in call("cancel", *chosen, "--yes")
    retried = call("retry", *chosen, "--status", "cancelled", json.dumps(HELLO), "--yes")
    assert "retried: 3\n" in retried
    for task in client.list(labels=labels):
        assert client.wait(task.id, timeout=20).succeeded
    found = call("list", *chosen, "--after", "1h", "--limit", "2").splitlines()
    assert len(found) == 2
    ids = [json.loads(line)["id"] for line in call("list", *chosen, "--json").splitlines()]
    assert "deleted: 3\n" in call("delete", *ids)
    entries = [json.loads(line) for line in call("activity", "--json").splitlines()]
    assert ("delete", "tasks", 3) in [(e["verb"], e["object"], e["count"]) for e in entries]


def test_the_command_line_retries_a_group_of_errors_and_undoes_a_cancellation(
    call: Callable[..., str],
) -> None:
    failing = json.dumps({"number": "fail"})
    task_id = json.loads(call("submit", "charge", failing, "--wait", "--json", status=1))["id"]
    shown = call("status", task_id, "--tracebacks", status=1)
    assert re.search(r"(?m)^traceback 1: .*in charge$", shown)
    (group,) = (line.split("\t") for line in call("errors", "--type", "charge").splitlines())
    call("pause", "charge")
    number = re.escape(group[1])
    counted = call("retry", "--error", group[0], "--dry-run")
    assert re.search(rf"(?m)^matched: {number}$", counted)
    retried = call("retry", "--error", group[0], json.dumps({"number": "1"}), "--yes")
    assert re.search(rf"(?m)^retried: {number}$", retried)
    assert "charge\tasync\tyes" in call("types")
    call("resume", "charge")
    assert "status: success\n" in call("status", task_id, "--watch")

    waiting = call("submit", "charge", failing, "--delay", "999").strip()
    due = json.loads(call("cancel", waiting, "--json"))["task"]["run_at"]
    back = json.loads(call("retry", waiting, "--run-at", due, "--json"))
    assert (back["status"], back["run_at"]) == ("scheduled", due)


@pytest.fixture
def ctrl_c_heard() -> Iterator[None]:
    """Heed SIGINT: children of a shell's background job ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_tail_shows_what_happens_until_ctrl_c(
    running: Service, client: Client, ctrl_c_heard: None
) -> None:
    shown: set[str] = set()
    with (
        subprocess.Popen(
            [AFTERWARDS, "tail", "--json", "--url", running.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as tail,
        ThreadPoolExecutor(1) as pool,
    ):
        assert tail.stdout is not None
        assert tail.stderr is not None

        def read(lines: IO[str]) -> None:
            for line in lines:
                shown.add(json.loads(line).get("task_id"))

        reading = pool.submit(read, tail.stdout)
        try:
            # Nothing is shown of what happened before its stream was open.
            wait_for(
                lambda: client.submit("notification", HELLO, wait=20).id in shown,
                "an event of a task that tail has not missed",
            )
            tail.send_signal(signal.SIGINT)
            assert tail.wait(20) == 130
        finally:
            tail.kill()
        reading.result(20)
        assert "Traceback" not in tail.stderr.read()
