from __future__ import annotations

import asyncio
import errno
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs
from tenacity import RetryCallState, retry_always

from afterwards.execution import attempt as attempts
from afterwards.execution.attempt import FUNCTIONS, Attempt, run_attempt, run_attempt_async
from afterwards.task_types.base import (
    Cancelled,
    Environment,
    Interrupted,
    PermanentError,
    RetryPolicy,
    SingleLine,
    TaskContext,
    TaskType,
    TransientError,
)
from afterwards.webhooks.webhook import Target
from afterwards_executors import this_host
from afterwards_executors.base import End, Outcome
from afterwards_executors.retry import Starved

CONTEXT = TaskContext(
    "the-task", 1, 0, Environment(Path("outputs"), 0, 0, 0, 0, max_result_bytes=100)
)


class Payload(BaseModel):
    number: int
    line: SingleLine = ""


RunIt = Callable[..., Outcome]


@pytest.fixture(params=["plain", "async"])
def run_it(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RunIt:
    """Run a task type made of a plain function, by each of the two ways there are."""

    def run(
        function: Callable[..., Any],
        payload: bytes = b'{"number":1}',
        type_name: str = "probe",
        **options: Any,
    ) -> Outcome:
        async def coroutine(payload: Any, context: TaskContext) -> Any:
            return function(payload, context)

        task_type = (
            TaskType("probe", Payload, function, executor="thread", **options)
            if request.param == "plain"
            else TaskType("probe", Payload, coroutine, **options)
        )
        monkeypatch.setattr(
            "afterwards.execution.attempt.load_catalogue", lambda *_: {"probe": task_type}
        )
        attempt = Attempt(type_name, payload, CONTEXT)
        if request.param == "plain":
            return run_attempt(attempt)
        return asyncio.run(run_attempt_async(attempt))

    return run


def raising(error: BaseException) -> Callable[..., Any]:
    def function(payload: Any, context: TaskContext) -> Any:
        raise error

    return function


def returning(result: object) -> Callable[..., Any]:
    return lambda payload, context: result


def test_a_success_is_the_result_as_json(run_it: RunIt) -> None:
    outcome = run_it(lambda payload, context: {"é": payload.number, "id": context.task_id})
    assert outcome.end is End.SUCCEEDED
    assert outcome.value == '{"é":1,"id":"the-task"}'.encode()
    assert outcome.error is None


def test_the_clock_covers_the_run(run_it: RunIt) -> None:
    def busy(payload: Any, context: TaskContext) -> dict[str, Any]:
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass
        return {}

    assert 0.02 <= run_it(busy).run_seconds < 5


def test_an_unknown_type_fails_for_good(run_it: RunIt) -> None:
    outcome = run_it(returning({}), type_name="gone")
    assert (outcome.end, outcome.transient) == (End.FAILED, False)
    assert (
        outcome.error
        == "There is no task type 'gone'; its module belongs into AFTERWARDS_TASK_MODULES"
    )


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b'{"number":"x","line":"a\\nb"}', ["number", "line"]),
        (b"{}", ["number"]),
        (b"no JSON", ["payload"]),
        (b"\xff", ["payload"]),
        (b'{"number":' + b"[" * 5_000, ["payload"]),
    ],
)
def test_a_payload_that_is_not_valid_fails_for_good_and_lists_its_fields(
    run_it: RunIt, payload: bytes, named: list[str]
) -> None:
    outcome = run_it(returning({}), payload, retry=RetryPolicy(retry=retry_always))
    assert (outcome.end, outcome.transient) == (End.FAILED, False)
    assert outcome.error is not None
    for field in named:
        assert f"{field}: " in outcome.error


@pytest.mark.parametrize(
    ("error", "message", "transient"),
    [
        (TransientError("busy"), "busy", True),
        (PermanentError("no"), "no", False),
        (ConnectionResetError("gone"), "ConnectionResetError: gone", True),
        (TimeoutError(), "TimeoutError", True),
        (KeyError("region"), "KeyError: 'region'", False),
        (ValueError(), "ValueError", False),
        (OSError(2, "No such file", "x"), "FileNotFoundError: [Errno 2] No such file: 'x'", False),
    ],
)
def test_what_a_task_raises_becomes_an_outcome(
    run_it: RunIt, error: Exception, message: str, transient: bool
) -> None:
    outcome = run_it(raising(error))
    assert (outcome.end, outcome.error, outcome.transient) == (End.FAILED, message, transient)
    assert (outcome.retry_in_seconds is not None) is transient


