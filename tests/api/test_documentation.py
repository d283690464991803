from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from afterwards.access.key import Limits
from afterwards.access.keyring import NO_KEYS
from afterwards.access.meters import Left
from afterwards.access.roles import Role
from afterwards.api import schemas
from afterwards.api.idempotency import key_of
from afterwards.errors import RegistryUnavailable
from afterwards.lifecycle import TaskState
from tests.access.holders import holder, ring_of

pytestmark = pytest.mark.anyio

EVERYWHERE = {"403", "405", "413", "421", "500"}
KEYED = {"401", "429", "503"}
PUBLIC = {"/healthz", "/readyz", "/session"}
SUBMISSION = {"400", "415", "422", "503"}
KNOWN = {"404", "410", "503"}

GENERAL = {
    "Tasks of any type",
    "Task types",
    "Statistics",
    "Errors",
    "Schedules",
    "Activity",
    "Keys",
    "Webhooks",
}
"""The surfaces that these tests' service does not know; see `general/` and `test_fuzzing`."""

OPERATIONS = {
    ("POST", "/notify/"): SUBMISSION | {"202"} | EVERYWHERE,
    ("POST", "/report/"): SUBMISSION | {"202"} | EVERYWHERE,
    ("POST", "/file/"): SUBMISSION | {"202"} | EVERYWHERE,
    ("GET", "/status/{task_id}"): {"200", "404", "503"} | EVERYWHERE,
    ("POST", "/retry-task/{task_id}"): {"200", "400", "404", "503"} | EVERYWHERE,
    ("POST", "/api/notifications/notify"): SUBMISSION - {"415"} | {"200"} | EVERYWHERE,
    ("POST", "/send-email"): SUBMISSION | {"200"} | EVERYWHERE,
    ("GET", "/task/{task_id}/status"): {"200", "404", "503"} | EVERYWHERE,
    ("GET", "/tasks/{task_id}/events"): {"200", "204", "404", "410"} | EVERYWHERE,
    ("GET", "/events"): {"200", "422"} | EVERYWHERE,
    ("GET", "/tasks"): {"200", "422", "503"} | EVERYWHERE,
    ("GET", "/tasks/count"): {"200", "422", "503"} | EVERYWHERE,
    ("POST", "/tasks"): SUBMISSION | {"200", "202", "409"} | EVERYWHERE,
    ("POST", "/tasks/batch"): SUBMISSION | {"202", "409"} | EVERYWHERE,
    ("GET", "/tasks/{task_id}"): {"200", "304", "422"} | KNOWN | EVERYWHERE,
    ("GET", "/tasks/{task_id}/artifacts"): {"200"} | KNOWN | EVERYWHERE,
    ("GET", "/tasks/{task_id}/artifacts/{name}"): {"200", "206", "304", "416"} | KNOWN | EVERYWHERE,
    ("PATCH", "/tasks/{task_id}"): {"200", "409", "415", "422"} | KNOWN | EVERYWHERE,
    ("DELETE", "/tasks/{task_id}"): {"204", "409"} | KNOWN | EVERYWHERE,
    ("POST", "/tasks/{task_id}/cancel"): {"200", "422"} | KNOWN | EVERYWHERE,
    ("GET", "/groups/{group_id}"): {"200"} | KNOWN | EVERYWHERE,
    ("POST", "/tasks/{task_id}/run"): {"200", "409"} | KNOWN | EVERYWHERE,
    ("POST", "/tasks/{task_id}/retry"): {"202", "409", "415", "422"} | KNOWN | EVERYWHERE,
    ("POST", "/tasks/retry"): {"200", "415", "422", "503"} | EVERYWHERE,
    ("POST", "/tasks/cancel"): {"200", "415", "422", "503"} | EVERYWHERE,
    ("POST", "/tasks/run"): {"200", "415", "422", "503"} | EVERYWHERE,
    ("POST", "/tasks/delete"): {"200", "415", "422", "503"} | EVERYWHERE,
    ("GET", "/task-types"): {"200", "503"} | EVERYWHERE,
    ("GET", "/task-types/{name}"): {"200", "404", "503"} | EVERYWHERE,
    ("POST", "/task-types/{name}/pause"): {"200", "404", "503"} | EVERYWHERE,
    ("POST", "/task-types/{name}/resume"): {"200", "204", "404", "503"} | EVERYWHERE,
    ("GET", "/stats"): {"200", "503"} | EVERYWHERE,
    ("GET", "/workers"): {"200", "503"} | EVERYWHERE,
    ("GET", "/stats/events"): {"200", "422"} | EVERYWHERE,
    ("GET", "/stats/series"): {"200", "422", "503"} | EVERYWHERE,
    ("GET", "/schedules"): {"200", "422", "503"} | EVERYWHERE,
    ("GET", "/schedules/{name}"): {"200", "404", "503"} | EVERYWHERE,
    ("PUT", "/schedules/{name}"): {"200", "201", "409", "415", "422", "503"} | EVERYWHERE,
    ("DELETE", "/schedules/{name}"): {"204", "404", "409", "503"} | EVERYWHERE,
    ("POST", "/schedules/{name}/pause"): {"200", "404", "503"} | EVERYWHERE,
    ("POST", "/schedules/{name}/resume"): {"200", "404", "503"} | EVERYWHERE,
    ("POST", "/schedules/{name}/run"): {"202", "404", "409", "503"} | EVERYWHERE,
    ("GET", "/webhooks"): {"200", "422", "503"} | EVERYWHERE,
    ("GET", "/webhooks/{name}"): {"200", "404", "503"} | EVERYWHERE,
    ("PUT", "/webhooks/{name}"): {"200", "201", "409", "415", "422", "503"} | EVERYWHERE,
    ("DELETE", "/webhooks/{name}"): {"204", "404", "503"} | EVERYWHERE,
    ("POST", "/webhooks/{name}/secret"): {"200", "404", "415", "422", "503"} | EVERYWHERE,
    ("POST", "/webhooks/{name}/enable"): {"200", "404", "503"} | EVERYWHERE,
    ("POST", "/webhooks/{name}/disable"): {"200", "404", "503"} | EVERYWHERE,
    ("POST", "/webhooks/{name}/test"): {"202", "404", "409", "503"} | EVERYWHERE,
    ("POST", "/webhooks/{name}/replay"): {"202", "409", "415", "422"} | KNOWN | EVERYWHERE,
    ("GET", "/activity"): {"200", "422", "503"} | EVERYWHERE,
    ("GET", "/audit"): {"200", "422", "503"} | EVERYWHERE,
    ("GET", "/keys"): {"200", "422", "503"} | EVERYWHERE,
    ("POST", "/keys"): {"201", "409", "415", "422", "503"} | EVERYWHERE,
    ("POST", "/keys/{key_id}/rotate"): {"201", "404", "409", "415", "422", "503"} | EVERYWHERE,
    ("DELETE", "/keys/{key_id}"): {"204", "404", "503"} | EVERYWHERE,
    ("GET", "/session"): {"200", "401", "503"} | EVERYWHERE,
    ("POST", "/session"): {"201", "401", "409", "415", "422", "429", "503"} | EVERYWHERE,
    ("DELETE", "/session"): {"204", "503"} | EVERYWHERE,
    ("GET", "/errors"): {"200", "422", "503"} | EVERYWHERE,
    ("GET", "/errors/{error_id}"): {"200", "404", "503"} | EVERYWHERE,
    ("GET", "/healthz"): {"200"} | EVERYWHERE,
    ("GET", "/readyz"): {"200", "503"} | EVERYWHERE,
    ("GET", "/metrics"): {"200", "503"} | EVERYWHERE,
}


