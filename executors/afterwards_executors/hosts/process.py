"""One host process: how it is started, and how it and all that it has started are ended."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from afterwards_executors.board import Begun, Board
from afterwards_executors.frames import Kind, Setup, frame
from afterwards_executors.hosts import orphans

MODULE: Final = "afterwards_executors.inside"
_WIRE_BUFFER_BYTES: Final = 1024 * 1024


class HostProcess:
    """A started process, the wire to it, and what it writes to its descriptors 1 and 2.

    Raises:
        OSError, MemoryError, subprocess.SubprocessError: it cannot be started; nothing is left.
    """

    def __init__(self, setup: Setup, environment: Mapping[str, str]) -> None:
        with contextlib.ExitStack() as undo:
            self._name = orphans.new_host()
            undo.callback(orphans.reaped, self._name)
            self.wire, theirs = socket.socketpair()
            undo.callback(self.wire.close)
            undo.enter_context(theirs)
            self._board = Board()
            undo.callback(self._board.close)
            self.output, write_end = os.pipe()
            undo.callback(os.close, self.output)
            output = undo.enter_context(os.fdopen(write_end, "wb", buffering=0))
            inherited = [theirs.fileno(), self._board.fileno()]
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, *map(str, inherited)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=inherited,
                # Kills reach what the calls start as well.
                process_group=0,
                env={**environment, orphans.VARIABLE: self._name},
            )
            undo.callback(self._end_at_once)
            self.pid = self._popen.pid
            orphans.started(self._name, self.pid)
            self.death = os.pidfd_open(self.pid)
            undo.callback(os.close, self.death)
            self.wire.setblocking(False)
            self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WIRE_BUFFER_BYTES)
            os.set_blocking(self.output, False)
            self.wire.send(frame(Kind.SETUP, body=pickle.dumps(setup)))
            # What the host has, this process keeps no copy of: its end could not be seen.
            theirs.close()
            output.close()
            undo.pop_all()

    def begun(self) -> Begun:
        """The number of its calls that have begun; until `reap`."""
        return self._board.read()

    def kill(self) -> None:
        """End it now, with what it has started. Does not wait."""
        # Its id is nobody else's until `reap`.
        for send in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self.pid, signal.SIGKILL)

    def reap(self) -> str:
        """Take note of the end of a process that has ended, and free everything. Says how it was.

        What it has started is killed first: while the process has not been reaped, no other process
        can have got the number of its group.
        """
        self.kill()
        try:
            _, status = os.waitpid(self.pid, 0)
            how = how_it_ended(os.waitstatus_to_exitcode(status))
            self._popen.returncode = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            how = "ended, and somebody else took its exit status"
            self._popen.returncode = 0
        orphans.reaped(self._name)
        self.wire.close()
        os.close(self.output)
        os.close(self.death)
        self._board.close()
        return how

    def _end_at_once(self) -> None:
        self._popen.kill()
        self._popen.wait()


def how_it_ended(exit_code: int) -> str:
    """The words for the end of a process, to finish a sentence with."""
    if exit_code >= 0:
        return f"exited with status {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if -exit_code == signal.SIGKILL:
        return f"was killed by {name}, as the kernel does when memory runs out"
    return f"was killed by {name}"
