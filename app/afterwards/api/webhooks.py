"""Webhooks: URLs that are told of finished tasks."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Request
from starlette.responses import Response

from afterwards.api import schemas
from afterwards.api.asker import asker
from afterwards.api.checks import BODY, catalogue_of, invalid, known_type
from afterwards.api.cursors import cursor_of, link_to_next, position_of
from afterwards.api.queries import require_once
from afterwards.api.receivers import require_url
from afterwards.api.references import reference
from afterwards.api.roles import Role, needs
from afterwards.api.routing import new_router
from afterwards.api.schemas.pages import page_answers
from afterwards.api.schemas.webhooks import (
    WEBHOOK_NAME,
    NewWebhook,
    PutWebhookDocument,
    WebhookDocument,
    WebhookFilter,
    WebhookName,
    WebhookPage,
)
from afterwards.api.submission import service_of
from afterwards.api.times import shown_time
from afterwards.api.uncached import uncached
from afterwards.lifecycle import TaskState
from afterwards.service.webhooks import (
    KeptWebhook,
    WantedWebhook,
    WebhookVerbs,
)
from afterwards.webhooks.webhook import Webhook

router = new_router("Webhooks")

UNKNOWN: Final = {404: ("No webhook has this name.", "There is no webhook 'orders'")}
LOOKUP: Final = schemas.answers(404, 503, said=UNKNOWN)
_LOCATION: Final = {
    "Location": {
        "description": "The webhook, relative to the request's URL.",
        "schema": {"type": "string", "format": "uri-reference"},
        "example": "../webhooks/orders",
    }
}


@router.get(
    "/webhooks",
    summary="List the webhooks",
    operation_id="listWebhooks",
    response_model=WebhookPage,
    response_description="A page of webhooks",
    responses=page_answers("b3JkZXJz", 100),
)
@needs(Role.OPERATOR)
async def list_webhooks(query: Annotated[WebhookFilter, Query()], request: Request) -> Response:
    """List webhooks by name. Their URLs may give access, and no secret is shown."""
    require_once(request)
    found = await verbs_of(request).all()
    after = "" if query.cursor is None else position_of(query.cursor, str)
    rest = [webhook for webhook in found if webhook.name > after]
    page = rest[: query.limit]
    cursor = cursor_of(page[-1].name) if len(rest) > len(page) else None
    headers = {}
    if cursor is not None:
        headers = link_to_next(f"limit={query.limit}&cursor={cursor}")
    return uncached({"webhooks": [*map(document_of, page)], "next": cursor}, headers=headers)


@router.get(
    "/webhooks/{name}",
    summary="Get a webhook",
    operation_id="getWebhook",
    response_model=WebhookDocument,
    response_description="The webhook",
    responses=LOOKUP,
)
@needs(Role.OPERATOR)
async def get_webhook(name: WebhookName, request: Request) -> Response:
    """Show a webhook. Its deliveries are the tasks with the label `webhook=NAME`."""
    return uncached(document_of(await verbs_of(request).get(name)))


@router.put(
    "/webhooks/{name}",
    summary="Create or replace a webhook",
    operation_id="putWebhook",
    response_model=PutWebhookDocument,
    response_description="Replaced",
    responses=schemas.answers(
        409,
        415,
        422,
        503,
        headers_of={200: _LOCATION},
        said={
            409: (
                "The limit of webhooks is reached.",
                "There are 100 webhooks, which is the limit; delete one first",
            ),
            422: (
                "The name or the body is not valid, or no notice may go to the URL.",
                "#/url: only http and https URLs may be called, not 'ftp'",
            ),
        },
    )
    | {
        201: {
            "description": "Created; the secret is shown this once",
            "model": PutWebhookDocument,
            "headers": _LOCATION,
        }
    },
)
@needs(Role.ADMIN)
async def put_webhook(name: WebhookName, new: NewWebhook, request: Request) -> Response:
    """Have a URL told of all tasks that finish from now on and fit.

    A replaced webhook keeps its secrets. One that is disabled stays so until it is enabled.
    """
    if WEBHOOK_NAME.fullmatch(name) is None:
        allowed = "up to 64 letters, digits, '.', '_' and '-', no dot to begin with"
        raise invalid("name", ("path", "name"), f"a name has {allowed}")
    require_url(request, new.url, (*BODY, "url"))
    catalogue = catalogue_of(request)
    for index, type_name in enumerate(new.types):
        known_type(type_name, catalogue, (*BODY, "types", index))
    wanted = WantedWebhook(
        name=name,
        url=new.url,
        events=frozenset(map(TaskState, new.events)),
        types=frozenset(new.types),
        labels=tuple(f"{key}={value}" for key, value in (new.labels or {}).items()),
    )
    kept = await verbs_of(request).put(wanted, asker(request))
    location = {"Location": reference(request.scope, f"/webhooks/{name}")}
    return uncached(with_secret(kept), 200 if kept.new_secret is None else 201, location)


@router.delete(
    "/webhooks/{name}",
    summary="Delete a webhook",
    operation_id="deleteWebhook",
    status_code=204,
    response_description="Deleted",
    responses=LOOKUP,
)
@needs(Role.ADMIN)
async def delete_webhook(name: WebhookName, request: Request) -> Response:
    """Delete the webhook. Its waiting deliveries are cancelled."""
    await verbs_of(request).delete(name, asker(request))
    return Response(status_code=204)


def verbs_of(request: Request) -> WebhookVerbs:
    """The verbs of webhooks, as the request's sender may use them."""
    return service_of(request).webhooks


def with_secret(kept: KeptWebhook) -> dict[str, Any]:
    """The document of a webhook that shows its new secret, if it has one."""
    return {**document_of(kept.webhook), "secret": kept.new_secret}


def document_of(webhook: Webhook) -> dict[str, Any]:
    """The document of a webhook, without its secrets."""
    return {
        "name": webhook.name,
        "url": webhook.url,
        "events": sorted(webhook.events),
        "types": sorted(webhook.types),
        "labels": dict(label.split("=", 1) for label in webhook.labels),
        "state": "enabled" if webhook.is_enabled else "disabled",
        "disabled_at": _time(webhook.disabled_since),
        "disabled_because": webhook.disabled_because,
        "failing_since": _time(webhook.failing_since),
        "created_at": shown_time(webhook.created_at),
        "secrets": [{"ends_at": _time(secret.ends_at)} for secret in webhook.secrets],
    }


def _time(at: float | None) -> str | None:
    return None if at is None else shown_time(at)
