"""`make chaos`: a run of any length, with its findings."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--per-second", type=float, default=150, help="submissions")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="afterwards-chaos-"))
    sys.stdout.write(f"seed {arguments.seed}; in {directory}, kept if it fails\n")
    findings = run(directory, arguments.seconds, arguments.seed, arguments.per_second)
    sys.stdout.write(findings.report() + "\n")
    if findings.failures:
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
