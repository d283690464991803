"""Webhooks and callbacks as values: what they take, what they sign with, what they do not show."""

from __future__ import annotations

from typing import Any

import pytest

from afterwards.lifecycle import TaskState
from afterwards.webhooks.webhook import Callback, Secret, Target, Webhook, takes

FAILED, SUCCESS = TaskState.FAILED, TaskState.SUCCESS
SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="


def a_webhook(**changes: Any) -> Webhook:
    members = {"name": "orders", "url": "https://example.com/t0ken", "secrets": (Secret(SECRET),)}
    return Webhook(**{**members, **changes})


@pytest.mark.parametrize(
    ("changes", "is_taken"),
    [
        ({}, True),
        ({"events": frozenset({FAILED})}, True),
        ({"events": frozenset({SUCCESS})}, False),
        ({"types": frozenset({"email", "file"})}, True),
        ({"types": frozenset({"file"})}, False),
        ({"labels": ("tenant", "plan=pro")}, True),
        ({"labels": ("tenant=other",)}, False),
        ({"disabled_since": 1.0}, False),
    ],
)
def test_a_webhook_takes_the_ends_that_fit_all_of_its_conditions(
    changes: dict[str, Any], is_taken: bool
) -> None:
    pairs = ["tenant", "tenant=acme", "plan", "plan=pro"]
    assert takes(a_webhook(**changes), FAILED, "email", pairs) is is_taken


def test_a_secret_signs_until_the_end_of_its_overlap() -> None:
    webhook = a_webhook(secrets=(Secret("new"), Secret("old", ends_at=10.0)))
    assert webhook.valid_secrets(9.9) == ("new", "old")
    assert webhook.valid_secrets(10.0) == ("new",)


def test_a_callback_is_decoded_as_it_was_encoded() -> None:
    for callback in (
        Callback("https://example.com/ü"),
        Callback("https://example.com/", frozenset({FAILED}), SECRET),
    ):
        assert Callback.decode(callback.encode()) == callback


def test_no_log_that_shows_them_has_a_secret_or_a_url() -> None:
    url = "https://example.com/t0ken"
    shown = repr([a_webhook(), Callback(url, secret=SECRET), Target(url, (SECRET,))])
    assert "t0ken" not in shown
    assert SECRET not in shown
