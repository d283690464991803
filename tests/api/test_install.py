"""The settings' effect on `afterwards.api.install`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

ORIGIN = "https://shop.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}


async def test_no_origin_is_allowed_unless_a_setting_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
    assert (await client.options("/notify/", headers=PREFLIGHT)).status_code == 405


class TestWithReportsAlone:
    @pytest.fixture
    def settings(self, settings: Any) -> Any:
        return settings.model_copy(update={"builtin_types": ("report",)})

    @pytest.mark.parametrize(
        "path", ["/notify/", "/file/", "/send-email", "/api/notifications/notify"]
    )
    async def test_a_type_that_is_off_has_no_route(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        assert (await client.post(path, json={})).status_code == 404
        assert path not in (await client.get("/openapi.json")).json()["paths"]

    async def test_the_routes_of_others_are_there(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/report/", json={})).status_code == 422
        assert (await client.get("/task/an-id/status")).status_code == 404
        types = (await client.get("/task-types")).json()
        assert "email" not in str(types)


class TestWithAnOrigin:
    @pytest.fixture
    def settings(self, settings: Any) -> Any:
        return settings.model_copy(update={"cors_origins": (ORIGIN,)})

    @pytest.fixture
    async def client(self, app: Any) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            yield client

    async def test_it_may_post_and_read_where_to_look(self, client: httpx.AsyncClient) -> None:
        preflight = await client.options("/notify/", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        answer = await client.post("/api/notifications/notify", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = answer.headers["access-control-expose-headers"]
        assert {"Location", "Idempotent-Replayed"} <= set(exposed.split(", "))

    async def test_another_may_not(self, client: httpx.AsyncClient) -> None:
        headers = {**PREFLIGHT, "Origin": "https://evil.example"}
        preflight = await client.options("/notify/", headers=headers)
        assert "access-control-allow-origin" not in preflight.headers
