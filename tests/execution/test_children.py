"""Tasks that attempts submit, on their whole way: from `run`, by its executor, to the registry."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from afterwards.errors import (
    ChildrenRefused,
    IllegalTransition,
    JournalUnavailable,
    StaleReport,
)
from afterwards.execution.attempt import prepare
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.execution.questions import Questions, Submitted
from afterwards.lifecycle import MAX_CHILDREN, MAX_CHILDREN_BYTES, TaskState
from afterwards.registry.protocol.answers import Claim, Page
from afterwards.registry.protocol.requests import (
    Failed,
    Members,
    Report,
    Request,
    SubmitChildren,
    Succeeded,
)
from afterwards.task_ids import child_id, child_id_now
from afterwards.task_types.base import Environment
from afterwards.task_types.description import in_process
from afterwards.task_types.modules import load, load_catalogue
from afterwards_executors import EXECUTORS
from afterwards_executors.hosts.settings import HostSettings
from tests.integration.conftest import wait_for
from tests.registry.peers import make_task

pytestmark = pytest.mark.processes

MODULE = """
import asyncio
from pydantic import BaseModel, Field
from afterwards import TaskType, TransientError

class Wish(BaseModel):
    do: str = "submit"

class Small(BaseModel):
    number: int = Field(ge=0)

def mistakes(context):
    wrong = [
        ("no-such-type", {}, {}),
        ("small", {"number": -1}, {}),
        ("small", {"number": float("nan")}, {}),
        ("small", [1], {}),
        ("small", {"number": 1, "more": "x" * 2_000}, {}),
        ("small", {"number": 1}, {"priority": 10}),
        ("small", {"number": 1}, {"delay_seconds": -1}),
        ("small", {"number": 1}, {"labels": {"a b": "c"}}),
    ]
    told = []
    for name, payload, options in wrong:
        try:
            context.submit(name, payload, **options)
        except Exception as error:
            told.append(type(error).__name__)
    return {"told": told}

def work(payload, context):
    if payload.do == "mistakes":
        return mistakes(context)
    if payload.do == "read":
        return {"members": [list(member) for member in context.group], "size": len(context.group)}
    if payload.do == "now":
        ids = [context.submit("small", {"number": n}, now=True).id for n in (1, 1, 2)]
        return {"ids": ids}
    if payload.do == "many":
        for n in range(1_001):
            context.submit("small", {"number": n})
    options = {"labels": {"b": "own", "c": "new"}}
    child = context.submit("small", {"number": 1}, delay_seconds=60, priority=9, **options)
    other = context.submit("small", Small(number=2))
    if payload.do == "fail":
        raise ValueError("no")
    return {"ids": [child.id, other.id]}

async def work_async(payload, context):
    if payload.do == "read":
        return {"members": [list(one) async for one in context.group], "size": len(context.group)}
    if payload.do == "now":
        asked = [context.submit("small", {"number": n}, now=True) for n in (1, 1, 2)]
        return {"ids": [child.id for child in await asyncio.gather(*map(wait, asked))]}
    if payload.do == "forget":
        context.submit("small", {"number": 1}, now=True)
        return {}
    return work(payload, context)

async def wait(child):
    return await child

