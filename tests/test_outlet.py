"""A stream whose reader is slow, stuck or gone stops nobody, and what it did not take is counted."""

from __future__ import annotations

import io
import os
import threading
from functools import partial

from stage import until

from meter.outlet import Outlet


def test_writes_what_it_is_given() -> None:
    """Lines go out in their order, and all of them before the end."""
    stream = io.BytesIO()
    outlet = Outlet(stream)
    lines = [b"%d\n" % number for number in range(1000)]

    for line in lines:
        outlet.write(line)
    outlet.close()

    assert b"".join(lines) == stream.getvalue()


def test_writes_soon() -> None:
    """A line goes out without another one behind it."""
    stream = io.BytesIO()
    outlet = Outlet(stream)
    outlet.write(b"a\n")

    assert until(lambda: stream.getvalue() == b"a\n")
    outlet.close()


def test_waits_for_no_reader() -> None:
    """Of lines that nobody takes, so many wait, the others are counted, and writing returns at once."""
    reading, writing = os.pipe()
    dropped: list[int] = []
    with os.fdopen(writing, "wb", buffering=0) as pipe, os.fdopen(reading, "rb", buffering=0) as reader:
        outlet = Outlet(pipe, most=100)
        outlet.on_drop = lambda: dropped.append(1)
        line = b"x" * 9999 + b"\n"
        for _ in range(100):
            outlet.write(line)
        until(lambda: not outlet._lines)  # the batch that fills the pipe
        for _ in range(150):
            outlet.write(line)

        assert 50 == len(dropped)

        taken = threading.Thread(
            target=lambda: [reader.read(65536) for _ in range(1000) if not reader.closed]
        )
        taken.daemon = True
        taken.start()
        until(lambda: not outlet._lines)
        outlet.close()


def test_tells_of_a_reader_that_is_gone() -> None:
    """A broken pipe is told of, its lines are counted as lost, and later lines are still tried."""
    reading, writing = os.pipe()
    os.close(reading)
    errors: list[BaseException] = []
    dropped: list[int] = []
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        outlet = Outlet(pipe)
        outlet.on_error, outlet.on_drop = errors.append, lambda: dropped.append(1)
        outlet.write(b"a\n")
        until(lambda: errors)
        outlet.write(b"b\n")
        until(lambda: len(errors) == 2)
        outlet.close()

    assert [BrokenPipeError, BrokenPipeError] == [type(error) for error in errors]
    assert [1, 1] == dropped


def test_long_lines_count_by_their_bytes() -> None:
    """Of lines that nobody takes, no more wait than have so many bytes together."""
    reading, writing = os.pipe()
    dropped: list[int] = []
    with os.fdopen(writing, "wb", buffering=0) as pipe, os.fdopen(reading, "rb", buffering=0) as reader:
        outlet = Outlet(pipe, most_bytes=1_000_000)
        outlet.on_drop = lambda: dropped.append(1)
        outlet.write(b"x" * 500_000)
        until(lambda: not outlet._lines)  # more than the pipe takes
        for _ in range(3):
            outlet.write(b"x" * 400_000)

        assert [1] == dropped

        taken = threading.Thread(target=lambda: list(iter(partial(reader.read, 65536), b"")))
        taken.start()
        until(lambda: not outlet._lines)
        outlet.close()
        pipe.close()
        taken.join()
