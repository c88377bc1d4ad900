"""Tells the log: one JSON object a line, or one line for people.

`Journal` is what the whole program writes with, by a logger that `configure` makes: `timestamp`, `level`,
`event`, then whatever the event has to say. The event `exchange` says all that is known of one. Nothing here
knows a query or a credential, nor a prompt or an answer unless they are asked for, and messages of libraries,
which may, are replaced by who spoke and how loud.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
import structlog
from msgspec.structs import asdict
from structlog.typing import FilteringBoundLogger

from meter.exchange import PriceStatus
from meter.labels import NONE
from meter.outlet import Outlet
from meter.telling import Line, Loudness, fields, lined, rfc3339, sound
from meter.telling import content as spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from typing import BinaryIO, Literal, TextIO, TypeAlias

    from meter.exchange import Exchange

    Event: TypeAlias = MutableMapping[str, Any]

__all__ = ["Heedful", "Journal", "LibraryLog", "LogSink", "configure", "fields"]

_LEVELS = logging.getLevelNamesMapping()

# Valid in JSON as they are, but `str.splitlines` and others would see a new line.
_LINE_BREAKS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
# What a terminal would obey, or write from right to left, and JSON does not escape.
_CONTROL = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_WORD = re.compile(r"[\w./:@%+-]+")
_EMPTY: tuple[Any, ...] = (None, "", {}, [], ())
_COLOURS = {"debug": 2, "info": 32, "warning": 33, "error": 31, "critical": 31}


class Journal:
    """The logger that the whole program writes with, once it has been told how; it may be told again."""

    def __init__(self, stream: TextIO | BinaryIO | None = None) -> None:
        """Write to `stream`; where there is none, to standard output, without ever waiting for its reader."""
        self._outlet = Outlet(_binary(sys.stdout)) if stream is None else None
        self._stream = stream
        self.settle("info", "json")

    def settle(self, level: str, format: Literal["json", "console"]) -> None:  # noqa: A002 - the setting's name
        """Write this way from now on."""
        colour = (self._stream or sys.stdout).isatty()
        self._log = configure(level, format, self._outlet or self._stream, colour=colour)

    def tell(self, on_drop: Callable[[], None], on_error: Callable[[BaseException], None]) -> None:
        """Tell of lines that there is no room for, and of errors in writing; either from any thread."""
        if self._outlet is not None:
            self._outlet.on_drop, self._outlet.on_error = on_drop, on_error

    def close(self) -> None:
        """Write what is left."""
        if self._outlet is not None:
            self._outlet.close()

    def note(self, level: str, event: str, **told: Any) -> None:
        """Write a line on which nothing depends: standard output may be gone."""
        with suppress(OSError, ValueError):
            getattr(self._log, level)(event, **told)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class Heedful(Protocol):
    """What takes events down."""

    def log(self, level: int, event: str, **told: Any) -> Any:
        """Take one down; `level` is a number of `logging`."""


class LogSink:
    """Writes an event `exchange` for each exchange that the log is to tell of."""

    name = "log"

    def __init__(self, log: Log | Journal) -> None:
        self._log = log
        self.settle()

    def settle(
        self,
        outcomes: Mapping[str, str] | None = None,
        sample: Mapping[str, float] | None = None,
        *,
        content: bool = False,
    ) -> None:
        """Write this way from now on: as `Loudness` says, with prompts and answers if `content`."""
        self._loudness = Loudness(outcomes, sample)
        self._content = content

    def __call__(self, exchange: Exchange) -> None:
        """Write one line; raises what the stream raises."""
        level = self._loudness(exchange)
        if level is not None:
            self._log.tell_exchange(level, exchange, content=self._content)

    def close(self) -> None:
        """Do nothing: the journal is closed last, for others write in it too."""


def configure(
    level: str = "info",
    format: Literal["json", "console"] = "json",  # noqa: A002  the setting's own name
    stream: TextIO | BinaryIO | Outlet | None = None,
    *,
    colour: bool | None = None,
) -> Log:
    """Make the logger that writes to `stream` (standard output) what is at least as urgent as `level`.

    `colour` is for people's lines; None: where the stream is a terminal. Changes nothing global. Raises
    `KeyError` for a level that `logging` does not know.
    """
    stream = sys.stdout if stream is None else stream
    if colour is None:
        colour = not isinstance(stream, Outlet) and stream.isatty()
    shown: Callable[[Any], bytes] = _encode if format == "json" else partial(_console, colour=colour)
    filtering: Any = structlog.make_filtering_bound_logger(_LEVELS[level.upper()])
    log = structlog.wrap_logger(
        structlog.BytesLogger(_binary(stream)),
        processors=[_ordered, lambda _logger, _method, event: shown(event)],
        wrapper_class=type("Log", (_Exchanges, filtering), {"_shown": staticmethod(shown)}),
        context_class=dict,
    )
    # Binding once gives the logger itself; the proxy for it would build another one for each line.
    return cast("Log", log.bind())


class Log(FilteringBoundLogger, Protocol):
    """A logger that tells of exchanges too."""

    def tell_exchange(self, level: str, exchange: Exchange, *, content: bool) -> None:
        """Write an event `exchange`, unless it is not urgent enough; raises what the stream raises."""


class _Exchanges:
    """How a logger tells of exchanges: past structlog, where every call copies what is told."""

    _logger: structlog.BytesLogger
    _shown: Callable[[Any], bytes]
    is_enabled_for: Callable[[int], bool]

    def tell_exchange(self, level: str, exchange: Exchange, *, content: bool) -> None:
        if self.is_enabled_for(_LEVELS[level.upper()]):
            line = lined(exchange, level)
            self._logger.msg(self._shown({**asdict(line), **spoken(exchange)} if content else line))


class LibraryLog(logging.Handler):
    """Takes what libraries say through `logging`, and tells who spoke, how loud, and of which exception.

    Never what was said: aiohttp and asyncio put requests, paths and whatever a task was doing into messages.
    """

    def __init__(self, log: Heedful) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event `library`; a stream that is gone is nobody's concern here."""
        kind = record.exc_info[0] if record.exc_info else None
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        # Not `handleError`: it prints the record, message and all, to standard error.
        with suppress(OSError, ValueError):
            self._log.log(level, "library", logger=record.name, exception=kind and kind.__name__)


