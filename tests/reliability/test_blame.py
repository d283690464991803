"""The attempt that ended its host is found among all in it, and no other is blamed."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.reliability.conftest import NewService

pytestmark = pytest.mark.timeout(150)

INNOCENT = 200


def test_one_that_ends_its_host_is_blamed_alone_among_hundreds(new_service: NewService) -> None:
    service = new_service(workers="1", grace_seconds="1")
    service.start()
    innocent = [service.add("nap", {"seconds": 1.0}) for _ in range(INNOCENT)]
    guilty = service.add("exit", {"how": "exit"})

    ended = service.ended(guilty)
    others = service.all_ended(innocent)
    assert (ended.state, ended.lost_attempts) == ("failed", 3)
    assert Counter((task.state, task.lost_attempts) for task in others) == {
        ("success", 0): INNOCENT
    }
    document = service.get(f"/tasks/{guilty}?history=1").json()
    outcomes = [attempt["outcome"] for attempt in document["history"]]
    assert outcomes[-3:] == ["lost"] * 3
    assert set(outcomes[:-3]) == {"suspected"}
    assert service.stop() == 0