S = TaskType("small", Small, work, executor="thread", max_attempts=7)
A = TaskType("a-async", Wish, work_async)
T = TaskType("a-thread", Wish, work, executor="thread")
P = TaskType("a-process", Wish, work, executor="process")
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    (tmp_path / "module_with_children.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield ("module_with_children",)
    sys.modules.pop("module_with_children", None)
    load.cache_clear()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Bench:
    """A worker's dispatcher, and a registry that answers as it is told."""

    def __init__(
        self,
        kind: str,
        modules: tuple[str, ...],
        directory: Path,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.kind = kind
        self.asked: list[Request] = []
        self.reports: list[Report] = []
        self.answers: Callable[[Request], Any] = lambda _: None
        environment = Environment(directory, 0, 0, 0, 0, 1_000, task_modules=modules)
        self.executor = EXECUTORS[kind](1, HostSettings(prepare=(prepare, (environment,))))
        self.executor.start()
        catalogue = in_process(load_catalogue(modules))
        questions = Questions(catalogue, self._ask)
        questions.bind(loop)
        self.dispatcher = Dispatcher(
            Executors({kind: self.executor}, {}, ()),
            catalogue,
            environment,
            20.0,
            self.reports.append,
            questions=questions,
        )

    async def _ask(self, request: Request) -> Any:
        self.asked.append(request)
        answer = self.answers(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, do: str, **fields: Any) -> Report:
        payload = b'{"do":"%b"}' % do.encode()
        claim = Claim("t", 2, f"a-{self.kind}", payload, self.kind, 0, 3, None)
        self.dispatcher.take([claim._replace(**fields)], frozenset())
        wait_for(lambda: self.reports, "the report")
        return self.reports[0]

    def succeed(self, do: str, **fields: Any) -> Succeeded:
        report = self.run(do, **fields)
        assert isinstance(report, Succeeded), report
        return report


@pytest.fixture(params=sorted(EXECUTORS))
def bench(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    modules: tuple[str, ...],
    loop: asyncio.AbstractEventLoop,
) -> Iterator[Bench]:
    made = Bench(request.param, modules, tmp_path, loop)
    yield made
    made.executor.shutdown(5.0)


def result_of(report: Succeeded) -> Any:
    return eval(report.result, {"null": None})


def test_children_go_with_the_success_of_their_parent(bench: Bench) -> None:
    labels = '{"a":"parent","b":"parent"}'

    report = bench.succeed("submit", labels=labels, priority=3, trace="00-trace")

    first, second = report.children
    assert [first.id, second.id] == result_of(report)["ids"]
    assert first.id == child_id("t", 2, 0)
    assert (first.type, first.executor, first.max_attempts) == ("small", "thread", 7)
    assert (first.payload, second.payload) == (b'{"number":1}', b'{"number":2}')
    assert (first.priority, second.priority) == (9, 3)
    assert first.labels == '{"a":"parent","b":"own","c":"new"}'
    assert second.labels == labels
    assert (first.state, first.delay_seconds) == (TaskState.SCHEDULED, 60.0)
    assert (second.state, second.trace) == (TaskState.PENDING, "00-trace")
    assert bench.asked == []


def test_an_attempt_that_fails_brings_no_children(bench: Bench) -> None:
    report = bench.run("fail")

    assert isinstance(report, Failed)
    assert bench.asked == []


def test_children_that_are_submitted_at_once_have_the_same_ids_in_each_attempt(
    bench: Bench,
) -> None:
    report = bench.succeed("now", retries=5)

    expected = [child_id_now("t", 5, "small", b'{"number":%d}' % n, k) for n, k in SAME]
    assert result_of(report)["ids"] == expected
    submitted = [one for one in bench.asked if isinstance(one, SubmitChildren)]
    assert {one.tasks[0].id for one in submitted} == set(expected)
    assert {(one.task_id, one.attempt) for one in submitted} == {("t", 2)}
    assert report.children == ()


SAME = [(1, 0), (1, 1), (2, 0)]


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (JournalUnavailable("no room"), True),
        (ChildrenRefused("t", "too many"), False),
        (StaleReport("t", 2, 3, "processing"), False),
        (IllegalTransition("t", "processing", "submit"), False),
    ],
)
def test_a_refusal_is_raised_in_the_parent(bench: Bench, error: Exception, transient: bool) -> None:
    bench.answers = lambda _: error

    report = bench.run("now")

    assert isinstance(report, Failed)
    assert str(error) in report.error
    assert (report.retry_in_seconds is not None) == transient


def test_mistakes_are_raised_before_anything_is_accepted(bench: Bench) -> None:
    report = bench.succeed("mistakes")

    assert result_of(report)["told"] == [
        "PermanentError",
        "ValidationError",
        *["ValueError"] * 6,
    ]
    assert (report.children, bench.asked) == ((), [])


def test_a_task_cannot_submit_more_than_it_may(bench: Bench) -> None:
    report = bench.run("many")

    assert isinstance(report, Failed)
    assert report.error == "A task may submit 1000 tasks, and this is one more"


