"""Calls an endpoint without the machinery that it does not use.

For each request FastAPI opens two exit stacks, wraps it in handlers that the application has, too,
solves dependencies and looks for an answer's model: a fifth of what a submission costs a worker.
An endpoint that takes a body, path parameters, the request and background tasks, and gives a
`Response`, needs none of it. FastAPI still reads its signature, describes it and validates for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast, get_type_hints

from fastapi import BackgroundTasks
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from afterwards.api.json_body import validated
from afterwards.system.large_bodies import aside

MISSING: Final = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}


Endpoint = Callable[[Scope, Receive], Awaitable[Response]]
"""An endpoint, called with a request as the server gives it."""


def direct(route: APIRoute, make_request: Callable[[Scope, Receive], Request]) -> Endpoint | None:
    """The route's endpoint, to be called directly; None: it needs more than this."""
    if not _is_simple(route):
        return None
    endpoint = cast("Callable[..., Awaitable[Response]]", route.endpoint)
    needs = route.dependant
    paths = [field.name for field in needs.path_params]
    body = needs.body_params[0] if needs.body_params else None
    model = None if body is None else TypeAdapter[Any](cast("Any", body.field_info.annotation))

    async def respond(scope: Scope, receive: Receive) -> Response:
        request = make_request(scope, receive)
        values: dict[str, Any] = {name: scope["path_params"][name] for name in paths}
        if body is not None and model is not None:
            values[body.name] = await _validated(body, model, request)
        if needs.request_param_name is not None:
            values[needs.request_param_name] = request
        background = None
        if needs.background_tasks_param_name is not None:
            background = values[needs.background_tasks_param_name] = BackgroundTasks()
        response = await endpoint(**values)
        if response.background is None:
            response.background = background
        return response

    return respond


def _is_simple(route: APIRoute) -> bool:
    needs = route.dependant
    others = (
        needs.query_params,
        needs.header_params,
        needs.cookie_params,
        needs.dependencies,
        needs.http_connection_param_name,
        needs.response_param_name,
        needs.security_scopes_param_name,
    )
    # Path parameters that are no text would have to be converted.
    texts = all(field.field_info.annotation is str for field in needs.path_params)
    answer = get_type_hints(route.endpoint).get("return")
    gives_response = isinstance(answer, type) and issubclass(answer, Response)
    return not any(others) and texts and gives_response and len(needs.body_params) < 2


async def _validated(field: Any, model: TypeAdapter[Any], request: Request) -> Any:
    try:
        body = await request.body()
    except ClientDisconnect:
        # Nobody reads it.
        raise HTTPException(400, "The client went away before its request was whole") from None
    if body:
        return await aside(len(body), validated, model, body)
    if not field.field_info.is_required():
        return field.get_default()
    raise RequestValidationError([MISSING])
