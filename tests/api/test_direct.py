"""Which endpoints are called directly, and that FastAPI serves the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from afterwards.api.roles import Role, needs
from afterwards.api.routing import Route, new_router

pytestmark = pytest.mark.anyio


class Body(BaseModel):
    number: int


def dependency() -> int:
    return 1


async def simple(key: str, body: Body, request: Request, background: BackgroundTasks) -> Response:
    background.add_task(request.app.state.done.append, key)
    return Response(f"{key} {body.number} {request.method}")


async def nothing() -> Response:
    return Response("nothing")


async def with_query(number: int) -> Response:
    return Response(f"{number}")


async def with_header(x_number: Annotated[int, Header()]) -> Response:
    return Response(f"{x_number}")


async def with_dependency(number: Annotated[int, Depends(dependency)]) -> Response:
    return Response(f"{number}")


async def with_number_in_path(key: int) -> Response:
    return Response(f"{key + 1}")


async def with_model(body: Body) -> Body:
    return body


def application(path: str, endpoint: Callable[..., Any], method: str) -> FastAPI:
    app = FastAPI()
    app.state.done = []
    router = new_router("Test")
    router.add_api_route(path, needs(Role.PUBLIC)(endpoint), methods=[method])
    app.router.routes[:0] = router.routes
    return app


@pytest.mark.parametrize(
    ("path", "endpoint", "is_direct", "text"),
    [
        ("/{key}", simple, True, "7 8 POST"),
        ("/", nothing, True, "nothing"),
        ("/", with_query, False, "6"),
        ("/", with_header, False, "5"),
        ("/", with_dependency, False, "1"),
        ("/{key}", with_number_in_path, False, "8"),
        ("/", with_model, False, '{"number":8}'),
    ],
)
async def test_what_needs_more_than_a_direct_call_is_served_by_fastapi(
    path: str, endpoint: Callable[..., Any], is_direct: bool, text: str
) -> None:
    app = application(path, endpoint, "POST")
    [route] = [route for route in app.routes if isinstance(route, Route)]
    assert (route.respond is not None) is is_direct
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post(
            path.replace("{key}", "7"),
            json={"number": 8},
            params={"number": 6},
            headers={"X-Number": "5"},
        )
    assert (answer.status_code, answer.text) == (200, text)
    assert app.state.done == (["7"] if endpoint is simple else [])
