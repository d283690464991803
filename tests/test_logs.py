from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterwards.logs import configure

pytestmark = pytest.mark.processes

# A process of its own: the configuration is the process', and stderr has to be a real one.
SCRIPT = """
import logging, sys, warnings
import structlog
from afterwards.logs import configure, get_logger
log = get_logger("app.example")
configure({level!r}, {format!r})
{body}
"""


def run(body: str, level: str = "info", style: str = "auto") -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(body=body, level=level, format=style)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )


def lines(body: str, level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(body, level).stderr.splitlines()]


def test_a_line_is_json_with_its_fields() -> None:
    (line,) = lines("log.info('attempt started', task_id='1', type='report', attempt=2)")
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "attempt started",
        "level": "info",
        "logger_name": "app.example",
        "task_id": "1",
        "type": "report",
        "attempt": 2,
    }


def test_stdout_is_left_alone() -> None:
    assert run("log.info('a')").stdout == ""


def test_lines_below_the_level_are_dropped() -> None:
    assert lines("log.debug('a'); log.info('b'); log.warning('c')", "warning")[0]["event"] == "c"


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_level_holds_for_loggers_made_before_and_after_it_was_set(when: str) -> None:
    body = """
late = get_logger("app.late")
chosen = log if "{when}" == "before" else late
for level in ("debug", "info", "debug"):
    configure(level, "json")
    chosen.debug(level)
"""
    found = [line["event"] for line in lines(body.replace("{when}", when))]
    assert found == ["debug", "debug"]


def test_what_libraries_log_looks_the_same() -> None:
    body = """
for name in ("uvicorn.error", "gunicorn.error", "asyncio"):
    logging.getLogger(name).warning("from %s", name, extra={"color_message": "x"})
"""
    found = lines(body)
    assert [line["event"] for line in found] == [
        "from uvicorn.error", "from gunicorn.error", "from asyncio",
    ]  # fmt: skip
    assert {tuple(sorted(line)) for line in found} == {
        ("event", "level", "logger_name", "timestamp")
    }


def test_the_request_id_is_on_every_line_of_a_request() -> None:
    body = """
structlog.contextvars.bind_contextvars(request_id="abc")
log.info("ours")
logging.getLogger("asyncio").warning("theirs")
"""
    assert [line["request_id"] for line in lines(body)] == ["abc", "abc"]


def test_a_traceback_stays_in_its_line() -> None:
    body = """
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
    logging.getLogger("asyncio").exception("failed")
"""
    found = lines(body)
    assert all("ZeroDivisionError" in line["exception"] for line in found)
    assert len(found) == 2


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_has_no_values_of_variables(style: str) -> None:
    body = """
def connect(password):
    return 1 / 0
try:
    connect(bytes([104, 105, 100, 100, 101, 110]))
except ZeroDivisionError:
    log.exception("failed")
    logging.getLogger("asyncio").exception("failed")
"""
    said = run(body, style=style).stderr
    assert said.count("in connect") == 2
    assert "hidden" not in said


def test_a_value_json_does_not_know_does_not_cost_the_line() -> None:
    (line,) = lines("log.info('a', value={1, 2}, text='ü \\ud800')")
    assert line["value"] == "{1, 2}"


def test_warnings_are_logged() -> None:
    (line,) = lines("warnings.warn('old', stacklevel=1)")
    assert "old" in line["event"]


def test_the_console_format_is_for_people() -> None:
    assert "[app.example] task_id=1" in run("log.info('a', task_id='1')", style="console").stderr


def test_on_a_terminal_lines_are_for_people() -> None:
    terminal, end = pty.openpty()
    script = SCRIPT.format(body="log.info('hello')", level="info", format="auto")
    with subprocess.Popen([sys.executable, "-c", script], stderr=end) as process:
        os.close(end)
        written = os.read(terminal, 1000).decode()
        assert process.wait(30) == 0
    os.close(terminal)
    assert "hello" in written
    assert not written.startswith("{")


@pytest.mark.parametrize("closed", [False, True])
def test_a_line_that_cannot_be_written_is_lost_without_a_word(closed: bool) -> None:
    body = """
log.info("ours")
logging.getLogger("asyncio").warning("theirs")
if CLOSED:
    # Closing flushes once more what could not be written.
    with __import__("contextlib").suppress(OSError):
        sys.stderr.close()
log.info("ours again")
logging.getLogger("asyncio").warning("theirs again")
print("went on")
"""
    script = SCRIPT.format(level="info", format="auto", body=f"CLOSED = {closed}\n{body}")
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            timeout=30,
            check=False,
        )
    assert (run.stdout, run.returncode) == ("went on\n", 0)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        configure("loud")
