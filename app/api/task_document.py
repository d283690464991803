"""A task as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from app.lifecycle import Task
from app.registry.base import ProgressMark


def base_document(task: Task, progress: ProgressMark | None = None) -> bytes:
    """What every answer says of a task."""
    members = {
        "id": task.id,
        "type": task.type,
        "status": task.state,
        "payload": json.loads(task.payload),
        "result": None if task.result is None else json.loads(task.result),
        "error": task.error,
        "created_at": shown_time(task.created_at),
        "attempts": task.attempt,
        "progress": None
        if progress is None
        else {"fraction": progress.fraction, "message": progress.message},
    }
    return json.dumps(members).encode()


def shown_time(seconds: float) -> str:
    """A time as the API shows it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
