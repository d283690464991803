from __future__ import annotations

from afterwards.api.http_metrics import OTHER_METHOD, HttpMetrics
from afterwards.counts import HTTP_SECONDS


def test_a_duration_falls_in_the_first_bucket_it_does_not_exceed() -> None:
    metrics = HttpMetrics()
    for seconds in (0.0, 0.001, 0.0011, 10, 11):
        metrics.observe("GET", "/healthz", 200, seconds)
    *numbers, nanoseconds = metrics.counts().seconds["GET", "/healthz"]
    assert len(numbers) == len(HTTP_SECONDS) + 1
    assert [*numbers[:2], *numbers[-2:]] == [2, 1, 1, 1]
    assert sum(numbers) == 5
    assert nanoseconds == 21_002_100_000


def test_requests_are_told_apart_by_method_route_and_status() -> None:
    metrics = HttpMetrics()
    for request in [
        ("GET", "/a", 200),
        ("GET", "/a", 200),
        ("GET", "/a", 404),
        ("POST", "/a", 200),
    ]:
        metrics.observe(*request, seconds=0.1)
    assert metrics.counts().requests == {
        ("GET", "/a", "200"): 2,
        ("GET", "/a", "404"): 1,
        ("POST", "/a", "200"): 1,
    }


def test_invented_methods_share_one_label() -> None:
    metrics = HttpMetrics()
    for method in ("BREW", "PROPFIND", "get"):
        metrics.observe(method, "/a", 405, 0.1)
    assert metrics.counts().requests == {(OTHER_METHOD, "/a", "405"): 3}


def test_the_version_tells_whether_anything_is_new() -> None:
    metrics = HttpMetrics()
    before = metrics.version
    metrics.counts()
    assert metrics.version == before
    metrics.observe("GET", "/a", 200, 0.1)
    assert metrics.version > before


def test_counts_are_a_copy() -> None:
    metrics = HttpMetrics()
    metrics.observe("GET", "/a", 200, 0.1)
    counts = metrics.counts()
    metrics.observe("GET", "/a", 200, 0.1)
    assert counts.requests == {("GET", "/a", "200"): 1}
    assert sum(counts.seconds["GET", "/a"][:-1]) == 1
