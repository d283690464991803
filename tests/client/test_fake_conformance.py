"""The fake answers as the service does: the same scenarios, at a fake and at a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from pydantic import BaseModel, Field

from afterwards_client import (
    Callback,
    Client,
    NewSchedule,
    NewTask,
    StateEvent,
    Task,
    TaskEvent,
    verify_webhook,
)
from afterwards_client.testing import FakeAfterwards
from tests.client.conformance import Seen, differences
from tests.client.conftest import Awaited
from tests.integration.conftest import Service, wait_for
from tests.webhooks.receiver import receiving

pytestmark = pytest.mark.processes

MODULE = """
from pydantic import BaseModel, Field
from afterwards import PermanentError, TaskType

class Payload(BaseModel):
    number: int = Field(ge=0)
    note: str = ""

async def double(payload: Payload, context):
    return {"double": payload.number * 2}

async def refuse(payload: Payload, context):
    raise PermanentError(f"{payload.number} is refused")

def write(payload: Payload, context):
    with context.artifact("note.txt", "w") as file:
        file.write(payload.note)
    return {}

DOUBLE = TaskType("double", Payload, double)
REFUSED = TaskType("refused", Payload, refuse)
HELD = TaskType("held", Payload, double)
WRITTEN = TaskType("written", Payload, write, executor="thread")
"""


class Payload(BaseModel):
    """As in the module."""

    number: int = Field(ge=0)
    note: str = ""


TYPES = dict.fromkeys(("double", "refused", "held", "written"), Payload)
LATER = timedelta(days=1)


class FakePlace:
    """A fake, with the ends of tasks that the module's functions bring about."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.told: list[tuple[dict[str, str], bytes]] = []
        self.receiver = "http://receiver.example/"
        self.fake = FakeAfterwards(TYPES, deliver=self._deliver)
        self.fake.runs("double", lambda payload: {"double": payload["number"] * 2})
        self.fake.fails("refused", "7 is refused")

    def _deliver(self, delivery: Any) -> None:
        self.told.append((dict(delivery.headers), delivery.body))

    @contextmanager
    def open(self) -> Iterator[FakePlace]:
        """With a client of either kind."""
        if self._kind == "Client":
            self.client: Any = self.fake.client()
            yield self
            return
        with start_blocking_portal() as portal:
            self.client = Awaited(self.fake.async_client(), portal)
            yield self

    def await_notices(self, number: int) -> list[tuple[dict[str, str], bytes]]:
        """All notices, of which there are so many."""
        assert len(self.told) == number
        return self.told

    def write(self, task: Task, text: str) -> None:
        """Have the task end with an artifact."""
        self.fake.succeed(task, artifacts={"note.txt": text.encode()})


class RealPlace:
    """A service, emptied before each scenario."""

    def __init__(self, service: Service, receiver: Any) -> None:
        self.client = Client(service.url)
        self.receiver = receiver.url
        self._receiver = receiver

    def await_notices(self, number: int) -> list[tuple[dict[str, str], bytes]]:
        """All notices, once there are so many."""
        requests = self._receiver.wait_for(number)
        return [(dict(one.headers), one.body) for one in requests]

    def write(self, task: Task, text: str) -> None:
        """It writes it itself."""
        del text
        self.client.wait(task.id, timeout=30)

    def empty(self) -> None:
        """Have no tasks, schedules and webhooks."""
        for webhook in self.client.webhooks():
            self.client.delete_webhook(webhook.name)
        for schedule in self.client.schedules():
            self.client.delete_schedule(schedule.name)
        self.client.cancel_many()

        def is_empty() -> bool:
            self.client.delete_many(status=["success", "failed", "cancelled"])
            return self.client.count().count == 0

        wait_for(is_empty, "no tasks")
        self._receiver.reset()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPlace]:
    directory = tmp_path_factory.mktemp("service")
    (directory / "conforming.py").write_text(MODULE)
    with receiving() as receiver:
        port = receiver.url.split(":")[2].partition("/")[0]
        service = Service(
            directory, task_modules="conforming", http_networks="127.0.0.0/8", http_ports=port
        )
        try:
            service.start()
            place = RealPlace(service, receiver)
            with place.client:
                place.client.pause_type("held")
                yield place
        finally:
            service.kill_everything()


