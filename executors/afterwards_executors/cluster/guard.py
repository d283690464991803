"""Ends the hosts of a Dask worker that cannot do so itself: it is stopped, or something keeps it.

    python -P -m afterwards_executors.cluster.guard PAGE PARENT

`PAGE` is the descriptor of a page of memory with one double: until when the hosts of `PARENT` may
run, by the monotonic clock; 0: there is no limit yet. The process ends with its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from afterwards_executors.prctl import end_with_parent

LOOK_SECONDS: Final = 0.5
_UNTIL: Final = struct.Struct("=d")
_MARK: Final = b"EXECUTOR_HOST="
"""As `hosts.orphans` has it: in the environment of each host, with the pid of who started it."""


class Guard:
    """The side of the Dask worker. Made in a thread that lasts.

    Raises:
        OSError: descriptors, memory or processes have run out.
    """

    def __init__(self) -> None:
        self._page = os.memfd_create("hosts-until")
        try:
            os.ftruncate(self._page, _UNTIL.size)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(self._page), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[self._page],
                process_group=0,
            )
        except BaseException:
            os.close(self._page)
            raise

    def extend(self, seconds: float) -> None:
        """Let hosts run for so long from now on."""
        os.pwrite(self._page, _UNTIL.pack(time.monotonic() + seconds), 0)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._page)


def end_hosts(parent: int) -> None:
    """Kill all hosts of a process, with what they have started."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in map(int, (task / "children").read_bytes().split()):
            if _is_host(pid, parent):
                # A host leads its group. Its parent reaps it, so that the number stays its own.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)


def _is_host(pid: int, parent: int) -> bool:
    with contextlib.suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return any(one.startswith(_MARK + b"%d-" % parent) for one in variables)
    return False


def main() -> None:
    """Look until the parent ends."""
    page, parent = int(sys.argv[1]), int(sys.argv[2])
    end_with_parent(signal.SIGKILL, parent)
    while True:
        time.sleep(LOOK_SECONDS)
        (until,) = _UNTIL.unpack(os.pread(page, _UNTIL.size, 0))
        if until and time.monotonic() > until:
            with contextlib.suppress(OSError):  # the parent ends just now
                end_hosts(parent)


if __name__ == "__main__":
    main()
