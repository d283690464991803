"""Schedules, webhooks, keys and quotas are the same for all processes on a database."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from afterwards.access.meters import Use
from afterwards.errors import LimitReached, TooManySchedules, TooManyUnfinished
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.postgresql.registry import PostgresqlRegistry
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.key_requests import CreateKey, Keys, RevokeKey, Share
from afterwards.registry.protocol.requests import (
    Add,
    Cancel,
    DeclareSchedules,
    DeleteSchedule,
    Find,
    GetSchedule,
    PutSchedule,
    Stats,
)
from afterwards.registry.protocol.webhook_requests import DeleteWebhook, PutWebhook
from afterwards.registry.state import schedules
from afterwards.registry.state.acceptance import Limits
from afterwards.webhooks.webhook import DELIVERY
from tests.registry.peers import SERVICE, Peer, Processes, ask, eventually, make_schedule, make_task
from tests.registry.test_keys import a_key
from tests.registry.test_quotas import anns, limited
from tests.registry.test_webhooks import a_webhook

pytestmark = [pytest.mark.machines, pytest.mark.processes]

Open = Callable[..., PostgresqlRegistry]


@pytest.fixture
def open_registry(empty_database: str) -> Iterator[Open]:
    """Opens registries on one database, as each process does."""
    opened: list[PostgresqlRegistry] = []

    def make(limits: Limits | None = None) -> PostgresqlRegistry:
        opened.append(PostgresqlRegistry(empty_database, SERVICE, limits))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Call all of them in threads that begin together; what they give, in this order."""
    gate = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        gate.wait()
        return one()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [*threads.map(call, calls)]


def deliveries(registry: PostgresqlRegistry) -> list[Task]:
    page = ask(registry, Find(Filter(types=frozenset({DELIVERY}))))
    return list(page.tasks)


