"""The one kind of route this API has: both spellings of its path, and strict JSON bodies."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from afterwards.api import schemas
from afterwards.api.authorise import authorise, require_still
from afterwards.api.direct import DirectRoute
from afterwards.api.json_body import parsed
from afterwards.api.roles import Role, as_extension, needs_of
from afterwards.system.large_bodies import aside

_JSON: Final = re.compile(r"application/([\w!#$&^.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
_PLAIN: Final = (b"", b"identity")


class StrictRequest(Request):
    """A request whose JSON is what RFC 8259 says, and nothing Python would accept besides."""

    async def body(self) -> bytes:
        """The whole body. Starlette's, without an asynchronous generator's price (4 us)."""
        if not hasattr(self, "_body"):
            chunks = []
            more = True
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunks.append(message.get("body", b""))
                more = message.get("more_body", False)
            # A body may take minutes to come, and the key may have ended meanwhile.
            require_still(self.scope)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        """The body, parsed. Raises as `afterwards.api.json_body.parsed`."""
        body = await self.body()
        return await aside(len(body), parsed, body)


class Route(DirectRoute):
    """A route that answers with and without the slash at its end, in one entry of the schema."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        declared = needs_of(endpoint)
        if declared is not None:
            extra = options.get("openapi_extra") or {}
            options["openapi_extra"] = {**extra, **as_extension(declared)}
        if declared is not None and declared.role is not Role.PUBLIC:
            keyed = schemas.answers(*schemas.KEYED_PROBLEMS)
            options["responses"] = {**keyed, **(options.get("responses") or {})}
        super().__init__(path, endpoint, **options)
        self.path_regex = re.compile(
            self.path_regex.pattern.removesuffix("$").rstrip("/") + r"/?\Z"
        )
        self.allowed = sorted(self.methods or ())
        if "GET" in self.allowed:
            self.allowed.append("HEAD")
        self.offered = self.allowed
        """The methods that its path takes, those of other routes of the same path included."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. HEAD is served as GET, of which the server sends the head only."""
        if scope["method"] not in self.allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(self.offered)})
        authorise(self, scope)
        await self.app(scope, receive, send)

    def make_request(self, scope: Scope, receive: Receive) -> StrictRequest:
        """The request, if its body is JSON or none."""
        request = StrictRequest(scope, receive)
        if self.body_field is not None:
            _require_json(scope)
        return request

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the check of the content type."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(self.make_request(request.scope, request.receive))

        return handle_strictly


def share_paths(routes: Iterable[BaseRoute]) -> None:
    """Let each route know what the others of its path take, so that a refusal can tell.

    Of those of one path, the one that takes GET has to be the first: HEAD is not looked for.
    """
    paths: defaultdict[str, list[Route]] = defaultdict(list)
    for route in routes:
        if isinstance(route, Route):
            paths[route.path_regex.pattern].append(route)
    for sharing in paths.values():
        offered = sorted({method for route in sharing for method in route.allowed})
        for route in sharing:
            route.offered = offered


def require_declared(routes: Iterable[BaseRoute]) -> None:
    """Have each route say whom it is for, and ask for that.

    Raises:
        TypeError: one says nothing, or is of a kind without a check, such as a mount.
    """
    for route in routes:
        if getattr(route, "needs", None) is None or not isinstance(route, Route):
            path = getattr(route, "path", route)
            raise TypeError(
                f"The route {path} is no `Route` that declares its role: see afterwards.api.roles"
            )


def new_router(tag: str) -> APIRouter:
    """A router for one surface of the API."""
    problems = schemas.answers(*schemas.COMMON_PROBLEMS)
    return APIRouter(route_class=Route, tags=[tag], responses=problems)


def _require_json(scope: Scope) -> None:
    # Not Starlette's Headers: they decode all, and look through all, for 3 us a request.
    content_type, length, chunked = None, b"0", False
    for name, value in scope["headers"]:
        if name == b"content-type" and content_type is None:
            content_type = value.decode("latin-1")
        elif name == b"content-length":
            length = value
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"content-encoding" and value.strip().lower() not in _PLAIN:
            raise HTTPException(
                415,
                "Send the body as it is, without Content-Encoding",
                {"Accept-Encoding": "identity"},
            )
    if content_type is not None and _JSON.match(content_type):
        return
    if not chunked and length == b"0":
        return  # no body has no type; what is missing is the body, and validation says so
    sent = f"not {content_type[:100]!r}" if content_type else "and say so"
    raise HTTPException(415, f"Send a JSON body with Content-Type: application/json, {sent}")
