"""A report, generated from its details: the work that belongs in a process of its own."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json

from afterwards.task_types.base import JsonObject, TaskContext, TaskType

_GENERATED: Final = {"message": "Report generated"}

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes text that begins so for a formula, and runs it (CWE-1236)."""


class ReportPayload(BaseModel):
    """The report to generate: its name and its details."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Sales Report", "details": {"month": "June", "region": "Asia"}}]
        }
    )

    name: str
    details: JsonObject


class FormattedReportPayload(ReportPayload):
    """The same, and the file to make of it."""

    format: Literal["csv"] | None = Field(
        None, description="`csv`: the task keeps its details as the artifact `report.csv`."
    )


def _generate(payload: FormattedReportPayload, context: TaskContext) -> dict[str, str]:
    delay_seconds = context.environment.report_delay_seconds
    if delay_seconds:
        time.sleep(delay_seconds)
    if payload.format == "csv":
        # RFC 4180: the writer ends its lines itself.
        with context.artifact("report.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("detail", "value"))
            writer.writerows(_rows(payload.details))
    return _GENERATED


def _rows(details: JsonValue, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value that is neither an object nor a list, with the path to it."""
    if isinstance(details, dict | list) and details:
        members = details.items() if isinstance(details, dict) else enumerate(details)
        for name, value in members:
            yield from _rows(value, f"{path}.{name}" if path else str(name))
    else:
        yield _harmless(path), _cell(details)


def _cell(value: JsonValue) -> str:
    if value is None:
        return ""
    return _harmless(value) if isinstance(value, str) else to_json(value).decode()


def _harmless(text: str) -> str:
    """The text as a spreadsheet shows it: an apostrophe before what would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


REPORT: Final = TaskType("report", FormattedReportPayload, _generate, executor="process")
