"""The document that every page begins with."""

from __future__ import annotations

from afterwards.dashboard.shell import shell


def test_what_comes_from_a_request_is_escaped() -> None:
    page = shell('"><script>', "0", "<1>").decode()
    assert '<base href="&quot;&gt;&lt;script&gt;">' in page
    assert 'data-version="&lt;1&gt;"' in page
