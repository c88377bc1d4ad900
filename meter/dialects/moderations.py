"""Moderations: POST .../moderations, which answer as embeddings do, with a prompt's usage or none.

OpenAI's are free and tell no usage, and an answer without one lacks nothing; where one is told, as Mistral
does, it is counted.
"""

from __future__ import annotations

from meter.dialects.embeddings import Embeddings

__all__ = ["Moderations"]


class Moderations(Embeddings):
    """The dialect of moderations."""

    operation = "moderation"
    consumes = False
    prompt = ()
