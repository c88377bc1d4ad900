"""The connection to an upstream, behind a narrow face: told to add and keep nothing.

A request goes out with exactly the fields it is given (and the Host that follows from the origin); an answer
comes back as status, reason, raw fields, and pieces of a body that nobody has decoded.
"""

from __future__ import annotations

from meter.upstream.answer import Answer
from meter.upstream.client import Client
from meter.upstream.errors import BrokenOffError, TimedOutError, UnreachableError

__all__ = ["Answer", "BrokenOffError", "Client", "TimedOutError", "UnreachableError"]
