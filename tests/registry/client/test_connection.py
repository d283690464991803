"""A worker's connection: nothing acknowledged twice, nothing lost when it breaks, and the fence."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import AuthenticationError, Pipe
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from afterwards.counts import WorkerCounts
from afterwards.errors import (
    IllegalTransition,
    JournalLocked,
    JournalUnavailable,
    NotPrivate,
    RegistryUnavailable,
    TaskNotFound,
)
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.client import waiting_calls
from afterwards.registry.client.channel import SocketChannel
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.connection import RegistryConnection, _Talk
from afterwards.registry.client.reader import MAX_BATCH_READS, Reader
from afterwards.registry.client.send_queue import Pending
from afterwards.registry.client.worker_side import TaskCode
from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.protocol.answers import Answer, Claim, Events, Reply
from afterwards.registry.protocol.base import Registry, Worker
from afterwards.registry.protocol.incarnation import this_process
from afterwards.registry.protocol.requests import (
    Add,
    AddAll,
    Alive,
    Beat,
    Cancel,
    Get,
    Held,
    Inspect,
    Join,
    Leave,
    ReadById,
    Released,
    Request,
    Retry,
    Succeeded,
    TypeLimits,
)
from tests.registry.peers import WAIT_SECONDS

SERVICE = "test"


@dataclass
class Holder:
    """A dispatcher that starts nothing and remembers everything."""

    capacity: int = 10
    table: dict[str, Claim] = field(default_factory=dict)
    left_to_routes: set[str] = field(default_factory=set)
    cancelled: list[Held] = field(default_factory=list)
    fences: int = 0

    def slots(self) -> Mapping[str, int]:
        return {"async": self.capacity}

    def stuck(self) -> Mapping[str, int]:
        return {}

    def held(self) -> list[Held]:
        return [Held(task_id, claim.attempt) for task_id, claim in list(self.table.items())]

    def take(self, claims: Sequence[Claim], awaited: frozenset[str]) -> None:
        self.table.update({claim.task_id: claim for claim in claims})
        self.left_to_routes |= awaited

    def settle(self, task_id: str, attempt: int) -> None:
        if task_id in self.table and self.table[task_id].attempt == attempt:
            del self.table[task_id]

    def cancel(self, claim: Held) -> None:
        self.cancelled.append(claim)

    def sweep(self) -> None:
        pass

    def fence(self) -> None:
        self.fences += 1
        self.table.clear()


class NoHttp:
    version = 0

    def counts(self) -> WorkerCounts:
        return WorkerCounts({}, {})


class Line:
    """A registry behind a connection that can be made to break, before or after the work."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self.registry = registry
        self.break_before: Callable[[Sequence[Request]], bool] = lambda requests: False
        self.break_after: Callable[[Sequence[Request]], bool] = lambda requests: False
        self.refuse_reports = False
        self.is_locked = False
        """True if another process has the lock of the registry's journal."""
        self.up = True
        self.exchanges: list[Sequence[Request]] = []
        self.reads: list[Sequence[ReadById]] = []
        self.may_read = True
        self.before_read: Callable[[], object] = lambda: None

    def connect(self) -> Registry:
        if not self.up:
            raise ConnectionRefusedError
        return self

    def exchange(
        self, worker: Worker | None, connection: int, requests: Sequence[Request]
    ) -> Reply:
        if not self.up or self.break_before(requests):
            raise EOFError
        if self.refuse_reports and any(isinstance(request, Succeeded) for request in requests):
            return Reply([JournalUnavailable("full") for _ in requests], [], [])
        if self.is_locked and any(isinstance(request, Add) for request in requests):
            self.exchanges.append(requests)
            return Reply([JournalLocked("locked") for _ in requests], [], [])
        reply = self.registry.exchange(worker, connection, requests)
        self.exchanges.append(requests)
        if self.break_after(requests):
            raise EOFError
        return reply

    def read(self, requests: Sequence[ReadById]) -> Sequence[Answer]:
        if not (self.up and self.may_read):
            raise EOFError
        self.before_read()
        if requests:
            self.reads.append(requests)
        return self.registry.read(requests)

    def follow(self, epoch: str, after: int, timeout_seconds: float) -> Events:
        raise AssertionError("a follower has a connection of its own")

    def watch(self, worker: Worker, connection: int, timeout_seconds: float) -> bool:
        return self.registry.watch(worker, connection, timeout_seconds)


