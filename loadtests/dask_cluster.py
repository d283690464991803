"""A Dask cluster on this machine: a scheduler and workers, as processes on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loadtests.errors import LoadTestError

ROOT: Final = Path(__file__).parents[1]
START_SECONDS: Final = 60.0
THREADS: Final = 4


class DaskCluster:
    """A scheduler, and workers that come and go.

    Args:
        directory: has the logs.
        settings: Dask's, as environment variables.
        protocol: `tcp`, or `tls` with settings for it.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        protocol: str = "tcp",
    ) -> None:
        self._directory = directory
        self._protocol = protocol
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
            **(settings or {}),
        }
        self._numbers = 0
        self.address = ""
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start a scheduler, at the address of the one before it, if there was one."""
        file = self._directory / "scheduler.json"
        file.unlink(missing_ok=True)
        where = ["--port", self.address.rpartition(":")[2] or "0", "--host", "127.0.0.1"]
        where += ["--protocol", self._protocol]
        self.scheduler = self._start(
            "scheduler",
            "dask_scheduler",
            *where,
            "--dashboard-address",
            "127.0.0.1:0",
            "--scheduler-file",
            str(file),
        )
        deadline = time.monotonic() + START_SECONDS
        while not (file.exists() and file.read_text()):
            if self.scheduler.poll() is not None or time.monotonic() > deadline:
                raise LoadTestError(f"the Dask scheduler did not start: {self.log('scheduler')}")
            time.sleep(0.02)
        self.address = json.loads(file.read_text())["address"]
        return self.scheduler

    def start_worker(
        self, *options: str, threads: int = THREADS, name: str = "", **settings: str
    ) -> Any:
        """Start a worker; does not wait until the scheduler has it."""
        self._numbers += 1
        name = name or f"worker-{self._numbers}"
        worker = self._start(
            name,
            "dask_worker",
            self.address,
            *("--nthreads", str(threads), "--name", name, "--no-nanny", "--no-dashboard"),
            *("--host", "127.0.0.1", "--local-directory", str(self._directory), *options),
            **settings,
        )
        self.workers.append(worker)
        return worker

    def _start(self, name: str, module: str, *args: str, **settings: str) -> Any:
        with (self._directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *args],
                env={**self._environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
            )

    def log(self, name: str) -> str:
        """The log of a process of the cluster."""
        return (self._directory / f"{name}.log").read_text(errors="replace")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill one of its processes."""
        process.send_signal(signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """End all of it."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
