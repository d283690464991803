"""Spans as a collector receives them, without a service."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from structlog.testing import capture_logs

from afterwards.assembly import traces
from afterwards.errors import ConfigurationError, JournalUnavailable
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Failed, Lost, Released, Stopped, Suspected
from afterwards.settings import Settings
from afterwards.trace_context import tracestate
from afterwards.traces import base
from afterwards.traces.base import require_packages
from afterwards.traces.export import _READING, _SENDING
from afterwards.traces.tracer import Tracer
from tests.otlp import Collector, Received, collecting
from tests.registry.peers import make_task

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
WORKER = Worker("service", 1, 2)
CLAIM = Claim("00000000-0000-4000-8000-000000000001", 2, "note", b"{}", "async", 0, 3, None)


@pytest.fixture(autouse=True)
def plain_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    loggers = [logging.getLogger(name) for name in (*_SENDING, _READING)]
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate, logger.level = handlers, propagate, level


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


def ended(collector: Collector, tracer: Tracer) -> list[Received]:
    tracer.close(10)
    return collector.spans()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"traceparent", PARENT.encode()), (b"traceparent", PARENT.encode())],
        [(b"traceparent", PARENT.upper().encode())],
        [(b"traceparent", b"00-1-2-01")],
        [(b"traceparent", b"\xff" * 9_000)],
        [(b"tracestate", b"a=1")],
    ],
)
def test_what_is_no_trace_begins_one(
    collector: Collector, headers: list[tuple[bytes, bytes]]
) -> None:
    with capture_logs() as lines:
        tracer = Tracer(collector.url, str(WORKER))
        with tracer.submission([make_task()], headers) as span:
            assert TRACE_ID not in span.trace
        [found] = ended(collector, tracer)
    assert (found.parent_id, found.state) == ("", "")
    assert lines == []


def test_what_is_stored_of_a_tracestate_is_bounded_by_whole_members() -> None:
    members = [f"vendor{number}={'x' * 40}" for number in range(30)]
    tracer = Tracer("http://127.0.0.1:9", str(WORKER))
    headers = [
        (b"traceparent", PARENT.encode()),
        (b"tracestate", ",".join(members[:10]).encode()),
        (b"tracestate", ",".join(members[10:]).encode()),
    ]
    with tracer.submission([make_task()], headers) as span:
        kept = tracestate(span.trace).split(",")
    assert 400 < len(",".join(kept)) <= 512
    assert kept == members[: len(kept)]
    tracer.close(0)


def test_a_submission_that_is_refused_is_a_span_with_the_error(collector: Collector) -> None:
    tracer = Tracer(collector.url, str(WORKER))
    with (
        pytest.raises(JournalUnavailable),
        tracer.submission([make_task()], []),
    ):
        raise JournalUnavailable("the disk is full")
    [found] = ended(collector, tracer)
    assert (found.status, found.attributes["error.type"]) == ("ERROR", "JournalUnavailable")
    assert "the disk is full" in found.message


def test_a_submission_that_is_repeated_names_the_task_of_the_first(collector: Collector) -> None:
    tracer = Tracer(collector.url, str(WORKER))
    first = make_task()
    with tracer.submission([make_task()], []) as span:
        span.replayed([first])
    [found] = ended(collector, tracer)
    assert found.attributes["messaging.message.id"] == first.id
    assert found.attributes["afterwards.submission.replayed"] is True


def test_a_batch_of_several_types_has_no_destination(collector: Collector) -> None:
    tracer = Tracer(collector.url, str(WORKER))
    with tracer.submission([make_task(), make_task(type="memo")], []):
        pass
    [found] = ended(collector, tracer)
    assert found.name == "submit"
    assert "messaging.destination.name" not in found.attributes


def of(kind: Any, *more: Any) -> Any:
    return kind(CLAIM.task_id, CLAIM.attempt, *more)


@pytest.mark.parametrize(
    ("report", "outcome", "status"),
    [
        (of(Failed, "no", 1.0, None), "failure", "ERROR"),
        (of(Failed, "no", 1.0, None, True), "timeout", "ERROR"),
        (of(Lost, "no"), "lost", "ERROR"),
        (of(Suspected, "no", 1), "suspected", "ERROR"),
        (of(Released, "no"), "released", "UNSET"),
        (of(Stopped), "cancelled", "UNSET"),
        (None, "released", "UNSET"),
    ],
)
def test_an_attempt_ends_as_its_history_says(
    collector: Collector, report: Any, outcome: str, status: str
) -> None:
    tracer = Tracer(collector.url, str(WORKER))
    tracer.attempt(CLAIM).end(report)
    [found] = ended(collector, tracer)
    assert (found.attributes["afterwards.task.outcome"], found.status) == (outcome, status)
    assert found.attributes.get("error.type") == (outcome if status == "ERROR" else None)


def test_an_attempt_at_a_task_without_a_trace_begins_one(collector: Collector) -> None:
    tracer = Tracer(collector.url, str(WORKER))
    spans = [tracer.attempt(CLAIM._replace(attempt=attempt)) for attempt in (1, 2)]
    for span in spans:
        span.end(None)
    found = ended(collector, tracer)
    assert [(one.parent_id, one.links) for one in found] == [("", [])] * 2
    assert len({one.trace_id for one in found}) == 2


def test_without_a_collector_the_end_does_not_wait(collector: Collector) -> None:
    collector.status = 503
    with capture_logs() as lines:
        tracer = Tracer(collector.url, str(WORKER))
        for _ in range(600):  # More than a batch, so that it is sent at once.
            tracer.attempt(CLAIM).end(None)
        while not lines:
            time.sleep(0.01)
        began = time.monotonic()
        tracer.close(60)
        assert time.monotonic() - began < 30
    assert [line["event"] for line in lines] == [
        "traces cannot be sent; they are lost until they can"
    ]


def test_what_finds_no_room_is_lost_and_nobody_waits(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    collector.status = 503
    with capture_logs() as lines:
        tracer = Tracer(collector.url, str(WORKER))
        for _ in range(1_000):
            tracer.attempt(CLAIM).end(None)
        tracer.close(0)
    assert len(lines) == 1


@pytest.mark.parametrize(
    "variables", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "99999"}]
)
def test_opentelemetrys_variables_cost_the_traces_at_most(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings(otlp_endpoint="http://127.0.0.1:9")
    assert traces(settings, WORKER) is None


def test_a_start_without_the_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        base, "find_spec", lambda name: None if name.endswith("sdk") else find_spec(name)
    )
    require_packages("AFTERWARDS_OTLP_ENDPOINT", "")
    with pytest.raises(ConfigurationError, match=r"pip install 'afterwards\[traces\]'"):
        require_packages("AFTERWARDS_OTLP_ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.processes
def test_without_the_setting_nothing_of_opentelemetrys_is_loaded() -> None:
    # A host loads nothing at all; to a worker FastAPI brings the API, used or not.
    script = """
import sys
import afterwards.execution.attempt
print([name for name in sys.modules if name.startswith("opentelemetry")])
import afterwards.main
from afterwards.assembly import traces
from afterwards.registry.protocol.base import Worker
from afterwards.settings import Settings
print(traces(Settings(), Worker("s", 1, 2)))
print([name for name in sys.modules if name.startswith(tuple(sys.argv[1:]))])
"""
    of_the_sdk = [f"opentelemetry.{name}" for name in ("sdk", "exporter", "semconv", "proto")]
    done = subprocess.run(
        [sys.executable, "-c", script, *of_the_sdk, "google.protobuf", "requests"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "None", "[]"]
