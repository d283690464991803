"""The part of a traceback that is told of a failed attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from pydantic import BaseModel

from afterwards.execution.attempt import Attempt, run_attempt, run_attempt_async
from afterwards.execution.tracebacks import MOST_BYTES, traceback_of
from afterwards.task_types.base import TaskType, TransientError
from tests.execution.test_attempt import CONTEXT


class Payload(BaseModel):
    secret: str = ""


PAYLOAD = b'{"secret":"s3cret-of-the-payload"}'


def charge(_: Any) -> NoReturn:
    raise KeyError("region")


def ship(payload: Any, _: Any) -> NoReturn:
    local = payload.secret.upper()
    try:
        charge(local)
    except KeyError as error:
        raise TransientError("no region") from error


async def ship_soon(payload: Any, context: Any) -> NoReturn:
    ship(payload, context)


def told(function: Callable[..., Any], kind: Any, monkeypatch: pytest.MonkeyPatch) -> str | None:
    probe = TaskType("probe", Payload, function, executor=kind)
    monkeypatch.setattr("afterwards.task_types.CATALOGUE", {"probe": probe})
    attempt = Attempt("probe", PAYLOAD, CONTEXT)
    outcome = asyncio.run(run_attempt_async(attempt)) if kind == "async" else run_attempt(attempt)
    return None if outcome.value is None else outcome.value.decode()


@pytest.mark.parametrize(("function", "kind"), [(ship, "thread"), (ship_soon, "async")])
def test_it_begins_at_the_task_s_function_and_has_the_causes_and_no_values(
    function: Callable[..., Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = told(function, kind, monkeypatch)

    assert text is not None
    outer = text.split("direct cause")[1]
    frames = [line for line in outer.splitlines() if line.startswith("  File ")]
    assert frames[0].endswith(f", in {function.__name__}")
    assert "KeyError: 'region'" in text
    assert text.endswith("TransientError: no region")
    assert "charge(local)" in text
    assert "s3cret" not in text.casefold()
    assert "attempt.py" not in text


def test_all_that_is_in_a_group_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(_: Any, __: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ship_soon(Payload(secret="one"), None))
            group.create_task(ship_soon(Payload(secret="two"), None))

    text = told(both, "async", monkeypatch)

    assert text is not None
    assert text.count("TransientError: no region") == 2
    assert "ExceptionGroup" in text


def test_what_goes_wrong_before_the_function_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(payload: Any, _: Any) -> Any:
        return object()

    assert told(refuse, "thread", monkeypatch) is None


def raised(error: BaseException) -> BaseException:
    try:
        throw(error)
    except BaseException as caught:  # noqa: BLE001 - given back with its traceback
        return caught


def throw(error: BaseException) -> NoReturn:
    raise error


def test_of_a_long_one_the_beginning_and_the_end_are_told() -> None:
    text = traceback_of(raised(ValueError("first\n" + "é\n" * 20_000 + "last")))

    assert text is not None
    assert MOST_BYTES - 200 < len(text) <= MOST_BYTES
    lines = text.decode().splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "last"
    [gap] = [line for line in lines if "bytes are left out" in line]
    before = text.decode().partition("ValueError: first")[0].encode()
    whole = len(before) + len(b"ValueError: first\n" + "é\n".encode() * 20_000 + b"last")
    kept = len(text) - len(f"\n{gap}\n".encode())
    assert int(gap.split()[1]) == whole - kept


def test_a_line_without_end_is_cut_in_its_midst() -> None:
    text = traceback_of(raised(ValueError("x" * 100_000)))

    assert text is not None
    assert MOST_BYTES - 200 < len(text) <= MOST_BYTES
    assert text.endswith(b"xxx")


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("error", [Broken(), ValueError("\ud800"), RecursionError("deep")])
def test_whatever_is_raised_has_one(error: Exception) -> None:
    text = traceback_of(raised(error))

    assert text is not None
    assert "test_tracebacks.py" in text.decode()
