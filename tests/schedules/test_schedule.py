"""A schedule: what is due next, and the task it makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.exceptions import HTTPException

from afterwards.api.idempotency import key_of
from afterwards.schedules.schedule import due_key
from tests.registry.peers import make_schedule


def test_the_next_runs_begin_with_the_next_due_time() -> None:
    schedule = make_schedule(next_due=120.0)

    assert schedule.next_runs(3, 70.0) == [120.0, 180.0, 240.0]
    # It is just being fired.
    assert schedule.next_runs(2, 130.0) == [180.0, 240.0]
    # The clock was set back: due times do not move.
    assert schedule.next_runs(2, 10.0) == [120.0, 180.0]


def test_a_paused_schedule_has_no_next_runs() -> None:
    assert replace(make_schedule(), paused=True, next_due=None).next_runs(5, 0.0) == []


def test_the_task_of_a_due_time_is_the_pattern_with_its_times() -> None:
    schedule = make_schedule("nightly", next_due=120.0)

    task = schedule.task("an id", 120.0, 121.5)

    assert (task.id, task.schedule, task.created_at, task.run_at) == (
        "an id",
        "nightly",
        121.5,
        120.0,
    )
    assert (task.type, task.payload) == (schedule.pattern.type, schedule.pattern.payload)
    assert task.idempotency_key == due_key("nightly", 120.0) != due_key("nightly", 180.0)


@pytest.mark.parametrize("form", ["{}", '"{}"'])
def test_no_client_can_send_the_key_of_a_due_time(form: str) -> None:
    header = form.format(due_key("nightly", 120.0)).encode()

    with pytest.raises(HTTPException):
        key_of({"type": "http", "headers": [(b"idempotency-key", header)]})
