"""The start of a service with a Dask cluster: is it there, and may attempts be given to it?"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Final

from afterwards.errors import ConfigurationError
from afterwards.logs import get_logger
from afterwards.settings import Settings
from afterwards.system.child_environment import child_environment

log = get_logger(__name__)

ASK_SECONDS: Final = 15.0
UNFIT: Final = 3
"""The exit status of the child that asks, if no attempt may be given to the cluster."""


def require_cluster(settings: Settings) -> None:
    """See that the cluster can be used, if there is to be one. Blocks.

    A child asks: Dask's client unpickles what it is sent. A scheduler that cannot be reached is no
    mistake of the settings, and may be there later.

    Raises:
        ConfigurationError: the packages are not installed, or the scheduler would run attempts
            more than once, or has another version of this service.
        OSError: no process can be started.
    """
    address = settings.dask_scheduler
    if not address:
        return
    if find_spec("distributed") is None:
        problem = "needs packages that are not installed: pip install 'afterwards[dask]'"
        raise ConfigurationError(settings.name_of("dask_scheduler"), problem)
    try:
        asked = subprocess.run(
            [sys.executable, "-P", "-m", "afterwards_executors.cluster.check", address],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        problem = f"it does not answer in {ASK_SECONDS:g} s"
    else:
        problem = asked.stdout.strip()
        if asked.returncode == UNFIT:
            raise ConfigurationError(settings.name_of("dask_scheduler"), problem)
        if asked.returncode == 0:
            return
        problem = problem or asked.stderr.strip().rpartition("\n")[2]
    log.warning(
        "Dask scheduler cannot be reached; tasks of the executor `dask` wait until it can",
        scheduler=address,
        reason=problem,
    )
