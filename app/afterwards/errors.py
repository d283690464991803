"""Every error of the service, as a tree. Each names a fact, carries its ids and builds its message.

    AfterwardsError
    ├── ConfigurationError          a setting is wrong; the message names it
    ├── TaskNotFound                no task has this id
    │   └── TaskDeleted             one had, and retention has deleted it
    ├── ArtifactNotFound            the task has no artifact of this name
    │   └── ArtifactGone            it has, and the file is not in its place any more
    ├── UnknownTaskType             no task type has this name
    ├── ScheduleNotFound            no schedule has this name
    ├── ErrorGroupNotFound          no group of failed tasks has this id (any more)
    ├── TooManySchedules            the limit of schedules is reached
    ├── ScheduleDeclared            a task module declares it, and is where to change it
    ├── WebhookNotFound             no webhook has this name
    ├── WebhookDisabled             the webhook is disabled, and is told of nothing
    ├── TooManyWebhooks             the limit of webhooks is reached
    ├── KeyNotFound                 no key has this id
    ├── KeyNotUsable                the key is expired, revoked or rotated already
    ├── KeyNameTaken                a valid key has this name
    ├── TooManyKeys                 the limit of keys is reached
    ├── IllegalTransition           the task's state does not allow this verb
    ├── ChildrenRefused             a task submits more tasks than it may, or too deep
    ├── IdempotencyMismatch         the key was used for another submission
    ├── UniqueKeyTaken              an unfinished task has the unique key
    ├── NotAuthenticated            no key was shown where one is needed
    │   ├── TokenInUrl              a token was, in the URL
    │   └── InvalidKey              one was, and it is unknown, expired or revoked
    │       └── SessionEnded        a browser's session was, and there is none (any more)
    ├── NotAllowed                  the key that was shown does not reach so far
    ├── LimitReached                a limit of the key that was shown is reached
    ├── StaleReport                 a report of an attempt that is not the running one
    ├── NotJoined                   a worker speaks that the registry does not know (yet, any more)
    ├── FileFault                   something is the matter with a file; `path` and `problem` say it
    │   ├── JournalError            the journal's file cannot be used; left untouched
    │   ├── NotDurable              a file is in its place, and a crash may undo that
    │   ├── NotPrivate              what has to be the service's alone may be somebody else's
    │   ├── NotBackedUp             no backup was written; what was at its place still is
    │   └── NotRestored             a backup was not restored; the journal is as it was
    ├── OutcomeUnknown              a commit failed and may be written; the registry ends
    ├── RegistryLocked              another service works on this data directory
    └── Unavailable                 cannot be done now; `retry_after_seconds` says when to ask again
        ├── TooManyUnfinished       the limit of unfinished tasks, or of their bytes, is reached
        ├── JournalUnavailable      the journal cannot be written
        │   ├── JournalLocked       another process has its lock, for a moment perhaps
        │   └── JournalUnreadable   it cannot be read, whether or not it can be written
        ├── RegistryUnavailable     the registry does not answer
        ├── Unvalidated             it is not known whether a task type takes it
        ├── KeysUnknown             the registry has not told yet which keys there are
        ├── ArtifactUnreadable      the disk does not give an artifact's file
        └── Draining                this process is about to stop

They cross process boundaries as values: `args` are what the constructor takes, so that pickle
builds them again, and the message is made on demand. `JournalUnavailable` alone leaves one out.
There is no HTTP here; the table of statuses is in `afterwards.api.problems`.
"""

from __future__ import annotations

import math


class AfterwardsError(Exception):
    """The root: anything the service says no with."""


class ConfigurationError(AfterwardsError):
    """A setting has a wrong value."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(setting, problem)
        self.setting = setting
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}"


class TaskNotFound(AfterwardsError):
    """No task has this id."""

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id

    def __str__(self) -> str:
        return "Task not found"


class TaskDeleted(TaskNotFound):
    """The task was finished, and has been deleted, by hand or by retention."""

    def __str__(self) -> str:
        return f"Task {self.task_id} was finished, and has been deleted"


class ArtifactNotFound(AfterwardsError):
    """The task has no artifact of this name."""

    def __init__(self, task_id: str, name: str) -> None:
        super().__init__(task_id, name)
        self.task_id = task_id
        self.name = name

    def __str__(self) -> str:
        return f"Task {self.task_id} has no artifact {self.name[:200]!r}"


class ArtifactGone(ArtifactNotFound):
    """The task has made the file, and somebody has removed or changed it."""

    def __str__(self) -> str:
        return (
            f"The file of artifact {self.name!r} of task {self.task_id} is not in the output "
            "directory any more, or is not as the task made it"
        )


class UnknownTaskType(AfterwardsError):
    """No task type has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"There is no task type {self.name!r}; its module belongs into AFTERWARDS_TASK_MODULES"
        )


