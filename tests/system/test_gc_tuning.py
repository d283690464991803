"""The collector's settings, in a process of their own: they are the whole process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

STORY = """
import gc
class Loaded:
    pass
loaded = Loaded()
from afterwards.system.gc_tuning import YOUNG_OBJECTS, spare_the_loaded
spare_the_loaded()
assert gc.get_threshold()[0] == YOUNG_OBJECTS
assert not any(thing is loaded.__dict__ or thing is loaded for thing in gc.get_objects())
made = Loaded()
made.itself = made
assert gc.isenabled()
del made
assert gc.collect() >= 1, "what is made later is still collected"
"""

FORKED = """
import gc, os
class Loaded:
    pass
loaded = Loaded()
loaded.itself = loaded
from afterwards.system.gc_tuning import share_the_loaded
share_the_loaded()
child = os.fork()
if child == 0:
    is_looked_through = any(thing is loaded.__dict__ for thing in gc.get_objects())
    os._exit(is_looked_through)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.parametrize("story", [STORY, FORKED], ids=["one process", "forked"])
def test_what_is_loaded_is_spared_and_what_comes_later_is_collected(story: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", story], capture_output=True, text=True, check=False, timeout=30
    )
    assert (run.returncode, run.stderr) == (0, "")
