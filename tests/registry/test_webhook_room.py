"""Notices that cannot become deliveries yet: without room, without a disk, after a crash."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from afterwards.errors import JournalUnavailable, JournalUnreadable, TooManyUnfinished
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.protocol.requests import (
    Activity,
    Add,
    Cancel,
    Delete,
    Failed,
    Request,
    Scrape,
    Succeeded,
)
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    GetWebhook,
    PutWebhook,
    RotateSecret,
    SendTest,
)
from afterwards.registry.state.acceptance import Limits
from afterwards.registry.state.deliveries import AT_ONCE
from afterwards.registry.state.outbox import IN_MEMORY
from afterwards.task_ids import new_id
from afterwards.webhooks.delivery import GIVE_UP_SECONDS, MAX_AGE_SECONDS
from afterwards.webhooks.webhook import DELIVERY, Callback, Target
from tests.registry.bench import Bench, FailingNull, SteppedRegistry, keys_of
from tests.registry.peers import Peer, ask, get, raised
from tests.registry.test_webhooks import SECRET, URL, a_webhook, claim_of_delivery, told

MOST = 320
"""Unfinished tasks: those to one webhook may be 20, those to all callbacks 40."""


def open_deliveries(registry: SteppedRegistry) -> list[Task]:
    tasks = registry.rules.store.gathered(finished=False)
    return [task for task in tasks if task.type == DELIVERY]


def end(registry: SteppedRegistry, bench: Bench, number: int, **fields: Any) -> list[str]:
    """Have so many tasks end, in one group."""
    tasks = [bench.task(executor="thread", **fields) for _ in range(number)]
    requests: list[Request] = [one for task in tasks for one in (Add(task), Cancel(task.id))]
    answers = registry.exchange(None, 0, requests).answers
    assert not any(isinstance(answer, Exception) for answer in answers), answers[:2]
    return [task.id for task in tasks]


def settle(registry: SteppedRegistry, bench: Bench, steps: int = 3) -> None:
    for _ in range(steps):
        bench.clock.turn(1.0)
        registry.tick()


def by_webhook(registry: SteppedRegistry) -> Counter[str | None]:
    return Counter(told(task)[1] for task in open_deliveries(registry))


def finish_all(registry: SteppedRegistry, bench: Bench, peer: Peer) -> list[str]:
    """Deliver everything there is, and give the `webhook-id` of each, in order."""
    delivered: list[str] = []
    while True:
        bench.clock.turn(1.0)
        peer.beat()
        claims = [claim for claim in peer.table.values() if claim.type == DELIVERY]
        if not claims:
            return delivered
        for claim in claims:
            delivered.append(told(claim)[0])
            peer.succeed(claim)


# -- room -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("journaled", [False, True])
def test_deliveries_of_one_webhook_leave_room_to_others(bench: Bench, journaled: bool) -> None:
    registry = bench.registry(Limits(MOST), journal=bench.journal() if journaled else None)
    for name in ("slow", "busy"):
        ask(registry, PutWebhook(a_webhook(name, types=frozenset({name}))))
    slow = end(registry, bench, 3 * IN_MEMORY // 2, type="slow")
    settle(registry, bench)
    assert by_webhook(registry) == {"slow": MOST // 16}

    end(registry, bench, 5, type="busy")
    settle(registry, bench)
    assert by_webhook(registry) == {"slow": MOST // 16, "busy": 5}

    delivered = finish_all(registry, bench, bench.peer(registry, {"async": 4}))
    of_slow = [one for one in delivered if one.partition("_")[0] in slow]
    assert of_slow == [f"{task_id}_0_cancelled" for task_id in slow]


def test_deliveries_leave_half_of_the_room_to_clients(bench: Bench) -> None:
    registry = bench.registry(Limits(MOST), journal=bench.journal())
    for number in range(20):
        ask(registry, PutWebhook(a_webhook(f"w{number}")))
    end(registry, bench, 30)
    settle(registry, bench)
    assert len(open_deliveries(registry)) == MOST // 2
    assert min(by_webhook(registry).values()) > 0

    end(registry, bench, 1)
    peer = bench.peer(registry, {"async": 50})
    assert len(finish_all(registry, bench, peer)) == 31 * 20


def test_metrics_tell_of_what_waits_and_of_webhooks_that_are_disabled(bench: Bench) -> None:
    registry = bench.registry(Limits(MOST))
    ask(registry, PutWebhook(a_webhook()))
    ask(registry, PutWebhook(a_webhook("resting")))
    ask(registry, EnableWebhook("resting", False))
    end(registry, bench, 30)
    settle(registry, bench)
    text = ask(registry, Scrape()).decode()
    assert "\nafterwards_webhooks_disabled 1.0\n" in text
    assert f"\nafterwards_webhook_notices_waiting {30 - MOST // 16}.0\n" in text


def test_a_dead_client_s_callbacks_leave_room_to_webhooks(bench: Bench) -> None:
    registry = bench.registry(Limits(MOST), journal=bench.journal())
    end(registry, bench, 100, callback=Callback("https://dead.example/").encode())
    ask(registry, PutWebhook(a_webhook()))
    end(registry, bench, 10)
    settle(registry, bench)
    assert by_webhook(registry) == {None: MOST // 8, "orders": 10}


def test_deliveries_to_a_webhook_or_a_host_have_a_key_in_common(bench: Bench) -> None:
    registry = bench.registry()
    for name in ("a", "b"):
        ask(registry, PutWebhook(a_webhook(name)))
    end(registry, bench, 2)
    for url in ("https://one.example/1", "https://one.example/2", "https://two.example/1"):
        end(registry, bench, 1, callback=Callback(url).encode(), type="other")
    settle(registry, bench)

    keys: dict[str | None, Counter[str | None]] = {}
    for task in open_deliveries(registry):
        keys.setdefault(told(task)[1], Counter())[task.concurrency_key] += 1
    assert sorted(keys["a"].values()) == [5]
    assert sorted(keys["b"].values()) == [5]
    assert sorted(keys[None].values()) == [1, 2]
    assert len({*keys["a"], *keys["b"], *keys[None]}) == 4
    assert "one.example" not in str(keys)


def test_a_test_needs_room(bench: Bench) -> None:
    registry = bench.registry(Limits(1))
    ask(registry, PutWebhook(a_webhook()))
    ask(registry, Add(bench.task()))
    assert raised(ask(registry, SendTest("orders", new_id()))) is TooManyUnfinished


def test_a_delivery_is_given_up_after_three_days_but_not_before(bench: Bench) -> None:
    registry = bench.registry()
    ask(registry, PutWebhook(a_webhook()))
    end(registry, bench, 1)
    peer = bench.peer(registry)
    claim = claim_of_delivery(peer)
    started = bench.clock.wall()
    while get(registry, claim.task_id).state is not TaskState.FAILED:
        peer.fail(claim, retry_in=8 * 3600.0, error="503")
        bench.clock.turn(8 * 3600.0 + 1)
        peer.beat()
        claim = peer.table.get(claim.task_id, claim)
    task = get(registry, claim.task_id)
    assert task.deadline == started + MAX_AGE_SECONDS
    assert task.attempts_used == 9
    assert "deadline" in (task.error or "")


# -- commits that fail, and crashes ---------------------------------------------------------------


def test_nothing_is_told_of_an_end_that_was_not_committed(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    ask(registry, PutWebhook(a_webhook()))
    peer = bench.peer(registry)
    claim = peer.run(bench.task())
    journal.failures = 3

    refused = ask_peer(peer, Succeeded(claim.task_id, claim.attempt, b"{}", 0.1))
    assert raised(refused) is JournalUnavailable
    assert len(registry.rules.deliveries.outbox) == 0
    journal.failures = 0
    settle(registry, bench)
    assert open_deliveries(registry) == []

    peer.succeed(claim)
    settle(registry, bench)
    assert [told(task)[0] for task in open_deliveries(registry)] == [f"{claim.task_id}_0_success"]


def ask_peer(peer: Peer, request: Request) -> Any:
    return peer.exchange(request).answers[0]


def test_a_group_that_is_taken_back_leaves_every_notice_in_its_place(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(Limits(MOST), journal=journal)
    ask(registry, PutWebhook(a_webhook()))
    ended = end(registry, bench, 2 * IN_MEMORY + 5)
    for _ in range(5):
        journal.failures = 3
        settle(registry, bench, 1)
        end_in_vain = bench.task(executor="thread")
        registry.exchange(None, 0, [Add(end_in_vain), Cancel(end_in_vain.id)])
        journal.failures = 0
        registry.exchange(None, 0, [Delete(ended[0])])
    delivered = finish_all(registry, bench, bench.peer(registry, {"async": 7}))
    assert delivered == [f"{task_id}_0_cancelled" for task_id in ended]


@pytest.mark.parametrize("ids", [(), ("k1",)])
def test_a_crash_loses_no_notice_wherever_it_waits(bench: Bench, ids: tuple[str, ...]) -> None:
    keys = keys_of(*ids) if ids else None
    registry = bench.registry(Limits(MOST), journal=bench.journal(keys))
    ask(registry, PutWebhook(a_webhook()))
    callback = Callback("https://client.example/", secret=SECRET).encode()
    ended = end(registry, bench, IN_MEMORY + 50, callback=callback)
    registry = bench.registry(Limits(MOST), journal=bench.crash(keys))
    settle(registry, bench)
    registry = bench.registry(Limits(MOST), journal=bench.crash(keys))

    peer = bench.peer(registry, {"async": 60})
    bench.clock.turn(1.0)
    peer.beat()
    targets = {claim.target for claim in peer.table.values()}
    assert targets == {Target(URL, (SECRET,)), Target("https://client.example/", (SECRET,))}
    delivered = Counter(finish_all(registry, bench, peer))
    assert delivered == {f"{task_id}_0_cancelled": 2 for task_id in ended}
    assert len(registry.rules.deliveries.outbox) == 0


def test_a_full_disk_keeps_notices_and_refuses_new_webhooks(bench: Bench) -> None:
    journal = FailingNull()
    registry = bench.registry(journal=journal)
    ask(registry, PutWebhook(a_webhook()))
    task = bench.task(executor="thread")
    ask(registry, Add(task))
    journal.failures = 1
    answers = registry.exchange(
        None, 0, [Cancel(task.id), PutWebhook(a_webhook("b")), RotateSecret("orders", "s", 1.0)]
    ).answers
    assert [raised(answer) for answer in answers] == [None, *[JournalUnavailable] * 2]
    settle(registry, bench)
    assert [told(one)[0] for one in open_deliveries(registry)] == [f"{task.id}_0_cancelled"]


def test_a_journal_that_cannot_be_read_delays_notices_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = bench.registry(Limits(MOST), journal=bench.journal())
    ask(registry, PutWebhook(a_webhook()))
    ended = end(registry, bench, IN_MEMORY + 5)
    peer = bench.peer(registry, {"async": 10})
    with monkeypatch.context() as patch:

        def unreadable(*_: Any) -> Any:
            raise JournalUnreadable("disk I/O error")

        patch.setattr(registry._journal, "notices", unreadable)
        delivered = finish_all(registry, bench, peer)
        assert len(delivered) == IN_MEMORY
    delivered += finish_all(registry, bench, peer)
    assert delivered == [f"{task_id}_0_cancelled" for task_id in ended]


# -- webhooks that fail ---------------------------------------------------------------------------


def test_five_days_of_failures_disable_a_webhook_and_a_success_between_does_not(
    bench: Bench,
) -> None:
    registry = bench.registry(journal=bench.journal())
    ask(registry, PutWebhook(a_webhook()))

    def attempt(*, succeeds: bool) -> None:
        ask(registry, SendTest("orders", new_id()))
        peer = bench.peer(registry)
        claim = claim_of_delivery(peer)
        if succeeds:
            peer.succeed(claim)
        else:
            peer.report(Failed(claim.task_id, claim.attempt, "503", 0.1, None))

    for succeeds in (False, False, True, False, False):
        attempt(succeeds=succeeds)
        bench.clock.turn(GIVE_UP_SECONDS / 2 - 60.0)
    assert ask(registry, GetWebhook("orders")).is_enabled
    bench.clock.turn(200.0)
    attempt(succeeds=False)

    webhook = ask(registry, GetWebhook("orders"))
    assert "503" in webhook.disabled_because
    assert ask(registry, Activity()).entries[0].detail == webhook.disabled_because
    registry = bench.registry(journal=bench.crash())
    assert ask(registry, GetWebhook("orders")) == webhook
    enabled = ask(registry, EnableWebhook("orders", True))
    assert (enabled.failing_since, enabled.disabled_because) == (None, None)


def test_a_disabling_that_could_not_be_written_is_in_no_log(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal)
    ask(registry, PutWebhook(a_webhook()))
    end(registry, bench, 1)
    peer = bench.peer(registry)
    claim = claim_of_delivery(peer)
    journal.failures = 3
    gone = Failed(claim.task_id, claim.attempt, "410", 0.1, None, gone=True)
    assert raised(ask_peer(peer, gone)) is JournalUnavailable
    assert ask(registry, GetWebhook("orders")).is_enabled
    journal.failures = 0
    peer.report(gone)
    assert not ask(registry, GetWebhook("orders")).is_enabled
    assert len(ask(registry, Activity()).entries) == 1


def test_many_deliveries_are_withdrawn_a_few_in_each_group(bench: Bench) -> None:
    registry = bench.registry(Limits(64 * AT_ONCE))
    ask(registry, PutWebhook(a_webhook()))
    for _ in range(3):
        end(registry, bench, AT_ONCE)
        settle(registry, bench, 1)
    settle(registry, bench)
    assert len(open_deliveries(registry)) == 3 * AT_ONCE
    ask(registry, DeleteWebhook("orders"))
    for left in (2, 1, 0):
        registry.tick()
        assert len(open_deliveries(registry)) == left * AT_ONCE


def test_a_webhook_of_the_same_name_gets_nothing_of_its_predecessor(bench: Bench) -> None:
    registry = bench.registry(Limits(MOST), journal=bench.journal())
    ask(registry, PutWebhook(a_webhook()))
    end(registry, bench, 50)
    settle(registry, bench)
    registry.exchange(None, 0, [DeleteWebhook("orders"), PutWebhook(a_webhook())])
    peer = bench.peer(registry, {"async": 30})
    assert finish_all(registry, bench, peer) == []
    assert len(registry.rules.deliveries.outbox) == 0


# -- what is kept ---------------------------------------------------------------------------------


def test_callbacks_are_deleted_with_their_tasks(bench: Bench) -> None:
    journal = bench.journal()
    registry = bench.registry(journal=journal, retention_seconds=3600.0)
    [by_hand] = end(registry, bench, 1, callback=Callback("https://client.example/").encode())
    end(registry, bench, 1, callback=Callback("https://client.example/").encode())
    ask(registry, Delete(by_hand))
    peer = bench.peer(registry)
    assert len(finish_all(registry, bench, peer)) == 2

    def callbacks() -> int:
        (number,) = journal._reader.execute("SELECT count(*) FROM callbacks").fetchone()
        return int(number)

    assert callbacks() == 3  # a task's, and those of two deliveries
    bench.clock.turn(3700.0)
    for _ in range(5):
        settle(registry, bench)
    assert callbacks() == 0


def test_an_encrypted_journal_has_no_url_and_no_secret_in_plain_text(bench: Bench) -> None:
    registry = bench.registry(Limits(MOST), journal=bench.journal(keys_of("k1")))
    ask(registry, PutWebhook(a_webhook()))
    callback = Callback("https://client.example/t0ken", secret=SECRET).encode()
    ended = end(registry, bench, 60, callback=callback)
    settle(registry, bench)
    journal = bench.crash(keys_of("k2", "k1"))
    registry = bench.registry(Limits(MOST), journal=journal)
    while registry.committer.resealer.stage():
        registry.tick()
    delivered = finish_all(registry, bench, bench.peer(registry, {"async": 20}))
    assert Counter(delivered) == {f"{task_id}_0_cancelled": 2 for task_id in ended}

    stored = b"".join(path.read_bytes() for path in bench.directory.glob("journal*"))
    for secret in (b"t0ken", SECRET.encode(), b"Cancelled before it was started"):
        assert secret not in stored
    registry = bench.registry(journal=bench.crash(keys_of("k2")))
    assert ask(registry, GetWebhook("orders")).url == URL
