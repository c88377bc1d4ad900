"""Runs Meter and takes samples of where it is: `python -m bench.sampler FILE serve --config ...`.

A timer that counts CPU time interrupts the process every 4 ms or so; Python runs the signal's handler before
its next call or jump, which is in the function that was running, or that had called into C. What the event
loop does in C between two callbacks ends at the first instruction of the next one: samples there are the
loop's. SIGUSR1 forgets what was taken; SIGUSR2 writes it to the file, a line of files from the innermost
outward for each stack, behind the number of its samples.
"""

from __future__ import annotations

import opcode
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from meter.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

LOOP = "<loop>"
EVERY_S = 0.004
_BEGINS = opcode.opmap["RESUME"]
_RUNNERS = ("asyncio/runners.py", "asyncio/base_events.py", "uvloop/__init__.py")


def stack(frame: FrameType) -> Iterator[str]:
    """Give the files of a stack."""
    if _is_callback(frame) and frame.f_code.co_code[frame.f_lasti] == _BEGINS:
        yield LOOP
    outward: FrameType | None = frame
    while outward is not None and not _runs_loop(outward):
        yield outward.f_code.co_filename
        outward = outward.f_back


def _is_callback(frame: FrameType) -> bool:
    return frame.f_back is None or _runs_loop(frame.f_back)


def _runs_loop(frame: FrameType) -> bool:
    return frame.f_code.co_filename.endswith(_RUNNERS)


def sample(file: Path) -> None:
    """Begin to take samples."""
    taken: Counter[str] = Counter()

    def take(_number: int, frame: FrameType | None) -> None:
        if frame is not None:
            taken[";".join(stack(frame))] += 1

    def forget(_number: int, _frame: FrameType | None) -> None:
        taken.clear()

    def write(_number: int, _frame: FrameType | None) -> None:
        half = file.with_suffix(".half")
        half.write_text("".join(f"{count} {files}\n" for files, count in taken.most_common()))
        half.rename(file)

    for number, do in ((signal.SIGPROF, take), (signal.SIGUSR1, forget), (signal.SIGUSR2, write)):
        signal.signal(number, do)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)


if __name__ == "__main__":
    sample(Path(sys.argv.pop(1)))
    sys.argv[0] = "meter"
    sys.exit(main())
