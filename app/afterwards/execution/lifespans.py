"""Lifespans of task modules: entered before a process' first attempt, left when it ends.

Where attempts are coroutines a lifespan lives on their event loop, so that they can use what is
bound to it. Elsewhere it has a loop of its own, in a thread that lasts as long as the process.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import Any, Final

from afterwards.logs import get_logger
from afterwards.task_types.task_module import TaskModule
from afterwards_executors.base import describe
from afterwards_executors.host_end import at_end
from afterwards_executors.retry import TransientError

log = get_logger(__name__)

LEAVE_SECONDS: Final = 1.5
"""The time in which a lifespan has to be left; its process is killed soon after that."""


class LifespanFailed(TransientError):
    """The lifespan could not be entered. The next attempt tries again."""


class _Lifespan:
    """One module's, on one event loop: a task, because it has to be left where it was entered."""

    def __init__(self, module: TaskModule, name: str) -> None:
        self._module = module
        self._name = name
        self._over = asyncio.Event()
        self._entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(), name=f"lifespan of {name}")

    @property
    def has_failed(self) -> bool:
        """True if it has ended, and has to be entered anew."""
        return self._task.done()

    async def resources(self) -> Any:
        """The value that it has yielded. Raises `LifespanFailed`."""
        # Whoever waits may be cancelled; others wait for the same.
        return await asyncio.shield(self._entered)

    async def leave(self) -> None:
        """Leave it, if it was entered."""
        self._over.set()
        if not self._entered.done():
            self._task.cancel()
        await asyncio.wait([self._task], timeout=LEAVE_SECONDS)
        if not self._task.done():
            log.warning("lifespan takes too long to be left", module=self._name)

    async def _live(self) -> None:
        try:
            async with self._module.lifespan() as resources:
                self._entered.set_result(resources)
                await self._over.wait()
        # One that exits would take the event loop with it, and all other attempts.
        except BaseException as error:
            if self._entered.done():
                log.warning("lifespan failed when it was left", module=self._name, exc_info=error)
                return
            log.warning("lifespan failed", module=self._name, exc_info=error)
            kind, reason = type(error).__name__, describe(error)
            message = reason if reason == kind else f"{kind}: {reason}"
            self._entered.set_exception(
                LifespanFailed(f"The lifespan of {self._name} failed: {message}")
            )
            # It may be that nobody waits any more.
            self._entered.exception()


class Lifespans:
    """Those of one event loop."""

    def __init__(self) -> None:
        self._lifespans: dict[TaskModule, _Lifespan] = {}

    async def resources(self, module: TaskModule, name: str) -> Any:
        """The value that the module's lifespan has yielded here; enters it if need be.

        Raises:
            LifespanFailed: it cannot be entered.
        """
        lifespan = self._lifespans.get(module)
        if lifespan is None or lifespan.has_failed:
            if lifespan is None:
                at_end(partial(self._leave, module))
            lifespan = self._lifespans[module] = _Lifespan(module, name)
        return await lifespan.resources()

    async def _leave(self, module: TaskModule) -> None:
        await self._lifespans[module].leave()


class ThreadedLifespans:
    """Those of a process whose attempts have no event loop, on a loop in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifespans: dict[TaskModule, _Lifespan] = {}

    def resources(self, module: TaskModule, name: str) -> Any:
        """As `Lifespans.resources`. Blocks."""
        with self._lock:
            if self._loop is None:
                self._loop = self._start()
        return asyncio.run_coroutine_threadsafe(self._resources(module, name), self._loop).result()

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="lifespans", daemon=True).start()
        at_end(self._leave_all)
        return loop

    async def _resources(self, module: TaskModule, name: str) -> Any:
        lifespan = self._lifespans.get(module)
        if lifespan is None or lifespan.has_failed:
            lifespan = self._lifespans[module] = _Lifespan(module, name)
        return await lifespan.resources()

    def _leave_all(self) -> None:
        """Leave all at once: time is short."""
        assert self._loop is not None
        leaving = asyncio.run_coroutine_threadsafe(self._leave(), self._loop)
        with suppress(TimeoutError):
            leaving.result(LEAVE_SECONDS + 0.2)

    async def _leave(self) -> None:
        await asyncio.gather(*(lifespan.leave() for lifespan in self._lifespans.values()))


ON_LOOP: Final = Lifespans()
"""The lifespans of the event loop that this process' attempts run on."""

IN_THREAD: Final = ThreadedLifespans()
"""The lifespans of attempts of this process that are plain functions."""
