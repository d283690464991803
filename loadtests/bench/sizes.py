"""The sizes of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The sizes of a whole run. Each field is a flag of `python -m loadtests.bench`."""

    workers: int = 1
    """Web workers, of the service and of the bare application."""
    rounds: int = 5
    seconds: int = 8
    """The length of the load, in each round and for each side."""
    warmup_seconds: int = 1
    connections: int = 32
    crowd: int = 256
    """Connections, where many are measured."""
    batches: int = 200
    """Requests of 100 tasks each."""
    requests: int = 2_000
    """One after the other, for a latency."""
    one_by_one: int = 500
    """Tasks, each followed until it is finished."""
    readable: int = 10_000
    """Tasks among which status reads choose."""
    registered: int = 100_000
    """Unfinished tasks in the registry while `/metrics` is read."""
    scrapes: int = 50
    calls: int = 20_000
    """The number of calls of a function that does nothing, on an executor."""
    cluster_calls: int = 2_000
    """The number of calls of 1 ms on a Dask cluster."""
    executor_workers: int = 4
    """Threads or processes of an executor and of the pool beside it."""
    waiting: int = 10_000
    """Notifications at once that take `waiting_seconds` each."""
    waiting_seconds: float = 2.0
    stored: tuple[int, ...] = (0, 100_000, 1_000_000)
    """Finished tasks in the journal; the first is what the others are compared with."""
    keys: int = 100_000
    """Different keys of the tasks that are submitted, and as many others of tasks that wait."""
    views: int = 20
    """The number of visits of each page of the dashboard, in each round."""
    synced: int = 10
    """Submissions that are traced on each service before it is measured."""
