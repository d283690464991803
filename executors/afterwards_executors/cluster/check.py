"""Says whether calls may be given to a cluster.

    python -P -m afterwards_executors.cluster.check ADDRESS

Status 0: they may. 3: they may not, and a line on the standard output says why. 1: the scheduler
cannot be reached.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Final

from afterwards_executors.cluster.session import LOST, Session
from afterwards_executors.cluster.settings import ClusterSettings, NotForUs

REACHED: Final = 0
NOT_REACHED: Final = 1
UNFIT: Final = 3


async def check(address: str) -> tuple[int, str]:
    """The status, and the line."""
    session = Session(ClusterSettings(address), lambda **_: None)
    try:
        await session.open(with_stations=False)
    except NotForUs as error:
        return UNFIT, str(error)
    except LOST as error:
        return NOT_REACHED, str(error) or type(error).__name__
    finally:
        await session.close()
    return REACHED, ""


def main() -> None:
    """Leave with the status."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    status, line = asyncio.run(check(sys.argv[1]))
    sys.stdout.write(line + "\n" if line else "")
    sys.exit(status)


if __name__ == "__main__":
    main()
