"""`afterwards reload`: ask the master of a running service for a new generation, and hear of it.

The master is asked by SIGHUP. It answers in a file in the data directory, which also says who it
is: no other process would know what the signal means.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from afterwards.errors import NotReloaded
from afterwards.logs import get_logger
from afterwards.registry.protocol.incarnation import birth, boot_id, runs
from afterwards.server.generations import LOOK_SECONDS, TAKE_SECONDS, Result
from afterwards.system.own_files import open_own
from afterwards.system.owners import as_owner_of
from afterwards.system.trouble import Trouble

log = get_logger(__name__)

FILE: Final = "generation.json"

_MARGIN_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05
_MOST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class _Record:
    """The contents of the file."""

    pid: int
    born: int
    boot: str
    """The boot in which the master was started; with `pid` and `born` it identifies the master."""
    begun: int = 0
    """Looks at the task modules, numbered from 1."""
    ended: int = 0
    generation: int = 1
    text: str = ""
    failed: bool = False
    """True if the last look that has ended has failed; `text` says why."""


class ReloadFile:
    """The master's side: tells what becomes of each look at the task modules."""

    def __init__(self, data_dir: Path) -> None:
        pid = os.getpid()
        self._path = data_dir / FILE
        self._record = _Record(pid, birth(pid) or 0, boot_id())
        self._trouble = Trouble(log, "`afterwards reload` cannot be answered")

    def open(self) -> None:
        """Say that this process is the master. Never raises."""
        self._write(self._record)

    def begun(self, look: int) -> None:
        """A look begins: what is on the disk by now will be seen."""
        self._write(replace(self._record, begun=look))

    def ended(self, look: int, result: Result) -> None:
        """A look has ended."""
        number, text, failed = result
        self._write(replace(self._record, ended=look, generation=number, text=text, failed=failed))

    def _write(self, record: _Record) -> None:
        self._record = record
        beside = f"{self._path}.new"
        with self._trouble.survived():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)  # noqa: PTH108 - as the others are
            fd = open_own(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(asdict(record), file)
            os.replace(beside, self._path)  # noqa: PTH105 - in one step


def reload(data_dir: Path) -> str:
    """Have the service on a data directory use its task modules as they are on the disk now.

    Returns:
        What it uses now, in a few words. All workers do, unless they say that some do not yet.

    Raises:
        NotReloaded: it does not; the message says why.
    """
    try:
        # So root signals no process that the directory's owner could not.
        with as_owner_of(data_dir):
            return _reload(data_dir)
    except OSError as error:
        raise NotReloaded(error.strerror or str(error)) from None


def _reload(data_dir: Path) -> str:
    before = _read(data_dir)
    no_service = (
        f"no service that `afterwards serve` has started works on {data_dir}; restart one "
        "under uvicorn, which has no master, for it to take new task code"
    )
    if before is None:
        raise NotReloaded(no_service)
    try:
        master = os.pidfd_open(before.pid)
    except ProcessLookupError:
        raise NotReloaded(no_service) from None
    try:
        if not runs(before.pid, before.born, before.boot):
            raise NotReloaded(_hidden(before.pid) if _is_hidden(before.pid, master) else no_service)
        signal.pidfd_send_signal(master, signal.SIGHUP)
        after = _wait(data_dir, master, before.begun)
    finally:
        os.close(master)
    if after.failed:
        raise NotReloaded(after.text)
    return f"generation {after.generation}: {after.text}"


def _is_hidden(pid: int, process: int) -> bool:
    """True if a process runs and this one may not see what it is (proc(5), hidepid)."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return birth(pid) is None and not poll.poll(0)


def _hidden(pid: int) -> str:
    return (
        f"process {pid} may be the service, but its entry in /proc is hidden from this process; "
        f"if it is, `kill -HUP {pid}` has it take the new task code, and its log says what came of "
        "it"
    )


def _wait(data_dir: Path, master: int, begun: int) -> _Record:
    """The record as soon as a look has ended that had not begun then."""
    poll = select.poll()
    poll.register(master, select.POLLIN)
    # One that has begun already has to end first.
    deadline = time.monotonic() + 2 * LOOK_SECONDS + TAKE_SECONDS + _MARGIN_SECONDS
    while time.monotonic() < deadline:
        record = _read(data_dir)
        if record is not None and record.ended > begun:
            return record
        if poll.poll(_POLL_SECONDS * 1000):
            raise NotReloaded("the service has ended meanwhile; start it again")
    raise NotReloaded("the service does not answer; its log may say more")


def _read(data_dir: Path) -> _Record | None:
    """The record in the file; None: there is none that makes sense."""
    try:
        with os.fdopen(open_own(str(data_dir / FILE)), encoding="utf-8") as file:
            return _Record(**json.loads(file.read(_MOST_BYTES)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None
