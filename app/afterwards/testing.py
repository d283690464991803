"""For the tests of one's own task types: run them without a service."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afterwards.execution.attempt import encode_result
from afterwards.task_types.base import TaskContext, TaskType
from afterwards.task_types.context import Environment, Progress

__all__ = ["RecordingContext", "run_once"]


class RecordingContext(TaskContext):
    """A context whose progress can be looked at, and that can be cancelled."""

    def __init__(
        self, task_id: str = "test-task", *, attempt: int = 1, attempts_used: int = 0
    ) -> None:
        environment = Environment(Path.cwd(), 0.0, 0.0, 0.0, 0.0, max_result_bytes=2**20)
        self._line = _RecordingLine()
        super().__init__(task_id, attempt, attempts_used, environment, type="test", line=self._line)

    @property
    def reported(self) -> list[tuple[float, str | None]]:
        """Every fraction and message that was given to `progress`."""
        return [(progress.fraction, progress.message) for progress in self._line.reported]

    def cancel(self) -> None:
        """From now on `cancelled` is true."""
        self._line.is_stop_asked = True


class _RecordingLine:
    def __init__(self) -> None:
        self.reported: list[Progress] = []
        self.is_stop_asked = False

    def note(self, data: bytes) -> None:
        self.reported.append(Progress.decoded(data))

    def time_out_delay(self, seconds: float | None) -> None:
        """Nobody ends this attempt."""


def run_once(
    task_type: TaskType, payload: Mapping[str, Any], context: TaskContext | None = None
) -> dict[str, Any]:
    """One attempt as the service would make it, in this thread: what it would store as the result.

    Raises:
        pydantic.ValidationError: the payload does not fit the type's model.
        PermanentError: the result is no JSON object, or too large.
        Exception: whatever `run` raises.
    """
    # It is stored as it was sent, and the attempt reads it again.
    accepted = task_type.payload.model_validate_json(json.dumps(payload))
    context = RecordingContext() if context is None else context

    async def run() -> Any:
        result = task_type.run(accepted, context)
        return await result if inspect.isawaitable(result) else result

    # A plain function has no event loop around it there: it may start one of its own.
    is_async = task_type.executor == "async"
    result = asyncio.run(run()) if is_async else task_type.run(accepted, context)
    encoded = encode_result(result, context.environment.max_result_bytes)
    document: dict[str, Any] = json.loads(encoded)
    return document
