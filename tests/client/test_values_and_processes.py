"""Errors that cross processes, clients that outlive a fork, and what the environment says."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

import afterwards_client
from afterwards_client import (
    AfterwardsClientError,
    Client,
    ConnectionFailed,
    InvalidArgument,
    InvalidKey,
    InvalidSecret,
    InvalidWebhook,
    NewTask,
    Retries,
    TaskFailed,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
    WrongEnvironment,
)
from afterwards_client.errors import api_error
from afterwards_client.tasks import Task
from tests.client.conftest import Handler
from tests.client.documents import problem, task

TASK = Task.of(task())
ERRORS: list[AfterwardsClientError] = [
    ConnectionFailed("http://x/", "refused"),
    UnexpectedAnswer("http://x/", "no JSON"),
    WaitTimeout(TASK, 2.0),
    TaskFailed(TASK),
    InvalidArgument("task id ''", "it is empty"),
    InvalidKey(""),
    InvalidSecret("x"),
    InvalidWebhook("it has no header webhook-id"),
    WrongEnvironment(["HTTP_PROXY"], "it is no URL"),
    *(
        api_error(status, problem(status), retry_after_seconds=3.0)
        for status in (400, 404, 409, 410, 418, 429, 503)
    ),
]


def test_every_error_is_tried() -> None:
    classes = {
        value
        for value in vars(afterwards_client).values()
        if isinstance(value, type) and issubclass(value, AfterwardsClientError)
    }
    bases = {AfterwardsClientError, afterwards_client.ApiError}
    assert classes - bases <= {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_an_error_is_a_value(error: AfterwardsClientError, duplicate: Any) -> None:
    other = duplicate(error)
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)


class Echo(BaseHTTPRequestHandler):
    """Answers a submission with its own payload."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        content = json.dumps({**task(), "payload": sent["payload"]}).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_each_process_gets_its_own_answers(echo: str) -> None:
    with Client(echo, retries=Retries(total_seconds=0)) as client:
        client.submit("notification", {"of": "parent"})  # a connection is kept
        children = [os.fork() or _child(client, number) for number in range(3)]
        for number in range(50):
            of = f"parent {number}"
            assert client.submit("notification", {"of": of}).payload == {"of": of}
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert statuses == [0, 0, 0]


def _child(client: Client, number: int) -> int:
    wrong = 1
    try:
        wrong = sum(
            client.submit("notification", {"of": of}).payload != {"of": of}
            for of in (f"child {number} {n}" for n in range(50))
        )
    finally:
        os._exit(min(wrong, 1))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_what_is_on_this_machine_is_reached_without_a_proxy(
    echo: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with Client(echo.replace("127.0.0.1", host), retries=Retries(total_seconds=0)) as client:
        assert client.submit("notification", {"a": 1}).payload == {"a": 1}


def test_a_password_is_sent_and_never_shown(echo: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gone = "http://jo:s3cr%65t@127.0.0.1:1/below"
    with Client(gone, retries=Retries(total_seconds=0)) as client:
        assert client._headers == {"Authorization": "Basic am86czNjcmV0"}
        with pytest.raises(ConnectionFailed) as caught:
            client.get("x")
    with Client(echo.replace("http://", "http://jo:s3cr%65t@")) as client:
        client.submit("notification", {})
    shown = (str(caught.value), repr(vars(caught.value)), caplog.text, repr(vars(client)))
    assert not any("s3cr" in text for text in shown)


@pytest.mark.parametrize("key", ["", "é", "a\nb", "x" * 256])
def test_a_key_that_cannot_be_sent_is_refused(client: Any, service: Handler, key: str) -> None:
    with pytest.raises(InvalidKey, match="printable ASCII"):
        client.submit("notification", {}, idempotency_key=key)
    with pytest.raises(InvalidKey):
        client.submit_many([NewTask("notification", {})], idempotency_key=key)
    assert service.requests == []


def test_too_many_requests_are_tried_again(client: Any, service: Handler) -> None:
    service.answer(429, problem(429), **{"Retry-After": "0"})
    service.answer(202, task())
    client.submit("notification", {})
    assert len(service.requests) == 2
    service.answer(429, problem(429))
    with pytest.raises(Unavailable):
        client.cancel(TASK.id)


def test_an_answer_whose_encoding_is_broken_is_an_unexpected_one(
    client: Any, service: Handler
) -> None:
    broken = httpx.ByteStream(b"no gzip")
    service.answers.append(httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=broken))
    with pytest.raises(UnexpectedAnswer, match="broken"):
        client.get(TASK.id)