def test_a_policy_that_raises_does_not_hide_what_the_task_raised(run_it: RunIt) -> None:
    def broken(state: RetryCallState) -> bool:
        raise ValueError("a bug in the policy")

    outcome = run_it(raising(ConnectionError("gone")), retry=RetryPolicy(retry=cast("Any", broken)))
    assert (outcome.error, outcome.transient) == ("ConnectionError: gone", True)


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (KeyError("x"), [KeyError]),
        (PermanentError("x"), []),
        (TransientError("x"), []),
        (ConnectionError("x"), []),
    ],
)
def test_the_traceback_of_what_nobody_expected_is_logged(
    run_it: RunIt, error: Exception, logged: list[type]
) -> None:
    with capture_logs() as lines:
        run_it(raising(error))
    assert [type(line["exc_info"]) for line in lines] == logged


def test_the_types_own_policy_decides_what_is_transient(run_it: RunIt) -> None:
    policy = RetryPolicy(retry=retry_always)
    assert run_it(raising(KeyError("x")), retry=policy).transient
    assert not run_it(raising(PermanentError("x")), retry=policy).transient


@pytest.mark.parametrize("result", [None, [], "text", 1, b"{}"])
def test_a_result_that_is_no_object_fails_for_good(run_it: RunIt, result: object) -> None:
    outcome = run_it(returning(result))
    assert (outcome.end, outcome.transient) == (End.FAILED, False)
    assert outcome.error is not None
    assert "JSON object" in outcome.error


def _endless() -> dict[str, Any]:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    return circle


@pytest.mark.parametrize(
    "result",
    [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}, {"a": "\ud800"}, _endless()],
)
def test_a_result_that_cannot_be_written_fails_for_good(run_it: RunIt, result: object) -> None:
    outcome = run_it(returning(result))
    assert (outcome.end, outcome.transient) == (End.FAILED, False)
    assert outcome.error is not None
    assert "not JSON" in outcome.error


@pytest.mark.parametrize(("size", "end"), [(100, End.SUCCEEDED), (101, End.FAILED)])
def test_a_result_over_the_limit_fails_for_good_and_names_the_setting(
    run_it: RunIt, size: int, end: End
) -> None:
    outcome = run_it(returning({"a": "x" * (size - len('{"a":""}'))}))
    assert outcome.end is end
    if end is End.FAILED:
        assert not outcome.transient
        assert outcome.error == "The result has 101 bytes; AFTERWARDS_MAX_RESULT_BYTES allows 100"


def test_a_cancellation_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = asyncio.Event()

    async def wait_for_ever(payload: Any, context: TaskContext) -> dict[str, Any]:
        entered.set()
        await asyncio.Event().wait()
        return {}

    async def cancel_it() -> None:
        running = asyncio.create_task(run_attempt_async(Attempt("probe", b'{"number":1}', CONTEXT)))
        await entered.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    catalogue = {"probe": TaskType("probe", Payload, wait_for_ever)}
    monkeypatch.setattr("afterwards.execution.attempt.load_catalogue", lambda *_: catalogue)
    asyncio.run(cancel_it())


class ALine:
    def __init__(self, *, is_stop_asked: bool = False, is_stopping: bool = False) -> None:
        self.is_stop_asked = is_stop_asked
        self.is_stopping = is_stopping

    def send_progress(self, data: bytes) -> None:
        pass


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_task_that_stops_is_cancelled_if_that_was_asked_for_and_else_fails_for_good(
    run_it: RunIt, monkeypatch: pytest.MonkeyPatch, *, is_asked: bool
) -> None:
    monkeypatch.setattr(
        "afterwards.execution.attempt.current_line", lambda: ALine(is_stop_asked=is_asked)
    )
    outcome = run_it(raising(Cancelled("enough")), retry=RetryPolicy(retry=retry_always))

    assert not outcome.transient
    if is_asked:
        assert (outcome.end, outcome.error) == (End.CANCELLED, "Stopped when it was asked to")
    else:
        assert outcome.end is End.FAILED
        assert outcome.error == "The task raised Cancelled, but was not cancelled: enough"


@pytest.mark.parametrize("is_stopping", [True, False])
def test_a_task_that_is_interrupted_runs_again_if_its_process_stops_and_else_fails_for_good(
    run_it: RunIt, monkeypatch: pytest.MonkeyPatch, *, is_stopping: bool
) -> None:
    line = ALine(is_stopping=is_stopping)
    monkeypatch.setattr("afterwards.execution.attempt.current_line", lambda: line)
    outcome = run_it(raising(Interrupted("saved")), retry=RetryPolicy(retry=retry_always))

    assert not outcome.transient
    if is_stopping:
        # Which is a release, unless somebody has cancelled the task.
        assert (outcome.end, outcome.error) == (End.CANCELLED, "Stopped when it was asked to")
    else:
        assert outcome.end is End.FAILED
        assert outcome.error == "The task raised Interrupted, but nothing was stopping: saved"


