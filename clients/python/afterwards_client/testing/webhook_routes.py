"""The routes of a fake service for webhooks, and the notices that it would send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import httpx

from afterwards_client.testing import lists, members
from afterwards_client.testing.clock import FakeClock, shown
from afterwards_client.testing.notices import (
    Delivery,
    FakeWebhook,
    new_secret,
    notice_of,
    signed,
    trial_notice,
)
from afterwards_client.testing.problems import Mistake, Refusal, illegal, invalid
from afterwards_client.testing.record import FINAL, Record
from afterwards_client.testing.routes import Asked, Routes, answered
from afterwards_client.testing.submissions import body_of

_ENDS: Final = ("success", "failed", "cancelled")
_MOST_NAME_CHARACTERS: Final = 64
_MOST_TYPES: Final = 100
_NEW: Final[Mapping[str, members.Check]] = {
    "url": members.text,
    "events": members.list_of(members.one_of(*_ENDS), len(_ENDS)),
    "types": members.list_of(members.text, _MOST_TYPES, least=0),
    "labels": members.labels,
}
_REPLAY: Final[Mapping[str, members.Check]] = {
    "task_id": members.text,
    "since": members.time,
    "until": members.time,
}


class WebhookRoutes:
    """Webhooks by name, and deliveries that the test has not taken yet.

    Args:
        tasks: gives all tasks.
        find: the task of an id; raises `Refusal`.
        deliver: takes each delivery; None: they are kept for the test.
    """

    def __init__(
        self,
        clock: FakeClock,
        tasks: Callable[[], list[Record]],
        find: Callable[[str], Record],
        deliver: Callable[[Delivery], object] | None,
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._find = find
        self._deliver = deliver
        self._webhooks: dict[str, FakeWebhook] = {}
        self.deliveries: list[Delivery] = []
        self.callback_secret = new_secret()

    def add_to(self, routes: Routes) -> None:
        """Have them in the table."""
        for method, path, answer in (
            ("GET", "/webhooks", self.listed),
            ("GET", "/webhooks/{name}", self.get),
            ("PUT", "/webhooks/{name}", self.put),
            ("DELETE", "/webhooks/{name}", self.delete),
            ("POST", "/webhooks/{name}/secret", self.rotate),
            ("POST", "/webhooks/{name}/enable", self.enable),
            ("POST", "/webhooks/{name}/disable", self.disable),
            ("POST", "/webhooks/{name}/test", self.test),
            ("POST", "/webhooks/{name}/replay", self.replay),
        ):
            routes.add(method, path, answer)

    def tell(self, record: Record) -> None:
        """A task has ended: tell its callback, and the webhooks that it fits."""
        callback = record.callback
        if callback is not None and record.status in callback.get("events", _ENDS):
            valid = [callback.get("secret") or self.callback_secret]
            self._send(signed(notice_of(record), callback["url"], None, valid))
        for webhook in list(self._webhooks.values()):
            if webhook.takes(record):
                self._send_to(webhook, record)

    def _send_to(self, webhook: FakeWebhook, record: Record) -> None:
        self._send(signed(notice_of(record), webhook.url, webhook.name, webhook.secrets))

    def _send(self, delivery: Delivery) -> None:
        if self._deliver is None:
            self.deliveries.append(delivery)
        else:
            self._deliver(delivery)

    # -- routes --------------------------------------------------------------------------------

    def listed(self, asked: Asked) -> httpx.Response:
        found = [_document(self._webhooks[name]) for name in sorted(self._webhooks)]
        documents, cursor = lists.page(found, asked.query)
        return answered({"webhooks": list(documents), "next": cursor})

    def get(self, asked: Asked) -> httpx.Response:
        return answered(_document(self._known(asked)))

    def put(self, asked: Asked) -> httpx.Response:
        name, body = asked.names["name"], body_of(asked.request)
        if len(name) > _MOST_NAME_CHARACTERS or members.NAME.fullmatch(name) is None:
            raise invalid([Mistake(("name",), "this is no name of a webhook", "path")])
        mistakes = members.mistakes_in(body, _NEW, ("url",))
        if not mistakes and not body["url"].startswith(("http://", "https://")):
            mistakes = [Mistake(("url",), "only http and https URLs may be called")]
        if mistakes:
            raise invalid(mistakes)
        former = self._webhooks.get(name)
        secret = new_secret()
        self._webhooks[name] = webhook = FakeWebhook(
            name,
            body["url"],
            tuple(body.get("events") or _ENDS),
            tuple(body.get("types") or ()),
            dict(body.get("labels") or {}),
            self._clock.now() if former is None else former.created_at,
            [secret] if former is None else former.secrets,
            None if former is None else former.disabled_at,
        )
        shown_secret = secret if former is None else None
        status = HTTPStatus.CREATED if former is None else HTTPStatus.OK
        return answered({**_document(webhook), "secret": shown_secret}, status)

    def delete(self, asked: Asked) -> httpx.Response:
        del self._webhooks[self._known(asked).name]
        return httpx.Response(HTTPStatus.NO_CONTENT)

    def rotate(self, asked: Asked) -> httpx.Response:
        webhook, body = self._known(asked), body_of(asked.request) or {}
        keeps = body.get("overlap_seconds") != 0
        webhook.secrets = [new_secret(), *(webhook.secrets[:1] if keeps else [])]
        return answered({**_document(webhook), "secret": webhook.secrets[0]})

    def enable(self, asked: Asked) -> httpx.Response:
        webhook = self._known(asked)
        webhook.disabled_at = None
        return answered(_document(webhook))

    def disable(self, asked: Asked) -> httpx.Response:
        webhook = self._known(asked)
        webhook.disabled_at = webhook.disabled_at or self._clock.now()
        return answered(_document(webhook))

    def test(self, asked: Asked) -> httpx.Response:
        webhook, now = self._enabled(asked), self._clock.now()
        delivery_id = str(uuid4())
        notice = trial_notice(delivery_id, webhook.name, now)
        self._send(signed(notice, webhook.url, webhook.name, webhook.secrets))
        payload = {"id": notice[0], "webhook": webhook.name, "event": notice[1]}
        record = Record(delivery_id, 0, "webhook", payload, now, now, 1, "async")
        return answered(record.document(), HTTPStatus.ACCEPTED)

    def replay(self, asked: Asked) -> httpx.Response:
        webhook, body = self._enabled(asked), body_of(asked.request)
        mistakes = members.mistakes_in(body, _REPLAY)
        if not mistakes and ("task_id" in body) == ("since" in body):
            mistakes = [Mistake((), "send one of task_id and since")]
        if mistakes:
            raise invalid(mistakes)
        found = self._to_replay(webhook, body)
        for record in found:
            self._send_to(webhook, record)
        number = len(found)
        answer = {"matched": number, "replayed": number, "skipped": 0, "interrupted": None}
        return answered(answer, HTTPStatus.ACCEPTED)

    def _to_replay(self, webhook: FakeWebhook, body: Mapping[str, Any]) -> list[Record]:
        if "task_id" in body:
            record = self._find(body["task_id"])
            if record.status not in FINAL:
                raise illegal(record.id, record.status, "be told of; wait for its end")
            return [record]
        query = {"finished_after": [body["since"]]}
        if "until" in body:
            query["finished_before"] = [body["until"]]
        found = lists.matching(self._tasks(), query)
        return [one for one in found if webhook.takes(one)]

    def _known(self, asked: Asked) -> FakeWebhook:
        name = asked.names["name"]
        found = self._webhooks.get(name)
        if found is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"There is no webhook {name[:100]!r}")
        return found

    def _enabled(self, asked: Asked) -> FakeWebhook:
        found = self._known(asked)
        if found.disabled_at is not None:
            detail = f"The webhook {found.name!r} is disabled (disabled by hand); enable it first"
            raise Refusal(HTTPStatus.CONFLICT, detail)
        return found


def _document(webhook: FakeWebhook) -> dict[str, Any]:
    at: datetime | None = webhook.disabled_at
    return {
        "name": webhook.name,
        "url": webhook.url,
        "events": sorted(webhook.events),
        "types": sorted(webhook.types),
        "labels": webhook.labels,
        "state": "enabled" if at is None else "disabled",
        "disabled_at": shown(at),
        "disabled_because": None if at is None else "disabled by hand",
        "failing_since": None,
        "created_at": shown(webhook.created_at),
        "secrets": [{"ends_at": None} for _ in webhook.secrets],
    }
