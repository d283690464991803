"""One call of a plain function in a host, from its frame to its outcome."""

from __future__ import annotations

from contextvars import Context
from time import monotonic

from afterwards_executors.base import Outcome
from afterwards_executors.calls import failure_of, outcome_of
from afterwards_executors.frames import Frame, decode_call
from afterwards_executors.inside.line import HostLine
from afterwards_executors.inside.wire import refusal
from afterwards_executors.progress import CURRENT


def run(request: Frame, line: HostLine) -> Outcome:
    """Run the call, whatever it raises."""
    try:
        function, args = decode_call(request.body)
    except BaseException as error:  # noqa: BLE001 - imports and unpickling run foreign code
        return refusal("The call cannot be loaded in its host", error, 0.0)
    started = monotonic()
    try:
        # A context of its own: what a call binds must not be seen by the next one.
        context = Context()
        context.run(CURRENT.set, line)
        return outcome_of(context.run(function, *args), monotonic() - started)
    except BaseException as error:  # noqa: BLE001 - SystemExit would cost the host, or the thread
        return failure_of(error, monotonic() - started)
