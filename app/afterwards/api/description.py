"""The description of the API as OpenAPI, which is made when it is first asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from starlette.routing import BaseRoute

from afterwards.api.payload_schemas import describe_payloads
from afterwards.api.roles import Role
from afterwards.api.schemas import FieldError, ProblemDocument, ReachedLimit
from afterwards.system.large_bodies import aside
from afterwards.task_types.description import Catalogue

SCHEME: Final = "key"
"""The name that the description gives to keys."""

_ABOUT_BYTES: Final = 500_000

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


class Description:
    """The description of an application's API, kept until the task types change."""

    def __init__(self, app: FastAPI) -> None:
        app.description = _DESCRIPTION
        app.openapi_tags = _TAGS
        self._app = app
        self._kept: bytes | None = None
        self._renewals = 0
        self._making = asyncio.Lock()

    def document(self) -> dict[str, Any]:
        """The description. To make it takes half a second, for which it blocks."""
        return _document(self._app, self._catalogue())

    async def text(self, **members: Any) -> bytes:
        """The description as JSON, with some more members.

        It is made beside the event loop, once for all that ask meanwhile.
        """
        async with self._making:
            text = self._kept or await self._make()
        return b"%b,%b" % (text.removesuffix(b"}"), _encoded(members).removeprefix(b"{"))

    async def _make(self) -> bytes:
        renewals = self._renewals
        made = await aside(_ABOUT_BYTES, _text, self._app, self._catalogue())
        if renewals == self._renewals:
            self._kept = made
        return made

    def renew(self) -> None:
        """Forget it: the task types have changed."""
        self._renewals += 1
        self._kept = None

    def _catalogue(self) -> Catalogue:
        # A copy: the application's own may change while another thread reads it.
        return dict(self._app.state.catalogue)


def _text(app: FastAPI, catalogue: Catalogue) -> bytes:
    return _encoded(_document(app, catalogue))


def _encoded(document: dict[str, Any]) -> bytes:
    # Not by orjson: a payload's schema may have integers beyond 64 bits.
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _document(app: FastAPI, catalogue: Catalogue) -> dict[str, Any]:
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
    describe_payloads(schema, catalogue)
    return schema


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
        SCHEME: {
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
