"""The processes of a service by their roles, and the attempts that run in them."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.conftest import FaultyService, Mark


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


class Fleet:
    """The processes of a service by their parts, as `/proc` has them."""

    def __init__(self, service: FaultyService) -> None:
        self._service = service
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

    def running(self) -> list[Mark]:
        """Attempts that have begun and not ended, and whose process lives."""
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
        return frozenset({pid, *(p for p in self._service.processes() if parent(p) == pid)})
