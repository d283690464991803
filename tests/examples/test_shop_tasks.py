"""The task types of the shop without a service, as `docs/task-types.md` shows it."""

from __future__ import annotations

import csv
import importlib
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from afterwards import Cancelled, Interrupted, Member, PermanentError, TransientError
from afterwards.testing import Order, RecordingContext, run_once
from examples.shop.database import DECLINED, PAID, Database, Refused

PRODUCTS = "sku,name,cents,stock\ntea,Tea,450,10\nmilk,Milk,120,10\n"
PAYMENT = {"order": 1, "cents": 1020, "card": "4711", "email": "ann@example.com"}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "shop.sqlite3")


@pytest.fixture
def stocked(database: Database, catalogue: ModuleType) -> Database:
    """A database with the products of one vendor."""
    file = database.keep_file(PRODUCTS)
    run_once(catalogue.IMPORT, {"vendor": "acme", "file": file}, resources=database)
    return database


def module(name: str, patch: pytest.MonkeyPatch) -> ModuleType:
    """A task module of the shop, which reads its settings when it is imported."""
    for setting in ("DATABASE", "BANK_URL", "BANK_KEY", "CARRIER_URL"):
        patch.setenv(f"SHOP_{setting}", "http://carrier.example")
    return importlib.import_module(f"examples.shop.{name}")


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return module("order_tasks", monkeypatch)


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return module("catalogue_tasks", monkeypatch)


def pay(orders: ModuleType, context: RecordingContext, status: int, **headers: str) -> Any:
    """Run a payment at a bank that answers so, and give what the bank was sent."""
    requests = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, headers=headers, json={"done": 1020})

    bank = httpx.AsyncClient(base_url="http://bank", transport=httpx.MockTransport(answer))
    run_once(orders.PAYMENT, PAYMENT, context, resources=orders.Resources(bank, None))
    return requests


def payload_of(child: Order) -> Mapping[str, Any]:
    assert not isinstance(child.payload, BaseModel)
    return child.payload


def stock(database: Database) -> dict[str, int]:
    return {row["sku"]: row["stock"] for row in database.rows("SELECT sku, stock FROM products")}


# -- orders ----------------------------------------------------------------------------------------


def test_a_paid_order_has_an_invoice_a_parcel_and_a_review(orders: ModuleType) -> None:
    context = RecordingContext()
    (request,) = pay(orders, context, 200)
    assert request.headers["Idempotency-Key"] == context.task_id
    assert [child.type for child in context.submitted] == ["shop.invoice", "http", "email"]
    assert [child.delay_seconds for child in context.submitted] == [None, None, 14 * 86_400]


def test_a_busy_bank_says_when_it_is_asked_again(orders: ModuleType) -> None:
    context = RecordingContext()
    with pytest.raises(TransientError, match="busy"):
        pay(orders, context, 429, **{"Retry-After": "7"})
    assert context.retry_in_seconds == 7
    assert context.submitted == []


def test_a_declined_card_is_not_charged_again(orders: ModuleType) -> None:
    context = RecordingContext()
    with pytest.raises(PermanentError, match="declines"):
        pay(orders, context, 402)
    assert context.retry_in_seconds is None


def test_the_mailed_invoice_is_the_file_of_the_task(orders: ModuleType, stocked: Database) -> None:
    number = stocked.place_order("a", "ann@example.com", "4711", {"tea": 2, "milk": 1})
    context = RecordingContext()
    resources = orders.Resources(None, stocked)
    run_once(orders.INVOICE, {"order": number}, context, resources=resources)
    content = context.artifacts["invoice-1.txt"]
    assert b"Total: 10.20 EUR" in content
    (mail,) = context.submitted
    assert b64decode(payload_of(mail)["attachments"][0]["content"]) == content


def test_an_order_is_placed_once_for_each_key(stocked: Database) -> None:
    numbers = {stocked.place_order("a", "a@example.com", "1", {"tea": 2}) for _ in range(2)}
    assert numbers == {1}
    assert stock(stocked)["tea"] == 8
    assert len(stocked.rows("SELECT id FROM outbox")) == 1
    with pytest.raises(Refused, match="another order"):
        stocked.place_order("a", "a@example.com", "1", {"tea": 3})


def test_an_order_that_is_not_in_stock_leaves_nothing(stocked: Database) -> None:
    with pytest.raises(Refused, match="no 11 of milk"):
        stocked.place_order("a", "a@example.com", "1", {"tea": 1, "milk": 11})
    assert stock(stocked)["tea"] == 10
    assert stocked.rows("SELECT number FROM orders") == stocked.rows("SELECT id FROM outbox") == []


def test_the_items_of_a_declined_order_are_back_in_stock_once(stocked: Database) -> None:
    number = stocked.place_order("a", "a@example.com", "expired", {"tea": 2})
    for _ in range(2):  # The notice may come twice.
        stocked.note("notice-1", number, DECLINED)
    assert stock(stocked)["tea"] == 10


