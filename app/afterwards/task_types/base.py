"""The definition of a task type: a name, a payload model, a function, and how its attempts run."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field, JsonValue, RootModel

from afterwards.task_types.context import Cancelled, Environment, Interrupted, TaskContext
from afterwards.task_types.family import Child, Group, Member
from afterwards.task_types.task_module import TaskModule
from afterwards_executors.retry import PermanentError, RetryPolicy, TransientError

__all__ = [
    "Cancelled",
    "Child",
    "EmailAddress",
    "Environment",
    "Group",
    "Interrupted",
    "JsonObject",
    "Member",
    "PermanentError",
    "RateLimit",
    "RetryPolicy",
    "SingleLine",
    "TaskContext",
    "TaskModule",
    "TaskType",
    "TransientError",
]


Result = Mapping[str, Any]
"""A JSON object."""

Run = Callable[[Any, TaskContext], Result | Awaitable[Result]]

ExecutorKind = Literal["async", "thread", "process", "dask"]

_ON_DASK: Final = frozenset({"dask", "process"})

NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
MAX_ATTEMPTS: Final = 100
MAX_TIMEOUT_SECONDS: Final = 7 * 86_400.0
MAX_RATE_COUNT: Final = 100_000
"""The registry remembers so many starts."""


@dataclass(frozen=True)
class RateLimit:
    """At most `count` attempts, up to 100,000, may start in any `period_seconds`.

    Raises:
        ValueError: one of them is not positive, or the count too high.
    """

    count: int
    period_seconds: float

    def __post_init__(self) -> None:
        require_count("a rate limit's count", self.count, MAX_RATE_COUNT)
        require_seconds("a rate limit's period_seconds", self.period_seconds, math.inf)


@dataclass(frozen=True)
class TaskType:
    """One kind of work.

    `run` takes the validated payload and a `TaskContext` and returns a JSON object. It raises
    `TransientError` (or a connection error or time-out) for what may succeed if tried again, and
    anything else for what will not. It may run more than once for one task, so its effects have to
    bear that. For the executor `async` it is a coroutine function, for the others a plain one.

    Raises:
        TypeError, ValueError: a member is wrong; the message names the type and the member.
    """

    name: str
    """1 to 64 of `a-z`, `0-9`, `_`, `.` and `-`, the first a letter."""
    payload: type[BaseModel]
    run: Run
    executor: ExecutorKind = "async"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: float | timedelta | None = None
    """Limit for one attempt, in seconds if it is a number; None: the service's
    `REQUEST_TIMEOUT`."""
    max_attempts: int | None = None
    """Overrides the retry policy's."""
    max_concurrency: int | None = None
    """The number of attempts that may run at once in the whole service; None: as many as there are
    slots."""
    rate_limit: RateLimit | None = None
    concurrency_per_key: int = 1
    """The number of attempts at tasks with the same `concurrency_key` that may run at once in the
    whole service."""
    dask_resources: Mapping[str, float] = field(default_factory=dict)
    """The resources that an attempt takes of its Dask worker, by name, such as `{"GPU": 1}`."""
    dask_workers: Sequence[str] = ()
    """Names, addresses or hosts of the Dask workers that attempts may run on; empty: any."""

    @property
    def timeout_seconds(self) -> float | None:
        """`timeout` in seconds."""
        limit = self.timeout
        return limit.total_seconds() if isinstance(limit, timedelta) else limit

    def __post_init__(self) -> None:
        if NAME.fullmatch(str(self.name)) is None:
            raise ValueError(
                f"task type {self.name!r}: a name has 1 to 64 of a-z, 0-9, '_', '.' and '-', "
                "the first a letter"
            )
        try:
            self._check()
        except (TypeError, ValueError) as error:
            raise type(error)(f"task type {self.name!r}: {error}") from None
        if self.max_attempts is not None:
            # What decides after an attempt is the policy alone.
            policy = replace(self.retry, max_attempts=self.max_attempts)
            object.__setattr__(self, "retry", policy)

    def _check(self) -> None:
        _require_object_model(self.payload)
        if self.executor not in get_args(ExecutorKind):
            known = ", ".join(map(repr, get_args(ExecutorKind)))
            raise ValueError(f"executor must be one of {known}, not {self.executor!r}")
        _require_runnable(self.run, self.executor)
        if not isinstance(self.retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {self.retry!r}")
        _require_strategy("wait", self.retry.wait, "wait_fixed(5)")
        _require_strategy("retry", self.retry.retry, "retry_if_exception_type(OSError)")
        if self.timeout is not None:
            require_seconds("timeout", self.timeout_seconds, MAX_TIMEOUT_SECONDS)
        attempts = self.retry.max_attempts if self.max_attempts is None else self.max_attempts
        require_count("max_attempts", attempts, MAX_ATTEMPTS)
        if self.max_concurrency is not None:
            require_count("max_concurrency", self.max_concurrency)
        if self.rate_limit is not None and not isinstance(self.rate_limit, RateLimit):
            raise TypeError(f"rate_limit must be a RateLimit, not {self.rate_limit!r}")
        require_count("concurrency_per_key", self.concurrency_per_key)
        _require_placement(self)


def _require_object_model(payload: object) -> None:
    if not (isinstance(payload, type) and issubclass(payload, BaseModel)):
        raise TypeError(f"payload must be a pydantic model (a class), not {payload!r}")
    if issubclass(payload, RootModel):
        raise TypeError("payload must be a model with fields, because a payload is a JSON object")


def _require_runnable(run: object, executor: str) -> None:
    if not callable(run):
        raise TypeError(f"run must be a function, not {run!r}")
    try:
        inspect.signature(run).bind(None, None)
    except TypeError:
        raise TypeError("run must take two arguments, the payload and the context") from None
    except ValueError:
        pass  # A callable that does not say what it takes.
    if inspect.isgeneratorfunction(run) or inspect.isasyncgenfunction(run):
        raise TypeError("run must return a JSON object, and a generator yields")
    wants_coroutine = executor == "async"
    if _is_coroutine_function(run) == wants_coroutine:
        return
    # A wrapper says nothing of what it returns: it may await what it wraps, or run it to its end.
    if wants_coroutine and _is_coroutine_function(inspect.unwrap(run)):
        return
    wanted = "a coroutine function (async def)" if wants_coroutine else "a plain function (def)"
    raise TypeError(f"run must be {wanted} for executor {executor!r}")


def _require_placement(task_type: TaskType) -> None:
    # Whatever a task module has put there.
    resources: Any = task_type.dask_resources
    workers: Any = task_type.dask_workers
    if (resources or workers) and task_type.executor not in _ON_DASK:
        raise ValueError(
            "dask_resources and dask_workers need the executor 'dask', or 'process', which a "
            f"setting may move there, not {task_type.executor!r}"
        )
    if not isinstance(resources, Mapping):
        raise TypeError(f"dask_resources must be amounts by name, not {resources!r}")
    for name, amount in resources.items():
        if not isinstance(name, str) or not name or name.startswith("afterwards:"):
            raise ValueError(f"dask_resources must have names of your own, not {name!r}")
        _require_amount(f"the amount of {name!r} in dask_resources", amount)
    if isinstance(workers, str) or not all(isinstance(one, str) and one for one in workers):
        raise TypeError(f"dask_workers must be a list of names or addresses, not {workers!r}")


def _require_amount(what: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{what} must be a positive number, not {value!r}")


def _require_strategy(what: str, strategy: object, example: str) -> None:
    # A class of exceptions can be called, too, and what it then makes is true: all is tried again.
    if not callable(strategy) or isinstance(strategy, type):
        raise TypeError(
            f"the retry policy's {what} must be a strategy of tenacity's, such as {example}, "
            f"not {strategy!r}"
        )


def _is_coroutine_function(run: Any) -> bool:
    return inspect.iscoroutinefunction(run) or inspect.iscoroutinefunction(run.__call__)


def require_count(what: str, value: object, most: float = math.inf) -> None:
    """Raise `ValueError` unless the value is a whole number from 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        limit = "" if most == math.inf else f" up to {most}"
        raise ValueError(f"{what} must be a whole number from 1{limit}, not {value!r}")


def require_seconds(what: str, value: object, most: float) -> None:
    """Raise `ValueError` unless the value is a number above 0 and up to `most`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{what} must be a positive number of seconds, not {value!r}")
    if value > most:
        raise ValueError(f"{what} must be at most {most:.0f} s, not {value!r}")


# -- fields that several payloads share --------------------------------------------------------


MAX_ADDRESS_CHARACTERS: Final = 254
"""The bound of a path in SMTP (RFC 5321, 4.5.3.1.3), less its brackets."""


def _normal_address(address: str) -> str:
    # First: to put combining marks in order takes the validator quadratic time.
    if len(address) > MAX_ADDRESS_CHARACTERS:
        raise ValueError(
            f"not an email address: it has {len(address)} characters, and an address has at most "
            f"{MAX_ADDRESS_CHARACTERS}"
        )
    return _checked_address(address)


@lru_cache(maxsize=4096)
def _checked_address(address: str) -> str:
    # email-validator takes 40 us, and the same address is checked at the border and in the attempt.
    try:
        return validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(f"not an email address: {error}") from None


_WITH_NUMBERS: Final = frozenset({float, list, dict})


def is_finite(value: Any) -> bool:
    """True if no number in a JSON value is infinite or NaN.

    In Python: to let `json.dumps` find out keeps Python's lock for 60 ms over a mebibyte.
    """
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return True
    return all(is_finite(one) for one in value if type(one) in _WITH_NUMBERS)


def _finite(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    # 1e999 is a number to JSON's grammar and infinity to Python, and could never be written again.
    if not is_finite(value):
        raise ValueError("must have finite numbers only")
    return value


def _single_line(value: str) -> str:
    # More than CR and LF: whoever writes or reads the header may split it at any of these.
    if "".join(value.splitlines()) != value:
        raise ValueError("must not contain a line break")
    return value


EmailAddress = Annotated[
    str, AfterValidator(_normal_address), Field(json_schema_extra={"format": "email"})
]
"""An address that could exist (syntax and domain rules of RFC 5321 and 6531; no DNS)."""

SingleLine = Annotated[
    str,
    AfterValidator(_single_line),
    Field(json_schema_extra={"pattern": r"^[^\n-\r\x1c-\x1e\x85\u2028\u2029]*$"}),
]
"""Text for a mail header: a line break in it would let the sender add headers of his own."""

JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
"""Any JSON object that can be written again."""
