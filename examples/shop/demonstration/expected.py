"""The state of things when the customers are done. Each number is exact."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx

from . import partners
from .terminal import say, within

TASKS: Final = {
    "shop.import": {"success": 2, "cancelled": 2},
    "shop.payment": {"success": 2, "failed": 1},
    "shop.refund": {"success": 1},
    "shop.invoice": {"success": 2},
    "http": {"success": 2},
    # Two invoices, a refund, three newsletters. Two reviews are asked for in two weeks; the one of
    # the returned order is not.
    "email": {"success": 6, "cancelled": 1, "scheduled": 1},
    "webhook": {"success": 8},
    "shop.newsletter": {"success": 1},
    "shop.statement": {"success": 24},
    "shop.totals": {"success": 1},
    "shop.night": {"success": 1},
    "shop.stocktake": {"success": 2},
    "shop.recommend": {"success": 1},
}
OUTSIDE: Final = {"charges": [1020, 4300], "refunds": [4300], "parcels": [1, 3], "mails": 6}


def has_happened(metrics_url: str, token: str) -> bool:
    """Wait until it has, and say so, or say what is there instead."""
    expected = {"tasks": TASKS, **OUTSIDE}
    found: dict[str, Any] = {}

    def look() -> bool:
        try:
            tasks = tasks_by_type(metrics_url, token)
        except httpx.HTTPError:
            return False  # It is started again just now.
        found.update(tasks=tasks, **done_outside())
        return found == expected

    try:
        within(60, "what is expected", look)
    except TimeoutError:
        for name, value in expected.items():
            say("shop", f"{name}: expected {value}, found {found.get(name)}")
        return False
    number = sum(sum(states.values()) for states in TASKS.values())
    say("shop", f"All has happened, and once: {number} tasks, {OUTSIDE}")
    return True


def done_outside() -> dict[str, Any]:
    """The work of the partners, as they have noted it."""
    return {
        "charges": sorted(filter(None, partners.charges.values())),
        "refunds": sorted(partners.refunds.values()),
        "parcels": sorted(partners.parcels.values()),
        "mails": len(partners.mails),
    }


def tasks_by_type(url: str, token: str) -> dict[str, dict[str, int]]:
    """The numbers of tasks by type and state, as Prometheus reads them."""
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    line = r'^afterwards_tasks\{state="(\w+)",type="([\w.]+)"\} ([1-9][0-9]*)\.0$'
    found: dict[str, dict[str, int]] = {}
    for state, name, number in re.findall(line, answer.text, re.MULTILINE):
        found.setdefault(name, {})[state] = int(number)
    return found
