from __future__ import annotations

import pytest
from tenacity import retry_if_exception_type, wait_fixed

from afterwards_executors.retry import PermanentError, RetryPolicy, TransientError


@pytest.mark.parametrize("error", [TransientError("x"), ConnectionResetError(), TimeoutError()])
def test_connections_time_outs_and_errors_that_say_so_are_transient(error: Exception) -> None:
    assert RetryPolicy().is_transient(error)


@pytest.mark.parametrize("error", [PermanentError("x"), ValueError(), KeyError(), OSError()])
def test_other_errors_are_permanent(error: Exception) -> None:
    assert not RetryPolicy().is_transient(error)


def test_a_policy_can_name_its_own_errors() -> None:
    policy = RetryPolicy(retry=retry_if_exception_type(KeyError))

    assert policy.is_transient(KeyError())
    assert not policy.is_transient(ConnectionError())
    assert policy.is_transient(TransientError())


def test_a_permanent_error_gets_no_second_attempt() -> None:
    assert RetryPolicy().next_delay_seconds(1, transient=False) is None


def test_attempts_run_out() -> None:
    policy = RetryPolicy(max_attempts=3)
    delays = [policy.next_delay_seconds(used, transient=True) for used in (1, 2, 3, 4)]

    assert [delay is None for delay in delays] == [False, False, True, True]


def test_one_piece_of_work_can_have_its_own_limit() -> None:
    policy = RetryPolicy(max_attempts=3)

    assert policy.next_delay_seconds(1, transient=True, max_attempts=1) is None
    assert policy.next_delay_seconds(3, transient=True, max_attempts=4) is not None


def test_delays_grow_with_jitter_up_to_a_limit() -> None:
    policy = RetryPolicy(max_attempts=100)

    for used, least in [(1, 1), (2, 2), (3, 4), (20, 60)]:
        delay = policy.next_delay_seconds(used, transient=True)
        assert delay is not None
        assert least <= delay <= min(least + 1, 60)


def test_the_wait_is_a_strategy_of_the_policy() -> None:
    assert RetryPolicy(wait=wait_fixed(7)).next_delay_seconds(1, transient=True) == 7.0
