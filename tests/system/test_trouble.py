"""A shortage is one line for its first failure and another for the next success."""

from __future__ import annotations

import errno

import pytest
from structlog.testing import capture_logs

from afterwards.logs import get_logger
from afterwards.system.trouble import Trouble, is_shortage


def refused(number: int) -> OSError:
    return OSError(number, "refused")


def test_what_fails_again_and_again_is_said_once_until_it_works() -> None:
    trouble = Trouble(get_logger("test"), "no pipe")
    with capture_logs() as lines:
        for errors in ([refused(errno.EMFILE), MemoryError()], [None], [refused(errno.EMFILE)]):
            for error in errors:
                with trouble.survived():
                    if error is not None:
                        raise error

    assert [(line["event"], line["error"]) for line in lines] == [
        ("no pipe", "[Errno 24] refused")
    ] * 2


def test_a_mistake_is_no_trouble() -> None:
    with pytest.raises(KeyError), Trouble(get_logger("test"), "no pipe").survived():
        raise KeyError


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (refused(errno.EMFILE), True),
        (refused(errno.ENFILE), True),
        (refused(errno.EAGAIN), True),
        (MemoryError(), True),
        (refused(errno.ENOENT), False),
        (refused(errno.EACCES), False),
        (ValueError(), False),
    ],
)
def test_a_shortage_is_told_from_an_answer(error: Exception, short: bool) -> None:
    assert is_shortage(error) is short
