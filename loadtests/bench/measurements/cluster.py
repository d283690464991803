"""The executor on a Dask cluster, beside Dask's own futures for the same function and cluster.

The cluster is a scheduler and one worker with four threads, on this machine. All calls are
submitted at once, each by itself; it takes until the last has its result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from afterwards_executors.base import End, Outcome, Work
from afterwards_executors.cluster.executor import ClusterExecutor
from afterwards_executors.cluster.settings import ClusterSettings
from afterwards_executors.hosts.settings import HostSettings
from loadtests.bench.figures import Figure, Row
from loadtests.bench.naps import nap
from loadtests.bench.stand import Stand
from loadtests.dask_cluster import THREADS, DaskCluster
from loadtests.errors import LoadTestError

NAPS: Final = {0.001: 1.0, 0.1: 0.05}
"""For each length of a call, in seconds, the share of the calls that are made of it."""

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05
_SLOTS: Final = 1_000
LOOK_SECONDS: Final = 1.0
"""The period in which slots follow the cluster, and the length of calls."""


def measure(stand: Stand) -> Iterator[Row]:
    """A new executor and a new client in each round, one after the other, on one cluster."""
    cluster = DaskCluster(stand.new_directory("dask"))
    try:
        cluster.start_worker()
        for seconds, share in NAPS.items():
            calls = max(1, int(stand.sizes.cluster_calls * share))
            ours: list[float] = []
            plain: list[float] = []
            for _ in stand.rounds(f"dask: {seconds * 1000:g} ms"):
                ours.append(calls / _on_executor(cluster.address, seconds, calls))
                plain.append(calls / _on_futures(cluster.address, seconds, calls))
            yield Row(
                "dask",
                f"executor dask, {calls:,} calls of {seconds * 1000:g} ms",
                "1/s",
                Figure.of(ours),
                Figure.of(plain),
                "Dask futures",
                note=f"{THREADS} threads",
            )
    finally:
        cluster.close()


def _on_executor(address: str, seconds: float, calls: int) -> float:
    settings = HostSettings(cluster=ClusterSettings(address))
    executor = ClusterExecutor(_SLOTS, settings)
    executor.start()
    try:
        _wait_for_slots(executor)
        work = Work(nap, (seconds,))
        # Each thread of the cluster has its host, and the executor knows how long calls take.
        _check([future.result() for future in [executor.submit(work) for _ in range(4 * THREADS)]])
        time.sleep(2 * LOOK_SECONDS)
        started = time.perf_counter()
        outcomes = [f.result() for f in [executor.submit(work) for _ in range(calls)]]
        taken = time.perf_counter() - started
    finally:
        executor.shutdown(_STOP_SECONDS)
    _check(outcomes)
    return taken


def _wait_for_slots(executor: ClusterExecutor) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while executor.slots().total < THREADS:
        if time.monotonic() > deadline:
            raise LoadTestError(f"the cluster takes no calls: {executor.problem}")
        time.sleep(_POLL_SECONDS)


def _on_futures(address: str, seconds: float, calls: int) -> float:
    # Not at the top: nothing else of the benchmark needs Dask.
    from distributed import Client  # noqa: PLC0415 - see above

    with Client(address, set_as_default=False) as client:
        _check(client.gather([client.submit(nap, seconds, pure=False) for _ in range(4 * THREADS)]))
        started = time.perf_counter()
        futures = [client.submit(nap, seconds, pure=False, retries=0) for _ in range(calls)]
        outcomes = client.gather(futures)
        taken = time.perf_counter() - started
    _check(outcomes)
    return taken


def _check(outcomes: list[Outcome]) -> None:
    done = sum(outcome.end is End.SUCCEEDED for outcome in outcomes)
    if done != len(outcomes):
        raise LoadTestError(f"of {len(outcomes)} calls, {done} have succeeded")
