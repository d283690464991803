"""Clients that submit tasks of all types without pause, and log what was acknowledged."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import httpx

from tests.chaos.submissions import FOLLOWER, MEMBERS, Maker, Submission

CLIENTS: Final = 4
PAUSE_SECONDS: Final = 0.05
"""After a refusal; a client that asks again at once would only measure refusals."""

TRIES: Final = 200
"""A submission with an idempotency key is repeated so often until it is acknowledged."""


class Acknowledged(NamedTuple):
    """A task that was answered 202 (or what its route says instead)."""

    task_id: str
    kind: str
    content: Mapping[str, Any]
    """The content that its effect has to have."""


class Clients:
    """`CLIENTS` threads at a bounded rate together. Acknowledged tasks go to a file, at once.

    Args:
        calls_url: the recording server of HTTP.
    """

    def __init__(
        self, url: str, log_file: Path, seed: int, per_second: float, calls_url: str
    ) -> None:
        self.answers: Counter[str] = Counter()
        """By status, or by what went wrong on the way."""
        self._url = url
        self._log_file = log_file
        self._interval_seconds = CLIENTS / per_second
        self._lock = threading.Lock()
        self._over = threading.Event()
        makers = [
            Maker(random.Random(f"{seed}-{number}"), f"{number}", calls_url)
            for number in range(CLIENTS)
        ]
        self._threads = [threading.Thread(target=self._submit, args=[one]) for one in makers]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def acknowledged(self) -> list[Acknowledged]:
        """The acknowledged tasks in the log, each once."""
        if not self._log_file.exists():
            return []
        with self._log_file.open() as log:
            lines = [Acknowledged(*json.loads(line)) for line in log]
        # One with a unique key may have been the answer to several.
        return [*{one.task_id: one for one in lines}.values()]

    def _submit(self, maker: Maker) -> None:
        number, due = 0, time.monotonic()
        client = httpx.Client(base_url=self._url, timeout=10)
        with client, self._log_file.open("a") as log:
            while not self._over.wait(due - time.monotonic()):
                due = max(due + self._interval_seconds, time.monotonic() - 1.0)
                number += 1
                self._send(client, maker.make(number), log)

    def _send(self, client: httpx.Client, submission: Submission, log: TextIO) -> None:
        for _ in range(TRIES if submission.headers else 1):
            answer = self._ask(client, submission)
            if answer is not None and answer.is_success:
                log.writelines(json.dumps(one) + "\n" for one in _accepted(submission, answer))
                log.flush()
                return
            # Where nobody has said 202, the task may be there or not.
            if self._over.wait(PAUSE_SECONDS):
                return

    def _ask(self, client: httpx.Client, submission: Submission) -> httpx.Response | None:
        try:
            answer = client.post(
                submission.path, json=submission.body, headers={**submission.headers}
            )
        except httpx.TransportError as error:
            self._count(type(error).__name__)
            return None
        self._count(str(answer.status_code))
        return answer

    def _count(self, answer: str) -> None:
        with self._lock:
            self.answers[answer] += 1


def _accepted(submission: Submission, answer: httpx.Response) -> Iterator[Acknowledged]:
    """The tasks that an answer acknowledges."""
    if submission.kind != "group":
        task_id = answer.headers["location"].rpartition("/")[2]
        yield Acknowledged(task_id, submission.kind, submission.content)
        return
    batch = answer.json()
    ids = [one["id"] for one in batch["tasks"]]
    for kind, task_id in zip(MEMBERS, ids, strict=True):
        yield Acknowledged(task_id, kind, {})
    yield Acknowledged(batch["then"]["id"], FOLLOWER, {"members": ids})
