"""Programs that are kept running, as systemd would, and ports for them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from threading import Event, Lock, Thread
from typing import Final

from .terminal import say

PAUSE_SECONDS: Final = 1.0


class Program:
    """A program that is started again when it ends by itself."""

    def __init__(self, name: str, *command: str, environment: Mapping[str, str]) -> None:
        self.pid = 0
        self._name = name
        self._command = command
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopping = Event()
        self._starting = Lock()
        # Ctrl-C interrupts the main thread only, so no process is started and then forgotten.
        self._keeper = Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start it, and keep it running."""
        self._keeper.start()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        with self._starting:
            self._is_stopping.set()
            if self._process is not None:
                self._process.terminate()
        if self._keeper.ident is not None:
            self._keeper.join()

    def _keep(self) -> None:
        ended = None
        while True:
            with self._starting:
                if self._is_stopping.is_set():
                    return
                # In a group of its own, which Ctrl-C does not reach: it is stopped in its turn.
                self._process = subprocess.Popen(
                    self._command, env=self._environment, process_group=0
                )
            if ended is not None:
                words = f"has ended with status {ended}, and is started again as process"
                say(self._name, f"{words} {self._process.pid}")
            self.pid = self._process.pid
            ended = self._process.wait()
            self._is_stopping.wait(PAUSE_SECONDS)


def port(wanted: int = 0) -> int:
    """This port of 127.0.0.1, or any free one if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return port()
        free: int = probe.getsockname()[1]
        return free
