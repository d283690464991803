"""The task type `http`, against a real server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from afterwards.effects.effects import Effects, opened
from afterwards.effects.secrets import Secret
from afterwards.effects.settings import EffectSettings, HttpSettings
from afterwards.outgoing.reach import Reach, networks_of
from afterwards.task_types.base import PermanentError, TaskContext, TransientError
from afterwards.task_types.http import HTTP
from afterwards.task_types.http_payload import HttpPayload
from tests.outgoing.http_server import Server, answer, listening, serving

pytestmark = pytest.mark.anyio

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
VALUE = "hidden-value/1"

Make = Callable[..., TaskContext]
Run = Callable[..., Any]
Context = Mapping[str, Any]


def settings(*ports: int) -> EffectSettings:
    reach = Reach(("127.0.0.1", "*.example"), frozenset(ports), networks_of(["127.0.0.0/8"]))
    secrets = {
        "shop": Secret(VALUE, ("127.0.0.1",)),
        "elsewhere": Secret("other-value", ("api.example",)),
    }
    return EffectSettings(http=HttpSettings(reach=reach, secrets=secrets))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving({"/": answer()}) as server:
        yield server


@pytest.fixture
async def effects(server: Server) -> AsyncIterator[Effects]:
    async with opened(settings(server.port)) as effects:
        yield effects


@pytest.fixture
def run(server: Server, effects: Effects, make_context: Make) -> Run:
    """Run an attempt with a payload of these members."""

    async def run(path: str = "/", *, context: Context | None = None, **members: Any) -> Any:
        url = f"http://127.0.0.1:{server.port}{path}"
        payload = HttpPayload.model_validate({"url": url, **members})
        made = make_context(**{"resources": effects, **(context or {})})
        return await HTTP.run(payload, made)  # type: ignore[misc]  # of this type it is a coroutine

    return run


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it be noon of 28 November 2026 for the task type."""
    clock = SimpleNamespace(time=lambda: 1_795_867_200.0)
    monkeypatch.setattr("afterwards.task_types.http.time", clock)


def refusal(*ports: int, checked: bool = True, **members: Any) -> str:
    """The reason why a payload with these members is not taken."""
    context = settings(*ports or (443,)) if checked else None
    with pytest.raises(ValidationError) as raised:
        HttpPayload.model_validate({"url": "https://api.example/", **members}, context=context)
    [problem] = raised.value.errors()
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"


async def test_a_request_is_sent_with_the_attempt_s_own_headers(server: Server, run: Run) -> None:
    await run(method="POST", json={"a": ["ü", None]}, context={"trace": TRACE, "attempt": 3})
    [(method, _, headers, body)] = server.requests
    assert (method, json.loads(body)) == ("POST", {"a": ["ü", None]})
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == '"the-task"'
    assert headers["afterwards-attempt"] == "3"
    assert headers["traceparent"] == TRACE
    assert headers["user-agent"].startswith("afterwards/")


async def test_without_a_trace_and_a_body_there_is_nothing_said_of_them(
    server: Server, run: Run
) -> None:
    await run(headers={"User-Agent": "shop", "X-Kind": "new"})
    [(_, _, headers, _)] = server.requests
    assert (headers["user-agent"], headers["x-kind"]) == ("shop", "new")
    assert not headers.keys() & {"traceparent", "tracestate", "content-type", "content-length"}


@pytest.mark.parametrize(
    ("members", "body"), [({"json": None}, b"null"), ({"body": "ü"}, "ü".encode()), ({}, b"")]
)
async def test_the_body_is_json_or_text(
    server: Server, run: Run, members: dict[str, Any], body: bytes
) -> None:
    await run(method="POST", **members)
    assert server.requests[0][3] == body


async def test_the_answer_is_the_result(server: Server, run: Run) -> None:
    fields = {"content-type": "text/plain", "etag": '"1"', "set-cookie": "a=b"}
    server.answers["/a"] = answer(201, "made ü".encode(), **fields)
    assert await run("/a") == {
        "status": 201,
        "url": f"http://127.0.0.1:{server.port}/a",
        "headers": {"content-length": "7", "content-type": "text/plain", "etag": '"1"'},
        "body": "made ü",
        "encoding": "utf-8",
        "truncated": False,
    }


