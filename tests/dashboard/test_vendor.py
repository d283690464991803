"""The files that the dashboard takes from others are those of its manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from afterwards.dashboard.assets import STATIC

VENDOR: Final = STATIC / "vendor"
MANIFEST: Final[dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text())
VENDORING: Final = Path(__file__).parents[2] / "vendoring"


def test_every_file_has_the_digest_that_the_manifest_gives_it() -> None:
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert found == MANIFEST["sha256"]


def test_versions_are_those_of_the_lock() -> None:
    locked = json.loads((VENDORING / "package-lock.json").read_text())["packages"]
    for name, said in MANIFEST["packages"].items():
        assert said["version"] == locked[f"node_modules/{name}"]["version"]


def test_every_package_comes_with_its_licence() -> None:
    for said in MANIFEST["packages"].values():
        assert said["licence"] in {"MIT", "ISC", "Apache-2.0"}
        assert (VENDOR / said["licence_file"]).stat().st_size > 500


def test_the_lock_names_no_host() -> None:
    for name in ("package.json", "package-lock.json"):
        assert "resolved" not in (VENDORING / name).read_text()
