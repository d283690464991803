"""The host of effects: runs attempts of built-in task types that reach the outside, and no others.

It is one more host of the kind `async`. It has secrets that hosts of task code never see, so it
loads no task module, and a reload of task code does not touch it.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Final

from afterwards.effects.settings import EffectSettings
from afterwards.task_types.task_module import TaskModule

NAME: Final = "the host of effects"

_modules: Final[list[TaskModule]] = []
"""One in the host of effects, none in any other process."""


def have_effects(settings: EffectSettings) -> None:
    """Make this process the host of effects."""
    # By name: the processes that only hand the settings on load no client.
    effects = importlib.import_module("afterwards.effects.effects")
    _modules[:] = [TaskModule(partial(effects.opened, settings))]


def effects_module() -> TaskModule | None:
    """The module whose lifespan yields the effects of this process; None: it has none."""
    return _modules[0] if _modules else None
