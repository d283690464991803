"""The registry process: it comes back, it waits for its workers, it ends with its parent."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from afterwards.lifecycle import TaskState
from afterwards.registry.journal.file import journal_path
from afterwards.registry.process import body, manager, supervised
from afterwards.registry.process.lock import TAKEOVER_AFTER_SECONDS, Endpoint, holder_of
from afterwards.registry.process.manager import connect
from afterwards.registry.process.supervised import RegistryProcess, RegistryStartError
from afterwards.registry.protocol.incarnation import birth
from afterwards.registry.protocol.requests import Add, Get, Probe
from tests.registry.conftest import Hosted
from tests.registry.peers import Peer, Processes, ask, eventually, get, make_task

pytestmark = pytest.mark.processes


def test_a_killed_registry_comes_back_with_all_it_had_acknowledged(
    hosted: Hosted, processes: Processes
) -> None:
    process = hosted.start()
    registry = connect(process.endpoint)
    peer = Peer(registry, processes.start(process.endpoint.service), {"async": 2})
    peer.join()
    done, running = peer.run(make_task()), peer.run(make_task())
    peer.succeed(done)
    waiting = make_task(executor="thread")
    peer.add(waiting)
    first_pid = process.pid

    hosted.kill(process)
    registry = hosted.reopen(process)

    assert process.pid != first_pid
    assert get(registry, done.task_id).state is TaskState.SUCCESS
    assert get(registry, waiting.id).state is TaskState.PENDING
    peer.registry = registry
    peer.join()
    assert peer.succeed(running) is None


def test_a_registry_begins_no_empty_journal_in_the_place_of_one_it_had(
    hosted: Hosted, capfd: pytest.CaptureFixture[str]
) -> None:
    process = hosted.start(log_level="error")
    task = make_task()
    ask(connect(process.endpoint), Add(task))
    hosted.kill(process)
    away = hosted.data_dir.with_name("away")
    hosted.data_dir.rename(away)
    hosted.data_dir.mkdir()

    process._not_before = 0.0
    process.ensure_running()
    eventually(lambda: not process._is_running(), "it ends")

    assert "removed or emptied while the service ran" in "".join(capfd.readouterr())
    assert list(hosted.data_dir.glob("journal*")) == []
    shutil.rmtree(hosted.data_dir)
    away.rename(hosted.data_dir)
    assert get(hosted.reopen(process), task.id).state is TaskState.PENDING


def test_a_registry_takes_no_emptied_journal_for_a_new_one(
    hosted: Hosted, capfd: pytest.CaptureFixture[str]
) -> None:
    process = hosted.start(log_level="error")
    hosted.kill(process)
    for path in hosted.data_dir.glob("journal*"):
        path.unlink()
    journal_path(hosted.data_dir).touch()

    process._not_before = 0.0
    process.ensure_running()
    eventually(lambda: not process._is_running(), "it ends")

    assert "removed or emptied while the service ran" in "".join(capfd.readouterr())
    assert journal_path(hosted.data_dir).stat().st_size == 0


def test_a_new_journal_where_a_service_has_had_one_is_spoken_of(
    hosted: Hosted, capfd: pytest.CaptureFixture[str]
) -> None:
    said = "its journal is gone or empty"
    hosted.start(log_level="warning").stop(5.0)
    hosted.start(log_level="warning").stop(5.0)
    assert said not in "".join(capfd.readouterr())

    os.truncate(journal_path(hosted.data_dir), 0)
    hosted.start(log_level="warning").stop(5.0)

    assert "".join(capfd.readouterr()).count(said) == 1


def test_a_proxy_that_is_collected_takes_no_connection_along(hosted: Hosted) -> None:
    process = hosted.start()
    used, unused = connect(process.endpoint), connect(process.endpoint)
    ask(used, Probe())
    connection = used._tls.connection

    del unused
    gc.collect()

    assert not connection.closed
    assert ask(used, Probe()) is None
    assert used._tls.connection is connection


def test_a_registry_is_told_when_the_one_before_has_begun_and_died(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    write = manager.arguments

    def noted(*args: Any, **options: Any) -> list[str]:
        told.append(options["ran"])
        return write(*args, **options)

    monkeypatch.setattr(supervised, "arguments", noted)
    before = time.time()
    process = hosted.start()
    process.ensure_running()
    begun = time.time()
    hosted.kill(process)
    hosted.reopen(process)

    first, second = told
    assert first is None
    began_at, died_at = second
    assert before <= began_at <= begun <= died_at <= time.time()


def test_a_running_registry_is_left_alone(hosted: Hosted) -> None:
    process = hosted.start()
    pid = process.pid

    process.ensure_running()

    assert process.pid == pid


def test_what_sqlite_keeps_for_a_while_lies_with_the_journal(hosted: Hosted) -> None:
    process = hosted.start()
    variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    assert f"SQLITE_TMPDIR={hosted.config().data_dir}".encode() in variables


def test_a_stopped_registry_is_not_started_again(hosted: Hosted) -> None:
    process = hosted.start()
    pid = process.pid
    process.stop(5.0)
    process.stop(5.0)

    process.ensure_running()

    assert (process.pid, process._is_running()) == (pid, False)
    assert not Path(process.endpoint.directory).exists()
    assert holder_of(hosted.data_dir) is None


def test_a_registry_that_is_asked_to_stop_waits_for_its_workers_last_reports(
    hosted: Hosted, processes: Processes
) -> None:
    process = hosted.start()
    peer = Peer(connect(process.endpoint), processes.start(process.endpoint.service))
    peer.join()
    claim = peer.run(make_task())

    os.kill(process.pid or 0, signal.SIGTERM)
    peer.drain()
    assert peer.succeed(claim) is None
    assert process._is_running()
    peer.leave()

    eventually(lambda: not process._is_running(), "it ends")
    process.stop(0.0)
    again = hosted.start()
    assert get(connect(again.endpoint), claim.task_id).state is TaskState.SUCCESS


def test_a_registry_ends_when_its_workers_have_died(hosted: Hosted, processes: Processes) -> None:
    process = hosted.start()
    peer = Peer(connect(process.endpoint), processes.start(process.endpoint.service))
    peer.join()
    os.kill(process.pid or 0, signal.SIGTERM)

    processes.kill(peer.worker)

    eventually(lambda: not process._is_running(), "it ends")


PARENT = """
import sys, time
lease_seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
from afterwards.registry.process.manager import RegistryConfig
from afterwards.registry.process.supervised import RegistryProcess
config = RegistryConfig(sys.argv[1], 10, 1000, lease_seconds, 1.0, 30.0, "critical", "json")
process = RegistryProcess(config)
process.start()
print(process.pid, process.endpoint.directory, flush=True)
time.sleep(600)
"""


def test_a_registry_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert birth(int(pid)) is not None

        parent.kill()

        eventually(lambda: birth(int(pid)) is None, "the registry ends")
    # Its parent would have removed it, or does so when it starts again.
    shutil.rmtree(directory)


def test_a_registry_whose_parent_has_died_ends_silent_workers_and_no_others(
    tmp_path: Path, processes: Processes
) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path), "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        holder = holder_of(tmp_path)
        assert holder is not None
        registry = connect(holder.endpoint)
        frozen, orderly = (
            Peer(registry, processes.start(holder.endpoint.service)) for _ in range(2)
        )
        frozen.join()
        orderly.join()
        orderly.leave()

        parent.kill()

        eventually(lambda: birth(int(pid)) is None, "the registry ends")
        assert birth(frozen.worker.pid) is None
        assert birth(orderly.worker.pid) is not None
    shutil.rmtree(directory)


def test_a_new_service_ends_the_registry_that_a_dead_one_left_behind(hosted: Hosted) -> None:
    command = [sys.executable, "-c", PARENT, str(hosted.data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        left_behind = holder_of(hosted.data_dir)
        assert left_behind is not None
        task = make_task()
        ask(connect(left_behind.endpoint), Add(task))
        # Frozen, it cannot end with its parent.
        os.kill(int(pid), signal.SIGSTOP)
        parent.kill()
        parent.wait()
    began = time.monotonic()

    successor = hosted.start()

    assert time.monotonic() - began >= TAKEOVER_AFTER_SECONDS
    eventually(lambda: birth(int(pid)) is None, "the registry left behind ends")
    assert not Path(directory).exists()
    assert ask(connect(successor.endpoint), Get(task.id)).id == task.id


def test_a_second_service_on_a_data_directory_is_refused_and_the_first_goes_on(
    hosted: Hosted,
) -> None:
    first = hosted.start()

    with pytest.raises(RegistryStartError, match=f"in use by another service .*{os.getpid()}"):
        hosted.start()

    assert first._is_running()
    assert ask(connect(first.endpoint), Probe()) is None


def test_workers_can_connect_after_the_private_directory_was_cleaned(hosted: Hosted) -> None:
    process = hosted.start()

    Path(process.endpoint.directory, "authkey").unlink()

    assert ask(connect(process.endpoint), Probe()) is None


def test_a_journal_that_cannot_be_used_is_said_by_the_start(hosted: Hosted) -> None:
    journal = hosted.data_dir / "journal.sqlite3"
    journal.write_bytes(b"notes " * 1000)

    with pytest.raises(RegistryStartError, match=r"journal\.sqlite3 cannot be used: .* database"):
        hosted.start()

    assert journal.read_bytes() == b"notes " * 1000


def test_a_full_disk_at_the_start_is_said_with_its_place(
    hosted: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(
        "afterwards.registry.process.lock.DataDirLock.acquire", Mock(side_effect=full)
    )
    said: list[str] = []

    with pytest.raises(SystemExit):
        body.serve(hosted.config(), Endpoint("s", "/nowhere"), 1, check=True, tell=said.append)

    assert said == [f"{hosted.data_dir}: No space left on device"]


def test_a_data_directory_that_is_not_there_is_said_by_the_start(tmp_path: Path) -> None:
    hosted = Hosted(tmp_path / "missing")

    with pytest.raises(RegistryStartError, match="No such file"):
        hosted.start()


def test_nobody_else_can_reach_the_socket_or_the_key(hosted: Hosted) -> None:
    directory = Path(hosted.start().endpoint.directory)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (directory, *directory.iterdir())}
    assert modes == {directory.name: 0o700, "authkey": 0o600, "registry.sock": 0o600}
    journal = hosted.data_dir / "journal.sqlite3"
    assert journal.stat().st_mode & 0o777 == 0o600


def test_a_wrong_key_is_refused(hosted: Hosted) -> None:
    endpoint = hosted.start().endpoint

    with pytest.raises(AuthenticationError):
        Client(endpoint.socket, authkey=b"wrong")

    assert len(connect(endpoint)) == 0


def test_what_runs_out_for_a_connection_neither_ends_the_registry_nor_makes_it_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = Mock(), Mock()
    server = Mock()
    server.listener.accept.side_effect = [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EMFILE, "Too many open files"),
        first,
        second,
        OSError(errno.EBADF, "Bad file descriptor"),
    ]
    threads = Mock(side_effect=[RuntimeError("can't start new thread"), Mock()])
    pause = Mock()
    monkeypatch.setattr(body.threading, "Thread", threads)  # type: ignore[attr-defined] # its import
    monkeypatch.setattr(body.time, "sleep", pause)  # type: ignore[attr-defined] # its import
    with capture_logs() as lines:
        body._accept(server)

    assert pause.call_count == 3
    assert [line["log_level"] for line in lines] == ["error", "error", "critical"]
    # Nobody could reach it any more: it ends, and is started again.
    server.stop_event.set.assert_called_once_with()
    first.close.assert_called_once_with()
    second.close.assert_not_called()
    assert threads.call_args.kwargs["args"] == [second]


def test_a_registry_process_that_was_never_started_can_be_stopped(hosted: Hosted) -> None:
    process = RegistryProcess(hosted.config())
    directory = Path(process.endpoint.directory)
    assert directory.exists()

    process.stop(1.0)

    assert (process.pid, directory.exists()) == (None, False)
