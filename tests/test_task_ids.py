"""Ids of tasks: random, and never handed out twice, whoever forks."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable

import pytest

from afterwards import task_ids
from afterwards.task_ids import child_id, child_id_now, new_id


def test_ids_are_random_uuids_each_its_own() -> None:
    ids = [new_id() for _ in range(1_000)]
    for text in ids:
        read = uuid.UUID(text)
        assert (str(read), read.version, read.variant) == (text, 4, uuid.RFC_4122)
    # The other bits, each in both values: 122 of 128.
    numbers = [uuid.UUID(text).int for text in ids]
    either = [bit for bit in range(128) if len({number >> bit & 1 for number in numbers}) == 2]
    assert len(either) == 122
    assert len(set(ids)) == len(ids)


def test_threads_are_never_given_the_same_id() -> None:
    taken: list[list[str]] = [[] for _ in range(4)]

    def take(mine: list[str]) -> None:
        mine.extend(new_id() for _ in range(2_000))

    threads = [threading.Thread(target=take, args=[mine]) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({task_id for mine in taken for task_id in mine}) == 8_000


@pytest.mark.processes
def test_forks_of_a_process_never_hand_out_its_ids_nor_each_others() -> None:
    # The last one of those that were drawn leaves none to be shared.
    while not task_ids._drawn:
        new_id()

    children = [_in_a_fork(lambda: [new_id() for _ in range(100)]) for _ in range(2)]

    mine = [new_id() for _ in range(100)]
    assert len({*mine, *children[0], *children[1]}) == 300


def _in_a_fork(function: Callable[[], list[str]]) -> list[str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, "\n".join(function()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().split()
    os.waitpid(child, 0)
    return lines


def test_ids_of_children_are_made_of_what_is_known() -> None:
    parent = new_id()
    made = [
        child_id(parent, 1, 0),
        child_id(parent, 1, 1),
        child_id(parent, 2, 0),
        child_id(new_id(), 1, 0),
        child_id_now(parent, 0, "note", b"{}", 0),
        child_id_now(parent, 1, "note", b"{}", 0),
        child_id_now(parent, 0, "mail", b"{}", 0),
        child_id_now(parent, 0, "note", b"[]", 0),
        child_id_now(parent, 0, "note", b"{}", 1),
    ]

    assert len(set(made)) == len(made)
    assert {uuid.UUID(one).version for one in made} == {8}
    assert {uuid.UUID(one).variant for one in made} == {uuid.RFC_4122}
    assert [str(uuid.UUID(one)) for one in made] == made
    assert child_id(parent, 1, 0) == made[0]
    assert child_id_now(parent, 0, "note", b"{}", 0) == made[4]
