"""Addresses at which failure and retry can be tried out without breaking anything.

    success@simulator.example   delivered
    bounce@simulator.example    refused for good, at once
    flaky@simulator.example     fails in the first attempt of each round, delivered in the second

Upper and lower case are the same. Every other address is delivered: nothing leaves this machine.
The domain is reserved (RFC 2606), so none of the three can be anybody's. Where mail is sent for
real, its addresses still are simulated.
"""

from __future__ import annotations

import asyncio
from typing import Final

from afterwards.task_types.base import PermanentError, TransientError

DELIVERED: Final = "success@simulator.example"
BOUNCES: Final = "bounce@simulator.example"
FLAKY: Final = "flaky@simulator.example"
_DOMAIN: Final = "@simulator.example"


REFUSAL_SECONDS: Final = 0.25
"""The longest time of a refusal. Not nothing: of two people who retry the same bounced message at
once, the second is to find it under way, as with a real mail server."""


def is_simulated(address: str) -> bool:
    """True for an address that no mail is sent to, even where there is a mail server."""
    return address.lower().endswith(_DOMAIN)


async def deliver(address: str, attempts_used: int, delay_seconds: float) -> None:
    """Deliver a message, or have the recipient's mail server refuse it.

    Args:
        address: normalised, as `EmailAddress` leaves it.
        attempts_used: attempts of this round that ended in an error.
        delay_seconds: how long a delivery takes.

    Raises:
        PermanentError: the mailbox does not exist.
        TransientError: the mailbox is busy.
    """
    # `EmailAddress` leaves the part before the @ as it was written.
    mailbox = address.lower()
    if mailbox == BOUNCES or (mailbox == FLAKY and attempts_used == 0):
        await asyncio.sleep(min(delay_seconds, REFUSAL_SECONDS))
        if mailbox == BOUNCES:
            raise PermanentError(f"{address} does not exist: the message was returned")
        raise TransientError(f"The mailbox of {address} is busy; it will take the next attempt")
    if delay_seconds:
        await asyncio.sleep(delay_seconds)
