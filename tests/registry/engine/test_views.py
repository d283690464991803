"""The registry's log lines about attempts."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from afterwards.trace_context import attempt_span_id
from tests.registry.bench import Bench
from tests.registry.peers import make_task

TRACE_ID = "4" * 32


@pytest.mark.parametrize("trace", [f"00-{TRACE_ID}-{'2' * 16}-01 a=1", None])
@pytest.mark.parametrize("retry_in", [None, 60.0])
def test_the_line_about_a_failed_attempt_has_the_ids_of_its_span(
    bench: Bench, trace: str | None, retry_in: float | None
) -> None:
    peer = bench.peer(bench.registry(journal=bench.journal()))
    task = make_task(trace=trace)

    with capture_logs() as lines:
        peer.fail(peer.run(task), retry_in)

    [line] = [line for line in lines if line["event"].startswith("attempt failed")]
    span = (TRACE_ID, attempt_span_id(task.id, 1)) if trace else (None, None)
    assert (line.get("trace_id"), line.get("span_id")) == span
