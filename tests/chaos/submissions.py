"""The submissions of a run: by kind, each with what it has to come to."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Body = Mapping[str, Any] | None

HOOKED: Final = {"told": "webhook"}
CALLED_BACK: Final = {"told": "callback"}
"""The labels of the tasks that notices are sent of."""

PICTURE_BYTES: Final = 256 * 1024
KEYS: Final = 6
"""So few keys that tasks wait for each."""


@dataclass(frozen=True)
class Submission:
    """One request, and what is kept of it to compare with."""

    kind: str
    path: str
    body: Body
    content: Mapping[str, Any] = field(default_factory=dict)
    """The content that its effect has to have."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Maker:
    """Makes the submissions of one client.

    Args:
        name: of the client; no other has it.
        url: of the recording server of HTTP.
    """

    rng: random.Random
    name: str
    url: str

    def make(self, number: int) -> Submission:
        """The next submission; kinds with few slots come seldom."""
        [kind] = self.rng.choices([*_MAKERS], [weight for weight, _ in _MAKERS.values()])
        made: Submission = _MAKERS[kind][1](self, kind, f"{self.name}-{number}")
        return made

    # -- the routes of their own -------------------------------------------------------------------

    def notification(self, kind: str, name: str) -> Submission:
        simulated = {"flaky": "flaky@simulator.example", "bounce": "bounce@simulator.example"}
        to = simulated.get(kind, f"{name}@example.com")
        content = {} if kind in simulated else {"to": to}
        return Submission(kind, "/notify/", {"email": to, "message": name}, content)

    def bare(self, kind: str, name: str) -> Submission:
        return Submission(kind, "/api/notifications/notify", None)

    def email(self, kind: str, name: str) -> Submission:
        to = f"{name}@example.com"
        body = {"email": to, "subject": name, "body": "b"}
        return Submission(kind, "/send-email", body, {"to": to})

    def file(self, kind: str, name: str) -> Submission:
        content = {"name": name, "random": self.rng.random()}
        return Submission(kind, "/file/", {"content": content}, content)

    def report(self, kind: str, name: str) -> Submission:
        return Submission(kind, "/report/", {"name": name, "details": {"name": name}})

    # -- any type ----------------------------------------------------------------------------------

    def nap(self, kind: str, name: str) -> Submission:
        return _task(kind, kind, {"seconds": 0.3})

    def call(self, kind: str, name: str) -> Submission:
        content = {"name": name}
        return _task(kind, "http", _call(f"{self.url}/calls/{kind}", content), content)

    def hooked(self, kind: str, name: str) -> Submission:
        # A notice says how its task has ended.
        to = "bounce@simulator.example" if kind in ENDS_BADLY else "a@simulator.example"
        payload = {"email": to, "message": name}
        return _task(kind, "notification", payload, labels=HOOKED)

    def called_back(self, kind: str, name: str) -> Submission:
        callback = {"url": f"{self.url}/callbacks"}
        return _task(kind, "nap", {"seconds": 0.1}, labels=CALLED_BACK, callback=callback)

    def picture(self, kind: str, name: str) -> Submission:
        return _task(kind, kind, {"size": PICTURE_BYTES})

    def family(self, kind: str, name: str) -> Submission:
        payload = {"name": name, "url": f"{self.url}/calls/child"}
        return _task(kind, kind, payload, {"name": name})

    def keyed(self, kind: str, name: str) -> Submission:
        key = f"{kind}-{self.rng.randrange(KEYS)}"
        return _task(kind, kind, {"key": key}, concurrency_key=key)

    def unique(self, kind: str, name: str) -> Submission:
        key = f"unique-{self.rng.randrange(KEYS)}"
        # Some wait for their time, so there is something to replace.
        delay = self.rng.choice([0, 0.5])
        conflict = self.rng.choice(["existing", "reject", "replace"])
        return _task(
            kind, "alone", {"key": key}, unique_key=key, on_conflict=conflict, delay_seconds=delay
        )

    def group(self, kind: str, name: str) -> Submission:
        call = _call(f"{self.url}/calls/member", {"name": f"{name}/call"})
        tasks = [
            {"type": "leaf", "payload": {"name": f"{name}/leaf"}},
            {"type": "http", "payload": call},
            {"type": "draw", "payload": {"size": PICTURE_BYTES}},
            _BOUNCE,
        ]
        then = {"type": "gather", "payload": {"name": name}, "on": "finished"}
        # Sent until it is acknowledged, and accepted once.
        headers = {"Idempotency-Key": name}
        return Submission(kind, "/tasks/batch", {"tasks": tasks, "then": then}, headers=headers)


def _task(
    kind: str,
    type_name: str,
    payload: Mapping[str, Any],
    content: Mapping[str, Any] | None = None,
    **members: Any,
) -> Submission:
    body = {"type": type_name, "payload": payload, **members}
    return Submission(kind, "/tasks", body, content or {})


_BOUNCE: Final = {
    "type": "notification",
    "payload": {"email": "bounce@simulator.example", "message": ""},
}


def _call(url: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": "POST", "url": url, "json": content}


_Make = Callable[[Maker, str, str], Submission]
_MAKERS: Final[Mapping[str, tuple[int, _Make]]] = {
    "notification": (5, Maker.notification),
    "flaky": (1, Maker.notification),
    "bounce": (1, Maker.notification),
    "bare": (1, Maker.bare),
    "email": (4, Maker.email),
    "file": (4, Maker.file),
    "report": (1, Maker.report),
    "nap": (4, Maker.nap),
    "nap-thread": (2, Maker.nap),
    "plain": (3, Maker.call),
    "busy": (1, Maker.call),
    "cut": (1, Maker.call),
    "hooked": (2, Maker.hooked),
    "hooked-bounce": (1, Maker.hooked),
    "called-back": (2, Maker.called_back),
    "draw": (2, Maker.picture),
    "draw-thread": (1, Maker.picture),
    "family": (1, Maker.family),
    "family-thread": (1, Maker.family),
    "family-process": (1, Maker.family),
    "alone": (3, Maker.keyed),
    "in-twos": (2, Maker.keyed),
    "unique": (3, Maker.unique),
    "group": (1, Maker.group),
}
"""By kind: how often it comes, and what makes it."""

ENDS_BADLY: Final = frozenset({"bounce", "hooked-bounce"})
"""Kinds that fail, whatever happens."""

MAY_BE_REPLACED: Final = frozenset({"unique"})
"""Kinds that another submission may cancel."""

MEMBERS: Final = ("member-leaf", "member-call", "draw", "bounce")
"""The kinds of a group's members, in their order."""

FOLLOWER: Final = "gather"
"""The kind of the task that follows a group."""