def once(kind: type) -> Callable[[Sequence[Request]], bool]:
    """True for the first batch with a request of this kind, and never again."""
    done = False

    def check(requests: Sequence[Request]) -> bool:
        nonlocal done
        if not done and any(isinstance(request, kind) for request in requests):
            done = True
            return True
        return False

    return check


@dataclass
class Side:
    """A worker's side, connected."""

    line: Line
    client: RegistryClient
    holder: Holder
    connection: RegistryConnection
    ended: list[Worker]
    """By the registry, because it was silent."""


@asynccontextmanager
async def connected(capacity: int = 10, fence_seconds: float = 8) -> AsyncIterator[Side]:
    # Not in earnest: the worker is this very process.
    ended: list[Worker] = []
    registry = MemoryRegistry(
        SERVICE, surroundings=Surroundings(end=ended.append, when_gone=lambda *_: None)
    )
    line, holder = Line(registry), Holder(capacity)
    client = RegistryClient(holder, NoHttp())
    worker = this_process(SERVICE)
    connection = RegistryConnection(line.connect, worker, client, holder, fence_seconds)
    client.bind(asyncio.get_running_loop())
    connection.start()
    assert await asyncio.to_thread(connection.wait_joined, 5)
    try:
        yield Side(line, client, holder, connection, ended)
    finally:
        line.up = True
        await asyncio.to_thread(connection.close, 5)
        client.unbind()
        registry.close()


def new_task() -> Task:
    now = time.time()
    return Task(
        id=str(uuid4()),
        type="notification",
        payload=b"{}",
        executor="async",
        created_at=now,
        run_at=now,
    )


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads
            await asyncio.sleep(0.01)


def run(story: Callable[[], Coroutine[Any, Any, object]]) -> None:
    asyncio.run(story())


def test_an_added_task_comes_back_claimed_and_is_left_to_its_route() -> None:
    async def story() -> None:
        async with connected() as side:
            task = new_task()
            await side.client.call(Add(task))
            assert side.holder.table[task.id].attempt == 1
            assert task.id in side.holder.left_to_routes

    run(story)


def test_a_worker_says_its_task_types_limits_when_it_joins() -> None:
    limits = {"note": TypeLimits(max_concurrency=3)}
    client = RegistryClient(Holder(1), NoHttp(), TaskCode(limits=limits))

    join, *_ = [pending.request for pending in client.first_batch()]

    assert join == Join(Holder(1).slots(), [], limits)


def test_calls_that_gather_share_an_exchange() -> None:
    async def story() -> None:
        async with connected(capacity=500) as side:
            before = len(side.line.exchanges)
            await asyncio.gather(*(side.client.call(Add(new_task())) for _ in range(400)))
            assert len(side.line.exchanges) - before < 100

    run(story)


def test_what_gathers_during_an_exchange_goes_with_the_next() -> None:
    held_up, go_on = threading.Event(), threading.Event()

    def hold_up(requests: Sequence[Request]) -> bool:
        if any(isinstance(request, Cancel) for request in requests):
            held_up.set()
            assert go_on.wait(10)
        return False

    async def story() -> None:
        async with connected() as side:
            done, other = new_task(), new_task()
            await asyncio.gather(*(side.client.call(Add(task)) for task in (done, other)))
            side.line.break_before = hold_up
            cancelling = asyncio.ensure_future(side.client.call(Cancel(other.id)))
            await asyncio.to_thread(held_up.wait, WAIT_SECONDS)
            before = len(side.line.exchanges)
            adding = asyncio.ensure_future(side.client.call(Add(new_task())))
            await asyncio.sleep(0)
            await asyncio.to_thread(side.client.report, Succeeded(done.id, 1, b"{}", 0.0))
            go_on.set()
            await asyncio.gather(cancelling, adding)
            kinds = [
                [type(r) for r in e if not isinstance(r, Beat | Alive)]
                for e in side.line.exchanges[before:]
            ]
            assert [kind for kind in kinds if kind] == [[Cancel], [Add, Succeeded]]

    run(story)


