"""The verifier of webhooks, held against the library of the standard and against forgeries."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from afterwards_client import InvalidSecret, InvalidWebhook, verify_webhook

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
ID = "463a6064-7979-4e48-ae70-1c6ccfd5b41f_0_success"
NOW = 1_800_000_000
EVENT = {
    "type": "task.success",
    "timestamp": "2027-01-15T07:59:58.250000+00:00",
    "data": {"id": ID.partition("_")[0], "type": "email", "labels": {"town": "Köln"}},
}
BODY = json.dumps(EVENT, ensure_ascii=False).encode()


def headers_of(body: bytes = BODY, *secrets: str, at: int = NOW) -> dict[str, str]:
    sent_at = datetime.fromtimestamp(at, UTC)
    signatures = [Webhook(one).sign(ID, sent_at, body.decode()) for one in secrets or [SECRET]]
    return {
        "webhook-id": ID,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signatures),
    }


def verified(headers: Mapping[str, str], body: bytes = BODY, **options: Any) -> Any:
    return verify_webhook(headers, body, options.pop("secrets", SECRET), now=NOW, **options)


def test_what_the_library_of_the_standard_has_signed_is_an_event() -> None:
    event = verified(headers_of())
    assert (event.id, event.type) == (ID, "task.success")
    assert event.at == datetime(2027, 1, 15, 7, 59, 58, 250_000, UTC)
    assert event.sent_at == datetime.fromtimestamp(NOW, UTC)
    assert event.data == EVENT["data"]


@pytest.mark.parametrize("spelt", [str.title, str.upper, str])
def test_names_of_headers_are_known_however_they_are_spelt(spelt: Callable[[str], str]) -> None:
    assert verified({spelt(name): value for name, value in headers_of().items()}).id == ID


def test_one_of_several_secrets_and_one_of_several_signatures_is_enough() -> None:
    assert verified(headers_of(BODY, OTHER, SECRET)).id == ID
    assert verified(headers_of(BODY, OTHER), secrets=[SECRET, OTHER]).id == ID
    later = {**headers_of(), "webhook-signature": f"v2,AAAA {headers_of()['webhook-signature']}"}
    assert verified(later).id == ID


def test_a_secret_is_a_secret_from_24_to_64_bytes() -> None:
    for size in (24, 64):
        secret = "whsec_" + base64.b64encode(bytes(size)).decode()
        assert verified(headers_of(BODY, secret), secrets=secret).id == ID


@pytest.mark.parametrize("age", [-300, 0, 300])
def test_clocks_may_differ_by_the_tolerance(age: int) -> None:
    assert verified(headers_of(at=NOW - age)).sent_at.timestamp() == NOW - age


@pytest.mark.parametrize(
    ("at", "tolerance", "problem"),
    [
        (NOW - 301, 300, "it was sent 301 s ago, and 300 s are tolerated"),
        (NOW + 301, 300, "it was sent 301 s from now, and 300 s are tolerated"),
        (NOW - 1, 0, "it was sent 1 s ago, and 0 s are tolerated"),
    ],
)
def test_what_is_recorded_and_sent_again_is_refused(at: int, tolerance: int, problem: str) -> None:
    with pytest.raises(InvalidWebhook, match=problem):
        verified(headers_of(at=at), tolerance_seconds=tolerance)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_missing_or_empty_is_named(name: str) -> None:
    headers = headers_of()
    for wrong in ({**headers, name: ""}, {k: v for k, v in headers.items() if k != name}):
        with pytest.raises(InvalidWebhook, match=f"the header {name} is missing"):
            verified(wrong)


@pytest.mark.parametrize(
    "timestamp", ["1.8e9", "1800000000.0", "-1", "+1800000000", "0x1", "１８", "9" * 13, " 18 "]
)
def test_a_time_is_a_number_of_whole_seconds(timestamp: str) -> None:
    with pytest.raises(InvalidWebhook, match="webhook-timestamp is no number of whole seconds"):
        verified({**headers_of(), "webhook-timestamp": timestamp})


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": ID + "x"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-signature": "v1,"},
        {"webhook-signature": headers_of()["webhook-signature"].replace("v1,", "v1a,")},
        {"webhook-signature": headers_of()["webhook-signature"].removeprefix("v1,")},
        {"webhook-signature": headers_of(BODY, OTHER)["webhook-signature"]},
        {"webhook-signature": "v1,\N{KELVIN SIGN}\udcff"},
    ],
)
def test_nothing_that_was_signed_can_be_exchanged(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidWebhook, match="no signature fits"):
        verified({**headers_of(), **changed})


@given(st.binary())
def test_any_other_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidWebhook, match="no signature fits"):
        verified(headers_of(), body)


@given(signature=st.text(), timestamp=st.from_regex(r"[0-9]{1,13}"), message=st.text())
def test_whatever_is_sent_is_refused_with_a_reason(
    signature: str, timestamp: str, message: str
) -> None:
    forged = {
        "webhook-id": message, "webhook-timestamp": timestamp, "webhook-signature": signature,
    }  # fmt: skip
    with pytest.raises(InvalidWebhook, match="The webhook is refused: "):
        verified(forged)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"null", b"[" * 100_000, json.dumps({**EVENT, "data": 1}).encode(),
     json.dumps({**EVENT, "timestamp": "now"}).encode()],
)  # fmt: skip
def test_what_is_signed_and_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidWebhook, match="its body is no event"):
        verified(headers_of(body), body)


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ([], "there is none"),
        ("", "it does not begin with whsec_"),
        (SECRET.removeprefix("whsec_"), "it does not begin with whsec_"),
        (SECRET + "\n", "a line break at its end"),
        (SECRET[:-2], "not base64"),
        ("whsec_ä", "not base64"),
        ("whsec_AAAA", "it has 3 bytes"),
        ([SECRET, "whsec_" + "A" * 92], "it has 69 bytes"),
    ],
)
def test_a_wrong_secret_is_said_to_be_wrong_and_not_shown(secrets: Any, problem: str) -> None:
    with pytest.raises(InvalidSecret, match=problem) as raised:
        verified(headers_of(), secrets=secrets)
    assert isinstance(raised.value, ValueError)
    assert "AAA" not in str(raised.value)


@pytest.mark.parametrize("body", [BODY.decode(), EVENT])
def test_a_body_that_was_decoded_or_parsed_is_a_mistake_of_the_receiver(body: Any) -> None:
    with pytest.raises(TypeError, match="has to be the request's bytes as they came"):
        verified(headers_of(), body)
