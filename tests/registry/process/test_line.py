"""The registry's end of a connection: what is told in a turn, and what is left of it after."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from afterwards.registry.process.line import Line
from afterwards.registry.protocol.answers import Reply

CALL: tuple[object, ...] = ("ident", "exchange", (None, 0, []), {})


@pytest.fixture
def ends() -> Iterator[tuple[Line, Connection]]:
    """The registry's end, which has been called, and the worker's."""
    ours, theirs = (Connection(end.detach()) for end in socket.socketpair())
    line = Line(ours)
    with ours, theirs:
        theirs.send(CALL)
        yield line, theirs
        line.release()


def test_an_answer_that_was_told_is_sent_once(ends: tuple[Line, Connection]) -> None:
    line, worker = ends
    ident, method, arguments, named = line.recv()
    assert (ident, method, arguments) == CALL[:3]
    reply = Reply([None], [], [])

    named["tell"](reply)
    assert worker.recv() == ("#RETURN", reply)
    line.send(("#RETURN", reply))

    assert not worker.poll()
    # The next call is one of its own.
    worker.send(CALL)
    line.recv()
    line.send(("#ERROR", None))
    assert worker.recv() == ("#ERROR", None)


def test_only_an_exchange_is_told(ends: tuple[Line, Connection]) -> None:
    line, worker = ends
    line.recv()
    worker.send(("ident", "watch", (None, 0, 1.0), {}))

    assert line.recv() == ("ident", "watch", (None, 0, 1.0), {})


def test_a_worker_that_reads_nothing_does_not_hold_a_turn_and_gets_all_of_it_later(
    ends: tuple[Line, Connection],
) -> None:
    line, worker = ends
    tell = line.recv()[-1]["tell"]
    reply = Reply([b"x" * 4_000_000], [], [])

    # Nobody reads: it would wait for ever.
    tell(reply)
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(worker.recv()))
    reader.start()
    line.send(("#RETURN", reply))
    reader.join()

    assert got == [("#RETURN", reply)]


def test_a_worker_that_is_gone_is_noticed_after_the_turn(ends: tuple[Line, Connection]) -> None:
    line, worker = ends
    tell = line.recv()[-1]["tell"]
    worker.close()

    tell(Reply([], [], []))

    with pytest.raises(BrokenPipeError):
        line.send(None)
