"""The programs under load: each on a free port of the loopback interface, ended with the run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from afterwards.access.tokens import new_token
from loadtests.connection import Connection, get
from loadtests.errors import LoadTestError
from loadtests.metrics import Counts

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.002
_USER_TICKS: Final = 11
_SYSTEM_TICKS: Final = 12
"""The places of these in /proc/PID/stat, counted after the program's name (proc(5))."""
_COUNTS_PAUSE_SECONDS: Final = 0.01
_PROGRAMS: Final = Path(sys.executable).parent
PROGRAM: Final = _PROGRAMS / "afterwards"
"""The command of this checkout."""

_CHECKOUT: Final = Path(__file__).parents[1]

_OTHERS: Final = ("AFTERWARDS_", "PORT", "REQUEST_TIMEOUT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS")
"""Variables, by how they begin, with which a shell would change what is measured."""


class Memory(NamedTuple):
    """The memory of all processes of a server together."""

    rss_bytes: int
    """Pages that several processes share count in each."""
    pss_bytes: int
    """Shared pages are divided by the number of those who share them."""


class Server:
    """A gunicorn master with what it has started.

    Entered, it is ready to answer; left, it has stopped in order, or there is an error.
    """

    ready_path = "/"
    ready_status = 404
    """The bare application has no such route; it answers, and that is all it takes."""

    def __init__(self, command: Sequence[str], directory: Path, environment: Mapping[str, str]):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.start_seconds = 0.0
        """From the start of the program until it said that it is ready."""
        self.token = ""
        """The token of a key, sent with every request; empty: none is needed."""
        self.address = _free_address()
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def pid(self) -> int:
        """The pid of the master."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def __enter__(self) -> Self:
        started = time.perf_counter()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command],
                env={**_inherited(), **self._environment},
                cwd=self.directory,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the run, which then stops its servers in order.
                start_new_session=True,
            )
        try:
            self._wait_ready(started + START_SECONDS)
        except BaseException:
            self._kill()
            raise
        self.start_seconds = time.perf_counter() - started
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            raise LoadTestError(f"{self._command[0]} did not stop; {self._log_end()}") from None
        if status != 0 and error[0] is None:
            raise LoadTestError(f"{self._command[0]} ended with {status}; {self._log_end()}")

    @property
    def log_file(self) -> Path:
        """The file with the server's output."""
        return self.directory / "log"

    def connect(self) -> Connection:
        """A connection of one's own, which sends the token."""
        return Connection(self.address, self.token)

    def processes(self) -> list[int]:
        """The master and all that descend from it."""
        found = [self.pid]
        for pid in found:  # grows meanwhile
            with contextlib.suppress(OSError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    found.extend(map(int, children.read_text().split()))
        return found

    def memory(self) -> Memory:
        """The memory of all processes now."""
        rss = pss = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                sizes = _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
                rss += sizes["Rss"]
                pss += sizes["Pss"]
        return Memory(rss * 1024, pss * 1024)

    def processor_seconds(self) -> float:
        """The processor time of all processes since each was started.

        It grows by no more than what a process takes that is there at both times.
        """
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                # The name of the program, in brackets, may have blanks.
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _wait_ready(self, deadline: float) -> None:
        assert self._process is not None
        while not self._is_ready():
            if self._process.poll() is not None:
                raise LoadTestError(f"{self._command[0]} ended at its start; {self._log_end()}")
            if time.perf_counter() > deadline:
                raise LoadTestError(f"{self._command[0]} is not ready; {self._log_end()}")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        try:
            with self.connect() as connection:
                return connection.exchange(get(self.ready_path)).status == self.ready_status
        except OSError:
            return False

    def _kill(self) -> None:
        assert self._process is not None
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def _log_end(self) -> str:
        return f"its log ends: {self.log_file.read_text(errors='replace')[-2000:]}"


class Service(Server):
    """`afterwards serve` with its default settings, except those given.

    Args:
        directory: for its journal, its outputs and its log.
        program: the command; this checkout's, or another's.
    """

    ready_path = "/readyz"
    ready_status = 200

    def __init__(
        self, directory: Path, program: Path = PROGRAM, /, **settings: float | str
    ) -> None:
        self.data_dir = directory / "data"
        super().__init__(
            [str(program), "serve"],
            directory,
            {f"AFTERWARDS_{name.upper()}": str(value) for name, value in settings.items()},
        )
        self._environment = {
            **self._environment,
            "AFTERWARDS_BIND": "{}:{}".format(*self.address),
            "AFTERWARDS_DATA_DIR": str(self.data_dir),
            "AFTERWARDS_OUTPUT_DIR": str(directory / "outputs"),
        }

    def see_modules_in(self, directory: Path) -> None:
        """Have the service, which was not started yet, find modules there."""
        self._environment = {**self._environment, "PYTHONPATH": str(directory)}

    def require_key(self) -> None:
        """Have the service, which was not started yet, begin with a key, and so require one."""
        self.token = new_token().text
        file = self.directory / "first_key"
        file.write_text(self.token)
        file.chmod(0o600)
        self._environment = {**self._environment, "AFTERWARDS_FIRST_KEY_FILE": str(file)}

    def registry_pid(self) -> int:
        """The process that writes the journal, as the lock's file says."""
        pid: int = json.loads((self.data_dir / "registry.lock").read_text())["pid"]
        return pid

    def counts(self) -> Counts:
        """The counts of `/metrics` now."""
        with self.connect() as connection:
            return _read_counts(connection)

    def wait_finished(self, submitted: int, seconds: float = 300.0, *, but: int = 0) -> Counts:
        """Wait until as many tasks are submitted, since ever, and all of them are finished.

        Args:
            but: the number of those that do not finish.
        """
        deadline = time.perf_counter() + seconds
        with self.connect() as connection:
            while (
                counts := _read_counts(connection)
            ).unfinished > but or counts.submitted < submitted:
                if counts.at > deadline:
                    raise LoadTestError(
                        f"of {counts.submitted} tasks, {counts.unfinished} do not finish; "
                        f"{submitted} should have been submitted"
                    )
                time.sleep(_COUNTS_PAUSE_SECONDS)
        return counts


class Bare(Server):
    """The FastAPI application that only validates, under stock gunicorn and uvicorn."""

    def __init__(self, directory: Path, workers: int) -> None:
        super().__init__([str(_PROGRAMS / "gunicorn"), "loadtests.bench.bare:app"], directory, {})
        self._command = [
            *self._command,
            *("--worker-class", "uvicorn_worker.UvicornWorker"),
            *("--workers", str(workers)),
            *("--bind", "{}:{}".format(*self.address)),
            *("--pythonpath", str(_CHECKOUT)),
            # Its path is the user's: another gunicorn's would be taken over.
            "--no-control-socket",
        ]


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """All of them, started one after the other."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        yield


def _read_counts(connection: Connection) -> Counts:
    text = connection.expect(200, get("/metrics")).decode()
    return Counts.parse(text, time.perf_counter())


def _free_address() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1", probe.getsockname()[1]


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}


def _kilobytes(rollup: str) -> dict[str, int]:
    lines = (line.split() for line in rollup.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) for words in lines}
