"""`python -m afterwards.cli`: the same as the console script `bgtasks`."""

import sys

from afterwards.cli import main

if __name__ == "__main__":
    sys.exit(main())