@pytest.mark.parametrize(
    ("body", "store", "kept"),
    [
        (b"12345", 5, "12345"),
        (b"123456", 5, "12345"),
        ("1234ü".encode(), 5, "1234"),
        (b"12345", 0, ""),
    ],
)
async def test_the_result_has_the_beginning_of_a_long_body(
    server: Server, run: Run, body: bytes, store: int, kept: str
) -> None:
    server.answers["/"] = answer(body=body)
    result = await run(store=store)
    assert (result["body"], result["encoding"]) == (kept, "utf-8")
    assert result["truncated"] is (len(kept) < len(body))


async def test_a_body_that_is_no_text_is_in_base64(server: Server, run: Run) -> None:
    server.answers["/"] = answer(body=b"\xff\x00")
    result = await run()
    assert (base64.b64decode(result["body"]), result["encoding"]) == (b"\xff\x00", "base64")


@pytest.mark.parametrize("body", [b"\x01" * 5_000, b"\xff" * 5_000])
async def test_the_result_fits_whatever_is_in_the_body(
    server: Server, run: Run, make_context: Make, body: bytes
) -> None:
    server.answers["/"] = answer(body=body)
    result = await run()
    limit = make_context().environment.max_result_bytes
    assert len(result["body"]) > 0
    assert len(json.dumps(result)) <= limit
    assert result["truncated"] is True


# -- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 503, 599])
async def test_a_status_that_may_pass_is_tried_again(server: Server, run: Run, status: int) -> None:
    server.answers["/"] = answer(status)
    with pytest.raises(TransientError, match=rf"GET http://127\.0\.0\.1:\d+ answered {status}"):
        await run()


@pytest.mark.parametrize("status", [302, 304, 400, 401, 404, 410, 422])
async def test_any_other_status_is_final(server: Server, run: Run, status: int) -> None:
    server.answers["/"] = answer(status)
    with pytest.raises(PermanentError, match=f"answered {status}"):
        await run()


async def test_expected_statuses_take_the_place_of_2xx(server: Server, run: Run) -> None:
    server.answers["/"] = answer(404)
    assert (await run(expected=[200, 404]))["status"] == 404
    server.answers["/"] = answer(201)
    with pytest.raises(PermanentError, match="answered 201 Created"):
        await run(expected=[200, 404])
    server.answers["/"] = answer(503)
    assert (await run(expected=[503]))["status"] == 503


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("999999999999", 3600),
        ("Sat, 28 Nov 2026 12:10:00 GMT", 600),
        ("Sun, 29 Nov 2026 12:00:00 GMT", 3600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.usefixtures("noon")
async def test_retry_after_is_honoured_up_to_an_hour(
    run: Run, server: Server, status: int, value: str, seconds: float
) -> None:
    server.answers["/"] = answer(status, b"", **{"retry-after": value})
    with pytest.raises(TransientError) as raised:
        await run()
    assert raised.value.retry_after_seconds == seconds


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "²", ""])
async def test_retry_after_that_is_neither_form_is_passed_over(
    server: Server, run: Run, value: str
) -> None:
    server.answers["/"] = answer(503, b"", **{"retry-after": value})
    with pytest.raises(TransientError) as raised:
        await run()
    assert raised.value.retry_after_seconds is None


async def test_no_answer_is_tried_again(run: Run, server: Server) -> None:
    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()
        writer.close()

    async with listening(silent) as port, opened(settings(port)) as effects:
        members = {"url": f"http://127.0.0.1:{port}/", "timeout_seconds": 0.2}
        with pytest.raises(TransientError, match=r"no answer within 0\.2 s"):
            await run(context={"resources": effects}, **members)


async def test_a_redirect_is_followed_if_that_is_asked_for(server: Server, run: Run) -> None:
    server.answers |= {"/": answer(307, location="/b"), "/b": answer(body=b"x")}
    result = await run(redirects=1, headers={"Authorization": "Bearer ${secret:shop}"})
    assert result["url"] == f"http://127.0.0.1:{server.port}/b"
    sent = [headers.get("authorization") for *_, headers, _ in server.requests]
    assert sent == [f"bearer {VALUE}", None]


