"""`FakeAfterwards` in the hands of an application's tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pydantic import BaseModel, Field

from afterwards import TaskContext, TaskType
from afterwards.artifacts import Artifact
from afterwards_client import (
    AsyncClient,
    Callback,
    Client,
    ConnectionFailed,
    Invalid,
    NewSchedule,
    NewTask,
    NotFound,
    StateEvent,
    TaskFailed,
    Unavailable,
    WaitTimeout,
    verify_webhook,
)
from afterwards_client.testing import Delivery, FakeAfterwards, NeverFinished, NotFaked
from afterwards_client.testing.record import artifact

DAY = timedelta(days=1)


class Order(BaseModel):
    number: int = Field(ge=1)


async def make_invoice(payload: Order, context: TaskContext) -> dict[str, Any]:
    del context
    return {"number": payload.number}


INVOICE = TaskType("invoice", Order, make_invoice, max_attempts=7)


@pytest.fixture
def service() -> FakeAfterwards:
    return FakeAfterwards()


# -- where clients come from ---------------------------------------------------------------------


def place_order(number: int) -> str:
    """An application that knows nothing of its tests."""
    with Client("https://tasks.example.com/below", token="aw_secret") as client:
        return client.submit("invoice", {"number": number}).id


async def place_order_async(number: int) -> str:
    async with AsyncClient() as client:
        return (await client.submit("invoice", {"number": number})).id


def test_within_with_every_client_that_is_made_talks_to_it(service: FakeAfterwards) -> None:
    with service:
        ids = [place_order(1), anyio.run(place_order_async, 2)]
    assert [task.id for task in service.tasks("invoice")] == ids
    assert [task.payload for task in service.tasks()] == [{"number": 1}, {"number": 2}]
    assert service.requests[0].headers["Authorization"] == "Bearer aw_secret"


def test_afterwards_clients_are_as_they_were(service: FakeAfterwards) -> None:
    with pytest.raises(ZeroDivisionError), service:
        raise ZeroDivisionError
    with Client("http://127.0.0.1:9", timeout=0.5) as client:
        assert isinstance(client._http._transport, type(Client()._http._transport))
        assert client._http._transport is not service.transport
    assert service.requests == []


def test_a_client_with_an_httpx_client_of_the_test_is_left_alone(service: FakeAfterwards) -> None:
    other = FakeAfterwards()
    with service, httpx.Client(transport=other.transport) as http:
        Client("http://elsewhere/below", http=http).submit("invoice")
    assert (len(service.tasks()), len(other.tasks())) == (0, 1)


def test_two_fakes_share_nothing(service: FakeAfterwards) -> None:
    service.client().submit("invoice")
    assert FakeAfterwards().tasks() == []


@pytest.mark.processes
def test_it_loads_neither_the_service_nor_pydantic() -> None:
    code = "import sys, afterwards_client.testing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "afterwards_client.testing.fake" in loaded
    assert not {"pydantic", "afterwards"} & loaded


# -- how tasks end -------------------------------------------------------------------------------


def test_no_work_is_done_unless_the_test_says_so(service: FakeAfterwards) -> None:
    task = service.client().submit("invoice")
    assert service.task(task).status == "pending"


def test_a_test_ends_a_task_well_or_badly(service: FakeAfterwards) -> None:
    client = service.client()
    good, bad = client.submit("invoice"), client.submit("invoice")
    service.succeed(good, {"total": 9}, artifacts={"invoice.pdf": b"PDF"})
    service.fail(bad.id, "The printer burns")
    assert client.result(good.id) == {"total": 9}
    assert [one.name for one in client.artifacts(good.id)] == ["invoice.pdf"]
    with pytest.raises(TaskFailed, match="The printer burns"):
        client.result(bad.id)
    with pytest.raises(ValueError, match="is success already"):
        service.fail(good, "too late")
    with pytest.raises(KeyError):
        service.task("00000000-0000-4000-8000-000000000000")


def test_the_tasks_of_a_type_end_as_it_was_said(service: FakeAfterwards) -> None:
    client = service.client()
    waiting = client.submit("invoice")
    service.succeeds("invoice", {"total": 9})
    service.fails("charge", "The card has expired")
    assert client.result(waiting.id) == {"total": 9}
    assert client.submit("invoice", wait=5).result == {"total": 9}
    assert client.submit("charge", wait=5).error == "The card has expired"
    service.runs("invoice", None)
    assert client.get(client.submit("invoice").id).status == "pending"


def test_a_function_runs_in_the_place_of_the_work(service: FakeAfterwards) -> None:
    client = service.client()

    def run(payload: dict[str, Any]) -> dict[str, Any]:
        # It may use the service itself.
        client.submit("mail", payload)
        return {"half": 6 / payload["by"]}

    service.runs("halve", run)
    assert client.result(client.submit("halve", {"by": 2}).id) == {"half": 3.0}
    with pytest.raises(TaskFailed, match="ZeroDivisionError: division by zero"):
        client.result(client.submit("halve", {"by": 0}).id)
    assert [task.payload for task in service.tasks("mail")] == [{"by": 2}, {"by": 0}]


def test_an_attempt_that_fails_is_followed_by_another(service: FakeAfterwards) -> None:
    client = service.client()
    task = client.submit("charge")
    service.fail(task, "busy", again_in=60)
    assert (service.task(task).status, service.task(task).retrying) == ("scheduled", True)
    service.advance(timedelta(minutes=1))
    service.succeed(task)
    found = client.get(task.id)
    assert [one.outcome for one in found.history] == ["failure", "success"]
    assert [one.error for one in found.history] == ["busy", None]


def test_progress_is_told_while_a_task_runs(service: FakeAfterwards) -> None:
    client = service.client()
    task = client.submit("export")
    service.start(task)
    assert client.get(task.id).status == "processing"
    service.report_progress(task, 0.5, "half")
    progress = client.get(task.id).progress
    assert progress is not None
    assert (progress.fraction, progress.message) == (0.5, "half")
    assert client.cancel(task.id).outcome == "stopped"


def test_time_passes_when_the_test_wants_it(service: FakeAfterwards) -> None:
    client = service.client()
    service.succeeds("later")
    later = client.submit("later", delay=DAY)
    late = client.submit("held", delay=2 * DAY, deadline=service.tasks()[0].created_at + DAY)
    assert client.get(later.id).status == "scheduled"
    service.advance(DAY)
    assert client.get(later.id).status == "success"
    assert "deadline" in str(client.get(late.id).error)


# -- waits ---------------------------------------------------------------------------------------


def test_a_wait_that_nothing_ends_fails_the_test_at_once(service: FakeAfterwards) -> None:
    client = service.client()
    task = client.submit("invoice")
    with pytest.raises(NeverFinished, match=r"\(invoice\) is waited for and pending"):
        client.wait(task.id)


@pytest.mark.parametrize("is_installed", [False, True])
def test_a_wait_with_a_limit_does_not_sleep(
    service: FakeAfterwards, monkeypatch: pytest.MonkeyPatch, *, is_installed: bool
) -> None:
    monkeypatch.setattr(time, "sleep", pytest.fail)
    with service:
        client = Client() if is_installed else service.client()
        task = client.submit("invoice")
        with pytest.raises(WaitTimeout):
            client.wait(task.id, timeout=600)
        assert client.submit("invoice", wait=600).status == "pending"


def test_a_wait_ends_with_what_its_time_brings(service: FakeAfterwards) -> None:
    service.succeeds("later", {"done": 1})
    client = service.client()
    task = client.submit("later", delay=90)
    assert client.result(task.id) == {"done": 1}


def test_a_stream_goes_on_as_the_test_does(service: FakeAfterwards) -> None:
    client = service.client()
    task = client.submit("export")
    seen = []
    for event in client.stream(task.id):
        seen.append(getattr(event, "status", type(event).__name__))
        if len(seen) == 1:
            service.report_progress(task, 0.5)
        elif seen[-1] == "ProgressEvent":
            service.succeed(task)
    assert seen == ["TaskEvent", "processing", "ProgressEvent", "success"]
    other = client.submit("export")
    with pytest.raises(NeverFinished, match="has no more"):
        list(client.stream(other.id))


def test_a_stream_of_all_tells_what_its_filter_lets_through(service: FakeAfterwards) -> None:
    client = service.client()
    stream = client.stream(type="mail", status="success")
    next(stream)
    service.succeed(client.submit("mail"))
    service.succeed(client.submit("export"))
    event = next(stream)
    assert isinstance(event, StateEvent)
    assert (event.type, event.status) == ("mail", "success")
    with pytest.raises(NeverFinished):
        next(stream)


# -- trouble -------------------------------------------------------------------------------------


def test_a_service_that_is_away_or_full_is_so_for_as_long_as_the_test_wants(
    service: FakeAfterwards,
) -> None:
    with service:
        client = Client()
        with service.away(), pytest.raises(ConnectionFailed):
            client.submit("invoice")
        with service.full(), pytest.raises(Unavailable) as caught:
            client.submit("invoice")
        assert caught.value.retry_after_seconds == 1
        assert service.tasks() == []
        client.submit("invoice")
    assert len(service.tasks()) == 1


# -- types and payloads --------------------------------------------------------------------------


def positive(payload: dict[str, Any]) -> None:
    if payload.get("number", 0) < 1:
        raise ValueError("number must be positive")


@pytest.mark.parametrize(
    "types", [{"invoice": Order}, {"invoice": INVOICE}, [INVOICE], {"invoice": positive}]
)
def test_payloads_are_held_against_what_the_type_takes(types: Any) -> None:
    client = FakeAfterwards(types).client()
    client.submit("invoice", {"number": 1})
    with pytest.raises(Invalid) as caught:
        client.submit("invoice", {"number": 0})
    assert caught.value.errors[0].pointer.startswith("#/payload")
    with pytest.raises(Invalid, match="There is no task type 'other'; there are invoice"):
        client.submit("other")


def test_a_task_type_brings_its_own_settings() -> None:
    service = FakeAfterwards([INVOICE])
    assert service.client().submit("invoice", {"number": 1}).max_attempts == 7
    with pytest.raises(KeyError):
        service.succeeds("other")


# -- notices -------------------------------------------------------------------------------------


def test_callbacks_and_webhooks_are_signed_for_the_application_s_receiver(
    service: FakeAfterwards,
) -> None:
    client = service.client()
    webhook = client.put_webhook("ends", "https://shop.example.com/ends", events=["failed"])
    callback = Callback("https://shop.example.com/done", events=["success"])
    good = client.submit("invoice", callback=callback)
    bad = client.submit("invoice", callback=callback)
    service.succeed(good)
    service.fail(bad, "no")
    called, told = service.take_deliveries()
    assert (called.url, called.webhook) == ("https://shop.example.com/done", None)
    assert (told.url, told.webhook) == ("https://shop.example.com/ends", "ends")
    assert webhook.secret is not None
    event = verify_webhook(told.headers, told.body, webhook.secret)
    assert (event.type, event.data["id"], event.data["error"]) == ("task.failed", bad.id, "no")
    event = verify_webhook(called.headers, called.body, service.callback_secret)
    assert (event.type, event.data["id"]) == ("task.success", good.id)
    assert service.take_deliveries() == []


def test_a_notice_can_be_made_of_any_end(service: FakeAfterwards) -> None:
    task = service.client().submit("invoice")
    secret = service.callback_secret
    with pytest.raises(ValueError, match="pending, and not finished"):
        service.notice(task, secret)
    service.succeed(task)
    made = service.notice(task, secret)
    assert verify_webhook(made.headers, made.body, secret).data["id"] == task.id


def test_notices_can_be_delivered_as_soon_as_tasks_end() -> None:
    received: list[Delivery] = []
    service = FakeAfterwards(deliver=received.append)
    client = service.client()
    client.put_webhook("ends", "https://shop.example.com/ends")
    service.succeed(client.submit("invoice"))
    assert [one.webhook for one in received] == ["ends"]


@pytest.mark.parametrize("name", ["a.pdf", "a.CSV", "a.txt", "a.html", "a", "a.tar.gz"])
def test_artifacts_have_the_media_types_of_the_service(name: str) -> None:
    listed = artifact(name, b"")
    assert listed["media_type"] == Artifact(name, 0, "", 1).media_type


# -- every verb of the client --------------------------------------------------------------------

NEW = NewSchedule("held", every=60)
VERBS: dict[str, Callable[[Any, str, Path], Any]] = {
    "artifacts": lambda client, task_id, _: client.artifacts(task_id),
    "cancel": lambda client, task_id, _: client.cancel(task_id),
    "cancel_many": lambda client, *_: client.cancel_many(),
    "change": lambda client, task_id, _: client.change(task_id, payload={}),
    "count": lambda client, *_: client.count(),
    "delete": lambda client, task_id, _: (client.cancel(task_id), client.delete(task_id)),
    "delete_many": lambda client, *_: client.delete_many(type="held"),
    "delete_schedule": lambda client, *_: client.delete_schedule("s"),
    "delete_webhook": lambda client, *_: client.delete_webhook("w"),
    "disable_webhook": lambda client, *_: client.disable_webhook("w"),
    "download": lambda client, _, folder: client.download(client.done, "a.txt", folder),
    "enable_webhook": lambda client, *_: client.enable_webhook("w"),
    "get": lambda client, task_id, _: client.get(task_id, logs=True, tracebacks=True),
    "group": lambda client, *_: client.group(client.follower),
    "list": lambda client, *_: list(client.list()),
    "page": lambda client, *_: client.page(),
    "pause_schedule": lambda client, *_: client.pause_schedule("s"),
    "pause_type": lambda client, *_: client.pause_type("held"),
    "put_schedule": lambda client, *_: client.put_schedule("s", NEW),
    "put_webhook": lambda client, *_: client.put_webhook("w", "https://example.com/"),
    "replay_webhook": lambda client, *_: client.replay_webhook("w", task_id=client.done),
    "result": lambda client, *_: client.result(client.done),
    "resume_schedule": lambda client, *_: client.resume_schedule("s"),
    "resume_type": lambda client, *_: client.resume_type("held"),
    "retry": lambda client, task_id, _: (client.cancel(task_id), client.retry(task_id)),
    "retry_many": lambda client, *_: client.retry_many(),
    "rotate_webhook_secret": lambda client, *_: client.rotate_webhook_secret("w"),
    "run": lambda client, task_id, _: client.run(task_id),
    "run_many": lambda client, *_: client.run_many(),
    "run_schedule": lambda client, *_: client.run_schedule("s"),
    "schedule": lambda client, *_: client.schedule("s"),
    "schedules": lambda client, *_: list(client.schedules(payloads=True, results=True)),
    "stream": lambda client, *_: next(client.stream()),
    "submit": lambda client, *_: client.submit("held"),
    "submit_many": lambda client, *_: client.submit_many([NewTask("held")]),
    "summaries": lambda client, *_: list(client.summaries()),
    "task_type": lambda client, *_: client.task_type("held"),
    "task_types": lambda client, *_: client.task_types(),
    "test_webhook": lambda client, *_: client.test_webhook("w"),
    "wait": lambda client, *_: client.wait(client.done),
    "webhook": lambda client, *_: client.webhook("w"),
    "webhooks": lambda client, *_: list(client.webhooks()),
}
UNFAKED: dict[str, Callable[[Any], Any]] = {
    "activity": lambda client: list(client.activity()),
    "error": lambda client: client.error("00000000000000000000000000000000"),
    "errors": lambda client: client.errors(),
    "series": lambda client: client.series(),
    "stats": lambda client: client.stats(),
    "stream_stats": lambda client: next(client.stream_stats()),
    "workers": lambda client: client.workers(),
}


def test_the_tables_have_every_verb_of_the_client() -> None:
    verbs = {name for name in dir(Client) if not name.startswith("_")} - {"close"}
    assert verbs == {*VERBS, *UNFAKED}


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_of_the_client_is_answered(
    name: str, service: FakeAfterwards, tmp_path: Path
) -> None:
    client: Any = service.client()
    client.done = client.submit("held").id
    service.succeed(client.done, artifacts={"a.txt": b"A"})
    task_id = client.submit("held", delay=DAY).id
    client.follower = client.submit_many([NewTask("held")], then=NewTask("held")).then.id
    client.put_schedule("s", NEW)
    client.put_webhook("w", "https://example.com/")
    VERBS[name](client, task_id, tmp_path)


@pytest.mark.parametrize("name", UNFAKED)
def test_what_tells_of_processes_says_that_it_needs_a_real_service(
    name: str, service: FakeAfterwards
) -> None:
    with pytest.raises(NotFaked, match="use a real one in this test"):
        UNFAKED[name](service.client())


def test_what_no_route_has_is_not_found(service: FakeAfterwards) -> None:
    with httpx.Client(transport=service.transport, base_url="http://any") as http:
        assert http.get("/nowhere").status_code == 404
        assert http.put("/tasks").status_code == 405
        assert http.post("/tasks", content="{").json()["errors"][0]["message"].startswith("Not v")
    with pytest.raises(NotFound):
        FakeAfterwards({}).client().task_type("x")
