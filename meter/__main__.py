"""`python -m meter` is the command `meter`."""

from __future__ import annotations

import sys

from meter.cli import main

if __name__ == "__main__":
    sys.exit(main())
