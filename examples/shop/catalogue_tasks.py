"""The task types of the shop as a whole: imports, statements, newsletters, the work of a night."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import combinations, groupby
from typing import Any, Final

from pydantic import BaseModel, Field

from afterwards import (
    Cancelled,
    Interrupted,
    PermanentError,
    RateLimit,
    Schedule,
    TaskContext,
    TaskModule,
    TaskType,
)

from .database import Database
from .settings import TaskSettings

SETTINGS: Final = TaskSettings()
ROWS_AT_ONCE: Final = 20


@asynccontextmanager
async def shop() -> AsyncIterator[Database]:
    """The shop's database, for all attempts of a process."""
    yield Database(SETTINGS.database)


MODULE: Final = TaskModule(lifespan=shop)


class Import(BaseModel):
    """A file that a vendor has sent. It is in the database, as it may be large."""

    vendor: str
    file: int


def import_products(payload: Import, context: TaskContext) -> dict[str, Any]:
    """Put the file's products into the shop. A second run replaces what the first has written."""
    (file,) = context.resources.rows("SELECT content FROM files WHERE id = ?", payload.file)
    rows = csv.DictReader(file["content"].splitlines())
    products = [_product(payload.vendor, line, row) for line, row in enumerate(rows, 2)]
    for begin in range(0, len(products), ROWS_AT_ONCE):
        if context.cancelled:
            raise Cancelled
        if context.stopping:
            raise Interrupted
        part = products[begin : begin + ROWS_AT_ONCE]
        with context.resources.transaction() as database:
            database.executemany("REPLACE INTO products VALUES (?, ?, ?, ?, ?)", part)
        time.sleep(0.05)  # In place of pictures, tariffs and so on.
        done = begin + len(part)
        context.progress(done / len(products), f"{done} of {len(products)} products")
    return {"products": len(products)}


def _product(vendor: str, line: int, row: dict[str, str]) -> tuple[str, str, str, int, int]:
    try:
        return row["sku"], vendor, row["name"], int(row["cents"]), int(row["stock"])
    except (KeyError, TypeError, ValueError) as error:
        raise PermanentError(f"Line {line}: {error!r}") from None


class Statement(BaseModel):
    """A vendor, and a month such as `2026-11`."""

    vendor: str
    month: str


def make_statement(payload: Statement, context: TaskContext) -> dict[str, Any]:
    """Add up what the vendor has sold in the month."""
    (row,) = context.resources.rows(
        "SELECT coalesce(sum(items.cents), 0) AS cents FROM items "
        "JOIN orders USING (number) JOIN products USING (sku) JOIN news USING (number) "
        "WHERE vendor = ? AND month = ? AND NOT returned AND text = 'shop.payment success'",
        payload.vendor,
        payload.month,
    )
    return {**payload.model_dump(), "cents": row["cents"]}


class Totals(BaseModel):
    """A year whose statements are made."""

    year: int


def write_totals(payload: Totals, context: TaskContext) -> dict[str, Any]:
    """Write the statements that this task follows into one file."""
    if context.group is None:
        raise PermanentError("Submit this task with its statements: POST /tasks/batch")
    total = 0
    with context.artifact(f"totals-{payload.year}.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["vendor", "month", "cents"])
        for statement in context.group:
            if statement.result is None:
                raise PermanentError(f"The statement {statement.id} is missing")
            table.writerow(statement.result.values())
            total += statement.result["cents"]
    return {"cents": total, "statements": len(context.group)}


class Newsletter(BaseModel):
    """A mail to all customers."""

    subject: str
    text: str


def send_newsletter(payload: Newsletter, context: TaskContext) -> dict[str, Any]:
    """One mail for each customer, each a child of this task."""
    customers = context.resources.rows("SELECT DISTINCT email FROM orders")
    for customer in customers:
        mail = {"email": customer["email"], "subject": payload.subject, "body": payload.text}
        context.submit("email", mail)
    return {"mails": len(customers)}


class Night(BaseModel):
    """The work of a night."""

    low_stock: int = Field(5, ge=0)


def begin_night(payload: Night, context: TaskContext) -> dict[str, Any]:
    """Submit what is done at night, a stocktake for each vendor."""
    vendors = context.resources.rows("SELECT DISTINCT vendor FROM products")
    for row in vendors:
        stocktake = {"vendor": row["vendor"], "low_stock": payload.low_stock}
        context.submit("shop.stocktake", stocktake)
    context.submit("shop.recommend")
    return {"vendors": len(vendors)}


class Stocktake(BaseModel):
    """A vendor, and the stock that is low."""

    vendor: str
    low_stock: int


def take_stock(payload: Stocktake, context: TaskContext) -> dict[str, Any]:
    """Find the vendor's products of which few are left."""
    query = "SELECT sku FROM products WHERE vendor = ? AND stock <= ? ORDER BY sku"
    rows = context.resources.rows(query, payload.vendor, payload.low_stock)
    context.logger.info("stock taken", vendor=payload.vendor, low=len(rows))
    return {"low": [row["sku"] for row in rows]}


class Recommend(BaseModel):
    """The number of pairs to keep."""

    pairs: int = Field(10, ge=1)


def find_pairs(payload: Recommend, context: TaskContext) -> dict[str, Any]:
    """Count which products are ordered together: work that keeps a processor busy."""
    items = context.resources.rows("SELECT number, sku FROM items ORDER BY number, sku")
    counts = Counter(
        pair
        for _, order in groupby(items, lambda item: item["number"])
        for pair in combinations([item["sku"] for item in order], 2)
    )
    return {"pairs": [[*pair, count] for pair, count in counts.most_common(payload.pairs)]}


# One import of a vendor at a time: its concurrency key is the vendor.
IMPORT: Final = TaskType(
    "shop.import", Import, import_products, executor="thread", timeout=timedelta(hours=1)
)
# The archive that statements are made from answers twenty requests a second.
STATEMENT: Final = TaskType(
    "shop.statement", Statement, make_statement, executor="thread", rate_limit=RateLimit(20, 1)
)
TOTALS: Final = TaskType("shop.totals", Totals, write_totals, executor="thread")
NEWSLETTER: Final = TaskType("shop.newsletter", Newsletter, send_newsletter, executor="thread")
NIGHT: Final = TaskType("shop.night", Night, begin_night, executor="thread", max_concurrency=1)
NIGHTLY: Final = Schedule("night", NIGHT, cron="0 3 * * *", timezone="Europe/Berlin", priority=2)
STOCKTAKE: Final = TaskType("shop.stocktake", Stocktake, take_stock, executor="thread")
RECOMMEND: Final = TaskType(
    "shop.recommend", Recommend, find_pairs, executor="process", timeout=timedelta(minutes=5)
)
