from __future__ import annotations

import math
from dataclasses import replace

import pytest

from afterwards_executors.base import End, Outcome
from afterwards_executors.frames import (
    HEAD,
    BrokenWire,
    Frame,
    Incoming,
    Kind,
    decode_call,
    decode_outcome,
    encode_call,
    encode_outcome,
    frame,
)
from tests.executors import work

TWO = frame(Kind.PROGRESS, 7, b"half") + frame(Kind.ENDED, 2**32 - 1, b"outcome")
FRAMES = [Frame(Kind.PROGRESS, 7, b"half"), Frame(Kind.ENDED, 2**32 - 1, b"outcome")]


def test_what_comes_at_once_is_taken_apart() -> None:
    assert list(Incoming().feed(TWO)) == FRAMES


def test_a_frame_may_come_byte_by_byte() -> None:
    incoming = Incoming()
    heard = [one for byte in TWO for one in incoming.feed(bytes([byte]))]

    assert heard == FRAMES


def test_a_frame_is_heard_as_soon_as_it_is_complete() -> None:
    incoming = Incoming()

    assert list(incoming.feed(TWO[: HEAD.size + 6])) == FRAMES[:1]
    assert list(incoming.feed(TWO[HEAD.size + 6 :])) == FRAMES[1:]


def test_an_empty_body_is_a_frame() -> None:
    assert list(Incoming().feed(frame(Kind.LEAVE))) == [Frame(Kind.LEAVE, 0, b"")]


def test_a_frame_that_is_too_long_is_refused_after_those_before_it() -> None:
    incoming = Incoming(max_frame_bytes=4)
    heard: list[Frame] = []
    both = frame(Kind.PROGRESS, 1, b"four") + frame(Kind.PROGRESS, 1, b"five!")
    with pytest.raises(BrokenWire, match="a frame of 5 bytes"):
        heard.extend(incoming.feed(both))

    assert heard == [Frame(Kind.PROGRESS, 1, b"four")]


def test_the_length_alone_refuses_a_frame() -> None:
    with pytest.raises(BrokenWire):
        list(Incoming(max_frame_bytes=4096).feed(HEAD.pack(2**31, Kind.PROGRESS, 1)))


def test_a_call_arrives_as_it_was_sent() -> None:
    assert decode_call(encode_call(work.succeed, (b"x",))) == (work.succeed, (b"x",))


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(End.SUCCEEDED, value=b""),
        Outcome(End.SUCCEEDED, value=b"{}"),
        Outcome(End.SUCCEEDED, value=b"{}", extra=b"[1]"),
        Outcome(End.SUCCEEDED, error="none", extra=b""),
        Outcome(End.FAILED, error="half a pair: \ud800", transient=True, retry_in_seconds=1.5),
        Outcome(End.STARVED, error="", run_seconds=math.pi),
        Outcome(End.FAILED, error="410", gone=True),
    ],
)
def test_an_outcome_arrives_as_it_was_sent(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


def test_what_a_call_has_taken_arrives_with_its_outcome() -> None:
    outcome = Outcome(End.SUCCEEDED, value=b"{}")
    arrived = decode_outcome(encode_outcome(outcome, 0.25, 2**40))

    assert arrived == replace(outcome, cpu_seconds=0.25, peak_memory_bytes=2**40)


@pytest.mark.parametrize("value", [5, "text", object()])
def test_an_outcome_that_holds_something_else_is_not_sent(value: object) -> None:
    with pytest.raises((TypeError, AttributeError)):
        encode_outcome(Outcome(End.SUCCEEDED, value=value))  # type: ignore[arg-type] # the mistake