Scenario = Callable[[Any, Seen], None]
SCENARIOS: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


@scenario
def a_task_is_submitted_and_succeeds(place: Any, see: Seen) -> None:
    client = place.client
    task = see("submitted", lambda: client.submit("double", {"number": 4}, labels={"a": "b"}))
    see("result", lambda: client.result(task.id, timeout=30))
    see("finished", lambda: client.get(task.id))
    see("cancelled too late", lambda: client.cancel(task.id))
    see("retried", lambda: client.retry(task.id))
    see("run", lambda: client.run(task.id))
    see("changed", lambda: client.change(task.id, payload={"number": 1}))
    see("deleted", lambda: client.delete(task.id))
    see("gone", lambda: client.get(task.id))
    see("waited for", lambda: client.submit("double", {"number": 5}, wait=30))


@scenario
def a_task_fails_and_is_retried(place: Any, see: Seen) -> None:
    client = place.client
    task = client.submit("refused", {"number": 7})
    see("failure", lambda: client.result(task.id, timeout=30))
    see("history", lambda: client.get(task.id).history)
    see("a payload that is refused", lambda: client.retry(task.id, {"number": -1}))
    see("for later", lambda: client.retry(task.id, run_at=datetime.now(UTC) + LATER))
    see("cancelled", lambda: client.cancel(task.id))
    see("moved", lambda: client.retry(task.id, {"number": 8}, new_type="double"))
    see("succeeded", lambda: client.wait(task.id, timeout=30))


