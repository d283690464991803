"""The stand on which measurements are made: sizes, and servers in directories of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench import wrk
from loadtests.bench.sizes import Sizes
from loadtests.bench.synced import Durability
from loadtests.errors import LoadTestError
from loadtests.metrics import Counts
from loadtests.servers import PROGRAM, Bare, Server, Service


@dataclass
class Stand:
    """The surroundings of every measurement.

    Args:
        directory: on the disk that is to be measured; each server gets a directory in it, and
            leaves its journal there.
        say: told what happens next.
        program: the command of the service.
    """

    sizes: Sizes
    directory: Path
    say: Callable[[str], None] = lambda _: None
    program: Path = PROGRAM
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def service(self, **settings: float | str) -> Service:
        """The service, not started: default settings but no delays, unless given."""
        return Service(
            self.new_directory("service"),
            self.program,
            **{"workers": self.sizes.workers, "notification_delay_seconds": 0, **settings},
        )

    def bare(self) -> Bare:
        """The bare application, not started."""
        return Bare(self.new_directory("bare"), self.sizes.workers)

    def new_directory(self, name: str) -> Path:
        """A directory that was not used before."""
        directory = self.directory / f"{name}-{next(self._numbers)}"
        directory.mkdir()
        return directory

    def rounds(self, name: str) -> range:
        """Announces a measurement and counts its rounds."""
        self.say(f"{name}: {self.sizes.rounds} rounds")
        return range(self.sizes.rounds)

    def post(
        self, server: Server, *, seconds: int | None = None, connections: int | None = None
    ) -> wrk.Load:
        """Submissions to a server, as fast as it accepts them."""
        return wrk.run(
            wrk.POST_SCRIPT,
            f"{server.url}/notify/",
            connections=connections or self.sizes.connections,
            seconds=self.sizes.seconds if seconds is None else seconds,
            arguments=[server.token] if server.token else (),
        )

    def read(self, service: Service, ids_file: Path) -> wrk.Load:
        """Reads of the status of random tasks."""
        return wrk.run(
            wrk.READ_SCRIPT,
            service.url,
            connections=self.sizes.connections,
            seconds=self.sizes.seconds,
            arguments=[str(ids_file)],
        )

    def warm_up(self, *servers: Server) -> None:
        """Load that does not count."""
        for server in servers if self.sizes.warmup_seconds else ():
            self.post(server, seconds=self.sizes.warmup_seconds)
            if isinstance(server, Service):
                server.wait_finished(1)


def check_accepted(answers: int, connections: int, before: Counts, after: Counts) -> int:
    """The number of accepted tasks, if that is what was answered and all of them succeeded.

    When wrk ends it does not wait for what it has asked last on each connection.

    Raises:
        LoadTestError: tasks were lost, or answered and not accepted.
    """
    accepted = after.submitted - before.submitted
    succeeded = after.succeeded - before.succeeded
    if not answers <= accepted <= answers + connections or succeeded != accepted:
        raise LoadTestError(
            f"{answers} answers over {connections} connections, {accepted} tasks accepted, "
            f"{succeeded} succeeded"
        )
    return accepted


def durable_text(durability: Durability, before: Counts, after: Counts) -> str:
    """The words beside a figure: what was traced, and what was written for it."""
    tasks, commits = after.submitted - before.submitted, after.commits - before.commits
    mean_ms = (after.commit_seconds - before.commit_seconds) / max(commits, 1) * 1e3
    return f"{durability}; {tasks:,} tasks in {commits:,} commits of {mean_ms:.2f} ms"