def test_a_task_that_is_nested_too_deep_submits_none(bench: Bench) -> None:
    report = bench.run("submit", depth=8)

    assert isinstance(report, Failed)
    assert report.error.startswith("Tasks may be nested 8 deep")


def test_a_follower_reads_the_members_of_its_group_page_by_page(bench: Bench) -> None:
    done = make_task(type="x", state=TaskState.SUCCESS, result=b'{"n":1}')
    failed = make_task(type="y", state=TaskState.FAILED, error='no "way"')
    pages = {0: Page([done], 7), 7: Page([failed], None)}
    bench.answers = lambda request: isinstance(request, Members) and pages[request.after]

    report = bench.succeed("read", members=2)

    assert result_of(report) == {
        "members": [
            [done.id, "x", "success", {"n": 1}, None],
            [failed.id, "y", "failed", None, 'no "way"'],
        ],
        "size": 2,
    }
    assert bench.asked == [Members("t", 0), Members("t", 7)]


def test_a_coroutine_that_does_not_wait_for_what_it_submits_fails(
    tmp_path: Path, modules: tuple[str, ...], loop: asyncio.AbstractEventLoop
) -> None:
    bench = Bench("async", modules, tmp_path, loop)

    report = bench.run("forget")

    bench.executor.shutdown(5.0)
    assert isinstance(report, Failed)
    assert report.error.endswith("in a coroutine, await context.submit(..., now=True)")


# -- what a host may say ---------------------------------------------------------------------------

CLAIM = Claim("t", 1, "a-thread", b"{}", "thread", 0, 3, None)
HEAD = b'{"ask":"submit","type":"notification","delay":null,"priority":4,"labels":null}\n'


def told(*questions: bytes) -> Report:
    """The report of an attempt that has told these."""
    questions_of = Questions(in_process(load_catalogue(())), None)
    submitted = Submitted()
    for question in questions:
        questions_of.put(CLAIM, None, submitted, question, None)
    return submitted.reported(Succeeded("t", 1, b"{}", 0.1))


def test_what_a_host_tells_becomes_children(modules: tuple[str, ...]) -> None:
    report = told(HEAD + b"{}", HEAD + b'{"a":1}')

    assert isinstance(report, Succeeded)
    assert [task.payload for task in report.children] == [b"{}", b'{"a":1}']


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"\xff",
        b"[]\n{}",
        b"{}\n{}",
        b"[" * 100_000,
        HEAD,
        HEAD + b"[]",
        HEAD + b'{"a":NaN}',
        HEAD.replace(b"notification", b"nothing") + b"{}",
        HEAD.replace(b"4", b"44") + b"{}",
        HEAD.replace(b'"delay":null', b'"delay":-1') + b"{}",
        HEAD.replace(b'"delay":null', b'"delay":NaN') + b"{}",
        HEAD.replace(b'"labels":null', b'"labels":"{\\"\\":1}"') + b"{}",
        HEAD.replace(b'"labels":null', b'"labels":"[]"') + b"{}",
    ],
)
def test_whatever_a_host_tells_the_attempt_fails_if_it_is_no_task(question: bytes) -> None:
    report = told(HEAD + b"{}", question)

    assert isinstance(report, Failed)
    assert report.retry_in_seconds is None


@pytest.mark.parametrize(
    "questions",
    [
        [HEAD + b"{}"] * (MAX_CHILDREN + 1),
        [HEAD + b'{"a":"%b"}' % (b"x" * 2**20)] * (MAX_CHILDREN_BYTES // 2**20),
    ],
    ids=["tasks", "bytes"],
)
def test_a_host_that_tells_too_much_costs_its_attempt(questions: Sequence[bytes]) -> None:
    report = told(*questions)

    assert isinstance(report, Failed)
    assert report.error == "It submits more tasks, or larger ones, than a task may"


def test_a_question_that_cannot_be_read_is_answered() -> None:
    answers: list[bytes] = []

    Questions(in_process({}), None).put(CLAIM, None, Submitted(), b"?", answers.append)

    assert b'"problem":"refused"' in answers[0]
