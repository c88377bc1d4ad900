"""Where a worker begins: `python -m meter.workers`, with the number of the socket that leads to its parent.

It ends when its parent says so, or is no more. Signals go to whole groups of processes, and mean the parent.
"""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    # Not above: it takes a second, in which a signal would end this process.
    from meter.process import run_loop
    from meter.workers.worker import work

    run_loop(work(int(sys.argv[1])))
