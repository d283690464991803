"""Processes by their incarnation: who am I, does that one still live, tell me when it ends."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from afterwards.logs import get_logger
from afterwards.registry.protocol.base import Worker
from afterwards.system.trouble import is_shortage

log = get_logger(__name__)

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def this_process(service: str) -> Worker:
    """The incarnation of the calling process, as a worker of `service`."""
    pid = os.getpid()
    born = birth(pid)
    assert born is not None
    return Worker(service, pid, born, boot_id())


def birth(pid: int) -> int | None:
    """The start of a process in clock ticks since boot; None if there is none, or a zombie.

    A pid is given again after a while; pid and start time together are not (proc(5)), until the
    machine starts again.

    Raises:
        OSError, MemoryError: it cannot be told just now, for want of a descriptor or memory.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold spaces and brackets, so fields are counted from its closing bracket.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The id of this boot of the machine (random(4)); empty where that is hidden."""
    try:
        # A random UUID, of which its first 32 bits do.
        return _BOOT_ID.read_text()[:8]
    except OSError:
        return ""


def runs(pid: int, born: int, boot: str) -> bool:
    """True if the process with this pid and birth in that boot still runs; empty: in any boot.

    Raises:
        OSError, MemoryError: as `birth` does.
    """
    return birth(pid) == born and (not boot or boot_id() in ("", boot))


def is_alive(worker: Worker) -> bool:
    """True if this very process still runs.

    Raises:
        OSError, MemoryError: as `birth` does.
    """
    return runs(worker.pid, worker.born, worker.boot)


def end(worker: Worker) -> None:
    """Kill this very process, if it still runs and may be killed.

    Raises:
        OSError, MemoryError: descriptors or memory have run out; it may still run.
    """
    try:
        # By descriptor: between the look at the pid and the signal, it could be given anew.
        pidfd = os.pidfd_open(worker.pid)
        try:
            if is_alive(worker):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)
    except (OSError, AttributeError) as error:
        if is_shortage(error):
            raise


def when_gone(worker: Worker, callback: Callable[[], None]) -> None:
    """Call back, from a thread of its own, as soon as the process has ended.

    Where the kernel has no pidfd the lease has to do.

    Raises:
        OSError, RuntimeError, MemoryError: descriptors, memory or threads have run out; worth
            another try. Nothing is left open, and nothing is called.
    """
    try:
        pidfd = os.pidfd_open(worker.pid)
    except ProcessLookupError:
        callback()
        return
    except (AttributeError, OSError) as error:
        if is_shortage(error):
            raise
        log.warning(
            "worker's process cannot be watched; its death is noticed when its lease ends",
            worker=str(worker),
            error=str(error),
        )
        return

    def wait() -> None:
        try:
            ended.poll()
        finally:
            os.close(pidfd)
        callback()

    try:
        # The pid may have been given anew before it was opened.
        alive = is_alive(worker)
        if alive:
            ended = select.poll()
            ended.register(pidfd, select.POLLIN)
            threading.Thread(target=wait, name=f"watch-{worker.pid}", daemon=True).start()
    except BaseException:
        os.close(pidfd)
        raise
    if not alive:
        os.close(pidfd)
        callback()
