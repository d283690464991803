"""Deliveries of webhooks, to a receiver on this machine."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from ipaddress import ip_network
from typing import Any

import pytest

from afterwards.effects.effects import opened
from afterwards.effects.settings import EffectSettings, WebhookSettings
from afterwards.execution.retrying import seconds_until_next
from afterwards.outgoing.reach import Reach
from afterwards.task_types.base import PermanentError, TaskContext, TransientError
from afterwards.task_types.webhook import WEBHOOK, WebhookNotice
from afterwards.webhooks.delivery import DELAYS_SECONDS
from afterwards.webhooks.webhook import Target
from afterwards_executors.retry import Gone
from tests.webhooks.receiver import Receiver, receiving

pytestmark = pytest.mark.anyio

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
EVENT = {"type": "task.success", "timestamp": "2026-11-28T10:00:00.250Z", "data": {"city": "Köln"}}
NOTICE = WebhookNotice(id="the-task_0_success", webhook="orders", event=EVENT)

Deliver = Callable[..., Any]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def deliver(make_context: Callable[..., TaskContext], receiver: Receiver) -> Deliver:
    """Makes one attempt at a delivery."""
    port = int(receiver.url.rpartition(":")[2].partition("/")[0])

    async def delivered(
        target: Target | None = None, *, attempts_used: int = 0, secrets: tuple[str, ...] = ()
    ) -> Any:
        reach = Reach(
            hosts=("*",),
            ports=frozenset({port}),
            networks=(ip_network("127.0.0.0/8"),),
            setting="AFTERWARDS_WEBHOOK_HOSTS",
        )
        settings = EffectSettings(webhooks=WebhookSettings(reach=reach, secrets=secrets))
        async with opened(settings) as effects:
            context = make_context(attempts_used=attempts_used)
            context.resources = effects
            context.target = target or Target(receiver.url, (SECRET,))
            return await WEBHOOK.run(NOTICE, context)  # type: ignore[misc] # a coroutine's

    return delivered


async def test_a_notice_is_posted_with_a_signature_of_each_secret(
    deliver: Deliver, receiver: Receiver
) -> None:
    assert await deliver(Target(receiver.url, (SECRET, OTHER))) == {"status": 204}
    (request,) = receiver.received
    assert request.verified(SECRET) == request.verified(OTHER) == EVENT
    assert request.id == "the-task_0_success"
    assert request.path == "/finished"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Afterwards/")
    assert b", " not in request.body


async def test_a_callback_without_a_secret_is_signed_with_those_of_the_settings(
    deliver: Deliver, receiver: Receiver
) -> None:
    await deliver(Target(receiver.url), secrets=(OTHER, SECRET))
    assert receiver.received[0].verified(SECRET) == EVENT
    with pytest.raises(TransientError, match="set AFTERWARDS_WEBHOOK_SECRETS"):
        await deliver(Target(receiver.url))
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_success_is_one(deliver: Deliver, receiver: Receiver, status: int) -> None:
    receiver.status = status
    assert await deliver() == {"status": status}


async def test_a_receiver_that_is_gone_says_so_for_good(
    deliver: Deliver, receiver: Receiver
) -> None:
    receiver.status = 410
    with pytest.raises(Gone, match="answered 410"):
        await deliver()


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 429, 500, 502, 503, 504])
async def test_every_other_answer_is_tried_again_and_no_redirect_is_followed(
    deliver: Deliver, receiver: Receiver, status: int
) -> None:
    receiver.answer = lambda _: (status, {"Location": receiver.url})
    with pytest.raises(TransientError, match=f"The receiver answered {status}") as raised:
        await deliver()
    assert raised.value.retry_after_seconds is None
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("attempts_used", "asked", "waits"),
    [(0, "60", 60), (0, "1", 5), (3, "60", 7_200), (20, "60", 72_000), (0, "999999", 86_400)],
)
async def test_a_receiver_may_ask_for_more_time_and_not_for_less(
    deliver: Deliver, receiver: Receiver, attempts_used: int, asked: str, waits: float
) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": asked})
    with pytest.raises(TransientError) as raised:
        await deliver(attempts_used=attempts_used)
    assert raised.value.retry_after_seconds == waits


async def test_a_receiver_may_name_a_date(deliver: Deliver, receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": formatdate(time.time() + 600, usegmt=True)})
    with pytest.raises(TransientError) as raised:
        await deliver()
    assert raised.value.retry_after_seconds is not None
    assert 500 < raised.value.retry_after_seconds <= 600


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:1/", "port 1 is not among the ports"),
        ("http://10.0.0.1/", "port 80 is not among the ports"),
    ],
)
async def test_no_notice_goes_where_none_may_go(deliver: Deliver, url: str, problem: str) -> None:
    with pytest.raises(TransientError, match=problem):
        await deliver(Target(url, (SECRET,)))


async def test_a_receiver_that_does_not_answer_is_tried_again(
    deliver: Deliver, receiver: Receiver
) -> None:
    def cut(_: object) -> Any:
        raise ConnectionAbortedError

    receiver.answer = cut
    with pytest.raises(TransientError, match="The receiver was not reached"):
        await deliver()


async def test_without_a_receiver_nothing_is_sent(
    make_context: Callable[..., TaskContext],
) -> None:
    context = make_context()
    async with opened(EffectSettings()) as effects:
        context.resources = effects
        with pytest.raises(PermanentError, match="has no receiver"):
            await WEBHOOK.run(NOTICE, context)  # type: ignore[misc] # a coroutine's


def test_attempts_are_spread_over_three_days_and_never_at_the_same_moments() -> None:
    def spans() -> list[float]:
        delays = [
            seconds_until_next(WEBHOOK.retry, used, None) for used in range(len(DELAYS_SECONDS) + 1)
        ]
        assert delays.pop() is None
        return [delay for delay in delays if delay is not None]

    first, second = spans(), spans()
    assert first != second
    assert len(first) == len(DELAYS_SECONDS)
    for delay, longest in zip(first, DELAYS_SECONDS, strict=True):
        assert 0.8 * longest <= delay <= longest
    assert 2 * 86_400 < sum(first) < 3 * 86_400


def test_the_body_is_written_the_same_way_each_time() -> None:
    assert json.loads(NOTICE.model_dump_json())["event"] == EVENT
