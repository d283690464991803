"""`/stats/series`."""

from __future__ import annotations

import httpx
import pytest

from afterwards.api.schemas.series import SeriesDocument
from tests.api.general.conftest import Hand, submitted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("span", "length"), [("1h", 360), ("24h", 1_440), ("30d", 720)])
async def test_a_range_is_told_in_columns_of_equal_length(
    api: httpx.AsyncClient, hand: Hand, span: str, length: int
) -> None:
    done = (await submitted(api))["id"]
    hand.succeed(hand.claim(done), b"{}")
    answer = await api.get("/stats/series", params={"range": span, "type": "note"})
    found = SeriesDocument.model_validate_json(answer.content)
    document = answer.json()
    names = {*document} - {"range", "step_seconds", "type", "tasks"}
    columns = [*(document[name] for name in names), *document["tasks"].values()]
    assert {len(column) for column in columns} == {length}
    assert (found.range, found.type) == (span, "note")
    assert found.times[1] - found.times[0] == found.step_seconds
    assert sum(number or 0 for number in found.succeeded) == 1
    assert any(found.run_p50)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("range=2h", "/range"), ("span=1h", "/span"), ("range=1h&range=1h", "/range")],
)
async def test_what_is_not_known_is_named(api: httpx.AsyncClient, query: str, pointer: str) -> None:
    answer = await api.get(f"/stats/series?{query}")
    assert answer.status_code == 422
    assert pointer in answer.text


async def test_series_are_compressed_and_what_has_texts_of_users_is_not(
    api: httpx.AsyncClient,
) -> None:
    series = await api.get("/stats/series?range=24h", headers={"Accept-Encoding": "gzip"})
    assert series.headers["content-encoding"] == "gzip"
    assert len(series.json()["times"]) > 1_000
    for path in ("/tasks", "/errors", "/schedules", "/task-types", "/activity"):
        assert "content-encoding" not in (await api.get(path)).headers, path
