"""Scripted customers and vendors, who use the shop over HTTP and say what they see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from .terminal import say, within

PATIENCE_SECONDS: Final = 90
HEADER: Final = "sku,name,cents,stock\n"
FEW: Final = HEADER + "tea,Tea,450,10\nmilk,Milk,120,10\n"
MANY: Final = HEADER + "".join(f"a-{n},Article {n},100,50\n" for n in range(10_000))
TWO: Final = HEADER + "cup,Cup,900,3\npot,Pot,2500,20\n"


class Customer:
    """One session with the shop."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again while the shop says that it should come again.

        Raises:
            httpx.HTTPStatusError: the shop refuses it.
        """
        answer = self._http.request(method, path, **options)
        while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            time.sleep(float(answer.headers.get("Retry-After", 1)))
            answer = self._http.request(method, path, **options)
        return answer.raise_for_status()

    def see(self, what: str, path: str, condition: Callable[[Any], object]) -> None:
        """Look until `condition` holds for what the shop answers."""
        within(PATIENCE_SECONDS, what, lambda: condition(self.ask("GET", path).json()))
        say("customer", f"sees: {what}")

    def see_import(self, what: str, task_id: str, **members: Any) -> None:
        """Look until an import has these members."""
        self.see(what, f"/imports/{task_id}", lambda one: members.items() <= one.items())

    def see_news(self, number: int, *news: str) -> None:
        """Look until the shop has been told all of this about an order."""
        what = f"order {number}: {', '.join(news)}"
        self.see(what, f"/orders/{number}", lambda order: set(news) <= set(order["news"]))

    def events(self, path: str) -> Iterator[Any]:
        """The events of a stream, as a page gets them."""
        with self._http.stream("GET", path) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def order(self, name: str, card: str, **items: int) -> int:
        """Place an order, under a key of this customer's browser."""
        order = {"email": f"{name}@example.com", "card": card, "items": items}
        key = {"Idempotency-Key": f"basket of {name}"}
        number: int = self.ask("POST", "/orders", json=order, headers=key).json()["number"]
        say("customer", f"{name} has order {number}")
        return number

    def upload(self, vendor: str, name: str, content: str) -> str:
        """Send a file of products, and give the id of its import."""
        path = f"/vendors/{vendor}/files/{name}"
        answer = self.ask("PUT", path, content=content, headers={"Content-Type": "text/csv"})
        say("customer", f"{vendor} has sent {name}")
        return str(answer.json()["id"])


def vendors_import(shop: Customer) -> None:
    """Two vendors send files: each has one import at a time, and does not wait for the other."""
    june = shop.upload("acme", "june.csv", MANY)
    shop.see("acme's june.csv is under way", f"/imports/{june}", lambda one: one["message"])
    first = shop.upload("acme", "july.csv", TWO)
    shop.see_import("acme's july.csv waits for it", first, waits=True)
    july = shop.upload("acme", "july.csv", TWO)
    shop.see_import("acme's newer july.csv has replaced it", first, status="cancelled")
    globex = shop.upload("globex", "june.csv", FEW)
    shop.see_import("globex did not have to wait", globex, status="success")
    shop.ask("DELETE", f"/imports/{june}")
    shop.see_import("acme's june.csv is cancelled", june, status="cancelled")
    shop.see_import("acme's july.csv is imported", july, status="success")


def customers_order(shop: Customer) -> None:
    """Three customers: one is content, one cannot pay, one sends everything back."""
    anns = shop.order("ann", "4711", tea=2, milk=1)
    say("customer", "ann clicks once more, and has still one order")
    shop.order("ann", "4711", tea=2, milk=1)
    bobs = shop.order("bob", "expired", tea=1)
    cems = shop.order("cem", "4712", cup=2, pot=1)
    shop.see_news(anns, "shop.payment success", "shop.invoice success", "http success")
    shop.see_news(bobs, "shop.payment failed")
    shop.see_news(cems, "shop.payment success", "http success")
    invoice = shop.ask("GET", f"/orders/{anns}/invoice").text
    say("customer", f"ann has downloaded: {', '.join(invoice.splitlines())}")
    shop.ask("POST", f"/orders/{cems}/return")
    shop.see_news(cems, "shop.refund success")


def owner_adds_up(shop: Customer) -> None:
    """A newsletter, and statements for each vendor and month; a page shows how far those are."""
    letter = {"subject": "New tea", "text": "It is green."}
    shop.ask("POST", "/newsletters", json=letter, headers={"Idempotency-Key": "green tea"})
    year = datetime.now(UTC).year
    page, again = (shop.ask("POST", f"/statements/{year}").json()["page"] for _ in range(2))
    same = "the same page" if again == page else again
    say("customer", f"the owner opens {page}; a second click gives {same}")
    for event in shop.events(f"{page}/events"):
        say("customer", f"sees: {event['finished']} of {event['size']} statements")
    for row in shop.ask("GET", f"{page}/totals").text.splitlines():
        if not row.endswith(",0"):
            say("customer", f"reads in the totals: {row}")
