"""Threads for blocking work of the service itself, which no other work can fill.

Not the default executor of an event loop (`asyncio.to_thread`): every coroutine on that loop may
fill it, and what a ThreadPoolExecutor could start no thread for stays in its queue and runs later.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class NoThread(RuntimeError):
    """There is no thread, and none can be started."""


class OwnThreads:
    """At most so many daemon threads, started when they are first needed and then kept."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._changed = threading.Condition()
        # Below: under its lock.
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._started = 0
        self._idle = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in one of the threads. Cancelled before it has begun, it never begins.

        Raises:
            NoThread: there is no thread, and none can be started; it never begins.
        """
        future: Future[T] = Future()
        self._submit(future, partial(function, *args, **kwargs))
        return await asyncio.wrap_future(future)

    def _submit(self, future: Future[T], work: Callable[[], T]) -> None:
        with self._changed:
            if self._idle <= len(self._waiting) and self._started < self._most:
                self._start_another()
            self._waiting.append((future, work))
            self._changed.notify()

    def _start_another(self) -> None:
        name = f"{self._name}-{self._started}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            # The work here is short: where there is a thread, it may as well wait for that.
            if not self._started:
                # In the words of CPython's own, of which it is a kind.
                raise NoThread("can't start new thread") from error
        else:
            self._started += 1

    def _serve(self) -> None:
        while True:
            future, work = self._next()
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                    future.set_exception(error)
                else:
                    future.set_result(result)
            # Until the next one comes, nothing is to be kept that may be large.
            future = work = result = None  # type: ignore[assignment] # they are set anew before they are read

    def _next(self) -> tuple[Future[Any], Callable[[], Any]]:
        with self._changed:
            while not self._waiting:
                self._idle += 1
                try:
                    self._changed.wait()
                finally:
                    self._idle -= 1
            return self._waiting.popleft()
