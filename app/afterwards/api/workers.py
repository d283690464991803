"""The processes of the service: workers, their hosts, and the registry process."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.live_statistics import slots_by_kind
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.workers import WorkersDocument
from afterwards.api.submission import service_of
from afterwards.api.times import shown_time
from afterwards.api.uncached import uncached
from afterwards.registry.protocol.answers import WorkerView

router = new_router("Statistics")


@router.get(
    "/workers",
    summary="List the workers",
    operation_id="listWorkers",
    response_model=WorkersDocument,
    response_description="The workers, their hosts, and the registry process",
    responses=schemas.answers(503),
)
@needs(Role.VIEWER)
async def list_workers(request: Request) -> Response:
    """List the worker processes with their slots, their hosts and what runs there.

    Whichever worker answers: each tells the registry of its hosts when they change, and every ten
    seconds.
    """
    found = await service_of(request).operations.workers()
    registry = found.registry._asdict()
    registry["uptime_seconds"] = round(found.registry.uptime_seconds, 3)
    document = {"workers": [*map(_worker, found.workers)], "registry": registry}
    return uncached(document)


def _worker(worker: WorkerView) -> dict[str, Any]:
    report, left = worker.report, worker.lease_seconds_left
    host_pids = report.host_pids if report else {}
    return {
        "id": worker.id,
        "pid": worker.pid,
        "started_at": _time(report.started_at if report else None),
        "generation": worker.generation,
        "draining": worker.draining,
        "memory_bytes": report.memory_bytes if report else None,
        "lease_seconds_left": None if left is None else round(left, 3),
        "slots": slots_by_kind(worker.slots),
        "hosts": [
            {**host._asdict(), "started_at": _time(host.started_at)}
            for host in (report.hosts if report else ())
        ],
        "running": [
            {
                **attempt._asdict(),
                "started_at": shown_time(attempt.started_at),
                "host_pid": host_pids.get(attempt.task_id),
            }
            for attempt in worker.running
        ],
        "running_total": worker.running_total,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else shown_time(seconds)
