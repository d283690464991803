"""The talk of a `TaskContext`; its line is a double here, and real in `test_own_types`."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from afterwards.task_types.base import TaskContext
from afterwards.task_types.context import MAX_MESSAGE_CHARACTERS, Progress
from afterwards_executors.progress import MAX_PROGRESS_BYTES

MakeContext = Callable[..., TaskContext]


class RecordingLine:
    def __init__(self) -> None:
        self.progress: list[bytes] = []
        self.is_stop_asked = False
        self.is_stopping = False

    def send_progress(self, data: bytes) -> None:
        self.progress.append(data)


@pytest.fixture
def line() -> RecordingLine:
    return RecordingLine()


@pytest.fixture
def context(make_context: MakeContext, line: RecordingLine) -> TaskContext:
    return make_context(type="probe", attempt=2, line=line)


@pytest.mark.parametrize(
    ("fraction", "message"), [(0, None), (0.25, "a quarter"), (1, "ü ✓"), (True, "done")]
)
def test_progress_arrives_as_it_was_said(
    context: TaskContext, line: RecordingLine, fraction: float, message: str | None
) -> None:
    context.progress(fraction, message)
    assert [Progress.decoded(data) for data in line.progress] == [(float(fraction), message)]


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_fraction_out_of_range_is_refused(context: TaskContext, fraction: float) -> None:
    with pytest.raises(ValueError, match="progress is a fraction from 0 to 1, not "):
        context.progress(fraction)


@pytest.mark.parametrize("character", ["x", "\0", "✓", "😀", "\ud800", '"'])
def test_a_message_of_any_characters_is_cut_and_fits_into_a_note(
    context: TaskContext, line: RecordingLine, character: str
) -> None:
    context.progress(0.5, character * 10_000)
    assert len(line.progress[0]) <= MAX_PROGRESS_BYTES
    message = Progress.decoded(line.progress[0]).message
    assert message is not None
    assert len(message) == MAX_MESSAGE_CHARACTERS


def test_what_is_no_text_is_said_as_text(context: TaskContext, line: RecordingLine) -> None:
    message: object = 5
    context.progress(0.5, message)  # type: ignore[arg-type] # the mistake
    assert json.loads(line.progress[0]) == [0.5, "5"]


def test_an_attempt_sees_that_it_should_stop(context: TaskContext, line: RecordingLine) -> None:
    assert not context.cancelled
    line.is_stop_asked = True
    assert context.cancelled


def test_without_a_line_nothing_is_said_and_nothing_asked(make_context: MakeContext) -> None:
    context = make_context()
    context.progress(0.5)
    assert not context.cancelled


def test_the_logger_s_lines_carry_the_task(context: TaskContext) -> None:
    with capture_logs() as lines:
        context.logger.info("half way", rows=3)
    assert lines == [
        {
            "event": "half way",
            "rows": 3,
            "log_level": "info",
            "logger_name": "task.probe",
            "task_id": "the-task",
            "type": "probe",
            "attempt": 2,
        }
    ]
    assert context.logger is context.logger


def test_a_context_crosses_a_process_border(make_context: MakeContext) -> None:
    context = make_context(type="probe")
    assert pickle.loads(pickle.dumps(context)) == context
