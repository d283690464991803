"""Orphans of hosts end with their hosts, wherever they went; other children do not."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterwards_executors.hosts import orphans

pytestmark = pytest.mark.processes

PRELUDE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from afterwards_executors.base import Work
from afterwards_executors.hosts import orphans
from afterwards_executors.hosts.executor import HostExecutor
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import guests, work
from tests.executors.conftest import children, is_gone, wait_until

def run(executor, function, *args):
    if executor.kind == "async":
        function, args = guests.plainly, (function, *args)
    return executor.submit(Work(function, args)).result(20)

def leave(executor, path, *how):
    run(executor, guests.leave_a_program, path, *how)
    return int(Path(path + ".pid").read_text())

def make(kind):
    executor = HostExecutor(kind, 2, HostSettings(adopts_orphans=True))
    executor.start()
    return executor

kind, directory = sys.argv[1:]
"""


def printed_by(script: str, *args: str) -> Any:
    """The output of a process that runs the script, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", ["setsid", "setsid env -i", "nohup"])
def test_a_daemon_lives_as_long_as_its_host(hosted: str, tmp_path: Path, how: str) -> None:
    script = f"""
executor = make(kind)
daemon = leave(executor, directory + "/a", {how!r})
alive = not is_gone(daemon)
executor.shutdown(5)
print(json.dumps([alive, is_gone(daemon), sorted(children())]))
"""
    assert printed_by(script, hosted, str(tmp_path)) == [True, True, []]


def test_the_death_of_a_host_ends_what_it_has_left(hosted: str, tmp_path: Path) -> None:
    script = """
executor = make(kind)
daemon = leave(executor, directory + "/a")
os.kill(int(run(executor, work.report_pid).value), signal.SIGKILL)
wait_until(lambda: is_gone(daemon))
run(executor, work.succeed)
wait_until(lambda: len(children()) == 1)
executor.shutdown(5)
print(json.dumps(sorted(children())))
"""
    assert printed_by(script, hosted, str(tmp_path)) == []


def test_orphans_that_have_ended_leave_the_table_of_processes(tmp_path: Path) -> None:
    script = """
from afterwards_executors.hosts import crew
crew.LOOK_SECONDS = 0.05
executor = make(kind)
for _ in range(5):
    run(executor, guests.leave_a_program_that_ends)
wait_until(lambda: len(children()) == 1)
executor.shutdown(5)
print(json.dumps(sorted(children())))
"""
    assert printed_by(script, "process", str(tmp_path)) == []


def test_children_of_this_process_are_left_alone(tmp_path: Path) -> None:
    script = """
lasting = subprocess.Popen(["sleep", "3600"], start_new_session=True)
ended = os.fork()
if ended == 0:
    os._exit(7)
executor = make(kind)
leave(executor, directory + "/a")
executor.shutdown(5)
still = [lasting.poll(), os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1])]
lasting.kill()
lasting.wait()
print(json.dumps([still, sorted(children())]))
"""
    assert printed_by(script, "thread", str(tmp_path)) == [[None, 7], []]


def test_what_a_killed_worker_leaves_is_ended_by_its_parent(hosted: str, tmp_path: Path) -> None:
    worker = """
executor = make(kind)
print(leave(executor, directory + "/a"), run(executor, work.report_pid).value.decode(), flush=True)
time.sleep(3600)
"""
    script = f"""
orphans.adopt_orphans()
worker = subprocess.Popen(
    [sys.executable, "-c", {PRELUDE + worker!r}, kind, directory], stdout=subprocess.PIPE, text=True
)
pids = [int(pid) for pid in worker.stdout.readline().split()]
worker.kill()
worker.wait()
wait_until(lambda: orphans.end_orphans() == 0 and all(map(is_gone, pids)))
print(json.dumps([len(pids), sorted(children())]))
"""
    assert printed_by(script, hosted, str(tmp_path)) == [2, []]


def test_without_being_asked_nothing_is_adopted(tmp_path: Path) -> None:
    script = """
executor = HostExecutor(kind, 2)
executor.start()
daemon = leave(executor, directory + "/a")
executor.shutdown(5)
alive = not is_gone(daemon)
os.kill(daemon, signal.SIGKILL)
print(json.dumps([alive, daemon in children()]))
"""
    assert printed_by(script, "thread", str(tmp_path)) == [True, False]


def test_hosts_go_first_when_memory_runs_out(tmp_path: Path) -> None:
    script = """
executor = make(kind)
pid = int(run(executor, work.report_pid).value)
print(json.dumps(int(Path(f"/proc/{pid}/oom_score_adj").read_text())))
executor.shutdown(5)
"""
    assert printed_by(script, "thread", str(tmp_path)) > int(
        Path("/proc/self/oom_score_adj").read_text(encoding="ascii")
    )


def test_while_nobody_can_be_looked_for_it_is_to_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert orphans.end_orphans() == 1
