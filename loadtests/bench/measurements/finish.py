"""The time until one task is finished, as its submitter sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from loadtests.bench import synced
from loadtests.bench.figures import Figure, Row, percentile
from loadtests.bench.notification import PAYLOAD, SUBMIT
from loadtests.bench.stand import Stand, check_accepted, durable_text
from loadtests.connection import Connection, get, id_in, post
from loadtests.errors import LoadTestError

SUBMIT_AND_WAIT: Final = post("/tasks?wait=30", {"type": "notification", "payload": PAYLOAD})
"""Answered when the task is finished: nothing polls, the service tells."""

POLL_PAUSE_SECONDS: Final = 0.0002
"""So that polling costs the service little, and the figure little more than what it measures."""

_SUCCESS: Final = b'"status":"success"'
_PENDING: Final = b'"status":"pending"'


def measure(stand: Stand) -> Iterator[Row]:
    """From the submission until its end is seen, one task at a time, on one connection."""
    service = stand.service()
    rounds: list[list[float]] = []
    told: list[list[float]] = []
    polls: list[int] = []
    tasks = stand.sizes.one_by_one
    with service:
        durability = synced.require(service, stand.sizes.synced)
        stand.warm_up(service)
        first = before = service.counts()
        for _ in stand.rounds("finish"):
            with service.connect() as connection:
                seen = [follow(connection, SUBMIT) for _ in range(tasks)]
                told.append([wait(connection) for _ in range(tasks)])
            rounds.append([milliseconds for milliseconds, _ in seen])
            polls += [number for _, number in seen]
            after = service.wait_finished(before.submitted + 2 * tasks)
            check_accepted(2 * tasks, 0, before, after)
            before = after
    looks = f"{percentile(polls, 0.5):.0f} polls, in the median"
    for name, took, note in (
        ("submit to finished, one at a time", rounds, looks),
        ("submit and be told of the end", told, ""),
    ):
        for share in (0.5, 0.99):
            yield Row(
                "finish",
                f"{name}: p{share * 100:.0f}",
                "ms",
                Figure.of(percentile(each, share) for each in took),
                durable=durable_text(durability, first, before),
                note=note,
            )


def wait(connection: Connection) -> float:
    """Milliseconds until a submission is answered with the finished task."""
    started = time.perf_counter()
    body = connection.expect(200, SUBMIT_AND_WAIT)
    if _SUCCESS not in body:
        raise LoadTestError(f"a task did not succeed: {body.decode()}")
    return (time.perf_counter() - started) * 1e3


def follow(connection: Connection, request: bytes) -> tuple[float, int]:
    """Milliseconds until a submitted task is seen finished, and how many looks that took."""
    started = time.perf_counter()
    task_id = id_in(connection.expect(202, request))
    look = get(f"/status/{task_id}")
    polls = 1
    while _SUCCESS not in (body := connection.expect(200, look)):
        if _PENDING not in body:
            raise LoadTestError(f"a task did not succeed: {body.decode()}")
        time.sleep(POLL_PAUSE_SECONDS)
        polls += 1
    return (time.perf_counter() - started) * 1e3, polls
