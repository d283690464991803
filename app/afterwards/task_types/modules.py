"""Task types of one's own: the modules that `AFTERWARDS_TASK_MODULES` names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType, ModuleType
from typing import Final, NamedTuple

from pydantic.errors import PydanticErrorMixin

import afterwards_executors
from afterwards.errors import ConfigurationError
from afterwards.task_types import CATALOGUE, built_in, snapshot
from afterwards.task_types.base import TaskType
from afterwards.task_types.fresh_sources import distrust_young_bytecode
from afterwards.task_types.schedule import Schedule
from afterwards.task_types.task_module import TaskModule

SETTING: Final = "AFTERWARDS_TASK_MODULES"

OWN_PACKAGES: Final = ("afterwards", "afterwards_client", "afterwards_executors")

_OWN_DIRECTORIES: Final = (Path(__file__).parents[1], Path(afterwards_executors.__file__).parent)


class Loaded(NamedTuple):
    """The contents of task modules, besides what comes with the service."""

    catalogue: Mapping[str, TaskType]
    """The built-in task types and those of the modules, by their names."""
    owners: Mapping[str, str]
    """Which module has which task type; without the built-in ones."""
    task_modules: Mapping[str, TaskModule]
    """By module, of those that have one."""
    schedules: Mapping[str, Sequence[Schedule]] = {}
    """By module, of those that declare any."""

    def task_module_of(self, type_name: str) -> tuple[str, TaskModule] | None:
        """The module of a task type and what it says of itself, if it does."""
        owner = self.owners.get(type_name)
        found = self.task_modules.get(owner) if owner is not None else None
        return None if owner is None or found is None else (owner, found)


def load_catalogue(
    modules: tuple[str, ...], names: tuple[str, ...] | None = None
) -> Mapping[str, TaskType]:
    """The built-in task types and those at the top level of `modules`, by their names.

    For processes that run task code: it imports the modules, once; from the import path, and from
    the current directory after that. What is known of the types elsewhere is `described`.

    Args:
        names: the built-in task types that are on; modules may use the names of others. None: all.

    Raises:
        ConfigurationError: one cannot be imported or has no task type, or two have the same name.
    """
    return load(modules, names).catalogue


@lru_cache(maxsize=8)
def load(modules: tuple[str, ...], names: tuple[str, ...] | None = None) -> Loaded:
    """As `load_catalogue`, with whose each type is."""
    ours = built_in(names)
    if not modules:
        return Loaded(ours, {}, {})
    found = dict(ours)
    owners = dict.fromkeys(ours, "the service itself")
    task_modules: dict[str, TaskModule] = {}
    schedules: dict[str, Sequence[Schedule]] = {}
    for name in modules:
        module = _imported(name)
        task_modules.update(_task_module(module, name))
        schedules.update(_schedules(module, name, schedules))
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, TaskType) and value is not CATALOGUE.get(value.name)
        ]
        if not own and name not in schedules:
            # With its file: it may be another module of this name.
            place = f" ({module.__file__})" if getattr(module, "__file__", None) else ""
            raise wrong(name, f"has no TaskType and no Schedule at its top level{place}")
        for task_type in own:
            _complete(task_type, name)
            # One that a module has imported from another is there twice.
            if found.setdefault(task_type.name, task_type) is not task_type:
                owner = owners[task_type.name]
                raise wrong(name, f"the name {task_type.name!r} is taken by {owner}; rename one")
            owners.setdefault(task_type.name, name)
    own_owners = {name: owner for name, owner in owners.items() if name not in ours}
    return Loaded(MappingProxyType(found), own_owners, task_modules, schedules)


def _imported(name: str) -> ModuleType:
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise wrong(name, "is not the name of a module, such as shop.tasks")
    if parts[0] in OWN_PACKAGES:
        raise wrong(name, f"{parts[0]!r} is a package of the service; yours needs another name")
    _make_current_directory_importable()
    distrust_young_bytecode()
    snapshot.use()
    try:
        return importlib.import_module(name)
    # A module may even exit.
    except BaseException as error:
        reason = one_line(error)
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            reason += f"; it is looked for on the import path and in {Path.cwd()}"
        raise wrong(name, reason) from error


def _task_module(module: ModuleType, name: str) -> dict[str, TaskModule]:
    # One that is bound twice is one.
    found = {id(one): one for one in vars(module).values() if isinstance(one, TaskModule)}
    if len(found) > 1:
        raise wrong(name, f"has {len(found)} TaskModules at its top level; it can have one")
    return dict.fromkeys([name], *found.values()) if found else {}


def _schedules(
    module: ModuleType, name: str, others: Mapping[str, Sequence[Schedule]]
) -> dict[str, Sequence[Schedule]]:
    """The schedules of a module, but for those that it has imported from one of the others."""
    found = {id(one): one for one in vars(module).values() if isinstance(one, Schedule)}
    taken = {one.name: one for declared in others.values() for one in declared}
    own: list[Schedule] = []
    for schedule in found.values():
        other = taken.setdefault(schedule.name, schedule)
        if other is schedule:
            own += [] if _is_in(schedule, others.values()) else [schedule]
        else:
            raise wrong(
                name,
                f"schedule {schedule.name!r}: the name is taken by another one ({other.place}); "
                f"rename one ({schedule.place})",
            )
    return {name: own} if found else {}


def _is_in(schedule: Schedule, groups: Iterable[Sequence[Schedule]]) -> bool:
    return any(one is schedule for group in groups for one in group)


def _complete(task_type: TaskType, module: str) -> None:
    # What an annotation names may be defined after the model, so this cannot be known before. One
    # that is nowhere would fail every request about task types, other people's included.
    try:
        task_type.payload.model_rebuild(_types_namespace={})
    except Exception as error:
        # Without the link that pydantic adds.
        reason = error.message if isinstance(error, PydanticErrorMixin) else one_line(error)
        problem = f"the payload of task type {task_type.name!r}: {reason}"
        raise wrong(module, problem) from error


def _make_current_directory_importable() -> None:
    # At the end: nothing that lies there may take the place of what the service itself imports.
    # Spawned children get the path from their parent.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def one_line(error: BaseException) -> str:
    """The error in one line, with the place where it was raised if that is in somebody's code."""
    message = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, SyntaxError):
        return reason  # It says where.
    frames = extract_tb(error.__traceback__)
    places = [frame for frame in frames if _is_somebodys(Path(frame.filename))]
    if places:
        return f"{reason} ({places[-1].filename}, line {places[-1].lineno})"
    return reason


def _is_somebodys(path: Path) -> bool:
    """True for a file of the module's author: not Python's, a library's or the service's.

    What is raised in those on his behalf, he has to mend in his own.
    """
    if not path.is_absolute() or "site-packages" in path.parts:
        return False
    others = (Path(importlib.__file__).parents[1], *_OWN_DIRECTORIES)
    return not any(path.is_relative_to(other) for other in others)


def wrong(module: str, problem: str) -> ConfigurationError:
    """A mistake in a task module."""
    return ConfigurationError(SETTING, f"{module}: {problem}")
