"""Retry, cancel, run and delete: one task, several, and all that match."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from afterwards.cli import main
from tests.client.conftest import Handler
from tests.client.documents import ID, bulk, problem, succeeded, task

OTHER = "0b9a3a52-27cd-4e0f-8a43-8c7f6a1d9e02"
VERBS = ("retry", "cancel", "run", "delete")


def done(**members: Any) -> dict[str, Any]:
    return bulk(**{"retried": 0, "cancelled": 0, "requested": 0, "run": 0, "deleted": 0, **members})


def sent(service: Handler) -> list[dict[str, Any]]:
    return [json.loads(request.content) for request in service.requests]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A terminal, at which somebody writes this."""

    def at_the_terminal(text: str) -> None:
        terminal = io.StringIO(text)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)

    return at_the_terminal


# -- one task ----------------------------------------------------------------------------------


def test_retry_sends_another_payload_if_there_is_one(
    service: Handler, out: Callable[[], str]
) -> None:
    service.answer(202, task())
    assert main(["retry", ID, '{"a": 1}']) == 0
    assert out() == f"{ID}\n"
    assert sent(service) == [{"payload": {"a": 1}}]


def test_retry_moves_the_task_to_another_type_if_one_is_given(service: Handler) -> None:
    service.answer(202, task())
    assert main(["retry", ID, "--new-type", "report"]) == 0
    assert sent(service) == [{"new_type": "report"}]


def test_retry_may_be_due_later_and_waits_if_it_shall(
    service: Handler, out: Callable[[], str]
) -> None:
    service.answer(202, task())
    service.answer(200, succeeded())
    assert main(["retry", ID, "--run-at", "2027-01-31T08:00:00+00:00", "--wait"]) == 0
    (body,) = [json.loads(service.requests[0].content)]
    due = datetime.fromisoformat("2027-01-31T08:00:00+00:00")
    assert datetime.fromisoformat(body["run_at"]) == due
    assert "status: success\n" in out()


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("prevented", 0), ("stopped", 0), ("requested", 0), ("finished", 1), ("unstoppable", 1)],
)
def test_cancel_says_what_became_of_it(
    service: Handler, out: Callable[[], str], outcome: str, status: int
) -> None:
    service.answer(200, {"outcome": outcome, "task": task()})
    assert main(["cancel", ID]) == status
    assert out().startswith(f"{ID}: ")


@pytest.mark.parametrize(
    ("outcome", "more", "status"),
    [
        ("prevented", False, 0),
        ("finished", False, 0),
        ("unstoppable", False, 1),
        ("prevented", True, 1),
    ],
)
def test_cancel_takes_what_belongs_to_the_task_and_says_what_is_left(
    service: Handler, out: Callable[[], str], outcome: str, more: bool, status: int
) -> None:
    children = {"cancelled": 1200, "requested": 1, "more": more}
    service.answer(200, {"outcome": outcome, "task": task(), "children": children})
    assert main(["cancel", ID, "--children"]) == status
    assert service.requests[0].url.query == b"children=1"
    line = out()
    assert "; children: 1,200 cancelled, 1 asked to stop" in line
    assert ("cancel it once more" in line) is more


def test_cancel_prints_the_document_of_the_api(service: Handler, out: Callable[[], str]) -> None:
    children = {"cancelled": 2, "requested": 0, "more": False}
    for document in ({"children": children}, {"children": None}):
        service.answer(200, {"outcome": "stopped", "task": task(), **document})
        assert main(["cancel", ID, "--json"]) == 0
        assert json.loads(out()) == {"outcome": "stopped", "task": task(), **document}