async def test_a_redirect_to_a_forbidden_place_is_final(server: Server, run: Run) -> None:
    server.answers["/"] = answer(302, location="http://169.254.169.254/")
    with pytest.raises(PermanentError, match="169"):
        await run(redirects=1)
    assert len(server.requests) == 1


# -- secrets -----------------------------------------------------------------------------------


async def test_a_secret_is_sent_and_an_answer_that_repeats_it_is_masked(
    server: Server, run: Run
) -> None:
    echo = json.dumps({"authorization": f"Bearer {VALUE}"}).encode()
    server.answers["/"] = answer(200, echo, **{"x-request-id": VALUE})
    result = await run(headers={"Authorization": "Bearer ${secret:shop}"})
    assert server.requests[0][2]["authorization"] == f"bearer {VALUE}"
    assert json.loads(result["body"]) == {"authorization": "Bearer **********"}
    assert result["headers"]["x-request-id"] == "**********"


@pytest.mark.parametrize("before", range(40, 60))
async def test_a_secret_that_the_end_would_cut_in_two_is_masked(
    server: Server, run: Run, before: int
) -> None:
    server.answers["/"] = answer(200, b"x" * before + (VALUE * 20).encode())
    result = await run(store=60, headers={"Authorization": "${secret:shop}"})
    assert "hidd" not in result["body"]


async def test_a_secret_is_in_no_error_and_no_log_line(
    server: Server, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/"] = answer(400, VALUE.encode())
    with pytest.raises(PermanentError) as raised:
        await run(headers={"Authorization": "${secret:shop}"})
    printed = capsys.readouterr()
    assert VALUE not in str(raised.value) + printed.out + printed.err


async def test_what_is_not_allowed_any_more_is_final(
    server: Server, run: Run, effects: Effects
) -> None:
    with pytest.raises(PermanentError, match="there is no secret 'gone'"):
        await run(headers={"Authorization": "${secret:gone}"})
    with pytest.raises(PermanentError, match="the secret 'elsewhere' may not go to"):
        await run(headers={"Authorization": "${secret:elsewhere}"})
    assert effects.settings.http is not None
    closed = replace(effects.settings.http, reach=Reach())
    now = replace(effects, settings=EffectSettings(http=closed))
    with pytest.raises(PermanentError, match="AFTERWARDS_HTTP_HOSTS"):
        await run(context={"resources": now})
    assert server.requests == []


# -- the door ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"url": "https://other.test/"}, "url: 'other.test' is not among the hosts"),
        ({"url": "https://api.example:22/"}, "url: port 22 is not among the ports"),
        ({"url": "ftp://api.example/"}, "url: only http and https"),
        ({"method": "TRACE"}, "method: "),
        ({"headers": {"Host": "x"}}, "headers: the service sends Host itself"),
        ({"headers": {"idempotency-key": "x"}}, "headers: the service sends idempotency-key"),
        ({"headers": {"X Y": "x"}}, "headers: 'X Y' is not the name of a header"),
        ({"headers": {"X": "a\nb"}}, "headers: the value of X must be ASCII"),
        ({"headers": {"X": " a"}}, "headers: the value of X must be ASCII"),
        ({"headers": {"X": "1", "x": "2"}}, "headers: a header is there twice"),
        ({"headers": {"X": "${secret:gone}"}}, "headers: there is no secret 'gone'"),
        ({"headers": {"X": "${secret:shop}"}}, "headers: the secret 'shop' may not go to"),
        ({"headers": {"X": "${secret:a b}"}}, "headers: a reference in X is not of the form"),
        ({"method": "POST", "json": 1, "body": "x"}, ": json and body are both there"),
        ({"json": {}}, ": a GET request has no body"),
        ({"store": 10**9}, "store: "),
        ({"redirects": 6}, "redirects: "),
        ({"expected": []}, "expected: "),
        ({"timeout": 3}, "timeout: Extra inputs are not permitted"),
    ],
)
def test_a_request_that_may_not_be_sent_is_refused(members: dict[str, Any], reason: str) -> None:
    assert refusal(**members).startswith(reason)


def test_without_settings_a_payload_is_read_all_the_same() -> None:
    assert refusal(url="file:///etc/passwd", checked=False).startswith("url: only http and https")
    HttpPayload.model_validate({"url": "https://other.test/", "headers": {"X": "${secret:any}"}})
