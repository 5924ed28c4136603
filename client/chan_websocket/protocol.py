"""The control messages of chan_websocket, commands and events, in both control message formats.

The one place that knows their text: what sends, what receives, and the judge use it alike. Pure: no
socket, no clock. Covers the stock driver and the playback marks. Where plain text and JSON name a
field differently, the JSON name is used for both, so that a reader need not know which was spoken.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, get_args

UNPARSEABLE = "UNPARSEABLE"
"""The name that stands for a message in neither format"""

DIRECTIONS = ("in", "out", "both")
"""what SET_MEDIA_DIRECTION takes"""

Id = str | int
"""Of a mark or a flush. Plain text only carries printable ASCII without space."""

MAX_OFFSET = 2**53 - 1
"""of a mark: what every JSON library reads exactly"""

MAX_MESSAGE_BYTES = 1 << 20
"""of media in a message to the patched driver: of a longer one nothing is played, and the
connection ends"""

MarkCommand = Literal["MARK", "MARK_MEDIA"]
"""The two kinds of mark: the patched driver's, and the stock driver's own"""

StockEventName = Literal[
    "DTMF_END",
    "ERROR",
    "MEDIA_BUFFERING_COMPLETED",
    "MEDIA_MARK_PROCESSED",
    "MEDIA_START",
    "MEDIA_XOFF",
    "MEDIA_XON",
    "QUEUE_DRAINED",
    "STATUS",
]
PatchedEventName = Literal[
    "MARK_DISCARDED",
    "MARK_PLAYED",
    "MEDIA_DROPPED",
    "MEDIA_FLUSHED",
    "PLAYBACK",
    "PLAYBACK_RESUMED",
    "PLAYBACK_SUSPENDED",
]
EventName = StockEventName | PatchedEventName
"""the stock driver's, and those that only the patched driver sends"""

STOCK_EVENTS = frozenset[str](get_args(StockEventName))
PATCHED_EVENTS = frozenset[str](get_args(PatchedEventName))

Stage = Literal["sent", "mixed", "delivered"]
"""How far Asterisk followed media on its way to the listener: out of the socket of the channel that
it was for, into a mixer, or into its core."""
STAGES: tuple[str, ...] = get_args(Stage)

DropReason = Literal["overflow", "partial", "direction", "bridge", "unsent", "late"]
"""Why media was dropped: of MEDIA_DROPPED, and of a mark of which nothing else is left"""
DROP_REASONS: tuple[str, ...] = get_args(DropReason)
"""those that nobody gets who has not opted in"""

SUSPENSION_REASONS = (
    *("unbridged", "alone", "dial", "ringing", "unanswered"),
    *("holding", "hold", "audio", "digit", "mute"),
)
"""why nobody can hear a channel, of PLAYBACK_SUSPENDED"""

FormatName = Literal["plain", "json"]
"""A control message format, by its short name"""


class Format(Enum):
    """The control message format. The values are those of the dial option ``f()``."""

    PLAIN = "plain-text"
    JSON = "json"

    @property
    def short_name(self) -> FormatName:
        """Its name where ``plain`` will do for ``plain-text``."""
        return "json" if self is Format.JSON else "plain"


def format_named(name: FormatName) -> Format:
    """The control message format of this name."""
    return Format.JSON if name == "json" else Format.PLAIN


@dataclass(frozen=True)
class ControlMessage:
    """A text message, read.

    Fields of a plain-text message are strings; those of a JSON one have the type they were sent
    with. `number`, `count`, `decimal` and `flag` read either.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""

    @property
    def is_json(self) -> bool:
        """Whether it was sent as JSON."""
        return _looks_like_json(self.raw)

    @property
    def correlation_id(self) -> Id:
        """What the stock driver's commands and events carry; "" for none."""
        return _as_id(self.fields.get("correlation_id"))

    def number(self, name: str) -> float:
        """The field as a number (an int where it is whole); ValueError if it is not one."""
        value = self.fields.get(name)
        try:
            if isinstance(value, str):
                return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
        except ValueError:
            pass
        raise ValueError(f"{self.name} has no number {name!r}: {self.raw}")

    def count(self, name: str) -> int | None:
        """The field as a whole number; None if it is missing or is not one."""
        value = self.fields.get(name)
        try:
            return int(value) if isinstance(value, str | int) else None
        except ValueError:
            return None

    def decimal(self, name: str) -> float | None:
        """The field as a finite number; None if it is missing or is not one."""
        value = self.fields.get(name)
        try:
            number = float(value) if isinstance(value, str | int | float) else math.nan
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None

    def flag(self, name: str) -> bool:
        """The field as yes or no (``true``, ``1``, JSON true); a missing one is a no."""
        return self.fields.get(name) in (True, 1, "true", "1")

    def __str__(self) -> str:
        return self.raw or self.name


