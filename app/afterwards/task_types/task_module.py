"""The declaration of a task module as a whole: `TaskModule`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, eq=False)
class TaskModule:
    """Stands at the top level of a task module and holds for all its task types.

    Raises:
        TypeError: the lifespan is none.
    """

    lifespan: Lifespan
    """Makes an async context manager. Each process that runs attempts of this module enters it
    before the first of them and leaves it when the process ends in order; what it yields is their
    `TaskContext.resources`."""

    def __post_init__(self) -> None:
        if not callable(self.lifespan):
            raise TypeError(f"lifespan must be a function, not {self.lifespan!r}")
        if inspect.isasyncgenfunction(self.lifespan):
            raise TypeError("lifespan must be decorated with contextlib.asynccontextmanager")
        try:
            inspect.signature(self.lifespan).bind()
        except TypeError:
            raise TypeError("lifespan must take no arguments") from None
        except ValueError:
            pass  # a callable that does not say what it takes
