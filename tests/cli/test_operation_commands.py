"""Types, statistics, workers, errors, activity and schedules from the command line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rich.console import Console

from afterwards.api.schemas.activity import EntryDocument
from afterwards.api.schemas.error_groups import ErrorGroupDocument
from afterwards.api.schemas.series import SeriesDocument
from afterwards.api.schemas.task_types import StatisticsDocument, TaskTypeDocument
from afterwards.api.schemas.workers import WorkersDocument
from afterwards.cli import _command, main
from afterwards.cli.commands import ALL, OVER_HTTP
from afterwards.cli.tables import Rows
from afterwards.cli.terminal import Terminal
from tests.client.conftest import Handler
from tests.client.documents import AT, ID, problem, schedule, task
from tests.client.test_operations import LIVE, example
from tests.client.test_streams import event

RESULTS = [
    {"task_id": ID, "due": AT, "status": status} for status in ("failed", "success", "failed")
]
RECURRENCE = "30 6 * * 1-5 Europe/Berlin"
LISTED = {
    "next_runs": [AT],
    "last_task_id": ID,
    "results": RESULTS,
    "module": "shop",
    "gone": True,
}

LISTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "types": (
        {"task_types": [example(TaskTypeDocument)]},
        ["notification\tasync\tno\t0\t2\t1\t40\t1\t0"],
    ),
    "workers": (
        example(WorkersDocument),
        [
            "worker\t4711\trunning\t73400320\t1\tasync 1/10000",
            "host\t4720\trunning\t31457280\t1\tasync",
            "registry\t4700\trunning\t52428800\t\t",
        ],
    ),
    "errors": (
        {"groups": [example(ErrorGroupDocument, count=5, last_seen=AT)], "ungrouped": 0},
        [f"5f0c9a1be27d4c83\t5\treport\t{AT}\tConnectionError: no answer from '…' within # s"],
    ),
    "activity": (
        {"entries": [example(EntryDocument, at=AT)], "next": None},
        [f"{AT}\t\tretry\ttasks\tstatus=failed&type=report\t12\tdone\t2 skipped"],
    ),
    "schedules": (
        {"schedules": [schedule(**LISTED)], "next": None},
        [f"daily\treport\t{RECURRENCE}\tno\t{AT}\t{ID}\t2 failed, 1 success\tshop (gone)"],
    ),
}


@pytest.mark.parametrize("command", LISTS)
def test_a_list_is_a_line_for_each_thing(
    service: Handler, out: Callable[[], str], command: str
) -> None:
    document, lines = LISTS[command]
    service.answer(200, document)
    assert main([command]) == 0
    assert out().splitlines() == lines


@pytest.mark.parametrize("command", LISTS)
def test_a_list_for_programs_has_the_documents(
    service: Handler, out: Callable[[], str], command: str
) -> None:
    document, _ = LISTS[command]
    service.answer(200, document)
    assert main([command, "--json"]) == 0
    (printed,) = [json.loads(line) for line in out().splitlines()]
    things = next((value for value in document.values() if isinstance(value, list)), [])
    assert printed in (document, *things)


def test_stats_are_a_line_for_each_number(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, example(StatisticsDocument, paused_types=["file", "report"]))
    service.answer(200, example(StatisticsDocument))
    assert main(["stats"]) == 0
    lines = out().splitlines()
    assert lines[0] == "version: 1.0.0"
    assert {"tasks.success: 40", "slots.async.free: 9999", "paused_types: file, report"} <= {*lines}
    assert main(["stats", "--json"]) == 0
    assert json.loads(out()) == example(StatisticsDocument)


@pytest.mark.parametrize("as_json", [False, True])
def test_stats_are_followed_until_the_stream_ends(
    service: Handler, out: Callable[[], str], as_json: bool
) -> None:
    service.answer(200, example(StatisticsDocument))
    service.stream(event("", "stats", LIVE), event("", "stats", {**LIVE, "tasks": {}}))
    service.answers.append(httpx.Response(204))
    assert main(["stats", "--watch", *(["--json"] if as_json else [])]) == 0
    first, second = out().splitlines()
    if as_json:
        assert json.loads(first) == LIVE
    else:
        rates = "0.5/s submitted, 0.2/s finished, 0.0/s failed; paused: report"
        assert first == f"{LIVE['at'][:19]}+00:00  2 pending, 40 success, 1 retrying  {rates}"
        assert second == f"{LIVE['at'][:19]}+00:00  no tasks  {rates}"


def test_series_are_a_line_for_each_step(service: Handler, out: Callable[[], str]) -> None:
    document = example(SeriesDocument)
    service.answer(200, document)
    service.answer(200, document)
    assert main(["series", "--range", "24h", "--type", "report"]) == 0
    lines = out().splitlines()
    assert len(lines) == len(document["times"])
    assert lines[0].endswith("+00:00" + "\t" * 11)
    assert lines[1].split("\t")[1:6] == ["12", "11", "1", "0", "2"]
    assert dict(service.requests[0].url.params) == {"range": "24h", "type": "report"}
    assert main(["series", "--json"]) == 0
    assert json.loads(out()) == document


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_type_is_paused_and_resumed(service: Handler, out: Callable[[], str], verb: str) -> None:
    service.answer(200, example(TaskTypeDocument, paused=verb == "pause"))
    assert main([verb, "notification"]) == 0
    assert out().startswith(f"notification: {verb}d")
    assert service.requests[0].url.path == f"/task-types/notification/{verb}"


def test_the_pause_of_a_type_that_is_gone_is_ended(
    service: Handler, out: Callable[[], str]
) -> None:
    service.answers = [httpx.Response(204)]
    assert main(["resume", "gone"]) == 0
    assert out() == "gone: resumed; the service no longer has this type\n"


def test_one_group_of_errors_is_shown(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, example(ErrorGroupDocument, sample_ids=["a", "b"]))
    assert main(["errors", "5f0c9a1be27d4c83"]) == 0
    assert "sample_ids: a, b\n" in out()
    service.answer(404, problem(404, "There is no error group"))
    assert main(["errors", "5f0c9a1be27d4c83"]) == 1


def test_failed_tasks_in_no_group_are_said(
    service: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answer(200, {"groups": [], "ungrouped": 1_234})
    assert main(["errors", "--type", "report", "--order", "latest", "--limit", "5"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, "1,234 failed tasks are in no group" in printed.err) == ("", True)
    assert dict(service.requests[0].url.params) == {
        "type": "report",
        "order": "latest",
        "limit": "5",
    }


def test_activity_says_that_there_is_more(
    service: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = {"entries": [example(EntryDocument)] * 3, "next": "x"}
    service.answer(200, entries)
    assert main(["activity", "--limit", "2"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert "--all" in printed.err
    service.answer(200, entries)
    service.answer(200, {"entries": [example(EntryDocument)], "next": None})
    assert main(["activity", "--all"]) == 0
    printed = capsys.readouterr()
    assert (len(printed.out.splitlines()), printed.err) == (4, "")


# -- schedules ---------------------------------------------------------------------------------


def test_a_schedule_is_put_as_it_is_said(service: Handler, out: Callable[[], str]) -> None:
    service.answer(201, schedule(labels={"tenant": "acme"}))
    options = ["--cron", "30 6 * * 1-5", "--timezone", "Europe/Berlin", "--catch-up", "--paused"]
    options += ["--priority", "9", "--max-attempts", "2", "--timeout", "60"]
    options += ["--label", "tenant=acme", "--concurrency-key", "c", "--unique-key", "u"]
    assert main(["schedules", "put", "daily", "report", '{"name": "Sales"}', *options]) == 0
    lines = out().splitlines()
    assert {"name: daily", "payload.name: Sales", "labels.tenant: acme"} <= {*lines}
    (request,) = service.requests
    assert (request.method, request.url.path) == ("PUT", "/schedules/daily")
    assert json.loads(request.content) == {
        "type": "report",
        "payload": {"name": "Sales"},
        "cron": "30 6 * * 1-5",
        "timezone": "Europe/Berlin",
        "catch_up": True,
        "paused": True,
        "priority": 9,
        "concurrency_key": "c",
        "unique_key": "u",
        "max_attempts": 2,
        "timeout_seconds": 60.0,
        "labels": {"tenant": "acme"},
    }


@pytest.mark.parametrize(
    ("action", "request_line", "printed"),
    [
        ("pause", "POST /schedules/daily/pause", "daily: paused\n"),
        ("resume", "POST /schedules/daily/resume", "daily: resumed\n"),
        ("show", "GET /schedules/daily", "name: daily\n"),
    ],
)
def test_a_schedule_is_shown_paused_and_resumed(
    service: Handler, out: Callable[[], str], action: str, request_line: str, printed: str
) -> None:
    service.answer(200, schedule())
    assert main(["schedules", action, "daily"]) == 0
    assert out().startswith(printed)
    (request,) = service.requests
    assert f"{request.method} {request.url.path}" == request_line


def test_a_schedule_is_run_and_deleted(service: Handler, out: Callable[[], str]) -> None:
    service.answer(202, task())
    service.answers.append(httpx.Response(204))
    assert main(["schedules", "run", "daily"]) == 0
    assert main(["schedules", "delete", "daily", "--json"]) == 0
    first, second = out().splitlines()
    assert first == ID
    assert json.loads(second) == {"name": "daily", "deleted": True}


def test_options_of_schedules_may_stand_before_the_action_and_after_it(
    service: Handler, out: Callable[[], str]
) -> None:
    for arguments in (["--json", "list"], ["list", "--json"], ["--json"]):
        service.answer(200, {"schedules": [schedule()], "next": None})
        assert main(["schedules", "--url", "http://service:1", *arguments]) == 0
        assert json.loads(out()) == schedule()
    assert {request.url.host for request in service.requests} == {"service"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["schedules", "put", "daily", "report"],
        ["schedules", "put", "daily", "report", "--cron", "* * * * *", "--every", "5"],
        ["schedules", "put", "daily", "report", "{", "--every", "5"],
        ["schedules", "put", "daily", "report", "--every", "nan"],
        ["schedules", "run"],
        ["schedules", "launch"],
        ["pause"],
        ["series", "--range", "2h"],
        ["errors", "--order", "random"],
    ],
)
def test_wrong_usage_is_status_2_and_nothing_is_sent(
    service: Handler, arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert service.requests == []


# -- help --------------------------------------------------------------------------------------


def test_the_help_names_every_command(out: Callable[[], str]) -> None:
    assert main([]) == 0
    text = out()
    assert "    schedules  list, make" in text
    assert set(re.findall(r"(?m)^    (\w+)", text)) == set(ALL)
    assert all(_command(name) is not None for name in ALL)


@pytest.mark.parametrize("name", list(OVER_HTTP))
def test_each_command_has_its_help(name: str, out: Callable[[], str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([name, "--help"])
    assert leaving.value.code == 0
    assert "--url URL" in out()


# -- on a terminal -----------------------------------------------------------------------------


def test_a_table_on_a_terminal_has_names_and_local_times() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, width=60, color_system=None))
    rows: list[tuple[Any, ...]] = [("[b]x[/b]\x1b]", 12, True, None), ("y", 7, False, 0.123456)]
    terminal.rows(Rows(("name", "count", "paused", "p50"), rows, [], "nothing"))
    lines = screen.getvalue().splitlines()
    assert lines[0].split() == ["name", "count", "paused", "p50"]
    assert lines[1].split() == ["[b]x[/b]", "]", "12", "yes"]
    assert lines[2].split() == ["y", "7", "no", "0.123"]


def test_an_empty_table_on_a_terminal_says_so() -> None:
    screen = io.StringIO()
    terminal = Terminal(Console(file=screen, width=60, color_system=None))
    terminal.rows(Rows(("name",), [], [], "no schedules"))
    terminal.document({"name": "daily", "paused": False})
    terminal.done("daily", "deleted", {})
    assert screen.getvalue().split("\n")[:2] == ["no schedules", "name    daily"]
    assert "daily: deleted" in screen.getvalue()
