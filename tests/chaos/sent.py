"""The judge of what was sent: mails, calls and notices, by their counts.

An effect may have happened once for the attempt that has succeeded, and once for each attempt that
the history says was interrupted, because it is not known how far such an attempt came. An attempt
that has failed knows that it has had none.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from afterwards.lifecycle import Task, TaskState
from tests.chaos.clients import Acknowledged
from tests.chaos.evidence import Evidence
from tests.chaos.recorders import Mail, Recorders, Request
from tests.chaos.submissions import CALLED_BACK, HOOKED

SIMULATED: Final = "@simulator.example"
LATE_SECONDS: Final = 60.0
"""From the signature of a notice to its arrival, on a slow machine."""


@dataclass(frozen=True)
class Sent:
    """All that has reached the recording servers."""

    mails: Sequence[Mail]
    calls: Sequence[Request]
    hooks: Sequence[Request]
    callbacks: Sequence[Request]

    @classmethod
    def of(cls, recorders: Recorders) -> Sent:
        """Read what they have written down."""
        return cls(
            recorders.mails(),
            recorders.requests("/calls"),
            recorders.requests("/hooks"),
            recorders.requests("/callbacks"),
        )


# -- mails ---------------------------------------------------------------------------------------


def check_mails(
    mails: Iterable[Mail], evidence: Evidence, acknowledged: Iterable[Acknowledged]
) -> Iterator[str]:
    """Every mail has come, to the right address, and more often only for interrupted attempts."""
    by_task: dict[str, list[Mail]] = defaultdict(list)
    for mail in mails:
        if mail.task_id not in evidence.tasks:
            yield f"a mail of no task: {mail}"
        by_task[mail.task_id].append(mail)
    for task in evidence.of_type("email", "notification"):
        to = json.loads(task.payload)["email"]
        found = by_task.get(task.id, [])
        if to.endswith(SIMULATED):
            if found:
                yield f"a simulated mail was sent: {task.id}"
            continue
        yield from _check_number("mail", len(found), task, evidence)
        if any(mail.recipients != (to,) for mail in found):
            yield f"a mail to somebody else than {to}: {found}"
    for one in acknowledged:
        wanted = one.content.get("to")
        if any(mail.recipients != (wanted,) for mail in by_task[one.task_id] if wanted):
            yield f"a mail to somebody else than {wanted}: {by_task[one.task_id]}"


def _check_number(what: str, number: int, task: Task, evidence: Evidence) -> Iterator[str]:
    has_succeeded = task.state is TaskState.SUCCESS
    most = has_succeeded + len(evidence.interrupted(task.id))
    if has_succeeded and not number:
        yield f"no {what} of {task.id}"
    if number > most:
        yield f"{number} times the {what} of {task.id}, explained are {most}"


# -- calls ---------------------------------------------------------------------------------------


def check_calls(calls: Iterable[Request], evidence: Evidence) -> Iterator[str]:
    """Every call has come under its key; each attempt made one, and its history says why."""
    by_task: dict[str, list[Request]] = defaultdict(list)
    for call in calls:
        task = evidence.tasks.get(call.task_id)
        if task is None or task.type != "http":
            yield f"a call of no task: {call}"
        else:
            by_task[task.id].append(call)
    for task in evidence.of_type("http"):
        yield from _check_calls_of(task, by_task.get(task.id, []), evidence)


def _check_calls_of(task: Task, calls: Sequence[Request], evidence: Evidence) -> Iterator[str]:
    payload = json.loads(task.payload)
    taken = [call.attempt for call in calls if call.was_taken]
    explained = evidence.interrupted(task.id) | evidence.successful(task.id)
    if task.state is TaskState.SUCCESS and task.attempt not in taken:
        yield f"no call of {task.id}, attempt {task.attempt}"
    if not explained.issuperset(taken):
        yield f"calls of {task.id} at {sorted(taken)}, explained are {sorted(explained)}"
    repeated = [number for number, times in Counter(c.attempt for c in calls).items() if times > 1]
    if repeated:
        yield f"attempts of {task.id} that have called twice: {repeated}"
    for call in calls:
        if not payload["url"].endswith(call.path) or json.loads(call.body) != payload["json"]:
            yield f"not what {task.id} was to send: {call}"


# -- notices -------------------------------------------------------------------------------------


def check_notices(
    label: Mapping[str, str], notices: Sequence[Request], evidence: Evidence, secret: str
) -> Iterator[str]:
    """One notice of each task with a label, of its committed end, and of no other.

    Args:
        label: `HOOKED` or `CALLED_BACK`.
    """
    ended = {
        f"{task.id}_{task.retries}_{task.state.value}": task
        for task in evidence.tasks.values()
        if task.type != "webhook" and label.items() <= json.loads(task.labels or "{}").items()
    }
    deliveries = _deliveries(evidence, named=label == HOOKED)
    told: dict[str, list[Request]] = defaultdict(list)
    for notice in notices:
        told[notice.headers.get("webhook-id", "")].append(notice)
    for notice_id in told.keys() - ended.keys():
        yield f"a notice of no end that was committed: {told[notice_id][0]}"
    for notice_id, task in ended.items():
        found = deliveries.get(notice_id, [])
        if len(found) != 1:
            yield f"{len(found)} deliveries of {notice_id}"
            continue
        taken = [one for one in told[notice_id] if one.was_taken]
        yield from _check_number("notice", len(taken), found[0], evidence)
        if found[0].state is not TaskState.SUCCESS:
            yield f"the delivery of {notice_id} is {found[0].state}: {found[0].error}"
        for notice in told[notice_id]:
            yield from _check_notice(notice, task, secret)


def _deliveries(evidence: Evidence, *, named: bool) -> Mapping[str, Sequence[Task]]:
    """The deliveries to a webhook, or those to callbacks, by the ids of their notices."""
    found: dict[str, list[Task]] = defaultdict(list)
    for task in evidence.deliveries:
        payload = json.loads(task.payload)
        if (payload["webhook"] is not None) == named:
            found[payload["id"]].append(task)
    return found


def _check_notice(notice: Request, task: Task, secret: str) -> Iterator[str]:
    headers = notice.headers
    signed_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    signature = Webhook(secret).sign(headers["webhook-id"], signed_at, notice.body)
    if signature not in headers["webhook-signature"].split(" "):
        yield f"a notice that is not signed as it has to be: {notice}"
    if not 0 <= notice.received_at - signed_at.timestamp() < LATE_SECONDS:
        yield f"a notice that was not signed for this attempt: {notice}"
    data = json.loads(notice.body)["data"]
    finished_at = datetime.fromtimestamp(task.finished_at or 0.0, UTC)
    shown = finished_at.isoformat(timespec="milliseconds")[:-6] + "Z"
    if (data["id"], data["status"], data["finished_at"]) != (task.id, task.state.value, shown):
        yield f"a notice of another end than that of {task.id} at {shown}: {data}"


def check_sent(
    sent: Sent,
    evidence: Evidence,
    acknowledged: Sequence[Acknowledged],
    *,
    hook_secret: str,
    callback_secret: str,
) -> Iterator[str]:
    """All of it."""
    yield from check_mails(sent.mails, evidence, acknowledged)
    yield from check_calls(sent.calls, evidence)
    yield from check_notices(HOOKED, sent.hooks, evidence, hook_secret)
    yield from check_notices(CALLED_BACK, sent.callbacks, evidence, callback_secret)


def summary(sent: Sent, evidence: Evidence) -> list[str]:
    """For people: how often each kind of effect was had, and had again."""
    taken = {
        "mails": [mail.task_id for mail in sent.mails],
        "calls": [call.task_id for call in sent.calls if call.was_taken],
        "notices": [one.headers["webhook-id"] for one in sent.hooks if one.was_taken],
        "callbacks": [one.headers["webhook-id"] for one in sent.callbacks if one.was_taken],
    }
    lines = [
        f"{name:22}{len(ids)}, {len(ids) - len(set(ids))} of them again"
        for name, ids in taken.items()
    ]
    interrupted = sum(len(evidence.interrupted(task_id)) for task_id in evidence.histories)
    kinds = Counter(task.type for task in evidence.tasks.values())
    return [
        *lines,
        f"attempts interrupted  {interrupted}",
        f"tasks by type         {dict(sorted(kinds.items()))}",
    ]
