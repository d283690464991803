"""Registry processes that serve at once: forks of a process that has imported all they need.

To start an interpreter and import the registry takes longer than most tests of a registry do. Those
of how a service starts one, in `tests/registry/process/`, do it all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from multiprocessing import get_context, reduction
from multiprocessing.process import BaseProcess
from typing import Any, Final, cast

from afterwards.registry.process import body
from afterwards.registry.process.manager import arguments
from afterwards.registry.process.pulse import Pulse
from afterwards.registry.process.supervised import RegistryProcess

_FORKS: Final = get_context("forkserver")
# This module, and so all that it imports.
_FORKS.set_forkserver_preload([__name__])


class ForkedRegistry(RegistryProcess):
    """A registry process that differs from others only in how it begins."""

    def _popen(
        self, pulse: Pulse, *, check: bool, ready_fd: int | None, keys_fd: int | None
    ) -> subprocess.Popen[bytes]:
        (options,) = arguments(
            self._config,
            self.endpoint,
            check=check,
            ran=self._ran(),
            # Numbers of this process, which are others in the fork.
            pulse_fd=pulse.writer,
            ready_fd=ready_fd,
            keys_fd=keys_fd,
        )
        given = {"pulse_fd": pulse.writer, "ready_fd": ready_fd, "keys_fd": keys_fd}
        passed = {name: _Passed(fd) for name, fd in given.items() if fd is not None}
        process = _FORKS.Process(target=_host, args=(options, passed, self._config.data_dir))
        process.start()
        return cast("subprocess.Popen[bytes]", _Child(process))

    def _signal(self, number: signal.Signals) -> None:
        # The fork server reaps it, a moment before this process is told of its end.
        with contextlib.suppress(ProcessLookupError):
            super()._signal(number)


class _Child:
    """A fork with the face of a `Popen`, as far as `RegistryProcess` looks into it."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired("a fork", timeout)
        return status


class _Passed:
    """A descriptor that becomes one of the process it is sent to."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> Any:
        return _received, (reduction.DupFd(self._fd),)


def _received(duplicate: Any) -> int:
    return int(duplicate.detach())


def _host(options: str, passed: dict[str, int], data_dir: str) -> None:
    os.setsid()
    os.environ["SQLITE_TMPDIR"] = data_dir
    body.main([json.dumps({**json.loads(options), **passed, "parent": os.getppid()})])
