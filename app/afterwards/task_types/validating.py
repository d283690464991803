"""The host that validates payloads of users' task types: many requests in one message.

Validators are task code: they may hang, exit, or say more than anybody wants to read. So a message
gets an answer in plain data, of a bounded size, and soon: what there was no time for is left to the
next message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from afterwards.errors import AfterwardsError, UnknownTaskType
from afterwards.logs import get_logger
from afterwards.task_types.base import TaskType
from afterwards.task_types.mistakes import mistakes_of
from afterwards.task_types.modules import load_catalogue, one_line
from afterwards_executors.base import End, Outcome

log = get_logger(__name__)

COLD: Final = "the task modules are not loaded"
"""The error of a host that was to validate before it was warm."""

MESSAGE_SECONDS: Final = 0.25
"""After so long a message is answered with what is done."""

ANSWER_BYTES: Final = 64 * 1024
"""So is one with an answer of this size."""

_REFUSAL_BYTES: Final = 48 * 1024
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""More than any answer has: one that is nearly full takes one refusal more."""

_SHOWN: Final = 20
_MESSAGE_CHARACTERS: Final = 4_000
_NAME_CHARACTERS: Final = 1_000

Code = tuple[tuple[str, ...], tuple[str, ...] | None]
"""The arguments of `load_catalogue`."""

_warm: set[Code] = set()


class Check(NamedTuple):
    """A payload, and the task type that has to take it."""

    type: str
    payload: bytes
    """JSON."""


class Refusal(NamedTuple):
    """Why a payload is not taken."""

    at: int
    """Which one of its request."""
    mistakes: Sequence[Mapping[str, Any]]
    """As `mistakes.mistakes_of` has them; not all, if they are many or long."""
    unlisted: int
    """The number of further ones that are not listed."""


class Fault(NamedTuple):
    """Why it is not known whether a payload is taken."""

    at: int
    problem: str


def warm_up(code: Code) -> Outcome:
    """Import the task modules, so that the first request does not wait for that."""
    if code not in _warm:
        try:
            load_catalogue(*code)
        except AfterwardsError as error:
            return Outcome(End.FAILED, error=str(error))
        _warm.add(code)
    return Outcome(End.SUCCEEDED, value=b"")


def validate(code: Code, requests: Sequence[Sequence[tuple[str, bytes]]]) -> Outcome:
    """Validate the payloads of each request, up to the first that is not taken.

    Requests are made of bare tuples, and not of `Check`s, which take pickle five times as long.

    The answers, in the order of the requests, may be fewer than those: the rest was not begun.
    """
    if code not in _warm:
        return Outcome(End.FAILED, error=COLD)
    catalogue = load_catalogue(*code)
    until = monotonic() + MESSAGE_SECONDS
    answers: list[str] = []
    size = 0
    for checks in requests:
        answers.append(json.dumps(_first_refusal(catalogue, checks)))
        size += len(answers[-1])
        if monotonic() > until or size > ANSWER_BYTES:
            break
    return Outcome(End.SUCCEEDED, value=f"[{','.join(answers)}]".encode())


def answers_in(value: bytes) -> list[Refusal | Fault | None]:
    """The answers of `validate`.

    Raises:
        ValueError, TypeError: it is no answer.
    """
    return [_answer(one) for one in json.loads(value)]


def _answer(members: Sequence[Any] | None) -> Refusal | Fault | None:
    if members is None:
        return None
    return Fault(*members) if len(members) == len(Fault._fields) else Refusal(*members)


def _first_refusal(
    catalogue: Mapping[str, TaskType], checks: Sequence[tuple[str, bytes]]
) -> Refusal | Fault | None:
    for at, (name, payload) in enumerate(checks):
        task_type = catalogue.get(name)
        if task_type is None:
            # The modules are another version by now.
            return Fault(at, str(UnknownTaskType(name)))
        try:
            task_type.payload.model_validate_json(payload)
        except ValidationError as error:
            return _refusal(at, error)
        except BaseException as error:
            log.warning("a validator has raised", type=name, exc_info=error)
            return Fault(at, f"its validator raised {one_line(error)[:_MESSAGE_CHARACTERS]}")
    return None


def _refusal(at: int, error: ValidationError) -> Refusal:
    found = mistakes_of(error)
    shown = [_shortened(one) for one in found[:_SHOWN]]
    while len(shown) > 1 and len(json.dumps(shown)) > _REFUSAL_BYTES:
        shown.pop()
    return Refusal(at, shown, len(found) - len(shown))


def _shortened(mistake: Mapping[str, Any]) -> dict[str, Any]:
    path = [part if isinstance(part, int) else part[:_NAME_CHARACTERS] for part in mistake["loc"]]
    message = str(mistake["msg"])[:_MESSAGE_CHARACTERS]
    return {"type": mistake["type"], "loc": path, "msg": message}
