"""Each route says which role it needs."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from afterwards.api import SURFACES
from afterwards.api.roles import Grant, Needs, Role

pytestmark = pytest.mark.anyio

READING = {"GET", "HEAD"}
PUBLIC = {
    "/", "/healthz", "/readyz", "/dashboard", "/dashboard/{page:path}",
    "/dashboard/assets/{digest}/{name:path}", "/session",
}  # fmt: skip
SUBMISSIONS = {
    "/notify/", "/report/", "/file/", "/send-email", "/api/notifications/notify", "/tasks",
    "/tasks/batch",
}  # fmt: skip
ADMINISTRATION = {"/audit", "/keys", "/keys/{key_id}", "/keys/{key_id}/rotate"}
WEBHOOKS = {"/webhooks", "/webhooks/{name}"}
"""Their URLs may give access: to look at them is for operators, to make them for administrators."""
OF_ONES_OWN = {"/tasks/{task_id}/cancel", "/tasks/{task_id}/retry", "/retry-task/{task_id}"}


async def test_the_roles_are_those_of_the_table(app: FastAPI) -> None:
    for route in (route for surface in SURFACES for route in surface.router.routes):
        methods, path, found = set(route.methods), route.path, route.needs
        expected = Needs(Role.OPERATOR)
        if path == "/metrics":
            expected = Needs(Role.VIEWER, grant=Grant.METRICS)
        elif path in ADMINISTRATION or path == "/webhooks/{name}/secret":
            expected = Needs(Role.ADMIN)
        elif path in WEBHOOKS:
            expected = Needs(Role.OPERATOR if methods <= READING else Role.ADMIN)
        elif path in PUBLIC:
            expected = Needs(Role.PUBLIC)
        elif methods <= READING:
            expected = Needs(Role.VIEWER)
        elif path in SUBMISSIONS:
            expected = Needs(Role.SUBMITTER, grant=Grant.SUBMIT)
        elif path in OF_ONES_OWN:
            expected = Needs(Role.OPERATOR, own=Role.SUBMITTER)
        assert found == expected, (methods, path)


async def test_openapi_tells_the_roles(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    for path, item in paths.items():
        for method, operation in item.items():
            assert operation["x-role"] in set(Role), (method, path)
    assert paths["/tasks/{task_id}/cancel"]["post"]["x-role-for-own-tasks"] == "submitter"
    assert "x-role-for-own-tasks" not in paths["/tasks"]["post"]
    assert paths["/tasks"]["post"]["x-grant"] == "submit"


async def test_head_is_answered_by_the_route_that_answers_get(client: httpx.AsyncClient) -> None:
    answer = await client.head("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
