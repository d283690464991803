"""The short way to an endpoint: by its exact path, past the router and what stands before it.

A request passes an exception handler, an exit stack and a list of routes on its way, which takes 9
of the 53 us of a submission's HTTP. Where the path has no parameters and the endpoint is called
directly (`afterwards.api.direct`), a look into a dictionary says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from afterwards.api.problems import answer_to
from afterwards.api.routing import Route


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
            if isinstance(route, Route) and route.respond and not route.param_convertors
            for method, path in _ways_to(route)
            if _first_match(routes, method, path) is route
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        # A root path would have to be taken off first; nobody sets one here.
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
            response = await route.respond(scope, receive)
        except Exception as error:
            answer = await answer_to(Request(scope), error)
            if answer is None:
                raise
            response = answer
        await response(scope, receive, send)


def _ways_to(route: Route) -> Iterator[tuple[str, str]]:
    bare = route.path.rstrip("/")
    for method in route.methods or ():
        for path in (bare, f"{bare}/"):
            yield method, path


def _first_match(routes: Sequence[BaseRoute], method: str, path: str) -> BaseRoute | None:
    scope = {"type": "http", "method": method, "path": path, "root_path": ""}
    return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)
