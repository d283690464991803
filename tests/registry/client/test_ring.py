"""A worker's ring is the registry's latest, and its uses are told once a minute."""

from __future__ import annotations

import asyncio
from typing import Any

from afterwards.access.key import Key
from afterwards.access.keyring import Keyring, RingNews
from afterwards.access.roles import Role
from afterwards.access.tokens import NewToken, new_token
from afterwards.errors import RegistryUnavailable
from afterwards.registry.client.client import RegistryClient
from afterwards.registry.client.connection import RegistryConnection
from afterwards.registry.client.ring import Ring
from afterwards.registry.engine.memory import MemoryRegistry, Surroundings
from afterwards.registry.protocol.incarnation import this_process
from afterwards.registry.protocol.key_requests import CreateKey, Keys, RevokeKey, Touch
from tests.registry.client.test_connection import SERVICE, Holder, Line, NoHttp, eventually, once
from tests.registry.peers import ask


def create(registry: MemoryRegistry, token: NewToken) -> None:
    key = Key(
        id=token.id, name=token.id, principal="ci", role=Role.VIEWER, created_at=0.0,
        digest=token.digest,
    )  # fmt: skip
    assert isinstance(ask(registry, CreateKey(key)), Key)


def test_a_worker_has_the_ring_when_it_has_joined_and_after_changes_and_reconnects() -> None:
    rings: list[Keyring] = []
    first, second, third = new_token(), new_token(), new_token()

    async def story() -> None:
        registry = MemoryRegistry(
            SERVICE, surroundings=Surroundings(end=lambda _: None, when_gone=lambda *_: None)
        )
        create(registry, first)
        line, holder = Line(registry), Holder(10)
        client = RegistryClient(holder, NoHttp(), ring=Ring(rings.append))
        connection = RegistryConnection(line.connect, this_process(SERVICE), client, holder, 8)
        client.bind(asyncio.get_running_loop())
        connection.start()
        try:
            assert await asyncio.to_thread(connection.wait_joined, 5)
            assert rings[-1].find(first.text.encode(), 0.0) is not None

            create(registry, second)
            await eventually(lambda: rings[-1].find(second.text.encode(), 0.0) is not None)

            # The very answer that has the news is lost with its connection.
            line.break_after = once(Keys)
            create(registry, third)
            ask(registry, RevokeKey(first.id))
            await eventually(lambda: rings[-1].find(first.text.encode(), 0.0) is None)
            await eventually(lambda: rings[-1].find(third.text.encode(), 0.0) is not None)
        finally:
            await asyncio.to_thread(connection.close, 5)
            client.unbind()
            registry.close()

    asyncio.run(story())


def test_no_ring_is_asked_for_while_the_registry_has_the_same() -> None:
    rings: list[Any] = []
    ring = Ring(rings.append)
    ring.take(Keyring(7, required=True))
    outdated = []
    for version in (7, None, 8):
        ring.heard(version)
        outdated.append(ring.is_outdated)
    assert outdated == [False, False, True]
    assert [one.version for one in rings] == [7]


def test_a_journal_that_was_restored_has_an_earlier_version_and_is_asked_all_the_same() -> None:
    ring = Ring(lambda _: None)
    ring.take(Keyring(7, required=True))
    ring.heard(3)
    assert ring.is_outdated


def test_an_answer_that_is_an_error_leaves_the_ring_as_it_is() -> None:
    rings: list[Any] = []
    ring = Ring(rings.append)
    ring.heard(1)
    ring.take(RegistryUnavailable())
    assert ring.is_outdated
    assert rings == []


def test_a_use_is_told_once_a_minute() -> None:
    ring = Ring(lambda _: None)
    assert ring.uses() is None
    ring.used["a"] = 130.0
    assert ring.uses() == Touch({"a": 120.0})
    ring.used["a"] = 170.0
    ring.used["b"] = 171.0
    assert ring.uses() == Touch({"b": 120.0})
    ring.used["a"] = 180.0
    assert ring.uses() == Touch({"a": 180.0})
    assert ring.uses() is None


def a_key(name: str) -> Key:
    return Key(id=name, name=name, principal=name, role=None, created_at=0.0, digest=b"")


def test_a_difference_is_added_to_the_ring_that_it_is_about() -> None:
    rings: list[Keyring] = []
    ring = Ring(rings.append)
    assert ring.request() == Keys(None)
    ring.take(Keyring(3, required=True, keys=[a_key("a"), a_key("b")]))
    assert ring.request() == Keys(3)

    ring.take(RingNews(3, 5, True, {"a": None, "c": a_key("c")}, {}))

    assert {key.id for key in rings[-1].keys} == {"b", "c"}
    assert {key.id for key in rings[0].keys} == {"a", "b"}
    assert ring.request() == Keys(5)
    # It came twice.
    ring.take(RingNews(3, 5, True, {"b": None}, {}))
    assert len(rings) == 2


def test_a_difference_to_no_ring_is_none() -> None:
    rings: list[Keyring] = []
    ring = Ring(rings.append)
    ring.take(RingNews(0, 1, True, {}, {}))
    ring.heard(1)
    assert rings == []
    assert ring.is_outdated
