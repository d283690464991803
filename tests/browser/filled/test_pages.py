"""Every page as it is with data: light and dark, wide and narrow."""

from __future__ import annotations

from typing import Final, Literal

import pytest

from afterwards.dashboard.shell import PAGES
from tests.browser.window import Window

SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTHS: Final = (1280, 390)


@pytest.fixture
def opened(shared: Window, ids: dict[str, str], request: pytest.FixtureRequest) -> Window:
    path: str = request.param
    name = {"tasks/": ids["failed"], "types/": "charge"}.get(path, "")
    shared.open(path + name)
    return shared


@pytest.mark.parametrize("opened", PAGES, indirect=True, ids=PAGES.values())
def test_a_page_is_for_everyone_in_any_light_and_at_any_width(opened: Window) -> None:
    found = []
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 900})
        assert opened.overhang() <= 0, width
        for scheme in SCHEMES:
            opened.page.emulate_media(color_scheme=scheme)
            found += [f"{scheme}, {width}: {each}" for each in opened.violations()]
    assert found == []


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("document.querySelector('main').append(document.createElement('img'))", "image-alt"),
        ("console.error('broken')", "broken"),
        ("document.body.append(Object.assign(document.createElement('script'),{text:'0'}))", "CSP"),
        ("setTimeout(() => { throw new Error('thrown') })", "thrown"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(shared: Window, doing: str, said: str) -> None:
    shared.open("activity")
    shared.page.evaluate(f"() => {{ {doing} }}")
    assert any(said in fault for fault in shared.violations() + shared.faults)
    shared.faults.clear()