async def reading(side: Side) -> None:
    """Wait until there is a connection for reads."""
    await eventually(lambda: side.client._reader is not None)


def test_a_read_does_not_wait_for_an_exchange_that_is_under_way() -> None:
    held_up, go_on = threading.Event(), threading.Event()

    def hold_up(requests: Sequence[Request]) -> bool:
        if any(isinstance(request, Cancel) for request in requests):
            held_up.set()
            assert go_on.wait(10)
        return False

    async def story() -> None:
        async with connected() as side:
            await reading(side)
            task = new_task()
            await side.client.call(Add(task))
            side.line.break_before = hold_up
            cancelling = asyncio.ensure_future(side.client.call(Cancel(task.id)))
            try:
                await asyncio.to_thread(held_up.wait, WAIT_SECONDS)
                assert (await side.client.read(Get(task.id))).state is TaskState.PROCESSING
                with pytest.raises(TaskNotFound):
                    await side.client.read(Inspect(new_task().id))
            finally:
                go_on.set()
            await cancelling
            assert (await side.client.read(Get(task.id))).cancel_requested

    run(story)


def test_reads_that_gather_share_a_call_of_bounded_size() -> None:
    async def story() -> None:
        async with connected() as side:
            await reading(side)
            task = new_task()
            await side.client.call(Add(task))
            reads = [side.client.read(Get(task.id)) for _ in range(MAX_BATCH_READS + 20)]
            assert {found.id for found in await asyncio.gather(*reads)} == {task.id}
            assert [len(requests) for requests in side.line.reads] == [MAX_BATCH_READS, 20]

    run(story)


def test_reads_whose_connection_breaks_go_with_an_exchange_until_the_next_one() -> None:
    async def story() -> None:
        async with connected() as side:
            await reading(side)
            task = new_task()
            await side.client.call(Add(task))
            side.line.may_read = False
            for _ in range(2):
                assert (await side.client.read(Get(task.id))).id == task.id
            assert [Get(task.id)] in [list(requests) for requests in side.line.exchanges]
            assert side.line.reads == []

            side.line.may_read = True
            side.line.break_before = once(Add)
            await side.client.call(Add(new_task()))
            await reading(side)
            assert (await side.client.read(Get(task.id))).id == task.id
            assert side.line.reads == [[Get(task.id)]]

    run(story)


def test_a_connection_for_reads_that_comes_too_late_is_closed() -> None:
    ours, theirs = Pipe()
    proxy: Any = SimpleNamespace(_tls=SimpleNamespace(connection=ours), _id="the registry")
    client = RegistryClient(Holder(), NoHttp())

    async def story() -> None:
        connection = RegistryConnection(Mock(), this_process(SERVICE), client, Holder(), 8)
        over = _Talk(1)
        over.over.set()
        reader = Reader(
            SocketChannel(proxy, "read"), resolve=Mock(), otherwise=Mock(), broke=Mock()
        )
        connection._begin_reader(over, reader)
        assert client._reader is None
        with pytest.raises(EOFError):
            theirs.recv()

    run(story)


def test_a_read_that_the_registry_does_not_answer_is_refused_and_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        async with connected() as side:
            await reading(side)
            frozen = threading.Event()
            side.line.before_read = lambda: frozen.wait(10)
            monkeypatch.setattr(waiting_calls, "WAIT_SECONDS", 0.1)
            monkeypatch.setattr(waiting_calls, "MAX_WAITING_CALLS", 20)
            try:
                reads = [side.client.read(Get(new_task().id)) for _ in range(50)]
                answers = await asyncio.gather(*reads, return_exceptions=True)
                assert {type(answer) for answer in answers} == {RegistryUnavailable}
                assert side.client._reader is not None
                assert side.client._reader.waiting() <= waiting_calls.MAX_WAITING_CALLS
                assert side.client._calls._pending == {}
            finally:
                frozen.set()

    run(story)


