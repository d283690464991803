"""`python -m app.cli`: the same as the console script `bgtasks`."""

import sys

from app.cli import main

if __name__ == "__main__":
    sys.exit(main())
