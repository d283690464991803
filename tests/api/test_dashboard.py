"""The dashboard's document and files, as a browser gets them."""

from __future__ import annotations

import gzip
import re
from urllib.parse import urljoin

import httpx
import pytest

from afterwards.dashboard.assets import load

pytestmark = pytest.mark.anyio

SCRIPT = f"/dashboard/assets/{load().digest}/app.js"


@pytest.mark.parametrize(
    "path",
    ["", "/", "/tasks", "/tasks/", "/tasks/3f/x", "/types/a%2Fb", "/tasks?q=a/b", "/nowhere"],
)
async def test_every_page_is_one_document_whose_base_is_the_dashboard(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(f"/dashboard{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    [base] = re.findall(r'<base href="([^"]+)">', answer.text)
    assert not base.startswith("/")
    seen_as = f"https://example.org/some/prefix/dashboard{path}"
    assert urljoin(seen_as, base) == "https://example.org/some/prefix/dashboard/"


async def test_the_document_is_asked_for_again_each_time(client: httpx.AsyncClient) -> None:
    answer = await client.get("/dashboard/")
    assert answer.headers["cache-control"] == "no-cache"


async def test_the_document_may_load_from_its_own_host_only(client: httpx.AsyncClient) -> None:
    answer = await client.get("/dashboard/")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    )


async def test_a_file_is_kept_for_good(client: httpx.AsyncClient) -> None:
    answer = await client.get(SCRIPT, headers={"Accept-Encoding": "identity"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.content == load().files["app.js"].content


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("br", False),
        ("", False),
    ],
)
async def test_a_file_is_compressed_for_whoever_takes_gzip(
    client: httpx.AsyncClient, accepted: str, is_compressed: bool
) -> None:
    async with client.stream("GET", SCRIPT, headers={"Accept-Encoding": accepted}) as answer:
        sent = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert ("content-encoding" in answer.headers) == is_compressed
    assert answer.headers["vary"] == "Accept-Encoding"
    content = gzip.decompress(sent) if is_compressed else sent
    assert content == load().files["app.js"].content


async def test_a_file_that_the_browser_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    tags = set()
    for accepted in ("gzip", "identity"):
        headers = {"Accept-Encoding": accepted}
        tag = (await client.get(SCRIPT, headers=headers)).headers["etag"]
        again = await client.get(SCRIPT, headers={**headers, "If-None-Match": f"W/{tag}"})
        assert (again.status_code, again.content) == (304, b"")
        tags.add(tag)
    assert len(tags) == 2


async def test_head_is_answered_as_get(client: httpx.AsyncClient) -> None:
    for path in (SCRIPT, "/dashboard/tasks"):
        answer = await client.head(path)
        assert answer.status_code == 200
        assert answer.headers["content-length"] != "0"


@pytest.mark.parametrize(
    "path",
    [
        "0123456789abcdef/app.js",
        f"{load().digest}/nothing.js",
        f"{load().digest}/../__init__.py",
        f"{load().digest}/vendor/manifest.json",
        "",
    ],
)
async def test_a_file_of_another_version_or_none_is_not_found(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(f"/dashboard/assets/{path.replace('..', '%2e%2e')}")
    # Without a digest and a name it is a page like any other.
    assert answer.status_code == (404 if path else 200)


async def test_a_page_takes_nothing_but_get(client: httpx.AsyncClient) -> None:
    for path in (SCRIPT, "/dashboard/tasks"):
        assert (await client.post(path)).status_code == 405


async def test_a_stranger_may_link_to_a_page_and_load_no_file(client: httpx.AsyncClient) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    visit = {**foreign, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await client.get("/dashboard/tasks", headers=visit)).status_code == 200
    assert (await client.get(SCRIPT, headers=foreign)).status_code == 403
    other_name = {"Host": "evil.example"}
    assert (await client.get("/dashboard/", headers=other_name)).status_code == 421


async def test_the_api_does_not_describe_pages(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if "dashboard" in path]