def test_a_worker_without_slots_gets_no_claim_back_that_it_releases() -> None:
    async def story() -> None:
        async with connected(capacity=1) as side:
            task = new_task()
            await side.client.call(Add(task))
            side.holder.capacity = 0
            side.client.slots_changed()
            side.client.report(Released(task.id, 1, "starved"))
            await eventually(lambda: not side.holder.table)

            assert (await side.client.call(Get(task.id))).attempt == 1
            side.holder.capacity = 1
            side.client.slots_changed()
            await eventually(lambda: task.id in side.holder.table)

    run(story)


def test_a_thread_that_cannot_be_had_for_a_connection_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        refused.append(True)
        raise RuntimeError("can't start new thread")

    refused: list[bool] = []

    async def story() -> None:
        async with connected() as side:
            await side.client.call(Add(new_task()))
            with monkeypatch.context() as patch:
                patch.setattr(threading, "_start_new_thread", refuse)
                side.line.up = False
                await eventually(lambda: len(refused) > 2)
                side.line.up = True
            await side.client.call(Add(new_task()))

    run(story)


def test_a_connection_outlives_a_thread_that_cannot_be_had_for_its_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start
    refused: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("registry-watch"):
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    async def story() -> None:
        with monkeypatch.context() as patch, capture_logs() as lines:
            patch.setattr(threading.Thread, "start", refuse)
            async with connected() as side:
                for _ in range(3):
                    await side.client.call(Add(new_task()))
                assert set(refused) == {"registry-watch-1"}
                assert len(lines) == 1
                watched = threading.Event()
                watch = side.line.watch

                def note_watch(worker: Worker, connection: int, timeout_seconds: float) -> bool:
                    watched.set()
                    return watch(worker, connection, timeout_seconds)

                patch.setattr(side.line, "watch", note_watch)
                patch.setattr(threading.Thread, "start", start)
                await side.client.call(Add(new_task()))
                await eventually(watched.is_set)

    run(story)


def test_a_connection_that_fails_as_was_not_foreseen_is_made_again_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        async with connected() as side:
            numbers: list[int] = []
            pauses: list[float] = []
            wait, heard = side.connection._closed.wait, side.connection._heard

            def note_pause(timeout: float | None = None) -> bool:
                pauses.append(timeout or 0.0)
                return wait(timeout)

            def fail(talk: Any) -> bool:
                numbers.append(side.connection._number)
                if len(numbers) < 4:
                    raise ZeroDivisionError
                return heard(talk)

            monkeypatch.setattr(side.connection._closed, "wait", note_pause)
            monkeypatch.setattr(side.connection, "_heard", fail)
            side.line.break_before = once(Add)
            call = asyncio.ensure_future(side.client.call(Add(new_task())))
            await eventually(lambda: len(numbers) >= 4)
            assert len(pauses) >= 3
            await call

    run(story)


