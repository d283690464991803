"""The task types of an order: paying, the invoice, paying back."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, NamedTuple

import httpx
from pydantic import BaseModel, Field

from afterwards import (
    EmailAddress,
    PermanentError,
    RetryPolicy,
    TaskContext,
    TaskModule,
    TaskType,
    TransientError,
)

from .database import Database
from .settings import TaskSettings

SETTINGS: Final = TaskSettings()
REVIEW_AFTER: Final = timedelta(days=14)


class Resources(NamedTuple):
    """Shared by all attempts of a process."""

    bank: httpx.AsyncClient
    database: Database


@asynccontextmanager
async def resources() -> AsyncIterator[Resources]:
    """Connections to the bank, kept from attempt to attempt."""
    key = {"Authorization": f"Bearer {SETTINGS.bank_key.get_secret_value()}"}
    async with httpx.AsyncClient(base_url=SETTINGS.bank_url, headers=key) as bank:
        yield Resources(bank, Database(SETTINGS.database))


MODULE: Final = TaskModule(lifespan=resources)


class Payment(BaseModel):
    """An order to be paid."""

    order: int
    cents: int = Field(gt=0)
    card: str
    email: EmailAddress


async def pay(payload: Payment, context: TaskContext) -> dict[str, Any]:
    """Charge the card. What follows is submitted if and only if that has succeeded."""
    charge = {"cents": payload.cents, "card": payload.card}
    result = await _ask_bank("/charges", charge, context)
    context.submit("shop.invoice", {"order": payload.order})
    context.submit(
        "http",
        {
            "method": "POST",
            "url": f"{SETTINGS.carrier_url}/parcels",
            "headers": {"Authorization": "Bearer ${secret:carrier}"},
            "json": {"order": payload.order},
        },
    )
    review = {
        "email": payload.email,
        "subject": "Do you like it?",
        "body": f"Tell others what you think of order {payload.order}.",
    }
    context.submit("email", review, delay_seconds=REVIEW_AFTER.total_seconds(), priority=1)
    return result


async def _ask_bank(path: str, body: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    # The bank does what has the same key once, so a second attempt cannot take the money twice.
    key = {"Idempotency-Key": context.task_id}
    answer = await context.resources.bank.post(path, json=body, headers=key)
    if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
        raise PermanentError("The bank declines the card")
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise TransientError("The bank is busy", retry_after=float(answer.headers["Retry-After"]))
    # Other errors are transient or permanent by their status.
    answer.raise_for_status()
    result: dict[str, Any] = answer.json()
    return result


class Invoice(BaseModel):
    """An order that is paid."""

    order: int


def write_invoice(payload: Invoice, context: TaskContext) -> dict[str, Any]:
    """Write the invoice as a file of the task, and mail it."""
    order = context.resources.database.order(payload.order)
    lines = [f"{one['quantity']} {one['sku']}: {one['cents'] / 100:.2f}" for one in order["items"]]
    total = sum(item["cents"] for item in order["items"])
    text = "\n".join([f"Invoice {payload.order}", *lines, f"Total: {total / 100:.2f} EUR", ""])
    name = f"invoice-{payload.order}.txt"
    with context.artifact(name, "w") as file:
        file.write(text)
    mail = {
        "email": order["email"],
        "subject": f"Your invoice {payload.order}",
        "body": "Thank you. The invoice is attached.",
        "attachments": [
            {
                "name": name,
                "media_type": "text/plain",
                "content": b64encode(text.encode()).decode(),
            }
        ],
    }
    context.submit("email", mail)
    return {"cents": total}


class Refund(BaseModel):
    """An order that was returned."""

    order: int
    cents: int
    email: EmailAddress


async def pay_back(payload: Refund, context: TaskContext) -> dict[str, Any]:
    """Pay the money back, and say so."""
    result = await _ask_bank("/refunds", {"cents": payload.cents}, context)
    subject = f"Your money for order {payload.order} is on its way"
    mail = {"email": payload.email, "subject": subject, "body": f"{payload.cents / 100:.2f} EUR"}
    context.submit("email", mail)
    return result


PATIENT: Final = RetryPolicy(max_attempts=10)
PAYMENT: Final = TaskType("shop.payment", Payment, pay, retry=PATIENT, timeout=30)
REFUND: Final = TaskType("shop.refund", Refund, pay_back, retry=PATIENT, timeout=30)
INVOICE: Final = TaskType("shop.invoice", Invoice, write_invoice, executor="thread", timeout=60)
