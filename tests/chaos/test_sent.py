"""The judge of what was sent finds what is missing, and what nothing explains."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from afterwards.lifecycle import Task, TaskState
from afterwards.webhooks.delivery import delivery
from afterwards.webhooks.notice import notice_of
from tests.chaos.clients import Acknowledged
from tests.chaos.recorders import DOMAIN, Mail, Request
from tests.chaos.sent import check_calls, check_mails, check_notices
from tests.chaos.submissions import HOOKED
from tests.chaos.trials import attempt, evidence, task

TO = "1@example.com"
MAILED = task("m", "email", {"email": TO, "subject": "s", "body": "b"}, attempt=2)
MAIL = Mail(f"<m@{DOMAIN}>", (TO,))
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
CALL = {"method": "POST", "url": "http://127.0.0.1:1/calls/plain", "json": {"name": "1"}}


# -- mails ---------------------------------------------------------------------------------------


def mistakes_of_mails(mails: list[Mail], *outcomes: str) -> list[str]:
    history = [attempt(number, outcome) for number, outcome in enumerate(outcomes, 1)]
    return [*check_mails(mails, evidence(MAILED, m=history), [])]


def test_a_mail_comes_once_and_once_more_for_an_interrupted_attempt() -> None:
    assert mistakes_of_mails([MAIL], "failure", "success") == []
    assert mistakes_of_mails([MAIL, MAIL], "lost", "success") == []
    assert mistakes_of_mails([MAIL], "released", "success") == []


@pytest.mark.parametrize(
    ("mails", "outcomes", "mistake"),
    [
        ([], ("lost", "success"), "no mail of m"),
        ([MAIL, MAIL], ("failure", "success"), "2 times the mail of m"),
        ([MAIL, MAIL, MAIL], ("lost", "success"), "3 times the mail of m"),
        ([MAIL, Mail("<x@other>", (TO,))], ("lost", "success"), "a mail of no task"),
        ([Mail(MAIL.message_id, ("2@example.com",))], ("lost", "success"), "somebody else"),
    ],
)
def test_a_mail_that_is_missing_or_not_explained_is_found(
    mails: list[Mail], outcomes: tuple[str, ...], mistake: str
) -> None:
    [found, *_] = mistakes_of_mails(mails, *outcomes)
    assert mistake in found


def test_a_mail_to_somebody_else_than_was_asked_for_is_found() -> None:
    asked = [Acknowledged("m", "email", {"to": "other@example.com"})]
    [found] = check_mails([MAIL], evidence(MAILED), asked)
    assert "somebody else than other@example.com" in found


# -- calls ---------------------------------------------------------------------------------------


def call(attempt_number: int, status: int = 200, *, key: str = '"c"', name: str = "1") -> Request:
    headers = {"idempotency-key": key, "afterwards-attempt": str(attempt_number)}
    return Request("/calls/plain", headers, json.dumps({"name": name}), status)


def mistakes_of_calls(calls: list[Request], *outcomes: str) -> list[str]:
    history = [attempt(number, outcome) for number, outcome in enumerate(outcomes, 1)]
    called = task("c", "http", CALL, attempt=len(outcomes))
    return [*check_calls(calls, evidence(called, c=history))]


def test_each_attempt_at_a_call_makes_one_and_is_repeated_if_it_was_interrupted() -> None:
    assert mistakes_of_calls([call(1, 503), call(2)], "failure", "success") == []
    assert mistakes_of_calls([call(1, 0), call(2)], "failure", "success") == []
    assert mistakes_of_calls([call(1), call(2)], "lost", "success") == []
    assert mistakes_of_calls([call(2)], "lost", "success") == []


@pytest.mark.parametrize(
    ("calls", "outcomes", "mistake"),
    [
        ([call(1)], ("lost", "success"), "no call of c, attempt 2"),
        ([call(1), call(2)], ("failure", "success"), "explained are [2]"),
        ([call(1), call(2), call(2)], ("lost", "success"), "called twice: [2]"),
        ([call(1), call(1, key="")], ("success",), "a call of no task"),
        ([call(1, name="2")], ("success",), "not what c was to send"),
    ],
)
def test_a_call_that_is_missing_or_not_explained_is_found(
    calls: list[Request], outcomes: tuple[str, ...], mistake: str
) -> None:
    assert any(mistake in found for found in mistakes_of_calls(calls, *outcomes))


# -- notices -------------------------------------------------------------------------------------


ENDED = task("t", "notification", {}, labels=json.dumps(HOOKED))


def delivered(about: Task, task_id: str = "d") -> Task:
    made = delivery(task_id, notice_of(about, "recorded"), 0.0, receiver="r", name="recorded")
    return task(task_id, "webhook", json.loads(made.payload))


def notice(about: Task, *, secret: str = SECRET, status: int = 204) -> Request:
    told = json.loads(notice_of(about, "recorded"))
    body = json.dumps(told["event"])
    at = datetime.fromtimestamp(1_000, UTC)
    headers = {
        "webhook-id": told["id"],
        "webhook-timestamp": "1000",
        "webhook-signature": Webhook(secret).sign(told["id"], at, body),
    }
    return Request("/hooks", headers, body, status, 1_001.0)


def mistakes_of_notices(notices: list[Request], *tasks: Task) -> list[str]:
    return [*check_notices(HOOKED, notices, evidence(ENDED, *tasks), SECRET)]


def test_each_end_has_one_notice_which_may_be_refused_first() -> None:
    delivery_of_it = delivered(ENDED)
    assert mistakes_of_notices([notice(ENDED)], delivery_of_it) == []
    assert mistakes_of_notices([notice(ENDED, status=500), notice(ENDED)], delivery_of_it) == []


ANOTHER = task("t", "notification", {}, labels=json.dumps(HOOKED), finished_at=999.0)
FAILED = task("t", "notification", {}, labels=json.dumps(HOOKED), state=TaskState.FAILED)


@pytest.mark.parametrize(
    ("notices", "tasks", "mistake"),
    [
        ([], [delivered(ENDED)], "no notice of d"),
        ([notice(ENDED)], [], "0 deliveries of t_0_success"),
        ([notice(ENDED)], [delivered(ENDED), delivered(ENDED, "e")], "2 deliveries"),
        ([notice(ENDED), notice(ENDED)], [delivered(ENDED)], "2 times the notice of d"),
        ([notice(ENDED), notice(FAILED)], [delivered(ENDED)], "no end that was committed"),
        ([notice(ANOTHER)], [delivered(ENDED)], "a notice of another end"),
        ([notice(ENDED, secret=SECRET[:-4])], [delivered(ENDED)], "not signed"),
    ],
)
def test_a_notice_that_is_missing_or_of_no_committed_end_is_found(
    notices: list[Request], tasks: list[Task], mistake: str
) -> None:
    assert any(mistake in found for found in mistakes_of_notices(notices, *tasks))
