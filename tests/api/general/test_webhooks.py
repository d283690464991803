"""`/webhooks`: made, listed, rotated, tested, replayed; and callbacks of submissions."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.roles import Role
from afterwards.api.receivers import Receivers
from afterwards.api.schemas.webhooks import PutWebhookDocument, ReplayDocument, WebhookPage
from afterwards.lifecycle import TaskState
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.protocol.requests import Get
from afterwards.registry.protocol.webhook_requests import GetWebhook
from afterwards.webhooks.signatures import key_of
from afterwards.webhooks.webhook import Callback, Webhook
from tests.access.holders import Holder, holder, ring_of
from tests.api.general.conftest import NOTE, Hand, submitted
from tests.registry.peers import ask

pytestmark = pytest.mark.anyio

URL = "https://shop.example.com/finished"
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


async def put(api: httpx.AsyncClient, name: str = "orders", **body: Any) -> dict[str, Any]:
    answer = await api.put(f"/webhooks/{name}", json={"url": URL, **body})
    assert answer.is_success, answer.text
    PutWebhookDocument.model_validate_json(answer.content, strict=True)
    document: dict[str, Any] = answer.json()
    return document


def kept(registry: MemoryRegistry, name: str = "orders") -> Webhook:
    webhook: Webhook = ask(registry, GetWebhook(name))
    return webhook


# -- make, look, delete ----------------------------------------------------------------------------


async def test_a_webhook_is_made_and_its_secret_is_shown_once(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    answer = await api.put(
        "/webhooks/orders",
        json={"url": URL, "events": ["failed"], "types": ["note"], "labels": {"tenant": "acme"}},
    )
    assert (answer.status_code, answer.headers["location"]) == (201, "../webhooks/orders")
    made = answer.json()
    assert len(key_of(made.pop("secret"))) == 32
    assert made["events"] == ["failed"]
    assert made["state"] == "enabled"
    assert made["secrets"] == [{"ends_at": None}]
    assert (await api.get("/webhooks/orders")).json() == made
    assert kept(registry).labels == ("tenant=acme",)


async def test_a_webhook_that_is_replaced_keeps_its_secret(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    secret = (await put(api))["secret"]
    answer = await api.put("/webhooks/orders", json={"url": f"{URL}/2"})
    assert answer.status_code == 200
    assert answer.json()["secret"] is None
    assert answer.json()["url"] == f"{URL}/2"
    assert kept(registry).secrets[0].value == secret


async def test_webhooks_are_listed_by_name_page_by_page(api: httpx.AsyncClient) -> None:
    for name in ("b", "a", "c"):
        await put(api, name)
    first = await api.get("/webhooks", params={"limit": 2})
    page = WebhookPage.model_validate_json(first.content)
    assert [one.name for one in page.webhooks] == ["a", "b"]
    assert first.headers["link"] == f'<?limit=2&cursor={page.next}>; rel="next"'
    assert "whsec" not in first.text
    rest = (await api.get("/webhooks", params={"cursor": page.next})).json()
    assert ([one["name"] for one in rest["webhooks"]], rest["next"]) == (["c"], None)


async def test_a_webhook_is_deleted(api: httpx.AsyncClient) -> None:
    await put(api)
    assert (await api.delete("/webhooks/orders")).status_code == 204
    for answer in (await api.get("/webhooks/orders"), await api.delete("/webhooks/orders")):
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            "There is no webhook 'orders'",
        )


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({"url": "ftp://shop.example.com/"}, "#/url", "only http and https URLs"),
        ({"url": "http://user:secret@shop.example.com/"}, "#/url", "has no user and no password"),
        ({"url": "http://127.0.0.1/"}, "#/url", "127.0.0.1 is not a public address"),
        ({"url": "http://[::1]/"}, "#/url", "::1 is not a public address"),
        ({"url": "http://169.254.169.254/latest"}, "#/url", "is not a public address"),
        ({"url": "https://shop.example.com:8443/"}, "#/url", "port 8443 is not among the ports"),
        ({"url": "x" * 2_001}, "#/url", "at most 2000 characters"),
        ({}, "#/url", "Field required"),
        ({"url": URL, "events": []}, "#/events", "at least 1 item"),
        ({"url": URL, "events": ["pending"]}, "#/events/0", "'success', 'failed' or 'cancelled'"),
        ({"url": URL, "types": ["note", "no"]}, "#/types/1", "There is no task type 'no'"),
        ({"url": URL, "labels": {"": "x"}}, "#/labels", "at least 1 character"),
        ({"url": URL, "secret": "x"}, "#/secret", "Extra inputs"),
    ],
)
async def test_what_is_wrong_with_a_webhook_is_said(
    api: httpx.AsyncClient, body: dict[str, Any], pointer: str, message: str
) -> None:
    answer = await api.put("/webhooks/orders", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"].startswith(pointer)
    assert message in error["message"]


@pytest.mark.parametrize("name", ["%2e", ".a", "a%20b", "a" * 65, "%C3%A4"])
async def test_a_name_is_a_word(api: httpx.AsyncClient, name: str) -> None:
    answer = await api.put(f"/webhooks/{name}", json={"url": URL})
    assert answer.status_code == 422
    assert "a name has up to 64 letters" in answer.text


async def test_a_host_may_be_the_service_s_own_choice(api: httpx.AsyncClient, app: FastAPI) -> None:
    reach = app.state.receivers.reach
    narrow = type(reach)(hosts=("*.example.org",), setting="AFTERWARDS_WEBHOOK_HOSTS")
    app.state.receivers = Receivers(narrow, signs=False)
    answer = await api.put("/webhooks/orders", json={"url": URL})
    assert answer.status_code == 422
    assert "AFTERWARDS_WEBHOOK_HOSTS lists them" in answer.text


# -- secrets, on and off ---------------------------------------------------------------------------


async def test_a_rotated_secret_signs_beside_the_new_one_for_a_while(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    first = (await put(api))["secret"]
    rotated = (await api.post("/webhooks/orders/secret", json={"overlap_seconds": 60})).json()
    assert rotated["secret"] != first
    latest, former = kept(registry).secrets
    assert (latest.value, former.value) == (rotated["secret"], first)
    assert (latest.ends_at, former.ends_at is None) == (None, False)
    assert [one["ends_at"] is None for one in rotated["secrets"]] == [True, False]


async def test_without_a_body_the_former_secret_signs_for_a_day(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    await put(api)
    assert (await api.post("/webhooks/orders/secret")).status_code == 200
    former = kept(registry).secrets[1]
    assert former.ends_at is not None
    assert former.ends_at - kept(registry).created_at == pytest.approx(86_400, abs=60)


async def test_a_webhook_is_disabled_and_enabled_by_hand(api: httpx.AsyncClient) -> None:
    await put(api)
    disabled = (await api.post("/webhooks/orders/disable")).json()
    assert (disabled["state"], disabled["disabled_because"]) == ("disabled", "disabled by hand")
    assert (await api.post("/webhooks/orders/test")).status_code == 409
    replay = await api.post("/webhooks/orders/replay", json={"since": "2026-01-01T00:00:00Z"})
    assert (replay.status_code, "enable it first" in replay.text) == (409, True)
    enabled = (await api.post("/webhooks/orders/enable")).json()
    assert (enabled["state"], enabled["disabled_at"]) == ("enabled", None)


# -- deliveries ------------------------------------------------------------------------------------


async def deliveries(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await api.get("/tasks", params={"type": "webhook", "label": "webhook=orders"})
    found: list[dict[str, Any]] = answer.json()["tasks"]
    return found


async def finished(api: httpx.AsyncClient, hand: Hand, **members: Any) -> str:
    task_id: str = (await submitted(api, **members))["id"]
    hand.succeed(hand.claim(task_id))
    return task_id


async def test_a_finished_task_makes_a_delivery_that_is_found_by_its_label(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    await put(api)
    task_id = await finished(api, hand, labels={"tenant": "acme"})
    (delivery,) = await deliveries(api)
    assert delivery["labels"] == {"task": task_id, "webhook": "orders"}
    event = delivery["payload"]["event"]
    assert (event["type"], event["data"]["id"]) == ("task.success", task_id)
    assert (event["data"]["status"], event["data"]["labels"]) == ("success", {"tenant": "acme"})


async def test_a_test_is_a_delivery_of_no_task(api: httpx.AsyncClient) -> None:
    await put(api)
    answer = await api.post("/webhooks/orders/test")
    delivery = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"../../tasks/{delivery['id']}"
    assert delivery["payload"]["event"]["type"] == "webhook.test"
    assert [one["id"] for one in await deliveries(api)] == [delivery["id"]]


async def test_a_replay_tells_of_one_task_again(api: httpx.AsyncClient, hand: Hand) -> None:
    await put(api)
    task_id = await finished(api, hand)
    (first,) = await deliveries(api)
    answer = await api.post("/webhooks/orders/replay", json={"task_id": task_id})
    assert answer.status_code == 202
    assert answer.json() == {"matched": 1, "replayed": 1, "skipped": 0, "interrupted": None}
    again, before = await deliveries(api)
    assert before["id"] == first["id"]
    assert again["payload"] == first["payload"]


async def test_a_replay_since_a_time_tells_of_all_that_fit(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    await finished(api, hand, labels={"tenant": "other"})
    fitting = {await finished(api, hand, labels={"tenant": "acme"}) for _ in range(3)}
    await put(api, events=["success"], labels={"tenant": "acme"})
    answer = await api.post("/webhooks/orders/replay", json={"since": "2026-01-01T00:00:00Z"})
    outcome = ReplayDocument.model_validate_json(answer.content)
    assert (outcome.matched, outcome.replayed, outcome.skipped) == (3, 3, 0)
    assert {one["labels"]["task"] for one in await deliveries(api)} == fitting
    before = await api.post(
        "/webhooks/orders/replay",
        json={"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"},
    )
    assert before.json()["matched"] == 0


async def test_a_replay_needs_a_finished_task_that_is_no_delivery(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    await put(api)
    waiting = (await submitted(api, delay_seconds=60))["id"]
    await finished(api, hand)
    (delivery,) = await deliveries(api)
    for task_id, status in ((waiting, 409), (delivery["id"], 409), ("unknown", 404)):
        answer = await api.post("/webhooks/orders/replay", json={"task_id": task_id})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "send one of task_id and since"),
        ({"task_id": "x", "since": "2026-01-01T00:00:00Z"}, "send one of task_id and since"),
        ({"task_id": "x", "until": "2026-01-01T00:00:00Z"}, "until goes with since"),
    ],
)
async def test_a_replay_says_which_tasks(
    api: httpx.AsyncClient, body: dict[str, Any], problem: str
) -> None:
    await put(api)
    answer = await api.post("/webhooks/orders/replay", json=body)
    assert (answer.status_code, problem in answer.text) == (422, True)


# -- callbacks -------------------------------------------------------------------------------------


async def test_a_task_has_the_callback_of_its_submission(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    callback = {"url": URL, "events": ["failed"], "secret": SECRET}
    document = await submitted(api, callback=callback)
    stored = ask(registry, Get(document["id"])).callback
    assert Callback.decode(stored) == Callback(URL, frozenset({TaskState.FAILED}), SECRET)
    assert SECRET not in json.dumps((await api.get(f"/tasks/{document['id']}")).json())


async def test_members_of_a_batch_have_callbacks_of_their_own(
    api: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    one, other = ({"url": f"{URL}/{n}", "secret": SECRET} for n in (1, 2))
    tasks = [{**NOTE, "callback": one}, NOTE, {**NOTE, "callback": other}]
    answer = await api.post("/tasks/batch", json={"tasks": tasks})
    assert answer.status_code == 202
    stored = [ask(registry, Get(task["id"])).callback for task in answer.json()["tasks"]]
    urls = [None if one is None else Callback.decode(one).url for one in stored]
    assert urls == [f"{URL}/1", None, f"{URL}/2"]


@pytest.mark.parametrize(
    ("callback", "pointer", "message"),
    [
        ({"url": "http://10.0.0.7/", "secret": SECRET}, "url", "is not a public address"),
        ({"url": URL}, "", "the service has no secret to sign with"),
        ({"url": URL, "secret": "whsec_AAAA"}, "secret", "24 to 64 bytes in base64"),
        ({"url": URL, "secret": SECRET, "events": ["done"]}, "events/0", "Input should be"),
    ],
)
async def test_what_is_wrong_with_a_callback_is_said(
    api: httpx.AsyncClient, callback: dict[str, Any], pointer: str, message: str
) -> None:
    end = f"/{pointer}" if pointer else ""
    for path, body, prefix in (
        ("/tasks", {**NOTE, "callback": callback}, "#/callback"),
        (
            "/tasks/batch",
            {"tasks": [NOTE, {**NOTE, "callback": callback}]},
            "#/tasks/1/callback",
        ),
    ):
        answer = await api.post(path, json=body)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == f"{prefix}{end}"
        assert message in error["message"]
        assert "whsec_AAAA" not in answer.text


async def test_a_service_with_secrets_signs_callbacks_without(
    api: httpx.AsyncClient, app: FastAPI
) -> None:
    app.state.receivers = app.state.receivers._replace(signs=True)
    assert (await submitted(api, callback={"url": URL}))["status"] == "pending"


# -- keys ------------------------------------------------------------------------------------------

ADMIN = holder(Role.ADMIN, "admin")
BLIND_ADMIN = holder(Role.ADMIN, "blind", payloads=False)
OPERATOR = holder(Role.OPERATOR, "operator")
NARROW = holder(Role.OPERATOR, "narrow", types=frozenset({"note"}))
BLIND_SUBMITTER = holder(Role.SUBMITTER, "shop", payloads=False)


@pytest.fixture
def with_keys(app: FastAPI) -> None:
    holders = (ADMIN, BLIND_ADMIN, OPERATOR, NARROW, BLIND_SUBMITTER)
    app.state.gate.renew(ring_of(*holders))


@pytest.mark.usefixtures("with_keys")
@pytest.mark.parametrize(
    ("asker", "method", "path", "status"),
    [
        (OPERATOR, "PUT", "", 403),
        (OPERATOR, "DELETE", "", 403),
        (OPERATOR, "POST", "/secret", 403),
        (OPERATOR, "GET", "", 200),
        (OPERATOR, "POST", "/test", 202),
        (OPERATOR, "POST", "/disable", 200),
        (NARROW, "GET", "", 403),
        (NARROW, "POST", "/test", 403),
        (BLIND_SUBMITTER, "GET", "", 403),
        (BLIND_ADMIN, "PUT", "", 403),
        (BLIND_ADMIN, "DELETE", "", 204),
    ],
)
async def test_a_webhook_is_for_the_roles_that_its_routes_name(
    api: httpx.AsyncClient, asker: Holder, method: str, path: str, status: int
) -> None:
    made = await api.put("/webhooks/orders", json={"url": URL}, headers=ADMIN.headers)
    assert made.status_code == 201
    body = {"url": URL} if method == "PUT" else None
    answer = await api.request(method, f"/webhooks/orders{path}", json=body, headers=asker.headers)
    assert answer.status_code == status, answer.text


@pytest.mark.usefixtures("with_keys")
async def test_who_does_not_see_errors_is_not_told_of_them_by_a_callback(
    api: httpx.AsyncClient, hand: Hand
) -> None:
    errors = {}
    for asker in (ADMIN, BLIND_SUBMITTER):
        body = {**NOTE, "callback": {"url": URL, "secret": SECRET}}
        task_id = (await api.post("/tasks", json=body, headers=asker.headers)).json()["id"]
        hand.fail(hand.claim(task_id), error="no such account: 4711")
        query = {"type": "webhook", "label": f"task={task_id}"}
        found = (await api.get("/tasks", params=query, headers=ADMIN.headers)).json()["tasks"]
        (errors[asker.key.name],) = [one["payload"]["event"]["data"]["error"] for one in found]
    assert errors == {"admin": "no such account: 4711", "shop": None}
