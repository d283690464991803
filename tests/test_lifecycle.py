"""The transitions: from which states each is allowed, what it changes, and what it never does."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from afterwards.errors import IllegalTransition, StaleReport
from afterwards.lifecycle import (
    FINAL_STATES,
    MAX_DELAY_SECONDS,
    MAX_ERROR_CHARACTERS,
    MAX_LOST_ATTEMPTS,
    MAX_LOST_WITH_WORKERS,
    Change,
    Kind,
    Task,
    TaskState,
)

SCHEDULED, PENDING, PROCESSING = TaskState.SCHEDULED, TaskState.PENDING, TaskState.PROCESSING
SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED

NEW = Task(
    id="6f1f8c1e-0000-4000-8000-000000000001",
    type="note",
    payload=b"{}",
    executor="async",
    created_at=1.0,
    run_at=1.0,
)
RUNNING = NEW.claim("service:1:2", 2.0)

IN_STATE = {
    SCHEDULED: RUNNING.back_off(1, "busy", 5.0, 3.0),
    PENDING: NEW,
    PROCESSING: RUNNING,
    SUCCESS: RUNNING.succeed(1, b"1", 3.0),
    FAILED: RUNNING.fail(1, "no", 3.0),
    CANCELLED: NEW.cancel(3.0),
}

Verb = Callable[[Task], Task]

BY_HAND_AND_TIME: dict[str, tuple[Verb, set[TaskState]]] = {
    "become due": (lambda task: task.become_due(), {SCHEDULED}),
    "claim": (lambda task: task.claim("service:1:2", 9.0), {PENDING}),
    "expire": (lambda task: replace(task, deadline=9.0).expire(9.0), {SCHEDULED, PENDING}),
    "cancel": (lambda task: task.cancel(9.0), {SCHEDULED, PENDING, PROCESSING}),
    "give way": (lambda task: task.give_way("another", 9.0), {SCHEDULED, PENDING}),
    "retry": (lambda task: task.retry(9.0), {FAILED, CANCELLED}),
    "retry later": (lambda task: task.retry(9.0, run_at=20.0), {FAILED, CANCELLED}),
    "run now": (lambda task: task.run(9.0), {SCHEDULED}),
}

REPORTS: dict[str, Callable[[Task, int], Task]] = {
    "succeed": lambda task, attempt: task.succeed(attempt, b"1", 9.0),
    "fail": lambda task, attempt: task.fail(attempt, "no", 9.0),
    "back off": lambda task, attempt: task.back_off(attempt, "no", 1.0, 9.0),
    "release": lambda task, attempt: task.release(attempt, "stopping", 9.0),
    "lose": lambda task, attempt: task.lose(attempt, "gone", 9.0),
    "suspect": lambda task, attempt: task.suspect(attempt, "gone", 5, 9.0),
    "stop": lambda task, attempt: task.stop(attempt, 9.0),
}


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("verb", BY_HAND_AND_TIME)
def test_a_verb_is_legal_in_its_states_only(verb: str, state: TaskState) -> None:
    transition, legal = BY_HAND_AND_TIME[verb]
    task = IN_STATE[state]

    if state in legal:
        assert transition(task) != task
    else:
        with pytest.raises(IllegalTransition):
            transition(task)
    assert task == IN_STATE[state]


@pytest.mark.parametrize("state", TaskState)
def test_what_is_finished_can_be_deleted_and_nothing_else(state: TaskState) -> None:
    if state.is_final:
        IN_STATE[state].delete()
    else:
        with pytest.raises(IllegalTransition, match="cannot be deleted; cancel it first"):
            IN_STATE[state].delete()


@pytest.mark.parametrize("state", sorted(set(TaskState) - {PROCESSING}))
@pytest.mark.parametrize("report", REPORTS)
def test_no_report_is_accepted_while_nothing_runs(report: str, state: TaskState) -> None:
    with pytest.raises(StaleReport):
        REPORTS[report](IN_STATE[state], IN_STATE[state].attempt)


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("attempt", [0, 2])
def test_no_report_of_another_attempt_is_accepted(report: str, attempt: int) -> None:
    with pytest.raises(StaleReport) as caught:
        REPORTS[report](RUNNING, attempt)

    assert (caught.value.attempt, caught.value.current) == (attempt, 1)


def test_only_finished_states_are_final() -> None:
    assert {state for state in TaskState if state.is_final} == {SUCCESS, FAILED, CANCELLED}
    for state, task in IN_STATE.items():
        assert (task.finished_at is not None) == (state in FINAL_STATES)


def test_only_what_is_processing_has_a_worker_and_only_a_success_a_result() -> None:
    for state, task in IN_STATE.items():
        assert (task.worker is not None) == (state is PROCESSING)
        assert (task.result is not None) == (state is SUCCESS)


def test_the_attempt_number_grows_with_each_claim_and_never_falls() -> None:
    task = NEW
    for attempt in range(1, 6):
        task = task.claim("service:1:2", 9.0)
        assert task.attempt == attempt
        task = (
            task.fail(attempt, "no", 9.0).retry(9.0)
            if attempt % 2
            else task.release(attempt, "stopping", 9.0)
        )
        assert task.attempt == attempt


def test_a_backoff_keeps_its_delay_and_its_due_time() -> None:
    task = RUNNING.back_off(1, "busy", 5.0, 100.0)

    assert (task.state, task.delay_seconds, task.run_at) == (SCHEDULED, 5.0, 105.0)
    assert (task.error, task.attempts_used) == ("busy", 1)
    assert (task.become_due().delay_seconds, task.become_due().error) == (None, "busy")


def test_the_last_attempt_fails_instead_of_backing_off() -> None:
    task = NEW
    for attempt in range(1, task.max_attempts):
        task = task.claim("a:1:2", 2.0).back_off(attempt, "busy", 1.0, 3.0).become_due()

    task = task.claim("a:1:2", 2.0).back_off(task.max_attempts, "busy", 1.0, 3.0)

    assert (task.state, task.attempts_used, task.delay_seconds) == (FAILED, 3, None)


@pytest.mark.parametrize("report", ["release", "lose"])
def test_what_is_given_back_is_due_from_then_on(report: str) -> None:
    assert REPORTS[report](RUNNING, 1).run_at == 9.0


def test_tasks_are_created_in_the_order_in_which_they_are_accepted() -> None:
    assert NEW.accepted(7, not_before=0.5) == replace(NEW, order=7)
    assert NEW.accepted(7, not_before=5.0) == replace(NEW, order=7, created_at=5.0)


def test_what_expires_has_failed_and_says_why() -> None:
    task = replace(NEW, deadline=1_750_000_000.0)
    assert (task.is_late(1_749_999_999.0), task.is_late(1_750_000_000.0)) == (False, True)

    expired = task.expire(1_750_000_001.0)

    assert (expired.state, expired.reason) == (FAILED, "deadline passed")
    assert expired.error == "Not started before its deadline 2025-06-15T15:06:40+00:00"
    assert (expired.attempts_used, expired.finished_at) == (0, 1_750_000_001.0)


def test_what_expires_between_two_attempts_keeps_the_error_of_the_last() -> None:
    expired = replace(IN_STATE[SCHEDULED], deadline=7.0).expire(7.5)

    assert expired.error == (
        "Not started before its deadline 1970-01-01T00:00:07+00:00; the last attempt: busy"
    )


def test_a_deadline_before_all_times_can_be_told() -> None:
    assert replace(NEW, deadline=-1e12).expire(1.0).error is not None


def test_an_attempt_that_would_start_after_the_deadline_is_not_waited_for() -> None:
    task = replace(RUNNING, deadline=8.0)
    assert task.back_off(1, "busy", 4.9, 3.0).state is SCHEDULED

    failed = task.back_off(1, "busy", 5.0, 3.0)

    assert (failed.state, failed.attempts_used) == (FAILED, 1)
    assert failed.error == "No attempt left before its deadline 1970-01-01T00:00:08+00:00: busy"


@pytest.mark.parametrize(("deadline", "kept"), [(None, None), (60.0, 60.0), (50.0, None)])
def test_a_retry_by_hand_drops_a_deadline_that_has_passed(
    deadline: float | None, kept: float | None
) -> None:
    assert replace(IN_STATE[FAILED], deadline=deadline).retry(50.0).deadline == kept


def test_a_retry_by_hand_may_bring_another_payload() -> None:
    assert IN_STATE[FAILED].retry(50.0).payload == b"{}"
    assert IN_STATE[FAILED].retry(50.0, b'{"n":2}').payload == b'{"n":2}'


def test_a_success_forgets_the_errors_before_it() -> None:
    task = RUNNING.back_off(1, "busy", 1.0, 3.0).become_due().claim("a:1:2", 5.0)

    assert task.succeed(2, b"1", 6.0).error is None


@pytest.mark.parametrize("alone", [True, False])
def test_losing_and_failing_have_budgets_of_their_own(*, alone: bool) -> None:
    task = dataclasses.replace(RUNNING, crowd=0 if alone else 1)
    for lost in range(1, MAX_LOST_ATTEMPTS):
        task = task.lose(task.attempt, "killed", 9.0, alone=alone)
        assert (task.state, task.lost_attempts, task.attempts_used) == (PENDING, lost, 0)
        task = task.claim("a:1:2", 9.0)

    task = task.lose(task.attempt, "killed", 9.0, alone=alone)

    assert (task.state, task.reason) == (FAILED, "lost too often")
    assert task.error == "3 attempts were lost; the last: killed"


def test_a_third_loss_among_others_asks_for_one_more_attempt_alone() -> None:
    task = dataclasses.replace(RUNNING, lost_attempts=MAX_LOST_ATTEMPTS - 1, crowd=7)

    suspect = task.lose(1, "worker died", 9.0)

    assert (suspect.state, suspect.crowd) == (PENDING, 1)
    assert suspect.reason == "attempt 1 lost: worker died"
    failed = suspect.claim("a:1:2", 9.0).lose(2, "worker died", 10.0)
    assert (failed.state, failed.lost_attempts) == (FAILED, MAX_LOST_ATTEMPTS)


def test_a_loss_with_a_worker_weighs_less_and_one_alone_as_much_as_ever() -> None:
    task = dataclasses.replace(RUNNING, lost_attempts=MAX_LOST_ATTEMPTS - 1)

    innocent = task.lose(1, "worker died", 9.0, most=MAX_LOST_WITH_WORKERS)
    guilty = innocent.claim("a:1:2", 9.0).lose(2, "killed", 10.0, alone=True)

    assert (innocent.state, innocent.crowd, innocent.lost_attempts) == (PENDING, 0, 3)
    assert (guilty.state, guilty.error) == (FAILED, "4 attempts were lost; the last: killed")


def test_a_suspect_is_in_a_smaller_crowd_each_time_and_counts_nowhere() -> None:
    task, crowds = RUNNING, []
    for reported in (625, 78, 9, 1):
        task = task.suspect(task.attempt, "killed", reported, 9.0)
        assert (task.state, task.lost_attempts, task.attempts_used) == (PENDING, 0, 0)
        assert (task.error, task.run_at, task.worker) == ("killed", 9.0, None)
        crowds.append(task.crowd)
        task = task.claim("a:1:2", 9.0)

    assert crowds == [625, 78, 9, 1]
    assert task.suspect(task.attempt, "killed", 1, 9.0).lost_attempts == 1


@pytest.mark.parametrize("reported", [0, -5, 10**9])
def test_whatever_is_reported_a_crowd_is_at_least_one_and_gets_smaller(reported: int) -> None:
    suspect = dataclasses.replace(RUNNING, crowd=9).suspect(1, "killed", reported, 9.0)

    assert suspect.crowd == 1


def test_a_change_by_hand_replaces_what_it_names_and_nothing_else() -> None:
    waiting = RUNNING.back_off(1, "busy", 60.0, 3.0)

    assert waiting.amend() == dataclasses.replace(waiting, reason="changed by hand")
    changed = waiting.amend(b"{}", Kind("other", "process", 9), 50.0)
    assert (changed.type, changed.executor, changed.max_attempts) == ("other", "process", 9)
    assert (changed.payload, changed.run_at, changed.delay_seconds) == (b"{}", 50.0, None)
    assert (changed.attempts_used, changed.error) == (1, "busy")


def test_a_retry_by_hand_resets_the_budgets_and_the_times_but_not_the_fence() -> None:
    failed = RUNNING.back_off(1, "busy", 1.0, 3.0).become_due().claim("a:1:2", 5.0).fail(2, "no", 6)

    retried = failed.retry(50.0)

    assert retried == dataclasses.replace(
        NEW, attempt=2, retries=1, run_at=50.0, reason="retried by hand"
    )


@pytest.mark.parametrize(
    ("report", "state"),
    [
        ("succeed", SUCCESS),
        ("fail", FAILED),
        ("back off", CANCELLED),
        ("release", CANCELLED),
        ("lose", CANCELLED),
        ("suspect", CANCELLED),
        ("stop", CANCELLED),
    ],
)
def test_a_cancelled_attempt_ends_as_its_holder_says_and_never_waits_again(
    report: str, state: TaskState
) -> None:
    asked = RUNNING.cancel(3.0)
    assert (asked.state, asked.cancel_requested) == (PROCESSING, True)

    ended = REPORTS[report](asked, 1)

    assert (ended.state, ended.cancel_requested) == (state, False)


def test_nobody_stops_what_nobody_has_cancelled() -> None:
    with pytest.raises(IllegalTransition, match="stop without a cancellation"):
        RUNNING.stop(1, 3.0)


@pytest.mark.parametrize("report", ["fail", "back off", "lose"])
def test_long_errors_are_cut_wherever_they_come_from(report: str) -> None:
    error = "x" * (2 * MAX_ERROR_CHARACTERS)
    task = {
        "fail": lambda: RUNNING.fail(1, error, 3.0),
        "back off": lambda: RUNNING.back_off(1, error, 1.0, 3.0),
        "lose": lambda: RUNNING.lose(1, error, 3.0),
    }[report]()

    assert task.error == "x" * (MAX_ERROR_CHARACTERS - 1) + "…"
    assert len(task.reason) < MAX_ERROR_CHARACTERS + 100


def test_foreign_texts_that_nobody_could_store_are_made_storable() -> None:
    text = "a file \udc80 ü"

    assert RUNNING.fail(1, text, 3.0).error == "a file ? ü"
    assert RUNNING.release(1, text, 3.0).reason == "a file ? ü"
    for task in (RUNNING.lose(1, text, 3.0), RUNNING.back_off(1, text, 1.0, 3.0)):
        assert f"{task.error} {task.reason}".encode()


def test_a_transition_returns_a_new_task_that_equals_one_made_by_hand() -> None:
    assert RUNNING is not NEW
    assert (
        dataclasses.replace(
            NEW,
            state=PROCESSING,
            attempt=1,
            worker="service:1:2",
            started_at=2.0,
            reason="claimed",
        )
        == RUNNING
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        RUNNING.state = SUCCESS  # type: ignore[misc] # the mistake


@pytest.mark.parametrize("task", [NEW, RUNNING, RUNNING.succeed(1, b"{}", 3.0)])
def test_a_task_is_the_same_in_another_process_and_travels_without_the_names_of_its_fields(
    task: Task,
) -> None:
    sent = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)

    arrived = pickle.loads(sent)
    assert arrived == task
    assert arrived.state is task.state
    # As the transitions go on to need it.
    assert [*vars(arrived).items()] == [*vars(task).items()]
    assert b"idempotency_key" not in sent


def test_a_change_is_about_the_task_as_it_is_or_was() -> None:
    assert Change(NEW, RUNNING).task is RUNNING
    assert Change(NEW, None).task is NEW


@pytest.mark.parametrize("asked", [1e300, math.inf, math.nan, MAX_DELAY_SECONDS * 2])
def test_nothing_waits_longer_than_ten_years(asked: float) -> None:
    claimed = NEW.claim("w", 1.0)
    waiting = claimed.back_off(1, "busy", asked, 1.0)
    assert (waiting.delay_seconds, waiting.run_at) == (MAX_DELAY_SECONDS, 1.0 + MAX_DELAY_SECONDS)
    assert NEW.postponed(2.0, asked).delay_seconds == MAX_DELAY_SECONDS


def test_a_negative_delay_is_none() -> None:
    assert NEW.claim("w", 1.0).back_off(1, "busy", -5.0, 1.0).run_at == 1.0


def test_a_deadline_that_cannot_be_shown_fails_all_the_same() -> None:
    expired = replace(NEW, deadline=1e300).expire(2e300)
    assert "before its deadline 9999-12-31" in str(expired.error)
