"""The parser against the HTML standard's rules (9.2.6), wherever the bytes are split."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwards_client.event_stream import EventStreamParser, Message

LINE_ENDS = (b"\n", b"\r", b"\r\n")

STREAM = (
    "\ufeffid: 1\n: hello\nevent: state\ndata: {\n data: no\ndata:}ü\n\n"
    ":\n\ndata\n\nid: 2\ndata: x\n\n"
)
MESSAGES = [
    Message("state", "{\n}ü", "1"),
    Message("message", "", "1"),
    Message("message", "x", "2"),
]


def parsed(*chunks: bytes) -> list[Message]:
    parser = EventStreamParser()
    return [message for chunk in chunks for message in parser.feed(chunk)]


@pytest.mark.parametrize("end", LINE_ENDS)
def test_all_line_ends_are_one(end: bytes) -> None:
    assert parsed(STREAM.encode().replace(b"\n", end)) == MESSAGES


@given(st.sampled_from(LINE_ENDS), st.lists(st.integers(0, len(STREAM.encode()) + 20)))
def test_it_does_not_matter_where_the_bytes_are_split(end: bytes, cuts: list[int]) -> None:
    data = STREAM.encode().replace(b"\n", end)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(borders)]
    assert parsed(*chunks) == MESSAGES


def test_bytes_one_by_one_are_the_same() -> None:
    data = STREAM.encode().replace(b"\n", b"\r\n")
    assert parsed(*(data[i : i + 1] for i in range(len(data)))) == MESSAGES


def test_a_message_is_told_at_once_although_its_line_may_yet_get_a_line_feed() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: a\r\n\r") == [Message("message", "a", "")]
    assert parser.feed(b"\ndata: b\r\n\r\n") == [Message("message", "b", "")]


def test_one_leading_space_is_no_part_of_the_value() -> None:
    assert parsed(b"data:  a\n\n") == [Message("message", " a", "")]


def test_a_message_without_data_is_none_and_leaves_no_event_behind() -> None:
    assert parsed(b"event: state\n\ndata: a\n\n") == [Message("message", "a", "")]


def test_what_is_cut_off_is_no_message_and_its_id_does_not_count() -> None:
    parser = EventStreamParser("7")
    assert parser.feed(b"id: 8\ndata: a\n") == []
    assert parser.last_event_id == "7"
    assert parser.feed(b"\n") == [Message("message", "a", "8")]
    assert parser.last_event_id == "8"


def test_an_id_counts_without_data_but_not_with_a_null() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"id: 1\n\nid: 2\0\ndata: a\n\n") == [Message("message", "a", "1")]


def test_an_empty_id_forgets_the_last() -> None:
    parser = EventStreamParser("1")
    parser.feed(b"id\ndata: a\n\n")
    assert parser.last_event_id == ""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1500", 1.5),
        (b"0", 0.0),
        (b"1.5", None),
        (b"-1", None),
        (b"", None),
        (b"9" * 5000, math.inf),
    ],
)
def test_the_time_until_the_next_connection_is_in_milliseconds_and_digits(
    value: bytes, seconds: float | None
) -> None:
    parser = EventStreamParser()
    parser.feed(b"retry: " + value + b"\n")
    assert parser.retry_seconds == seconds


def test_unknown_fields_and_wrong_bytes_do_no_harm() -> None:
    assert parsed(b"colour: blue\ndata: \xff\n\n") == [Message("message", "\ufffd", "")]


def test_a_line_in_many_pieces_takes_time_by_its_length_alone() -> None:
    # 8 ms; 20 s when each piece had all that came before it searched again.
    piece = b"x" * 512
    began = time.process_time()
    [message] = parsed(b"data: ", *[piece] * 2048, b"\n\n")
    assert time.process_time() - began < 2.0
    assert len(message.data) == 512 * 2048
