"""Windows of the dashboard as the tests drive them, and what is found wrong in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
)

AXE: Final = (Path(__file__).parents[1] / "dashboard" / "vendor" / "axe.js").read_text()
SECONDS: Final = 20
"""The time that a window may take for what it is to show."""
_REPORT: Final = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"""
_VIOLATIONS: Final = """async () => (await axe.run(document, {resultTypes: ["violations"]}))
    .violations.map(({id, help, nodes}) => ({id, help, where: nodes.map(
        ({target, failureSummary: why}) => [target.join(" "), why])}))"""


class Window:
    """A window of the dashboard, and the faults that the browser has told of."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.context = context
        self.faults: list[str] = []
        self.outages_are_meant = False
        """True if requests may fail; a browser writes each of those to the console."""
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SECONDS * 1_000)
        self.page.add_init_script(_REPORT)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        is_meant = self.outages_are_meant and message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not is_meant:
            self.faults.append(message.text)

    def open(self, path: str = "") -> Page:
        """Go to a page below `/dashboard/`, and wait until it has its data."""
        self.page.goto(f"{self.url}/dashboard/{path}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until nothing is loading any more, charts included."""
        expect(self.page.locator("main h1")).to_be_attached()
        expect(self.page.locator(".skeleton")).to_have_count(0)
        for canvas in self.page.locator(".canvas").all():
            expect(canvas.locator("canvas")).to_be_attached()

    def violations(self) -> list[str]:
        """The violations that axe finds on the page as it is."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE)
        found: list[dict[str, Any]] = self.page.evaluate(_VIOLATIONS)
        return [json.dumps(each) for each in found]

    def overhang(self) -> int:
        """By how many pixels the page is wider than its window; below 0: it is narrower."""
        wide: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide


def state_is(page: Page, word: str) -> None:
    """Wait until the page of a task shows that it is in this state."""
    expect(page.locator("main .heading .badge")).to_have_text(word)
