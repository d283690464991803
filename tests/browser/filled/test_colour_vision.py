"""The dashboard as those see it who tell few colours apart, or none: the browser emulates it."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.browser.pixels import Box, Picture, Pixel, Rows, contrast, ink_of
from tests.browser.window import Window
from tests.integration.conftest import Service

DEFICIENCIES: Final = ("deuteranopia", "protanopia", "tritanopia", "achromatopsia")
TEXT: Final = 4.5
GRAPHIC: Final = 3.0
"""The contrasts that WCAG 2.2 asks for (1.4.3, 1.4.11)."""
SHARP: Final = 3
"""Pixels of the screen for one of the page: a stroke has some without an edge."""
MARGIN: Final = 2
"""Pixels of the page around a part: its ground."""


@pytest.fixture(scope="module")
def decoder(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


class Eyes:
    """A window, and how it is seen."""

    def __init__(self, window: Window, scheme: str, decoder: Page) -> None:
        self.window = window
        self._scheme = scheme
        self._decoder = decoder
        self._session = window.context.new_cdp_session(window.page)

    def see(self, parts: Sequence[Locator]) -> Iterator[tuple[str, list[Rows]]]:
        """Each deficiency, with the parts of the page as they look with it.

        A picture of the whole page goes to a folder, if one is named.
        """
        boxes = [_around(part) for part in parts]
        left, top = min(box.x for box in boxes), min(box.y for box in boxes)
        clip = {
            "x": left,
            "y": top,
            "width": max(box.x + box.width for box in boxes) - left,
            "height": max(box.y + box.height for box in boxes) - top,
        }
        for deficiency in DEFICIENCIES:
            self._emulate(deficiency)
            self._keep(deficiency)
            png = self.window.page.screenshot(clip=clip, animations="disabled")  # type: ignore[arg-type] # the type of what has these keys
            picture = Picture.of(png, self._decoder)
            places = [Box(x - left, y - top, width, height) for x, y, width, height in boxes]
            yield deficiency, [picture.part(_enlarged(place)) for place in places]
        self._emulate("none")

    def _emulate(self, deficiency: str) -> None:
        self._session.send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})

    def _keep(self, deficiency: str) -> None:
        folder = os.environ.get("PICTURES_OF_VISION")
        if folder:
            page = self.window.page.url.rpartition("dashboard/")[2].replace("/", "-") or "overview"
            file = Path(folder, f"{page}-{self._scheme}-{deficiency}.png")
            self.window.page.screenshot(path=file, animations="disabled")


def _around(part: Locator) -> Box:
    box = part.bounding_box()
    assert box is not None, f"{part} is not shown"
    left, top = math.floor(box["x"]) - MARGIN, math.floor(box["y"]) - MARGIN
    right, bottom = box["x"] + box["width"] + MARGIN, box["y"] + box["height"] + MARGIN
    return Box(left, top, math.ceil(right) - left, math.ceil(bottom) - top)


def _enlarged(box: Box) -> Box:
    return Box(*(SHARP * part for part in box))


@pytest.fixture(scope="module", params=["light", "dark"])
def eyes(
    browser: Browser, service: Service, decoder: Page, request: pytest.FixtureRequest
) -> Iterator[Eyes]:
    """One window in each light: only its first page loads what pages share."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        device_scale_factor=SHARP,
        color_scheme=request.param,
        reduced_motion="reduce",
    )
    window = Window(context, service.url)
    yield Eyes(window, request.param, decoder)
    context.close()
    assert window.faults == []


def test_a_picture_is_written_as_it_was_taken(decoder: Page) -> None:
    taken = Picture(3, bytes([*(255, 0, 0, 255) * 3, *(9, 99, 199, 255) * 3]))
    assert Picture.of(taken.png(), decoder) == taken
    assert taken.part(Box(1, 1, 2, 1)) == [[Pixel(9, 99, 199)] * 2]


def icon_of(part: Locator) -> str:
    """The name of the icon in a part of a page."""
    href = part.locator("svg.icon use").get_attribute("href")
    assert href is not None
    return href.rpartition("#")[2]


def differ(patterns: Sequence[object]) -> bool:
    return all(one != other for one, other in itertools.combinations(patterns, 2))


