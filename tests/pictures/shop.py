"""The task types of a shop, which only exists in pictures."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pydantic import BaseModel, Field
from tenacity import wait_fixed

from afterwards import PermanentError, RateLimit, RetryPolicy, TaskContext, TaskType, TransientError


class Charge(BaseModel):
    """The payment of an order."""

    order: int = Field(ge=1, description="The number of the order.")
    amount: float = Field(gt=0, description="In euros.")
    card: str = "visa"


class Receipt(BaseModel):
    """The receipt for an order."""

    order: int
    email: str


class Stock(BaseModel):
    """The articles of a warehouse."""

    warehouse: str
    articles: int = 250


class Catalogue(BaseModel):
    """A catalogue of a supplier."""

    supplier: str
    rows: int = 120_000
    done: float = Field(0.5, description="The share at which it stays, for a picture.")


async def charge(payload: Charge, context: TaskContext) -> dict[str, Any]:
    if payload.card == "expired":
        raise PermanentError(f"The card of order {payload.order} has expired")
    return {"order": payload.order, "charged": payload.amount}


async def send_receipt(payload: Receipt, context: TaskContext) -> dict[str, Any]:
    if payload.email.endswith(".invalid"):
        raise PermanentError(f"{payload.email} does not exist: the receipt was returned")
    return {"order": payload.order, "sent": True}


def sync_stock(payload: Stock, context: TaskContext) -> dict[str, Any]:
    """Ask the warehouse, which does not answer for Leith."""
    context.logger.info("asking the warehouse", warehouse=payload.warehouse)
    time.sleep(0.4)
    if payload.warehouse == "leith":
        raise TransientError(f"No answer from {payload.warehouse}.warehouse.example after 5 s")
    return {"articles": payload.articles, "changed": payload.articles // 9}


async def import_catalogue(payload: Catalogue, context: TaskContext) -> dict[str, Any]:
    rows = round(payload.rows * payload.done)
    context.progress(payload.done, f"{rows:,} of {payload.rows:,} rows")
    await asyncio.sleep(3_600)
    return {"rows": payload.rows}


CHARGE = TaskType("charge", Charge, charge, rate_limit=RateLimit(200, 1.0))
RECEIPT = TaskType("receipt", Receipt, send_receipt, max_attempts=1)
STOCK = TaskType(
    "sync-stock", Stock, sync_stock, executor="thread", retry=RetryPolicy(wait=wait_fixed(1.5))
)
CATALOGUE = TaskType(
    "import-catalogue", Catalogue, import_catalogue, timeout=3_600, max_concurrency=2
)
"""Two at once: the supplier's server is slow."""
