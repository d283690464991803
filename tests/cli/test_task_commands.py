"""The commands about tasks, before a service that answers as a test says."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from afterwards.cli import main, remote
from afterwards.cli.terminal import COLOURS, Terminal
from afterwards_client import ResetEvent, TaskStatus
from tests.client.conftest import Handler
from tests.client.documents import AT, ID, details, problem, state, succeeded, summary, task
from tests.client.test_streams import PROGRESS, event


def test_submit_prints_the_id_alone(service: Handler, out: Callable[[], str]) -> None:
    service.answer(202, task())
    assert main(["submit", "notification", '{"message": "Hello"}']) == 0
    assert out() == f"{ID}\n"
    sent = json.loads(service.requests[0].content)
    assert sent == {"type": "notification", "payload": {"message": "Hello"}}


def test_submit_passes_everything_on(service: Handler) -> None:
    service.answer(202, task())
    options = [
        "--delay",
        "5",
        "--priority",
        "9",
        "--max-attempts",
        "2",
        "--timeout",
        "1.5",
        "--key",
        "k",
    ]
    deadline = ["--deadline", "2027-01-01T00:00:00+00:00", "--label", "tenant=acme"]
    keys = ["--concurrency-key", "c", "--unique-key", "u", "--on-conflict", "replace"]
    assert main(["submit", "report", *options, *deadline, *keys]) == 0
    sent = json.loads(service.requests[0].content)
    assert sent.pop("deadline")
    assert sent == {
        "type": "report",
        "delay_seconds": 5.0,
        "priority": 9,
        "concurrency_key": "c",
        "unique_key": "u",
        "on_conflict": "replace",
        "max_attempts": 2,
        "timeout_seconds": 1.5,
        "labels": {"tenant": "acme"},
    }
    assert service.requests[0].headers["Idempotency-Key"] == '"k"'


def test_a_payload_is_read_from_standard_input_or_a_file(
    service: Handler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"from": "stdin"}'))
    (tmp_path / "payload.json").write_text('{"from": "file"}')
    for argument in ("-", f"@{tmp_path}/payload.json"):
        service.answer(202, task())
        assert main(["submit", "report", argument]) == 0
    sent = [json.loads(request.content)["payload"]["from"] for request in service.requests]
    assert sent == ["stdin", "file"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["submit", "report", "{"],
        ["submit", "report", "[1]"],
        ["submit", "report", '{"a": NaN}'],
        ["submit", "report", "@/nowhere/at/all"],
        ["submit", "report", "--delay", "nan"],
        ["submit", "report", "--delay", "soon"],
        ["submit", "report", "--priority", "high"],
        ["submit", "report", "--run-at", "some day"],
        ["submit", "report", "--label", "tenant"],
        ["list", "--status", "lost"],
        ["list", "--limit", "0"],
        ["list", "--limit", "5", "--all"],
        ["list", "--label", "=acme"],
        ["list", "--order", "random"],
        ["status"],
        ["status", ID, "--wat"],
        ["launch"],
    ],
)
def test_wrong_usage_is_status_2_and_nothing_is_sent(
    service: Handler, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert "_" not in capsys.readouterr().err.splitlines()[-1]
    assert service.requests == []


@pytest.mark.parametrize(
    ("document", "status"), [(succeeded(), 0), (details(status="failed", error="no"), 1)]
)
def test_submit_waits_and_its_status_is_the_task_s(
    service: Handler, out: Callable[[], str], document: dict[str, Any], status: int
) -> None:
    service.answer(202, task())
    service.answer(200, document)
    assert main(["submit", "notification", "--wait"]) == status
    assert f"status: {document['status']}\n" in out()
    assert service.requests[1].headers["Prefer"] == "wait=25"


def test_status_is_a_line_for_each_fact(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, succeeded(error="two\nlines \x1b[31mred"))
    assert main(["status", ID]) == 0
    lines = out().splitlines()
    assert lines[:3] == [f"id: {ID}", "type: notification", "status: success"]
    assert "error: two lines  [31mred" in lines
    assert lines[-1] == "attempt 1: success"


def test_status_shows_log_lines_at_its_end(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, succeeded(log_lines=["charging", "  card\x1b[31m 1234"]))
    assert main(["status", ID, "--logs"]) == 0
    assert out().splitlines()[-3:] == [
        "attempt 1: success",
        "log: charging",
        "log:   card [31m 1234",
    ]
    assert dict(service.requests[0].url.params) == {"logs": "1"}


def test_status_shows_tracebacks_at_its_end(service: Handler, out: Callable[[], str]) -> None:
    attempt = {**succeeded()["history"][0], "attempt": 2, "outcome": "failure", "error": "no"}
    history = [attempt, {**attempt, "attempt": 3, "traceback": "File x\n  raise\x1b[31m"}]
    service.answer(200, details(status="failed", history=history))
    assert main(["status", ID, "--tracebacks"]) == 1
    assert out().splitlines()[-2:] == ["traceback 3: File x", "traceback 3:   raise [31m"]
    assert dict(service.requests[0].url.params) == {"tracebacks": "1"}


def test_log_lines_are_those_of_the_end_that_was_watched(
    service: Handler, out: Callable[[], str]
) -> None:
    service.answer(200, details(status="processing", log_lines=["first"]))
    service.stream(event("e-2", "state", state("success")))
    service.answer(200, succeeded(log_lines=["second"]))
    assert main(["status", ID, "--watch", "--logs", "--json"]) == 0
    assert json.loads(out()) == succeeded(log_lines=["second"])


def test_json_is_the_document_on_one_line(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, succeeded(later_member=1))
    assert main(["status", ID, "--json"]) == 0
    (line,) = out().splitlines()
    assert json.loads(line) == succeeded(later_member=1)


def test_watch_follows_a_task_to_its_end(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, details(status="processing"))
    service.stream(event("e-1", "progress", PROGRESS), event("e-2", "state", state("failed")))
    service.answer(200, details(status="failed", error="no such mailbox"))
    assert main(["status", ID, "--watch"]) == 1
    assert "error: no such mailbox\n" in out()
    assert service.requests[1].url.path == f"/tasks/{ID}/events"


def test_watch_of_a_finished_task_only_shows_it(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, succeeded())
    assert main(["status", ID, "--watch"]) == 0
    assert len(service.requests) == 1


def test_list_is_columns_between_tabs(service: Handler, out: Callable[[], str]) -> None:
    tasks = [summary(), summary(status="failed", error="no\tsuch\nmailbox", attempts=3)]
    service.answer(200, {"tasks": tasks, "next": None})
    assert main(["list", "--status", "failed", "--type", "notification"]) == 0
    assert out().splitlines() == [
        f"{ID}\tpending\tnotification\t{AT}\t0\t",
        f"{ID}\tfailed\tnotification\t{AT}\t3\tno such mailbox",
    ]
    expected = {"status": "failed", "type": "notification", "limit": "50", "summary": "true"}
    assert dict(service.requests[0].url.params) == expected


def rest(number: int, *, exact: bool = True) -> dict[str, Any]:
    return {"count": number, "exact": exact}


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        (rest(1_252), "afterwards: 1,250 more match; --all lists them, too\n"),
        (
            rest(10_000, exact=False),
            "afterwards: at least 9,998 more match; --all lists them, too\n",
        ),
        (rest(2), ""),
        (rest(1, exact=False), "afterwards: more may match; --all looks for them, too\n"),
    ],
)
def test_a_list_that_ends_at_its_limit_says_how_many_more_there_are(
    service: Handler, capsys: pytest.CaptureFixture[str], counted: dict[str, Any], said: str
) -> None:
    service.answer(200, {"tasks": [summary(), summary()], "next": "x"})
    service.answer(200, counted)
    assert main(["list", "--limit", "2", "--status", "failed", "--label", "tenant=acme"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert printed.err == said
    assert service.requests[1].url.path == "/tasks/count"
    assert dict(service.requests[1].url.params) == {"status": "failed", "label": "tenant=acme"}


def test_a_list_of_all_goes_on_to_the_end(
    service: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answer(200, {"tasks": [summary()] * 500, "next": "x"})
    service.answer(200, {"tasks": [], "next": "y"})
    service.answer(200, {"tasks": [summary()], "next": None})
    assert main(["list", "--all"]) == 0
    printed = capsys.readouterr()
    assert (len(printed.out.splitlines()), printed.err) == (501, "")


def test_a_list_by_end_says_what_it_could_not_find(
    service: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answer(200, {"tasks": [summary(status="success")], "next": None})
    service.answer(200, {"count": 20_001, "exact": True})
    assert main(["list", "--order", "finished", "--all"]) == 0
    assert "20,000 more match: by their end only the newest" in capsys.readouterr().err
    assert service.requests[1].url.params.get_list("status") == ["success", "failed", "cancelled"]


def test_a_list_in_an_order_counts_what_the_order_has(service: Handler) -> None:
    service.answer(200, {"tasks": [summary()], "next": "x"})
    service.answer(200, {"count": 1, "exact": True})
    arguments = ["--status", "failed", "--status", "pending", "--limit", "1"]
    assert main(["list", "--order", "due", *arguments]) == 0
    assert service.requests[1].url.params.get_list("status") == ["pending"]


def test_a_list_has_all_conditions(service: Handler) -> None:
    service.answer(200, {"tasks": [], "next": None})
    arguments = ["--status", "failed", "--status", "retrying", "--type", "report", "--type", "file"]
    arguments += ["--label", "tenant=acme", "--label", "plan", "--search", "payload.a=1"]
    arguments += ["--error", "5f0c9a1be27d4c83", "--before", "2026-11-21T00:00:00+00:00"]
    arguments += ["--parent", "p", "--group", "g"]
    arguments += ["--finished-after", "2026-11-21T00:00:00+00:00", "--finished-before", "now"]
    assert main(["list", *arguments, "--json"]) == 0
    sent = service.requests[0].url.params
    assert sent.get_list("status") == ["failed", "retrying"]
    assert sent.get_list("type") == ["report", "file"]
    assert sent.get_list("label") == ["tenant=acme", "plan"]
    assert (sent["q"], sent["error"]) == ("payload.a=1", "5f0c9a1be27d4c83")
    assert (sent["parent"], sent["group"]) == ("p", "g")
    moment = datetime.fromisoformat("2026-11-21T00:00:00+00:00")
    assert datetime.fromisoformat(sent["created_before"]) == moment
    assert datetime.fromisoformat(sent["finished_after"]) == moment
    assert "finished_before" in sent
    assert "summary" not in sent


def test_a_time_without_an_offset_is_local(
    service: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answer(200, {"tasks": [], "next": None})
    assert main(["list", "--after", "2027-01-31T08:00:00"]) == 0
    sent = service.requests[0].url.params["created_after"]
    assert sent.startswith("2027-01-31T08:00:00")
    assert len(sent) > len("2027-01-31T08:00:00")


def test_change_sends_what_is_given(service: Handler, out: Callable[[], str]) -> None:
    for _ in range(2):
        service.answer(200, task(status="scheduled"))
    time = "2027-01-31T08:00:00+00:00"
    assert main(["change", ID, '{"a": 1}', "--type", "report"]) == 0
    assert main(["change", ID, "--run-at", time]) == 0
    assert out() == f"{ID}\n" * 2
    first, second = (json.loads(request.content) for request in service.requests)
    assert first == {"type": "report", "payload": {"a": 1}}
    assert list(second) == ["run_at"]
    assert datetime.fromisoformat(second["run_at"]) == datetime.fromisoformat(time)
    assert {request.method for request in service.requests} == {"PATCH"}


def test_a_change_of_nothing_is_one_line_and_status_2(
    service: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["change", ID]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("it has to say something: a payload, a type or a time")
    assert service.requests == []


def test_tail_shows_each_event_until_the_stream_ends(
    service: Handler, out: Callable[[], str]
) -> None:
    service.answer(200, {"tasks": [], "next": None})
    service.stream(
        event("e-1", "reset", {"counts": {"report": {"success": 2, "failed": 0}, "file": {}}}),
        event("e-2", "state", state("failed", reason="no\nmailbox")),
        event("e-3", "progress", {**PROGRESS, "message": "half"}),
        event("e-4", "task", task()),
    )
    service.answers.append(httpx.Response(204))
    assert main(["tail", "--type", "notification"]) == 0
    assert out().splitlines() == [
        "from here on; tasks now: report: 2 success",
        f"{AT}  {ID}  notification  attempt 1  failed (no mailbox)",
        f"{AT}  {ID}  notification  attempt 1  50% (half)",
        f"{ID}  notification  pending",
    ]


def test_tail_prints_json_for_programs(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, {"tasks": [], "next": None})
    service.stream(event("e-2", "state", state("failed")), event("e-3", "task", task()))
    service.answers.append(httpx.Response(204))
    assert main(["tail", "--json", "--status", "failed", "--status", "success"]) == 0
    assert service.requests[1].url.params.get_list("status") == ["failed", "success"]
    first, second = (json.loads(line) for line in out().splitlines())
    assert first == {"event": "state", "id": "e-2", **state("failed")}
    assert second == {"event": "task", "id": "e-3", "task": task()}


@pytest.mark.parametrize(("status", "document"), [(404, problem(404, "No task x")), (500, None)])
def test_a_refusal_is_one_line_and_status_1(
    service: Handler, capsys: pytest.CaptureFixture[str], status: int, document: Any
) -> None:
    service.answer(status, document)
    assert main(["status", ID]) == 1
    detail = "No task x" if document else "500 Internal Server Error"
    assert capsys.readouterr().err == f"afterwards: {detail}\n"


def test_ctrl_c_is_quiet(service: Handler, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "__call__", _interrupted)
        assert main(["status", ID]) == 130
    assert capsys.readouterr() == ("", "")


def _interrupted(*_: object) -> httpx.Response:
    raise KeyboardInterrupt


def test_the_url_is_the_flag_s_or_the_variable_s(
    service: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        service.answer(200, succeeded())
    assert main(["status", ID]) == 0
    monkeypatch.setenv("AFTERWARDS_URL", "http://variable:1/below/")
    assert main(["status", ID]) == 0
    assert main(["status", ID, "--url", "http://flag:2"]) == 0
    urls = [str(request.url).removesuffix(f"/tasks/{ID}") for request in service.requests]
    assert urls == ["http://127.0.0.1:8000", "http://variable:1/below", "http://flag:2"]


def test_the_key_is_the_variable_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = argparse.Namespace(url="http://127.0.0.1:1")
    for token, shown in (("aw_1", "Bearer aw_1"), ("", None)):
        monkeypatch.setenv("AFTERWARDS_TOKEN", token)
        with remote.client(arguments) as client:
            assert client._headers.get("Authorization") == shown
    monkeypatch.setenv("AFTERWARDS_TOKEN", "s3\ncret")
    assert main(["status", ID]) == 2
    assert "cret" not in capsys.readouterr().err


@pytest.mark.parametrize("url", ["nonsense", "http://a:b", "ftp://x"])
def test_what_is_no_url_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", ID, "--url", url]) == 2
    line = capsys.readouterr().err
    assert line.startswith("afterwards: The URL of the service ")
    assert repr(url) in line


def test_the_variable_s_url_is_judged_as_the_flag_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AFTERWARDS_URL", "http://jo:s3cret@service?q=1")
    assert main(["status", ID]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has a query or a fragment" in line
    assert "cret" not in line


def test_a_service_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", ID, "--url", "http://127.0.0.1:1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("afterwards: No answer from http://127.0.0.1:1/")
    assert "start it with afterwards serve" in line


@pytest.mark.parametrize("missing", ["afterwards_client", "rich"])
def test_without_the_client_one_line_says_how_to_get_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "afterwards.cli.task_commands")
    error = ModuleNotFoundError(missing, name=missing)
    monkeypatch.setattr("builtins.__import__", _without("afterwards.cli.task_commands", error))
    assert main(["status", ID]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"afterwards: status needs {missing}")


def _without(module: str, error: ModuleNotFoundError) -> Callable[..., Any]:
    real = __import__

    def imported(name: str, *rest: Any) -> Any:
        if name == module:
            raise error
        return real(name, *rest)

    return imported


SCRIPT = """
import sys
from afterwards.cli import main
from afterwards.cli import task_commands
from afterwards.cli.commands import Command
from afterwards.cli.remote import to_the_service