class _Encoded:
    """A text stream that has no binary one below it, as a binary stream."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream
        self.flush = stream.flush

    def write(self, line: bytes) -> None:
        self._stream.write(line.decode())


def _binary(stream: TextIO | BinaryIO | Outlet) -> Any:
    # Below the text layer where there is one: it would translate line ends and choose an encoding.
    below: Any = getattr(stream, "buffer", stream)
    return _Encoded(below) if isinstance(below, io.TextIOBase) else below


def _ordered(_logger: object, level: str, event: Event) -> Event:
    name, moment = event.pop("event"), rfc3339(datetime.now(UTC))
    return {"timestamp": moment, "level": level, "event": name, **event}


def _console(told: Event | Line, *, colour: bool) -> bytes:
    event = asdict(told) if isinstance(told, Line) else told
    moment, level, name = (event.pop(field) for field in ("timestamp", "level", "event"))
    head = f"{moment[11:23]} {level:<8} "
    if name == "exchange":
        head += f"{event['outcome']:<14}"
        said = _told(event)
    else:
        head += _readable(name)
        said = " ".join(
            f"{field}={_readable(value)}" for field, value in event.items() if value not in _EMPTY
        )
    if colour:
        head = f"\x1b[{_COLOURS[level]}m{head}\x1b[0m"
    return f"{head} {said}".encode()


def _told(event: Event) -> str:
    """Say of an exchange what a person looks for; all of it is in the JSON."""
    usage = event["usage"]
    cost, first = event["cost_usd"], event["ttft_s"]
    columns = (
        f"{event['status'] or '-':>3} {_readable(event['operation']):<16}",
        f"{_readable(_what(event)):<34}",
        f"{_readable(event['key']):<14}",
        f"{_tokens(usage, 'input'):>7} in {_tokens(usage, 'output'):>6} out",
        f"{_dollars(cost) if event['price_status'] != PriceStatus.NONE else '':<15}",
        f"{event['duration_s']:>7.3f}s" + (f", first {first:.3f}s" if first is not None else ""),
        _readable(event["error_type"]) if event["error_type"] not in ("", event["outcome"]) else "",
    )
    return "  ".join(columns).rstrip()


def _what(event: Event) -> str:
    return f"{event['upstream']}{event['path'] if event['model'] == NONE else '/' + event['model']}"


def _dollars(cost: msgspec.Raw | None) -> str:
    return "$ ?" if cost is None else "$" + bytes(cost).decode().rstrip("0").rstrip(".")


def _tokens(usage: dict[str, int], side: str) -> str:
    told = [count for kind, count in usage.items() if kind.startswith(side)]
    return f"{sum(told):,}" if told else "-"


def _readable(value: object) -> str:
    text = _CONTROL.sub("\ufffd", _encode(value).decode())
    bare = text[1:-1]
    return bare if isinstance(value, str) and _WORD.fullmatch(bare) else text


def _encode(value: object) -> bytes:
    try:
        line = _ENCODER.encode(value)
    except UnicodeEncodeError:
        line = _ENCODER.encode(sound(asdict(value) if isinstance(value, Line) else value))
    if line.isascii():
        return line
    for raw, escaped in _LINE_BREAKS:
        line = line.replace(raw, escaped)
    return line


def _named(value: object) -> str:
    # An exception's text may quote what it failed on.
    return type(value).__name__ if isinstance(value, BaseException) else str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_named)
