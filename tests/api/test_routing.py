"""Bodies: what is JSON, what says that it is, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}


def content(value: str) -> bytes:
    return b'{"content":{"a":' + value.encode() + b"}}"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(content("NaN"), id="NaN"),
        pytest.param(content("Infinity"), id="Infinity"),
        pytest.param(content("-Infinity"), id="-Infinity"),
        pytest.param(content("1e999"), id="beyond every float"),
        pytest.param(content("9" * 5_000), id="5000 digits"),
        pytest.param(content('"\\ud800"'), id="half a surrogate pair"),
        pytest.param(b'{"content":{"\\ud800":1}}', id="half a surrogate pair as key"),
        pytest.param(content("[" * 4_000 + "]" * 4_000), id="deep"),
        pytest.param(b"[" * 9_000, id="deep and open"),
        pytest.param(b'{"content":{"a":"\xff"}}', id="not UTF-8"),
        pytest.param('{"content":{}}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"{'content': {}}", id="Python"),
        pytest.param(b'{"content":{}}x', id="something behind it"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"content"', id="a string"),
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(b'{"content":[]}', id="a list for an object"),
        pytest.param(b'{"content":"{}"}', id="a string for an object"),
    ],
)
async def test_what_is_not_the_json_asked_for_is_refused(
    client: httpx.AsyncClient, service: Any, body: bytes
) -> None:
    answer = await client.post("/file/", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["errors"]
    assert problem["detail"]
    assert not service.tasks


async def test_nan_where_text_belongs_is_refused_and_not_echoed(client: httpx.AsyncClient) -> None:
    body = b'{"email":NaN,"message":"secret"}'
    answer = await client.post("/notify/", content=body, headers=JSON)
    assert answer.status_code == 422
    assert "secret" not in answer.text


async def test_nothing_of_what_is_accepted_is_changed(
    client: httpx.AsyncClient, service: Any
) -> None:
    sent = content('[99999999999999999999, 1.0, -0.0, 0.1, 1e308, "\\u0000 \\ud83d\\ude00", []]')
    answer = await client.post("/file/", content=sent, headers=JSON)
    assert answer.status_code == 202
    assert repr(json.loads(service.only_task.payload)) == repr(json.loads(sent))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
    ],
)
async def test_json_is_taken_under_each_of_its_names(
    client: httpx.AsyncClient, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    answer = await client.post("/file", content=b'{"content":{}}', headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "text/json"},
        {"Content-Type": "application/ json"},
    ],
)
async def test_a_body_that_does_not_say_it_is_json_is_refused(
    client: httpx.AsyncClient, service: Any, headers: dict[str, str]
) -> None:
    answer = await client.post("/file/", content=b'{"content":{}}', headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]
    assert not service.tasks


async def test_the_content_type_is_judged_before_the_body_is_read(app: Any) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/file/",
        "query_string": b"",
        "headers": [(b"content-type", b"text/plain"), (b"transfer-encoding", b"chunked")],
    }
    answers: list[Any] = []

    async def receive() -> Any:
        pytest.fail("the body was read")

    async def send(message: Any) -> None:
        answers.append(message)

    await app(scope, receive, send)
    assert answers[0]["status"] == 415


async def test_a_post_without_a_body_is_told_that_one_is_missing(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/notify/")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"location": "body", "pointer": "#", "message": "A JSON object is required"}
    ]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/notify/", "POST"),
        ("PUT", "/file", "POST"),
        ("POST", "/status/x", "GET, HEAD"),
        ("DELETE", "/healthz/", "GET, HEAD"),
        ("GET", "/retry-task/x", "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.headers["content-type"] == "application/problem+json"


async def test_head_is_answered_where_get_is(client: httpx.AsyncClient) -> None:
    assert (await client.head("/healthz")).status_code == 200
    assert (await client.head("/status/x")).status_code == 404


@pytest.mark.parametrize("path", ["/nothing", "/notify//", "/status", "/status/a/b", "/notify/%0A"])
async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
async def test_a_body_that_says_it_is_encoded_is_refused_whatever_it_is(
    client: httpx.AsyncClient, coding: str
) -> None:
    body = b'{"email": "johndoe@example.com", "message": "Hello"}'
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await client.post("/notify/", content=body, headers=headers)
    assert answer.status_code == 415
    assert answer.headers["Accept-Encoding"] == "identity"
    plain = await client.post(
        "/notify/", content=body, headers={**headers, "Content-Encoding": "Identity"}
    )
    assert plain.status_code == 202
