"""The proof that a 202 means "on disk", seen from outside in the registry's system calls.

    client:    send ------------------------------------ 202
    registry:        write ... fdatasync(journal) = 0

A submission counts as synced if a sync of a file of the journal began and ended, without an error,
between its request and its answer. Nothing else may be going on meanwhile, or another task's sync
would count for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from loadtests.bench.notification import SUBMIT
from loadtests.connection import Connection, get
from loadtests.errors import LoadTestError
from loadtests.servers import Service

_ATTACH_SECONDS: Final = 10.0
_JOURNAL: Final = "journal.sqlite3"

# "17 1763729.123456 fdatasync(5</data/journal.sqlite3-wal>) = 0 <0.000412>"; 17 is the thread.
# A call that others interrupt has two lines, the second with the time of its end.
_CALL: Final = re.compile(
    r"^(?:\[pid +)?(?P<thread>\d+)\]? +(?P<at>\d+\.\d+) "
    r"(?P<resumed><\.\.\. )?(?:fdatasync|fsync)(?:\(\d+<(?P<path>[^>]*)>)?"
    r".*?(?:= (?P<result>-?\d+).*<(?P<took>\d+\.\d+)>|(?P<unfinished><unfinished \.\.\.>))$"
)


class _NotTraceableError(Exception):
    """The syncs of tasks cannot be traced; the message says why."""


class Interval(NamedTuple):
    """From when to when, wall clock."""

    began: float
    ended: float


@dataclass(frozen=True)
class Durability:
    """The number of traced submissions, and of those that were synced before their 202."""

    traced: int = 0
    synced: int = 0
    unseen: str = ""
    """Why nothing could be traced, if so."""

    def __str__(self) -> str:
        if self.unseen:
            return f"not traced: {self.unseen}"
        return f"{self.synced} of {self.traced} synced before the 202"

    def __add__(self, other: Durability) -> Durability:
        return Durability(
            self.traced + other.traced, self.synced + other.synced, self.unseen or other.unseen
        )


def trace(service: Service, submissions: int, *, follow: bool = True) -> Durability:
    """Submit tasks, one at a time, and look at the syncs of their journal.

    Args:
        service: one that is not used otherwise now.
        submissions: how many.
        follow: wait until each is finished before the next: its report is synced, too. Not needed
            where tasks take longer than all submissions.
    """
    file = service.directory / "syncs"
    file.unlink(missing_ok=True)
    try:
        with _traced(service.registry_pid(), file), service.connect() as connection:
            sent = [_submit(connection, follow=follow) for _ in range(submissions)]
    except _NotTraceableError as error:
        return Durability(unseen=str(error))
    syncs = list(syncs_of(file.read_text().splitlines()))
    synced = sum(
        any(request.began <= sync.began and sync.ended <= request.ended for sync in syncs)
        for request in sent
    )
    return Durability(submissions, synced)


def require(service: Service, submissions: int, *, follow: bool = True) -> Durability:
    """Trace, and accept nothing less than a sync before each answer.

    Raises:
        LoadTestError: figures of this service would not be those of a durable one.
    """
    durability = trace(service, submissions, follow=follow)
    if durability.synced < durability.traced:
        raise LoadTestError(f"tasks are not durable when they are accepted: {durability}")
    return durability


def syncs_of(lines: Iterable[str]) -> Iterator[Interval]:
    """The successful syncs of the journal's files in a trace."""
    unfinished: dict[str, str] = {}
    for line in lines:
        call = _CALL.match(line)
        if call is None:
            continue
        path = call["path"] or unfinished.pop(call["thread"], "")
        if call["unfinished"]:
            unfinished[call["thread"]] = path
        elif call["result"] == "0" and Path(path).name.startswith(_JOURNAL):
            at, took = float(call["at"]), float(call["took"])
            yield Interval(at - took, at) if call["resumed"] else Interval(at, at + took)


@contextlib.contextmanager
def _traced(pid: int, file: Path) -> Iterator[None]:
    """All threads of a process under strace.

    Raises:
        _NotTraceableError: strace is not there, or this user may not.
    """
    program = shutil.which("strace")
    if program is None:
        raise _NotTraceableError("strace is not installed")
    strace = subprocess.Popen(
        [program, "-f", "-ttt", "-T", "-y", "-e", "trace=fsync,fdatasync",
         "-o", str(file), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
        # It lets go of the process at SIGTERM, and Ctrl-C would be for the run alone.
        start_new_session=True,
    )  # fmt: skip
    assert strace.stderr is not None
    try:
        said = strace.stderr.readline()
        if "attached" not in said:
            raise _NotTraceableError(said.strip() or "strace cannot attach to the registry")
        yield
    finally:
        strace.terminate()
        strace.communicate(timeout=_ATTACH_SECONDS)


def _submit(connection: Connection, *, follow: bool) -> Interval:
    began = time.time()
    body = connection.expect(202, SUBMIT)
    ended = time.time()
    if follow:
        task_id = body.partition(b'"task_id":"')[2].partition(b'"')[0].decode()
        while b'"status":"success"' not in connection.expect(200, get(f"/status/{task_id}")):
            os.sched_yield()
    return Interval(began, ended)