@pytest.mark.parametrize(
    "refusal",
    [
        OSError(errno.EMFILE, "Too many open files"),
        NotPrivate("/tmp/x", "it belongs to user 1"),
        AuthenticationError("digest sent was rejected"),
    ],
)
def test_a_watch_that_cannot_be_had_for_a_moment_is_not_given_up(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with connected() as side:
            connect, watch = side.line.connect, side.line.watch
            refusals = [refusal]
            watched = set()

            def connect_or_refuse() -> Registry:
                if refusals and threading.current_thread().name.startswith("registry-watch"):
                    raise refusals.pop()
                return connect()

            def note_watch(worker: Worker, connection: int, timeout_seconds: float) -> bool:
                watched.add(connection)
                return watch(worker, connection, timeout_seconds)

            monkeypatch.setattr(side.connection, "_connect", connect_or_refuse)
            monkeypatch.setattr(side.line, "watch", note_watch)
            side.line.break_before = once(Add)
            await side.client.call(Add(new_task()))
            await eventually(lambda: 2 in watched)
            assert not refusals

    run(story)


def test_an_error_of_the_registry_is_raised_in_the_caller() -> None:
    async def story() -> None:
        async with connected() as side:
            with pytest.raises(TaskNotFound):
                await side.client.call(Get(str(uuid4())))

    run(story)


@pytest.mark.parametrize("moment", ["break_before", "break_after"])
def test_an_add_on_a_breaking_connection_is_accepted_exactly_once(moment: str) -> None:
    async def story() -> None:
        async with connected() as side:
            setattr(side.line, moment, once(Add))
            task = new_task()
            await side.client.call(Add(task))
            assert len(side.line.registry) == 1
            # What was claimed in the lost reply was released, and claimed again.
            await eventually(lambda: task.id in side.holder.table)
            stored = await side.client.call(Get(task.id))
            assert stored.state is TaskState.PROCESSING
            assert stored.attempt == side.holder.table[task.id].attempt
            assert stored.lost_attempts == 0

    run(story)


@pytest.mark.parametrize("moment", ["break_before", "break_after"])
def test_a_batch_on_a_breaking_connection_is_accepted_exactly_once(moment: str) -> None:
    async def story() -> None:
        async with connected() as side:
            setattr(side.line, moment, once(AddAll))
            tasks = [new_task() for _ in range(3)]
            assert await side.client.call(AddAll(tasks)) is None
            await eventually(lambda: set(side.holder.table) == {task.id for task in tasks})
            assert len(side.line.registry) == 3
            repeated = AddAll(tasks, again=True)
            assert any(repeated in exchange for exchange in side.line.exchanges)

    run(story)


def test_the_tasks_of_a_batch_are_left_to_its_route() -> None:
    async def story() -> None:
        async with connected() as side:
            tasks = [new_task() for _ in range(3)]
            await side.client.call(AddAll(tasks))
            assert side.holder.left_to_routes == {task.id for task in tasks}

    run(story)


@pytest.mark.parametrize("moment", ["break_before", "break_after"])
def test_a_report_on_a_breaking_connection_is_sent_until_it_is_answered(moment: str) -> None:
    async def story() -> None:
        async with connected() as side:
            task = new_task()
            await side.client.call(Add(task))
            setattr(side.line, moment, once(Succeeded))
            side.client.report(Succeeded(task.id, 1, b"{}", 0.0))
            await eventually(lambda: not side.holder.table)
            assert (await side.client.call(Get(task.id))).state is TaskState.SUCCESS

    run(story)


def test_a_retry_whose_answer_was_lost_is_refused_and_not_repeated() -> None:
    async def story() -> None:
        async with connected() as side:
            task = new_task()
            await side.client.call(Add(task))
            await side.client.call(Cancel(task.id))
            side.line.break_after = once(Retry)
            with pytest.raises((RegistryUnavailable, IllegalTransition)):
                await side.client.call(Retry(task.id))

    run(story)


def test_reports_are_kept_while_the_journal_cannot_be_written() -> None:
    async def story() -> None:
        async with connected() as side:
            task = new_task()
            await side.client.call(Add(task))
            side.line.refuse_reports = True
            side.client.report(Succeeded(task.id, 1, b"{}", 0.0))
            await eventually(lambda: bool(side.client._outbox._deferred))
            assert task.id in side.holder.table
            side.line.refuse_reports = False
            await eventually(lambda: not side.holder.table)
            assert (await side.client.call(Get(task.id))).state is TaskState.SUCCESS

    run(story)


def test_a_call_waits_for_a_journal_that_another_process_has_locked() -> None:
    async def story() -> None:
        async with connected() as side:
            side.line.is_locked = True
            adding = asyncio.create_task(side.client.call(Add(new_task())))
            await eventually(lambda: len(sent(side, Add)) == 2)
            assert not adding.done()
            side.line.is_locked = False
            assert await adding is None

    run(story)


def test_a_call_is_told_in_time_that_the_journal_stays_locked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_calls, "WAIT_SECONDS", waiting_calls._LAST_TRY_SECONDS)

    async def story() -> None:
        async with connected() as side:
            side.line.is_locked = True
            with pytest.raises(JournalLocked):
                await side.client.call(Add(new_task()))

    run(story)


