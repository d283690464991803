"""Processes by their incarnation: who am I, does that one still live, tell me when it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from afterwards.logs import get_logger
from afterwards.registry.protocol.base import Worker

log = get_logger(__name__)


def this_process(service: str) -> Worker:
    """The incarnation of the calling process, as a worker of `service`."""
    pid = os.getpid()
    born = birth(pid)
    assert born is not None
    return Worker(service, pid, born)


def birth(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None if there is none, or a zombie.

    A pid is given again after a while; pid and start time together are not (proc(5)).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold spaces and brackets, so fields are counted from its closing bracket.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(worker: Worker) -> bool:
    """Whether this very process still runs."""
    return birth(worker.pid) == worker.born


def end(worker: Worker) -> None:
    """Kill this very process, if it still runs and may be killed."""
    with contextlib.suppress(OSError, AttributeError):
        # By descriptor: between the look at the pid and the signal, it could be given anew.
        pidfd = os.pidfd_open(worker.pid)
        try:
            if is_alive(worker):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def when_gone(worker: Worker, callback: Callable[[], None]) -> None:
    """Call back, from a thread of its own, as soon as the process has ended.

    Where the kernel has no pidfd the lease has to do.
    """
    try:
        pidfd = os.pidfd_open(worker.pid)
    except ProcessLookupError:
        callback()
        return
    except (AttributeError, OSError) as error:
        log.warning(
            "worker's process cannot be watched; its death is noticed when its lease ends",
            worker=str(worker),
            error=str(error),
        )
        return

    def wait() -> None:
        try:
            # The pid may have been given anew before it was opened.
            if is_alive(worker):
                ended = select.poll()
                ended.register(pidfd, select.POLLIN)
                ended.poll()
        finally:
            os.close(pidfd)
        callback()

    threading.Thread(target=wait, name=f"watch-{worker.pid}", daemon=True).start()
