"""The trace that a task belongs to, as text: what is stored, sent between processes and shown.

The text is a `traceparent` of W3C Trace Context, version 00, and after a space its `tracestate`,
if there is one: `00-<trace id>-<span id>-<flags>`. Nothing here needs OpenTelemetry.
"""

from __future__ import annotations

from hashlib import blake2b

_SPAN_ID_BYTES = 8


def joined(trace_id: str, span_id: str, flags: int, tracestate: str = "") -> str:
    """The text of these parts; ids are lower-case hexadecimal digits."""
    traceparent = f"00-{trace_id}-{span_id}-{flags:02x}"
    return f"{traceparent} {tracestate}" if tracestate else traceparent


def traceparent(trace: str) -> str:
    """The header `traceparent` of requests that go on with this trace."""
    return trace.partition(" ")[0]


def tracestate(trace: str) -> str:
    """The header `tracestate`; empty: there is none."""
    return trace.partition(" ")[2]


def ids(trace: str) -> dict[str, str]:
    """The ids under the names that OpenTelemetry gives them in log lines."""
    return {"trace_id": trace[3:35], "span_id": trace[36:52]}


def is_sampled(trace: str) -> bool:
    """True if its spans are recorded; otherwise its ids only travel along."""
    return bool(int(trace[53:55], 16) & 1)


def attempt_span_id(task_id: str, attempt: int) -> str:
    """The id of an attempt's span: it follows from the attempt, so it is not stored."""
    return blake2b(f"{task_id} {attempt}".encode(), digest_size=_SPAN_ID_BYTES).hexdigest()
