"""The world outside, for the demonstration: a bank, a carrier, and the customers' mailboxes."""

from __future__ import annotations

import email.policy
from collections.abc import Callable
from secrets import token_urlsafe
from typing import Annotated, Any, Final

from fastapi import Body, Depends, FastAPI, Header, HTTPException

from .terminal import say

BANK_KEY: Final = token_urlsafe()
CARRIER_KEY: Final = token_urlsafe()

# What was done, by idempotency key. What is asked for again is not done again.
charges: Final[dict[str, int]] = {}
refunds: Final[dict[str, int]] = {}
parcels: Final[dict[str, int]] = {}
mails: Final[dict[str, str]] = {}
"""Subjects by `Message-ID`, which is the same when a mail comes again."""

app = FastAPI()
Number = Annotated[int, Body(embed=True)]
Key = Annotated[str, Header(alias="Idempotency-Key")]


def only_with(key: str) -> Any:
    """Refuse requests without this key."""

    def check(authorization: Annotated[str, Header()]) -> None:
        if authorization != f"Bearer {key}":
            raise HTTPException(401)

    return Depends(check)


def once(done: dict[str, int], key: str, number: int, tell: Callable[[], None]) -> dict[str, int]:
    """Do something once for each key."""
    if key not in done:
        done[key] = number
        tell()
    return {"done": done[key]}


@app.post("/charges", dependencies=[only_with(BANK_KEY)])
async def charge(cents: Number, card: Annotated[str, Body()], key: Key) -> dict[str, int]:
    """Take money from a card. The bank is busy at first."""
    if card == "expired":
        say("bank", "declines an expired card")
        raise HTTPException(402)
    if "busy" not in charges:
        charges["busy"] = 0
        say("bank", "is busy: come again in a second")
        raise HTTPException(429, headers={"Retry-After": "1"})
    return once(charges, key, cents, lambda: say("bank", f"charges {cents / 100:.2f} EUR"))


@app.post("/refunds", dependencies=[only_with(BANK_KEY)])
async def refund(cents: Number, key: Key) -> dict[str, int]:
    """Pay money back."""
    return once(refunds, key, cents, lambda: say("bank", f"pays {cents / 100:.2f} EUR back"))


@app.post("/parcels", status_code=201, dependencies=[only_with(CARRIER_KEY)])
async def parcel(order: Number, key: Key) -> dict[str, int]:
    """Fetch a parcel."""
    what = f"fetches the parcel of order {order}"
    return once(parcels, key, order, lambda: say("carrier", what))


class Mailboxes:
    """Takes mail for all customers, and shows it: a handler of aiosmtpd's."""

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it so
        self, _server: object, _session: object, envelope: Any
    ) -> str:
        """Show a mail and its attachments."""
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        again = " (again)" if mail["Message-ID"] in mails else ""
        mails[mail["Message-ID"]] = mail["Subject"]
        files = "".join(f", with {part.get_filename()}" for part in mail.iter_attachments())
        say("mail", f"to {mail['To']}: {mail['Subject']}{files}{again}")
        return "250 2.0.0 Ok"
