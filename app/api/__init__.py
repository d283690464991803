"""The HTTP API: `install` puts it on a FastAPI application.

One module per surface; `problems` says how errors look, `documentation` how the API explains
itself. Handlers turn HTTP into calls of `TaskService` and back, and decide nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.middleware.cors import CORSMiddleware

from app.api import documentation, email, events, notifications, operations, problems, tasks
from app.api.middleware import BodyLimit, RequestContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from app.api.http_metrics import HttpMetrics
    from app.settings import Settings

__all__ = ["install"]


def install(app: FastAPI, settings: Settings, http_metrics: HttpMetrics) -> None:
    """Add the routes, error answers and middleware.

    `app` has to be made with `docs_url=None` and `redoc_url=None`; the pages here need no network.
    Requests find the `TaskService` at `app.state.service`; it may be put there later.
    """
    routes = [
        route
        for surface in (tasks, notifications, email, events, operations, documentation)
        for route in surface.router.routes
    ]
    # include_router would look for each route twice, at 6 us a request; and these come before
    # everything else, because routes are tried in order.
    app.router.routes[:0] = routes
    # Both spellings are one route (`app.api.routing`): nothing is redirected.
    app.router.redirect_slashes = False
    documentation.install(app)
    problems.install(app)
    # The last one added is the outermost: every answer gets a request id and is counted.
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    if settings.cors_origins:
        _allow_origins(app, settings.cors_origins)
    app.add_middleware(RequestContext, metrics=http_metrics)


def _allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["Idempotent-Replayed", "Location", "Retry-After", "X-Request-ID"],
    )
