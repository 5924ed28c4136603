"""Marks of either kind (MARK, or the stock driver's MARK_MEDIA), and media with a mark behind each
piece, as a text-to-speech engine's client sends it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from chan_websocket.protocol import MarkCommand
from harness.application.client import MediaSession
from harness.errors import HarnessFault
from harness.media.probe_signal import probe_signal

ACK_EVENT = {"MARK": "MARK_PLAYED", "MARK_MEDIA": "MEDIA_MARK_PROCESSED"}
_ID_FIELD = {"MARK": "id", "MARK_MEDIA": "correlation_id"}

PENDING_MARKS = 16
"""marks that may be pending: enough to keep the queue filled, too few to fill it up"""


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

    The other arguments are those of `probe_signal`.
    """
    pieces = []
    for size in sizes:
        pieces.append(probe_signal(codec, offset, size, caller_codec=caller_codec, mixed=mixed))
        offset += size
    return pieces


async def mark(session: MediaSession, command: MarkCommand, mark_id: str) -> None:
    """Send either kind of mark."""
    if command == "MARK":
        await session.mark(mark_id)
    else:
        await session.mark_media(mark_id)


async def acknowledged(
    session: MediaSession, command: MarkCommand, mark_id: str, timeout_s: float = 10.0
) -> None:
    """Wait until a mark is acknowledged, as played or as discarded; HarnessFault if it is not.

    Where the host stalls a bridge may drop all the media before a mark.
    """
    names, field = (ACK_EVENT[command], "MARK_DISCARDED"), _ID_FIELD[command]

    async def wait() -> None:
        async for event in session.iterate_events():
            if event.name in names and event.fields.get(field) == mark_id:
                return
        raise HarnessFault(f"the connection ended before {mark_id} was acknowledged")

    try:
        await asyncio.wait_for(wait(), timeout_s)
    except asyncio.TimeoutError:
        raise HarnessFault(f"{mark_id} was not acknowledged within {timeout_s:g} s") from None


async def speak_in_time(
    session: MediaSession, frames: Sequence[bytes], command: MarkCommand, frame_s: float = 0.02
) -> None:
    """Send a frame when it would be spoken, one each ``frame_s``, and a mark each second.

    Returns when the last mark, behind all of them, has been acknowledged.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number, frame in enumerate(frames):
        await asyncio.sleep(started + number * frame_s - loop.time())
        await session.send_media(frame)
        if number % round(1 / frame_s) == 0:
            await mark(session, command, f"spoken{number}")
    await mark(session, command, "spoken")
    await acknowledged(session, command, "spoken")


async def play_with_marks(
    session: MediaSession,
    pieces: Iterable[bytes],
    command: MarkCommand = "MARK",
    on_ack: Callable[[int], None] = lambda count: None,
) -> None:
    """Send pieces, mark m0 behind the first and so on, and wait until all are acknowledged.

    An acknowledgement that does not come is not an error here: the judge will say so. ``on_ack``
    gets the number of acknowledgements so far.
    """
    sent = 0
    done = 0
    with suppress(HarnessFault):
        if command == "MARK":
            await session.opt_in()
        for number, piece in enumerate(pieces):
            await session.send_media(piece)
            await mark(session, command, f"m{number}")
            sent = number + 1
            while sent - done >= PENDING_MARKS:
                await acknowledged(session, command, f"m{done}")
                done += 1
                on_ack(done)
        while done < sent:
            await acknowledged(session, command, f"m{done}")
            done += 1
            on_ack(done)