def test_a_task_is_run_and_deleted_without_a_question(
    service: Handler, out: Callable[[], str]
) -> None:
    service.answer(200, task())
    assert main(["run", ID]) == 0
    service.answers = [httpx.Response(204), httpx.Response(204)]
    assert main(["delete", ID]) == 0
    assert main(["delete", ID, "--json"]) == 0
    first, second, third = out().splitlines()
    assert (first, second) == (ID, f"{ID}: deleted")
    assert json.loads(third) == {"id": ID, "deleted": True}
    assert [(r.method, r.url.path) for r in service.requests] == [
        ("POST", f"/tasks/{ID}/run"),
        ("DELETE", f"/tasks/{ID}"),
        ("DELETE", f"/tasks/{ID}"),
    ]


def test_a_task_that_cannot_be_deleted_is_one_line_and_status_1(
    service: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answer(409, problem(409, "It is pending"))
    assert main(["delete", ID]) == 1
    assert capsys.readouterr().err == "afterwards: It is pending\n"


# -- several, by their ids ---------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_several_ids_are_one_request_without_a_question(service: Handler, verb: str) -> None:
    service.answer(200, done(matched=2, retried=2, cancelled=2, run=2, deleted=2))
    assert main([verb, ID, OTHER]) == 0
    assert service.requests[0].url.path == f"/tasks/{verb}"
    assert sent(service) == [{"ids": [ID, OTHER], "dry_run": False}]


def test_an_id_that_was_left_out_is_status_1(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, done(matched=2, cancelled=1, skipped=1))
    assert main(["cancel", ID, OTHER]) == 1
    assert "cancelled: 1\n" in out()


def test_a_payload_after_several_ids_is_for_all(service: Handler) -> None:
    service.answer(200, done(matched=2, retried=2))
    assert main(["retry", ID, OTHER, '{"a": 1}', "--new-type", "report"]) == 0
    expected = {"ids": [ID, OTHER], "payload": {"a": 1}, "new_type": "report", "dry_run": False}
    assert sent(service) == [expected]


def test_ids_can_be_counted_only(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, done(dry_run=True, matched=1))
    assert main(["delete", ID, "--dry-run", "--json"]) == 0
    assert json.loads(out())["matched"] == 1
    assert [body["dry_run"] for body in sent(service)] == [True]


# -- all that match ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_what_matches_is_counted_then_agreed_to_then_done(
    service: Handler,
    answer: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    answer("y\n")
    service.answer(200, done(dry_run=True, matched=1_234))
    service.answer(200, done(matched=1_234, retried=1_234, run=1_234, deleted=1_234))
    conditions = ["--type", "report", "--label", "tenant=acme", "--search", "needle"]
    assert main([verb, *conditions]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"{verb} 1,234 tasks? [y/N] "
    assert "matched: 1234\n" in printed.out
    chosen = {"type": ["report"], "label": ["tenant=acme"], "q": "needle"}
    assert sent(service) == [
        {**chosen, "limit": 10_000, "dry_run": True},
        {**chosen, "limit": 1_234, "dry_run": False},
    ]


@pytest.mark.parametrize("verb", ["cancel", "run"])
def test_tasks_that_wait_for_a_further_attempt_can_be_chosen(service: Handler, verb: str) -> None:
    service.answer(200, done(dry_run=True))
    assert main([verb, "--status", "retrying", "--dry-run"]) == 0
    assert sent(service)[0]["status"] == ["retrying"]


@pytest.mark.parametrize("text", ["n\n", "\n", "", "yesterday\n"])
def test_without_agreement_nothing_is_done(
    service: Handler,
    answer: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    text: str,
) -> None:
    answer(text)
    service.answer(200, done(dry_run=True, matched=1))
    assert main(["delete", "--status", "success"]) == 1
    assert capsys.readouterr().err.endswith(
        "delete 1 task? [y/N] afterwards: nothing was changed\n"
    )
    assert len(service.requests) == 1


def test_where_nobody_can_be_asked_yes_has_to_be_said(
    service: Handler, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    service.answer(200, done(dry_run=True, matched=12))
    assert main(["retry", "--error", "5f0c9a1be27d4c83"]) == 1
    assert "12 tasks match; to retry without a question, add --yes" in capsys.readouterr().err
    service.answer(200, done(dry_run=True, matched=12))
    service.answer(200, done(matched=12, retried=12))
    assert main(["retry", "--error", "5f0c9a1be27d4c83", "--yes"]) == 0
    assert sent(service)[-1] == {"error": "5f0c9a1be27d4c83", "limit": 12, "dry_run": False}


def test_more_than_a_request_takes_up_is_done_to_the_end(
    service: Handler, out: Callable[[], str]
) -> None:
    service.answer(200, done(dry_run=True, matched=25_000, more=True))
    for matched, more in ((10_000, True), (10_000, True), (5_000, False)):
        service.answer(200, done(matched=matched, retried=matched, more=more))
    assert main(["retry", "--status", "failed", "--yes", "--json"]) == 0
    assert json.loads(out()) == bulk(matched=25_000, retried=25_000)


def test_a_limit_is_kept(service: Handler) -> None:
    service.answer(200, done(dry_run=True, matched=25_000, more=True))
    service.answer(200, done(matched=5, cancelled=5, more=True))
    assert main(["cancel", "--all", "--limit", "5", "--yes"]) == 0
    assert sent(service)[-1] == {"limit": 5, "dry_run": False}


def test_what_matches_nothing_is_no_question(
    service: Handler, answer: Callable[[str], None], out: Callable[[], str]
) -> None:
    answer("y\n")
    service.answer(200, done(dry_run=True))
    assert main(["run", "--type", "report"]) == 0
    assert out().startswith("dry_run: no\nmatched: 0\n")
    assert len(service.requests) == 1


def test_a_dry_run_only_counts(service: Handler, out: Callable[[], str]) -> None:
    service.answer(200, done(dry_run=True, matched=7))
    assert main(["delete", "--finished-before", "30d", "--dry-run"]) == 0
    assert out().splitlines()[:2] == ["dry_run: yes", "matched: 7"]


def test_what_the_service_has_not_ended_is_status_1(service: Handler) -> None:
    service.answer(200, done(dry_run=True, matched=7))
    service.answer(200, done(matched=2, deleted=2, more=True, interrupted="The service stops"))
    assert main(["delete", "--status", "failed", "--yes"]) == 1


def test_all_that_can_be_deleted_are_named_by_their_states(service: Handler) -> None:
    service.answer(200, done(dry_run=True, matched=7))
    service.answer(200, done(matched=7, deleted=7))
    assert main(["delete", "--all", "--yes"]) == 0
    assert [body["status"] for body in sent(service)] == [["success", "failed", "cancelled"]] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cancel"], "cancel needs the ids of tasks, conditions such as --type report, or --all"),
        (["delete", "--yes"], "delete needs the ids"),
        (["cancel", ID, "--type", "report"], "give ids or conditions, not both"),
        (["cancel", ID, "--all"], "give ids or conditions, not both"),
        (["run", "--all", "--type", "report"], "give conditions or --all, not both"),
        (["cancel", ID, OTHER, "--children"], "--children is for one task"),
        (["cancel", ID, "--children", "--dry-run"], "--children is for one task"),
        (["cancel", "--type", "report", "--children"], "--children is for one task"),
        (["retry", ID, OTHER, "--wait"], "--wait and --run-at are for one task"),
        (["retry", "--all", "--run-at", "2h"], "--wait and --run-at are for one task"),
    ],
)
def test_arguments_that_do_not_say_what_to_do_are_status_2(
    service: Handler, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"afterwards: {said}")
    assert service.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry", ID, "{"],
        ["retry", ID, "[1]"],
        ["retry", ID, "@/nowhere/at/all"],
        ["cancel", "--status", "success"],
        ["delete", "--status", "pending"],
        ["run", "--limit", "0"],
        ["retry", "--after", "some day"],
    ],
)
def test_wrong_usage_is_status_2_and_nothing_is_sent(
    service: Handler, arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert service.requests == []