class ScheduleNotFound(AfterwardsError):
    """No schedule has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"There is no schedule {self.name!r}"


class ErrorGroupNotFound(AfterwardsError):
    """No group of failed tasks has this id, or it has no tasks any more."""

    def __init__(self, group_id: str) -> None:
        super().__init__(group_id)
        self.group_id = group_id

    def __str__(self) -> str:
        return f"There is no error group {self.group_id[:100]!r}; it may have no tasks any more"


class TooManySchedules(AfterwardsError):
    """The limit of schedules is reached; nothing was stored."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"There are {self.limit} schedules, which is the limit; delete one first"


class ScheduleDeclared(AfterwardsError):
    """A task module declares the schedule: by hand it is neither changed nor deleted."""

    def __init__(self, name: str, module: str) -> None:
        super().__init__(name, module)
        self.name = name
        self.module = module

    def __str__(self) -> str:
        return (
            f"The schedule {self.name!r} is declared in the task module {self.module}; change it "
            "there and reload, or pause it"
        )


class WebhookNotFound(AfterwardsError):
    """No webhook has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"There is no webhook {self.name[:100]!r}"


class WebhookDisabled(AfterwardsError):
    """The webhook is disabled, and is told of nothing; nothing was done."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"The webhook {self.name!r} is disabled ({self.reason}); enable it first"


class TooManyWebhooks(AfterwardsError):
    """The limit of webhooks is reached; nothing was stored."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"There are {self.limit} webhooks, which is the limit; delete one first"


class KeyNotFound(AfterwardsError):
    """No key has this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id

    def __str__(self) -> str:
        return f"There is no key with the id {self.key_id[:100]!r}"


class KeyNotUsable(AfterwardsError):
    """The key cannot be used for this: `problem` says why, and what to do instead."""

    def __init__(self, key_id: str, problem: str) -> None:
        super().__init__(key_id, problem)
        self.key_id = key_id
        self.problem = problem

    def __str__(self) -> str:
        return f"The key {self.key_id} {self.problem}"


class KeyNameTaken(AfterwardsError):
    """A valid key has this name; nothing was stored."""

    def __init__(self, name: str, key_id: str) -> None:
        super().__init__(name, key_id)
        self.name = name
        self.key_id = key_id

    def __str__(self) -> str:
        return (
            f"The key {self.key_id} has the name {self.name!r}; choose another name, rotate that "
            "key, or revoke it first"
        )


class TooManyKeys(AfterwardsError):
    """The limit of keys is reached, and all are valid; nothing was stored."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"There are {self.limit} valid keys, which is the limit; revoke one first"


class IllegalTransition(AfterwardsError):
    """The task's state does not allow this verb; nothing was changed."""

    def __init__(self, task_id: str, state: str, verb: str) -> None:
        super().__init__(task_id, state, verb)
        self.task_id = task_id
        self.state = state
        self.verb = verb

    def __str__(self) -> str:
        return f"Task {self.task_id} is {self.state} and cannot {self.verb}"


class ChildrenRefused(AfterwardsError):
    """A task cannot submit these further tasks: `problem` says why; nothing was stored."""

    def __init__(self, task_id: str, problem: str) -> None:
        super().__init__(task_id, problem)
        self.task_id = task_id
        self.problem = problem

    def __str__(self) -> str:
        return f"The tasks that it submits are refused: {self.problem}"


class IdempotencyMismatch(AfterwardsError):
    """The idempotency key came before, with another submission; nothing was stored."""

    def __init__(self, key: str, task_id: str) -> None:
        super().__init__(key, task_id)
        self.key = key
        self.task_id = task_id

    def __str__(self) -> str:
        return (
            f"The idempotency key {self.key!r} was used for another submission, which became "
            f"task {self.task_id}; use a new key for a new submission"
        )


