"""Media sent as a text-to-speech engine sends it: in pieces of any size, with a mark after each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Literal

from harness.application.client import MediaSession
from harness.errors import HarnessFault
from harness.media.coded import coded

MarkCommand = Literal["MARK", "MARK_MEDIA"]
ANSWER_EVENT = {"MARK": "MARK_PLAYED", "MARK_MEDIA": "MEDIA_MARK_PROCESSED"}
_ID_FIELD = {"MARK": "id", "MARK_MEDIA": "correlation_id"}

PENDING_MARKS = 16
"""marks that may wait for their answer: enough to keep the queue filled, too few to fill it up"""


def random_sizes(seed: int, count: int, smallest: int = 1, largest: int = 3000) -> list[int]:
    """Sizes of pieces in bytes, the same for the same seed."""
    source = random.Random(seed)
    return [source.randint(smallest, largest) for _ in range(count)]


def coded_pieces(
    sizes: Iterable[int],
    offset: int = 0,
    codec: str = "ulaw",
    *,
    caller_codec: str = "",
    mixed: bool = False,
) -> list[bytes]:
    """Position-coded media from ``offset`` on, cut into pieces of these sizes in bytes.

    The other arguments are those of `coded`.
    """
    pieces = []
    for size in sizes:
        pieces.append(coded(codec, offset, size, caller_codec=caller_codec, mixed=mixed))
        offset += size
    return pieces


async def mark(session: MediaSession, command: MarkCommand, mark_id: str) -> None:
    """Send either kind of mark."""
    if command == "MARK":
        await session.mark(mark_id)
    else:
        await session.mark_media(mark_id)


async def answered(
    session: MediaSession, command: MarkCommand, mark_id: str, timeout_s: float = 10.0
) -> None:
    """Wait until a mark is answered as played; HarnessFault if it is not."""
    event = ANSWER_EVENT[command]
    await session.wait_event(event, timeout_s, **{_ID_FIELD[command]: mark_id})


async def play_with_marks(
    session: MediaSession,
    pieces: Iterable[bytes],
    command: MarkCommand = "MARK",
    on_answer: Callable[[int], None] = lambda count: None,
) -> None:
    """Send pieces, mark m0 behind the first and so on, and wait until all have been answered.

    An answer that does not come is not an error here: the judge will say so. ``on_answer`` is
    told the number of answers so far.
    """
    sent = 0
    done = 0
    with suppress(HarnessFault):
        for number, piece in enumerate(pieces):
            await session.send_media(piece)
            await mark(session, command, f"m{number}")
            sent = number + 1
            while sent - done >= PENDING_MARKS:
                await answered(session, command, f"m{done}")
                done += 1
                on_answer(done)
        while done < sent:
            await answered(session, command, f"m{done}")
            done += 1
            on_answer(done)
