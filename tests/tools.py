"""Programs that tests run beside Python, and what happens where one is missing.

On somebody's machine a test skips and says how to get the program; where `CI` is `true` it fails, so that
nothing goes unchecked there unnoticed.
"""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["needed"]


def needed(program: str, install: str) -> str:
    """Return the path of a program; where it is missing, skip with the command that installs it, or fail."""
    found = shutil.which(program)
    if found is not None:
        return found
    reason = f"{program} is not installed; get it with: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
