"""Starts hosts, in a thread that lasts: the kernel ends a host with the thread that started it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from afterwards_executors.frames import Setup
from afterwards_executors.hosts.process import HostProcess

Started = Callable[[HostProcess | Exception], None]

_RETRY_SECONDS: Final = 0.1


class Starter:
    """Starts one host after the other; nothing else waits for that.

    Args:
        name: of the thread, which is started with the first host.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: queue.SimpleQueue[tuple[Setup, Mapping[str, str], Started] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._offered: dict[int, HostProcess] = {}
        """Hosts that have been told of and not taken, by pid. A loop that ends takes none."""

    def start(self, setup: Setup, environment: Mapping[str, str], started: Started) -> None:
        """Start a host; `started` is called in the thread, with it or with what went wrong.

        The host has to be taken (`take`), or it ends with this object. If `started` raises
        RuntimeError, the host is not wanted any more, and is ended.

        Raises:
            RuntimeError, MemoryError: there is no thread to be had; `started` is not called.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        self._orders.put((setup, environment, started))

    def take(self, process: HostProcess) -> bool:
        """True if the host is the caller's from now on; False: it has been ended. In any thread."""
        return self._offered.pop(process.pid, None) is not None

    def close(self, timeout_seconds: float) -> None:
        """End the thread, and with it all hosts that it has started."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join(timeout_seconds)
        for process in list(self._offered.values()):
            if self.take(process):
                process.reap()

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            setup, environment, started = order
            try:
                result: HostProcess | Exception = HostProcess(setup, environment)
            except Exception as error:  # noqa: BLE001 - whatever has run out
                result = error
            self._tell(started, result)

    def _tell(self, started: Started, result: HostProcess | Exception) -> None:
        if isinstance(result, HostProcess):
            self._offered[result.pid] = result
        while True:
            try:
                started(result)
            except MemoryError:
                time.sleep(_RETRY_SECONDS)  # without this, its calls would wait for ever
            except RuntimeError:
                if isinstance(result, HostProcess) and self.take(result):
                    result.reap()
                return
            else:
                return