@pytest.fixture
async def openapi(client: httpx.AsyncClient) -> Any:
    return (await client.get("/openapi.json")).json()


def operations(openapi: Any) -> list[tuple[str, str, Any]]:
    return [
        (method.upper(), path, operation)
        for path, item in openapi["paths"].items()
        for method, operation in item.items()
    ]


def fixed(openapi: Any) -> list[tuple[str, str, Any]]:
    """The operations of the surfaces with a fixed set of task types."""
    return [one for one in operations(openapi) if not GENERAL.intersection(one[2]["tags"])]


async def test_every_operation_is_there_once_with_every_answer(openapi: Any) -> None:
    assert {
        (method, path): set(operation["responses"])
        for method, path, operation in operations(openapi)
    } == {call: found if call[1] in PUBLIC else found | KEYED for call, found in OPERATIONS.items()}


async def test_a_key_is_sent_as_a_bearer_token_to_all_but_the_public_operations(
    openapi: Any, client: httpx.AsyncClient, app: FastAPI
) -> None:
    [(name, scheme)] = openapi["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for _, path, operation in operations(openapi):
        assert operation.get("security") == ([] if path in PUBLIC else None)
    assert openapi["security"] == [{name: []}, {}]
    viewer = holder(Role.VIEWER)
    app.state.gate.renew(ring_of(viewer))
    required = (await client.get("/openapi.json", headers=viewer.headers)).json()
    assert required["security"] == [{name: []}]


async def test_every_operation_explains_itself(openapi: Any) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(openapi)]
    assert len(set(ids)) == len(ids)
    for _, path, operation in operations(openapi):
        assert operation["summary"], path
        assert operation["description"], path
        assert operation["tags"], path
        assert re.fullmatch(r"[a-zA-Z]+", operation["operationId"])


