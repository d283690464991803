"""Asks a registry for lists and counts, over connections of its own.

One exchange is in flight at a time, and all that a worker says goes by exchanges. What may be
looked for in a million tasks takes longer than others should wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final

from afterwards.errors import AfterwardsError, RegistryUnavailable
from afterwards.logs import get_logger
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.requests import Count, Find
from afterwards.system.own_threads import NoThread, OwnThreads

log = get_logger(__name__)

WAIT_SECONDS: Final = 3.0
MOST_THREADS: Final = 2
MOST_WAITING: Final = 64
"""Requests that wait or are under way; more would not be answered in time."""


class ListReader:
    """A few threads, each with a connection, made when they are first needed.

    Args:
        connect: gives the registry, for the calling thread only.
    """

    def __init__(self, connect: Callable[[], Registry]) -> None:
        self._connect = connect
        self._threads = OwnThreads("registry-lists", MOST_THREADS)
        self._own = threading.local()
        self._waiting = 0

    async def call(self, request: Find | Count) -> Any:
        """The answer to a request. From the event loop.

        Raises:
            AfterwardsError: what the request's docstring names; `RegistryUnavailable` if there is
                no answer within `WAIT_SECONDS`.
        """
        if self._waiting >= MOST_WAITING:
            raise RegistryUnavailable
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                answer = await self._threads.run(self._ask, request)
        except (TimeoutError, NoThread):
            raise RegistryUnavailable from None
        finally:
            self._waiting -= 1
        if isinstance(answer, AfterwardsError):
            raise answer
        return answer

    def _ask(self, request: Find | Count) -> Any:
        for _ in range(2):
            try:
                registry = getattr(self._own, "registry", None)
                if registry is None:
                    registry = self._own.registry = self._connect()
                [answer] = registry.exchange(None, 0, [request]).answers
            except (OSError, EOFError):
                # The registry may have been started again since the last time.
                self._own.registry = None
            except AfterwardsError as error:
                return error.with_traceback(None)
            else:
                return answer
        return RegistryUnavailable()
