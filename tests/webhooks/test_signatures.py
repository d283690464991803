"""Signatures of webhooks, verified by the library of the standard."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from afterwards.webhooks.signatures import key_of, new_secret, signed_headers

MESSAGE = "463a6064-7979-4e48-ae70-1c6ccfd5b41f_0_success"
BODY = b'{"type":"task.success","data":{"error":null,"labels":{"town":"K\xc3\xb6ln"}}}'


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


def test_the_signature_is_that_of_the_standard_s_example() -> None:
    # From the reference implementations of Standard Webhooks.
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_of_several_secrets_verifies_a_message_and_no_other_does() -> None:
    ours = [new_secret(), new_secret(), secret_of(24), secret_of(64)]
    headers = dict(signed_headers(MESSAGE, time.time(), BODY, ours))
    for secret in ours:
        assert Webhook(secret).verify(BODY, headers)["type"] == "task.success"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


@given(body=st.text().map(str.encode), at=st.floats(min_value=0, max_value=4e9))
def test_what_is_signed_is_the_id_the_whole_second_and_the_body(body: bytes, at: float) -> None:
    secret = secret_of(32)
    headers = signed_headers(MESSAGE, at, body, [secret])
    second = datetime.fromtimestamp(int(at), UTC)
    assert headers["webhook-timestamp"] == str(int(at))
    assert headers["webhook-signature"] == Webhook(secret).sign(MESSAGE, second, body.decode())


@pytest.mark.parametrize(
    "secret",
    [
        "", "whsec_", secret_of(23), secret_of(65), secret_of(32).removeprefix("whsec_"),
        secret_of(32)[:-1], secret_of(32) + "\n", secret_of(32).replace("A", "*"), "whsec_ä",
    ],
)  # fmt: skip
def test_any_other_text_is_no_secret_and_is_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="a secret is whsec_ and 24 to 64 bytes") as raised:
        key_of(secret)
    assert len(secret) < 10 or secret not in str(raised.value)


@pytest.mark.parametrize("message", ["", "a.b", "a b", "é", "a\n", "x" * 129])
def test_an_id_has_no_character_that_separates(message: str) -> None:
    with pytest.raises(ValueError, match="a message's id has 1 to 128"):
        signed_headers(message, 0, b"", [new_secret()])


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ValueError, match="needs a secret"):
        signed_headers(MESSAGE, 0, b"", [])
