"""One registry for a data directory: a lock that dies with its holder, and says who that is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from afterwards.errors import RegistryLocked
from afterwards.logs import get_logger
from afterwards.registry.process import private
from afterwards.registry.protocol.incarnation import birth, boot_id, runs
from afterwards.system.own_files import open_own
from afterwards.system.trouble import is_shortage

log = get_logger(__name__)

TAKEOVER_AFTER_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Endpoint:
    """The service of a registry, and the directory in which it is reached."""

    service: str
    """The service whose workers may join."""
    directory: str
    """Private (0700): holds the socket, the key and the counts."""

    @property
    def socket(self) -> str:
        """The Unix socket's path, short enough for its 108 bytes."""
        return f"{self.directory}/{private.SOCKET}"

    @property
    def counts(self) -> str:
        """The path of what a registry counts in memory, for the one that is started after it."""
        return f"{self.directory}/counts"

    def authkey(self) -> bytes:
        """The key of connections; a process that can read it may run code in the registry.

        Raises:
            NotPrivate: somebody else may have written it.
            OSError: it cannot be read, and never was by this process or the one it was forked from.
        """
        return _read_key(self.directory)


@lru_cache(maxsize=4)
def _read_key(directory: str) -> bytes:
    # Kept, because temporary directories are cleaned now and then: forked workers then have it.
    return private.read_key(directory)


@dataclass(frozen=True)
class Holder:
    """The registry process that holds a lock."""

    pid: int
    born: int
    master: int
    """The process that started the registry and supervises it."""
    master_born: int
    endpoint: Endpoint
    boot: str = ""
    """Which boot of the machine both were started in; empty, as earlier versions: not known."""

    def is_alive(self) -> bool:
        """True while the registry process runs."""
        return runs(self.pid, self.born, self.boot)

    def is_looked_after(self) -> bool:
        """True while its master runs: it belongs to a living service."""
        return runs(self.master, self.master_born, self.boot)


def lock_path(data_dir: Path) -> Path:
    """The lock's file in a data directory."""
    return data_dir / "registry.lock"


def holder_of(data_dir: Path) -> Holder | None:
    """The process that holds the lock and still runs; None if there is none.

    Raises:
        OSError, MemoryError: it cannot be told just now, for want of descriptors or memory.
    """
    holder = last_holder_of(data_dir)
    return holder if holder is not None and holder.is_alive() else None


def last_holder_of(data_dir: Path) -> Holder | None:
    """The process that took the lock last, whether it still runs or not; None if none ever did.

    Raises:
        OSError, MemoryError: as `holder_of` does.
    """
    try:
        record = json.loads(_read(lock_path(data_dir)))
        endpoint = Endpoint(**record.pop("endpoint"))
        return Holder(**record, endpoint=endpoint)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if is_shortage(error):
            raise
        return None


def _read(path: Path) -> bytes:
    with os.fdopen(open_own(str(path)), "rb") as file:
        return file.read()


class DataDirLock:
    """The lock of one data directory, held from `acquire` to the end of the process.

    It is the kernel's (flock), so no death leaves it behind. It is on the directory itself: a file
    that is removed takes its lock along, and the next who comes makes another one. The file says
    who has it, and is locked, too, as earlier versions do.

    Raises:
        NotOwn: what is in the file's place may be somebody else's.
        OSError: it cannot be opened.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._fd = open_own(str(lock_path(data_dir)), os.O_RDWR | os.O_CREAT)
        try:
            self._directory_fd = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            os.close(self._fd)
            raise

    def acquire(self, endpoint: Endpoint, master: int, *, take_over: bool) -> None:
        """Take the lock.

        Args:
            endpoint: written into the file.
            master: the process that looks after this one; written, too.
            take_over: a new master never joins an old registry. One whose master has died gets
                `TAKEOVER_AFTER_SECONDS` to end, then it is killed; the journal bears that.

        Raises:
            RegistryLocked: held by the registry of a living service, or `take_over` is false.
        """
        deadline = time.monotonic() + TAKEOVER_AFTER_SECONDS
        said = False
        while not self.try_once():
            holder = holder_of(self._data_dir)
            if not take_over:
                raise RegistryLocked(str(self._data_dir), holder.pid if holder else 0)
            if time.monotonic() > deadline and holder is not None:
                if holder.is_looked_after():
                    # It would be started again at once, and the two would kill each other's
                    # registries for ever, with all the attempts under them.
                    raise RegistryLocked(str(self._data_dir), holder.master)
                log.warning("ending the registry of an earlier service", registry_pid=holder.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder.pid, signal.SIGKILL)
                deadline = time.monotonic() + TAKEOVER_AFTER_SECONDS
            elif time.monotonic() > deadline and not said:
                # The kernel keeps the lock for somebody who cannot be seen from here.
                log.warning(
                    "data directory is in use by a service that cannot be seen from here, in "
                    "another container perhaps, or its registry.lock was removed; waiting for its "
                    "end",
                    data_dir=str(self._data_dir),
                )
                said = True
            time.sleep(_POLL_SECONDS)
        self._write(endpoint, master)

    def try_once(self) -> bool:
        """Take the lock if it is free; whose it is, is not written."""
        try:
            # Whoever waits for the directory holds no file, which its holder may need again.
            for descriptor in (self._directory_fd, self._fd):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give the lock up before the process ends."""
        os.close(self._fd)
        os.close(self._directory_fd)

    def _write(self, endpoint: Endpoint, master: int) -> None:
        pid = os.getpid()
        holder = Holder(pid, birth(pid) or 0, master, birth(master) or 0, endpoint, boot_id())
        text = json.dumps(asdict(holder)).encode()
        # In one write over the last one, with spaces for the rest of it: whoever reads meanwhile
        # finds one record or the other, and never none or half of one.
        os.pwrite(self._fd, text.ljust(os.fstat(self._fd).st_size), 0)


@contextlib.contextmanager
def unserved(data_dir: Path) -> Iterator[None]:
    """Keep every service off a data directory that none works on; one that starts waits.

    Raises:
        RegistryLocked: a service works on it.
    """
    lock = DataDirLock(data_dir)
    try:
        holder = last_holder_of(data_dir)
        # A lock that is free does not say it all: a registry that died is about to be started
        # again. Nor does the record, if the service is in another container.
        if not lock.try_once() or (holder is not None and holder.is_looked_after()):
            raise RegistryLocked(str(data_dir), holder.master if holder else 0)
        yield
    finally:
        lock.close()
