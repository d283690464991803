"""The killer: signals at random, with a note of what was under way at each."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tests.chaos.fleet import Fleet, parent
from tests.reliability.conftest import FaultyService

T = TypeVar("T")

PAUSE_SECONDS: Final = (0.2, 1.4)
FREEZE_SECONDS: Final = {"worker": (0.3, 7.0), "child": (0.3, 3.0), "effects": (0.3, 3.0),
                         "registry": (0.3, 6.0), "master": (0.3, 3.0)}  # fmt: skip
"""A worker's and the registry's freezes go beyond the lease of 5 s."""

KINDS: Final = (
    *("worker SIGKILL", "worker SIGTERM", "worker SIGHUP", "worker freeze"),
    *("child SIGKILL", "child SIGTERM", "child freeze"),
    *("effects SIGKILL", "effects SIGTERM", "effects freeze"),
    *("registry SIGKILL", "registry SIGTERM", "registry SIGHUP", "registry freeze"),
    *("master SIGKILL", "master SIGTERM", "master SIGHUP", "master freeze"),
    "everything SIGKILL",
)
VICTIM_SECONDS: Final = 5.0
"""The time for which a strike waits for a victim, and for attempts under way."""

MISSING_SECONDS: Final = 60.0
"""The same for a kind that has met none so far: it is to be met, on a slow machine, too."""

MASTER_STOP_SECONDS: Final = 40.0
MORE_TRIES: Final = 3


@dataclass
class Kill:
    """One strike."""

    kind: str
    at: float
    pids: frozenset[int]
    """The processes whose attempts it may end: the victim, and all that depend on it."""
    in_flight: int
    """Attempts under way in those; for the registry, whose death should end none, in all."""
    until: float = 0.0
    """The moment at which frozen processes go on."""
    parent: int = 0
    """The worker of a host."""


@dataclass
class Killer:
    """Strikes until told to end. All kinds come equally often, in an order of the seed's."""

    service: FaultyService
    fleet: Fleet
    rng: random.Random
    kills: list[Kill] = field(default_factory=list)
    _frozen: dict[int, float] = field(default_factory=dict)
    """The moments at which frozen processes are continued."""
    _sending: dict[int, int] = field(default_factory=dict)
    """Hosts of effects and their attempts under way, as the latest victim was chosen."""

    def run(self, over: threading.Event) -> None:
        """Strike until `over` and until no kind is missing, then leave everybody running."""
        round_: list[str] = []
        while not self._pause(self.rng.uniform(*PAUSE_SECONDS), over):
            self._raise_master()
            if not round_:
                round_ = self.rng.sample(KINDS, len(KINDS))
            self._strike(round_.pop())
        self._strike_missing()
        for pid in list(self._frozen):
            self._continue(pid)
        self._raise_master()

    def _strike_missing(self) -> None:
        """Kinds that have not met attempts under way: a slow machine has had too little time."""
        for _ in range(MORE_TRIES):
            struck = {kill.kind for kill in self.kills if kill.in_flight}
            for kind in (kind for kind in KINDS if kind not in struck):
                self._pause(self.rng.uniform(*PAUSE_SECONDS), threading.Event())
                self._raise_master()
                self._strike(kind, MISSING_SECONDS)

    # -- striking ----------------------------------------------------------------------------------

    def _strike(self, kind: str, seconds: float = VICTIM_SECONDS) -> None:
        role, how = kind.split()
        pid = self._wait_for(lambda: self._victim(role), seconds)
        if pid is None:
            return
        self._note(kind, pid)
        if role == "everything":
            for each in self.service.processes():
                _send(each, signal.SIGKILL)
        elif how == "freeze":
            _send(pid, signal.SIGSTOP)
            self._frozen[pid] = time.monotonic() + self.rng.uniform(*FREEZE_SECONDS[role])
            self.kills[-1].until = self._frozen[pid]
        else:
            _send(pid, signal.Signals[how])
        if role == "everything" or (role == "master" and how in ("SIGKILL", "SIGTERM")):
            self._wait_master_ended()
            self._raise_master()

    def _victim(self, role: str) -> int | None:
        """Somebody of that role with attempts under way."""
        if role == "effects":
            self._sending = self.fleet.sending()
            hosts = sorted(pid for pid in self._sending if pid not in self._frozen)
            return self.rng.choice(hosts) if hosts else None
        running = self.fleet.running()
        workers = [pid for pid in self.fleet.workers() if pid not in self._frozen]
        busy: set[int | None]
        match role:
            case "worker":
                busy = {mark.pid for mark in running if mark.pid in workers}
            case "child":
                children = {mark.pid for mark in running if mark.parent in workers}
                busy = {pid for pid in children if pid not in self._frozen}
            case "registry":
                busy = {self.fleet.registry()} if running else set()
            case _:
                busy = {self.fleet.master()} if running else set()
        found = sorted(pid for pid in busy if pid is not None)
        return self.rng.choice(found) if found else None

    def _note(self, kind: str, pid: int) -> None:
        role = kind.partition(" ")[0]
        running = self.fleet.running()
        if role in ("master", "everything") or kind == "registry freeze":
            pids = frozenset(self.service.processes())
        else:
            pids = self.fleet.with_children(pid)
        hit = len([mark for mark in running if mark.pid in pids or role == "registry"])
        above = 0
        if role in ("child", "effects"):
            above = parent(pid)
        if role == "effects":
            hit = self._sending.get(pid, 0)
        if kind in ("child SIGTERM", "effects SIGTERM", "master SIGHUP"):
            # A stop is the business of its parent, and new task code that of further attempts.
            pids, above = frozenset(), 0
        self.kills.append(Kill(kind, time.monotonic(), pids, hit, parent=above))

    # -- who looks after the service ---------------------------------------------------------------

    def _raise_master(self) -> None:
        """Start the master again, as a supervisor would."""
        if self.fleet.master() is None:
            self.service.start(ready=False)

    def _wait_master_ended(self) -> None:
        self._wait_for(lambda: self.fleet.master() is None, MASTER_STOP_SECONDS)

    def _wait_for(self, found: Callable[[], T | None], seconds: float) -> T | None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if result := found():
                return result
            self._pause(0.05, threading.Event())
        return None

    def _pause(self, seconds: float, over: threading.Event) -> bool:
        """Wait, continuing whoever's time has come; whether it is over."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end and not over.is_set():
            for pid, at in list(self._frozen.items()):
                if at <= now:
                    self._continue(pid)
            over.wait(min(0.05, end - now))
        return over.is_set()

    def _continue(self, pid: int) -> None:
        del self._frozen[pid]
        _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
