"""The receivers of notices that requests name: webhooks' URLs, and callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from fastapi import Request

from afterwards.access.principal import Principal
from afterwards.api.checks import invalid
from afterwards.api.schemas.requests import Following, NewTask
from afterwards.lifecycle import TaskState
from afterwards.outgoing.reach import Reach, Refused
from afterwards.service.intake import TaskRequest
from afterwards.webhooks.signatures import key_of
from afterwards.webhooks.webhook import Callback

_UNSIGNED: Final = (
    "the service has no secret to sign with: send `secret`, or set AFTERWARDS_WEBHOOK_SECRETS"
)


class Receivers(NamedTuple):
    """The receivers that a service may have."""

    reach: Reach
    """The places that notices may go to."""
    signs: bool
    """True if the service has a secret for callbacks that bring none."""


def require_url(request: Request, url: str, path: Sequence[str | int]) -> None:
    """Take a URL for notices, as far as it tells itself where they go.

    Raises:
        RequestValidationError: none may go there.
    """
    receivers: Receivers = request.app.state.receivers
    try:
        receivers.reach.target(url)
    except Refused as error:
        raise invalid("url", path, str(error)) from None


def with_callback(
    request: Request, wanted: TaskRequest, new: NewTask | Following, path: Sequence[str | int]
) -> TaskRequest:
    """A task as it was asked for, with its callback.

    Args:
        path: the place of `new` in the request.

    Raises:
        RequestValidationError: no notice may go to its URL, or none could be signed.
    """
    sent = new.callback
    if sent is None:
        return wanted
    path = (*path, "callback")
    require_url(request, sent.url, (*path, "url"))
    receivers: Receivers = request.app.state.receivers
    if sent.secret is None and not receivers.signs:
        raise invalid("secret", path, _UNSIGNED)
    if sent.secret is not None:
        try:
            key_of(sent.secret)
        except ValueError as error:
            raise invalid("secret", (*path, "secret"), str(error)) from None
    events = frozenset(map(TaskState, sent.events))
    principal: Principal = request.scope["principal"]
    callback = Callback(sent.url, events, sent.secret, with_error=principal.sees_payloads)
    return wanted._replace(callback=callback.encode())