class UniqueKeyTaken(AfterwardsError):
    """An unfinished task has the unique key; nothing was done.

    Args:
        key: the unique key.
        task_id: the task that has it; None: one of the same batch, or one that is not told.
    """

    def __init__(self, key: str, task_id: str | None) -> None:
        super().__init__(key, task_id)
        self.key = key
        self.task_id = task_id

    def __str__(self) -> str:
        if self.task_id is None:
            return (
                f"Another task that is unfinished, or in the same batch, has the unique key "
                f"{self.key!r}; use another key"
            )
        return (
            f"Task {self.task_id} is unfinished and has the unique key {self.key!r}; wait for its "
            "end, cancel it, or use another key"
        )


class NotAuthenticated(AfterwardsError):
    """No key was shown where one is needed."""

    def __str__(self) -> str:
        return (
            "This needs a key: send it as 'Authorization: Bearer aw_...'; "
            "`afterwards keys create` makes one"
        )


class InvalidKey(NotAuthenticated):
    """The key that was shown is unknown, expired or revoked; which of them is not told."""

    def __str__(self) -> str:
        return (
            "The key that was sent is unknown, expired or revoked; "
            "`afterwards keys create` makes another"
        )


class SessionEnded(InvalidKey):
    """The browser has shown a session that has ended, or never was."""

    def __str__(self) -> str:
        return "The session has ended; log in again"


class TokenInUrl(NotAuthenticated):
    """A token was sent in the URL, where histories and the logs of proxies keep it."""

    def __str__(self) -> str:
        return (
            "A token is not taken from a URL, which histories and logs keep: send it as "
            "'Authorization: Bearer aw_...'; if it was a valid one, revoke its key"
        )


class NotAllowed(AfterwardsError):
    """The key that was shown does not reach so far; `problem` says what it may, or needs."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class LimitReached(AfterwardsError):
    """A limit of a key is reached; nothing was done.

    Args:
        name: the limit, as `afterwards.access.key.Limits` names it.
        limit: its value.
        used: so much of it is used.
        asked: so much more was asked for.
        retry_after_seconds: when to ask again.
    """

    def __init__(
        self, name: str, limit: float, used: float, asked: float, retry_after_seconds: float
    ) -> None:
        super().__init__(name, limit, used, asked, retry_after_seconds)
        self.name = name
        self.limit = limit
        self.used = used
        self.asked = asked
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return (
            f"The limit {self.name} of the key is {self.limit:g}: {self.used:g} are used, and this "
            f"needs {self.asked:g} more; try again in {math.ceil(self.retry_after_seconds)} s"
        )


class StaleReport(AfterwardsError):
    """A report bears an attempt number that is not the running one; it was dropped."""

    def __init__(self, task_id: str, attempt: int, current: int, state: str) -> None:
        super().__init__(task_id, attempt, current, state)
        self.task_id = task_id
        self.attempt = attempt
        self.current = current
        self.state = state

    def __str__(self) -> str:
        return (
            f"Task {self.task_id} is {self.state} at attempt {self.current}; "
            f"the report of attempt {self.attempt} was dropped"
        )


class NotJoined(AfterwardsError):
    """The registry does not know this worker under this connection; it has to join first."""

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self.worker = worker

    def __str__(self) -> str:
        return f"Worker {self.worker} has not joined under this connection"


class FileFault(AfterwardsError):
    """Something is the matter with the file or directory at `path`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem


class JournalError(FileFault):
    """The journal's file cannot be used. It was left untouched."""

    def __str__(self) -> str:
        return f"The journal {self.path} cannot be used: {self.problem}"


class OutcomeUnknown(AfterwardsError):
    """A commit failed so that its transaction may be written; only the next recovery knows.

    It ends the registry process, and is told to the log alone.

    Args:
        problem: SQLite's message, and the name of its code.
        place: the journal's path.
    """

    def __init__(self, problem: str, place: str) -> None:
        super().__init__(problem, place)
        self.problem = problem
        self.place = place

    def __str__(self) -> str:
        return (
            f"The last transaction of {self.place} is written or not, and only its recovery will "
            f"tell: {self.problem}"
        )


