"""The short way to an endpoint: past FastAPI, and past the router where a path is exact.

For each request FastAPI opens two exit stacks, wraps it in handlers that the application has, too,
solves dependencies and looks for an answer's model. Before that, a request passes an error handler,
an exit stack and a list of routes. Both together are a third of a submission's price in a busy
worker (docs/performance.md). An endpoint that takes a body, path parameters, the request and
background tasks, and gives a `Response`, needs none of it: its signature says what it needs.
FastAPI describes it as any other.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast, get_args, get_origin, get_type_hints

from fastapi import BackgroundTasks, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Path
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from afterwards.api.authorise import authorise
from afterwards.api.json_body import validated
from afterwards.api.problems import answer_to
from afterwards.api.roles import needs_of
from afterwards.system.large_bodies import aside

MISSING: Final = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}

Endpoint = Callable[[Scope, Receive], Awaitable[Response]]
"""An endpoint, called with a request as the server gives it."""


class DirectRoute(APIRoute):
    """A route that calls its endpoint directly, if that is enough."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.needs = needs_of(endpoint)
        """Whom it is for; None: it was forgotten, which ends the start."""
        super().__init__(path, endpoint, **options)
        self.respond = self._direct()
        """None: it needs more. Errors are the caller's to answer."""
        if self.respond is not None:
            self.app = self._answer

    def make_request(self, scope: Scope, receive: Receive) -> Request:
        """The request that the endpoint gets."""
        return Request(scope, receive)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.respond is not None
        response = await self.respond(scope, receive)
        await response(scope, receive, send)

    def _direct(self) -> Endpoint | None:
        found = None if self.dependencies else _parameters_of(self.endpoint, self.param_convertors)
        if found is None:
            return None
        wanted, make_request = found, self.make_request
        endpoint = cast("Callable[..., Awaitable[Response]]", self.endpoint)

        async def respond(scope: Scope, receive: Receive) -> Response:
            request = make_request(scope, receive)
            values: dict[str, Any] = {name: scope["path_params"][name] for name in wanted.paths}
            if wanted.body is not None:
                values[wanted.body.name] = await wanted.body.read(request)
            if wanted.request is not None:
                values[wanted.request] = request
            background = None
            if wanted.background is not None:
                background = values[wanted.background] = BackgroundTasks()
            response = await endpoint(**values)
            if response.background is None:
                response.background = background
            return response

        return respond


class Shortcut:
    """Answers what an exact path and a method decide; everything else goes on to `app`.

    Args:
        routes: as the router has them; the first that matches is the one, here as there.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = {
            (method, path): route
            for route in routes
            if isinstance(route, DirectRoute) and route.respond and not route.param_convertors
            for method, path in _ways_to(route)
            if _first_match(routes, method, path) is route
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        # A root path would have to be taken off first; none is set here.
        route = None
        if scope["type"] == "http" and not scope.get("root_path"):
            route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._app(scope, receive, send)
            return
        assert route.respond is not None
        scope["route"] = route
        scope["path_params"] = {}
        try:
            authorise(route, scope)
            response = await route.respond(scope, receive)
        except Exception as error:
            answer = await answer_to(Request(scope), error)
            if answer is None:
                raise
            response = answer
        await response(scope, receive, send)


# -- what an endpoint needs --------------------------------------------------------------------


class _Body:
    """The parameter that is the request's body."""

    def __init__(self, parameter: inspect.Parameter, annotation: Any) -> None:
        self.name = parameter.name
        self._default = parameter.default
        self._model = TypeAdapter[Any](annotation)

    async def read(self, request: Request) -> Any:
        """The validated body."""
        try:
            body = await request.body()
        except ClientDisconnect:
            # Nobody reads it.
            problem = "The client went away before its request was whole"
            raise HTTPException(400, problem) from None
        if body:
            return await aside(len(body), validated, self._model, body)
        if self._default is not inspect.Parameter.empty:
            return self._default
        raise RequestValidationError([MISSING])


@dataclass
class _Parameters:
    """The names of an endpoint's parameters, by what they are."""

    paths: list[str]
    body: _Body | None = None
    request: str | None = None
    background: str | None = None


def _parameters_of(endpoint: Callable[..., Any], in_path: dict[str, Any]) -> _Parameters | None:
    """The parameters that the signature has; None: more than this module can give."""
    hints = get_type_hints(endpoint, include_extras=True)
    answer = hints.get("return")
    if not (isinstance(answer, type) and issubclass(answer, Response)):
        return None
    found = _Parameters([])
    for name, parameter in inspect.signature(endpoint).parameters.items():
        hint = hints.get(name)
        if hint is Request:
            found.request = name
        elif hint is BackgroundTasks:
            found.background = name
        elif name in in_path and _is_text(hint):
            found.paths.append(name)
        elif name not in in_path and found.body is None and _is_model(hint):
            found.body = _Body(parameter, hint)
        else:
            return None
    return found


def _is_text(hint: Any) -> bool:
    """True if a path's part can be passed on as it is: neither converted nor looked at."""
    if get_origin(hint) is not Annotated:
        return hint is str
    kind, *more = get_args(hint)
    return kind is str and all(isinstance(one, Path) and not one.metadata for one in more)


def _is_model(hint: Any) -> bool:
    """True for a model, and for a model or None."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    return len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], BaseModel)


# -- exact paths -------------------------------------------------------------------------------


def _ways_to(route: DirectRoute) -> Iterator[tuple[str, str]]:
    bare = route.path.rstrip("/")
    for method in route.methods or ():
        for path in (bare, f"{bare}/"):
            yield method, path


def _first_match(routes: Sequence[BaseRoute], method: str, path: str) -> BaseRoute | None:
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)