def execute(url: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


# -- webhooks --------------------------------------------------------------------------------------


def test_an_end_in_one_process_is_told_to_a_webhook_that_another_one_has_put(
    open_registry: Open,
) -> None:
    one, other = open_registry(), open_registry()
    task = make_task()
    # The first has looked for webhooks before, and remembers that there are none.
    assert ask(one, Add(task)) is None
    ask(other, PutWebhook(a_webhook()))

    ask(one, Cancel(task.id))

    eventually(lambda: len(deliveries(other)) == 1, "the delivery")


def test_each_end_beside_a_webhook_that_is_put_is_told_from_the_answer_on(
    open_registry: Open,
) -> None:
    one, other = open_registry(), open_registry()
    tasks = [make_task() for _ in range(40)]
    for task in tasks:
        ask(one, Add(task))
    put_at: list[float] = []
    cancelled: dict[str, float] = {}

    def cancel_all() -> None:
        for task in tasks:
            cancelled[task.id] = time.monotonic()
            ask(one, Cancel(task.id))

    def put() -> None:
        ask(other, PutWebhook(a_webhook()))
        put_at.append(time.monotonic())

    at_once(cancel_all, put)

    after = {task_id for task_id, at in cancelled.items() if at > put_at[0]}

    def told() -> set[str]:
        labels = [one.labels or "" for one in deliveries(other)]
        return {task_id for task_id in cancelled if any(task_id in text for text in labels)}

    eventually(lambda: after <= told(), "all that ended afterwards")


def test_a_deleted_webhook_is_told_of_nothing_by_a_process_that_knew_it(
    open_registry: Open, empty_database: str
) -> None:
    one, other = open_registry(), open_registry()
    ask(other, PutWebhook(a_webhook()))
    tasks = [make_task(), make_task()]
    for task in tasks:
        ask(one, Add(task))
    ask(one, Cancel(tasks[0].id))
    eventually(lambda: len(deliveries(one)) == 1, "the delivery")
    ask(other, DeleteWebhook("orders"))

    ask(one, Cancel(tasks[1].id))

    def is_withdrawn() -> bool:
        [delivery] = deliveries(one)
        return delivery.state is TaskState.CANCELLED

    eventually(is_withdrawn, "what waited is withdrawn")
    assert execute(empty_database, "SELECT count(*) FROM afterwards.notices") == [(0,)]


def test_notices_beyond_the_share_of_a_webhook_wait_and_are_counted(
    open_registry: Open, empty_database: str
) -> None:
    registry = open_registry(Limits(max_pending=32))
    ask(registry, PutWebhook(a_webhook()))
    for _ in range(5):
        task = make_task()
        ask(registry, Add(task))
        ask(registry, Cancel(task.id))

    waits = "SELECT count(*) FROM afterwards.notices"
    eventually(lambda: execute(empty_database, waits) == [(3,)], "a sixteenth of the room")
    assert len(deliveries(registry)) == 2
    assert ask(registry, Stats()).snapshot.notices_waiting == 3
    ask(registry, Cancel(deliveries(registry)[0].id))
    eventually(lambda: len(deliveries(registry)) == 3, "room for another one")


# -- schedules -------------------------------------------------------------------------------------


def test_two_processes_have_each_due_time_made_once(open_registry: Open) -> None:
    one, other = open_registry(), open_registry()
    ask(one, PutSchedule(make_schedule("often", every_seconds=1.0)))

    def made() -> list[float]:
        tasks = ask(other, Find()).tasks
        return [task.run_at for task in tasks if task.schedule == "often"]

    eventually(lambda: len(made()) >= 3, "three due times")
    assert max(Counter(made()).values()) == 1


def test_a_schedule_too_many_is_refused_whichever_process_is_asked(
    open_registry: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 3)
    registries = [open_registry(), open_registry()]

    answers = at_once(
        *(
            lambda name=name, registry=registry: ask(registry, PutSchedule(make_schedule(name)))
            for name, registry in zip("abcdef", registries * 3, strict=True)
        )
    )

    kinds = Counter(type(answer) for answer in answers)
    assert kinds == {bool: 3, TooManySchedules: 3}
    assert ask(registries[0], Stats()).schedules == 3


def test_the_bytes_of_schedules_are_counted_by_every_process(open_registry: Open) -> None:
    limits = Limits(max_pending_bytes=1_000)
    one, other = open_registry(limits), open_registry(limits)
    pattern = make_task(id="", created_at=0.0, run_at=0.0, payload=b"x" * 400)
    ask(one, PutSchedule(make_schedule("large", pattern=pattern)))
    assert ask(other, Add(make_task(payload=b"x" * 600))) is None

    refused = ask(other, Add(make_task(payload=b"x")))
    ask(one, DeleteSchedule("large"))

    assert isinstance(refused, TooManyUnfinished)
    assert ask(other, Add(make_task(payload=b"x" * 400))) is None


def test_due_times_that_wait_for_room_are_not_missed_though_another_process_leads(
    open_registry: Open, empty_database: str
) -> None:
    """A mark that each leader finds tells late times from missed ones."""
    one = open_registry(Limits(max_pending=1))
    filling = make_task()
    ask(one, Add(filling))
    ask(one, PutSchedule(make_schedule("late", every_seconds=3600.0)))
    make_due = "UPDATE afterwards.schedules SET next_due = afterwards.wall() - %s"
    marked = "SELECT held_until IS NOT NULL FROM afterwards.schedules"
    execute(empty_database, make_due, 1.0)
    eventually(lambda: execute(empty_database, marked) == [(True,)], "it is held")
    # It is five minutes late by now: without the mark it would be missed.
    late = "UPDATE afterwards.schedules SET next_due = next_due - 300 RETURNING next_due"
    [(due,)] = execute(empty_database, late)
    one.close()

    other = open_registry(Limits(max_pending=1))
    ask(other, Cancel(filling.id))

    eventually(lambda: ask(other, GetSchedule("late")).last_due == due, "its task")


def test_a_declaration_puts_all_in_place_whichever_process_is_told(open_registry: Open) -> None:
    one, other = open_registry(), open_registry()
    declared = [make_schedule(name, module="tasks") for name in "ab"]

    at_once(
        lambda: ask(one, DeclareSchedules(1, declared)),
        lambda: ask(other, DeclareSchedules(1, declared)),
    )
    ask(other, DeclareSchedules(2, declared[:1]))

    assert [ask(one, GetSchedule(name)).gone for name in "ab"] == [False, True]


# -- keys ------------------------------------------------------------------------------------------


def test_workers_of_all_processes_are_called_for_a_change_of_keys(
    open_registry: Open, processes: Processes
) -> None:
    one, other = open_registry(), open_registry()
    peer = Peer(one, processes.start(SERVICE))
    peer.join()
    while one.watch(peer.worker, peer.connection, 0.0):
        peer.take()
    called: list[bool] = []
    watching = threading.Thread(
        target=lambda: called.append(one.watch(peer.worker, peer.connection, 20.0))
    )
    watching.start()

    ask(other, CreateKey(a_key()))

    watching.join()
    assert called == [True]
    assert peer.exchange().keys == ask(other, Keys()).version == 1


def test_an_owner_s_limit_holds_over_processes_that_are_asked_at_once(
    open_registry: Open,
) -> None:
    registries = [open_registry(), open_registry()]
    ask(registries[0], limited(pending_tasks=3))

    answers = at_once(
        *(lambda registry=registry: ask(registry, Add(anns())) for registry in registries * 4)
    )

    assert Counter(map(type, answers)) == {type(None): 3, LimitReached: 5}


def test_a_bound_that_ends_in_one_process_ends_in_all(open_registry: Open) -> None:
    one, other = open_registry(), open_registry()
    request = limited(pending_tasks=0)
    ask(one, request)
    assert isinstance(ask(other, Add(anns())), LimitReached)

    ask(one, RevokeKey(request.key.id))

    assert ask(other, Add(anns())) is None


def test_the_streams_of_a_worker_of_another_process_are_told(
    open_registry: Open, processes: Processes
) -> None:
    peers = [Peer(open_registry(), processes.start(SERVICE)) for _ in range(2)]
    for peer in peers:
        peer.join()
    key = a_key(limits=limited(requests_per_second=1, burst=10).key.limits)
    ask(peers[0].registry, CreateKey(key))

    peers[0].ask(Share({key.id: Use(4, 2, 1)}))
    left = peers[1].ask(Share({key.id: Use(0, 0, 0)}))

    assert (left[key.id].streams, left[key.id].waits) == (2, 1)
    assert 6.0 <= left[key.id].level < 10.0
