"""What is known of goals that are not met: what was tried, and what stands in the way.

Told below the table of goals, of those alone that a run has found to be missed. Whoever comes nearer corrects
what is said here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REMARKS"]

REMARKS: Mapping[str, str] = {}
"""By the goal's figure."""
