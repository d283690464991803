"""Evidence that is made up, to try the judges out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.answers import AttemptRecord
from afterwards.registry.protocol.base import Worker
from tests.chaos.evidence import Evidence

WORKER = Worker("service", 101, 1)
FINISHED_AT = 1_000.25


def task(task_id: str, type_name: str, payload: Mapping[str, Any], **fields: Any) -> Task:
    """A task that has succeeded, unless `fields` say otherwise."""
    members: dict[str, Any] = {
        "state": TaskState.SUCCESS,
        "attempt": 1,
        "started_at": FINISHED_AT - 1,
        "finished_at": FINISHED_AT,
        **fields,
    }
    return Task(
        id=task_id,
        type=type_name,
        payload=json.dumps(payload).encode(),
        executor="async",
        created_at=FINISHED_AT - 2,
        run_at=FINISHED_AT - 2,
        **members,
    )


def attempt(
    number: int, outcome: str, begins: float = FINISHED_AT - 1, ends: float = FINISHED_AT
) -> AttemptRecord:
    """An attempt that has ended."""
    return AttemptRecord(number, str(WORKER), begins, begins, ends, outcome=outcome)


def evidence(*tasks: Task, **histories: list[AttemptRecord]) -> Evidence:
    """Tasks, with the histories of some by their ids."""
    return Evidence({one.id: one for one in tasks}, histories)