@dataclass(frozen=True)
class Event(ControlMessage):
    """A text message from Asterisk."""

    @property
    def id(self) -> Id:
        """Of the mark or the flush that it is about; "" for none."""
        return _as_id(self.fields.get("id"))

    @property
    def playback_marks(self) -> int:
        """Of MEDIA_START: the version of the playback acknowledgements; 0 without the patch."""
        return self.count("playback_marks") or 0

    def matches(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Whether this is an event ``name`` with at least these fields, of the same types."""
        return self.name == name and all(
            key in self.fields
            and self.fields[key] == value
            and type(self.fields[key]) is type(value)
            for key, value in fields.items()
        )


@dataclass(frozen=True)
class Command(ControlMessage):
    """A text message from the application."""

    @property
    def id(self) -> Id | None:
        """Of a MARK or a FLUSH_MEDIA; None without one that the driver takes."""
        given = self.fields.get("id")
        if isinstance(given, str):
            return None if _invalid_id(given, plain=not self.is_json) else given
        if not isinstance(given, int) or isinstance(given, bool):
            return None
        # What does not fit into 64 bits cannot be parsed.
        return given if -(2**63) <= given < 2**63 else None

    @property
    def has_offset(self) -> bool:
        """Whether a MARK says where it stands, validly or not."""
        return self.name == "MARK" and "offset" in self.fields

    @property
    def offset(self) -> int | None:
        """Of a MARK; None without one that the driver takes."""
        given = self.fields.get("offset") if self.has_offset else None
        if isinstance(given, str) and not self.is_json and _DIGITS.fullmatch(given):
            given = int(given)
        if not isinstance(given, int) or isinstance(given, bool):
            return None
        return given if 0 <= given <= MAX_OFFSET else None

    @property
    def sets_mark(self) -> bool:
        """Whether it is a MARK that the driver takes; it gets an ERROR otherwise."""
        valid_offset = not self.has_offset or self.offset is not None
        return self.name == "MARK" and self.id is not None and valid_offset

    @property
    def opts_in(self) -> bool:
        """Whether the driver sends its playback events from here on.

        A command of these that is not valid does it, too: it gets an ERROR of ours.
        """
        if self.name == "FLUSH_MEDIA":
            return "id" in self.fields
        return self.name in ("MARK", "REPORT_PLAYBACK")

    @property
    def direction(self) -> str | None:
        """Of a SET_MEDIA_DIRECTION, one of `DIRECTIONS`; None without one that the driver takes."""
        given = self.fields.get("direction")
        return given if given in DIRECTIONS else None


# --- Commands written -------------------------------------------------------------------------


def command_simple(message_format: Format, command: str) -> str:
    """A command without arguments, such as ``START_MEDIA_BUFFERING`` or ``GET_STATUS``."""
    return _command(message_format, command, {}, lambda: "")


def command_stop_buffering(message_format: Format, correlation_id: str | None = None) -> str:
    """STOP_MEDIA_BUFFERING; with an id MEDIA_BUFFERING_COMPLETED carries it."""
    return _with_correlation_id(message_format, "STOP_MEDIA_BUFFERING", correlation_id)


def command_mark_media(message_format: Format, correlation_id: str | None = None) -> str:
    """MARK_MEDIA, the stock driver's mark; MEDIA_MARK_PROCESSED carries the id."""
    return _with_correlation_id(message_format, "MARK_MEDIA", correlation_id)


def command_mark(message_format: Format, mark_id: Id, offset: int | None = None) -> str:
    """MARK, acknowledged by exactly one of MARK_PLAYED and MARK_DISCARDED.

    It stands at ``offset``, in bytes of media since the start of the stream; by default behind what
    was sent so far.
    """
    if offset is not None and not 0 <= offset <= MAX_OFFSET:
        raise ValueError(
            f"the offset {offset} of MARK is not one: it counts bytes of media, from 0 to"
            f" {MAX_OFFSET}"
        )
    return _with_id(message_format, "MARK", mark_id, offset)


def command_flush(message_format: Format, flush_id: Id | None = None) -> str:
    """FLUSH_MEDIA; with an id (patched driver only) it is answered by MEDIA_FLUSHED."""
    if flush_id is None:
        return command_simple(message_format, "FLUSH_MEDIA")
    return _with_id(message_format, "FLUSH_MEDIA", flush_id)


def command_report_playback(message_format: Format, interval_ms: int | None = None) -> str:
    """REPORT_PLAYBACK: one PLAYBACK event now, or one every ``interval_ms`` (0 stops them)."""
    fields = {} if interval_ms is None else {"interval_ms": interval_ms}
    return _command(message_format, "REPORT_PLAYBACK", fields, lambda: f"interval_ms={interval_ms}")


def command_set_direction(direction: str) -> str:
    """SET_MEDIA_DIRECTION, which the driver knows in JSON only: ``both``, ``in`` or ``out``."""
    return _command(Format.JSON, "SET_MEDIA_DIRECTION", {"direction": direction}, lambda: "")


def _with_correlation_id(message_format: Format, command: str, correlation_id: str | None) -> str:
    fields = {} if correlation_id is None else {"correlation_id": correlation_id}
    return _command(message_format, command, fields, lambda: str(correlation_id))


def _with_id(message_format: Format, command: str, id_: Id, offset: int | None = None) -> str:
    text = str(id_)
    if why := _invalid_id(text, plain=message_format is Format.PLAIN):
        raise ValueError(
            f"the id {text!r} of {command} {why}: an id has 1 to 64 bytes, in plain text of"
            " printable ASCII without space; JSON (dial option f(json)) carries any"
        )
    if offset is None:
        return _command(message_format, command, {"id": id_}, lambda: f"id={text}")
    fields = {"id": id_, "offset": offset}
    return _command(message_format, command, fields, lambda: f"id={text} offset={offset}")


def _command(
    message_format: Format,
    command: str,
    fields: Mapping[str, Any],
    plain_arguments: Callable[[], str],
) -> str:
    if message_format is Format.JSON:
        return json.dumps({"command": command, **fields}, separators=(",", ":"))
    return f"{command} {plain_arguments()}" if fields else command


# --- Messages read ----------------------------------------------------------------------------

# Commands whose plain form has one argument, by the JSON name of the field that it is.
_ARGUMENT = {
    "MARK": "id",
    "FLUSH_MEDIA": "id",
    "REPORT_PLAYBACK": "interval_ms",
    "MARK_MEDIA": "correlation_id",
    "STOP_MEDIA_BUFFERING": "correlation_id",
}
# Events whose plain form is the name, a space and the id of the command as it was sent, spaces
# included.
_ID_IS_REST_OF_LINE = frozenset({"MEDIA_MARK_PROCESSED", "MEDIA_BUFFERING_COMPLETED"})
# The last field of ERROR: it holds spaces and runs to the end of the message.
_ERROR_TEXT = re.compile(r"(?:^|\s)error_text[:=](.*)\Z", re.DOTALL)
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_PLAIN_ID = re.compile(r"[!-~]+")
_DIGITS = re.compile(r"[0-9]{1,512}")
# What ast_strip() takes off both ends of a command before the driver reads it.
_BLANKS = "".join(map(chr, range(0x21)))


def parse_command(text: str) -> Command:
    """Read a text message from the application as the driver does. Never fails, as `parse_event`.

    A field that the driver would refuse is kept: `Command.id` tells of an id, `Command.offset` of
    an offset. The plain argument of REPORT_PLAYBACK is its interval whatever it is, and that of
    MARK_MEDIA and STOP_MEDIA_BUFFERING their id.
    """
    if _looks_like_json(text):
        return Command(*_parse_json(text, "command"))
    name, _, argument = text.strip(_BLANKS).partition(" ")
    fields: dict[str, Any] = {}
    key = _ARGUMENT.get(name)
    if key == "id":
        # FLUSH_MEDIA with anything else behind it is the stock driver's, which takes no id.
        if argument.startswith("id="):
            fields[key] = argument[3:]
            if name == "MARK" and " offset=" in argument:
                # What is not an offset alone is part of it, and is refused with it.
                fields[key], _, fields["offset"] = argument[3:].partition(" offset=")
    elif key == "interval_ms":
        if argument:
            fields[key] = argument.removeprefix("interval_ms=")
    elif key:
        fields[key] = argument
    return Command(name if _NAME.fullmatch(name) else UNPARSEABLE, fields, text)


def parse_event(text: str) -> Event:
    """Read a text message from Asterisk. Never fails: what is unknown is kept as it is.

    An event of an unknown name is read like any other; a message that is neither a JSON event
    nor begins with an event's name becomes an event called `UNPARSEABLE`.
    """
    if _looks_like_json(text):
        return Event(*_parse_json(text, "event"))
    name, _, rest = text.strip("\r\n").partition(" ")
    if not _NAME.fullmatch(name):
        return Event(UNPARSEABLE, raw=text)
    if name in _ID_IS_REST_OF_LINE:
        return Event(name, {"correlation_id": rest}, text)
    fields: dict[str, Any] = {}
    if name == "ERROR" and (found := _ERROR_TEXT.search(rest)):
        fields["error_text"] = found[1]
        rest = rest[: found.start()]
    return Event(name, _tokens(rest) | fields, text)


def _looks_like_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _parse_json(text: str, name_field: str) -> tuple[str, dict[str, Any], str]:
    try:
        value = json.loads(text)
    except ValueError:
        return UNPARSEABLE, {}, text
    if not isinstance(value, dict) or not isinstance(value.get(name_field), str):
        return UNPARSEABLE, {}, text
    return value.pop(name_field), value, text


def _tokens(rest: str) -> dict[str, Any]:
    """The fields of ``key:value`` (the driver's own) and ``key=value`` (the marks') tokens.

    Whichever delimiter comes first ends the key: values may hold the other one.
    """
    fields: dict[str, Any] = {}
    for token in rest.split():
        delimiter = re.search(r"[:=]", token)
        if delimiter and delimiter.start():
            fields[token[: delimiter.start()]] = token[delimiter.end() :]
    return fields


def _invalid_id(text: str, *, plain: bool) -> str:
    """Why the driver refuses this id; empty if it takes it."""
    size = len(text.encode(errors="surrogatepass"))
    if not 1 <= size <= 64:
        return f"has {size} bytes"
    return "cannot be sent in plain text" if plain and not _PLAIN_ID.fullmatch(text) else ""


def _as_id(given: object) -> Id:
    return given if isinstance(given, str | int) else ""
