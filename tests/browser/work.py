"""A module of task types for the dashboard's tests: what is charged may be declined."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from afterwards import PermanentError, TaskContext, TaskType


class Charge(BaseModel):
    """The debt of a customer."""

    customer: int = Field(ge=1, description="The number on the invoice.")
    card: Literal["good", "declined", "expired"] = "good"
    note: str = ""
    details: dict[str, Any] = {}


class Export(BaseModel):
    """The time that it takes."""

    seconds: float = 60.0


async def charge(payload: Charge, context: TaskContext) -> dict[str, Any]:
    """Fail if the card is not good."""
    context.progress(0.5, "asking the bank")
    if payload.card != "good":
        raise PermanentError(f"The card of customer {payload.customer} is {payload.card}")
    return {"charged": payload.customer}


async def export(payload: Export, context: TaskContext) -> dict[str, Any]:
    """Say each tenth of a second how far it is."""
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < payload.seconds:
        context.progress(passed / payload.seconds, f"{passed:.1f} of {payload.seconds} s")
        await asyncio.sleep(0.1)
    return {"rows": 7}


class Split(BaseModel):
    """The customers to charge."""

    customers: list[int]


async def split(payload: Split, context: TaskContext) -> dict[str, Any]:
    """Submit a charge for each customer, and write them down."""
    with context.artifact("customers 1.txt", "w") as file:
        file.write("".join(f"{customer}\n" for customer in payload.customers))
    for customer in payload.customers:
        context.submit("charge", {"customer": customer})
    return {}


CHARGE = TaskType("charge", Charge, charge, max_attempts=1)
EXPORT = TaskType("export", Export, export, max_attempts=1)
SPLIT = TaskType("split", Split, split, max_attempts=1)
