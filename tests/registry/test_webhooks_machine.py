"""A state machine that ends tasks in every way, while webhooks, disks and registries come and go.

`HYPOTHESIS_EXAMPLES=5000 pytest tests/registry/test_webhooks_machine.py` searches for longer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from afterwards.lifecycle import FINAL_STATES, Task, TaskState
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import Add, Cancel, Delete, Failed, Find, Request, Retry
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    PutWebhook,
    ReplayWebhook,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.webhooks.delivery import receiver_of
from afterwards.webhooks.notice import CALLBACKS, webhook_id
from afterwards.webhooks.webhook import DELIVERY, Callback, Webhook
from tests.registry.bench import Bench, SteppedRegistry
from tests.registry.peers import Peer, ask
from tests.registry.test_webhooks import a_webhook, told

MAX_PENDING = 64
"""Four deliveries to a webhook may be unfinished, and eight to callbacks."""
NAMES = st.sampled_from(["a", "b"])
STEADY = "steady"
"""A webhook that stays as it is: all that it takes has to be told."""
EVENTS = st.sampled_from([FINAL_STATES, frozenset({TaskState.FAILED})])
FAILURES = st.sampled_from([0, 1, 3])
"""Writes that fail: none, the first of a group, all of a group."""
CALLBACK = Callback("https://client.example/", frozenset({TaskState.SUCCESS, TaskState.FAILED}))

Told = tuple[str, str]
"""A receiver and a `webhook-id`."""


class WebhookMachine(RuleBasedStateMachine):
    """It knows which ends there were, and who had to be told of them."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(Path(tempfile.mkdtemp(prefix="afterwards-test-")) / "data")
        self.bench.directory.mkdir()
        self.journal = self.bench.journal()
        self.registry = self.open()
        self.tasks: dict[str, tuple[int, TaskState]] = {}
        """Retries and state of each task, as they were seen last."""
        self.expected: Counter[Told] = Counter()
        self.interrupted: set[str] = set()
        """Ids of webhooks that were disabled or deleted: what waited for them may be dropped."""
        self.webhooks: list[Webhook] = [ask(self.registry, PutWebhook(a_webhook(STEADY)))]

    def open(self) -> SteppedRegistry:
        return self.bench.registry(Limits(MAX_PENDING), journal=self.journal, retention_seconds=1e9)

    # -- the model --

    @contextmanager
    def step(self) -> Iterator[None]:
        """Whatever a rule does, look at what has ended by it."""
        yield
        for task_id, before in [*self.tasks.items()]:
            task = self.get(task_id)
            if task is None:
                del self.tasks[task_id]
                continue
            after = self.tasks[task_id] = (task.retries, task.state)
            if after != before and task.state.is_final:
                self.expect(task)
        webhooks = self.registry.rules.deliveries.webhooks.all()
        lost = {one.id for one in self.webhooks} - {one.id for one in webhooks if one.is_enabled}
        self.interrupted |= lost
        self.webhooks = webhooks

    def get(self, task_id: str) -> Task | None:
        return self.registry.rules.store.get(task_id) or self.registry._journal.read(task_id)

    def expect(self, task: Task) -> None:
        # As they were before the rule: no rule both ends a task by itself and changes a webhook.
        for webhook in self.webhooks:
            if webhook.is_enabled and task.state in webhook.events:
                self.expected[webhook.id, webhook_id(task)] += 1
        if task.callback is not None and task.state in CALLBACK.events:
            self.expected[CALLBACKS, webhook_id(task)] += 1

    def deliveries(self) -> Counter[Told]:
        # Not by the registry: each group of its own would turn notices into deliveries.
        page = self.journal.find(Find(Filter(types=frozenset({DELIVERY})), limit=10_000))
        return Counter((receiver_of(task), told(task)[0]) for task in page.tasks)

    def any_task(self, number: int) -> str | None:
        ids = [*self.tasks]
        return ids[number % len(ids)] if ids else None

    def do(self, request: Request) -> object:
        with self.step():
            return ask(self.registry, request)

    @contextmanager
    def worker(self, **slots: int) -> Iterator[Peer]:
        peer = self.bench.peer(self.registry, slots)
        peer.take()
        yield peer
        self.bench.machine.kill(peer.worker)
        with self.step():
            self.registry.tick()

    # -- rules --

    @rule(has_callback=st.booleans(), dies=st.booleans())
    def submit(self, has_callback: bool, dies: bool) -> None:
        task = self.bench.task(
            executor="thread",
            callback=CALLBACK.encode() if has_callback else None,
            deadline=self.bench.clock.wall() + 5.0 if dies else None,
        )
        if ask(self.registry, Add(task)) is None:
            self.tasks[task.id] = (0, TaskState.PENDING)

    @rule(number=st.integers(0, 50), verb=st.sampled_from([Cancel, Retry, Delete]))
    def change_by_hand(self, number: int, verb: Callable[[str], Request]) -> None:
        task_id = self.any_task(number)
        if task_id is not None:
            self.do(verb(task_id))

    @rule(number=st.integers(0, 50), first=FAILURES, then=FAILURES)
    def end_on_a_failing_disk(self, number: int, first: int, then: int) -> None:
        """The group that ends a task, and the one that makes its deliveries, are taken back."""
        self.journal.failures = first
        self.change_by_hand(number, Cancel)
        self.journal.failures = then
        self.let_time_pass(1.0)
        self.journal.failures = 0

    @rule(number=st.integers(0, 50))
    def end_and_delete_in_one_group(self, number: int) -> None:
        task_id = self.any_task(number)
        task = None if task_id is None else self.get(task_id)
        if task_id is None or task is None or task.state is not TaskState.PENDING:
            return
        requests: list[Request] = [
            Cancel(task_id),
            Retry(task_id),
            Cancel(task_id),
            Delete(task_id),
        ]
        answers = self.registry.exchange(None, 0, requests).answers
        for answer in answers:
            if isinstance(answer, Task):
                self.tasks[task_id] = (answer.retries, answer.state)
                if answer.state.is_final:
                    self.expect(answer)
        with self.step():
            pass

    @rule(succeeds=st.booleans())
    def work(self, succeeds: bool) -> None:
        with self.worker(thread=3) as peer:
            for claim in [*peer.table.values()]:
                with self.step():
                    peer.succeed(claim) if succeeds else peer.fail(claim)

    @rule(
        outcome=st.sampled_from(["delivered", "refused", "gone"]),
        slots=st.integers(1, 6),
    )
    def deliver(self, outcome: str, slots: int) -> None:
        with self.step(), self.worker(**{"async": slots}) as peer:
            for claim in [*peer.table.values()]:
                self.report(peer, claim, outcome)

    def report(self, peer: Peer, claim: Claim, outcome: str) -> None:
        assert claim.target is not None
        if outcome == "delivered":
            peer.succeed(claim)
        elif outcome == "refused" or told(claim)[1] == STEADY:
            peer.fail(claim, retry_in=3.0)
        else:
            peer.report(Failed(claim.task_id, claim.attempt, "410", 0.1, None, gone=True))

    @rule(name=NAMES, events=EVENTS)
    def put_webhook(self, name: str, events: frozenset[TaskState]) -> None:
        self.do(PutWebhook(a_webhook(name, events=events)))

    @rule(name=NAMES, enabled=st.sampled_from([True, True, False]))
    def enable_webhook(self, name: str, enabled: bool) -> None:
        self.do(EnableWebhook(name, enabled))

    @rule(name=NAMES, is_sure=st.sampled_from([True, False, False]))
    def delete_webhook(self, name: str, is_sure: bool) -> None:
        if is_sure:
            self.do(DeleteWebhook(name))

    @rule(name=NAMES, number=st.integers(0, 50))
    def replay(self, name: str, number: int) -> None:
        task_id = self.any_task(number)
        if task_id is None:
            return
        answer = self.do(ReplayWebhook(name, task_id))
        if isinstance(answer, Task):
            [webhook] = [one for one in self.webhooks if one.name == name]
            self.expected[webhook.id, webhook_id(answer)] += 1

    @rule(seconds=st.sampled_from([0.25, 1.0, 6.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.bench.clock.turn(seconds)
        with self.step():
            self.registry.tick()

    @rule(failures=st.integers(1, 4))
    def break_disk(self, failures: int) -> None:
        self.journal.failures = failures

    @rule()
    def repair_disk(self) -> None:
        self.journal.failures = 0

    @rule()
    def crash(self) -> None:
        self.journal = self.bench.crash()
        self.registry = self.open()
        with self.step():
            self.registry.tick()

    # -- invariants --

    @invariant()
    def no_receiver_is_told_of_anything_else_or_twice(self) -> None:
        assert self.deliveries() <= self.expected

    def teardown(self) -> None:
        try:
            self.journal.failures = 0
            for _ in range(400):
                self.let_time_pass(1.0)
                self.deliver("delivered", 20)
                store, outbox = self.registry.rules.store, self.registry.rules.deliveries.outbox
                if not (len(outbox) or store.deliveries.receivers()):
                    break
            found = self.deliveries()
            assert found <= self.expected
            for one, number in self.expected.items():
                assert found[one] == number or one[0] in self.interrupted, f"{one} is lost"
        finally:
            self.bench.close()
            shutil.rmtree(self.bench.directory.parent, ignore_errors=True)


EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")


@pytest.mark.usefixtures("quiet")
@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_whatever_happens_each_end_is_told_once() -> None:
    run_state_machine_as_test(
        WebhookMachine,
        settings=settings(
            max_examples=int(EXAMPLES) if EXAMPLES else 30,
            stateful_step_count=40,
            derandomize=EXAMPLES is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
        ),
    )
