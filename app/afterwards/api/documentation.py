"""The API's description of itself: OpenAPI, a page to try it out that needs no network, and `/`."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles

from afterwards.api.payload_schemas import describe_payloads
from afterwards.api.references import base_path, reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas import FieldError, ProblemDocument, ReachedLimit

router = new_router("Documentation")

# The page's code comes with a package: a service without a network has its documentation too.
_ASSETS: Final = StaticFiles(packages=[("fastapi_swagger", "resources")])

_SCHEME: Final = "key"

_DESCRIPTION: Final = """\
The answer now, the work afterwards, and nothing accepted is ever lost.

A submission is answered once its task is **on disk**. The header `Location` leads to the task's
status, as a reference relative to the request's URL (RFC 9110, 10.2.2). The service retries work
that fails for a while. A client can retry work that has failed for good. Every path works with
and without a slash at its end.

Errors are problem documents (RFC 9457).

Every answer to a request has an `X-Request-ID`: the one that was sent, if it has 1 to 128
characters of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`. Any other is replaced by a new one. Warnings
and errors that are logged while the request is served carry it as `request_id`. A request that
succeeds is logged at the log level `debug` only, with the same field.

The service refuses these without a request id, and closes the connection:

- a message that is not an HTTP request (400),
- headers of more than 64 KiB (431),
- headers that take more than 10 s, or a body that pauses for 30 s (408).
"""

_TAGS: Final = [
    {
        "name": "Tasks of any type",
        "description": "Submit, read, list, change, cancel and retry tasks, one or many.",
    },
    {
        "name": "Task types",
        "description": "List, pause and resume task types; statistics of the service.",
    },
    {
        "name": "Statistics",
        "description": "The work that the service has done, and the processes that do it.",
    },
    {
        "name": "Schedules",
        "description": "Tasks that the service submits by the calendar or at an interval.",
    },
    {
        "name": "Activity",
        "description": "The log of what people have done by hand, with author and time.",
    },
    {
        "name": "Tasks",
        "description": "Submit notifications, reports and files; read their status; retry.",
    },
    {"name": "Notifications", "description": "A demonstration that needs no body."},
    {"name": "Email", "description": "Send emails; read their status."},
    {
        "name": "Events",
        "description": "Follow the events of tasks, and the statistics, as they happen.",
    },
    {"name": "Operations", "description": "Health and metrics."},
]


def install(app: FastAPI) -> None:
    """Let `app.openapi` describe the problem documents too, which no handler declares."""
    app.description = _DESCRIPTION
    app.openapi_tags = _TAGS
    app.openapi = partial(_openapi, app)  # type: ignore[method-assign] # FastAPI's own way to extend it


@router.get("/", include_in_schema=False)
@needs(Role.PUBLIC)
async def root(request: Request) -> Response:
    """A browser is led to the dashboard, anything else gets the links."""
    vary = {"Vary": "Accept"}
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(reference(request.scope, "/dashboard/"), 303, headers=vary)
    app, base = request.app, base_path(request)
    links = {
        "name": app.title,
        "version": app.version,
        "dashboard": f"{base}/dashboard/",
        "docs": f"{base}/docs",
        "openapi": f"{base}/openapi.json",
        "metrics": f"{base}/metrics",
    }
    return JSONResponse(links, headers=vary)


@router.get("/openapi.json", include_in_schema=False)
@needs(Role.VIEWER)
async def openapi(request: Request) -> Response:
    """The description of the API, whether it asks for keys, and the prefix it is served under."""
    app, base = request.app, base_path(request)
    security: list[dict[str, list[str]]] = [{_SCHEME: []}]
    if not app.state.gate.asks_for_keys:
        security.append({})
    document = {**app.openapi(), "security": security}
    return JSONResponse({**document, "servers": [{"url": base}]} if base else document)


@router.get("/docs", include_in_schema=False)
@needs(Role.VIEWER)
async def docs(request: Request) -> Response:
    """Swagger UI, from this host alone."""
    scope = request.scope
    page = get_swagger_ui_html(
        openapi_url=reference(scope, "/openapi.json"),
        title=request.app.title,
        swagger_js_url=reference(scope, "/docs/assets/swagger-ui-bundle.js"),
        swagger_css_url=reference(scope, "/docs/assets/swagger-ui.css"),
        swagger_favicon_url=reference(scope, "/docs/assets/favicon-32x32.png"),
    )
    page.headers["Content-Security-Policy"] = _content_security_policy(bytes(page.body))
    return page


@router.get("/docs/assets/{name}", include_in_schema=False)
@needs(Role.VIEWER)
async def docs_asset(name: str, request: Request) -> Response:
    """A file of Swagger UI."""
    return await _ASSETS.get_response(name, request.scope)


def _content_security_policy(page: bytes) -> str:
    """The page may load from this host only, and run its one inline script."""
    inline = re.search(rb"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inline[1] if inline else b"").digest()).decode()
    return (
        f"default-src 'self'; script-src 'self' 'sha256-{digest}'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
    )


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _restore_examples(schema, app.routes)
        _describe_problems(schema)
        _describe_keys(schema)
        describe_payloads(schema, app.state.catalogue)
        app.openapi_schema = schema
    return app.openapi_schema


def _restore_examples(schema: dict[str, Any], routes: Sequence[BaseRoute]) -> None:
    """Give the models their own examples back: FastAPI leaves out what is null in them."""
    bodies = enumerate(_bodies(routes))
    _, document = TypeAdapter.json_schemas(
        (number, mode, TypeAdapter(body)) for number, (mode, body) in bodies
    )
    models = schema["components"]["schemas"]
    for name, model in document.get("$defs", {}).items():
        if name in models and "examples" in model:
            models[name]["examples"] = model["examples"]


def _bodies(routes: Sequence[BaseRoute]) -> Iterator[tuple[JsonSchemaMode, Any]]:
    """The types of the routes' bodies and answers."""
    for route in routes:
        if isinstance(route, APIRoute):
            if route.body_field is not None:
                yield "validation", route.body_field.field_info.annotation
            answers = (answer.get("model") for answer in route.responses.values())
            for model in (route.response_model, *answers):
                if model is not None:
                    yield "serialization", model


def _describe_keys(schema: dict[str, Any]) -> None:
    """Say how a key is sent; the operations for all clients need none."""
    schema["components"]["securitySchemes"] = {
        _SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "aw_...",
            "description": "A key. `x-role` names the role that an operation needs.",
        }
    }
    for item in schema["paths"].values():
        for operation in item.values():
            if operation["x-role"] == Role.PUBLIC:
                operation["security"] = []


def _describe_problems(schema: dict[str, Any]) -> None:
    models = schema["components"]["schemas"]
    for model in (FieldError, ReachedLimit, ProblemDocument):
        models[model.__name__] = model.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        models[model.__name__].pop("$defs", None)
    # FastAPI believes that a path parameter can be invalid, and answered in its own form.
    for name in ("HTTPValidationError", "ValidationError"):
        models.pop(name, None)
    for item in schema["paths"].values():
        for operation in item.values():
            answer = operation["responses"].get("422", {})
            if "application/json" in answer.get("content", {}):
                del operation["responses"]["422"]