def sent(side: Side, kind: type) -> list[Request]:
    return [r for requests in side.line.exchanges for r in requests if isinstance(r, kind)]


def test_a_call_without_a_registry_is_refused_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_calls, "WAIT_SECONDS", 0.1)

    async def story() -> None:
        async with connected() as side:
            side.line.up = False
            with pytest.raises(RegistryUnavailable):
                await side.client.call(Add(new_task()))
            side.line.up = True
            task = new_task()
            await eventually(lambda: side.connection._number > 1)
            monkeypatch.setattr(waiting_calls, "WAIT_SECONDS", 5.0)
            await side.client.call(Add(task))

    run(story)


@pytest.mark.parametrize(
    ("bound", "value"), [("MAX_WAITING_CALLS", 20), ("MAX_WAITING_BYTES", 20_000)]
)
def test_a_silent_registry_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(waiting_calls, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(waiting_calls, bound, value)

    async def story() -> None:
        async with connected() as side:
            frozen = threading.Event()
            side.line.break_before = lambda requests: not frozen.wait(10)
            for _ in range(3):
                calls = [
                    side.client.call(Add(replace(new_task(), payload=bytes(1_000))))
                    for _ in range(50)
                ]
                answers = await asyncio.gather(*calls, return_exceptions=True)
                assert {type(answer) for answer in answers} == {RegistryUnavailable}
            kept = list(side.client._outbox._incoming)
            assert len(kept) <= waiting_calls.MAX_WAITING_CALLS
            assert sum(isinstance(pending.request, Add) for pending in kept) == 0
            frozen.set()
            await eventually(lambda: side.client._outbox.incoming() == 0)
            monkeypatch.setattr(waiting_calls, "WAIT_SECONDS", 5.0)
            await side.client.call(Add(new_task()))
            assert side.client._calls._bytes == 0

    run(story)


def test_a_request_is_as_large_as_the_payloads_it_carries() -> None:
    task = replace(new_task(), payload=b"x" * 70)

    assert Pending(AddAll([task, task])).size == 140
    assert Pending(Retry(task.id, b"y" * 30)).size == 30
    assert Pending(Retry(task.id)).size == 0


def test_work_that_others_left_is_fetched_by_an_idle_worker() -> None:
    async def story() -> None:
        async with connected() as side:
            task = new_task()
            # Added by nobody's worker: only the watch can bring it.
            await asyncio.to_thread(side.line.registry.exchange, None, 0, [Add(task)])
            await eventually(lambda: task.id in side.holder.table)
            assert task.id not in side.holder.left_to_routes

    run(story)


def test_a_cancellation_reaches_the_holder() -> None:
    async def story() -> None:
        async with connected() as side:
            task = new_task()
            await side.client.call(Add(task))
            await asyncio.to_thread(side.line.registry.exchange, None, 0, [Cancel(task.id)])
            await eventually(lambda: side.holder.cancelled == [Held(task.id, 1)])

    run(story)


def test_a_worker_that_hears_nothing_stops_its_attempts() -> None:
    async def story() -> None:
        async with connected(fence_seconds=0.3) as side:
            task = new_task()
            await side.client.call(Add(task))
            side.line.up = False
            side.line.break_before = lambda requests: True
            side.client.nudge()
            await eventually(lambda: side.holder.fences == 1)
            side.line.break_before = lambda requests: False
            side.line.up = True
            # Joined again without it, the claim is released, uncounted, and given out anew.
            await eventually(lambda: task.id in side.holder.table)
            assert side.holder.table[task.id].attempt == 2

    run(story)


def test_closing_sends_what_is_left_and_leaves() -> None:
    async def story() -> None:
        async with connected() as side:
            done, left = new_task(), new_task()
            await asyncio.gather(*(side.client.call(Add(task)) for task in (done, left)))
            side.client.report(Succeeded(done.id, 1, b"{}", 0.0))
            await asyncio.to_thread(side.connection.close, 5)
            registry = side.line.registry
            assert await asyncio.to_thread(lambda: registry[done.id].state) is TaskState.SUCCESS
            # It waits for the end of this process.
            assert await asyncio.to_thread(lambda: registry[left.id].state) is TaskState.PROCESSING
            [record] = registry.rules.ledger
            assert record.over == "its worker stopped"

    run(story)


def test_the_last_http_metrics_go_before_the_leave() -> None:
    async def story() -> None:
        async with connected() as side:
            await asyncio.to_thread(side.connection.close, 5)
            last = [type(request) for request in side.line.exchanges[-1]]
            assert last.index(Beat) < last.index(Leave)

    run(story)


def test_a_worker_whose_lease_has_ended_stops_its_attempts_and_is_ended() -> None:
    async def story() -> None:
        async with connected() as side:
            task = new_task()
            await side.client.call(Add(task))
            record = side.line.registry.rules.ledger.find(str(this_process(SERVICE)))
            assert record is not None
            record.doomed, record.joined = True, False
            side.line.registry.rules.workers.silent.add(record.worker)
            side.client.nudge()
            await eventually(lambda: side.holder.fences >= 1)
            await eventually(lambda: record.worker in side.ended)
            # It cannot be ended here, so what it holds is given to nobody.
            found = await asyncio.to_thread(lambda: side.line.registry[task.id])
            assert (found.state, found.attempt) == (TaskState.PROCESSING, 1)
            record.doomed = False
            side.line.registry.rules.workers.silent.clear()

    run(story)


def test_a_worker_says_that_it_is_alive_while_an_exchange_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("afterwards.registry.client.connection.HEARTBEAT_SECONDS", 0.1)
    held_up, go_on = threading.Event(), threading.Event()

    def hold_up(requests: Sequence[Request]) -> bool:
        if any(isinstance(request, Add) for request in requests):
            held_up.set()
            assert go_on.wait(10)
        return False

    def said(side: Side) -> int:
        return side.line.exchanges.count([Alive()])

    async def story() -> None:
        async with connected(fence_seconds=0.5) as side:
            side.line.break_before = hold_up
            call = asyncio.ensure_future(side.client.call(Add(new_task())))
            try:
                await asyncio.to_thread(held_up.wait, WAIT_SECONDS)
                before = said(side)
                # For twice as long as it would stop its attempts without.
                await eventually(lambda: said(side) >= before + 10)
                assert side.holder.fences == 0
            finally:
                go_on.set()
            await call

    run(story)


def test_what_a_worker_can_run_is_told_as_it_joins_and_as_it_changes() -> None:
    async def story() -> None:
        async with connected() as side:
            limits = {"charge": TypeLimits(max_concurrency=1)}
            code = TaskCode(frozenset({"note", "charge"}), frozenset({"charge"}), 3, limits)
            claimed = new_task()
            await side.client.call(Add(claimed))

            side.client.announce(code)

            def told() -> Join | None:
                joins = [r for batch in side.line.exchanges for r in batch if isinstance(r, Join)]
                return joins[-1] if len(joins) > 1 else None

            await eventually(lambda: told() is not None)
            join = told()
            assert join is not None
            assert join[2:] == (limits, 3, code.user_types, code.known_types)
            assert join.held == [Held(claimed.id, 1)]
            assert side.line.registry.rules.ledger.generation == 3
            assert await asyncio.to_thread(lambda: side.line.registry[claimed.id].attempt) == 1

    run(story)