def test_each_state_has_a_word_and_an_icon_that_can_be_read(
    eyes: Eyes, ids: dict[str, str]
) -> None:
    page = eyes.window.open("types/charge")
    badges = page.get_by_role("list", name="Tasks of this type by state").locator(".badge").all()
    words = [badge.inner_text() for badge in badges]
    assert len(set(words)) == len({icon_of(badge) for badge in badges}) == 6
    for deficiency, looks in eyes.see(badges):
        for word, rows in zip(words, looks, strict=True):
            seen = ink_of(rows).contrast
            assert seen >= TEXT, f"{word}, {deficiency}: {seen:.2f}"


def test_states_are_told_apart_by_the_shapes_of_their_icons(
    eyes: Eyes, ids: dict[str, str]
) -> None:
    page = eyes.window.open("tasks")
    icons = page.get_by_role("group", name="States").locator("button .icon").all()
    assert len(icons) == 7
    for deficiency, looks in eyes.see(icons):
        inks = [ink_of(rows) for rows in looks]
        assert min(ink.contrast for ink in inks) >= GRAPHIC, deficiency
        shapes = [
            [[contrast(ink.ground, dot) >= GRAPHIC for dot in row] for row in rows]
            for ink, rows in zip(inks, looks, strict=True)
        ]
        assert differ(shapes), deficiency


def test_the_lines_of_a_chart_are_told_apart_by_their_dashes(
    eyes: Eyes, ids: dict[str, str]
) -> None:
    page = eyes.window.open("")
    legends = page.locator("figure.chart .u-legend").all()
    markers = [legend.locator(".u-series:not(:first-child) .u-marker").all() for legend in legends]
    assert [len(found) for found in markers] == [4, 3, 3]
    for deficiency, looks in eyes.see(list(itertools.chain(*markers))):
        dashes = []
        for rows in looks:
            ground, line = ink_of(rows).ground, rows[len(rows) // 2]
            dashes.append([contrast(ground, dot) >= GRAPHIC for dot in line])
        assert all(map(any, dashes)), deficiency
        assert all(differ(part) for part in (dashes[:4], dashes[4:7], dashes[7:])), deficiency


def test_the_run_of_an_attempt_stands_out_and_its_error_can_be_read(
    eyes: Eyes, ids: dict[str, str]
) -> None:
    page = eyes.window.open(f"tasks/{ids['failed']}")
    run, error = page.locator(".track .run"), page.locator(".failure.loudly p bdi")
    for deficiency, [bar, text] in eyes.see([run, error]):
        assert ink_of(bar).contrast >= GRAPHIC, deficiency
        assert ink_of(text).contrast >= TEXT, f"{deficiency}: {ink_of(text).contrast:.2f}"


def test_links_and_tags_can_be_read(eyes: Eyes, ids: dict[str, str]) -> None:
    page = eyes.window.open("types")
    table = page.get_by_role("table", name="Task types")
    parts = [table.get_by_role("link", name="charge"), table.get_by_text("paused")]
    for deficiency, looks in eyes.see(parts):
        seen = [ink_of(rows).contrast for rows in looks]
        assert min(seen) >= TEXT, f"{deficiency}: {seen}"


def test_slots_that_are_taken_stuck_and_free_are_told_apart(
    eyes: Eyes, ids: dict[str, str]
) -> None:
    page = eyes.window.open("workers")
    bar = page.locator(".slots .bar").first
    # Of the thousands that there are, hardly any is taken, and none is stuck.
    bar.locator("i").evaluate_all("parts => parts.forEach((part) => (part.style.width = '33%'))")
    for deficiency, looks in eyes.see(bar.locator("i").all()):
        taken, stuck, free = (rows[len(rows) // 2] for rows in looks)
        middles = [row[len(row) // 3 : -len(row) // 3] for row in (taken, free)]
        assert [len(set(row)) for row in middles] == [1, 1], deficiency
        [(one, *_), (other, *_)] = middles
        assert contrast(one, other) >= GRAPHIC, deficiency
        striped = ink_of([stuck[len(stuck) // 3 : -len(stuck) // 3]])
        assert striped.contrast >= GRAPHIC, deficiency
