"""The files that the dashboard and its tests take from others are those of their manifests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import pytest

from afterwards.dashboard.assets import STATIC

VENDORING: Final = Path(__file__).parents[2] / "vendoring"

both = pytest.mark.parametrize(
    "vendor", [STATIC / "vendor", Path(__file__).parent / "vendor"], ids=["dashboard", "tests"]
)


def manifest(vendor: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((vendor / "manifest.json").read_text())
    return document


@both
def test_every_file_has_the_digest_that_the_manifest_gives_it(vendor: Path) -> None:
    found = {
        path.relative_to(vendor).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert found == manifest(vendor)["sha256"]


@both
def test_versions_are_those_of_the_lock(vendor: Path) -> None:
    locked = json.loads((VENDORING / "package-lock.json").read_text())["packages"]
    for name, said in manifest(vendor)["packages"].items():
        assert said["version"] == locked[f"node_modules/{name}"]["version"]


@both
def test_every_package_comes_with_its_licence(vendor: Path) -> None:
    for said in manifest(vendor)["packages"].values():
        assert said["licence"] in {"MIT", "ISC", "Apache-2.0", "MPL-2.0"}
        assert (vendor / said["licence_file"]).stat().st_size > 500


def test_the_lock_names_no_host() -> None:
    for name in ("package.json", "package-lock.json"):
        assert "resolved" not in (VENDORING / name).read_text()
