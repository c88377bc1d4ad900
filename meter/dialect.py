"""What an API format must answer, and nothing of any one format.

A dialect knows three things: how to read a request (and how to ask for usage in it), how to read a whole
answer, and how to read one event of a streamed one. What it learns it writes into `Facts`; of an event it
also says, as `Marks`, what the tap has to know to time it and to hide what asking caused. A dialect keeps no
state of its own and never raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import structs

from meter.estimate import text_tokens

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Mapping
    from decimal import Decimal

    from meter.capture import Captured

__all__ = ["MOST_UNWEIGHED", "Dialect", "Facts", "Marks", "Request"]

MOST_UNWEIGHED = 1 << 11
"""Bytes of text that are weighed at once, together; a longer one is weighed by itself."""

_MOST_CHOICES = 128
"""Choices whose finish reasons are kept; nobody offers more."""


class Request(msgspec.Struct, frozen=True):
    """What a dialect read in a request's body."""

    model: str | None = None
    stream: bool = False
    """The client asked for a stream."""
    asking: bytes | None = None
    """The body with usage asked for; None where the client has asked, or where asking is out of place."""
    prompt_tokens: float | None = None
    """An estimate of the tokens that its prompt has; None where nothing can be said of it."""
    characters: int | None = None
    """Characters that are to be spoken; None where nothing is."""
    parameters: Mapping[str, bool | int | float | str] = msgspec.field(default_factory=dict)
    """What it asks for besides, by OpenTelemetry's name; empty where nobody wants to know."""
    question: str | None = None
    """The prompt as it stands, cut and cleansed; None where content is not captured."""

    @property
    def unasked(self) -> Request:
        """The same without the body that asks, which is as long as the client's."""
        return self if self.asking is None else structs.replace(self, asking=None)


class Marks:
    """What an event is; a sum of these, 0 for nothing of note.

    Plain ints: `enum.IntFlag` costs more than the parsing.
    """

    CONTENT = 1
    """Carries text, reasoning, a refusal, a tool call or audio."""
    REASONING = 2
    """Carries reasoning; comes with CONTENT."""
    FINISH = 4
    """Has a choice with a finish reason."""
    USAGE_EVENT = 8
    """Has a usage object and no choice: what asking adds to a stream."""
    USAGE_NULL = 16
    """Has a top-level `usage` that is null: what asking adds to the other events."""
    BARE = 32
    """Carries no content, however long it is; others are taken to if they are too long to be read whole."""


@dataclass(slots=True)
class Facts:
    """What was learned of an answer so far; the last word on each thing counts.

    No struct of msgspec's, as records are: of one of these, every event writes several members.
    """

    response_id: str | None = None
    response_model: str | None = None
    service_tier: str | None = None
    finish_reasons: dict[int, str] = field(default_factory=dict)
    """By index of the choice, in the order in which they came."""
    usage: dict[str, int] | None = None
    units: dict[str, float] = field(default_factory=dict)
    """What is charged for and is not a token, by `meter.exchange.UNITS`."""
    provider_cost_usd: Decimal | None = None
    final_usage: bool = False
    """The usage is the last word: with or after a finish reason, in its own event, or in a whole answer."""
    terminated: bool = False
    """The stream's terminator was seen."""
    pending: bool = False
    """The answer is still being made in the background; what it uses will be told to whoever asks for it."""
    error: str | None = None
    """An error inside the answer: its published code or type, or "" where it names none."""
    weighed: float | None = None
    """What `said` was before `unweighed`."""
    unweighed: bytearray = field(default_factory=bytearray)
    """What was said last: where usage is told in the end, as mostly it is, nobody needs an estimate of it."""
    captured: Captured | None = None
    """Takes down what was said; None where content is not captured."""
    spoken: str | None = None
    """The text that was said since this was None; "" where there were several."""
    part: Hashable = None
    """What is being said: of which choice, which part. What is said by turns is told apart by it."""

    def fail(self, error: str | None) -> None:
        """Take note of an error: its name, or "" where it has none; None is no error."""
        if error is not None:
            self.error = error or self.error or ""

    @property
    def said(self) -> float | None:
        """An estimate of the tokens of content that was seen; None where no answer was."""
        if self.unweighed:
            self.weigh()
        return self.weighed

    @property
    def begun(self) -> bool:
        """Some content was seen."""
        return bool(self.weighed or self.unweighed)

    def answered(self) -> None:
        """Take note that an answer was seen, if one without text."""
        self.weighed = self.weighed or 0.0

    def finish(self, index: int, reason: str) -> None:
        """Take note of why a choice ended."""
        if len(self.finish_reasons) < _MOST_CHOICES:
            self.finish_reasons[index] = reason

    def say(self, text: Any) -> None:
        """Take note of a piece of content; what is no text, such as audio, is not estimated."""
        if isinstance(text, str):
            self.hear(text.encode("utf-8", "replace"))
            self.spoken = text if self.spoken is None else ""
            if self.captured is not None:
                self.captured.add(text, self.part)

    def hear(self, text: bytes) -> None:
        """Take note of the UTF-8 of a piece of content."""
        if self.unweighed and len(self.unweighed) + len(text) > MOST_UNWEIGHED:
            self.weigh()
        self.unweighed += text
        if self.weighed is None:
            self.weighed = 0.0

    def weigh(self) -> None:
        """Estimate what was said last."""
        # Rounded, for the same to come out however a text is cut.
        self.weighed = round((self.weighed or 0.0) + text_tokens(self.unweighed.decode()), 2)
        self.unweighed.clear()

    @property
    def transcript(self) -> str | None:
        """What was said, cut and cleansed; None where content is not captured."""
        return None if self.captured is None else self.captured.text


class Dialect(Protocol):
    """One API format, of one kind of call."""

    @property
    def operation(self) -> str:
        """What metrics call this kind of call."""
        ...

    @property
    def consumes(self) -> bool:
        """Whether an answer should tell what it used; where not, one that tells nothing lacks nothing."""
        ...

    @property
    def streams_array(self) -> bool:
        """Whether an answer of JSON is a stream: one array, element by element."""
        ...

    @property
    def returned(self) -> tuple[str, ...]:
        """Members of a usage event that the client would have had on the last event with a choice."""
        ...

    def read_request(self, body: bytes) -> Generator[None, None, Request]:
        """Read a request's body, giving way by a `yield` now and then; return what it says."""
        ...

    def read_answer(self, body: bytes, facts: Facts) -> None:
        """Read a whole answer that is not a stream."""
        ...

    def read_event(self, name: bytes, data: bytes, facts: Facts) -> int:
        """Read the data of one event of a stream; return its `Marks`."""
        ...
