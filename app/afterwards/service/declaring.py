"""A worker declares the schedules of its task modules: tried until the registry has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from afterwards.errors import AfterwardsError
from afterwards.logs import get_logger
from afterwards.registry.protocol.requests import DeclareSchedules
from afterwards.schedules.schedule import Schedule
from afterwards.service.intake import TaskRequest
from afterwards.service.operations import Operations
from afterwards.system.trouble import Trouble
from afterwards.task_types.declaration import Declaration

log = get_logger(__name__)

AGAIN_SECONDS: Final = 5.0
"""The time until schedules that were not taken are declared again."""


class Declaring:
    """Belongs to one event loop."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._under_way: asyncio.Task[None] | None = None
        self._trouble = Trouble(
            log,
            "schedules of task modules are not taken; trying again",
        )

    def begin(self, generation: int, declarations: Sequence[Declaration]) -> None:
        """Declare the schedules of a generation, instead of those of any before.

        To be called once the service has the task types of that generation.
        """
        schedules = [self._schedule(one) for one in declarations]
        if self._under_way is not None:
            self._under_way.cancel()
        request = DeclareSchedules(generation, schedules)
        self._under_way = asyncio.create_task(self._declare(request))

    async def end(self) -> None:
        """Declare no more."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait([self._under_way])

    async def _declare(self, request: DeclareSchedules) -> None:
        while True:
            try:
                await self._operations.declare_schedules(request)
            except AfterwardsError as error:
                self._trouble.failed(error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._trouble.over()
                return

    def _schedule(self, one: Declaration) -> Schedule:
        wanted = TaskRequest(
            one.type,
            one.payload.encode(),
            priority=one.priority,
            max_attempts=one.max_attempts,
            timeout_seconds=one.timeout_seconds,
            labels=one.labels,
            concurrency_key=one.concurrency_key,
            unique_key=one.unique_key,
        )
        return Schedule(
            name=one.name,
            pattern=self._operations.pattern(wanted),
            cron=one.cron,
            every_seconds=one.every_seconds,
            timezone=one.timezone,
            catch_up=one.catch_up,
            created_at=time.time(),
            module=one.module,
        )
