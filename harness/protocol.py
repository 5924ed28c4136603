"""The messages of chan_websocket, both spellings, as text. Pure: no socket, no clock.

Covers the stock driver's commands and events and those of the playback marks. Where plain text
and JSON differ in how they spell a field, the JSON name is used for both, so that a reader of
events need not know which was spoken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from harness.errors import InputFault

UNPARSEABLE = "UNPARSEABLE"
"""The name of the event that stands for a message in neither spelling"""

Id = str | int
"""Of a mark or a flush. Plain text only carries printable ASCII without space."""


FormatName = Literal["plain", "json"]
"""A control message format, as scenarios and lab files name it"""


class Format(Enum):
    """The control message format. The values are those of the dial option ``f()``."""

    PLAIN = "plain-text"
    JSON = "json"

    @property
    def short_name(self) -> FormatName:
        """As scenarios and lab files name it."""
        return "json" if self is Format.JSON else "plain"


def format_named(name: FormatName) -> Format:
    """The control message format of this name."""
    return Format.JSON if name == "json" else Format.PLAIN


@dataclass(frozen=True)
class Event:
    """A text message from Asterisk.

    Fields of a plain-text event are strings; those of a JSON event have the type they were sent
    with. `number` and `flag` read either.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""

    def number(self, name: str) -> float:
        """The field as a number (an int where it is whole); InputFault if it is none."""
        value = self.fields.get(name)
        try:
            if isinstance(value, str):
                return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
        except ValueError:
            pass
        raise InputFault(f"{self.name} has no number {name!r}: {self.raw}")

    def flag(self, name: str) -> bool:
        """The field as yes or no (``true``, ``1``, JSON true); a missing one is no."""
        return self.fields.get(name) in (True, 1, "true", "1")

    def matches(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Whether this is an event ``name`` with at least these fields, of the same types."""
        return self.name == name and all(
            key in self.fields
            and self.fields[key] == value
            and type(self.fields[key]) is type(value)
            for key, value in fields.items()
        )

    def __str__(self) -> str:
        return self.raw or self.name


# --- Commands -------------------------------------------------------------------------------


def command_simple(message_format: Format, command: str) -> str:
    """A command without arguments, such as ``START_MEDIA_BUFFERING`` or ``GET_STATUS``."""
    return _command(message_format, command, {}, lambda: "")


def command_stop_buffering(message_format: Format, correlation_id: str | None = None) -> str:
    """STOP_MEDIA_BUFFERING; with an id MEDIA_BUFFERING_COMPLETED carries it."""
    return _with_correlation_id(message_format, "STOP_MEDIA_BUFFERING", correlation_id)


def command_mark_media(message_format: Format, correlation_id: str | None = None) -> str:
    """MARK_MEDIA, the stock driver's mark; MEDIA_MARK_PROCESSED carries the id."""
    return _with_correlation_id(message_format, "MARK_MEDIA", correlation_id)


def command_mark(message_format: Format, mark_id: Id) -> str:
    """MARK, answered by exactly one of MARK_PLAYED and MARK_DISCARDED."""
    return _with_id(message_format, "MARK", mark_id)


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


def _with_id(message_format: Format, command: str, id_: Id) -> str:
    text = str(id_)
    if not 1 <= len(text.encode()) <= 64:
        raise InputFault(
            f"the id {text!r} of {command} has {len(text.encode())} bytes",
            "An id has 1 to 64 bytes.",
        )
    if message_format is Format.PLAIN and not re.fullmatch(r"[!-~]+", text):
        raise InputFault(
            f"the id {text!r} of {command} cannot be sent in plain text",
            "Use printable ASCII without space, or JSON (dial option f(json)).",
        )
    return _command(message_format, command, {"id": id_}, lambda: f"id={text}")


def _command(
    message_format: Format,
    command: str,
    fields: Mapping[str, Any],
    plain_arguments: Callable[[], str],
) -> str:
    if message_format is Format.JSON:
        return json.dumps({"command": command, **fields}, separators=(",", ":"))
    return f"{command} {plain_arguments()}" if fields else command


# --- Events ---------------------------------------------------------------------------------

# Their plain form is the name, a space and the id of the command as it was sent, spaces included.
_ID_IS_REST_OF_LINE = frozenset({"MEDIA_MARK_PROCESSED", "MEDIA_BUFFERING_COMPLETED"})
# The last field of ERROR: it holds spaces and runs to the end of the message.
_ERROR_TEXT = re.compile(r"(?:^|\s)error_text[:=](.*)\Z", re.DOTALL)


def parse_event(text: str) -> Event:
    """Read a text message from Asterisk. Never fails: what is unknown is kept as it is.

    An event of an unknown name is read like any other; a message that is neither a JSON event
    nor begins with an event's name becomes an event called `UNPARSEABLE`.
    """
    if text.lstrip().startswith("{"):
        return _parse_json(text)
    name, _, rest = text.strip("\r\n").partition(" ")
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        return Event(UNPARSEABLE, raw=text)
    if name in _ID_IS_REST_OF_LINE:
        return Event(name, {"correlation_id": rest}, text)
    fields: dict[str, Any] = {}
    if name == "ERROR" and (found := _ERROR_TEXT.search(rest)):
        fields["error_text"] = found[1]
        rest = rest[: found.start()]
    return Event(name, _tokens(rest) | fields, text)


def _parse_json(text: str) -> Event:
    try:
        value = json.loads(text)
    except ValueError:
        return Event(UNPARSEABLE, raw=text)
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        return Event(UNPARSEABLE, raw=text)
    return Event(value["event"], {key: item for key, item in value.items() if key != "event"}, text)


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
