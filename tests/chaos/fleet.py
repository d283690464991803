"""The processes of a service by their roles, and the attempts that run in them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from afterwards.task_types.snapshot import VARIABLE
from tests.chaos.recorders import Recorders
from tests.reliability.conftest import FaultyService, Mark

HOST: Final = "afterwards_executors.inside"
"""The module that a host runs begins so."""


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def parent(pid: int) -> int:
    """0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _ports(pid: int) -> set[int]:
    """The ports of a process's own connections of TCP."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.add(str(entry.readlink()).removeprefix("socket:[").rstrip("]"))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[9] in inodes}


class Fleet:
    """The processes of a service by their parts, as `/proc` has them."""

    def __init__(self, service: FaultyService, recorders: Recorders) -> None:
        self._service = service
        self._recorders = recorders
        self._read = 0
        self._running: dict[tuple[str, int], Mark] = {}

    def master(self) -> int | None:
        master = self._service.master
        return master.pid if master is not None and master.poll() is None else None

    def registry(self) -> int | None:
        """The registry of the running master."""
        master = self.master()
        for pid in self._service.processes():
            if "afterwards.registry.process" in _words(pid) and parent(pid) == master:
                return pid
        return None

    def workers(self) -> list[int]:
        """The workers of the running master."""
        master, registry = self.master(), self.registry()
        return sorted(
            pid
            for pid in self._service.processes()
            if master is not None and parent(pid) == master and pid != registry
        )

    def sending(self) -> dict[int, int]:
        """Hosts of effects that wait for an answer of the recording servers, with how many."""
        waiting, found = self._recorders.open_ports(), {}
        for worker in self.workers():
            for pid in self._children(worker):
                with suppress(OSError):
                    if _is_host_of_effects(pid) and (number := len(_ports(pid) & waiting)):
                        found[pid] = number
        return found

    def running(self) -> list[Mark]:
        """Attempts that have begun and not ended, and whose process lives.

        Those in hosts of effects leave no mark.
        """
        with self._service.trace_file.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        for line in text.decode().splitlines():
            mark = Mark.parse(line)
            if mark.word == "begin":
                self._running[mark[1:3]] = mark
            else:
                self._running.pop(mark[1:3], None)
        self._running = {key: mark for key, mark in self._running.items() if parent(mark.pid)}
        return list(self._running.values())

    def with_children(self, pid: int) -> frozenset[int]:
        """A process and those it has started."""
        return frozenset({pid, *self._children(pid)})

    def _children(self, pid: int) -> list[int]:
        return [one for one in self._service.processes() if parent(one) == pid]


def _is_host_of_effects(pid: int) -> bool:
    """It loads no task code, so it is told of none.

    Raises:
        OSError: it has ended.
    """
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    is_told = any(one.startswith(f"{VARIABLE}=".encode()) for one in variables)
    return not is_told and any(word.startswith(HOST) for word in _words(pid))
