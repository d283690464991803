"""Spans of submissions and attempts, after OpenTelemetry's conventions for messaging.

A submission is a message that is sent, its task the message, its type the destination; an attempt
processes it. `docs/decisions/0017-traces.md` says why they belong to one trace.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bind_contextvars

from afterwards import __version__
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import (
    Failed,
    Lost,
    Report,
    Stopped,
    Succeeded,
    Suspected,
)
from afterwards.trace_context import attempt_span_id, ids, joined, traceparent, tracestate
from afterwards.traces.base import Headers
from afterwards.traces.export import Export

SYSTEM: Final = "afterwards"
MAX_ERROR_CHARACTERS: Final = 500
MAX_STATE_CHARACTERS: Final = 512
"""The most that is stored of a `tracestate`."""

ATTEMPT: Final = "afterwards.task.attempt"
EXECUTOR: Final = "afterwards.task.executor"
OUTCOME: Final = "afterwards.task.outcome"
REPLAYED: Final = "afterwards.submission.replayed"

_W3C: Final = TraceContextTextMapPropagator()
_CARRIED: Final[Mapping[bytes, str]] = MappingProxyType(
    {b"traceparent": "traceparent", b"tracestate": "tracestate"}
)
_NO_FAULT: Final = frozenset({"success", "released", "cancelled"})


class Tracer:
    """Makes spans and has them sent to a collector. See `afterwards.traces.base.Traces`.

    Args:
        endpoint: the collector's base URL.
        worker: `str` of this worker's incarnation.

    Raises:
        ValueError: a variable of OpenTelemetry's has a value that it does not take.
    """

    def __init__(self, endpoint: str, worker: str) -> None:
        self._ids = _Ids()
        self._worker = worker
        provider = TracerProvider(
            resource=_resource(worker), id_generator=self._ids, shutdown_on_exit=False
        )
        self._tracer = provider.get_tracer(SYSTEM, __version__)
        self._export = Export(provider, endpoint)

    @contextlib.contextmanager
    def submission(self, tasks: Sequence[Task], headers: Headers) -> Iterator[_Submission]:
        span = self._tracer.start_span(
            _name("submit", tasks),
            _W3C.extract(_carried(headers), Context()),
            SpanKind.PRODUCER,
            _about_tasks(tasks),
        )
        trace = _text(span.get_span_context())
        bind_contextvars(**ids(trace))
        try:
            yield _Submission(span, trace)
        except Exception as error:
            span.set_attribute(ERROR_TYPE, type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, str(error)[:MAX_ERROR_CHARACTERS]))
            raise
        finally:
            span.end()

    def attempt(self, claim: Claim) -> _Attempt:
        submitted = None if claim.trace is None else _W3C.extract(_headers(claim.trace), Context())
        links = () if submitted is None else [Link(get_current_span(submitted).get_span_context())]
        with self._ids.next_span(attempt_span_id(claim.task_id, claim.attempt)):
            span = self._tracer.start_span(
                f"process {claim.type}",
                submitted or Context(),
                SpanKind.CONSUMER,
                _about_attempt(claim, self._worker),
                links,
            )
        return _Attempt(span)

    def close(self, seconds: float) -> None:
        self._export.close(seconds)


class _Submission:
    """The span of a submission."""

    def __init__(self, span: Span, trace: str) -> None:
        self._span = span
        self.trace = trace

    def replayed(self, tasks: Sequence[Task]) -> None:
        self._span.set_attribute(REPLAYED, True)
        if len(tasks) == 1:
            self._span.set_attribute(messaging.MESSAGING_MESSAGE_ID, tasks[0].id)


class _Attempt:
    """The span of an attempt."""

    __slots__ = ("_span", "trace")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.trace = _text(span.get_span_context())

    def end(self, report: Report | None) -> None:
        outcome = _outcome_of(report)
        self._span.set_attribute(OUTCOME, outcome)
        if outcome not in _NO_FAULT:
            error = getattr(report, "error", None)
            self._span.set_attribute(ERROR_TYPE, outcome)
            self._span.set_status(
                Status(StatusCode.ERROR, None if error is None else error[:MAX_ERROR_CHARACTERS])
            )
        self._span.end()


class _Ids(RandomIdGenerator):
    """Draws ids, but where the id of the next span is said."""

    def __init__(self) -> None:
        self._said = threading.local()

    @contextlib.contextmanager
    def next_span(self, span_id: str) -> Iterator[None]:
        """The span that this thread makes in the block has this id."""
        self._said.span_id = int(span_id, 16)
        try:
            yield
        finally:
            self._said.span_id = None

    def generate_span_id(self) -> int:
        said: int | None = getattr(self._said, "span_id", None)
        return said or super().generate_span_id()


def _resource(worker: str) -> Resource:
    own: dict[str, Any] = {
        "service.name": SYSTEM,
        "service.version": __version__,
        "service.instance.id": worker,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    # What the operator says (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) wins.
    return Resource.create(own).merge(OTELResourceDetector().detect())


def _carried(headers: Headers) -> dict[str, str]:
    """The trace that a request brings. Several `tracestate` are one list (W3C Trace Context)."""
    found: dict[str, str] = {}
    for name, value in headers:
        known = _CARRIED.get(name)
        if known is not None:
            text = value.decode("latin-1")
            # Two `traceparent` are none: the comma makes them invalid.
            found[known] = f"{found[known]},{text}" if known in found else text
    return found


def _headers(trace: str) -> dict[str, str]:
    return {"traceparent": traceparent(trace), "tracestate": tracestate(trace)}


def _text(context: SpanContext) -> str:
    state = context.trace_state.to_header()
    if len(state) > MAX_STATE_CHARACTERS:
        # Whole members, from the end (W3C Trace Context, 3.3.1.5).
        state = state[: MAX_STATE_CHARACTERS + 1].rpartition(",")[0]
    return joined(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags, state)


def _name(operation: str, tasks: Sequence[Task]) -> str:
    """The operation, and the destination if there is one (semantic conventions, "Span name")."""
    types = {task.type for task in tasks}
    return f"{operation} {types.pop()}" if len(types) == 1 else operation


def _about_tasks(tasks: Sequence[Task]) -> dict[str, Any]:
    about: dict[str, Any] = {
        messaging.MESSAGING_SYSTEM: SYSTEM,
        messaging.MESSAGING_OPERATION_NAME: "submit",
        messaging.MESSAGING_OPERATION_TYPE: messaging.MessagingOperationTypeValues.SEND.value,
    }
    if len({task.type for task in tasks}) == 1:
        about[messaging.MESSAGING_DESTINATION_NAME] = tasks[0].type
    if len(tasks) > 1:
        about[messaging.MESSAGING_BATCH_MESSAGE_COUNT] = len(tasks)
    else:
        about[messaging.MESSAGING_MESSAGE_ID] = tasks[0].id
        about[messaging.MESSAGING_MESSAGE_BODY_SIZE] = len(tasks[0].payload)
    return about


def _about_attempt(claim: Claim, worker: str) -> dict[str, Any]:
    return {
        messaging.MESSAGING_SYSTEM: SYSTEM,
        messaging.MESSAGING_OPERATION_NAME: "process",
        messaging.MESSAGING_OPERATION_TYPE: messaging.MessagingOperationTypeValues.PROCESS.value,
        messaging.MESSAGING_DESTINATION_NAME: claim.type,
        messaging.MESSAGING_MESSAGE_ID: claim.task_id,
        messaging.MESSAGING_MESSAGE_BODY_SIZE: len(claim.payload),
        messaging.MESSAGING_CLIENT_ID: worker,
        ATTEMPT: claim.attempt,
        EXECUTOR: claim.executor,
    }


def _outcome_of(report: Report | None) -> str:
    """In the words of the task's history."""
    match report:
        case Succeeded():
            return "success"
        case Failed():
            return "timeout" if report.timed_out else "failure"
        case Lost():
            return "lost"
        case Suspected():
            return "suspected"
        case Stopped():
            return "cancelled"
        case _:
            return "released"
