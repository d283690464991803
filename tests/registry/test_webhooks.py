"""Webhooks over every registry: told of each end that they take, once, and of nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from afterwards.errors import (
    IllegalTransition,
    TaskDeleted,
    TooManyWebhooks,
    WebhookDisabled,
    WebhookNotFound,
)
from afterwards.lifecycle import Task, TaskState
from afterwards.registry.process.manager import connect
from afterwards.registry.protocol.activity import By
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.base import Registry
from afterwards.registry.protocol.filters import Filter
from afterwards.registry.protocol.requests import (
    Activity,
    Add,
    Cancel,
    Delete,
    Failed,
    Find,
    Get,
    Retry,
    Succeeded,
)
from afterwards.registry.protocol.webhook_requests import (
    DeleteWebhook,
    EnableWebhook,
    GetWebhook,
    ListWebhooks,
    PutWebhook,
    ReplayWebhook,
    RotateSecret,
    SendTest,
)
from afterwards.task_ids import new_id
from afterwards.webhooks.webhook import (
    DELIVERY,
    MOST_SECRETS,
    MOST_WEBHOOKS,
    Callback,
    Secret,
    Target,
    Webhook,
)
from tests.registry.conftest import Hosted, Reach
from tests.registry.peers import Peer, Processes, ask, eventually, make_task, raised

SUCCESS, FAILED, CANCELLED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CANCELLED
URL = "https://receiver.example/t0ken"
SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="


def a_webhook(name: str = "orders", **changes: Any) -> Webhook:
    return Webhook(**{"name": name, "url": URL, "secrets": (Secret(SECRET),), **changes})


def deliveries(registry: Registry, name: str | None = None) -> list[Task]:
    """All deliveries, or those to one webhook; the oldest first."""
    labels = () if name is None else (f"webhook={name}",)
    page = ask(registry, Find(Filter(types=frozenset({DELIVERY}), labels=labels)))
    return [*page.tasks][::-1]


def told(task: Task | Claim) -> tuple[str, str | None]:
    """The `webhook-id` of a delivery, and the name of its webhook."""
    notice = json.loads(task.payload)
    return notice["id"], notice["webhook"]


def until_told(reach: Reach, number: int, name: str | None = None) -> list[Task]:
    """Wait for so many deliveries; a further exchange shows that there are no more."""
    found = eventually(
        lambda: found if len(found := deliveries(reach.registry, name)) >= number else None,
        f"{number} deliveries",
    )
    assert len(found) == number
    return list(found)


def claim_of_delivery(peer: Peer) -> Claim:
    """The next claim on a delivery."""

    def claimed() -> Claim | None:
        peer.take()
        return next((one for one in peer.table.values() if one.type == DELIVERY), None)

    claim = eventually(claimed, "a claim on a delivery")
    assert isinstance(claim, Claim)
    return claim


# -- webhooks -------------------------------------------------------------------------------------


def test_a_webhook_is_kept_as_it_was_put_and_a_replaced_one_keeps_its_secret(reach: Reach) -> None:
    first = reach.ask(PutWebhook(a_webhook(types=frozenset({"email"}), labels=("tenant=acme",))))
    changed = a_webhook(url="https://other.example/", secrets=(Secret("whsec_b3RoZXI="),))
    second = reach.ask(PutWebhook(changed))

    assert (first.secrets, first.types, first.labels) == (
        (Secret(SECRET),),
        {"email"},
        ("tenant=acme",),
    )
    assert (second.id, second.url, second.secrets) == (first.id, changed.url, first.secrets)
    assert reach.ask(GetWebhook("orders")) == second
    assert reach.ask(ListWebhooks()) == [second]


def test_a_webhook_that_is_deleted_is_gone(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    assert reach.ask(DeleteWebhook("orders")) is None
    for request in (
        DeleteWebhook("orders"),
        GetWebhook("orders"),
        EnableWebhook("orders", True),
        RotateSecret("orders", "whsec_bmV3", 60.0),
        SendTest("orders", new_id()),
        ReplayWebhook("orders", new_id()),
    ):
        assert raised(reach.ask(request)) is WebhookNotFound


def test_there_are_at_most_so_many_webhooks(reach: Reach) -> None:
    for number in range(MOST_WEBHOOKS):
        assert isinstance(reach.ask(PutWebhook(a_webhook(f"w{number}"))), Webhook)
    assert raised(reach.ask(PutWebhook(a_webhook("one-more")))) is TooManyWebhooks
    assert isinstance(reach.ask(PutWebhook(a_webhook("w7"))), Webhook)


def test_a_rotated_secret_signs_beside_the_former_ones_for_a_while(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    rotated = reach.ask(RotateSecret("orders", "whsec_bmV3", 3600.0))
    again = reach.ask(RotateSecret("orders", "whsec_bmV3", 3600.0))

    assert again == rotated
    assert [one.value for one in rotated.secrets] == ["whsec_bmV3", SECRET]
    for number in range(MOST_SECRETS):
        rotated = reach.ask(RotateSecret("orders", f"whsec_{number}", 3600.0))
    assert len(rotated.secrets) == MOST_SECRETS
    at_once = reach.ask(RotateSecret("orders", "whsec_bGFzdA==", 0.0))
    assert [one.value for one in at_once.secrets] == ["whsec_bGFzdA=="]


def test_acts_by_hand_are_in_the_log_of_activity_without_url_and_secret(reach: Reach) -> None:
    by = By("ann")
    task = make_task()
    reach.ask(Add(task))
    reach.ask(Cancel(task.id))
    for request in (
        PutWebhook(a_webhook(), by),
        PutWebhook(a_webhook(events=frozenset({FAILED})), by),
        RotateSecret("orders", "whsec_bmV3", 60.0, by),
        ReplayWebhook("orders", task.id, by),
        SendTest("orders", new_id(), by),
        EnableWebhook("orders", False, by),
        EnableWebhook("orders", True, by),
        DeleteWebhook("orders", by),
    ):
        reach.ask(request)
    entries = reach.ask(Activity()).entries[::-1]

    assert [entry.verb for entry in entries] == [
        "create", "replace", "rotate", "replay", "test", "disable", "enable", "delete",
    ]  # fmt: skip
    assert {(entry.object, entry.name) for entry in entries} == {("webhook", "orders")}
    assert "t0ken" not in repr(entries)
    assert "whsec" not in repr(entries)


# -- which ends are told --------------------------------------------------------------------------


def test_each_end_is_told_once_to_each_webhook_that_takes_it(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook("all")))
    reach.ask(PutWebhook(a_webhook("failures", events=frozenset({FAILED}))))
    peer = reach.peer({"async": 1})
    succeeds, fails = (make_task() for _ in range(2))
    waits = make_task(executor="thread")
    peer.succeed(peer.run(succeeds))
    peer.add(waits)
    reach.ask(Cancel(waits.id))
    peer.table.clear()
    peer.beat([])
    peer.slots = {"async": 8}
    peer.beat([])
    peer.fail(peer.run(fails))

    assert [told(one) for one in until_told(reach, 3, "all")] == [
        (f"{succeeds.id}_0_success", "all"),
        (f"{waits.id}_0_cancelled", "all"),
        (f"{fails.id}_0_failed", "all"),
    ]
    assert [told(one) for one in until_told(reach, 1, "failures")] == [
        (f"{fails.id}_0_failed", "failures")
    ]


def test_an_end_after_a_retry_by_hand_is_another_one(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    task = make_task(executor="thread")
    reach.ask(Add(task))
    for _ in range(2):
        reach.ask(Cancel(task.id))
        reach.ask(Retry(task.id))
    assert [told(one)[0] for one in until_told(reach, 2)] == [
        f"{task.id}_0_cancelled",
        f"{task.id}_1_cancelled",
    ]


def test_a_webhook_is_told_of_nothing_that_ended_before_it_was_made(reach: Reach) -> None:
    before, after = make_task(executor="thread"), make_task(executor="thread")
    reach.ask(Add(before))
    reach.ask(Cancel(before.id))
    reach.ask(PutWebhook(a_webhook()))
    reach.ask(Add(after))
    reach.ask(Cancel(after.id))
    assert [told(one)[0] for one in until_told(reach, 1)] == [f"{after.id}_0_cancelled"]


def test_a_callback_is_told_of_the_events_that_it_names(reach: Reach) -> None:
    callback = Callback("https://client.example/hook", frozenset({CANCELLED}), SECRET)
    other = callback._replace(events=frozenset({FAILED}))
    tasks = [make_task(executor="thread", callback=one.encode()) for one in (callback, other)]
    for task in tasks:
        reach.ask(Add(task))
        reach.ask(Cancel(task.id))

    peer = reach.peer()
    claim = claim_of_delivery(peer)
    assert told(claim) == (f"{tasks[0].id}_0_cancelled", None)
    assert claim.target == Target(callback.url, (SECRET,))
    assert reach.get(tasks[1]).callback == other.encode()
    assert len(deliveries(reach.registry)) == 1


def test_no_delivery_is_told_of_itself(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    peer = reach.peer()
    peer.succeed(peer.run(make_task()))
    peer.succeed(claim_of_delivery(peer))
    reach.ask(SendTest("orders", new_id()))
    peer.fail(claim_of_delivery(peer))
    peer.succeed(peer.run(make_task()))
    claim_of_delivery(peer)
    # Another end has been told since, so theirs would have been, too.
    assert len(deliveries(reach.registry)) == 3


def test_a_task_that_is_deleted_at_once_is_told_of_all_the_same(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    task = make_task(executor="thread", callback=Callback("https://client.example/").encode())
    answers = reach.registry.exchange(
        None, 0, [Add(task), Cancel(task.id), Delete(task.id), Get(task.id)]
    ).answers
    assert raised(answers[-1]) is TaskDeleted
    assert {told(one) for one in until_told(reach, 2)} == {
        (f"{task.id}_0_cancelled", None),
        (f"{task.id}_0_cancelled", "orders"),
    }


# -- claims and attempts --------------------------------------------------------------------------


def test_a_claim_has_url_and_secrets_as_they_are_by_then_and_the_task_has_neither(
    reach: Reach,
) -> None:
    reach.ask(PutWebhook(a_webhook()))
    peer = reach.peer()
    note = peer.run(make_task())
    peer.succeed(note)
    first = claim_of_delivery(peer)
    assert (note.target, first.target) == (None, Target(URL, (SECRET,)))

    reach.ask(PutWebhook(a_webhook(url="https://moved.example/")))
    reach.ask(RotateSecret("orders", "whsec_bmV3", 3600.0))
    peer.release(first)
    second = claim_of_delivery(peer)

    assert second.target == Target("https://moved.example/", ("whsec_bmV3", SECRET))
    shown = repr(reach.get(second))
    assert "https" not in shown
    assert "whsec" not in shown


def test_a_receiver_that_is_gone_disables_its_webhook_and_the_log_says_why(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    peer = reach.peer()
    first, second = peer.run(make_task()), peer.run(make_task())
    peer.succeed(first)
    peer.succeed(second)
    until_told(reach, 2)
    claim = claim_of_delivery(peer)
    others = [one for one in peer.table.values() if one.task_id != claim.task_id]
    for other in others:
        peer.release(other)
    answer = peer.report(Failed(claim.task_id, claim.attempt, "410 Gone", 0.1, None, gone=True))
    assert answer is None

    webhook = reach.ask(GetWebhook("orders"))
    assert not webhook.is_enabled
    assert "410" in webhook.disabled_because
    [entry] = reach.ask(Activity()).entries
    assert (entry.verb, entry.name, entry.detail) == (
        "disable", "orders", webhook.disabled_because,
    )  # fmt: skip

    def ended() -> bool:
        return {one.state for one in deliveries(reach.registry)} == {FAILED, CANCELLED}

    eventually(ended, "the other delivery is withdrawn")
    [withdrawn] = [one for one in deliveries(reach.registry) if one.state is CANCELLED]
    assert "disabled" in (withdrawn.error or "")


@pytest.mark.parametrize("ends", [EnableWebhook("orders", False), DeleteWebhook("orders")])
def test_what_waits_for_a_webhook_is_withdrawn_with_it(reach: Reach, ends: Any) -> None:
    reach.ask(PutWebhook(a_webhook()))
    reach.ask(PutWebhook(a_webhook("other")))
    task = make_task(executor="thread")
    reach.ask(Add(task))
    reach.ask(Cancel(task.id))
    until_told(reach, 2)
    assert not isinstance(reach.ask(ends), Exception)

    def withdrawn() -> bool:
        return deliveries(reach.registry, "orders")[0].state is CANCELLED

    eventually(withdrawn, "its delivery is withdrawn")
    assert deliveries(reach.registry, "other")[0].state is TaskState.PENDING


# -- by hand --------------------------------------------------------------------------------------


def test_a_replay_tells_once_more_under_the_same_id(reach: Reach) -> None:
    task = make_task(executor="thread")
    reach.ask(Add(task))
    reach.ask(PutWebhook(a_webhook(events=frozenset({FAILED}))))
    assert raised(reach.ask(ReplayWebhook("orders", task.id))) is IllegalTransition
    reach.ask(Cancel(task.id))
    for _ in range(2):
        assert reach.ask(ReplayWebhook("orders", task.id)).id == task.id
    found = until_told(reach, 2)
    assert {told(one) for one in found} == {(f"{task.id}_0_cancelled", "orders")}
    assert raised(reach.ask(ReplayWebhook("orders", found[0].id))) is IllegalTransition


def test_a_disabled_webhook_is_told_of_nothing_until_it_is_enabled(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    reach.ask(EnableWebhook("orders", False))
    task = make_task(executor="thread")
    reach.ask(Add(task))
    reach.ask(Cancel(task.id))
    assert raised(reach.ask(ReplayWebhook("orders", task.id))) is WebhookDisabled
    assert raised(reach.ask(SendTest("orders", new_id()))) is WebhookDisabled

    reach.ask(EnableWebhook("orders", True))
    reach.ask(ReplayWebhook("orders", task.id))
    until_told(reach, 1)


def test_a_test_is_sent_once_by_its_id(reach: Reach) -> None:
    reach.ask(PutWebhook(a_webhook()))
    delivery_id = new_id()
    for _ in range(2):
        assert reach.ask(SendTest("orders", delivery_id)).id == delivery_id
    claim = claim_of_delivery(reach.peer())
    assert (claim.task_id, claim.target) == (delivery_id, Target(URL, (SECRET,)))
    assert json.loads(claim.payload)["event"]["type"] == "webhook.test"
    assert len(deliveries(reach.registry)) == 1


# -- a registry that is killed --------------------------------------------------------------------


def test_a_killed_registry_loses_no_notice_and_sends_none_twice(
    hosted: Hosted, processes: Processes
) -> None:
    host = hosted.start()
    registry: Registry = connect(host.endpoint)
    ask(registry, PutWebhook(a_webhook()))
    ended: set[str] = set()
    for _ in range(2):
        peer = Peer(registry, processes.start(host.endpoint.service), {"thread": 20})
        peer.join()
        tasks = [make_task(executor="thread") for _ in range(20)]
        peer.add(*tasks)
        reports = [Succeeded(one.task_id, one.attempt, b"{}", 0.1) for one in peer.table.values()]
        peer.exchange(*reports)
        ended |= {one.task_id for one in reports}
        # At once: the notices are committed, and hardly any has become a delivery.
        hosted.kill(host)
        registry = hosted.reopen(host)
    expected = {f"{task_id}_0_success" for task_id in ended}
    assert len(expected) == 40

    found = eventually(
        lambda: found if len(found := deliveries(registry)) >= 40 else None, "all are delivered"
    )
    assert sorted(told(one)[0] for one in found) == sorted(expected)
