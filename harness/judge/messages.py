"""What the text messages of a call say, as far as the judge needs it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.capture.timeline import Message

MarkId = str | int
"""as in the message: a JSON integer stays one, since it must be echoed with the same type"""

DIRECTIONS = ("in", "out", "both")
"""what SET_MEDIA_DIRECTION takes"""

_PLAIN_ID = re.compile(r"[!-~]{1,64}")


def read_command(message: Message) -> tuple[str, MarkId | None, MarkId]:
    """A command's name, its valid id (of MARK or FLUSH_MEDIA) if it has one, its other argument.

    That other argument is what MARK_MEDIA is given, which takes any text, even none.
    """
    value = message.json()
    if value is not None:
        name = str(value.get("command", ""))
        return name, _json_id(value), as_id(value.get("correlation_id"))
    name, _, argument = message.text.strip().partition(" ")
    return name, _plain_id(argument), argument


def read_event(message: Message) -> tuple[str, dict[str, Any]]:
    """An event's name and fields; those of a plain-text event are strings."""
    fields = message.json()
    if fields is not None:
        return str(fields.get("event", "")), fields
    name, _, rest = message.text.strip().partition(" ")
    if name == "MEDIA_MARK_PROCESSED":
        return name, {"correlation_id": rest}
    if name == "ERROR":  # written as the driver writes it: with colons, the free text at the end
        known = rest.partition(" error_text:")[0].split(" ")
        return name, dict(part.partition(":")[::2] for part in known if ":" in part)
    return name, dict(part.partition("=")[::2] for part in rest.split(" ") if "=" in part)


def asks(message: Message) -> bool:
    """Whether a command makes Asterisk tell what it tells only those who ask.

    Also one that is not valid does: it is answered by an ERROR of our own.
    """
    value = message.json()
    if value is not None:
        name, has_id = str(value.get("command", "")), "id" in value
    else:
        name, _, argument = message.text.strip().partition(" ")
        has_id = argument.startswith("id=")
    return name in ("MARK", "REPORT_PLAYBACK") or (name == "FLUSH_MEDIA" and has_id)


def asks_once(message: Message) -> bool:
    """Whether a command asks for one PLAYBACK now."""
    value = message.json()
    if value is not None:
        return value.get("command") == "REPORT_PLAYBACK" and "interval_ms" not in value
    return message.text.strip() == "REPORT_PLAYBACK"


def as_id(given: object) -> MarkId:
    """An id as it was given; "" for none."""
    return given if isinstance(given, (str, int)) else ""


def as_count(value: object) -> int | None:
    """A whole number in either spelling; None for anything else."""
    try:
        return int(value) if isinstance(value, (str, int)) else None
    except ValueError:
        return None


def as_number(value: object) -> float | None:
    """A finite number in either spelling; None for anything else."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@dataclass
class _Loss:
    """What a MEDIA_DROPPED tells of."""

    begin: int
    """no byte before this offset is meant"""
    end: int
    """nor one from here on: it had not been sent yet"""
    left: int
    """bytes of it that nothing has been held against so far"""


class Losses:
    """What the MEDIA_DROPPED events of a call tell of as lost.

    An event adds up what was lost since the one before it. So it may come after the mark that its
    bytes were before, and says only where the first of them was; the others were behind that, and
    before what had been sent when it came. Which bytes a bridge lost Asterisk cannot know for sure:
    only how many.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        sent = 0
        found: list[tuple[int, int, int, bool]] = []
        for message in messages:
            if message.sender == "application" and message.kind == "binary":
                sent += len(message.data)
            elif message.sender == "asterisk" and message.kind == "text":
                name, fields = read_event(message)
                if name == "MEDIA_DROPPED":
                    count = as_count(fields.get("bytes")) or 0
                    bridge = fields.get("reason") == "bridge"
                    found.append((as_count(fields.get("offset")) or 0, sent, count, bridge))
        self.total = sum(count for _, _, count, _ in found)
        """bytes of all of them"""
        self._by_bridge = [count for _, _, count, bridge in found if bridge]
        self._losses = [
            _Loss(0 if bridge else offset, end, count) for offset, end, count, bridge in found
        ]

    def within(self, begin: int, end: int) -> int:
        """How many of the bytes from ``begin`` to ``end`` were told of as lost, at most."""
        return sum(loss.left for loss in self._between(begin, end))

    def use_up(self, begin: int, end: int, wanted: int) -> int:
        """Take up to ``wanted`` bytes of what is `within`; how many these were.

        No loss excuses more than itself: what has been taken is not there the next time.
        """
        taken = 0
        for loss in self._between(begin, end):
            part = min(loss.left, wanted - taken)
            loss.left -= part
            taken += part
        return taken

    def hidden(self, frame: int) -> int:
        """How many bytes at most may have been played although they are told of as lost.

        When a bridge ceases to mix, Asterisk cannot always see whether the mixer's last round still
        took a frame. It must not say then that it was played: it counts it as lost with the reason
        ``bridge``. That is at most a ``frame`` each time, and never the other way round.
        """
        return sum(min(frame, count) for count in self._by_bridge)

    def _between(self, begin: int, end: int) -> list[_Loss]:
        return [loss for loss in self._losses if loss.begin < end and loss.end > begin]


def _plain_id(argument: str) -> MarkId | None:
    name, _, mark_id = argument.partition("=")
    return mark_id if name == "id" and _PLAIN_ID.fullmatch(mark_id) else None


def _json_id(value: dict[str, Any]) -> MarkId | None:
    mark_id = value.get("id")
    if isinstance(mark_id, int) and not isinstance(mark_id, bool):
        return mark_id
    return mark_id if isinstance(mark_id, str) and 1 <= len(mark_id.encode()) <= 64 else None
