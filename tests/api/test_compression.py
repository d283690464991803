"""Answers with gzip, for clients that accept it."""

from __future__ import annotations

import gzip

import pytest
from fastapi import Request

from afterwards.api.compression import fitting
from afterwards.system.large_bodies import LARGE_BYTES

pytestmark = pytest.mark.anyio


def asking(accepted: str) -> Request:
    return Request({"type": "http", "headers": [(b"accept-encoding", accepted.encode())]})


@pytest.mark.parametrize("size", [1_400, LARGE_BYTES + 1])
async def test_what_is_large_is_compressed_for_whoever_takes_it(size: int) -> None:
    content, headers = await fitting(asking("gzip, br"), b"1" * size)
    assert headers["Content-Encoding"] == "gzip"
    assert len(content) < size / 10
    assert gzip.decompress(content) == b"1" * size


@pytest.mark.parametrize(("accepted", "size"), [("gzip", 1_399), ("br", 8_192), ("", 8_192)])
async def test_the_rest_stays_as_it_is(accepted: str, size: int) -> None:
    content, headers = await fitting(asking(accepted), b"1" * size)
    assert content == b"1" * size
    assert headers == {"Vary": "Accept-Encoding"}