class RegistryLocked(AfterwardsError):
    """Another service, with the process `pid` (0: not known), works on this data directory."""

    def __init__(self, data_dir: str, pid: int) -> None:
        super().__init__(data_dir, pid)
        self.data_dir = data_dir
        self.pid = pid

    def __str__(self) -> str:
        process = f"process {self.pid}" if self.pid else "its process is not known"
        return (
            f"the data directory {self.data_dir} is in use by another service "
            f"({process}); stop that one, or set AFTERWARDS_DATA_DIR to another directory"
        )


class NotDurable(FileFault):
    """The file at `path` is whole and in its place; whether it outlasts a crash is not known."""

    def __str__(self) -> str:
        return (
            f"{self.path} is in its place, but a crash of the machine may undo that: "
            f"{self.problem}; look after the disk before relying on it"
        )


class NotPrivate(FileFault):
    """A file or directory that has to be the service's alone may be somebody else's."""

    def __str__(self) -> str:
        return f"{self.path} is not trusted: {self.problem}; remove it and start the service again"


class NotBackedUp(FileFault):
    """No backup was written to `path`; what was there still is."""

    def __str__(self) -> str:
        return f"No backup was written to {self.path}: {self.problem}"


class NotRestored(FileFault):
    """The backup at `path` was not restored; the journal is as it was."""

    def __str__(self) -> str:
        return f"{self.path} was not restored: {self.problem}"


class NotReloaded(AfterwardsError):
    """The service has no new generation of task code; what it had goes on."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The task code is not renewed: {self.problem}"


class Unavailable(AfterwardsError):
    """Cannot be done now; worth asking again after `retry_after_seconds`."""

    retry_after_seconds: float = 1.0


class TooManyUnfinished(Unavailable):
    """The limit of unfinished tasks, or of payloads, is reached; nothing was stored."""

    def __init__(self, limit: int, unit: str, retry_after_seconds: float) -> None:
        super().__init__(limit, unit, retry_after_seconds)
        self.limit = limit
        self.unit = unit
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return (
            f"The limit of {self.limit} {self.unit} is reached; "
            f"try again in {self.retry_after_seconds:.0f} s"
        )


class JournalUnavailable(Unavailable):
    """The journal cannot be written, for example because the disk is full.

    Args:
        problem: what is said to clients.
        place: what is said to the log alone. It is not in `args`: another process, which answers
            clients, never has it.
    """

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place
        self.retry_after_seconds = 5.0

    def __str__(self) -> str:
        return f"The journal cannot be written: {self.problem}"


class JournalLocked(JournalUnavailable):
    """Another process has the journal's lock: worth another try very soon. Nothing was stored."""


class JournalUnreadable(JournalUnavailable):
    """The journal cannot be read. What does not have to be read can perhaps be done."""

    def __str__(self) -> str:
        return f"The journal cannot be read: {self.problem}"


class RegistryUnavailable(Unavailable):
    """The registry did not answer in time; the request was carried out or not."""

    def __str__(self) -> str:
        return (
            "The task registry does not answer. Whether this was carried out is not known; with an "
            "Idempotency-Key a submission can be repeated safely"
        )


class Unvalidated(Unavailable):
    """The payload could not be validated; nothing was stored."""

    def __init__(self, type_name: str, problem: str) -> None:
        super().__init__(type_name, problem)
        self.type_name = type_name
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"The payload for task type {self.type_name!r} was not validated: {self.problem}; "
            "try again"
        )


class KeysUnknown(Unavailable):
    """The registry has not told this process yet which keys there are."""

    def __str__(self) -> str:
        return "This worker does not know the keys of the service yet; try again in 1 s"


class ArtifactUnreadable(Unavailable):
    """The file of an artifact cannot be opened just now."""

    def __init__(self, task_id: str, name: str, problem: str) -> None:
        super().__init__(task_id, name, problem)
        self.task_id = task_id
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"Artifact {self.name!r} of task {self.task_id} cannot be read: {self.problem}"


class Draining(Unavailable):
    """This process is about to stop."""

    def __str__(self) -> str:
        return "The service is stopping; try again when it is up again"
