"""What the text messages of a call say, as far as the judge needs it. Pure."""

from __future__ import annotations

import re
from typing import Any

from harness.capture.timeline import Message

MarkId = str | int
"""as in the message: a JSON integer stays one, since it must be echoed with the same type"""

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
    return name, dict(part.partition("=")[::2] for part in rest.split(" ") if "=" in part)


def as_id(given: object) -> MarkId:
    """An id as it was given; "" for none."""
    return given if isinstance(given, (str, int)) else ""


def as_count(value: object) -> int | None:
    """A whole number in either spelling; None for anything else."""
    try:
        return int(value) if isinstance(value, (str, int)) else None
    except ValueError:
        return None


def _plain_id(argument: str) -> MarkId | None:
    name, _, mark_id = argument.partition("=")
    return mark_id if name == "id" and _PLAIN_ID.fullmatch(mark_id) else None


def _json_id(value: dict[str, Any]) -> MarkId | None:
    mark_id = value.get("id")
    if isinstance(mark_id, int) and not isinstance(mark_id, bool):
        return mark_id
    return mark_id if isinstance(mark_id, str) and 1 <= len(mark_id.encode()) <= 64 else None
