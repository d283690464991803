"""A report, generated from its details: the work that belongs in a process of its own."""

from __future__ import annotations

import time
from typing import Final

from pydantic import BaseModel, ConfigDict

from afterwards.task_types.base import JsonObject, TaskContext, TaskType

_GENERATED: Final = {"message": "Report generated"}


class ReportPayload(BaseModel):
    """The report to generate: its name and its details."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Sales Report", "details": {"month": "June", "region": "Asia"}}]
        }
    )

    name: str
    details: JsonObject


def _generate(_payload: ReportPayload, context: TaskContext) -> dict[str, str]:
    delay_seconds = context.environment.report_delay_seconds
    if delay_seconds:
        time.sleep(delay_seconds)
    return _GENERATED


REPORT: Final = TaskType("report", ReportPayload, _generate, executor="process")
