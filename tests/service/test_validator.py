"""Payloads of users' types go to a host, together; one that it does not survive is told apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar

import pytest

from afterwards.errors import Draining, Unvalidated
from afterwards.service import validator as validator_module
from afterwards.service.validator import Validator
from afterwards.task_types.validating import COLD, Check, Refusal, validate, warm_up
from afterwards_executors.base import End, Outcome, Slots, Work

pytestmark = pytest.mark.anyio

WARM = Outcome(End.SUCCEEDED, value=b"")
HUNG = Outcome(End.TIMED_OUT, error="Timed out after 1 s", transient=True)
DIED = Outcome(End.LOST, error="The process that ran it exited with status 3", transient=True)


class ManualHost:
    """One slot, whose answers the test gives."""

    kind: ClassVar[str] = "process"
    can_stop: ClassVar[bool] = True

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.future: Future[Outcome] = Future()
        self.submitted = asyncio.Event()

    def start(self) -> None:
        pass

    def slots(self) -> Slots:
        return Slots(1, 0, 0)

    def submit(self, work: Work) -> Future[Outcome]:
        self.works.append(work)
        self.future = Future()
        self.submitted.set()
        return self.future

    def cancel(self, future: Future[Outcome], reason: str, *, by_force: bool = False) -> bool:
        return False

    def shutdown(self, timeout_seconds: float) -> None:
        if not self.future.done():
            self.future.set_result(Outcome(End.CANCELLED, error="The executor was shut down"))

    # -- what the test does --------------------------------------------------------------------

    def message(self) -> list[str]:
        """The payloads under way."""
        work = self.works[-1]
        assert work.function is validate
        assert work.timeout_seconds == 1.0
        return [payload.decode() for checks in work.args[1] for _, payload in checks]

    async def end(self, outcome: Outcome) -> None:
        self.future.set_result(outcome)
        await turns()

    async def warm(self) -> None:
        """It has started, and loaded the modules."""
        assert self.works[-1].function is warm_up
        await self.end(WARM)

    async def take(self, *payloads: str) -> None:
        """All that is under way is taken, and is this."""
        assert self.message() == list(payloads)
        await self.answer(*([None] * len(payloads)))

    async def answer(self, *answers: Any) -> None:
        await self.end(Outcome(End.SUCCEEDED, value=json.dumps(answers).encode()))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def host() -> ManualHost:
    return ManualHost()


Ask = Callable[[str], "asyncio.Task[Refusal | None]"]


@pytest.fixture
async def validator(host: ManualHost) -> AsyncIterator[Validator]:
    made = Validator(host, (("shop",), None))
    made.start()
    yield made
    made.close(0.0)


@pytest.fixture
async def ask(validator: Validator, host: ManualHost) -> Ask:
    """Have a payload validated, by a host that is warm."""
    await host.warm()
    return lambda payload: asyncio.create_task(validator.refusal_of([Check("a", payload.encode())]))


async def asked(ask: Ask, payloads: str) -> Sequence[asyncio.Task[Refusal | None]]:
    tasks = [ask(payload) for payload in payloads]
    await turns()
    return tasks


async def problem_of(task: asyncio.Task[Refusal | None]) -> str:
    with pytest.raises(Unvalidated) as caught:
        await task
    assert caught.value.type_name == "a"
    return caught.value.problem


async def test_the_host_is_warm_before_the_first_request(
    validator: Validator, host: ManualHost
) -> None:
    assert [work.function for work in host.works] == [warm_up]
    waiting = asyncio.create_task(validator.refusal_of([Check("a", b"1")]))
    await turns()
    assert len(host.works) == 1
    await host.warm()
    await host.take("1")
    assert await waiting is None


async def test_what_waits_goes_together_in_the_next_message(ask: Ask, host: ManualHost) -> None:
    first = await asked(ask, "1")
    others = await asked(ask, "234")
    await host.take("1")
    assert host.message() == ["2", "3", "4"]
    refusal = Refusal(0, [{"type": "t", "loc": ["n"], "msg": "no"}], 2)
    await host.answer(None, refusal, None)
    assert [await task for task in (*first, *others)] == [None, None, Refusal(*refusal), None]


async def test_what_a_message_had_no_time_for_comes_first_in_the_next(
    ask: Ask, host: ManualHost
) -> None:
    tasks = await asked(ask, "1")
    tasks = [*tasks, *await asked(ask, "2345")]
    await host.take("1")
    await host.answer(None, None)
    await host.take("4", "5")
    assert [await task for task in tasks] == [None] * 5


async def test_a_large_request_does_not_wait_for_room(
    ask: Ask, host: ManualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator_module, "MESSAGE_BYTES", 3)
    tasks = [ask(payload) for payload in ("1", "22", "333", "4444", "5")]
    await turns()
    await host.take("1")
    await host.take("22")
    await host.take("333")
    await host.take("4444")
    await host.take("5")
    assert [await task for task in tasks] == [None] * 5


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (HUNG, "that took longer than 1 s"),
        (DIED, "The process that ran it exited with status 3"),
        (Outcome(End.FAILED, error="RuntimeError: x"), "RuntimeError: x"),
    ],
)
async def test_a_payload_that_fails_alone_is_the_one(
    ask: Ask, host: ManualHost, outcome: Outcome, problem: str
) -> None:
    [task] = await asked(ask, "1")
    await host.end(outcome)
    assert await problem_of(task) == problem
    # The next one finds a host that was replaced.
    await host.warm()
    [after] = await asked(ask, "2")
    await host.take("2")
    assert await after is None


async def test_the_others_of_a_message_that_failed_go_one_by_one(
    ask: Ask, host: ManualHost
) -> None:
    [first] = await asked(ask, "1")
    second, guilty, third = await asked(ask, "2x3")
    await host.take("1")
    assert host.message() == ["2", "x", "3"]
    await host.end(HUNG)
    await host.warm()
    await host.take("2")
    assert host.message() == ["x"]
    await host.end(HUNG)
    assert "longer than 1 s" in await problem_of(guilty)
    await host.warm()
    await host.take("3")
    assert [await task for task in (first, second, third)] == [None] * 3


async def test_suspects_and_those_that_come_later_take_turns(ask: Ask, host: ManualHost) -> None:
    await asked(ask, "1")
    await asked(ask, "23")
    await host.take("1")
    await host.end(DIED)
    late = await asked(ask, "45")
    await host.warm()
    seen = []
    for _ in range(3):
        seen.append(host.message())
        await host.answer(*([None] * len(host.message())))
    assert sorted(seen) == [["2"], ["3"], ["4", "5"]]
    assert [await task for task in late] == [None, None]


async def test_a_host_that_was_not_warm_is_nobody_s_fault(ask: Ask, host: ManualHost) -> None:
    tasks = await asked(ask, "1")
    await host.end(Outcome(End.FAILED, error=COLD))
    await host.warm()
    await host.take("1")
    assert await tasks[0] is None


async def test_a_validator_that_raises_costs_its_request_and_not_the_host(
    ask: Ask, host: ManualHost
) -> None:
    [first] = await asked(ask, "1")
    await host.answer([0, "its validator raised SystemExit: 3"])
    assert await problem_of(first) == "its validator raised SystemExit: 3"
    [second] = await asked(ask, "2")
    await host.take("2")
    assert await second is None


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"[1]", b"[[1]]", b"[[1,2,3,4]]", b"\xff"])
async def test_an_answer_that_is_none_is_a_failure(
    ask: Ask, host: ManualHost, value: bytes
) -> None:
    [task] = await asked(ask, "1")
    await host.end(Outcome(End.SUCCEEDED, value=value))
    assert await problem_of(task) == "it gave an answer that is none"


async def test_modules_that_cannot_be_loaded_are_told_of_and_tried_again(
    ask: Ask, host: ManualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator_module, "_LOOK_SECONDS", 0.01)
    [first] = await asked(ask, "1")
    await host.end(DIED)
    await problem_of(first)
    [second] = await asked(ask, "2")
    host.submitted.clear()
    await host.end(Outcome(End.FAILED, error="shop: SyntaxError"))
    assert await problem_of(second) == "no process can validate it: shop: SyntaxError"
    await host.submitted.wait()
    await host.warm()
    [third] = await asked(ask, "3")
    await host.take("3")
    assert await third is None


async def test_nobody_waits_for_a_host_for_ever(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator_module, "LONGEST_WAIT_SECONDS", 0.01)
    task = asyncio.create_task(validator.refusal_of([Check("a", b"1")]))
    assert await problem_of(task) == "no process was ready for it within 0.01 s"


async def test_a_request_whose_client_has_gone_is_not_sent(ask: Ask, host: ManualHost) -> None:
    await asked(ask, "1")
    gone, stays = await asked(ask, "23")
    gone.cancel()
    await turns()
    await host.take("1")
    await host.take("3")
    assert await stays is None


async def test_a_stop_ends_what_waits(ask: Ask, validator: Validator, host: ManualHost) -> None:
    tasks = [*await asked(ask, "1"), *await asked(ask, "2")]
    validator.close(0.0)
    await turns()
    for task in tasks:
        with pytest.raises(Draining):
            await task
    with pytest.raises(Draining):
        await validator.refusal_of([Check("a", b"3")])


async def test_a_drain_answers_what_waits_and_what_is_under_way_and_all_that_comes(
    ask: Ask, validator: Validator, host: ManualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator_module, "DRAIN_SECONDS", 0.0)
    under_way = ask("under way")
    await turns()
    waiting = ask("waiting")
    await turns()
    validator.drain()
    for request in (under_way, waiting):
        with pytest.raises(Draining):
            await request
    with pytest.raises(Draining):
        await ask("late")
    # The host's answer, which comes after all, finds nobody.
    await host.answer(None)