def run(arguments, output):
    output.submitted(type("Task", (), {"id": "x"}))

def add_arguments(parser):
    parser.add_argument("--json", action="store_true")

task_commands.COMMANDS["list"] = Command("", add_arguments, to_the_service(run))
sys.exit(main(["list"]))
"""


@pytest.mark.processes
def test_a_reader_that_has_enough_ends_it_quietly() -> None:
    # As `head` does, which closes the pipe while the command writes.
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(write)
    assert (run.returncode, run.stderr) == (141, b"")


@pytest.mark.processes
def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr.startswith(b"afterwards: cannot write the output: ")
    assert run.stderr.count(b"\n") == 1


class TestOnATerminal:
    @pytest.fixture
    def screen(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def terminal(self, screen: io.StringIO) -> Terminal:
        return Terminal(Console(file=screen, force_terminal=True, width=120, highlight=False))

    def test_every_status_has_a_colour(self) -> None:
        assert set(COLOURS) == set(TaskStatus)

    def test_a_stranger_s_text_is_no_markup_and_no_command(
        self, terminal: Terminal, screen: io.StringIO
    ) -> None:
        from afterwards_client import Task, TaskDetails

        error = "[red]no[/red] \x1b]0;title\x07"
        terminal.task(TaskDetails.of(details(status="failed", error=error)))
        terminal.tasks([Task.of(task(status="failed", error=error))])
        assert screen.getvalue().count("[red]no[/red]") == 2
        assert "\x1b]" not in screen.getvalue()

    def test_tracebacks_are_shown_below_the_rest(
        self, terminal: Terminal, screen: io.StringIO
    ) -> None:
        from afterwards_client import TaskDetails

        attempt = {**succeeded()["history"][0], "traceback": "File [b]x[/b]\n  " + "y" * 130}
        terminal.task(TaskDetails.of(details(history=[attempt])))
        lines = screen.getvalue().splitlines()
        assert "traceback of attempt 1" in lines[-3]
        assert lines[-2:] == ["File [b]x[/b]", "  " + "y" * 130]

    def test_log_lines_are_shown_below_the_rest(
        self, terminal: Terminal, screen: io.StringIO
    ) -> None:
        from afterwards_client import TaskDetails

        terminal.task(
            TaskDetails.of(succeeded(log_lines=["[b]charging[/b]\x1b]", "  " + "x" * 130]))
        )
        terminal.task(TaskDetails.of(succeeded(log_lines=[])))
        terminal.task(TaskDetails.of(succeeded()))
        text = screen.getvalue()
        assert "log_lines" not in text
        assert text.count("no log") == 1
        lines = text.splitlines()
        first = lines.index("[b]charging[/b] ]")
        assert "log" in lines[first - 1]
        assert lines[first + 1] == "  " + "x" * 130

    @pytest.mark.parametrize("width", [80, 100, 200])
    def test_ids_stay_whole_however_narrow_it_is(self, width: int, screen: io.StringIO) -> None:
        console = Console(file=screen, width=width, color_system=None)
        from afterwards_client import Task

        failed = Task.of(task(status="failed", error="no such mailbox " * 20))
        Terminal(console).tasks([failed])
        [_, row] = screen.getvalue().splitlines()
        assert row.startswith(f"{ID} ")
        assert len(row) <= width

    def test_no_tasks_are_said_to_be_none(self, terminal: Terminal, screen: io.StringIO) -> None:
        terminal.tasks([])
        assert screen.getvalue() == "no tasks\n"

    def test_watching_shows_how_far_it_is(self, terminal: Terminal, screen: io.StringIO) -> None:
        from afterwards_client.event_stream import Message
        from afterwards_client.events import event_of

        def watched() -> Iterator[Any]:
            for kind, data in (
                ("task", task(status="processing")),
                ("progress", {**PROGRESS, "fraction": 0.42, "message": "[b]half[/b]"}),
            ):
                yield event_of(Message(kind, json.dumps(data), "e-1"))
            yield ResetEvent(id="e-2", counts={})

        terminal.watch(watched())
        assert "42%" in screen.getvalue()
        assert "[b]half[/b]" in screen.getvalue()

    def test_the_rest_is_printed_too(self, terminal: Terminal, screen: io.StringIO) -> None:
        from afterwards_client import Cancellation, CancelOutcome, Task
        from afterwards_client.event_stream import Message
        from afterwards_client.events import event_of

        found = event_of(Message("state", json.dumps(state("failed")), "e-1"))
        assert found is not None
        terminal.submitted(Task.of(task()))
        terminal.cancelled(Cancellation(CancelOutcome.STOPPED, Task.of(task())))
        terminal.event(found)
        assert screen.getvalue().count(ID) == 3
        assert "stopped while it ran" in screen.getvalue()
