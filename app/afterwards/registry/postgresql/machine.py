"""The processes of this machine, as far as a registry object has to do with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.clock import Clock, SystemClock
from afterwards.registry.protocol.incarnation import end, is_alive, when_gone


@dataclass(frozen=True)
class Machine:
    """The machine as a registry sees it; tests bring their own.

    The time of records is the database's (`afterwards.wall`); `clock` measures leases.
    """

    clock: Clock = field(default_factory=SystemClock)
    is_alive: Callable[[Worker], bool] = is_alive
    end: Callable[[Worker], None] = end
    """As `afterwards.registry.protocol.incarnation.end`."""
    when_gone: Callable[[Worker, Callable[[], None]], None] = when_gone
    """As `afterwards.registry.protocol.incarnation.when_gone`."""
