from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes

SCRIPT = Path(__file__).with_name("small_service.py")
HAND_IN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
DEADLINE_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Service:
    """A running `afterwards serve` with the small application.

    Args:
        handed_in: a listening socket that it is given.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        handed_in: socket.socket | None = None,
        **environment: str,
    ) -> None:
        self.directory = directory
        self.connections: list[http.client.HTTPConnection] = []
        self.events_file = directory / "events"
        self.events_file.touch()
        self.stderr_file = directory / "stderr"
        command = [str(SCRIPT), "serve", "--bind", "127.0.0.1:0", *arguments]
        if handed_in is not None:
            command[:0] = ["-c", HAND_IN, str(handed_in.fileno())]
        with self.stderr_file.open("a") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                pass_fds=[] if handed_in is None else [handed_in.fileno()],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=directory,
                env={**os.environ, "EVENTS": str(self.events_file), **environment},
            )
        assert self.process.stdout is not None
        self.welcome = self.process.stdout.readline() + self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.welcome)
        self.port = int(found[1]) if found else 0

    def events(self) -> list[tuple[str, int]]:
        lines = self.events_file.read_text().splitlines()
        return [(name, int(pid)) for name, pid in (line.split() for line in lines)]

    def names(self) -> list[str]:
        return [name for name, _ in self.events()]

    def wait_for(self, name: str, count: int = 1) -> list[int]:
        """The pids of the processes that noted `name`, once there are `count`."""
        wait_until(lambda: self.names().count(name) >= count, f"{count} x {name}")
        return [pid for noted, pid in self.events() if noted == name]

    def registries(self) -> list[int]:
        return [int(name.partition("-")[2]) for name in self.names() if name[-1].isdigit()]

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        self.connections.append(connection)
        return connection

    def stderr(self) -> str:
        return self.stderr_file.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)

    def end(self) -> None:
        """As a stop if that works, so that its coverage is saved; and leave nothing behind."""
        (self.directory / "gate").touch()
        for connection in self.connections:
            connection.close()
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        for pid in {*self.registries(), *(pid for _, pid in self.events())}:
            if is_alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    services: list[Service] = []

    def start_one(*arguments: str, workers: int = 2, **options: Any) -> Service:
        services.append(Service(tmp_path, *arguments, **options))
        if services[-1].welcome:
            services[-1].wait_for("worker-started", workers)
        return services[-1]

    yield start_one
    for service in services:
        service.end()


def get(connection: http.client.HTTPConnection, path: str = "/") -> tuple[int, bool]:
    """The pid of who answered, and whether it said that it closes the connection."""
    connection.request("GET", path)
    answer = connection.getresponse()
    return int(answer.read()), answer.getheader("connection") == "close"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_ends_workers_before_the_registry_with_status_0(
    start: Start, number: signal.Signals
) -> None:
    service = start()
    assert service.stop(number) == 0
    assert service.names()[-1] == "registry-stopped"
    assert service.names().count("begin-drain") == service.names().count("worker-ended") == 2
    assert not any(is_alive(pid) for pid in service.registries())


def test_the_welcome_is_a_call_to_try(start: Start) -> None:
    service = start()
    assert f"http://127.0.0.1:{service.port} with 2 workers" in service.welcome
    assert f"curl -i http://127.0.0.1:{service.port}/notify/" in service.welcome
    assert get(service.connect())[0] in service.wait_for("worker-started")


def test_the_welcome_tries_no_route_that_is_off(start: Start) -> None:
    service = start(AFTERWARDS_BUILTIN_TYPES="email")
    assert service.welcome.endswith(f"curl -i http://127.0.0.1:{service.port}/readyz\n")


@pytest.mark.parametrize(("host", "here"), [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")])
def test_the_welcome_says_if_the_whole_network_is_served(
    start: Start, host: str, here: str
) -> None:
    service = start("--bind", f"{host}:0", AFTERWARDS_ALLOW_ANONYMOUS="public")
    found = re.search(r" at http://(.*):(\d+) \(all interfaces\) with ", service.welcome)
    assert found is not None
    assert found[1] == host
    assert f"curl -i http://{here}:{found[2]}/notify/" in service.welcome


def test_the_data_directory_is_private(start: Start) -> None:
    service = start()
    assert (service.directory / "data").stat().st_mode & 0o777 == 0o700
    assert (service.directory / "outputs").is_dir()


def test_a_worker_takes_no_headers_without_end(start: Start) -> None:
    service = start()
    connection = service.connect()
    connection.request("GET", "/", headers={"a": "x" * 70_000})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("connection")) == (431, "close")
    assert answer.getheader("content-type") == "application/problem+json"
    assert get(service.connect())[0] in service.wait_for("worker-started")


def test_a_stop_answers_the_request_under_way_after_telling_the_application(start: Start) -> None:
    service = start()
    connection = service.connect()
    connection.request("GET", "/gate")
    service.wait_for("request-waits")
    service.process.terminate()
    service.wait_for("begin-drain", 2)
    (service.directory / "gate").touch()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("connection")) == (200, "close")
    assert service.process.wait(DEADLINE_SECONDS) == 0


def test_an_endless_request_does_not_keep_the_lifespan_from_ending(start: Start) -> None:
    service = start("--grace", "0")
    connection = service.connect()
    connection.request("GET", "/gate")
    service.wait_for("request-waits")
    assert service.stop() == 0
    assert service.names().count("worker-ended") == 2


def test_a_worker_tells_its_keep_alive_connections_to_close(start: Start) -> None:
    service = start()
    connection = service.connect()
    pid, closing = get(connection)
    assert not closing
    os.kill(pid, signal.SIGTERM)
    service.wait_for("begin-drain")
    assert get(connection) == (pid, True)


def test_an_idle_connection_hardly_delays_a_stop(start: Start) -> None:
    service = start()
    connection = service.connect()
    get(connection)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 5


def test_a_second_stop_signal_from_the_keyboard_is_quick(start: Start) -> None:
    service = start()
    connection = service.connect()
    connection.request("GET", "/gate")
    service.wait_for("request-waits")
    service.process.send_signal(signal.SIGINT)
    service.wait_for("begin-drain", 2)
    assert service.stop(signal.SIGINT) == 0


def test_a_reload_renews_the_task_code_and_leaves_the_workers(start: Start) -> None:
    service = start()
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "task code is renewed" in service.stderr(), "a line about it")
    workers = service.wait_for("worker-started", 2)
    assert service.names().count("has-the-first-code") == len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    service.wait_for("has-later-code")
    service.wait_for("worker-started", 3)
    assert service.stop() == 0
    assert service.names().count("begin-drain") == 2


def test_a_service_manager_hears_when_it_is_ready_reloads_lives_and_stops(
    start: Start, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE_SECONDS)
        manager.bind(str(tmp_path / "notify"))
        names = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "90000000"}
        service = start(**names)

        def hear(said: bytes) -> bytes:
            while not (heard := manager.recv(1000)).startswith(said):
                assert heard == b"WATCHDOG=1", heard
            return heard

        hear(b"READY=1")
        assert "worker-started" in service.names()
        assert hear(b"WATCHDOG=1")

        before = time.monotonic_ns() // 1000
        service.process.send_signal(signal.SIGHUP)
        reloading = hear(b"RELOADING=1").decode()
        at = int(reloading.removeprefix("RELOADING=1\nMONOTONIC_USEC="))
        assert before <= at <= time.monotonic_ns() // 1000
        hear(b"READY=1")

        environment = Path(f"/proc/{service.registries()[0]}/environ").read_bytes()
        assert not any(name.encode() in environment for name in names)
        assert service.stop() == 0
        hear(b"STOPPING=1")


def test_a_service_whose_registry_gives_no_sign_of_life_is_not_alive(
    start: Start, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(DEADLINE_SECONDS)
        manager.bind(str(tmp_path / "notify"))
        breathless = tmp_path / "breathless"
        breathless.touch()
        service = start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="90000000")
        assert manager.recv(1000) == b"READY=1"
        # A whole turn of the master's loop, which says nothing.
        service.process.send_signal(signal.SIGHUP)
        assert manager.recv(1000).startswith(b"RELOADING=1")
        assert manager.recv(1000) == b"READY=1"
        breathless.unlink()
        assert manager.recv(1000) == b"WATCHDOG=1"


def test_a_stop_does_not_wait_for_a_look_at_the_task_code(start: Start) -> None:
    service = start()
    for _ in range(3):
        service.process.send_signal(signal.SIGHUP)
    assert service.stop() == 0


def test_a_registry_that_died_is_started_again(start: Start) -> None:
    service = start()
    os.kill(service.registries()[0], signal.SIGKILL)
    wait_until(lambda: len(service.registries()) == 2, "a second registry")
    assert service.stop() == 0


def test_a_registry_that_dies_during_a_stop_is_started_again(start: Start) -> None:
    service = start()
    connection = service.connect()
    connection.request("GET", "/gate")
    service.wait_for("request-waits")
    service.process.terminate()
    service.wait_for("begin-drain", 2)
    os.kill(service.registries()[0], signal.SIGKILL)
    wait_until(lambda: len(service.registries()) == 2, "a second registry")
    (service.directory / "gate").touch()
    assert connection.getresponse().status == 200
    assert service.process.wait(DEADLINE_SECONDS) == 0
    assert not any(is_alive(pid) for pid in service.registries())


def test_a_worker_that_died_is_replaced(start: Start) -> None:
    service = start()
    os.kill(service.wait_for("worker-started", 2)[0], signal.SIGKILL)
    service.wait_for("worker-started", 3)
    assert service.stop() == 0


def test_workers_share_most_of_their_memory_with_the_master(start: Start) -> None:
    service = start()
    get(service.connect())
    for pid in service.wait_for("worker-started", 2):
        smaps = Path(f"/proc/{pid}/smaps_rollup").read_text()
        own, shared = (
            sum(map(int, re.findall(rf"^{kind}_\w+: +(\d+) kB", smaps, re.MULTILINE)))
            for kind in ("Private", "Shared")
        )
        assert own < shared / 2, smaps


def test_workers_end_in_order_when_the_master_is_killed(start: Start) -> None:
    service = start()
    workers = service.wait_for("worker-started", 2)
    service.process.kill()
    service.wait_for("worker-ended", 2)
    wait_until(lambda: not any(is_alive(pid) for pid in workers), "the workers end")


def test_a_second_master_is_refused(start: Start) -> None:
    service = start()
    service.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "SIGUSR2 ignored" in service.stderr(), "the warning")
    assert service.stop() == 0


def test_workers_can_be_added_and_taken_away(start: Start) -> None:
    service = start()
    service.process.send_signal(signal.SIGTTIN)
    service.wait_for("worker-started", 3)
    service.process.send_signal(signal.SIGTTOU)
    service.wait_for("worker-ended")
    assert service.stop() == 0


def test_the_memory_registry_has_no_process_and_one_worker(start: Start) -> None:
    service = start("--registry", "memory", workers=1)
    assert "with 1 worker;" in service.welcome
    service.process.send_signal(signal.SIGTTIN)
    wait_until(lambda: "SIGTTIN ignored" in service.stderr(), "the warning")
    assert "nothing outlives this process" in service.stderr()
    assert service.stop() == 0
    assert service.names()[1:] == ["worker-started", "begin-drain", "worker-ended"]


def test_a_unix_socket_is_served_and_removed(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "afterwards.sock"
    # Left behind by a master that was killed.
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    service = start("--bind", f"unix:{path}")
    assert f"curl -i --unix-socket {path} http://localhost/notify/" in service.welcome
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert path.stat().st_mode & 0o777 == 0o660
    assert service.stop() == 0
    assert not path.exists()


def test_a_unix_socket_has_the_mode_that_is_set(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "afterwards.sock"
    service = start("--bind", f"unix:{path}", AFTERWARDS_SOCKET_MODE="0606")
    assert path.stat().st_mode & 0o777 == 0o606
    assert service.stop() == 0


def test_clients_wait_through_a_restart_for_a_socket_that_is_handed_in(start: Start) -> None:
    stop, failures, answers = threading.Event(), list[Exception](), list[int]()

    def ask_on_new_connections(service: Service) -> None:
        while not stop.is_set():
            connection = service.connect()
            try:
                answers.append(get(connection)[0])
            except (http.client.HTTPException, OSError) as error:
                failures.append(error)
            connection.close()

    def newest_answers(service: Service) -> bool:
        return service.wait_for("worker-started")[-1] in answers

    with socket.create_server(("127.0.0.1", 0), backlog=100) as held:
        service = start(handed_in=held)
        assert service.port == held.getsockname()[1]
        assert "AFTERWARDS_BIND is not used" in service.stderr()
        clients = [
            threading.Thread(target=ask_on_new_connections, args=[service]) for _ in range(4)
        ]
        for client in clients:
            client.start()
        for number in range(2, 5):
            wait_until(partial(newest_answers, service), "an answer")
            assert service.stop() == 0
            service = start(handed_in=held, workers=2 * number)
        wait_until(partial(newest_answers, service), "an answer")
        stop.set()
        for client in clients:
            client.join()
    assert failures == []


def test_a_unix_socket_that_is_handed_in_stays(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "held.sock"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        service = start(handed_in=held)
        assert f" at unix:{path} with 2 workers" in service.welcome
        assert service.stop() == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_debug_lines_are_the_service_s_and_not_gunicorn_s(start: Start) -> None:
    service = start(AFTERWARDS_LOG_LEVEL="debug")
    assert "Listening at" in service.stderr()
    assert "Current configuration" not in service.stderr()


def test_a_mistyped_variable_is_warned_about(start: Start) -> None:
    service = start(AFTERWARDS_WORKER="3")
    assert "did you mean AFTERWARDS_WORKERS?" in service.stderr()


def refused(service: Service) -> tuple[int, str]:
    status = service.process.wait(DEADLINE_SECONDS)
    assert service.welcome == ""
    return status, service.stderr().splitlines()[-1]


def test_an_address_in_use_is_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = start("--bind", address)
        problem = f"cannot listen at {address}: Address already in use; set another address"
        assert refused(service) == (2, f"afterwards: --bind: {problem}")
    assert service.stderr().count("\n") == 1


def test_a_unix_socket_in_use_is_one_line(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "taken.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        status, line = refused(start("--bind", f"unix:{path}"))
    problem = f"cannot listen at unix:{path}: Address already in use; set another address"
    assert (status, line) == (2, f"afterwards: --bind: {problem}")


@pytest.mark.parametrize(("field", "flag"), [("data", "--data-dir"), ("output", "--output-dir")])
def test_a_directory_that_cannot_be_is_one_line(
    start: Start, tmp_path: Path, field: str, flag: str
) -> None:
    file = tmp_path / "file"
    file.touch()
    status, line = refused(start(flag, str(file / field)))
    assert status == 2
    problem = f"{file / field} cannot be used: Not a directory; mend that, or set another"
    assert line == f"afterwards: {flag}: {problem}"


@pytest.mark.parametrize("flag", ["--data-dir", "--output-dir"])
def test_a_directory_that_is_a_file_is_one_line(start: Start, tmp_path: Path, flag: str) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refused(start(flag, str(file))) == (
        2,
        f"afterwards: {flag}: {file} is not a directory; move it away, or set another",
    )


def test_a_registry_that_leaves_during_a_stop_is_not_started_again(start: Start) -> None:
    # Where a supervisor sends the stop to all processes at once.
    service = start()
    connection = service.connect()
    connection.request("GET", "/gate")
    service.wait_for("request-waits")
    service.process.terminate()
    service.wait_for("begin-drain", 2)
    (registry,) = service.registries()
    os.kill(registry, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{registry}").exists(), "the registry is reaped")
    (service.directory / "gate").touch()
    assert connection.getresponse().status == 200
    assert service.process.wait(DEADLINE_SECONDS) == 0
    assert service.registries() == [registry]


def test_a_registry_that_cannot_start_is_one_line_and_status_1(start: Start) -> None:
    status, line = refused(start(REGISTRY="broken"))
    assert status == 1
    assert line == "afterwards: The journal tasks.db cannot be used: not a database"


def test_a_worker_that_cannot_start_ends_the_service(start: Start) -> None:
    service = start(APPLICATION="broken", workers=0)
    assert service.process.wait(DEADLINE_SECONDS) == 3
    assert not any(is_alive(pid) for pid in service.registries())
