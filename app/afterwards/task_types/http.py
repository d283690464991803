"""An HTTP request to another service."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from afterwards import __version__
from afterwards.effects.secrets import REFERENCE
from afterwards.effects.settings import HttpSettings
from afterwards.outgoing.calls import Call, Headers, Unanswered
from afterwards.outgoing.reach import Refused, parsed
from afterwards.outgoing.statuses import is_passing, is_success, named, retry_after_seconds
from afterwards.task_types.base import PermanentError, TaskContext, TaskType, TransientError
from afterwards.task_types.http_payload import HttpPayload, require_secrets
from afterwards.task_types.http_result import Masks, excerpt_of, result_of

if TYPE_CHECKING:
    from afterwards.effects.effects import Effects


async def _send(payload: HttpPayload, context: TaskContext) -> dict[str, Any]:
    effects = cast("Effects", context.resources)
    client, settings = effects.http, effects.settings.http
    assert client is not None
    assert settings is not None
    _require_allowed(payload, settings)
    referred = {name for value in payload.headers.values() for name in REFERENCE.findall(value)}
    secrets = {name: settings.secrets[name].value for name in referred}
    masks = Masks(secrets.values())
    body, media_type = payload.encoded_body()
    plain, secret = _headers(payload, media_type, context, secrets)
    call = Call(
        method=payload.method,
        url=payload.url,
        headers=plain,
        secret_headers=secret,
        body=body,
        timeout_seconds=payload.timeout_seconds,
        redirects=payload.redirects,
        keep_bytes=payload.store + masks.longest,
    )
    asked = f"{payload.method} {parsed(payload.url).origin}"
    try:
        answer = await client.send(call)
    except Refused as error:
        raise PermanentError(f"{asked}: {masks.text(str(error))}") from None
    except Unanswered as error:
        raise TransientError(f"{asked}: {masks.text(str(error))}") from None
    if _is_success(answer.status, payload.expected):
        most = context.environment.max_result_bytes
        return result_of(answer, payload.store, masks, most)
    failure = f"{asked} answered {named(answer.status)}"
    # It may repeat the payload, which the log does not have otherwise.
    context.logger.debug("request failed", status=answer.status, body=excerpt_of(answer, masks))
    if is_passing(answer.status):
        raise TransientError(failure, retry_after=retry_after_seconds(answer, time.time()))
    raise PermanentError(failure)


def _is_success(status: int, expected: list[int] | None) -> bool:
    return is_success(status) if expected is None else status in expected


def _require_allowed(payload: HttpPayload, settings: HttpSettings) -> None:
    # Settings may have changed since the task was accepted.
    try:
        target = settings.reach.target(payload.url)
        require_secrets(payload.headers, target.host, settings)
    except ValueError as error:
        raise PermanentError(str(error)) from None


def _headers(
    payload: HttpPayload,
    media_type: str | None,
    context: TaskContext,
    secrets: Mapping[str, str],
) -> tuple[Headers, Headers]:
    """The headers to send, without secrets and with."""
    given = {name.lower() for name in payload.headers}
    own = {
        "User-Agent": f"afterwards/{__version__}",
        "Accept": "*/*",
        # The answer is kept as it comes, and secrets in it are to be found.
        "Accept-Encoding": "identity",
        "Content-Type": media_type,
    }
    plain = [(name, value) for name, value in own.items() if value and name.lower() not in given]
    # A string of RFC 9651, in quotes: draft-ietf-httpapi-idempotency-key-header.
    plain.append(("Idempotency-Key", f'"{context.task_id}"'))
    plain.append(("Afterwards-Attempt", str(context.attempt)))
    if context.traceparent is not None:
        plain.append(("traceparent", context.traceparent))
    if context.tracestate is not None:
        plain.append(("tracestate", context.tracestate))
    secret: list[tuple[str, str]] = []
    for name, value in payload.headers.items():
        filled = REFERENCE.sub(lambda found: secrets[found[1]], value)
        (plain if filled == value else secret).append((name, filled))
    return plain, secret


HTTP: Final = TaskType("http", HttpPayload, _send)
