"""The image's recipe."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from afterwards import __version__
from tests.deploy.files import DEPLOY, ROOT

DOCKERFILE = DEPLOY / "Dockerfile"
TEXT = DOCKERFILE.read_text()
LOCKS = ("requirements.lock", "requirements-machines.lock")


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    run = subprocess.run(
        [hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_the_image_has_the_package_s_version() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in TEXT


def test_every_stage_has_the_same_base() -> None:
    assert set(re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)) == {"python:3.13-slim-bookworm"}


def test_no_directive_asks_a_registry_for_a_front_end() -> None:
    assert "# syntax=" not in TEXT


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.+)", TEXT, re.MULTILINE):
        copied.update(line.split()[:-1])
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_build_backend_and_what_only_it_needs_are_not_in_the_image() -> None:
    locks = "\n".join((ROOT / name).read_text() for name in LOCKS)
    needed_by = defaultdict[str, set[str]](set)
    for name, entry in re.findall(
        r"^([a-z0-9-]+)(?:\[.*\])?==((?:.*\n(?=[ ]))*.*)", locks, re.MULTILINE
    ):
        needed_by[name] |= set(re.findall(r"# +(?:via )?([^\s]+)", entry)) - {"via"}
    building = {"hatchling"}
    while more := {n for n, by in needed_by.items() if by and by <= building} - building:
        building |= more
    found = re.search(r"pip [^&]*? uninstall ((?:.*\\\n)*.*)", TEXT)
    assert found is not None
    assert {word for word in found[1].split() if word[0] not in "-\\"} == building
