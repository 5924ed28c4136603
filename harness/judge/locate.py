"""Which bytes of the application's stream each RTP payload holds, read from the payload itself.

The stream is what the application sent. A payload is first looked for where the one before it
ended, then further on: bytes may be missing (flushed, dropped), they never come twice. With
position-coded media every payload is unique; in real speech, silence is not, and what cannot be
told is marked as not certain instead of guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

_NEEDLE_BYTES = 16
"""so many bytes are searched for when a payload does not continue the one before it"""


@dataclass(frozen=True)
class Piece:
    """``length`` bytes of the stream from ``offset`` on, found at ``start`` in the payload."""

    start: int
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the piece."""
        return self.offset + self.length


@dataclass(frozen=True)
class Location:
    """What a payload holds: pieces of the stream, then perhaps silence, then perhaps others' bytes.

    ``padding`` and ``foreign`` are counts of bytes. Without any piece the payload is not from the
    stream. ``certain`` is False when the same bytes could be from another place.
    """

    pieces: tuple[Piece, ...]
    padding: int
    foreign: int
    certain: bool


def locate(payloads: Sequence[bytes], stream: bytes, silence: int) -> list[Location]:
    """The location of each of ``payloads``, which are in the order of their RTP sequence."""
    search = _Search(stream, silence)
    for payload in payloads:
        search.add(payload)
    return search.finish()


class _Search:
    def __init__(self, stream: bytes, silence: int) -> None:
        self._stream = stream
        self._silence = bytes([silence])
        self._expected = 0
        self._found: list[Location] = []
        self._open: list[int] = []
        """indexes of locations that the next certain continuation confirms"""
        self._doubt = False
        """whether the last jump could have led elsewhere"""

    def add(self, payload: bytes) -> None:
        pieces: list[Piece] = []
        jumped = False
        start = 0
        while start < len(payload):
            rest = payload[start:]
            length = self._common(rest, self._expected)
            if length < len(rest) and not (length and self._is_silence(rest[length:])):
                target = self._jump(rest, length, first=not pieces)
                if target is not None:
                    jumped = True
                    self._expected = target
                    length = self._common(rest, target)
                elif length < _NEEDLE_BYTES and not self._find(rest[length:]):
                    length = 0  # so few bytes are alike by chance
            if not length:
                break
            pieces.append(Piece(start, self._expected, length))
            start += length
            self._expected += length
            if self._is_silence(payload[start:]):
                break
        rest = payload[start:]
        padding = len(rest) if self._is_silence(rest) else 0
        self._found.append(Location(tuple(pieces), padding, len(rest) - padding, True))
        if pieces:
            self._weigh(payload, pieces, jumped)

    def finish(self) -> list[Location]:
        if self._expected == len(self._stream) and not self._doubt:
            self._open.clear()  # silence at the end, and the count of its bytes is right
        for index in self._open:
            self._found[index] = replace(self._found[index], certain=False)
        return self._found

    def _jump(self, rest: bytes, length: int, *, first: bool) -> int | None:
        """Where ``rest`` is if it does not continue at the expected offset; None if nowhere."""
        if first:
            back = self._step_back(rest)
            if back is not None:
                return back
        if length >= _NEEDLE_BYTES or self._is_silence(rest):
            return None
        places = self._find(rest)
        self._doubt = self._doubt or len(places) > 1
        return places[0] if places else None

    def _step_back(self, rest: bytes) -> int | None:
        """Where ``rest`` begins if the silence before it was padding and not from the stream."""
        begin = self._expected
        lowest = self._open_from()
        while begin > lowest and self._stream[begin - 1 : begin] == self._silence:
            begin -= 1
        place = self._stream.rfind(rest, begin, self._expected + len(rest) - 1)
        if begin == self._expected or place < 0:
            return None
        self._take_back(place)
        return place

    def _open_from(self) -> int:
        """The lowest offset that could have been taken for the stream's though it was padding."""
        lowest = self._expected
        for index in [*self._open[:1], len(self._found) - 1]:
            if 0 <= index < len(self._found) and self._found[index].pieces:
                lowest = min(lowest, self._found[index].pieces[0].offset)
        return lowest

    def _take_back(self, offset: int) -> None:
        """Bytes from ``offset`` on were not the stream's in the packets so far."""
        for index in range(len(self._found) - 1, -1, -1):
            location = self._found[index]
            if location.pieces and location.pieces[-1].end <= offset:
                break
            kept = tuple(
                replace(piece, length=min(piece.length, offset - piece.offset))
                for piece in location.pieces
                if piece.offset < offset
            )
            given_back = sum(p.length for p in location.pieces) - sum(p.length for p in kept)
            self._found[index] = replace(
                location, pieces=kept, padding=location.padding + given_back
            )

    def _find(self, rest: bytes) -> list[int]:
        """The first places, at most two, after the expected offset where ``rest`` begins."""
        for needle in (rest, rest[:_NEEDLE_BYTES]):
            if len(needle) < _NEEDLE_BYTES or self._is_silence(needle):
                continue
            place = self._stream.find(needle, self._expected)
            if place >= 0:
                other = self._stream.find(needle, place + 1)
                return [place] if other < 0 else [place, other]
        return []

    def _weigh(self, payload: bytes, pieces: list[Piece], jumped: bool) -> None:
        """Decide whether the newest location, and those that wait for it, are certain."""
        index = len(self._found) - 1
        if jumped:
            for waiting in self._open:
                self._found[waiting] = replace(self._found[waiting], certain=False)
            self._open = []
        matched = payload[: sum(piece.length for piece in pieces)]
        if self._doubt:
            place = self._stream.find(payload)
            self._doubt = place < 0 or self._stream.find(payload, place + 1) >= 0
        # Silence, or next to nothing, is found at any quiet place.
        featureless = self._is_silence(matched) or len(set(matched)) < min(4, len(matched))
        if self._doubt or featureless:
            self._open.append(index)
        else:
            self._open.clear()

    def _common(self, payload: bytes, offset: int) -> int:
        """How many bytes from the beginning of ``payload`` are the stream's at ``offset``."""
        expected = self._stream[offset : offset + len(payload)]
        if expected == payload:
            return len(payload)
        for index, (ours, theirs) in enumerate(zip(payload, expected, strict=False)):
            if ours != theirs:
                return index
        return min(len(payload), len(expected))

    def _is_silence(self, data: bytes) -> bool:
        return data.count(self._silence) == len(data)
