"""Load tests for Locust: users of four kinds, the verdict, and nothing else.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000

works against any running service; `make load` starts one. Named at the end, one kind of user comes
alone: `locust ... Burst`.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Locust puts the folder of this file on the path; the package is found from the folder above.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from loadtests import verdict
from loadtests.scenarios.browse import Browse
from loadtests.scenarios.burst import Burst
from loadtests.scenarios.read_heavy import ReadHeavy
from loadtests.scenarios.retry import Retry

__all__ = ["Browse", "Burst", "ReadHeavy", "Retry"]

verdict.install()
