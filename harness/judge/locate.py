"""Which bytes of the application's stream each RTP payload holds, read from the payload itself.

The stream is what the application sent. A payload is first looked for where the one before it
ended, then further on: bytes may be missing (flushed, dropped), they never come twice. With
position-coded media every payload is unique; in real speech, silence is not, and what cannot be
told is marked as not certain instead of guessed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

_NEEDLE_BYTES = 16
"""so many bytes are searched for when a payload does not continue the one before it"""

_BY_CHANCE_BYTES = 2
"""so many bytes behind a frame of the stream's may be the stream's next ones without being it"""


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
    """What a payload holds: pieces of the stream, and perhaps silence and others' bytes.

    ``padding`` and ``foreign`` are counts of bytes. Without any piece the payload is not from the
    stream. ``certain`` is False when the same bytes could be from another place.
    """

    pieces: tuple[Piece, ...]
    padding: int
    foreign: int
    certain: bool


def locate(
    payloads: Sequence[bytes],
    stream: bytes,
    silence: int,
    frame_bytes: int = 0,
    resumed_at: Collection[int] = (),
) -> list[Location]:
    """The location of each of ``payloads``, which are in the order of their RTP sequence.

    A payload may be gathered from several frames of ``frame_bytes``, each from another source. Too
    few bytes at its end to be searched for are looked for at the offsets ``resumed_at``, where the
    stream is said to go on behind what was flushed or dropped.
    """
    search = _Search(stream, silence, frame_bytes, resumed_at)
    for payload in payloads:
        search.add(payload)
    return search.finish()


class _Search:
    def __init__(
        self, stream: bytes, silence: int, frame_bytes: int, resumed_at: Collection[int]
    ) -> None:
        self._stream = stream
        self._frame_bytes = frame_bytes
        self._resumed_at = sorted(resumed_at)
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
            located_to = self._expected
            length = self._common(rest, self._expected)
            if length < len(rest) and not (length and self._is_silence(rest[length:])):
                target = self._jump(rest, length, first=not pieces)
                if target is not None:
                    jumped = True
                    self._expected = target
                    length = self._common(rest, target)
                elif (
                    length < _NEEDLE_BYTES
                    and not self._find(rest[length:])
                    and not self._behind_silence(rest[length:], self._expected + length)
                ):
                    length = 0  # so few bytes are alike by chance
            if length:
                length = self._up_to_frame(payload, start, length)
                before = self._common_before(
                    payload[_end_of(pieces) : start], min(located_to, self._expected)
                )
                pieces.append(Piece(start - before, self._expected - before, length + before))
                start += length
                self._expected += length
            else:
                start = self._next_start(payload, start)
            if self._is_silence(payload[start:]):
                break
        self._found.append(_location(payload, pieces, self._silence))
        if pieces:
            self._weigh(payload, pieces, jumped)

    def _next_start(self, payload: bytes, start: int) -> int:
        """Where the stream may go on behind ``start``, where it does not; the end if nowhere.

        That is behind silence, as a frame that was filled up with it has at its end, there or
        further on in the stream; with what comes next as the stream is said to go on; or where the
        next frame begins.
        """
        if silent := self._behind_silence(payload[start:], self._expected):
            return start + silent
        rest = payload[start:]
        silent = len(rest) - len(rest.lstrip(self._silence))
        if silent and self._find(rest[silent:]):
            return start + silent
        for offset in self._resumed_at[bisect_right(self._resumed_at, self._expected) :]:
            needle = self._stream[offset : offset + _NEEDLE_BYTES]
            if len(needle) == _NEEDLE_BYTES and (place := rest.find(needle)) > 0:
                return start + place
        if not self._frame_bytes:
            return len(payload)
        return min(len(payload), start - start % self._frame_bytes + self._frame_bytes)

    def _behind_silence(self, payload: bytes, offset: int) -> int:
        """Where in ``payload`` the stream goes on at ``offset`` behind silence; 0 if nowhere."""
        # The stream's own next byte may be one of silence, too.
        for behind in range(len(payload) - len(payload.lstrip(self._silence)), 0, -1):
            rest = payload[behind : behind + _NEEDLE_BYTES]
            if len(rest) == _NEEDLE_BYTES and self._common(rest, offset) == len(rest):
                return behind
        return 0

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
        places = self._find(rest) or self._find_resumed(rest)
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

    def _find_resumed(self, rest: bytes) -> list[int]:
        """The first place where the stream is said to go on and does so with ``rest``."""
        if len(rest) >= _NEEDLE_BYTES:
            return []
        later = self._resumed_at[bisect_right(self._resumed_at, self._expected) :]
        return [offset for offset in later if self._stream.startswith(rest, offset)][:1]

    def _weigh(self, payload: bytes, pieces: list[Piece], jumped: bool) -> None:
        """Decide whether the newest location, and those that wait for it, are certain."""
        index = len(self._found) - 1
        if jumped:
            for waiting in self._open:
                self._found[waiting] = replace(self._found[waiting], certain=False)
            self._open = []
        matched = b"".join(payload[one.start : one.start + one.length] for one in pieces)
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

    def _up_to_frame(self, payload: bytes, start: int, length: int) -> int:
        """``length`` without the few bytes behind the end of a frame that are alike by chance."""
        end = start + length
        beyond = end % self._frame_bytes if self._frame_bytes and end < len(payload) else 0
        return length - beyond if beyond <= _BY_CHANCE_BYTES and beyond < length else length

    def _common_before(self, payload: bytes, located_to: int) -> int:
        """How many bytes at the end of ``payload`` are the stream's before what is expected.

        A packet need not begin with a frame: then a frame does not begin where it is looked for.
        The first of them is not silence, which may have filled up what was sent before, unless the
        stream is said to go on with it.
        """
        matched = count = 0
        while matched < min(len(payload), self._expected - located_to) and (
            payload[-matched - 1] == self._stream[self._expected - matched - 1]
        ):
            matched += 1
            if (
                payload[-matched] != self._silence[0]
                or self._expected - matched in self._resumed_at
            ):
                count = matched
        return count

    def _is_silence(self, data: bytes) -> bool:
        return data.count(self._silence) == len(data)


def _end_of(pieces: Sequence[Piece]) -> int:
    """Where in the payload the last of these ends; 0 if there is none."""
    return pieces[-1].start + pieces[-1].length if pieces else 0


def _location(payload: bytes, pieces: Sequence[Piece], silence: bytes) -> Location:
    """What a payload holds that has these pieces of the stream in it."""
    padding = foreign = 0
    start = 0
    for begin, end in [
        *((one.start, one.start + one.length) for one in pieces),
        (len(payload),) * 2,
    ]:
        between = payload[start:begin]
        if between.count(silence) == len(between):
            padding += len(between)
        else:
            foreign += len(between)
        start = end
    return Location(tuple(pieces), padding, foreign, True)
