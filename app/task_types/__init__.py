"""The kinds of work there are: one module each, and the table of all.

A spawned child loads this package and little more, so nothing in it may import the HTTP layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.task_types.base import TaskType
from app.task_types.email import EMAIL
from app.task_types.file import FILE
from app.task_types.notification import NOTIFICATION
from app.task_types.report import REPORT

__all__ = ["CATALOGUE", "TaskType"]

CATALOGUE: Final[Mapping[str, TaskType]] = MappingProxyType(
    {task_type.name: task_type for task_type in (NOTIFICATION, REPORT, FILE, EMAIL)}
)
"""Every task type by its name. A new one is a module and its mention here."""
