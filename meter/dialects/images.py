"""Images: POST .../images/generations, .../images/edits and .../images/variations.

Some models charge by the token and tell a usage; others charge by the piece and tell nothing, so that their
images are counted. Never both: a count that nobody has a price for makes the cost unknown.

No prompt is estimated: nearly all that an image costs is its output, which cannot be guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from meter import inquiry
from meter.dialect import Facts, Marks, Request
from meter.dialects.reading import told_in
from meter.errors import error_of
from meter.lenient import Shape, name
from meter.usage import cost_usd, from_openai

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["ImageEdits", "ImageGenerations"]

_LAST = ".completed"
"""How the type of a stream's last event ends: `image_generation.completed`, `image_edit.completed`."""


class _Answer(msgspec.Struct):
    id: Any = None
    object: Any = None
    model: Any = None
    data: Any = None
    b64_json: Any = None
    url: Any = None
    usage: Any = None
    type: Any = None
    code: Any = None
    error: Any = None

    @property
    def image(self) -> bool:
        """Whether an event has an image: its bytes, which may have been left out here, or its address."""
        return isinstance(self.b64_json, str) or isinstance(self.url, str)


_answer = Shape(_Answer)


class ImageGenerations:
    """The dialect of images made from a text."""

    operation = "image_generation"
    consumes = True
    streams_array = False
    returned = ()

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body."""
        told = yield from inquiry.read(body)
        return Request(model=told.model, stream=told.streams)

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole JSON answer."""
        told = told_in(_answer, body, facts)
        if told is None:
            return
        data = told.data if isinstance(told.data, list) else []
        made = sum(1 for image in data if isinstance(image, dict) and not image.get("error"))
        _read(told, facts, made)
        facts.final_usage = facts.usage is not None

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read one event's data."""
        told = told_in(_answer, data, facts, name)
        if told is None:
            return 0
        last = isinstance(told.type, str) and told.type.endswith(_LAST)
        _read(told, facts, 1 if last and told.image else 0)
        if name == b"error":
            facts.fail(error_of({"error": msgspec.structs.asdict(told)}))
        if last:
            facts.terminated = True
            facts.final_usage = facts.usage is not None
        return Marks.CONTENT if told.image else 0


class ImageEdits(ImageGenerations):
    """The dialect of images made from images; their requests are forms, and not read."""

    operation = "image_edit"


def _read(told: _Answer, facts: Facts, made: int) -> None:
    """Take what one object says into `facts`; `made` is how many whole images it has."""
    facts.response_id = name(told.id) or facts.response_id
    facts.response_model = name(told.model) or facts.response_model
    facts.fail(error_of(msgspec.structs.asdict(told)))
    if isinstance(told.usage, dict):
        facts.usage = from_openai(told.usage, output="output_image") or facts.usage
        facts.provider_cost_usd = cost_usd(told.usage)
    if any((facts.usage or {}).values()):
        facts.units.pop("images", None)
    elif made:
        facts.units["images"] = facts.units.get("images", 0) + made
