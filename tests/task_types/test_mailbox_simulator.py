from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from afterwards.task_types import CATALOGUE
from afterwards.task_types.base import PermanentError, TaskContext, TransientError

PAYLOADS = {
    "notification": {"message": "Hello"},
    "email": {"subject": "Hello", "body": "Hello"},
}

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("name", PAYLOADS)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def send(name: str, address: str, context: TaskContext) -> object:
    task_type = CATALOGUE[name]
    payload = task_type.payload.model_validate({"email": address, **PAYLOADS[name]})
    result = task_type.run(payload, context)
    assert not isinstance(result, dict)
    return await result  # type: ignore[misc] # what is no dict is awaited


@pytest.mark.parametrize("address", ["success@simulator.example", "anybody@example.com"])
async def test_mail_is_delivered(
    make_context: Callable[..., TaskContext], name: str, address: str
) -> None:
    assert await send(name, address, make_context())


@pytest.mark.parametrize("attempts_used", [0, 1])
@pytest.mark.parametrize("address", ["bounce@simulator.example", "Bounce@Simulator.Example"])
async def test_a_bounce_is_final(
    make_context: Callable[..., TaskContext], name: str, attempts_used: int, address: str
) -> None:
    with pytest.raises(PermanentError, match=r"(?i)bounce@simulator\.example"):
        await send(name, address, make_context(attempts_used=attempts_used))


async def test_a_flaky_mailbox_takes_the_second_attempt_of_each_round(
    make_context: Callable[..., TaskContext], name: str
) -> None:
    with pytest.raises(TransientError, match=r"flaky@simulator\.example"):
        await send(name, "flaky@simulator.example", make_context(attempt=7, attempts_used=0))
    with pytest.raises(TransientError):
        await send(name, "FLAKY@simulator.example", make_context(attempt=7, attempts_used=0))
    assert await send(name, "flaky@SIMULATOR.example", make_context(attempt=8, attempts_used=1))


async def test_a_refusal_takes_a_moment_but_never_as_long_as_a_delivery(
    make_context: Callable[..., TaskContext], name: str
) -> None:
    environment = replace(
        make_context().environment, notification_delay_seconds=60.0, email_delay_seconds=60.0
    )
    context = replace(make_context(), environment=environment)
    refusal = asyncio.create_task(send(name, "bounce@simulator.example", context))
    # The attempt waits, so a retry at the same moment finds the task running.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not refusal.done()
    async with asyncio.timeout(10):
        with pytest.raises(PermanentError):
            await refusal