def test_an_attempt_runs_on_the_line_of_its_call(
    run_it: RunIt, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ALine(is_stop_asked=True)
    monkeypatch.setattr("afterwards.execution.attempt.current_line", lambda: line)
    assert run_it(lambda payload, context: {"cancelled": context.cancelled}).value == (
        b'{"cancelled":true}'
    )
    # The line is the call, which holds the attempt: kept, they would be garbage in a circle.
    assert CONTEXT.line is None


def test_attempt_and_function_cross_a_process_border(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_environment", CONTEXT.environment)
    attempt = Attempt("report", b'{"name":"Sales","details":{}}', CONTEXT)
    function, copy = pickle.loads(pickle.dumps((FUNCTIONS["process"], attempt)))
    assert function(copy).value == b'{"message":"Report generated"}'


def test_what_a_task_type_logs_carries_the_task(run_it: RunIt) -> None:
    bound: dict[str, Any] = {}

    def work(payload: Payload, context: TaskContext) -> dict[str, str]:
        bound.update(get_contextvars())
        return {}

    assert run_it(work).end is End.SUCCEEDED
    assert (bound["task_id"], bound["type"], bound["attempt"]) == ("the-task", "probe", 1)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENFILE, "Too many open files in system"),
        RuntimeError("can't start new thread"),
        Starved("no descriptor"),
    ],
)
def test_what_has_run_out_in_the_whole_process_is_no_failure_of_the_task(
    run_it: RunIt, error: Exception
) -> None:
    outcome = run_it(raising(error))
    assert (outcome.end, outcome.transient) == (End.STARVED, True)
    assert str(error) in (outcome.error or "")


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (OSError(errno.EMFILE, "Too many open files"), End.FAILED),
        (RuntimeError("can't start new thread"), End.FAILED),
        (OSError(errno.ENFILE, "Too many open files in system"), End.STARVED),
    ],
)
def test_what_has_run_out_in_a_child_is_its_own_fault_unless_the_whole_system_lacks_it(
    run_it: RunIt, monkeypatch: pytest.MonkeyPatch, error: Exception, end: End
) -> None:
    monkeypatch.setattr(this_host, "_kind", "process")
    assert run_it(raising(error)).end is end


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")])
def test_memory_that_a_task_wants_too_much_of_is_its_own_affair(
    run_it: RunIt, error: Exception
) -> None:
    assert run_it(raising(error)).end is End.FAILED


@pytest.mark.parametrize(
    ("errors", "end", "transient", "message"),
    [
        ([TransientError("busy"), TimeoutError()], End.FAILED, True, "busy; TimeoutError"),
        ([TransientError("busy"), KeyError("x")], End.FAILED, False, "busy; KeyError: 'x'"),
        ([PermanentError("no"), Starved("x")], End.FAILED, False, "no; x"),
        ([Starved("x"), Starved("x")], End.STARVED, True, "x"),
    ],
)
def test_a_group_of_errors_counts_as_what_is_in_it(
    run_it: RunIt, errors: list[Exception], end: End, transient: bool, message: str
) -> None:
    outcome = run_it(raising(ExceptionGroup("unhandled errors in a TaskGroup", errors)))
    assert (outcome.end, outcome.transient, outcome.error) == (end, transient, message)


def test_a_wait_that_the_error_asks_for_goes_before_the_policy_s(run_it: RunIt) -> None:
    assert run_it(raising(TransientError("busy", retry_after=77))).retry_in_seconds == 77


def test_an_attempt_crosses_to_its_host_without_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = replace(CONTEXT.environment, output_dir=Path("there"))
    monkeypatch.setattr(attempts, "_environment", there)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    context = replace(CONTEXT, type="probe", trace=trace)

    sent = pickle.dumps(Attempt("probe", b"{}", context, 3))
    arrived = pickle.loads(sent)

    assert b"outputs" not in sent
    assert arrived == Attempt("probe", b"{}", replace(context, environment=there), 3)
    assert arrived.context.trace == trace


def test_an_attempt_cannot_be_loaded_where_nothing_is_prepared() -> None:
    sent = pickle.dumps(Attempt("probe", b"{}", CONTEXT))

    with pytest.raises(RuntimeError, match="not prepared"):
        pickle.loads(sent)


def test_a_delivery_takes_its_receiver_to_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_environment", CONTEXT.environment)
    target = Target("https://shop.example.com/finished", ("whsec_c2VjcmV0",))
    sent = pickle.dumps(Attempt("webhook", b"{}", replace(CONTEXT, target=target)))
    assert pickle.loads(sent).context.target == target
    assert pickle.loads(pickle.dumps(Attempt("probe", b"{}", CONTEXT))).context.target is None
