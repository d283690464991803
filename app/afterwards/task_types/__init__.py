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
from afterwards.task_types.http import HTTP
from afterwards.task_types.notification import NOTIFICATION
from afterwards.task_types.report import REPORT
from afterwards.task_types.webhook import WEBHOOK

__all__ = ["CATALOGUE", "TaskType", "built_in"]

CATALOGUE: Final[Mapping[str, TaskType]] = MappingProxyType(
    {task_type.name: task_type for task_type in (NOTIFICATION, REPORT, FILE, EMAIL, HTTP, WEBHOOK)}
)
"""Every built-in task type by its name. A new one is a module and its mention here."""


def built_in(names: tuple[str, ...] | None) -> Mapping[str, TaskType]:
    """The built-in task types of these names, by their names; None: all of them.

    Raises:
        KeyError: there is none of that name.
    """
    if names is None:
        return CATALOGUE
    return MappingProxyType({name: CATALOGUE[name] for name in names})
