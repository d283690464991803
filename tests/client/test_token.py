"""A client shows its key with every request, and tells it to nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from afterwards_client import AsyncClient, Client, InvalidArgument

TOKEN = "aw_abcdef012345_" + "s" * 43
BOTH = pytest.mark.parametrize("cls", [Client, AsyncClient])


def test_a_key_is_shown_with_every_request_but_for_a_header_of_ones_own() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"count": 1, "exact": True})

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        Client(token=TOKEN, http=http).count()
        Client(token=TOKEN, headers={"authorization": "Bearer other"}, http=http).count()
        Client(http=http).count()
    sent = [request.headers.get("Authorization") for request in requests]
    assert sent == [f"Bearer {TOKEN}", "Bearer other", None]
    assert all(TOKEN not in str(request.url) for request in requests)


@BOTH
@pytest.mark.parametrize("token", ["", " ", "aw_1\n", "sesame\udc80", "sesame "])
def test_what_cannot_be_sent_is_refused_and_not_repeated(cls: Any, token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        cls(token=token)
    assert token.strip() == "" or token.strip() not in str(caught.value)


@BOTH
def test_a_url_with_a_user_and_a_key_are_one_too_many(cls: Any) -> None:
    with pytest.raises(InvalidArgument, match="the URL has a user") as caught:
        cls("http://jo:s3cret@service", token=TOKEN)
    assert TOKEN not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert TOKEN not in repr(vars(cls(token=TOKEN)))
