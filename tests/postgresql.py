"""A PostgreSQL server for tests: in a directory of its own, by another user than root, synced."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psycopg

_VERSIONS: Final = Path("/usr/lib/postgresql")
"""Debian's packages have their programs there; none of them is on the path."""
_WAIT_SECONDS: Final = 30.0
USER: Final = "afterwards"


def programs() -> Path | None:
    """The directory with `initdb` and `postgres`, of the latest version; None: there is none."""
    found = [path.parent for path in _VERSIONS.glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    other = shutil.which("initdb")
    return Path(other).parent if other else None


def _owner() -> dict[str, Any]:
    """The user that runs the server, for `subprocess`: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Server:
    """A server that is started, stopped and killed.

    Args:
        programs: as `programs` finds them.
        settings: of `postgresql.conf`, by name.
    """

    def __init__(self, programs: Path, **settings: str) -> None:
        self._programs = programs
        self._settings = settings
        self._owner = _owner()
        # Not below pytest's own directory, which none but its user may enter.
        self.directory = Path(tempfile.mkdtemp(prefix="afterwards-pg-"))
        if self._owner:
            os.chown(self.directory, self._owner["user"], self._owner["group"])
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb",
            *("--pgdata", self._data, "--auth", "trust", "--username", USER),
            *("--encoding", "UTF8", "--locale", "C.UTF-8"),
        )

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def url(self, database: str = "postgres") -> str:
        """The address of a database, over the socket in the server's directory."""
        return f"postgresql://{USER}@/{database}?host={self.directory}&port={self.port}"

    def tcp_url(self, database: str = "postgres") -> str:
        """The same over the loopback interface."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": "on",
            "max_connections": "200",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                **self._owner,
            )
        deadline = time.monotonic() + _WAIT_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.directory / "log").read_text())
            time.sleep(0.02)

    def answers(self) -> bool:
        """True if a connection can be made."""
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT disconnects all and stops in order, SIGQUIT leaves a crash to recover."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def create(self, database: str) -> str:
        """Make a database, in the place of one of this name, and give its address."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def close(self) -> None:
        """Stop it, and remove all that it has."""
        self.stop()
        shutil.rmtree(self.directory)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            **self._owner,
        )
        assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def empty(url: str) -> None:
    """Let a database have no rows: tables and functions stay, and so tests begin soon."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'afterwards'::regnamespace "
            "AND relname NOT IN ('version', 'service', 'leader', 'published')"
        ).fetchall()
        deleted = "; ".join(f'DELETE FROM afterwards."{name}"' for (name,) in tables)
        connection.execute(
            f"{deleted}; UPDATE afterwards.leader SET holder = NULL; "
            "UPDATE afterwards.service SET elapsed_minus_wall = 0, keys_version = 0, "
            "webhooks_version = 0, keys_required = false, schedules = 0, schedule_bytes = 0, "
            "plans_version = plans_version + 1; "
            "UPDATE afterwards.published SET sequence = 0, epoch = md5(random()::text)"
        )
