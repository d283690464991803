"""The text of a trace: what is stored of it, and what is read from it."""

from __future__ import annotations

from afterwards.trace_context import (
    attempt_span_id,
    ids,
    is_sampled,
    joined,
    traceparent,
    tracestate,
)

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"


def test_the_headers_of_a_trace_are_those_that_it_was_made_of() -> None:
    trace = joined(TRACE_ID, SPAN_ID, 1, "a=1,b=2 3")
    assert traceparent(trace) == f"00-{TRACE_ID}-{SPAN_ID}-01"
    assert tracestate(trace) == "a=1,b=2 3"
    assert ids(trace) == {"trace_id": TRACE_ID, "span_id": SPAN_ID}


def test_a_trace_without_a_state_is_its_traceparent() -> None:
    trace = joined(TRACE_ID, SPAN_ID, 0)
    assert (trace, tracestate(trace)) == (traceparent(trace), "")


def test_one_of_the_flags_says_that_spans_are_recorded() -> None:
    found = [flags for flags in range(8) if is_sampled(joined(TRACE_ID, SPAN_ID, flags))]
    assert found == [1, 3, 5, 7]


def test_each_attempt_has_a_span_id_of_its_own_which_stays() -> None:
    tasks = [f"00000000-0000-4000-8000-{number:012d}" for number in range(20)]
    found = [attempt_span_id(task, attempt) for task in tasks for attempt in range(1, 21)]
    assert len(set(found)) == 400
    assert all(len(one) == 16 and int(one, 16) for one in found)
    assert attempt_span_id(tasks[1], 11) == "957909f8befe211b"
