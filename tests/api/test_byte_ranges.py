from __future__ import annotations

import pytest

from afterwards.api.byte_ranges import MOST_RANGES, ranges_of


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-4", [(0, 5)]),
        ("Bytes=5-", [(5, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("bytes=8-99", [(8, 10)]),
        ("bytes=0-0, 9-9", [(0, 1), (9, 10)]),
        ("bytes=7-8,0-1", [(7, 9), (0, 2)]),
        ("bytes=0-1,99-", [(0, 2)]),
    ],
)
def test_a_range_is_what_it_says_of_the_bytes_there_are(
    header: str, found: list[tuple[int, int]]
) -> None:
    assert ranges_of(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_file_without_any_of_the_bytes_has_no_range(header: str) -> None:
    assert ranges_of(header, 10) == []


def test_an_empty_file_has_no_range() -> None:
    assert ranges_of("bytes=0-", 0) == []


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "bytes=2-1", "lines=0-1"),
        *("bytes=0-1,", "bytes=0x1-2", "bytes=-1-2", "bytes=٣-4", f"bytes={'9' * 5000}-"),
        *("bytes=0-5,3-8", f"bytes={','.join(['0-0'] * (MOST_RANGES + 1))}"),
    ],
)
def test_a_header_that_is_not_valid_or_asks_for_much_is_ignored(header: str | None) -> None:
    assert ranges_of(header, 10) is None