REFUSED: dict[str, dict[str, Any]] = {
    "unknown type": {"type": "nowhere"},
    "payload": {"payload": {"number": -1}},
    "payload member": {"payload": {"number": 1, "note": 7}},
    "no payload": {"payload": None},
    "priority": {"priority": 10},
    "priority that is no number": {"priority": "high"},
    "attempts": {"max_attempts": 0},
    "many attempts": {"max_attempts": 101},
    "time limit": {"timeout": 0},
    "delay": {"delay": -1},
    "both times": {"delay": 1, "run_at": datetime(2030, 1, 1, tzinfo=UTC)},
    "time without offset": {"run_at": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is the mistake
    "label": {"labels": {"a b": "c"}},
    "many labels": {"labels": {f"k{n}": "v" for n in range(9)}},
    "empty key": {"unique_key": ""},
    "long key": {"concurrency_key": "k" * 256},
    "conflict without key": {"on_conflict": "reject"},
    "conflict": {"unique_key": "u", "on_conflict": "maybe"},
    "callback": {"callback": Callback("ftp://example.com/")},
}


@scenario
def submissions_are_refused(place: Any, see: Seen) -> None:
    client = place.client
    for what, wrong in REFUSED.items():
        arguments = {"type": "double", "payload": {"number": 1}, **wrong}
        type_name, payload = arguments.pop("type"), arguments.pop("payload")
        see(what, partial(client.submit, type_name, payload, **arguments))
    see("nothing is there", lambda: client.count().count)
    see("unknown task", lambda: client.get("00000000-0000-4000-8000-000000000000"))
    see("no id", lambda: client.get("nonsense"))


@scenario
def a_key_makes_repetitions_one_task(place: Any, see: Seen) -> None:
    client = place.client
    first = see("first", lambda: client.submit("held", {"number": 1}, idempotency_key="k"))
    again = see("again", lambda: client.submit("held", {"number": 1}, idempotency_key="k"))
    assert again.id == first.id
    see("otherwise", lambda: client.submit("held", {"number": 2}, idempotency_key="k"))
    see("its key is told", lambda: client.get(first.id))
    tasks = [NewTask("held", {"number": n}) for n in range(2)]
    batch = see("batch", lambda: client.submit_many(tasks, idempotency_key="b"))
    repeated = client.submit_many(tasks, idempotency_key="b")
    assert [one.id for one in repeated] == [one.id for one in batch]
    see("other batch", lambda: client.submit_many(tasks[:1], idempotency_key="b"))
    for task in batch:
        client.cancel(task.id)
    see("key of others", lambda: client.delete(batch[0].id))


@scenario
def a_unique_key_belongs_to_one_unfinished_task(place: Any, see: Seen) -> None:
    client = place.client

    def submit(number: int, on_conflict: Any = None) -> Any:
        return client.submit("held", {"number": number}, unique_key="u", on_conflict=on_conflict)

    first = see("first", lambda: submit(1))
    see("existing", lambda: submit(2))
    see("rejected", lambda: submit(3, "reject"))
    see("replacing", lambda: submit(4, "replace"))
    see("replaced", lambda: client.get(first.id))
    see("retry", lambda: client.retry(first.id))
    see("batch", lambda: client.submit_many([NewTask("held", {"number": 1}, unique_key="u")]))
    twice = [NewTask("held", {"number": 1}, unique_key="v")] * 2
    see("twice in a batch", lambda: client.submit_many(twice))
    asking = [NewTask("held", {"number": 1}, unique_key="w", on_conflict="replace")]
    see("replacing in a batch", lambda: client.submit_many(asking))


@scenario
def a_scheduled_task_is_changed_run_and_cancelled(place: Any, see: Seen) -> None:
    client = place.client
    options = {"priority": 7, "max_attempts": 5, "concurrency_key": "c", "timeout": 60}
    task = see("submitted", lambda: client.submit("held", {"number": 1}, delay=LATER, **options))
    see("details", lambda: client.get(task.id))
    see("changed", lambda: client.change(task.id, payload={"number": 2}, type="double"))
    see("refused", lambda: client.change(task.id, payload={"number": -2}))
    see("another time", lambda: client.change(task.id, run_at=datetime.now(UTC) + 2 * LATER))
    see("deleted too early", lambda: client.delete(task.id))
    see("run", lambda: client.run(task.id))
    see("succeeded", lambda: client.wait(task.id, timeout=30))
    other = client.submit("held", {"number": 1}, delay=LATER)
    see("cancelled", lambda: client.cancel(other.id))
    see("cancelled again", lambda: client.cancel(other.id))
    see("as it is", lambda: client.get(other.id))


@scenario
def a_batch_is_followed(place: Any, see: Seen) -> None:
    client = place.client
    then = NewTask("held", {"number": 0})
    good = [NewTask("double", {"number": n}) for n in range(2)]
    batch = client.submit_many(good, then=then)
    for task in batch:
        client.wait(task.id, timeout=30)
    follower = wait_for(
        lambda: (found := client.get(batch.then.id)).status == "pending" and found, "it is due"
    )
    see("due", lambda: follower)
    see("group", lambda: client.group(batch.then.id))
    see("members", lambda: [one.id == batch[0].id for one in client.list(group=batch.then.id)])
    bad = [NewTask("refused", {"number": 7}), NewTask("double", {"number": 1})]
    lost = client.submit_many(bad, then=then)
    see("cancelled", lambda: client.wait(lost.then.id, timeout=30))
    kept = client.submit_many([bad[0]], then=then, on="finished")
    client.wait(kept[0].id, timeout=30)
    wait_for(lambda: client.get(kept.then.id).status == "pending", "it is due")
    see("finished", lambda: client.group(kept.then.id))
    waiting = see(
        "waiting", lambda: client.submit_many([NewTask("held", {"number": 1})], then=then)
    )
    see("all cancelled", lambda: client.cancel(waiting.then.id, children=True))
    see("no group", lambda: client.group(batch[0].id))
    see("wrong", lambda: client.submit_many([*good, NewTask("double", {"number": -1})]))
    see("none", lambda: client.submit_many([]))


@scenario
def tasks_are_listed_counted_and_dealt_with_together(place: Any, see: Seen) -> None:
    client = place.client
    for number in range(3):
        client.submit(
            "held", {"number": number}, labels={"n": str(number)}, unique_key=f"u{number}"
        )
    client.submit("held", {"number": 9, "note": "found"}, delay=LATER, concurrency_key="c")
    bad = client.submit("refused", {"number": 7}, labels={"n": "7"})
    client.wait(bad.id, timeout=30)

    def numbers(**conditions: Any) -> list[int]:
        return [one.payload["number"] for one in client.list(**conditions)]

    see("all", numbers)
    for conditions in (
        {"status": "pending"},
        {"status": ["failed", "scheduled"]},
        {"type": "held"},
        {"type": ["held", "refused"], "status": "failed"},
        {"labels": {"n": None}},
        {"labels": {"n": "1"}},
        {"unique_key": "u2"},
        {"concurrency_key": "c"},
        {"q": "payload.number=9"},
        {"q": "found"},
        {"q": bad.id[:13]},
        {"created_after": datetime.now(UTC) + LATER},
        {"finished_after": datetime.now(UTC) - LATER},
        {"parent": bad.id},
    ):
        see(f"listed by {list(conditions)}", partial(numbers, **conditions))
        see("counted", partial(client.count, **conditions))
    see("by their end", lambda: numbers(order="finished"))
    see("by their time", lambda: numbers(order="due")[-1])
    see("limited", lambda: numbers(limit=2))
    see("summed up", lambda: client.summaries(limit=1))
    see("no such state", lambda: client.list(status="lost"))
    see("dry run", lambda: vars(client.cancel_many(type="held", dry_run=True)))
    see("run", lambda: vars(client.run_many(type="held")))
    see("retried", lambda: vars(client.retry_many(payload={"number": 1}, new_type="held")))
    see("cancelled", lambda: vars(client.cancel_many(type="held", limit=2)))
    see("the rest", lambda: vars(client.cancel_many(labels={"n": None})))
    see("deleted", lambda: vars(client.delete_many(status="cancelled")))
    see("by id", lambda: vars(client.delete_many(ids=[bad.id])))


@scenario
def schedules_are_kept(place: Any, see: Seen) -> None:
    client = place.client
    new = NewSchedule("held", {"number": 1}, cron="0 3 * * *", timezone="Europe/Berlin")
    see("put", lambda: client.put_schedule("nightly", new))
    see(
        "put again",
        lambda: client.put_schedule("nightly", NewSchedule("held", {"number": 2}, every=60)),
    )
    see("paused", lambda: client.pause_schedule("nightly"))
    see("resumed", lambda: client.resume_schedule("nightly"))
    client.pause_schedule("nightly")
    task = see("run", lambda: client.run_schedule("nightly"))
    see("its task", lambda: client.get(task.id).schedule)
    see("listed", lambda: client.schedules(payloads=True))
    for what, wrong in {
        "both": NewSchedule("held", {"number": 1}, cron="0 3 * * *", every=60),
        "neither": NewSchedule("held", {"number": 1}),
        "cron": NewSchedule("held", {"number": 1}, cron="0 3 * *"),
        "period": NewSchedule("held", {"number": 1}, every=0.1),
        "type": NewSchedule("nowhere", every=60),
        "payload": NewSchedule("held", {"number": -1}, every=60),
    }.items():
        see(what, partial(client.put_schedule, "wrong", wrong))
    see("name", lambda: client.put_schedule("a b", new))
    see("deleted", lambda: client.delete_schedule("nightly"))
    see("unknown", lambda: client.schedule("nightly"))


@scenario
def types_are_shown_paused_and_resumed(place: Any, see: Seen) -> None:
    client = place.client
    client.submit("held", {"number": 1})
    see("shown", lambda: client.task_type("held").tasks)
    see("names", lambda: [name for one in client.task_types() if (name := one.name) in TYPES])
    see("paused", lambda: client.pause_type("double").paused)
    task = client.submit("double", {"number": 1})
    see("waits", lambda: client.get(task.id).status)
    see("resumed", lambda: client.resume_type("double").paused)
    see("goes on", lambda: client.wait(task.id, timeout=30).status)


@scenario
def webhooks_tell_of_ends(place: Any, see: Seen) -> None:
    client = place.client
    webhook = see(
        "put", lambda: client.put_webhook("ends", place.receiver, events=["failed", "success"],
                                          labels={"told": "yes"})
    )  # fmt: skip
    see("replaced", lambda: client.put_webhook("ends", place.receiver, labels={"told": "yes"}))
    see("wrong", lambda: client.put_webhook("wrong", "ftp://example.com/"))
    see("events", lambda: client.put_webhook("wrong", place.receiver, events=["lost"]))
    good = client.submit("double", {"number": 1}, labels={"told": "yes"})
    client.wait(good.id, timeout=30)
    place.await_notices(1)
    bad = client.submit("refused", {"number": 7}, labels={"told": "yes"})
    client.wait(bad.id, timeout=30)
    client.submit("double", {"number": 1}, wait=30)
    notices = place.await_notices(2)
    for headers, body in notices:
        event = verify_webhook(headers, body, webhook.secret)
        see.note("notice", {"id": event.id, "type": event.type, "data": event.data})
        see.note(
            "media type", {name.lower(): value for name, value in headers.items()}["content-type"]
        )
    see("disabled", lambda: client.disable_webhook("ends").enabled)
    see("tested", lambda: client.test_webhook("ends"))
    see("enabled", lambda: client.enable_webhook("ends").enabled)
    see("replayed", lambda: client.replay_webhook("ends", task_id=bad.id))
    place.await_notices(3)
    see("rotated", lambda: client.rotate_webhook_secret("ends").name)
    see("deleted", lambda: client.delete_webhook("ends"))
    see("unknown", lambda: client.webhook("ends"))


@scenario
def a_stream_tells_of_a_task(place: Any, see: Seen) -> None:
    client = place.client
    task = client.submit("held", {"number": 1}, delay=LATER)
    stream = iter(client.stream(task.id))
    first = next(stream)
    assert isinstance(first, TaskEvent)
    client.cancel(task.id)
    rest = [(type(one).__name__, getattr(one, "status", "")) for one in stream]
    see.note("events", rest)
    ended = [one.task.status for one in client.stream(task.id) if isinstance(one, TaskEvent)]
    see.note("of a finished task", ended)
    assert all(name == StateEvent.__name__ for name, _ in rest)


@scenario
def a_task_leaves_artifacts(place: Any, see: Seen) -> None:
    client = place.client
    text = "Leith " * 10
    task = client.submit("written", {"number": 1, "note": text})
    place.write(task, text)
    see("finished", lambda: client.wait(task.id, timeout=30).artifacts)
    see("listed", lambda: client.artifacts(task.id))
    see("unknown", lambda: client.download(task.id, "other.txt", "/dev/null/nowhere"))


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize("run", SCENARIOS, ids=lambda run: run.__name__)
def test_a_fake_answers_as_the_service(run: Scenario, kind: str, real: RealPlace) -> None:
    at_fake, at_real = Seen(), Seen()
    real.empty()
    run(real, at_real)
    with FakePlace(kind).open() as place:
        run(place, at_fake)
    assert [what for what, _ in at_fake.outcomes] == [what for what, _ in at_real.outcomes]
    found = [
        line
        for (what, fake), (_, service) in zip(at_fake.outcomes, at_real.outcomes, strict=True)
        for line in differences(fake, service, what)
    ]
    assert not found, "\n".join(found)
    assert len(at_fake.outcomes) >= 2


def test_the_comparison_notices_a_difference() -> None:
    """Otherwise the tests above say nothing."""
    one, other = FakeAfterwards(), FakeAfterwards()
    other.fails("double", "no")
    seen = []
    for fake in (one, other):
        see = Seen()
        task = see("submitted", partial(fake.client().submit, "double"))
        see("then", partial(fake.client().get, task.id))
        seen.append(see.outcomes)
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_a_download_is_the_artifact(tmp_path: Path) -> None:
    with FakePlace("Client").open() as place:
        task = place.client.submit("written", {"number": 1})
        place.write(task, "Leith")
        assert place.client.download(task.id, "note.txt", tmp_path).read_text() == "Leith"
