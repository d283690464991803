"""The kinds of work there are: one module each, and the table of all.

A spawned child loads this package and little more, so nothing in it may import the HTTP layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from afterwards.task_types.base import TaskType
from afterwards.task_types.email import EMAIL
from afterwards.task_types.file import FILE
from afterwards.task_types.notification import NOTIFICATION
from afterwards.task_types.report import REPORT

__all__ = ["CATALOGUE", "TaskType"]

CATALOGUE: Final[Mapping[str, TaskType]] = MappingProxyType(
    {task_type.name: task_type for task_type in (NOTIFICATION, REPORT, FILE, EMAIL)}
)
"""Every task type by its name. A new one is a module and its mention here."""
