"""This worker's HTTP metrics: counted here, added up by the registry with the other workers'."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from afterwards.counts import HTTP_SECONDS, WorkerCounts

KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
)
OTHER_METHOD: Final = "OTHER"
"""For methods that are not known: a client may invent as many as it likes."""

UNMATCHED: Final = "unmatched"
"""The route of requests that no route took."""


class HttpMetrics:
    """Requests and their durations, by method, route template and status.

    `observe` belongs to the event loop; `counts` may be called from any thread.
    """

    version = 0
    """Grows with each observation: whether there is anything new to report."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], list[float]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered, under its route's template.

        Never under its path: labels have to be few.
        """
        if method not in KNOWN_METHODS:
            method = OTHER_METHOD
        request = (method, route, status)
        self._requests[request] = self._requests.get(request, 0) + 1
        cells = self._seconds.get((method, route))
        if cells is None:
            cells = self._seconds[method, route] = [0] * (len(HTTP_SECONDS) + 2)
        cells[bisect_left(HTTP_SECONDS, seconds)] += 1
        cells[-1] += seconds
        self.version += 1

    def counts(self) -> WorkerCounts:
        """A copy of everything so far; of hosts nothing."""
        # list() copies a dictionary in one step of the interpreter, a comprehension does not, and
        # the event loop goes on observing.
        requests = list(self._requests.items())
        seconds = [(key, list(cells)) for key, cells in list(self._seconds.items())]
        return WorkerCounts(
            {(method, route, str(status)): n for (method, route, status), n in requests},
            {key: [*map(int, cells[:-1]), round(cells[-1] * 1e9)] for key, cells in seconds},
        )
