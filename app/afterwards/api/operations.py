"""For those who run the service: is it alive, is it ready, what does it do."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse, Response

from afterwards.api import schemas
from afterwards.api.roles import Grant, Role, needs
from afterwards.api.routing import new_router
from afterwards.api.submission import service_of

router = new_router("Operations")

PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})

_UNCACHED: Final = {"Cache-Control": "no-store"}

_METRICS_EXAMPLE: Final = """\
# HELP afterwards_tasks Tasks stored, by the state they are in.
# TYPE afterwards_tasks gauge
afterwards_tasks{state="processing",type="report"} 2.0
afterwards_tasks{state="success",type="report"} 40.0
"""


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
    """200: the registry answers, the journal can be written, and the service is not stopping."""
    # Whoever asks is nobody in particular, and is told nothing of any task.
    await request.app.state.service.probe()
    return Response(b'{"status":"ready"}', headers=_UNCACHED, media_type="application/json")


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
