"""The document that every page begins with."""

from __future__ import annotations

import re

import pytest

from afterwards.dashboard.assets import STATIC, load
from afterwards.dashboard.shell import PAGES, START, shell


def preloaded(path: str) -> list[str]:
    page = shell("dashboard/", path, load(), "1.2.3").decode()
    return re.findall(rf'modulepreload" href="assets/{load().digest}/([^"]+)"', page)


def test_what_comes_from_a_request_is_escaped() -> None:
    page = shell('"><script>', '"><script>', load(), "<1>").decode()
    assert '<base href="&quot;&gt;&lt;script&gt;">' in page
    assert 'data-version="&lt;1&gt;"' in page
    assert "><script>" not in page


def test_its_pages_are_those_that_the_router_loads() -> None:
    source = (STATIC / START).read_text()
    loaded = re.findall(r'"?([\w/]*)"?: \(\) => import\("\./pages/(\w+)\.js"\)', source)
    assert dict(loaded) == PAGES


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("", "overview"),
        ("tasks", "tasks"),
        ("tasks/", "tasks"),
        ("tasks/3f", "task"),
        ("types/a/b", "type"),
    ],
)
def test_a_page_asks_for_its_modules_at_once_and_for_no_other_pages(path: str, module: str) -> None:
    modules = preloaded(path)
    assert [name for name in modules if name.startswith("pages/")] == [f"pages/{module}.js"]
    assert {"vendor/preact.js", "core/router.js", "ui/frame.js"} <= set(modules)
    for name in modules:
        assert set(load().files[name].imports) <= {
            *modules,
            *(f"pages/{page}.js" for page in PAGES.values()),
        }


def test_charts_are_loaded_where_charts_are() -> None:
    assert "vendor/uplot.js" in preloaded("")
    assert "vendor/uplot.js" not in preloaded("tasks")


def test_dialogs_are_loaded_when_they_are_opened() -> None:
    assert {"ui/submit.js", "ui/form.js", "ui/bulk.js"}.isdisjoint(preloaded(""))
    assert "ui/later.js" in preloaded("")


def test_a_page_that_there_is_not_has_the_frame() -> None:
    assert "ui/frame.js" in preloaded("nowhere")
