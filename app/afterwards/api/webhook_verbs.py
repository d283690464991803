"""The verbs of one webhook: a new secret, a test, a replay, off and on."""

from __future__ import annotations

from typing import Final

from fastapi import BackgroundTasks, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.checks import BODY, catalogue_of, invalid
from afterwards.api.lapses import while_allowed
from afterwards.api.redaction import shown
from afterwards.api.references import reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.tasks import TaskDocument
from afterwards.api.schemas.webhooks import (
    PutWebhookDocument,
    Replay,
    ReplayDocument,
    SecretRotation,
    WebhookDocument,
    WebhookName,
)
from afterwards.api.submission import service_of
from afterwards.api.task_document import base_document
from afterwards.api.times import shown_time
from afterwards.api.uncached import uncached
from afterwards.api.webhooks import LOOKUP, UNKNOWN, document_of, verbs_of, with_secret
from afterwards.service.webhooks import MOST_REPLAYED, ReplaySpan

router = new_router("Webhooks")

_DISABLED: Final = {
    409: (
        "The webhook is disabled.",
        "The webhook 'orders' is disabled (disabled by hand); enable it first",
    )
}


@router.post(
    "/webhooks/{name}/secret",
    summary="Rotate the secret of a webhook",
    operation_id="rotateWebhookSecret",
    response_model=PutWebhookDocument,
    response_description="The webhook; its new secret is shown this once",
    responses=schemas.answers(
        404,
        415,
        422,
        503,
        said={
            **UNKNOWN,
            422: (
                "The body is not valid.",
                "#/overlap_seconds: Input should be less than or equal to 2592000",
            ),
        },
    ),
)
@needs(Role.ADMIN)
async def rotate_secret(
    name: WebhookName, request: Request, rotation: SecretRotation | None = None
) -> Response:
    """Sign with a new secret from now on.

    The former ones sign as well for `overlap_seconds`, one day unless the body says otherwise.
    """
    overlap = (rotation or SecretRotation()).overlap_seconds
    return uncached(with_secret(await verbs_of(request).rotate(name, overlap, asker(request))))


@router.post(
    "/webhooks/{name}/enable",
    summary="Enable a webhook",
    operation_id="enableWebhook",
    response_model=WebhookDocument,
    response_description="Enabled",
    responses=LOOKUP,
)
@needs(Role.OPERATOR)
async def enable_webhook(name: WebhookName, request: Request) -> Response:
    """Tell the webhook of tasks again, from now on. A replay tells it of those it has missed."""
    return uncached(
        document_of(await verbs_of(request).enable(name, enabled=True, by=asker(request)))
    )


@router.post(
    "/webhooks/{name}/disable",
    summary="Disable a webhook",
    operation_id="disableWebhook",
    response_model=WebhookDocument,
    response_description="Disabled",
    responses=LOOKUP,
)
@needs(Role.OPERATOR)
async def disable_webhook(name: WebhookName, request: Request) -> Response:
    """Tell the webhook of nothing until it is enabled. Its waiting deliveries are cancelled."""
    return uncached(
        document_of(await verbs_of(request).enable(name, enabled=False, by=asker(request)))
    )


@router.post(
    "/webhooks/{name}/test",
    summary="Test a webhook",
    operation_id="testWebhook",
    status_code=202,
    response_model=TaskDocument,
    response_description="The delivery",
    responses=schemas.answers(
        404,
        409,
        503,
        said={**UNKNOWN, **_DISABLED},
        headers_of={202: schemas.TASK_LOCATION},
    ),
)
@needs(Role.OPERATOR)
async def test_webhook(
    name: WebhookName, background: BackgroundTasks, request: Request
) -> Response:
    """Send a notice of the type `webhook.test`. The delivery is a task that can be waited for."""
    delivery = await verbs_of(request).test(name, asker(request))
    background.add_task(service_of(request).start, delivery.id)
    location = {"Location": reference(request.scope, f"/tasks/{delivery.id}")}
    document = base_document(await shown(request, delivery))
    return uncached(document, 202, location)


@router.post(
    "/webhooks/{name}/replay",
    summary="Replay a webhook",
    operation_id="replayWebhook",
    status_code=202,
    response_model=ReplayDocument,
    response_description="The outcome of the call; deliveries follow as there is room",
    responses=schemas.answers(
        404,
        409,
        410,
        415,
        422,
        503,
        said={
            404: ("No webhook has this name, or no task this id.", UNKNOWN[404][1]),
            409: ("The webhook is disabled, or the task is not finished.", _DISABLED[409][1]),
            422: (
                "The body is not valid, or too many tasks fit.",
                "#: send one of task_id and since",
            ),
        },
    ),
)
@needs(Role.OPERATOR)
async def replay_webhook(name: WebhookName, replay: Replay, request: Request) -> Response:
    """Tell the webhook once more of one task, or of all that fit and finished since a time.

    A notice has the `webhook-id` that it had, so that a receiver knows what it has done before.
    """
    verbs, by = verbs_of(request), asker(request)
    if replay.task_id is not None:
        await verbs.replay_one(name, replay.task_id, by)
        return _replayed(1, 1)
    since, until = replay.since or 0.0, replay.until
    text = f"webhook={name}&finished_after={shown_time(since)}"
    text += "" if until is None else f"&finished_before={shown_time(until)}"
    span = ReplaySpan(name, since, until, text)
    done = await while_allowed(request, verbs.replay(span, frozenset(catalogue_of(request)), by))
    tally = done.tally
    if tally is None and done.matched:
        problem = f"more than {MOST_REPLAYED} tasks fit; send `until`, and replay in parts"
        raise invalid("too_many", (*BODY, "since"), problem)
    if tally is None:
        return _replayed(0, 0)
    reason = None if tally.interrupted is None else str(tally.interrupted)
    return _replayed(tally.matched, tally.changed, tally.skipped, reason)


def _replayed(
    matched: int, replayed: int, skipped: int = 0, interrupted: str | None = None
) -> Response:
    document = {"matched": matched, "replayed": replayed, "skipped": skipped}
    return uncached({**document, "interrupted": interrupted}, 202)
