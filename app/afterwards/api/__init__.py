"""The HTTP API: `install` puts it on a FastAPI application.

One module per surface; `problems` says how errors look, `documentation` how the API explains
itself. Handlers turn HTTP into calls of `TaskService` and back, and decide nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.middleware.cors import CORSMiddleware

from afterwards.api import (
    activity,
    artifacts,
    batches,
    bulk_verbs,
    dashboard,
    documentation,
    email,
    error_groups,
    events,
    general,
    groups,
    keys,
    live_statistics,
    notifications,
    operations,
    problems,
    schedules,
    series,
    sessions,
    task_changes,
    task_lists,
    task_types,
    task_verbs,
    tasks,
    webhook_verbs,
    webhooks,
    workers,
)
from afterwards.api.authorise import Gate
from afterwards.api.body_limit import BodyLimit
from afterwards.api.browsers import Browsers
from afterwards.api.description import Description
from afterwards.api.direct import Shortcut
from afterwards.api.http_metrics import OTHER_METHOD, UNMATCHED
from afterwards.api.login_limit import LoginLimit
from afterwards.api.receivers import Receivers
from afterwards.api.request_context import RequestContext, request_ids
from afterwards.api.routing import require_declared, share_paths
from afterwards.api.submission import is_for
from afterwards.dashboard.assets import load
from afterwards.task_types import built_in
from afterwards.task_types.description import in_process

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fastapi import FastAPI
    from starlette.routing import BaseRoute

    from afterwards.api.http_metrics import HttpMetrics
    from afterwards.settings import Settings
    from afterwards.task_types.description import Catalogue

__all__ = ["install"]


SURFACES: Final = (
    # The hot ones first: routes are tried in order.
    tasks,
    notifications,
    email,
    operations,
    events,
    # Before `/tasks/{task_id}`, which is a `/tasks/cancel`, too.
    bulk_verbs,
    task_verbs,
    task_lists,
    batches,
    general,
    groups,
    artifacts,
    task_changes,
    task_types,
    live_statistics,
    series,
    workers,
    schedules,
    webhooks,
    webhook_verbs,
    activity,
    keys,
    sessions,
    error_groups,
    documentation,
    dashboard,
)


def install(
    app: FastAPI,
    settings: Settings,
    http_metrics: HttpMetrics,
    catalogue: Catalogue | None = None,
    gate: Gate | None = None,
) -> None:
    """Add the routes, error answers and middleware.

    Args:
        catalogue: the task types there are; None: those that come with the service and are on.
        gate: lets requests in; None: all of them.

    Raises:
        TypeError: a route does not declare whom it is for.

    `app` has to be made with `docs_url=None` and `redoc_url=None`; the pages here need no network.
    Requests find the `TaskService` at `app.state.service`; it may be put there later.
    """
    gate = Gate() if gate is None else gate
    _hand_over(app, settings, catalogue, gate)
    # Before requests come: no event loop waits for the disk.
    load()
    routes = _add_routes(app, settings.built_in)
    app.openapi = app.state.description.document  # type: ignore[method-assign] # FastAPI's own way to extend it
    problems.install(app)
    _add_middleware(app, settings, routes, http_metrics, gate)


def _hand_over(app: FastAPI, settings: Settings, catalogue: Catalogue | None, gate: Gate) -> None:
    """Put on the application what handlers look for there."""
    app.state.catalogue = (
        in_process(built_in(settings.built_in)) if catalogue is None else catalogue
    )
    app.state.gate = gate
    app.state.login_limit = LoginLimit()
    app.state.readiness = operations.Readiness()
    app.state.description = Description(app)
    app.state.redacted_names = settings.redacted_names
    app.state.root_path = settings.root_path
    app.state.output_dir = settings.output_dir.absolute()
    app.state.timeout_seconds = settings.request_timeout_seconds
    webhooks = settings.webhooks
    app.state.receivers = Receivers(webhooks.reach, signs=bool(webhooks.secrets))
    app.state.trace_link = settings.trace_link or None


def _add_routes(app: FastAPI, types: Collection[str]) -> list[BaseRoute]:
    routes = [
        route
        for surface in SURFACES
        for route in surface.router.routes
        if is_for(getattr(route, "endpoint", None), types)
    ]
    share_paths(routes)
    # FastAPI's own answer to HEAD /openapi.json is for nobody in particular; ours answers that too.
    app.router.routes[:] = [
        route for route in app.router.routes if getattr(route, "path", None) != app.openapi_url
    ]
    # include_router would look for each route twice, at 6 us a request; and these come before
    # everything else, because routes are tried in order.
    app.router.routes[:0] = routes
    # Both spellings are one route (`afterwards.api.routing`): nothing is redirected.
    app.router.redirect_slashes = False
    require_declared(app.router.routes)
    return routes


def _add_middleware(
    app: FastAPI,
    settings: Settings,
    routes: Sequence[BaseRoute],
    http_metrics: HttpMetrics,
    gate: Gate,
) -> None:
    # The last one added is the outermost: every answer gets a request id and is counted.
    app.add_middleware(Shortcut, routes=routes)
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    if settings.cors_origins:
        _allow_origins(app, settings.cors_origins)
    app.add_middleware(
        Browsers,
        hosts=(*settings.allowed_hosts, *settings.bound_names),
        origins=settings.cors_origins,
        takes_any_host=lambda: gate.asks_for_keys and not settings.allowed_hosts,
    )
    new_id = request_ids()
    always_answered = frozenset(path + end for path in operations.PATHS for end in ("", "/"))
    app.add_middleware(
        RequestContext, metrics=http_metrics, new_id=new_id, always_answered=always_answered
    )

    def note_refusal(status: int) -> str:
        """Count a request that the server itself has refused, and give it an id."""
        http_metrics.observe(OTHER_METHOD, UNMATCHED, status, 0.0)
        return new_id()

    app.state.note_refusal = note_refusal
    app.state.always_answered = always_answered


def _allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=[
            "Accept-Ranges",
            "Content-Disposition",
            "Content-Range",
            "ETag",
            "Idempotent-Replayed",
            "Link",
            "Location",
            "Preference-Applied",
            "RateLimit",
            "RateLimit-Policy",
            "Retry-After",
            "X-Request-ID",
        ],
    )
