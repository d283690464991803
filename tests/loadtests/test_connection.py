"""The client understands what the servers answer, whole, and nothing else."""

from __future__ import annotations

import pytest

from loadtests.bench.notification import SUBMIT
from loadtests.bench.stand import Stand
from loadtests.connection import Answer, checked, get, parse, post, submit
from loadtests.errors import LoadTestError

ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\nX-Y: z\r\n\r\nhello"


def test_an_answer_is_one_when_it_is_whole() -> None:
    assert parse(ANSWER) == Answer(202, b"hello")
    assert all(parse(ANSWER[:size]) is None for size in range(len(ANSWER)))


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(LoadTestError, match="without a Content-Length"):
        parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


def test_another_status_than_expected_is_no_figure() -> None:
    with pytest.raises(LoadTestError, match="answered 503, not 202"):
        checked(202, Answer(503, b"full"))


def test_so_many_requests_are_so_many_tasks(stand: Stand) -> None:
    with stand.service() as service:
        submitted = submit(service.address, SUBMIT, 101, connections=8)
        assert service.wait_finished(101).succeeded == 101
        assert len(set(submitted.task_ids)) == 101
        with service.connect() as connection:
            body = connection.expect(200, get(f"/status/{submitted.task_ids[-1]}"))
            assert b'"success"' in body
            with pytest.raises(LoadTestError, match="422"):
                connection.expect(202, post("/notify/", {"email": "nobody"}))
