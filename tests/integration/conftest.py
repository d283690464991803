"""A real `afterwards serve`: gunicorn, two web workers, a registry process, HTTP on a free port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import pytest

AFTERWARDS = Path(sys.executable).with_name("afterwards")
DELAYS = ("NOTIFICATION", "REPORT", "FILE", "EMAIL")
UNFINISHED = frozenset({"pending", "processing"})

T = TypeVar("T")


PATIENCE_SECONDS: Final = 100.0
"""For what happens within moments unless it never does: much work beside it may make it minutes."""


def wait_for(condition: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Wait until `condition` gives something true, and return that."""
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        if waited > seconds:
            pytest.fail(f"{what}: not within {seconds:.0f} s")
        # To look costs the service time, too: the longer it takes, the rarer.
        time.sleep(min(0.01 + waited / 20, 0.25))
    return found


S = TypeVar("S", bound="Service")

MARK = "SERVICE_OF_TEST"
"""A variable that all processes of a service have, by which they are found."""


class Service:
    """One service on a directory of its own; may be started again after its death."""

    command: tuple[str, ...] = (str(AFTERWARDS), "serve")

    def __init__(self, directory: Path, **settings: str) -> None:
        self.data_dir = directory / "data"
        self.output_dir = directory / "outputs"
        self.log_file = directory / "log"
        self.directory = directory
        """The directory in which it is started."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if "AFTERWARDS" not in name},
            **{f"AFTERWARDS_{kind}_DELAY_SECONDS": "0" for kind in DELAYS},
            "AFTERWARDS_BIND": self.address,
            "AFTERWARDS_DATA_DIR": str(self.data_dir),
            "AFTERWARDS_OUTPUT_DIR": str(self.output_dir),
            # Hosts are not given the service's settings.
            MARK: str(self.data_dir),
        }
        self.set(**settings)
        self.master: subprocess.Popen[bytes] | None = None
        # A connection for each request: the kernel spreads them over the workers. Plain HTTP needs
        # no certificates, which take 25 ms to read.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=self.url, timeout=30, limits=limits, verify=False)

    def set(self, **settings: str) -> None:
        """Change settings, for the next start."""
        changes = {f"AFTERWARDS_{name.upper()}": value for name, value in settings.items()}
        self._environment.update(changes)

    def set_plain(self, **variables: str) -> None:
        """Change variables that are no settings; an empty one is removed."""
        for name, value in variables.items():
            self._environment.pop(name, None)
            if value:
                self._environment[name] = value

    def start(self, *, ready: bool = True, output: int | None = None) -> None:
        """Start it, and wait until it is `ready` unless told otherwise.

        What it writes goes to its log file, or to the descriptor `output`. One that does not
        become ready is killed.
        """
        with self.log_file.open("ab") as log:
            self.master = subprocess.Popen(
                self.command,
                env=self._environment,
                cwd=self.directory,
                stdout=log if output is None else output,
                stderr=log if output is None else output,
                start_new_session=True,
            )
        if not ready:
            return
        try:
            wait_for(self.is_ready, f"service ready; its log: {self.log_file}")
        except BaseException:
            self.kill_everything()
            raise

    def is_ready(self) -> bool:
        """True if tasks would be accepted."""
        assert self.master is not None
        if self.master.poll() is not None:
            pytest.fail(f"the service ended at its start: {self.log_file.read_text()[-2000:]}")
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(
        self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE_SECONDS
    ) -> int:
        """Ask the master to stop, wait for it, and return its exit status.

        A service that does not stop within so many seconds is killed.
        """
        assert self.master is not None
        self.master.send_signal(number)
        try:
            return self.master.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise

    def processes(self) -> list[int]:
        """All living processes of this service: its environment names its directory."""
        marker = f"{MARK}={self.data_dir}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (
                    marker in (entry / "environ").read_bytes().split(b"\0")
                    and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                ):
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
        return found

    def kill_everything(self) -> None:
        """`kill -9` of every process, all at once."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.master is not None:
            self.master.wait(10)
        wait_for(lambda: not self.processes(), "all processes gone")

    def registry_pid(self) -> int:
        """The registry process, as the lock's file says."""
        pid: int = json.loads((self.data_dir / "registry.lock").read_text())["pid"]
        return pid

    def worker_pids(self) -> list[int]:
        """The web workers."""
        assert self.master is not None
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children")
        return [int(pid) for pid in children.read_text().split() if int(pid) != self.registry_pid()]

    # -- HTTP ----------------------------------------------------------------------------------

    def post(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """POST a JSON body, or none."""
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self.client.get(path)

    def submit(self, path: str, body: Any) -> str:
        """POST a task and return its id."""
        answer = self.post(path, body)
        assert answer.status_code in (200, 202), answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    def finished(self, task_id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The task's status document, as soon as it is finished."""

        def look() -> dict[str, Any] | None:
            answer = self.get(f"/status/{task_id}")
            if answer.status_code == 503:
                return None
            document: dict[str, Any] = answer.json()
            assert answer.status_code == 200, document
            return None if document["status"] in UNFINISHED else document

        return wait_for(look, f"task {task_id} finished", seconds)


@contextmanager
def started(service: S) -> Iterator[S]:
    """A service that is started, and stopped in order; whatever happens, no process is left."""
    service.start()
    try:
        yield service
        assert service.stop() == 0
        wait_for(lambda: not service.processes(), "no process left behind")
    finally:
        service.kill_everything()
        service.client.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with two workers and no delays, shared by a module's tests."""
    with started(Service(tmp_path_factory.mktemp("service"))) as service:
        yield service


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes services with settings of their own, not started; kills what is left of them."""
    made: list[Service] = []

    def make(**settings: str) -> Service:
        made.append(Service(tmp_path / str(len(made)), **settings))
        made[-1].log_file.parent.mkdir()
        return made[-1]

    yield make
    for service in made:
        service.kill_everything()