def test_an_order_is_paid_back_once_and_only_if_it_is_paid(stocked: Database) -> None:
    number = stocked.place_order("a", "a@example.com", "1", {"tea": 2})
    with pytest.raises(Refused, match="not paid"):
        stocked.return_order(number)
    stocked.note("notice-1", number, PAID)
    for _ in range(2):
        stocked.return_order(number)
    tasks = [row["task"] for row in stocked.rows("SELECT task FROM outbox ORDER BY rowid")]
    assert ["shop.refund" in task for task in tasks] == [False, True]
    assert stock(stocked)["tea"] == 10


# -- the catalogue ---------------------------------------------------------------------------------


def import_file(catalogue: ModuleType, database: Database, rows: str, **context: Any) -> None:
    file = database.keep_file("sku,name,cents,stock\n" + rows)
    payload = {"vendor": "acme", "file": file}
    run_once(catalogue.IMPORT, payload, RecordingContext(**context), resources=database)


def test_an_import_that_is_made_again_changes_nothing(
    catalogue: ModuleType, stocked: Database
) -> None:
    import_file(catalogue, stocked, "tea,Tea,450,10\n")
    assert stock(stocked) == {"tea": 10, "milk": 10}


def test_an_import_names_the_line_that_is_wrong(catalogue: ModuleType, stocked: Database) -> None:
    with pytest.raises(PermanentError, match=r"Line 3: .*'dear'"):
        import_file(catalogue, stocked, "cup,Cup,900,3\npot,Pot,dear,20\n")
    assert "cup" not in stock(stocked)


def test_an_import_stops_when_it_is_asked_to(catalogue: ModuleType, database: Database) -> None:
    payload = {"vendor": "acme", "file": database.keep_file(PRODUCTS)}
    cancelled, stopping = RecordingContext(), RecordingContext()
    cancelled.cancel()
    stopping.stop()
    with pytest.raises(Cancelled):
        run_once(catalogue.IMPORT, payload, cancelled, resources=database)
    with pytest.raises(Interrupted):
        run_once(catalogue.IMPORT, payload, stopping, resources=database)
    assert stock(database) == {}


def test_totals_add_up_the_statements(catalogue: ModuleType) -> None:
    group = [
        Member(vendor, "shop.statement", "success", {"vendor": vendor, "month": "1", "cents": 5})
        for vendor in ("acme", "globex")
    ]
    context = RecordingContext(group=group)
    run_once(catalogue.TOTALS, {"year": 2026}, context)
    rows = list(csv.DictReader(context.artifacts["totals-2026.csv"].decode().splitlines()))
    assert [row["vendor"] for row in rows] == ["acme", "globex"]


def test_a_statement_counts_what_is_paid_and_kept(catalogue: ModuleType, stocked: Database) -> None:
    paid = stocked.place_order("a", "a@example.com", "1", {"tea": 1})
    stocked.place_order("b", "b@example.com", "1", {"tea": 2})
    returned = stocked.place_order("c", "c@example.com", "1", {"tea": 3})
    for number in (paid, returned):
        stocked.note(f"notice-{number}", number, PAID)
    stocked.return_order(returned)
    (month,) = {row["month"] for row in stocked.rows("SELECT month FROM orders")}
    payload = {"vendor": "acme", "month": month}
    assert run_once(catalogue.STATEMENT, payload, resources=stocked)["cents"] == 450


def test_the_night_takes_the_stock_of_each_vendor(catalogue: ModuleType, stocked: Database) -> None:
    context = RecordingContext()
    run_once(catalogue.NIGHT, {}, context, resources=stocked)
    types = [child.type for child in context.submitted]
    assert types == ["shop.stocktake", "shop.recommend"]
    stocked.place_order("a", "a@example.com", "1", {"tea": 6})
    low = run_once(catalogue.STOCKTAKE, payload_of(context.submitted[0]), resources=stocked)
    assert low == {"low": ["tea"]}


def test_products_that_are_ordered_together_are_pairs(
    catalogue: ModuleType, stocked: Database
) -> None:
    for key in ("a", "b"):
        stocked.place_order(key, "a@example.com", "1", {"tea": 1, "milk": 1})
    pairs = run_once(catalogue.RECOMMEND, {}, resources=stocked)["pairs"]
    assert pairs == [["milk", "tea", 2]]


def test_each_customer_gets_one_mail_of_a_newsletter(
    catalogue: ModuleType, stocked: Database
) -> None:
    for key, customer in {"a": "ann", "b": "ann", "c": "cem"}.items():
        stocked.place_order(key, f"{customer}@example.com", "1", {"tea": 1})
    context = RecordingContext()
    letter = {"subject": "New tea", "text": "It is green."}
    run_once(catalogue.NEWSLETTER, letter, context, resources=stocked)
    addresses = {payload_of(child)["email"] for child in context.submitted}
    assert (len(context.submitted), addresses) == (2, {"ann@example.com", "cem@example.com"})
