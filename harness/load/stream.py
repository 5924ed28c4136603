"""What the application of each call sends under load. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from websockets.frames import Frame, Opcode

from chan_websocket.protocol import (
    Format,
    MarkCommand,
    command_mark,
    command_mark_media,
    command_simple,
)
from harness.application.marks import random_sizes
from harness.capture.timeline import ULAW, Ints
from harness.judge.many import CALL_BYTES, MARK_PREFIX
from harness.media import position_code

CHUNK_S = 0.2
"""of media that an application sends in one go, with the marks in it"""
LEAD_CHUNKS = 10
"""sent ahead, so that no queue runs empty"""
CHUNK_BYTES = round(CHUNK_S * ULAW.bytes_per_second)


@dataclass(frozen=True)
class Chunk:
    """A chunk's pieces, the same for all calls but for the media itself."""

    begin: int
    """offset in the stream"""
    size: int
    """bytes of media"""
    pieces: tuple[tuple[int, bytes], ...]
    """how many bytes of media each has, and the frame of the mark behind it"""


class Stream:
    """Media in pieces of random size, a mark behind each, as text-to-speech comes.

    Each mark stands anywhere in a part of the media of its own, so that they come at a rate.
    """

    def __init__(
        self,
        seconds: float,
        marks_a_second: float,
        command: MarkCommand,
        message_format: Format,
        seed: int = 1,
    ) -> None:
        part = ULAW.bytes_per_second / marks_a_second
        within = random_sizes(seed, math.ceil(seconds * marks_a_second), 1, int(part))
        self.offsets: Ints = np.array(
            [int(number * part) + place for number, place in enumerate(within)], np.int64
        )
        """of the marks, whose ids are m0, m1, ..."""
        self.start = _text(command_simple(message_format, "START_MEDIA_BUFFERING"))
        self.chunks = self._chunks(command, message_format)

    def _chunks(self, command: MarkCommand, message_format: Format) -> list[Chunk]:
        mark = command_mark if command == "MARK" else command_mark_media
        chunks: list[Chunk] = []
        begin = number = 0
        ends = self.offsets.tolist()
        for until in range(CHUNK_BYTES, ends[-1] + CHUNK_BYTES, CHUNK_BYTES):
            pieces = []
            at = begin
            # Pieces that end in this time. There may be none.
            while number < len(ends) and ends[number] <= until:
                pieces.append(
                    (ends[number] - at, _text(mark(message_format, f"{MARK_PREFIX}{number}")))
                )
                at = ends[number]
                number += 1
            chunks.append(Chunk(begin, at - begin, tuple(pieces)))
            begin = at
        return chunks

    def marks_to(self, offset: int) -> int:
        """How many marks stand in the first ``offset`` bytes."""
        return int(np.searchsorted(self.offsets, offset, side="right"))


def frames_of(chunk: Chunk, call: int) -> bytes:
    """A chunk as a call's application sends it: WebSocket frames of a server, unmasked."""
    media = position_code.encode(call * CALL_BYTES + chunk.begin, chunk.size)
    parts = []
    at = 0
    for size, mark in chunk.pieces:
        parts += [_header(size), media[at : at + size], mark]
        at += size
    return b"".join(parts)


def rest_of_frame(call: int, offset: int) -> tuple[int, bytes]:
    """What fills a frame of media up that ends amid one at ``offset``: its bytes, and as a frame
    on the WebSocket. Nothing is left over then that would wait for more."""
    size = -offset % ULAW.frame_bytes
    media = position_code.encode(call * CALL_BYTES + offset, size)
    return size, _header(size) + media if size else b""


def _text(text: str) -> bytes:
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def _header(size: int) -> bytes:
    """Of a binary frame with so many bytes, unmasked (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x82, size))
    if size < 1 << 16:
        return b"\x82\x7e" + size.to_bytes(2, "big")
    return b"\x82\x7f" + size.to_bytes(8, "big")
