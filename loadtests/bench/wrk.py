"""Load by wrk: many connections, each with one request at a time, as fast as they are answered.

Only its counts are used. Its latencies are not: wrk adds requests that it believes it would have
sent, had an answer not been slow, so they are no list of what was seen.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.errors import LoadTestError

POST_SCRIPT: Final = Path(__file__).with_name("post.lua")
"""The notification of `SUBMIT`, again and again, with the token that an argument gives."""

READ_SCRIPT: Final = Path(__file__).with_name("read.lua")
"""The status of a random task of those whose ids are in the file named by the argument."""

KEYS_SCRIPT: Final = Path(__file__).with_name("keys.lua")
"""Notifications with one of many keys. The arguments: the member that the key is, or `none`; the
number of keys; the first number."""

_MARK: Final = "summary: "
_MARGIN_SECONDS: Final = 60


@dataclass(frozen=True)
class Load:
    """The result of one run of wrk."""

    answers: int
    """All of them of a status below 400."""
    seconds: float
    started: float
    """The moment at which it began to send (`time.perf_counter`)."""

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def run(
    script: Path, url: str, *, connections: int, seconds: int, arguments: Sequence[str] = ()
) -> Load:
    """Load `url` for so long, from one thread.

    Raises:
        LoadTestError: any request failed, or wrk is not there.
    """
    program = shutil.which("wrk")
    if program is None:
        raise LoadTestError("wrk is not installed. On Debian: apt-get install wrk")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script), url]
    done = subprocess.run(
        [*command, *(["--", *arguments] if arguments else [])],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _MARGIN_SECONDS,
    )
    ended = time.perf_counter()
    return parse(done.stdout, done.stderr, ended)


def parse(output: str, problems: str, ended: float) -> Load:
    """The result that the scripts have wrk print at its end."""
    _, found, summary = output.rpartition(_MARK)
    if not found:
        raise LoadTestError(f"wrk failed: {problems or output}")
    numbers: dict[str, float] = json.loads(summary.partition("\n")[0])
    failures = {name: n for name, n in numbers.items() if name.startswith("failed_") and n}
    if failures or not numbers["answers"]:
        raise LoadTestError(f"requests failed under wrk: {summary.strip()}")
    seconds = numbers["microseconds"] / 1e6
    # wrk ends with its threads: what it takes before them does not belong to the load.
    return Load(int(numbers["answers"]), seconds, ended - seconds)
