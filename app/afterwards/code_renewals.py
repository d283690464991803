"""New task code in a web worker: each generation that is published takes the place of the former.

What validated payloads with the former goes on for a while, for those who wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from afterwards.assembly import host_settings, validator
from afterwards.execution.host_log import HostLog
from afterwards.logs import get_logger
from afterwards.service.validator import Validator
from afterwards.settings import Settings
from afterwards.task_types.generations import Generation, News
from afterwards.task_types.snapshot import CodeFile
from afterwards_executors.hosts.settings import HostSettings

log = get_logger(__name__)

CODE_KEPT_SECONDS: Final = 60.0
STOP_SECONDS: Final = 2.0
"""The time in which a validator has to end."""

Adopt = Callable[[Generation, HostSettings, Validator | None], Validator | None]
"""Has a worker run a generation from now on, in one step; gives the validator of the former."""


class CodeRenewals:
    """The renewals of one worker's task code. Belongs to its event loop.

    Args:
        code: that it begins with.
    """

    def __init__(self, settings: Settings, code: CodeFile, host_log: HostLog, adopt: Adopt) -> None:
        self._settings = settings
        self._code = code
        self._host_log = host_log
        self._adopt = adopt
        self._following: asyncio.Task[None] | None = None
        self._retiring: dict[asyncio.Task[None], Validator | None] = {}

    def follow(self, news: News) -> None:
        """Take to every generation that is published from now on."""
        self._following = asyncio.create_task(news.follow(self._renew))

    def drain(self) -> None:
        """Have validators that retire refuse what comes to them still."""
        for one in self._retiring.values():
            if one is not None:
                one.drain()

    async def end(self) -> None:
        """Take to no more generations, and end what retires."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        for retiring in self._retiring:
            retiring.cancel()
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _renew(self, generation: Generation) -> None:
        """Take to a generation, as soon as its code can validate what is submitted.

        Raises:
            Unvalidated: it cannot; nothing has changed.
        """
        code = CodeFile(generation.code)
        hosts = host_settings(self._settings, code, self._host_log, generation.code)
        fresh = validator(self._settings, hosts)
        try:
            if fresh is not None:
                fresh.start()
                await fresh.warmed()
        except BaseException:
            if fresh is not None:
                await asyncio.to_thread(fresh.close, STOP_SECONDS)
            code.close()
            raise
        former_code, self._code = self._code, code
        former = self._adopt(generation, hosts, fresh)
        log.info("worker runs new task code", generation=generation.number)
        retiring = asyncio.create_task(_retire(former, former_code))
        self._retiring[retiring] = former
        retiring.add_done_callback(self._retiring.pop)


async def _retire(former: Validator | None, code: CodeFile) -> None:
    """End what validated payloads until a renewal."""
    try:
        if former is not None:
            await former.retire(STOP_SECONDS)
        # Hosts that were being started just then have found it by then, or import from the disk.
        await asyncio.sleep(CODE_KEPT_SECONDS)
    finally:
        if former is not None:
            await asyncio.to_thread(former.close, STOP_SECONDS)
        code.close()
