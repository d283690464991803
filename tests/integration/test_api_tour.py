"""Pages that are made by calls that can be repeated: each is, and is answered as they say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Service

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "\n".join((DOCS / name).read_text() for name in ("api.md", "webhooks.md"))
CALL = re.compile(r"^\$ (curl .*)\n(.*)$", re.MULTILINE)
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What is different each time: times, durations, processes, cursors, ids of requests, secrets.
VARIABLE = re.compile(
    r'\d{4}-\d\d-\d\dT[\d:.]+\+00:00|(?<="worker":")[^"]+|(?<=_seconds":)[\d.e-]+(?=,"(?:run|out))'
    r'|(?<="next":")\w+|(?<="request_id":")[\w-]+|(?<="secret":"whsec_)[^"]+'
)


def calls() -> list[tuple[str, str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [call for block in blocks for call in CALL.findall(block)]


def test_every_console_block_is_calls_and_their_answers() -> None:
    lines = sum(block.count("\n") for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
    assert lines == 2 * len(calls()) > 20


def test_each_call_of_the_page_is_answered_as_it_says(service: Service) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not there")
    ids: dict[str, str] = {}
    """The page's ids, and those of this run."""
    for call, documented in calls():
        answer = output(repeated(call, {**ids, "http://127.0.0.1:8000": service.url}))
        for shown, real in zip(ID.findall(documented), ID.findall(answer), strict=True):
            assert ids.setdefault(shown, real) == real
        assert generalised(answer) == generalised(documented), call


def repeated(call: str, instead: dict[str, str]) -> str:
    for shown, real in instead.items():
        call = call.replace(shown, real)
    return call


def output(call: str) -> str:
    run = subprocess.run(call, shell=True, capture_output=True, text=True, timeout=60, check=True)
    return run.stdout.rstrip("\n")


def generalised(text: str) -> str:
    return VARIABLE.sub("…", ID.sub("id", text))
