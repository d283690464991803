"""The header `Idempotency-Key`: what is a key, and how a repetition is answered."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from afterwards.api.idempotency import MAX_KEY_CHARACTERS
from tests.api.conftest import FakeService

pytestmark = pytest.mark.anyio

EMAIL = {"email": "johndoe@example.com", "subject": "s", "body": "b"}
SUBMISSIONS: dict[str, Any] = {
    "/notify/": {"email": "johndoe@example.com", "message": "x"},
    "/report/": {"name": "Sales", "details": {}},
    "/file/": {"content": {"a": 1}},
    "/send-email": EMAIL,
    "/api/notifications/notify": None,
}


@pytest.mark.parametrize("path", SUBMISSIONS)
async def test_a_repetition_is_answered_as_the_first_was_and_says_so(
    client: httpx.AsyncClient, service: FakeService, path: str
) -> None:
    headers = {"Idempotency-Key": '"k-1"'}
    first = await client.post(path, json=SUBMISSIONS[path], headers=headers)
    again = await client.post(path, json=SUBMISSIONS[path], headers=headers)

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert service.only_task.idempotency_key == "k-1"


async def test_without_a_key_nothing_is_a_repetition(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    for _ in range(2):
        answer = await client.post("/send-email", json=EMAIL)
        assert "idempotent-replayed" not in answer.headers
    assert len(service.tasks) == 2


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ('"8e03978e-40d5-43dd"', "8e03978e-40d5-43dd"),
        ("8e03978e-40d5-43dd", "8e03978e-40d5-43dd"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ("a:b/c=", "a:b/c="),
        ("x" * MAX_KEY_CHARACTERS, "x" * MAX_KEY_CHARACTERS),
        (f'"{"x" * MAX_KEY_CHARACTERS}"', "x" * MAX_KEY_CHARACTERS),
    ],
)
async def test_a_key_is_a_string_in_quotes_or_a_word(
    client: httpx.AsyncClient, service: FakeService, sent: str, key: str
) -> None:
    answer = await client.post("/send-email", json=EMAIL, headers={"Idempotency-Key": sent})

    assert answer.status_code == 200
    assert service.only_task.idempotency_key == key


@pytest.mark.parametrize(
    "sent",
    [
        [b""],
        [b'""'],
        [b'"'],
        [b'"a'],
        [b'a"b'],
        [b"a b"],
        [b'"a\\b"'],
        [b'"a\x7f"'],
        ["ü".encode()],
        [b"x" * (MAX_KEY_CHARACTERS + 1)],
        [b"a", b"a"],
    ],
)
async def test_what_is_no_key_is_refused_and_nothing_stored(
    client: httpx.AsyncClient, service: FakeService, sent: list[bytes]
) -> None:
    headers = [(b"idempotency-key", value) for value in sent]
    answer = await client.post("/send-email", json=EMAIL, headers=headers)

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]
    assert service.tasks == {}
