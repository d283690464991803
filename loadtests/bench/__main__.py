"""`python -m loadtests.bench`."""

import sys

if __name__ == "__main__":
    # Not for the processes that an executor spawns: those import this module again.
    from loadtests.bench.cli import main

    sys.exit(main())
