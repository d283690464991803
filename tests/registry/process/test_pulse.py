"""Signs of life, judged on a clock that is turned by hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from afterwards.registry.process.pulse import FIRST_SECONDS, SILENT_SECONDS, Pulse, beat
from tests.registry.bench import TurnedClock
from tests.registry.peers import eventually


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def pulse(clock: TurnedClock) -> Iterator[Pulse]:
    pulse = Pulse(clock)
    yield pulse
    pulse.started()
    pulse.close()


def give_sign(pulse: Pulse) -> None:
    os.write(pulse.writer, b".")


def test_a_child_that_beats_is_alive_however_long(pulse: Pulse, clock: TurnedClock) -> None:
    for _ in range(100):
        give_sign(pulse)
        assert not pulse.is_silent()
        clock.turn(SILENT_SECONDS - 1)


def test_a_child_that_fell_silent_is_known_after_ten_seconds(
    pulse: Pulse, clock: TurnedClock
) -> None:
    give_sign(pulse)
    assert not pulse.is_silent()
    clock.turn(SILENT_SECONDS - 0.1)
    assert not pulse.is_silent()
    clock.turn(0.1)
    assert pulse.is_silent()


def test_a_child_may_take_longer_to_its_first_sign(pulse: Pulse, clock: TurnedClock) -> None:
    clock.turn(FIRST_SECONDS - 0.1)
    assert not pulse.is_silent()
    clock.turn(0.1)
    assert pulse.is_silent()


def test_a_child_beats_from_its_first_sign_until_it_falls_silent(
    pulse: Pulse, clock: TurnedClock
) -> None:
    assert not pulse.is_beating()
    give_sign(pulse)
    assert pulse.is_beating()
    clock.turn(SILENT_SECONDS)
    assert not pulse.is_beating()
    give_sign(pulse)
    assert pulse.is_beating()


def test_a_sign_that_came_while_nobody_listened_counts(pulse: Pulse, clock: TurnedClock) -> None:
    clock.turn(FIRST_SECONDS + 1)
    give_sign(pulse)
    assert not pulse.is_silent()


def test_a_parent_that_did_not_run_itself_does_not_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(
        "afterwards.registry.protocol.clock.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    pulse = Pulse()
    give_sign(pulse)
    assert not pulse.is_silent()
    now[0] += 3600.0
    assert not pulse.is_silent()
    # The hour counts for the second that it was looked after.
    for _ in range(int(SILENT_SECONDS) - 1):
        assert not pulse.is_silent()
        now[0] += 1.0
    assert pulse.is_silent()
    pulse.started()
    pulse.close()


def write_without_end(fd: int) -> None:
    while True:
        os.write(fd, b"." * 4096)


def is_beating() -> bool:
    return any(thread.name == "pulse" for thread in threading.enumerate())


def test_a_child_beats_until_nobody_listens() -> None:
    reader, writer = os.pipe()
    beat(writer)
    assert os.read(reader, 1) == b"."
    os.close(reader)
    eventually(lambda: not is_beating(), "the thread ends")
    os.close(writer)


def test_a_pipe_that_nobody_empties_does_not_stop_the_child() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        write_without_end(writer)
    beat(writer)
    assert is_beating()
    os.close(reader)
    eventually(lambda: not is_beating(), "the thread ends")
    os.close(writer)
