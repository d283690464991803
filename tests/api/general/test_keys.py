"""`/keys` and `/audit`: made, rotated and revoked by administrators, the token shown once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from afterwards.access.key import Key
from afterwards.access.keyring import Keyring
from afterwards.access.roles import Role
from afterwards.access.tokens import parsed
from afterwards.api import SURFACES
from afterwards.api.keys import FIRST_IS_LOCAL
from afterwards.api.refused import NOT_READ, WORDS
from afterwards.api.schemas.activity import AuditDocument
from afterwards.api.schemas.keys import IssuedKeyDocument, KeyPage
from afterwards.errors import RegistryUnavailable
from afterwards.registry.engine.memory import MemoryRegistry
from afterwards.registry.protocol.key_requests import CreateKey, Keys
from afterwards.service.service import TaskService
from tests.access.holders import Holder, holder
from tests.api.general.conftest import NOTE
from tests.registry.peers import ask

pytestmark = pytest.mark.anyio


def ring_of(registry: MemoryRegistry) -> Keyring:
    ring: Keyring = ask(registry, Keys())
    return ring


@pytest.fixture
def root(app: FastAPI, registry: MemoryRegistry) -> Holder:
    """An administrator, whose key is the first one."""
    root = holder(Role.ADMIN, "root")
    assert isinstance(ask(registry, CreateKey(root.key)), Key)
    app.state.gate.renew(ring_of(registry))
    return root


@pytest.fixture
async def admin(app: FastAPI, root: Holder) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service", headers=root.headers
    ) as client:
        yield client


async def created(admin: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await admin.post("/keys", json={"name": "shop", "role": "submitter", **body})
    assert answer.status_code == 201, answer.text
    IssuedKeyDocument.model_validate_json(answer.content, strict=True)
    document: dict[str, Any] = answer.json()
    return document


async def listed(admin: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await admin.get("/keys")
    KeyPage.model_validate_json(answer.content, strict=True)
    return {key["id"]: key for key in answer.json()["keys"]}


async def test_a_new_key_is_what_was_asked_for_and_its_token_is_shown_once(
    admin: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    asked = {
        "principal": "builds", "types": ["note"], "labels": {"tenant": "acme"}, "payloads": True,
        "limits": {"streams": 2}, "expires_at": "2126-11-21T10:00:00Z",
    }  # fmt: skip
    new = await created(admin, **asked)

    token = new.pop("token")
    found = ring_of(registry).find(token.encode(), 0.0)
    assert found is not None
    assert (found.id, found.principal, found.limits.streams) == (new["id"], "builds", 2)
    assert new == (await listed(admin))[new["id"]]
    assert (new["labels"], new["types"], new["state"]) == ({"tenant": "acme"}, ["note"], "valid")


async def test_no_answer_but_the_first_and_no_entry_has_a_token(
    admin: httpx.AsyncClient, root: Holder
) -> None:
    new = await created(admin)
    parts = parsed(new["token"].encode())
    assert parts is not None
    for path in ("/keys", "/audit", "/activity"):
        text = (await admin.get(path)).text
        assert new["id"] in text
        for secret in (new["token"], new["token"][-43:], parts.digest.hex(), root.token):
            assert secret not in text


async def test_a_key_has_a_role_or_grants(admin: httpx.AsyncClient) -> None:
    metrics = await created(admin, role=None, grants=["metrics"])
    assert (metrics["role"], metrics["grants"]) == (None, ["metrics"])
    for body in ({"name": "a"}, {"name": "a", "role": "viewer", "grants": ["submit"]}):
        answer = await admin.post("/keys", json=body)
        assert answer.status_code == 422
        assert "send one of role and grants" in answer.text
    for name, role in (("", "viewer"), ("a", "public"), ("a\x1e", "viewer"), ("a" * 65, "viewer")):
        answer = await admin.post("/keys", json={"name": name, "role": role})
        assert answer.status_code == 422, (name, role)


async def test_a_taken_name_is_refused(admin: httpx.AsyncClient) -> None:
    first = await created(admin)
    answer = await admin.post("/keys", json={"name": "shop", "role": "viewer"})
    assert answer.status_code == 409
    assert first["id"] in answer.json()["detail"]


async def test_a_rotation_gives_a_second_token_while_the_first_is_valid(
    admin: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    old = await created(admin)
    answer = await admin.post(f"/keys/{old['id']}/rotate")
    assert answer.status_code == 201
    new = answer.json()
    assert (new["principal"], new["role"]) == ("shop", "submitter")
    ring = ring_of(registry)
    assert ring.find(old["token"].encode(), 0.0) is not None
    assert ring.find(new["token"].encode(), 0.0) is not None
    assert (await listed(admin))[old["id"]]["replaced_by"] == new["id"]
    again = await admin.post(f"/keys/{old['id']}/rotate", json={"overlap_seconds": 0})
    assert again.status_code == 409
    at_once = await admin.post(f"/keys/{new['id']}/rotate", json={"overlap_seconds": 0})
    assert at_once.status_code == 201
    assert (await listed(admin))[new["id"]]["state"] == "expired"


async def test_a_key_without_payloads_gets_none_by_a_key_that_it_makes_or_rotates(
    admin: httpx.AsyncClient, app: FastAPI, registry: MemoryRegistry, root: Holder
) -> None:
    blind = await created(admin, name="blind", role="admin")
    app.state.gate.renew(ring_of(registry))
    headers = {"Authorization": f"Bearer {blind['token']}"}
    wanted = {"name": "eyes", "role": "viewer", "payloads": True}
    for path, body in (("/keys", wanted), (f"/keys/{root.key.id}/rotate", {})):
        answer = await admin.post(path, json=body, headers=headers)
        assert answer.status_code == 403, answer.text
        assert "with `payloads`" in answer.json()["detail"]
    assert {root.key.id, blind["id"]} == {*await listed(admin)}

    own = f"/keys/{blind['id']}/rotate"
    for path, body in (("/keys", {**wanted, "payloads": False}), (own, {})):
        answer = await admin.post(path, json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["payloads"] is False


async def test_a_limited_administrator_makes_no_key_and_finds_none(
    admin: httpx.AsyncClient, app: FastAPI, registry: MemoryRegistry, root: Holder
) -> None:
    limited = await created(admin, role="admin", labels={"tenant": "acme"}, payloads=True)
    app.state.gate.renew(ring_of(registry))
    headers = {"Authorization": f"Bearer {limited['token']}"}
    paths = ("/keys", f"/keys/{root.key.id}/rotate", "/keys/unknown/rotate")
    for path in paths:
        body = {"name": "x", "role": "viewer"} if path == "/keys" else {}
        assert (await admin.post(path, json=body, headers=headers)).status_code == 403


async def test_a_revoked_key_stays_listed(
    admin: httpx.AsyncClient, registry: MemoryRegistry
) -> None:
    key = await created(admin)
    assert (await admin.delete(f"/keys/{key['id']}")).status_code == 204
    assert ring_of(registry).find(key["token"].encode(), 0.0) is None
    assert (await listed(admin))[key["id"]]["state"] == "revoked"
    assert (await admin.post(f"/keys/{key['id']}/rotate")).status_code == 409
    for answer in (await admin.delete("/keys/x"), await admin.post("/keys/x/rotate")):
        assert answer.status_code == 404


async def test_pages_go_on_where_the_last_one_ended(admin: httpx.AsyncClient) -> None:
    for n in range(4):
        await created(admin, name=f"key {n}")
    names, query = [], "?limit=2"
    while query:
        answer = await admin.get(f"/keys{query}")
        names += [key["name"] for key in answer.json()["keys"]]
        following = answer.links.get("next", {}).get("url")
        assert (following is None) == (answer.json()["next"] is None)
        query = following or ""
    assert sorted(names) == ["key 0", "key 1", "key 2", "key 3", "root"]
    assert (await admin.get("/keys?cursor=x!")).status_code == 422


async def test_the_first_key_is_not_made_over_http(api: httpx.AsyncClient) -> None:
    answer = await api.post("/keys", json={"name": "mine", "role": "admin"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == FIRST_IS_LOCAL


async def test_the_audit_has_the_key_and_the_address_and_the_activity_has_not(
    admin: httpx.AsyncClient, root: Holder
) -> None:
    await admin.post("/task-types/note/pause")
    await admin.delete("/keys/nosuchkey000")

    answer = await admin.get("/audit")
    AuditDocument.model_validate_json(answer.content, strict=True)
    refused, paused = answer.json()["entries"]
    assert (refused["verb"], refused["outcome"]) == ("revoke", "refused")
    assert (paused["actor"], paused["key_id"], paused["address"]) == (
        "root", root.key.id, "192.0.2.7",
    )  # fmt: skip
    for entry in (await admin.get("/activity")).json()["entries"]:
        assert not {"key_id", "address"} & set(entry)


@pytest.fixture
async def viewer(
    app: FastAPI, registry: MemoryRegistry, root: Holder
) -> AsyncIterator[httpx.AsyncClient]:
    eyes = holder(Role.VIEWER, "eyes")
    ask(registry, CreateKey(eyes.key))
    app.state.gate.renew(ring_of(registry))
    transport = httpx.ASGITransport(app, client=("192.0.2.8", 4711))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service", headers=eyes.headers
    ) as client:
        yield client


async def test_every_verb_by_hand_that_a_key_does_not_reach_is_in_the_audit(
    viewer: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    verbs = [
        (route, method)
        for surface in SURFACES
        for route in surface.router.routes
        if route.needs.role >= Role.OPERATOR
        for method in route.methods - {"GET", "HEAD"}
    ]
    assert {route.operation_id for route, _ in verbs} == set(WORDS)
    for route, method in verbs:
        path = re.sub(r"{\w+}", "x", route.path)
        assert (await viewer.request(method, path)).status_code == 403, path

    entries = (await admin.get(f"/audit?limit={len(verbs)}")).json()["entries"]

    said = [(entry["verb"], entry["object"], entry["name"]) for entry in reversed(entries)]
    assert said == [
        (words.verb, words.object, "x" if words.parameter else NOT_READ)
        for words in (WORDS[route.operation_id] for route, _ in verbs)
    ]
    assert {(one["actor"], one["outcome"], one["address"]) for one in entries} == {
        ("eyes", "refused", "192.0.2.8")
    }
    assert all("needs the role" in entry["detail"] for entry in entries)


async def test_a_refused_look_or_submission_is_no_verb(
    viewer: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    assert (await viewer.get("/keys")).status_code == 403
    assert (await viewer.post("/tasks", json=NOTE)).status_code == 403
    assert (await viewer.get("/keys")).status_code == 403
    assert not any(
        entry["actor"] == "eyes" for entry in (await admin.get("/audit")).json()["entries"]
    )


async def test_a_refusal_is_one_although_it_cannot_be_noted(
    viewer: httpx.AsyncClient, service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise RegistryUnavailable

    monkeypatch.setattr(service.operations, "note_refusal", away)
    assert (await viewer.post("/task-types/note/pause")).status_code == 403
