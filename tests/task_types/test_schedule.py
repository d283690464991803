"""`Schedule` in a task module: what it says, and what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from afterwards import Schedule, TaskContext, TaskType
from afterwards.task_types.declaration import Declaration, decoded


class Payload(BaseModel):
    count: int = 1


async def run(payload: Payload, context: TaskContext) -> dict[str, Any]:
    del payload, context
    return {}


TICK = TaskType("tick", Payload, run)


def test_it_says_where_it_stands() -> None:
    schedule = Schedule("nightly", TICK, cron="0 3 * * *")  # this line
    lines = Path(__file__).read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if text.endswith("# this line"))
    assert schedule.place == f"{__file__}, line {line}"


def test_its_declaration_is_the_same_after_a_journey() -> None:
    schedule = Schedule(
        "nightly",
        TICK,
        Payload(count=7),
        every=timedelta(minutes=2),
        catch_up=True,
        priority=7,
        max_attempts=5,
        timeout=timedelta(seconds=30),
        labels={"b": "1", "a": "2"},
        concurrency_key="k",
        unique_key="u",
    )
    one = Declaration.of(schedule, "shop")
    assert decoded(json.loads(json.dumps([one]))) == [one]
    assert (one.module, one.name, one.type) == ("shop", "nightly", "tick")
    assert one.payload == '{"count":7}'
    assert (one.every_seconds, one.timeout_seconds) == (120, 30)
    assert one.labels == '{"a":"2","b":"1"}'


def test_a_type_can_be_named() -> None:
    assert Schedule("a", "report", {"name": "Sales"}, every=60).type_name == "report"


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({}, "it needs one of cron and every"),
        ({"cron": "0 3 * * *", "every": 60}, "it needs one of cron and every"),
        ({"cron": "0 3 * *"}, "a cron expression has 5 fields"),
        ({"cron": "0 3 * * *", "timezone": "Mars"}, "there is no time zone 'Mars'"),
        ({"every": 0.5}, "a period has 1 to 31622400 seconds, not 0.5"),
        ({"every": timedelta(days=367)}, "a period has 1 to 31622400 seconds"),
        ({"every": "60"}, "every must be a positive number of seconds, not '60'"),
        ({"every": 60, "priority": 10}, "priority must be 0 to 9, not 10"),
        ({"every": 60, "priority": True}, "priority must be 0 to 9, not True"),
        ({"every": 60, "max_attempts": 0}, "max_attempts must be a whole number from 1"),
        ({"every": 60, "timeout": -1}, "timeout must be a positive number of seconds"),
        ({"every": 60, "labels": {"a b": "c"}}, "'a b': 'c' is no label"),
        ({"every": 60, "unique_key": ""}, "unique_key must be 1 to 255 characters"),
        ({"every": 60, "concurrency_key": "a\n"}, "concurrency_key must be 1 to 255 characters"),
        ({"every": 60, "payload": {"a": {1, 2}}}, "payload must be JSON"),
        ({"every": 60, "payload": {"a": float("nan")}}, "payload must be JSON"),
        ({"every": 60, "payload": []}, "payload must be a mapping or a model, not []"),
        ({"every": 60, "type": 7}, "type must be a TaskType or the name of one, not 7"),
    ],
)
def test_a_mistake_names_the_schedule_and_the_member(members: dict[str, Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Schedule(**{"name": "nightly", "type": TICK, **members})
    assert str(caught.value).startswith(f"schedule 'nightly': {problem}")


@pytest.mark.parametrize("name", ["", ".", "a b", "x" * 101, "ä"])
def test_a_name_that_no_route_could_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name has up to 100 letters"):
        Schedule(name, TICK, every=60)
