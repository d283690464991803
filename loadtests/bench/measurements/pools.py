"""Each kind of executor alone, no HTTP and no registry, beside the raw pool for the same function.

All calls are submitted at once; it takes until the last has its result. Threads and processes are
started before that, on both sides, and there are as many of them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor as RawPool
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier as ProcessBarrier
from types import MappingProxyType
from typing import Any, Final

from afterwards_executors import EXECUTORS, IN_PROCESS
from afterwards_executors.base import End, Outcome, Work
from loadtests.bench.figures import Figure, Row
from loadtests.bench.no_op import no_op, no_op_async
from loadtests.bench.stand import Stand
from loadtests.errors import LoadTestError

_STOP_SECONDS: Final = 10.0
_START_SECONDS: Final = 60.0

Barrier = threading.Barrier | ProcessBarrier

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {"async": no_op_async, "thread": no_op, "process": no_op}
)


def measure(stand: Stand) -> Iterator[Row]:
    """A new executor and a new pool in each round, one after the other."""
    calls, workers = stand.sizes.calls, stand.sizes.executor_workers
    for kind in EXECUTORS:
        ours: list[float] = []
        raw: list[float] = []
        for _ in stand.rounds(f"executors: {kind}"):
            ours.append(calls / _on_executor(kind, workers, calls))
            raw.append(calls / _RAW[kind](workers, calls))
        slots = "its slots: all" if kind == "async" else f"{workers} workers"
        yield Row(
            "executors",
            f"executor {kind}, {calls:,} calls that do nothing",
            "1/s",
            Figure.of(ours),
            Figure.of(raw),
            _NAMES[kind],
            note=slots,
        )


def _on_executor(kind: str, workers: int, calls: int) -> float:
    """Seconds on one of our executors; all coroutines may run at once, as on a bare loop."""
    factory = IN_PROCESS.get(kind) or EXECUTORS[kind]
    executor = factory(calls if kind == "async" else workers)
    work = Work(FUNCTIONS[kind])
    elsewhere = kind == "process"
    executor.start()
    try:
        # As many at once as there are slots: each starts its thread or child.
        warm_up = [executor.submit(work) for _ in range(workers)]
        _check([future.result() for future in warm_up], workers, elsewhere=elsewhere)
        started = time.perf_counter()
        futures = [executor.submit(work) for _ in range(calls)]
        outcomes = [future.result() for future in futures]
        seconds = time.perf_counter() - started
    finally:
        executor.shutdown(_STOP_SECONDS)
    _check(outcomes, calls, elsewhere=elsewhere)
    return seconds


def _on_pool(pool: RawPool, workers: int, calls: int, started_up: Barrier) -> float:
    elsewhere = isinstance(pool, ProcessPoolExecutor)
    with pool:
        warm_up = [pool.submit(no_op) for _ in range(workers)]
        started_up.wait(_START_SECONDS)
        _check([future.result() for future in warm_up], workers, elsewhere=elsewhere)
        started = time.perf_counter()
        futures = [pool.submit(no_op) for _ in range(calls)]
        outcomes = [future.result() for future in futures]
        seconds = time.perf_counter() - started
    _check(outcomes, calls, elsewhere=elsewhere)
    return seconds


def _on_threads(workers: int, calls: int) -> float:
    started_up = threading.Barrier(workers + 1)
    pool = ThreadPoolExecutor(workers, initializer=started_up.wait)
    return _on_pool(pool, workers, calls, started_up)


def _on_processes(workers: int, calls: int) -> float:
    context = multiprocessing.get_context("spawn")
    # Without it, the first process that is there would do the warm-up of all.
    started_up = context.Barrier(workers + 1)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=started_up.wait)
    return _on_pool(pool, workers, calls, started_up)


def _on_loop(_workers: int, calls: int) -> float:
    async def run() -> tuple[list[Outcome], float]:
        started = time.perf_counter()
        tasks = [asyncio.create_task(no_op_async()) for _ in range(calls)]
        outcomes = [await task for task in tasks]
        return outcomes, time.perf_counter() - started

    outcomes, seconds = asyncio.run(run())
    _check(outcomes, calls)
    return seconds


_RAW: Final[Mapping[str, Callable[[int, int], float]]] = MappingProxyType(
    {"async": _on_loop, "thread": _on_threads, "process": _on_processes}
)
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"async": "asyncio tasks", "thread": "ThreadPoolExecutor", "process": "ProcessPoolExecutor"}
)


def _check(outcomes: list[Outcome], calls: int, *, elsewhere: bool = False) -> None:
    """All calls have run, in this process or, `elsewhere`, in others."""
    here = b"%d" % os.getpid()
    done = [outcome for outcome in outcomes if outcome.end is End.SUCCEEDED]
    if len(done) != calls or any((outcome.value != here) is not elsewhere for outcome in done):
        raise LoadTestError(f"of {calls} calls, {len(done)} ran; or they ran in the wrong process")
