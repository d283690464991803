"""The current span of task code, for instrumentations of OpenTelemetry that run in it."""

from __future__ import annotations

from opentelemetry.context import Context, attach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from afterwards.trace_context import traceparent, tracestate


def make_current(trace: str) -> None:
    """Make this span (`afterwards.trace_context`) the parent of all that this context does.

    Executors give each call a context of its own, so nothing has to be detached.
    """
    carrier = {"traceparent": traceparent(trace), "tracestate": tracestate(trace)}
    attach(TraceContextTextMapPropagator().extract(carrier, Context()))
