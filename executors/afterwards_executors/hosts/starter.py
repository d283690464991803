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

    def start(self, setup: Setup, environment: Mapping[str, str], started: Started) -> None:
        """Start a host; `started` is called in the thread, with it or with what went wrong.

        If `started` raises RuntimeError, nobody wants the host any more, and it is ended.

        Raises:
            RuntimeError, MemoryError: there is no thread to be had; `started` is not called.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        self._orders.put((setup, environment, started))

    def close(self, timeout_seconds: float) -> None:
        """End the thread, and with it all hosts that it has started."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join(timeout_seconds)

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            setup, environment, started = order
            try:
                result: HostProcess | Exception = HostProcess(setup, environment)
            except Exception as error:  # noqa: BLE001 - whatever has run out
                result = error
            self._tell(started, result)

    def _tell(self, started: Started, result: HostProcess | Exception) -> None:
        while True:
            try:
                started(result)
            except MemoryError:
                time.sleep(_RETRY_SECONDS)  # without this, its calls would wait for ever
            except RuntimeError:
                if isinstance(result, HostProcess):
                    result.kill()
                    result.reap()
                return
            else:
                return
