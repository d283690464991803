"""Questions of running calls are answered, whichever executor runs them; and they are bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from afterwards_executors.base import End, Executor, Work
from afterwards_executors.frames import MAX_UNANSWERED
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import work
from tests.executors.conftest import DEADLINE_SECONDS, MakeExecutor, wait_until

Call = Callable[..., Work]
Answer = Callable[[bytes], None]


def in_capitals(question: bytes, answer: Answer | None) -> None:
    """Answers from another thread."""
    assert answer is not None
    threading.Thread(target=answer, args=[question.upper()]).start()


# -- every executor --------------------------------------------------------------------------------


def test_each_question_has_its_answer(executor: Executor, call: Call) -> None:
    questions = [b"a", b"b" * 200_000, b"c"]

    future = executor.submit(call("ask_one_by_one", *questions, on_question=in_capitals))

    outcome = future.result(DEADLINE_SECONDS)
    assert (outcome.end, outcome.value) == (End.SUCCEEDED, b" ".join(questions).upper())


def test_many_questions_at_once_have_each_its_own_answer(executor: Executor, call: Call) -> None:
    questions = [b"q%d" % number for number in range(3 * MAX_UNANSWERED)]

    future = executor.submit(call("ask_at_once", *questions, on_question=in_capitals))

    assert future.result(DEADLINE_SECONDS).value == b" ".join(questions).upper()


def test_what_is_told_is_heard_in_order_before_the_outcome(executor: Executor, call: Call) -> None:
    told = [b"%d" % number for number in range(100)]
    heard: list[bytes] = []

    def hear(data: bytes, answer: Answer | None) -> None:
        assert answer is None
        heard.append(data)

    future = executor.submit(call("tell", *told, on_question=hear))

    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    assert heard == told


def test_a_question_that_nobody_answers_has_an_empty_answer(executor: Executor, call: Call) -> None:
    outcome = executor.submit(call("ask_one_by_one", b"a")).result(DEADLINE_SECONDS)

    assert (outcome.end, outcome.value) == (End.SUCCEEDED, b"")


def test_an_answer_that_comes_after_the_call_harms_nobody(executor: Executor, call: Call) -> None:
    answers: list[Answer] = []

    def put_off(_: bytes, answer: Answer | None) -> None:
        assert answer is not None
        answers.append(answer)

    future = executor.submit(call("leave_a_question", on_question=put_off))
    assert future.result(DEADLINE_SECONDS).end is End.SUCCEEDED
    # The thread may have found the call over before it asked.
    for answer in answers:
        answer(b"late")

    again = executor.submit(call("ask_one_by_one", b"a", on_question=in_capitals))
    assert again.result(DEADLINE_SECONDS).value == b"A"


# -- hosts -----------------------------------------------------------------------------------------


def test_a_message_that_is_too_large_is_the_call_s_error(
    hosted: str, make_executor: MakeExecutor
) -> None:
    executor = make_executor(hosted, settings=HostSettings(max_value_bytes=1_000))
    function = work.tell_too_much_async if hosted == "async" else work.tell_too_much

    outcome = executor.submit(Work(function, (200_000,))).result(DEADLINE_SECONDS)

    assert outcome.end is End.FAILED
    assert outcome.error is not None
    assert outcome.error.startswith("ValueError: a message of 200000 bytes; ")


@pytest.mark.processes
def test_a_host_that_asks_without_end_is_ended(make_executor: MakeExecutor) -> None:
    executor = make_executor("process")
    asked: list[bytes] = []
    flood = Work(
        work.flood_with_questions,
        (MAX_UNANSWERED + 1,),
        on_question=lambda question, _: asked.append(question),
    )

    outcome = executor.submit(flood).result(DEADLINE_SECONDS)

    assert outcome.end is End.LOST
    assert len(asked) == MAX_UNANSWERED
    wait_until(lambda: executor.slots().free == executor.slots().total)
