"""Notices: what a receiver is told of a task that has ended."""

from __future__ import annotations

import json

from afterwards.lifecycle import Task, TaskState
from afterwards.webhooks.notice import notice_of, trial_notice, webhook_id

TASK = Task(
    id="6b1d0f0e-0000-4000-8000-000000000001",
    type="email",
    payload=b'{"private":1}',
    executor="async",
    created_at=0.5,
    run_at=0.5,
    state=TaskState.FAILED,
    error="Mailbox is full",
    finished_at=61.25,
    labels='{"tenant":"acme"}',
    retries=2,
)


def test_a_notice_says_which_task_ended_how_and_nothing_of_its_payload() -> None:
    told = json.loads(notice_of(TASK, "orders"))
    assert told["webhook"] == "orders"
    assert told["event"] == {
        "type": "task.failed",
        "timestamp": "1970-01-01T00:01:01.250Z",
        "data": {
            "id": TASK.id,
            "type": "email",
            "status": "failed",
            "labels": {"tenant": "acme"},
            "retries": 2,
            "created_at": "1970-01-01T00:00:00.500Z",
            "finished_at": "1970-01-01T00:01:01.250Z",
            "error": "Mailbox is full",
        },
    }


def test_each_end_of_a_task_has_an_id_of_its_own_without_a_full_stop() -> None:
    assert json.loads(notice_of(TASK, None))["id"] == webhook_id(TASK)
    assert webhook_id(TASK) == f"{TASK.id}_2_failed"
    assert "." not in webhook_id(TASK)


def test_a_test_tells_of_no_task() -> None:
    told = json.loads(trial_notice("an-id", "orders", 0.0))
    assert told["event"]["type"] == "webhook.test"
    assert told["id"] == "an-id_test"