async def test_every_error_is_a_problem_document_with_an_example(openapi: Any) -> None:
    for _, path, operation in operations(openapi):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                [(media_type, content)] = answer["content"].items()
                assert media_type == "application/problem+json", path
                assert content["schema"]["$ref"].endswith("/ProblemDocument")
                schemas.ProblemDocument.model_validate(content["example"])
                assert content["example"]["status"] == int(status)


async def test_the_example_of_a_wrong_request_is_one_of_its_route(openapi: Any) -> None:
    for method, path, operation in operations(openapi):
        if "422" not in operation["responses"]:
            continue
        answer = operation["responses"]["422"]
        [content] = answer["content"].values()
        errors = content["example"].get("errors", [])
        for error in errors:
            assert content["example"]["detail"] == f"{error['pointer']}: {error['message']}", path
            assert (error["location"] == "body") == ("requestBody" in operation), (method, path)
        keyed = [one for one in operation.get("parameters", []) if one["name"] == "Idempotency-Key"]
        assert ("idempotency key" in answer["description"]) == bool(keyed), (method, path)


async def test_every_accepting_answer_documents_its_location(openapi: Any) -> None:
    accepting = [operation for method, _, operation in fixed(openapi) if method == "POST"]
    accepting += [openapi["paths"][path]["post"] for path in ("/tasks", "/tasks/{task_id}/retry")]
    accepting += [openapi["paths"]["/schedules/{name}"]["put"]]
    assert len(accepting) == 9
    for operation in accepting:
        success = operation["responses"].get("202") or operation["responses"]["200"]
        assert success["headers"]["Location"]["description"]


PROVOCATIONS: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("", {"json": {}}),
    ("", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
    ("", {"content": b"x" * 20_000, "headers": {"Content-Type": "application/json"}}),
    ("", {"content": b"x", "headers": {"Content-Length": "20000"}}),
    ("PUT", {}),
    ("", {"headers": {"Idempotency-Key": '"'}}),
    ("", {"headers": {"Idempotency-Key": "taken"}}),
    ("", {"params": {"status": "unknown"}}),
    ("", {"headers": {"Last-Event-ID": "ab-1"}}),
    ("", {"headers": {"Host": "evil.example"}}),
    ("", {"headers": {"Sec-Fetch-Site": "cross-site"}}),
]


async def test_every_problem_that_can_be_provoked_is_documented_and_the_other_way_round(
    openapi: Any, client: httpx.AsyncClient, service: Any, app: FastAPI
) -> None:
    task = service.put(TaskState.SUCCESS)
    service.put(TaskState.SUCCESS, idempotency_key="taken")
    spent = holder(Role.ADMIN, limits=Limits(requests_per_second=0.001))
    for method, path, operation in fixed(openapi):
        provoked = set[int]()
        for trouble in (None, RegistryUnavailable(), RuntimeError()):
            service.broken = trouble
            for task_id in (task.id, "unknown", "deleted"):
                url = path.replace("{task_id}", task_id)
                for other_method, options in PROVOCATIONS:
                    answer = await client.request(other_method or method, url, **options)
                    provoked.add(answer.status_code)
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                [example] = referenced(openapi, schema)["examples"]
                for headers in ({}, {"Idempotency-Key": '"'}):
                    answer = await client.request(method, path, json=example, headers=headers)
                    provoked.add(answer.status_code)
        service.broken = None
        for ring in (ring_of(), None, NO_KEYS):
            app.state.gate.renew(ring)
            provoked.add((await client.request(method, path)).status_code)
        app.state.gate.renew(ring_of(spent))
        app.state.gate.meters.hear({spent.key.id: Left(0.0)})
        provoked.add((await client.request(method, path, headers=spent.headers)).status_code)
        app.state.gate.renew(NO_KEYS)
        documented = {int(status) for status in operation["responses"]}
        # Where the service is not asked, it cannot fail.
        assert (
            documented - provoked <= {200, 500}
            if path == "/healthz"
            else documented <= provoked | {200}
        )
        assert provoked <= documented, path


