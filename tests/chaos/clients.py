"""Clients that submit tasks of all types without pause, and log what was acknowledged."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

CLIENTS = 4
PAUSE_SECONDS = 0.05
"""After a refusal; a client that asks again at once would only measure refusals."""


class Acknowledged(NamedTuple):
    """A task that was answered 202 (or what its route says instead)."""

    task_id: str
    kind: str
    content: Mapping[str, Any] | None
    """The content that a file task has to write."""


def submission(rng: random.Random, number: int) -> tuple[str, str, Mapping[str, Any] | None]:
    """Kind, path and body of the next task. Few reports: they have the fewest slots.

    Naps run in hosts, many in one.
    """
    kind = rng.choices(
        ["notification", "flaky", "bounce", "bare", "file", "email", "report", "nap", "nap-thread"],
        [5, 1, 1, 1, 4, 4, 1, 4, 2],
    )[0]
    message = {"message": f"m{number}"}
    path, body = {
        "notification": ("/notify/", {"email": "johndoe@example.com", **message}),
        "flaky": ("/notify", {"email": "flaky@simulator.example", **message}),
        "bounce": ("/notify", {"email": "bounce@simulator.example", **message}),
        "bare": ("/api/notifications/notify", None),
        "file": ("/file/", {"content": {"number": number, "random": rng.random()}}),
        "email": ("/send-email", {"email": "a@example.com", "subject": "s", "body": "b"}),
        "report": ("/report/", {"name": f"r{number}", "details": {"number": number}}),
        "nap": ("/tasks", {"type": "nap", "payload": {"seconds": 0.3}}),
        "nap-thread": ("/tasks", {"type": "nap-thread", "payload": {"seconds": 0.3}}),
    }[kind]
    return kind, path, body


class Clients:
    """`CLIENTS` threads at a bounded rate together. Acknowledged tasks go to a file, at once."""

    def __init__(self, url: str, log_file: Path, seed: int, per_second: float) -> None:
        self.answers: Counter[str] = Counter()
        """By status, or by what went wrong on the way."""
        self._url = url
        self._log_file = log_file
        self._interval_seconds = CLIENTS / per_second
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._submit, args=[random.Random(f"{seed}-{number}")])
            for number in range(CLIENTS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def acknowledged(self) -> list[Acknowledged]:
        """The acknowledged submissions in the log."""
        if not self._log_file.exists():
            return []
        lines = self._log_file.read_text().splitlines()
        return [Acknowledged(*json.loads(line)) for line in lines]

    def _submit(self, rng: random.Random) -> None:
        number, due = 0, time.monotonic()
        client = httpx.Client(base_url=self._url, timeout=10)
        with client, self._log_file.open("a") as log:
            while not self._over.wait(due - time.monotonic()):
                due = max(due + self._interval_seconds, time.monotonic() - 1.0)
                number += 1
                kind, path, body = submission(rng, number)
                try:
                    answer = client.post(path, json=body)
                except httpx.TransportError as error:
                    # Nobody has said 202: the task may be there or not.
                    self._count(type(error).__name__)
                    self._over.wait(PAUSE_SECONDS)
                    continue
                self._count(str(answer.status_code))
                if answer.is_success:
                    task_id = answer.headers["location"].rpartition("/")[2]
                    content = body["content"] if kind == "file" and body else None
                    log.write(json.dumps([task_id, kind, content]) + "\n")
                    log.flush()
                else:
                    self._over.wait(PAUSE_SECONDS)

    def _count(self, answer: str) -> None:
        with self._lock:
            self.answers[answer] += 1
