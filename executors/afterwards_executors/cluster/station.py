"""A station: what runs calls on a Dask worker, as the executor of kind `process` does at home."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Final

from afterwards_executors.base import Outcome, Work
from afterwards_executors.cluster.settings import StationSettings
from afterwards_executors.frames import decode_call
from afterwards_executors.hosts.calls import HostedCall
from afterwards_executors.hosts.executor import HostExecutor
from afterwards_executors.hosts.settings import HostSettings

log = logging.getLogger("afterwards.station")

STOP_SECONDS: Final = 5.0


class StationExecutor(HostExecutor):
    """Its calls have been written by their submitter, who alone can take them apart.

    A `Work` of it has that as its only argument, and no function of its own.
    """

    def _encoded(self, work: Work) -> bytes:
        written: bytes = work.args[0]
        return written

    def wind_up_call(self, future: Future[Outcome]) -> None:
        """Let a call see that it had better end by itself. From any thread."""
        assert isinstance(future, HostedCall)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._wind_up_call, future)

    def _wind_up_call(self, call: HostedCall) -> None:
        host = self._crew.host_of(call)
        if host is not None:
            host.wind_up()
            # Whatever it ran next would believe the same.
            host.retire()


class Station:
    """The hosts of one gate on one Dask worker.

    Args:
        threads: calls at a time, at most.
        loop: looks after the hosts.

    Raises:
        OSError, MemoryError: descriptors, memory or threads have run out.
    """

    def __init__(
        self, settings: StationSettings, threads: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.settings = settings
        with ExitStack() as undo:
            files = {name: _file(data, undo) for name, data in settings.files.items()}
            self.executor = StationExecutor("process", threads, _hosts(settings, files))
            asyncio.run_coroutine_threadsafe(self._start(), loop).result(STOP_SECONDS)
            self._undo = undo.pop_all()

    async def _start(self) -> None:
        self.executor.start()

    def close(self) -> None:
        """End its calls and its hosts. Blocks; not on the loop."""
        self.executor.shutdown(STOP_SECONDS)
        self._undo.close()


class _HostLog:
    """Writes what hosts say besides their calls to the log of the Dask worker."""

    def printed(self, kind: str, pid: int, line: str) -> None:
        log.info("%s host %s: %s", kind, pid, line)

    def logged(self, line: str) -> None:
        log.info("%s", line)

    def blocked(self, kind: str, pid: int, stack: str, *, is_call: bool) -> None:
        del is_call
        log.warning("the event loop of %s host %s is blocked\n%s", kind, pid, stack)

    def ended(self, kind: str, pid: int, how: str, calls: int) -> None:
        log.warning("%s host %s %s; it had %d calls", kind, pid, how, calls)


def prepare(call: bytes) -> None:
    """Make a call that has been written elsewhere. Raises whatever it raises."""
    function, args = decode_call(call)
    function(*args)


def _hosts(settings: StationSettings, files: Mapping[str, str]) -> HostSettings:
    hidden = settings.hidden
    variables = {
        name: value
        for name, value in os.environ.items()
        if not hidden or not name.upper().startswith(hidden)
    }
    first: tuple[Callable[..., object], tuple[object, ...]] | None = None
    if settings.prepare is not None:
        first = (prepare, (settings.prepare,))
    return HostSettings(
        environment={**variables, **files},
        max_value_bytes=settings.max_value_bytes,
        max_calls=settings.max_calls,
        max_memory_bytes=settings.max_memory_bytes,
        prepare=first,
        adopts_orphans=True,
        listener=_HostLog(),
    )


def _file(data: bytes, undo: ExitStack) -> str:
    """The path of a file in memory, until it is undone."""
    fd = os.memfd_create("afterwards")
    undo.callback(os.close, fd)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    return f"/proc/{os.getpid()}/fd/{fd}"