async def test_every_parameter_has_a_description_and_an_example(openapi: Any) -> None:
    parameters = [
        parameter
        for _, _, operation in operations(openapi)
        for parameter in operation.get("parameters", ())
    ]
    names = [parameter["name"] for parameter in parameters]
    assert Counter(names) == {
        "task_id": 13,
        "name": 18,
        "Idempotency-Key": 7,
        "wait": 2,
        "logs": 1,
        "tracebacks": 1,
        "Prefer": 2,
        "Task-Labels": 5,
        "If-None-Match": 2,
        "Range": 1,
        "If-Range": 1,
        "Last-Event-ID": 2,
        "last_event_id": 2,
        "type": 5,
        "error_id": 1,
        "error": 2,
        "parent": 2,
        "group": 2,
        "group_id": 1,
        "children": 1,
        "order": 2,
        "status": 3,
        "label": 2,
        "concurrency_key": 2,
        "unique_key": 2,
        "q": 2,
        "created_after": 2,
        "created_before": 2,
        "finished_after": 2,
        "finished_before": 2,
        "summary": 1,
        "limit": 7,
        "cursor": 6,
        "payloads": 1,
        "results": 1,
        "range": 1,
        "key_id": 2,
    }
    for parameter in parameters:
        assert parameter["description"]
        if parameter["name"] == "task_id" and parameter["in"] == "path":
            assert parameter["examples"]["task"]["value"] == schemas.EXAMPLE_ID
        elif parameter["name"] != "Idempotency-Key":
            of_schema = parameter["schema"].get("examples")
            assert parameter.get("examples") or parameter.get("example") or of_schema, parameter
        else:
            headers = [(b"idempotency-key", parameter["example"].encode())]
            assert key_of({"headers": headers})


async def test_the_answer_of_the_metrics_has_an_example(openapi: Any) -> None:
    [(media_type, content)] = openapi["paths"]["/metrics"]["get"]["responses"]["200"][
        "content"
    ].items()
    assert media_type == "text/plain"
    [family] = text_string_to_metric_families(content["example"])
    assert family.name == "afterwards_tasks"
    assert family.samples


async def test_the_description_says_what_becomes_of_a_request_id(openapi: Any) -> None:
    description = " ".join(openapi["info"]["description"].split())
    assert "`X-Request-ID`: the one that was sent, if it has 1 to 128 characters" in description
    assert "Any other is replaced" in description
    assert "Warnings and errors that are logged while the request is served carry it" in description
    assert "logged at the log level `debug` only" in description


def referenced(openapi: Any, schema: Any) -> Any:
    # A body that may be left out is one of two.
    [reference, *_] = schema.get("anyOf", [schema])
    return openapi["components"]["schemas"][reference["$ref"].rsplit("/", 1)[1]]


async def test_request_and_response_models_have_examples(openapi: Any) -> None:
    for _, path, operation in operations(openapi):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [a for s, a in operation["responses"].items() if s in ("200", "201", "202")]
        for body in bodies:
            if (content := body["content"].get("application/json")) is not None:
                assert referenced(openapi, content["schema"])["examples"], path


async def test_every_reference_leads_somewhere(openapi: Any, client: httpx.AsyncClient) -> None:
    text = (await client.get("/openapi.json")).text
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in openapi["components"]["schemas"]


async def test_the_examples_of_requests_are_accepted(
    openapi: Any, client: httpx.AsyncClient
) -> None:
    for _, path, operation in fixed(openapi):
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            [example] = referenced(openapi, schema)["examples"]
            assert (await client.post(path, json=example)).is_success


async def test_the_answers_written_by_hand_are_what_the_schemas_say(
    client: httpx.AsyncClient,
) -> None:
    message = {"email": "a@example.com", "message": ""}
    models: dict[type[BaseModel], httpx.Response] = {
        schemas.Started: await client.post("/notify", json=message),
        schemas.Scheduled: await client.post("/api/notifications/notify"),
        schemas.Health: await client.get("/readyz"),
        schemas.ProblemDocument: await client.post("/notify", json={}),
    }
    for model, answer in models.items():
        model.model_validate_json(answer.content, strict=True)


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_the_page_loads_nothing_from_another_host(
    client: httpx.AsyncClient, path: str
) -> None:
    page = await client.get(path)
    assert page.status_code == 200
    assert "//" not in re.sub(
        r"<!--.*?-->|^\s*//.*$", "", page.text, flags=re.DOTALL | re.MULTILINE
    )
    assets = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert len(assets) == 3
    for asset in assets:
        answer = await client.get(page.url.join(asset))
        assert answer.status_code == 200
        assert len(answer.content) > 500
    assert "default-src 'self'" in page.headers["content-security-policy"]


async def test_the_content_security_policy_lets_the_pages_own_script_run(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/docs")
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]


async def test_a_browser_is_led_to_the_dashboard(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (answer.status_code, answer.headers["location"]) == (303, "dashboard/")


async def test_a_program_gets_links_that_work(client: httpx.AsyncClient) -> None:
    links = (await client.get("/")).json()
    assert (links.pop("name"), links.pop("version")) == ("Afterwards", "1.2.3")
    assert set(links) == {"dashboard", "docs", "openapi", "metrics"}
    for link in links.values():
        assert (await client.get(link)).status_code == 200


async def test_there_is_no_page_that_needs_a_network(client: httpx.AsyncClient) -> None:
    assert (await client.get("/redoc")).status_code == 404
    assert (await client.get("/docs/assets/nothing.js")).status_code == 404
    assert (await client.get("/docs/assets/..%2f..%2fmain.py")).status_code == 404
