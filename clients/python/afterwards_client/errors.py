"""The errors of the client, as a tree.

AfterwardsClientError
├── WrongEnvironment     a proxy or certificates in the environment cannot be used
├── InvalidArgument      an argument that no request can carry (also a ValueError)
│   └── InvalidKey       an idempotency key that no header can carry
├── InvalidSecret        a webhook's secret is not one (also a ValueError)
├── InvalidWebhook       a request that is no webhook of the service, or not of now
├── ConnectionFailed     no answer, after all attempts
├── UnexpectedAnswer     an answer that is not of this service, or of another version
├── WaitTimeout          the task was not finished in time (also a TimeoutError)
├── TaskFailed           the task ended without a result
└── ApiError             the service said no; the problem document's members
    ├── Invalid          400, 413, 415, 422: the request is wrong and will stay so
    ├── NotFound         404: no such task, or whatever was named
    ├── Gone             410: there was one; it was deleted, by hand or by retention
    ├── Conflict         409: the state of things does not allow it
    └── Unavailable      429, 502, 503, 504: later perhaps

All of them can be pickled and copied: a process of a pool may raise one. Their URLs have no
password.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from afterwards_client.urls import without_password

if TYPE_CHECKING:
    from afterwards_client.tasks import Task


_MOST_SHOWN: Final = 40


class AfterwardsClientError(Exception):
    """Anything this package raises, except for wrong arguments of a client itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made again from its message alone, and these are made of more.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    error_class: type[AfterwardsClientError], args: tuple[Any, ...], members: dict[str, Any]
) -> AfterwardsClientError:
    error = error_class.__new__(error_class, *args)
    error.args = args
    error.__dict__.update(members)
    return error


class WrongEnvironment(AfterwardsClientError):
    """A variable about proxies or certificates has a value that cannot be used: see `variables`."""

    def __init__(self, names: Sequence[str], problem: str) -> None:
        super().__init__(f"{' or '.join(names)} cannot be used: {problem}")
        self.variables = tuple(names)


class InvalidArgument(AfterwardsClientError, ValueError):
    """An argument cannot be sent at all: the service was not asked."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"The {name} cannot be sent: {problem}")


class InvalidKey(InvalidArgument):
    """An idempotency key is 1 to 255 characters of ASCII that can be seen, or spaces."""

    def __init__(self, key: str) -> None:
        problem = "1 to 255 printable ASCII characters can"
        super().__init__(f"idempotency key {shortened(key)!r}", problem)


class InvalidSecret(AfterwardsClientError, ValueError):
    """A webhook's secret is not one. The message does not show it."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The webhook's secret is wrong: {problem}. Give it as the service showed it: whsec_…"
        )


class InvalidWebhook(AfterwardsClientError):
    """A request is no webhook of the service, or was not sent now: answer 400."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The webhook is refused: {problem}")


class ConnectionFailed(AfterwardsClientError):
    """No answer; the cause is httpx's error. A submission may have been accepted all the same."""

    def __init__(self, url: str, cause: str) -> None:
        self.url = without_password(url)
        super().__init__(f"No answer from {self.url}: {cause}")


class UnexpectedAnswer(AfterwardsClientError):
    """Something answered that does not speak this API."""

    def __init__(self, url: str, problem: str) -> None:
        self.url = without_password(url)
        super().__init__(f"{self.url} did not answer as Afterwards does: {problem}")


class WaitTimeout(AfterwardsClientError, TimeoutError):
    """The task goes on; `task` is how it stood last."""

    def __init__(self, task: Task, timeout_seconds: float) -> None:
        super().__init__(f"Task {task.id} is {task.status} after {timeout_seconds:g} s")
        self.task = task


class TaskFailed(AfterwardsClientError):
    """The task failed or was cancelled; `task.error` says why."""

    def __init__(self, task: Task) -> None:
        super().__init__(f"Task {task.id} {task.status}: {task.error}")
        self.task = task


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a request."""

    location: str
    """The part of the request that it is in: `body`, `query`, `path` or `header`."""
    pointer: str
    """Which it is, as a JSON pointer in a fragment: `#/payload/email`."""
    message: str


class ApiError(AfterwardsClientError):
    """The service refused; what its problem document (RFC 9457) says."""

    def __init__(
        self, status: int, problem: Mapping[str, Any], *, retry_after_seconds: float | None = None
    ) -> None:
        self.status = status
        # What is of another type counts as missing (RFC 9457, 3.1).
        self.title = _text(problem, "title") or str(status)
        self.detail = _text(problem, "detail") or self.title
        self.errors = tuple(_field_errors(problem.get("errors")))
        self.task_id = _text(problem, "task_id")
        """The task that has the unique key, if the refusal is about one."""
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.detail)


class Invalid(ApiError):
    """The request itself is wrong: sent again, it is refused again."""


class NotFound(ApiError):
    """There is no such task, artifact, schedule, type or group of errors."""


class Gone(ApiError):
    """The task was finished, and has been deleted, by hand or by retention."""


class Conflict(ApiError):
    """The task, or whatever it is, is not in a state that allows this."""


class Unavailable(ApiError):
    """The service cannot take it now; see `retry_after_seconds`."""


_CLASSES = {
    400: Invalid,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def shortened(text: str) -> str:
    """As much of an argument as a message has room for."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def api_error(
    status: int, problem: Mapping[str, Any], *, retry_after_seconds: float | None = None
) -> ApiError:
    """The error of a status."""
    error_class = _CLASSES.get(status, ApiError)
    return error_class(status, problem, retry_after_seconds=retry_after_seconds)


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _field_errors(listed: object) -> list[FieldError]:
    if not isinstance(listed, list):
        return []
    return [
        FieldError(*(_text(one, name) for name in ("location", "pointer", "message")))
        for one in listed
        if isinstance(one, dict)
    ]
