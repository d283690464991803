"""The shop's own database: products, orders, and the outbox with the tasks of orders."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

_TABLES: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS products (
    sku TEXT PRIMARY KEY, vendor TEXT NOT NULL, name TEXT NOT NULL,
    cents INTEGER NOT NULL, stock INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, request TEXT NOT NULL,
    email TEXT NOT NULL, month TEXT NOT NULL DEFAULT (strftime('%Y-%m')),
    returned INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS items (
    number INTEGER NOT NULL REFERENCES orders, sku TEXT NOT NULL,
    quantity INTEGER NOT NULL, cents INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS news (id TEXT PRIMARY KEY, number INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (id INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (id TEXT PRIMARY KEY, task TEXT NOT NULL, refused TEXT);
"""
PAID: Final = "shop.payment success"
DECLINED: Final = "shop.payment failed"


class Refused(Exception):
    """The shop does not do what is asked; the message says why."""


class Missing(Refused):
    """There is no such thing."""


class Database:
    """One SQLite file. Any number of processes may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path, timeout=30)) as database:
            database.executescript(_TABLES)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are made together at the end of the block, or not at all."""
        connection = sqlite3.connect(self._path, timeout=30, isolation_level="IMMEDIATE")
        with closing(connection), connection:
            connection.row_factory = sqlite3.Row
            yield connection

    def rows(self, query: str, *values: object) -> Sequence[sqlite3.Row]:
        """All rows of a query."""
        with self.transaction() as database:
            return database.execute(query, values).fetchall()

    def place_order(self, key: str, email: str, card: str, items: Mapping[str, int]) -> int:
        """Note an order and its payment, once for each `key`, and give the order's number.

        Raises:
            Refused: something is not in stock, or the key had another order.
        """
        request = json.dumps([email, card, items], sort_keys=True)
        with self.transaction() as database:
            new = database.execute(
                "INSERT INTO orders (key, request, email) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (key, request, email),
            )
            row = database.execute("SELECT * FROM orders WHERE key = ?", (key,)).fetchone()
            number: int = row["number"]
            if row["request"] != request:
                raise Refused(f"The key {key} was used for another order")
            if new.rowcount:
                cents = sum(_take(database, number, *item) for item in items.items())
                payment = {"order": number, "cents": cents, "card": card, "email": email}
                _submit(database, number, type="shop.payment", payload=payment, priority=8)
        return number

    def return_order(self, number: int) -> None:
        """Take a paid order back, and its items into stock; a second time changes nothing.

        Raises:
            Refused: it is not paid, or not there.
        """
        order = self.order(number)
        if PAID not in order["news"]:
            raise Refused(f"Order {number} is not paid")
        with self.transaction() as database:
            returned = "UPDATE orders SET returned = 1 WHERE number = ? AND NOT returned"
            if database.execute(returned, (number,)).rowcount:
                _put_back(database, number)
                cents = sum(item["cents"] for item in order["items"])
                payload = {"order": number, "cents": cents, "email": order["email"]}
                _submit(database, number, type="shop.refund", payload=payload)

    def note(self, notice: str, number: int, text: str) -> None:
        """Note the news of an order, and do what follows from them, once for each notice."""
        with self.transaction() as database:
            new = database.execute(
                "INSERT INTO news VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (notice, number, text)
            )
            if new.rowcount and text == DECLINED:
                _put_back(database, number)

    def order(self, number: int) -> Mapping[str, Any]:
        """An order, its items and its news.

        Raises:
            Missing: there is none.
        """
        orders = self.rows("SELECT email, returned FROM orders WHERE number = ?", number)
        if not orders:
            raise Missing(f"There is no order {number}")
        items = self.rows("SELECT sku, quantity, cents FROM items WHERE number = ?", number)
        news = self.rows("SELECT text FROM news WHERE number = ? ORDER BY text", number)
        return {
            **orders[0],
            "items": [dict(item) for item in items],
            "news": [row["text"] for row in news],
        }

    def keep_file(self, content: str) -> int | None:
        """Keep a vendor's file for its import, and give its id."""
        with self.transaction() as database:
            kept = database.execute("INSERT INTO files (content) VALUES (?)", (content,))
            return kept.lastrowid


def _take(database: sqlite3.Connection, number: int, sku: str, quantity: int) -> int:
    taken = database.execute(
        "UPDATE products SET stock = stock - ? WHERE sku = ? AND stock >= ? RETURNING cents",
        (quantity, sku, quantity),
    ).fetchone()
    if taken is None:
        raise Refused(f"There are no {quantity} of {sku}")
    cents: int = taken["cents"] * quantity
    database.execute("INSERT INTO items VALUES (?, ?, ?, ?)", (number, sku, quantity, cents))
    return cents


def _put_back(database: sqlite3.Connection, number: int) -> None:
    database.execute(
        "UPDATE products SET stock = stock + items.quantity FROM items "
        "WHERE items.sku = products.sku AND items.number = ?",
        (number,),
    )


def _submit(database: sqlite3.Connection, number: int, **task: Any) -> None:
    # The arguments of the client's `submit`. The row's id is the idempotency key.
    text = json.dumps({**task, "labels": {"order": str(number)}})
    database.execute("INSERT INTO outbox (id, task) VALUES (?, ?)", (str(uuid4()), text))
