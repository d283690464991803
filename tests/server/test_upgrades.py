"""A head that asks for another protocol, and the same without."""

from __future__ import annotations

import pytest

from afterwards.server.upgrades import without_upgrade


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (b"Upgrade", b""),
        (b"upgrade, HTTP2-Settings", b""),
        (b"close,Upgrade", b"close"),
        (b"keep-alive , x-hop", b"keep-alive, x-hop"),
    ],
)
def test_what_asks_is_left_out_and_everything_else_stays(options: bytes, kept: bytes) -> None:
    headers = [
        (b"host", b"x:80"),
        (b"connection", options),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAA"),
        (b"x-tag", b"a\tb: c"),
        (b"x-tag", b""),
    ]
    head = without_upgrade(b"POST", b"/a?b", "1.1", headers)
    assert head == (
        b"POST /a?b HTTP/1.1\r\nhost: x:80\r\nconnection: %b\r\nx-tag: a\tb: c\r\nx-tag: \r\n\r\n"
        % kept
    )
