"""The report of a worker on its process and its hosts, for people who look."""

from __future__ import annotations

import os
from itertools import islice
from typing import Final

from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.registry.protocol.requests import HostReport, WorkerReport
from afterwards.system.processes import memory_bytes, started_at
from afterwards_executors.base import HostView

MAX_HOSTS: Final = 64
MAX_ATTEMPTS: Final = 100
"""So many attempts, the oldest, are told the hosts of."""


class ThisWorker:
    """Belongs to the event loop.

    Args:
        generation: of task code, that its first hosts run.
    """

    def __init__(self, executors: Executors, dispatcher: Dispatcher, generation: int) -> None:
        self._executors = executors
        self._dispatcher = dispatcher
        self._generations = [generation]
        """By how often the hosts were renewed before."""
        self._started_at = started_at(os.getpid())
        self._hosts_started_at: dict[int, float | None] = {}

    def renewed(self, generation: int) -> None:
        """Further hosts run this generation of task code."""
        self._generations.append(generation)

    def hosts(self) -> tuple[tuple[int, str], ...]:
        """Which hosts there are, and how they stand; cheap."""
        return tuple((host.pid, _state_of(host)) for host in self._views())

    def report(self) -> WorkerReport:
        """All there is to tell, now."""
        views = self._views()
        known = self._hosts_started_at
        self._hosts_started_at = {
            host.pid: known[host.pid] if host.pid in known else started_at(host.pid)
            for host in views
        }
        return WorkerReport(
            started_at=self._started_at,
            memory_bytes=memory_bytes(os.getpid()),
            hosts=[self._host_report(host) for host in views],
            host_pids=self._host_pids(views),
        )

    def _views(self) -> list[HostView]:
        return [*islice(self._executors.hosts(), MAX_HOSTS)]

    def _host_report(self, host: HostView) -> HostReport:
        calls = list(host.calls.values())
        latest = len(self._generations) - 1
        return HostReport(
            pid=host.pid,
            kind=host.kind,
            generation=self._generations[min(host.generation, latest)],
            started_at=self._hosts_started_at[host.pid],
            memory_bytes=memory_bytes(host.pid),
            attempts=len(calls),
            stuck=sum(call.is_overdue for call in calls),
            state=_state_of(host),
        )

    def _host_pids(self, views: list[HostView]) -> dict[str, int]:
        oldest = self._dispatcher.oldest(MAX_ATTEMPTS)
        pids = {call: host.pid for host in views for call in list(host.calls.values())}
        return {task_id: pids[call] for task_id, call in oldest if call in pids}


def _state_of(host: HostView) -> str:
    if host.is_leaving:
        return "leaving"
    return "running" if host.crowd is None else "suspects"
