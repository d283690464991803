"""For those who run the service: is it alive, is it ready, what does it do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse, Response

from afterwards.api import schemas
from afterwards.api.problems import Problem
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.submission import service_of
from afterwards.errors import Unavailable

router = new_router("Operations")

PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})

FRESH_SECONDS: Final = 1.0
NOT_READY: Final = "The service is not ready; its log says why"

_UNCACHED: Final = {"Cache-Control": "no-store"}

_METRICS_EXAMPLE: Final = """\
# HELP afterwards_tasks Tasks stored, by the state they are in.
# TYPE afterwards_tasks gauge
afterwards_tasks{state="processing",type="report"} 2.0
afterwards_tasks{state="success",type="report"} 40.0
"""


class Readiness:
    """The answer to clients without a key: at most one probe a second writes to the journal."""

    def __init__(self) -> None:
        self._probing: asyncio.Future[bool] | None = None
        self._fresh_until = 0.0

    async def is_ready(self, probe: Callable[[], Awaitable[None]]) -> bool:
        """True if tasks could be accepted within the last second."""
        now = time.monotonic()
        if self._probing is None or now >= self._fresh_until:
            self._fresh_until = now + FRESH_SECONDS
            self._probing = asyncio.ensure_future(_succeeds(probe))
        return await asyncio.shield(self._probing)


async def _succeeds(probe: Callable[[], Awaitable[None]]) -> bool:
    try:
        await probe()
    except Unavailable:
        return False
    return True


@router.get(
    "/healthz",
    summary="Is this process alive?",
    operation_id="health",
    response_model=schemas.Health,
    response_description="Alive",
)
@needs(Role.PUBLIC)
async def health() -> Response:
    """The process asks no other process. If it does not answer, a restart helps."""
    return Response(b'{"status":"ok"}', headers=_UNCACHED, media_type="application/json")


@router.get(
    "/readyz",
    summary="Can tasks be accepted?",
    operation_id="readiness",
    response_model=schemas.Health,
    response_description="Ready",
    responses=schemas.answers(503),
)
@needs(Role.PUBLIC)
async def readiness(request: Request) -> Response:
    """200: the registry answers, the journal can be written, and the service is not stopping.

    Where keys are required, the answer has no reason and is up to a second old. `waiting` names
    executors that take no attempts, such as `dask` while its cluster cannot be reached: their tasks
    are accepted, and wait.
    """
    state = request.app.state
    if state.gate.is_open:
        await state.service.probe()
    elif not await state.readiness.is_ready(state.service.probe):
        return Problem(503, NOT_READY, headers={"Retry-After": "1"})
    waiting = state.service.waiting_executors()
    body = {"status": "ready", "waiting": waiting} if waiting else {"status": "ready"}
    content = json.dumps(body, separators=(",", ":"))
    return Response(content, headers=_UNCACHED, media_type="application/json")


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    operation_id="metrics",
    response_class=PlainTextResponse,
    response_description="Prometheus' text format",
    responses={
        **schemas.answers(503),
        200: {"content": {"text/plain": {"example": _METRICS_EXAMPLE}}},
    },
)
@needs(Role.VIEWER, grant=Grant.METRICS)
async def metrics(request: Request) -> Response:
    """Metrics of the whole service, whichever worker answers."""
    return Response(
        await service_of(request).scrape(),
        headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, **_UNCACHED},
    )
