"""The work of a fake service: due tasks end as the test has said for their type, or wait."""

from __future__ import annotations

import json
from collections.abc import Mapping

from afterwards_client.testing.record import Record
from afterwards_client.testing.store import Store
from afterwards_client.testing.task_types import FakeTypes, Run


class Failed(Exception):
    """The error of a task that fails as the test has said: its text is the task's error."""


def ending_with(result: Mapping[str, object]) -> Run:
    """Work that gives this result."""
    return lambda _: result


def failing_with(error: str) -> Run:
    """Work that fails with this error."""

    def run(_: Mapping[str, object]) -> Mapping[str, object]:
        raise Failed(error)

    return run


def do_due(store: Store, types: FakeTypes) -> None:
    """Have due tasks run that the test has said something of."""
    for record in store.make_due():
        task_type = types.find(record.type)
        if task_type is None or task_type.run is None or task_type.paused:
            continue
        # Another one's run may have ended it meanwhile.
        if record.status == "pending":
            _run(store, record, task_type.run)


def _run(store: Store, record: Record, run: Run) -> None:
    store.start(record)
    try:
        result = run(json.loads(json.dumps(record.payload)))
        record.result = json.loads(json.dumps(result, allow_nan=False))
    except Failed as error:
        store.end(record, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - it is the application's, and is told as the task's error
        store.end(record, "failed", f"{type(error).__name__}: {error}")
    else:
        store.end(record, "success")
