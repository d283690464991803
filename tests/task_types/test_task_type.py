"""The definitions that a `TaskType` accepts, and its words for the others."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, RootModel

from afterwards.task_types.base import RateLimit, RetryPolicy, TaskContext, TaskType


class Payload(BaseModel):
    number: int = 1


async def run_async(payload: Payload, context: TaskContext) -> dict[str, int]:
    return {"number": payload.number}


def run_plainly(payload: Payload, context: TaskContext) -> dict[str, int]:
    return {"number": payload.number}


def make(**changes: Any) -> TaskType:
    members: dict[str, Any] = {"name": "probe", "payload": Payload, "run": run_async, **changes}
    return TaskType(**members)


def policy(**changes: Any) -> RetryPolicy:
    return RetryPolicy(**changes)


# -- what runs ----------------------------------------------------------------------------------


class AsyncCallable:
    async def __call__(self, payload: Payload, context: TaskContext) -> dict[str, int]:
        return {}


class PlainCallable:
    def __call__(self, payload: Payload, context: TaskContext) -> dict[str, int]:
        return {}


async def with_options(payload: Payload, context: TaskContext, *, colour: str) -> dict[str, int]:
    return {}


def counted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return wrapper


@pytest.mark.parametrize(
    "run",
    [
        run_async,
        AsyncCallable(),
        functools.partial(with_options, colour="blue"),
        counted(run_async),
    ],
)
def test_a_coroutine_function_may_come_in_many_forms(run: Any) -> None:
    assert make(run=run).run is run


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize(
    "run",
    [
        run_plainly,
        PlainCallable(),
        functools.partial(run_plainly),
        counted(run_plainly),
        # A wrapper that runs what it wraps to its end is a plain function.
        counted(run_async),
        dict,
    ],
)
def test_so_may_a_plain_one(run: Any, executor: str) -> None:
    assert make(run=run, executor=executor).executor == executor


def yields(payload: Payload, context: TaskContext) -> Iterator[int]:
    yield 1


async def yields_async(payload: Payload, context: TaskContext) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": run_plainly}, "run must be a coroutine function (async def) for executor 'async'"),
        (
            {"run": run_async, "executor": "thread"},
            "run must be a plain function (def) for executor 'thread'",
        ),
        (
            {"run": AsyncCallable(), "executor": "process"},
            "run must be a plain function (def) for executor 'process'",
        ),
        ({"run": PlainCallable()}, "run must be a coroutine function (async def)"),
        ({"run": "shop.tasks.run"}, "run must be a function, not 'shop.tasks.run'"),
        ({"run": lambda payload: {}}, "run must take two arguments"),
        ({"run": lambda payload, context, more: {}}, "run must take two arguments"),
        ({"run": yields, "executor": "thread"}, "run must return a JSON object"),
        ({"run": yields_async}, "run must return a JSON object"),
        ({"payload": dict}, "payload must be a pydantic model (a class), not <class 'dict'>"),
        ({"payload": Payload()}, "payload must be a pydantic model (a class), not Payload("),
        ({"payload": RootModel[list[int]]}, "payload must be a model with fields"),
        (
            {"executor": "gpu"},
            "executor must be one of 'async', 'thread', 'process', 'dask', not 'gpu'",
        ),
        ({"retry": 3}, "retry must be a RetryPolicy, not 3"),
        ({"retry": policy(wait=5)}, "the retry policy's wait must be a strategy of tenacity's"),
        ({"retry": policy(retry=OSError)}, "the retry policy's retry must be a strategy of"),
        ({"retry": RetryPolicy(max_attempts=0)}, "max_attempts must be a whole number from 1 up"),
        ({"max_attempts": 101}, "max_attempts must be a whole number from 1 up to 100, not 101"),
        ({"max_attempts": True}, "max_attempts must be a whole number"),
        ({"timeout": 0}, "timeout must be a positive number of seconds, not 0"),
        ({"timeout": timedelta(0)}, "timeout must be a positive number of seconds, not 0.0"),
        ({"timeout": float("nan")}, "timeout must be a positive number of seconds, not nan"),
        ({"timeout": "60"}, "timeout must be a positive number of seconds, not '60'"),
        ({"timeout": timedelta(days=8)}, "timeout must be at most 604800 s, not 691200.0"),
        ({"max_concurrency": 0}, "max_concurrency must be a whole number from 1, not 0"),
        (
            {"concurrency_per_key": 0},
            "concurrency_per_key must be a whole number from 1, not 0",
        ),
        ({"rate_limit": (3, 60)}, "rate_limit must be a RateLimit, not (3, 60)"),
    ],
)
def test_a_member_that_is_wrong_is_named_with_its_type(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make(**changes)
    assert str(caught.value).startswith(f"task type 'probe': {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "invoice", "shop.order-2_b", "a" * 64])
def test_a_name_fits_into_a_url_and_a_label(name: str) -> None:
    assert make(name=name).name == name


@pytest.mark.parametrize("name", ["", "Up", "2nd", "a b", "a/b", "ä", "a" * 65, "a\n", 5, None])
def test_another_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="a name has 1 to 64 of"):
        make(name=name)


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, None), (2.5, 2.5), (3, 3), (timedelta(minutes=1), 60.0)]
)
def test_a_timeout_is_seconds_or_a_timedelta(timeout: Any, seconds: float | None) -> None:
    assert make(timeout=timeout).timeout_seconds == seconds


def test_max_attempts_overrides_the_policy_s_and_nothing_else_of_it() -> None:
    policy = RetryPolicy(max_attempts=5)
    task_type = make(retry=policy, max_attempts=7)
    assert task_type.retry.max_attempts == 7
    assert task_type.retry.wait is policy.wait
    assert replace(task_type, retry=RetryPolicy(max_attempts=2)).retry.max_attempts == 7
    assert make(retry=policy).retry.max_attempts == 5


def test_limits_are_carried() -> None:
    limited = make(max_concurrency=2, rate_limit=RateLimit(10, 60.0))
    assert (limited.max_concurrency, limited.rate_limit) == (2, RateLimit(10, 60.0))


@pytest.mark.parametrize(
    ("count", "period_seconds", "message"),
    [
        (0, 60, "a rate limit's count must be a whole number from 1 up to 100000, not 0"),
        (1.5, 60, "a rate limit's count must be a whole number from 1 up to 100000, not 1.5"),
        (1, 0, "a rate limit's period_seconds must be a positive number of seconds, not 0"),
    ],
)
def test_a_rate_limit_is_positive(count: Any, period_seconds: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RateLimit(count, period_seconds)
