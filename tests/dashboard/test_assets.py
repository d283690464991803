"""The files of the dashboard."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Final, get_args

import pytest

from afterwards.api.redaction import MASK
from afterwards.api.schemas.bulk import (
    BulkSelection,
    CancelSelection,
    DeleteSelection,
    RetrySelection,
    RunSelection,
)
from afterwards.api.schemas.schedules import NewSchedule
from afterwards.dashboard.assets import STATIC, load
from afterwards.dashboard.shell import shell
from afterwards.task_types import CATALOGUE
from afterwards.task_types.description import describe

SELECTIONS: Final[dict[str, type[BulkSelection]]] = {
    "retry": RetrySelection,
    "cancel": CancelSelection,
    "run": RunSelection,
    "delete": DeleteSelection,
}
SCRIPTS = [path for path in sorted(STATIC.rglob("*.js")) if "vendor" not in path.parts]


def test_every_file_is_there_plain_and_compressed() -> None:
    for name, asset in load().files.items():
        source = (STATIC / name).read_text().splitlines()
        served = asset.content.decode().splitlines()
        lines = iter(source)
        # In their order, and none that is not in the file.
        assert all(line in lines for line in served), name
        assert gzip.decompress(asset.compressed) == asset.content


def test_scripts_are_served_without_their_comments() -> None:
    for path in SCRIPTS:
        served = load().files[path.relative_to(STATIC).as_posix()].content.decode()
        lines = [line.strip() for line in path.read_text().splitlines()]
        code = [line for line in lines if not re.match(r"//|\*|/\*(?!.*\*/.)", line)]
        assert [line.strip() for line in served.splitlines()] == code, path


def test_manifests_and_licences_are_not_served() -> None:
    assert not [name for name in load().files if name.endswith((".json", ".txt"))]


def test_the_document_names_files_that_there_are() -> None:
    assets = load()
    page = shell("dashboard/", "tasks", assets, "1.2.3").decode()
    named = re.findall(rf'(?:href|src)="assets/{assets.digest}/([^"]+)"', page)
    assert len(named) > 5
    assert set(named) <= set(assets.files)


def test_the_document_has_no_script_or_style_of_its_own() -> None:
    page = shell("dashboard/", "", load(), "1.2.3").decode()
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_a_module_imports_files_that_there_are(path: Path) -> None:
    source = path.read_text()
    for target in re.findall(r"(?:from|import)\s*\(?\s*[\"'](\.[^\"']+)[\"']", source):
        assert (path.parent / target).resolve().is_file(), target
    absolute = re.findall(r"^import .* from [\"']([^.][^\"']*)[\"']", source, re.MULTILINE)
    assert not absolute


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_a_module_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    there = set(re.findall(r'<symbol id="(\w+)"', (STATIC / "vendor/icons.svg").read_text()))
    used = {
        name
        for path in SCRIPTS
        for name in re.findall(r'(?:\$\{Icon\} name|\bicon)="(\w+)"', path.read_text())
    }
    assert used
    assert used <= there


@pytest.mark.parametrize("page", ["", "tasks", "tasks/3f", "types/report/", "nowhere"])
def test_a_cold_page_costs_a_hundred_kilobytes_at_most(page: str) -> None:
    assets = load()
    document = shell("dashboard/", page, assets, "1.2.3")
    named = re.findall(rf'(?:href|src)="assets/{assets.digest}/([^"]+)"', document.decode())
    sizes = [len(assets.files[name].compressed) for name in {*named, "vendor/icons.svg"}]
    assert len(document) + sum(sizes) <= 100_000


def test_every_metric_that_a_page_names_is_one() -> None:
    named = {
        # A counter gets its suffix when it is shown.
        name.removesuffix("_total")
        for path in SCRIPTS
        for name in re.findall(r"\bafterwards_\w+", path.read_text())
    }
    there = (Path(__file__).parents[2] / "app/afterwards/metrics.py").read_text()
    assert named
    assert named <= set(re.findall(r"\bafterwards_\w+", there))


@pytest.mark.parametrize("verb", SELECTIONS)
def test_a_verb_for_many_tasks_is_offered_for_the_states_that_the_service_takes(verb: str) -> None:
    source = (STATIC / "ui/bulk.js").read_text()
    offered = re.search(rf"^  {verb}: \{{.*?^    of: (\[.*?\])", source, re.MULTILINE | re.DOTALL)
    assert offered is not None
    (state,) = get_args(SELECTIONS[verb].model_fields["status"].annotation)
    assert set(json.loads(offered[1])) == set(get_args(state))


def test_the_mask_that_a_form_asks_to_replace_is_the_one_of_the_service() -> None:
    source = (STATIC / "core/mask.js").read_text()
    assert f'export const MASK = "{MASK}";' in source


def test_the_type_that_no_form_offers_is_the_one_that_the_service_alone_submits() -> None:
    source = (STATIC / "core/deliveries.js").read_text()
    [name] = [name for name, one in CATALOGUE.items() if not describe(one).is_for_clients]
    assert f'export const DELIVERY = "{name}";' in source


def test_the_form_of_a_schedule_sends_every_member_that_a_schedule_has() -> None:
    _, found, body = (STATIC / "ui/schedule_form.js").read_text().partition("function bodyOf(")
    assert found
    assert set(NewSchedule.model_fields) <= set(re.findall(r"\w+", body))
