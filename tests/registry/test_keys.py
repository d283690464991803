"""Keys and sessions: made, changed and ended in one place, durable, and told to every worker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from afterwards.access.key import (
    MOST_KEYS,
    MOST_SESSIONS,
    MOST_SESSIONS_OF_A_KEY,
    Key,
    Limits,
    Session,
)
from afterwards.access.keyring import Keyring, RingNews
from afterwards.access.roles import Grant, Role
from afterwards.access.tokens import digest_of, new_token
from afterwards.errors import (
    JournalUnavailable,
    KeyNameTaken,
    KeyNotFound,
    KeyNotUsable,
    TooManyKeys,
)
from afterwards.registry.journal.keys import KeyState
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.key_requests import (
    CreateKey,
    EndSession,
    Keys,
    KeysOff,
    OpenSession,
    RevokeKey,
    RotateKey,
    Touch,
)
from afterwards.registry.protocol.requests import Activity, Add
from tests.registry.bench import Bench, FailingNull, SteppedRegistry
from tests.registry.conftest import Reach
from tests.registry.peers import ask, make_task, raised

ANN = By("ann", "c1f7a9d2-1", "192.0.2.7", key_id="adminadminad")


def a_key(name: str = "ci", **changes: Any) -> Key:
    token = new_token()
    members: dict[str, Any] = {
        "id": token.id, "name": name, "principal": name, "role": Role.SUBMITTER,
        "created_at": 0.0, "digest": token.digest,
    }  # fmt: skip
    return Key(**{**members, **changes})


def a_session(key: Key, ends_at: float = 4e9, cookie: str = "cookie") -> Session:
    return Session(digest=digest_of(cookie.encode()), key_id=key.id, opened_at=0.0, ends_at=ends_at)


def ring_of(registry: Registry) -> Keyring:
    ring = ask(registry, Keys())
    assert isinstance(ring, Keyring), ring
    return ring


def keys_of(registry: Registry) -> dict[str, Key]:
    return {key.id: key for key in ring_of(registry).keys}


def without_times(key: Key) -> Key:
    return replace(key, created_at=0.0)


# -- the contract: every registry ------------------------------------------------------------------


def test_no_key_is_required_until_there_is_one(reach: Reach) -> None:
    before = ring_of(reach.registry)
    key = a_key(
        role=None, grants=frozenset({Grant.SUBMIT}), types=frozenset({"email"}),
        labels={"tenant": "acme"}, payloads=True, limits=Limits(streams=2, burst=3),
        expires_at=4e9,
    )  # fmt: skip

    assert isinstance(reach.ask(CreateKey(key)), Key)

    ring = ring_of(reach.registry)
    assert (before.required, ring.required) == (False, True)
    assert ring.version > before.version
    assert [*map(without_times, ring.keys)] == [key]


def test_a_repeated_creation_changes_nothing(reach: Reach) -> None:
    key = a_key()
    reach.ask(CreateKey(key))
    version = ring_of(reach.registry).version
    assert isinstance(reach.ask(CreateKey(key)), Key)
    assert ring_of(reach.registry).version == version


def test_only_the_first_key_is_made_where_the_first_was_asked_for(reach: Reach) -> None:
    first, second = a_key("first"), a_key("second")
    assert isinstance(reach.ask(CreateKey(first, only_first=True)), Key)
    assert reach.ask(CreateKey(second, only_first=True)) is None
    reach.ask(RevokeKey(first.id))
    assert reach.ask(CreateKey(second, only_first=True)) is None
    assert list(keys_of(reach.registry)) == [first.id]


def test_a_name_is_one_valid_keys(reach: Reach) -> None:
    first = a_key("ci")
    reach.ask(CreateKey(first))
    assert raised(reach.ask(CreateKey(a_key("ci")))) is KeyNameTaken
    reach.ask(RevokeKey(first.id))
    assert isinstance(reach.ask(CreateKey(a_key("ci"))), Key)


def test_a_rotation_makes_a_second_key_of_the_same_principal_with_an_overlap(reach: Reach) -> None:
    old, token = a_key(principal="builds", expires_at=None), new_token()
    reach.ask(CreateKey(old))

    new = reach.ask(RotateKey(old.id, token.id, token.digest, 60.0))

    kept = keys_of(reach.registry)
    assert (new.name, new.principal, new.role) == (old.name, "builds", old.role)
    assert kept[new.id] == new
    ends_at = new.created_at + 60
    assert kept[old.id].expires_at == ends_at
    ring = ring_of(reach.registry)
    assert ring.key(old.id, ends_at - 1) is not None
    assert ring.key(old.id, ends_at) is None
    assert ring.find(token.text.encode(), ends_at) is not None


def test_a_repeated_rotation_changes_nothing_and_a_second_one_is_refused(reach: Reach) -> None:
    old, token, other = a_key(), new_token(), new_token()
    reach.ask(CreateKey(old))
    first = reach.ask(RotateKey(old.id, token.id, token.digest, 60.0))
    assert reach.ask(RotateKey(old.id, token.id, token.digest, 60.0)) == first
    refusal = reach.ask(RotateKey(old.id, other.id, other.digest, 60.0))
    assert raised(refusal) is KeyNotUsable
    assert token.id in str(refusal)
    assert len(keys_of(reach.registry)) == 2


def test_a_revoked_key_stays_listed_and_keys_stay_required(reach: Reach) -> None:
    key = a_key()
    reach.ask(CreateKey(key))
    assert reach.ask(RevokeKey(key.id)) is None
    version = ring_of(reach.registry).version
    assert reach.ask(RevokeKey(key.id)) is None
    ring = ring_of(reach.registry)
    assert (ring.required, ring.version) == (True, version)
    assert keys_of(reach.registry)[key.id].revoked_at is not None
    assert ring.key(key.id, 0.0) is None
    assert raised(reach.ask(RotateKey(key.id, new_token().id, b"", 60.0))) is KeyNotUsable


def test_an_unknown_key_is_said_to_be_unknown(reach: Reach) -> None:
    assert raised(reach.ask(RevokeKey("nosuchkey000"))) is KeyNotFound
    assert raised(reach.ask(RotateKey("nosuchkey000", "a", b"", 60.0))) is KeyNotFound
    assert raised(reach.ask(OpenSession(a_session(a_key())))) is KeyNotFound


def test_turned_off_keys_are_revoked_and_a_new_one_brings_none_back(reach: Reach) -> None:
    old = a_key("old")
    reach.ask(CreateKey(old))
    reach.ask(OpenSession(a_session(old)))
    assert reach.ask(KeysOff()) is None
    ring = ring_of(reach.registry)
    assert not ring.required
    assert ring.session(b"cookie", 0.0) is None

    reach.ask(CreateKey(a_key("new")))

    ring = ring_of(reach.registry)
    assert ring.required
    assert ring.key(old.id, 0.0) is None


def test_a_session_lasts_until_it_ends_or_its_key_does(reach: Reach) -> None:
    key = a_key()
    reach.ask(CreateKey(key))
    assert reach.ask(OpenSession(a_session(key))) is None
    found = ring_of(reach.registry).session(b"cookie", 0.0)
    assert found is not None
    assert found.id == key.id

    reach.ask(EndSession(digest_of(b"cookie")))
    assert ring_of(reach.registry).session(b"cookie", 0.0) is None

    reach.ask(OpenSession(a_session(key)))
    reach.ask(RevokeKey(key.id))
    assert ring_of(reach.registry).session(b"cookie", 0.0) is None
    assert raised(reach.ask(OpenSession(a_session(key)))) is KeyNotUsable


def test_the_last_use_is_remembered_to_the_minute_and_raises_no_version(reach: Reach) -> None:
    key = a_key()
    reach.ask(CreateKey(key))
    version = ring_of(reach.registry).version
    assert reach.ask(Touch({key.id: 1_750_000_123.0, "nosuchkey000": 1.0})) is None
    assert keys_of(reach.registry)[key.id].last_used_at == 1_750_000_080.0
    reach.ask(Touch({key.id: 1_750_000_000.0}))
    assert keys_of(reach.registry)[key.id].last_used_at == 1_750_000_080.0
    assert ring_of(reach.registry).version == version


def test_a_worker_is_called_for_a_change_of_keys_and_told_once(reach: Reach) -> None:
    peer = reach.peer()
    key = a_key()
    reach.ask(CreateKey(key))
    assert peer.watch()
    assert peer.exchange().keys == ring_of(reach.registry).version
    assert not peer.watch(0.05)
    reach.ask(RevokeKey(key.id))
    assert peer.watch()
    assert peer.exchange().keys == ring_of(reach.registry).version


def test_a_worker_that_joins_again_is_told_at_once(reach: Reach) -> None:
    peer = reach.peer()
    reach.ask(CreateKey(a_key()))
    assert peer.join().keys == ring_of(reach.registry).version > 0


def test_each_verb_on_keys_leaves_an_entry_refused_ones_too(reach: Reach) -> None:
    key, token = a_key(), new_token()
    session = a_session(key)
    for request in (
        CreateKey(key, by=ANN),
        CreateKey(a_key(), by=ANN),
        RotateKey(key.id, token.id, token.digest, 9.0, ANN),
        OpenSession(session, ANN),
        EndSession(session.digest, ANN),
        RevokeKey(key.id, ANN),
        RevokeKey("nosuchkey000", ANN),
        KeysOff(ANN),
    ):
        reach.ask(request)

    entries = reach.ask(Activity()).entries[::-1]

    assert [(one.verb, one.object, one.name, one.outcome) for one in entries] == [
        ("create", "key", "ci", "done"),
        ("create", "key", "ci", "refused"),
        ("rotate", "key", "ci", "done"),
        ("open", "session", "ci", "done"),
        ("end", "session", "ci", "done"),
        ("revoke", "key", "ci", "done"),
        ("revoke", "key", "nosuchkey000", "refused"),
        ("turn off", "keys", "all", "done"),
    ]
    assert {(one.actor, one.address, one.key_id) for one in entries} == {
        ("ann", "192.0.2.7", "adminadminad")
    }
    assert entries[0].detail == f"{key.id}: submitter"


# -- the difference --------------------------------------------------------------------------------


def test_a_difference_makes_the_same_ring_as_all_keys(reach: Reach) -> None:
    first, second = a_key("first"), a_key("second")
    reach.ask(CreateKey(first))
    reach.ask(OpenSession(a_session(first, cookie="old")))
    before = ring_of(reach.registry)
    reach.ask(CreateKey(second))
    reach.ask(EndSession(digest_of(b"old")))
    reach.ask(OpenSession(a_session(second)))
    reach.ask(RevokeKey(first.id))

    news = reach.ask(Keys(before.version))

    assert isinstance(news, RingNews)
    after, whole = before.renewed(news), ring_of(reach.registry)
    assert (after.version, after.required) == (whole.version, whole.required)
    assert {key.id: key for key in after.keys} == {key.id: key for key in whole.keys}
    assert after.session(b"old", 0.0) is None
    assert after.session(b"cookie", 0.0) == whole.session(b"cookie", 0.0) is not None
    # The ring before is as it was.
    assert before.key(first.id, 0.0) is not None


def test_whoever_has_the_latest_ring_is_told_of_no_difference(reach: Reach) -> None:
    reach.ask(CreateKey(a_key()))
    version = ring_of(reach.registry).version
    assert reach.ask(Keys(version)) == RingNews(version, version, True, {}, {})


def test_whoever_has_missed_too_much_gets_all_keys(bench: Bench) -> None:
    registry, [key] = filled(bench, 1)
    version = ring_of(registry).version
    for n in range(1_001):
        ask(registry, OpenSession(a_session(key, cookie=str(n))))
    assert isinstance(ask(registry, Keys(version)), Keyring)
    assert isinstance(ask(registry, Keys(version + 1)), RingNews)
    for unknown in (-1, version + 5_000):
        assert isinstance(ask(registry, Keys(unknown)), Keyring)


def test_a_change_of_thousands_of_keys_is_told_as_all_of_them(bench: Bench) -> None:
    registry, _ = filled(bench, 1_001)
    version = ring_of(registry).version
    ask(registry, KeysOff())
    ring = ask(registry, Keys(version))
    assert isinstance(ring, Keyring)
    assert not ring.required
    ask(registry, CreateKey(a_key("one more")))
    assert isinstance(ask(registry, Keys(version)), Keyring)
    assert isinstance(ask(registry, Keys(ring.version)), RingNews)


def test_a_change_that_was_taken_back_is_no_difference(bench: Bench) -> None:
    journal = FailingNull()
    registry = bench.registry(journal=journal)
    ask(registry, CreateKey(a_key()))
    version = ring_of(registry).version
    journal.failures = 9
    ask(registry, CreateKey(a_key("b")))
    journal.failures = 0
    assert ask(registry, Keys(version)) == RingNews(version, version, True, {}, {})


# -- what is written -------------------------------------------------------------------------------


def test_keys_and_sessions_are_as_they_were_after_a_crash(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    key = a_key(types=frozenset({"email"}), labels={"a": "b"}, limits=Limits(burst=3))
    gone = a_key("gone")
    ask(registry, CreateKey(key))
    ask(registry, CreateKey(gone))
    ask(registry, RevokeKey(gone.id))
    ask(registry, OpenSession(a_session(key)))
    ask(registry, Touch({key.id: bench.clock.wall()}))
    before = ring_of(registry)

    registry = bench.registry(journal=bench.crash())

    after = ring_of(registry)
    assert (after.version, after.required) == (before.version, before.required)
    assert keys_of(registry) == {one.id: one for one in before.keys}
    assert after.session(b"cookie", bench.clock.wall()) is not None


def test_a_change_that_could_not_be_written_is_none(bench: Bench) -> None:
    journal = FailingNull()
    registry = bench.registry(journal=journal)
    key = a_key()
    ask(registry, CreateKey(key))
    ask(registry, OpenSession(a_session(key)))
    before = ring_of(registry)

    for request in (CreateKey(a_key("b")), RevokeKey(key.id), KeysOff(), Touch({key.id: 1e9})):
        journal.failures = 9
        assert raised(ask(registry, request)) is JournalUnavailable
        journal.failures = 0
        after = ring_of(registry)
        assert (after.version, after.required) == (before.version, before.required)
        assert [*after.keys] == [*before.keys]
        assert after.session(b"cookie", 0.0) is not None


def test_a_key_can_be_revoked_where_there_is_no_room_for_a_new_one(bench: Bench) -> None:
    journal = FailingNull()
    registry = bench.registry(journal=journal)
    key = a_key()
    ask(registry, CreateKey(key))
    journal.failures = 1
    [new, revoked] = registry.together((None, [CreateKey(a_key("b"))]), (None, [RevokeKey(key.id)]))
    assert raised(new.answers[0]) is JournalUnavailable
    assert revoked.answers == [None]
    assert keys_of(registry)[key.id].revoked_at is not None


def test_a_group_of_tasks_alone_writes_nothing_of_keys(bench: Bench) -> None:
    registry = bench.registry(journal=bench.journal())
    ask(registry, CreateKey(a_key()))
    ask(registry, Add(make_task()))
    assert registry.rules.keys.changes() is None


# -- bounds ----------------------------------------------------------------------------------------


def filled(bench: Bench, number: int, **changes: Any) -> tuple[SteppedRegistry, list[Key]]:
    registry = bench.registry(journal=FailingNull())
    keys = [a_key(f"key {n}", **changes) for n in range(number)]
    registry.rules.keys.load(KeyState(number, True, keys))
    return registry, keys


def test_beyond_the_limit_valid_keys_stay_and_a_new_one_is_refused(bench: Bench) -> None:
    registry, _ = filled(bench, MOST_KEYS)
    assert raised(ask(registry, CreateKey(a_key("one more")))) is TooManyKeys
    assert len(keys_of(registry)) == MOST_KEYS


def test_beyond_the_limit_the_key_that_ended_first_makes_room(bench: Bench) -> None:
    registry, keys = filled(bench, MOST_KEYS)
    ask(registry, RevokeKey(keys[7].id))
    bench.clock.turn(1)
    ask(registry, RevokeKey(keys[3].id))
    assert isinstance(ask(registry, CreateKey(a_key("one more"))), Key)
    kept = keys_of(registry)
    assert len(kept) == MOST_KEYS
    assert keys[7].id not in kept
    assert keys[3].id in kept


def test_a_key_has_so_many_sessions_and_the_first_to_end_makes_room(bench: Bench) -> None:
    registry, [key] = filled(bench, 1)
    now = bench.clock.wall()
    for n in range(MOST_SESSIONS_OF_A_KEY + 1):
        ask(registry, OpenSession(a_session(key, now + 100 + n, str(n))))
    ring = ring_of(registry)
    assert ring.session(b"0", now) is None
    assert ring.session(b"1", now) is not None
    assert ring.session(str(MOST_SESSIONS_OF_A_KEY).encode(), now) is not None


def test_sessions_of_all_keys_are_bounded_and_ended_ones_go_first(bench: Bench) -> None:
    registry, [key, other] = filled(bench, 2)
    now = bench.clock.wall()
    sessions = [a_session(other, now + 1 + n, str(n)) for n in range(MOST_SESSIONS)]
    registry.rules.keys.load(KeyState(2, True, [key, other], sessions))
    bench.clock.turn(1.5)
    ask(registry, OpenSession(a_session(key, now + 9e9, "new")))
    ring = ring_of(registry)
    assert ring.session(b"0", now) is None
    assert ring.session(b"1", now) is not None
    ask(registry, OpenSession(a_session(key, now + 9e9, "newer")))
    ring = ring_of(registry)
    assert ring.session(b"1", now) is None
    assert ring.session(b"new", now) is not None


def test_a_rotated_key_is_valid_for_as_long_as_the_one_before_was_meant_to_be(bench: Bench) -> None:
    registry, _ = filled(bench, 0)
    now = bench.clock.wall()
    key, token = a_key(expires_at=now + 1000), new_token()
    ask(registry, CreateKey(key))
    bench.clock.turn(400)
    new = ask(registry, RotateKey(key.id, token.id, token.digest, 5000.0))
    assert new.expires_at == now + 400 + 1000
    # The overlap makes no key valid for longer than it was.
    assert keys_of(registry)[key.id].expires_at == now + 1000
