"""The application's stream on the wire: which of its bytes left, and when they play. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from harness.capture.timeline import Codec, RtpPacket, Timeline
from harness.judge.conversation import Conversation
from harness.judge.locate import Location, Piece, locate
from harness.judge.locate_audio import Payload, locate_audio
from harness.judge.media_clock import Clocked, PacketSequence, in_order, media_clock
from harness.judge.verdicts import LocatedPacket
from harness.media.pcm import DECODED


@dataclass(frozen=True)
class AudioEnd:
    """Where the audio before an offset ended, as far as it appeared on the wire."""

    last: int
    """offset behind the last byte that appeared"""
    end_ns: int
    """on the media clock"""
    raw_ns: int
    """by the moment the packet was seen"""
    sent_ns: int
    """when the packet was seen"""
    latest_ns: int
    """``end_ns``, where packets are gathered from frames by the packet that waited longest for its
    last one"""
    clock: Clocked
    """of the packet that holds it"""
    certain: bool
    missing_after: bool
    """whether RTP is missing right behind it, so that more could have been played"""


class Wire:
    """The stream's bytes on the wire, searchable by offset and by time."""

    def __init__(self, timeline: Timeline, conversation: Conversation, error_bytes: int) -> None:
        """``error_bytes`` is how many bytes a place in the stream may be wrong by."""
        self._codec = timeline.codec
        self.gathered = timeline.ptime_ms > 0
        """whether packets are gathered from frames, so that audio may leave later than it is due"""
        self._error_bytes = error_bytes
        self.sequence: PacketSequence = in_order(timeline.rtp)
        locations = _locations(timeline, self.sequence, conversation)
        ready = [
            _ready_ns(one.packet, where, conversation, timeline.wire)
            for one, where in zip(self.sequence.packets, locations, strict=True)
        ]
        sizes_ms = (timeline.ptime_ms, timeline.frame_ms)
        clocks = media_clock(self.sequence.packets, timeline.wire, ready, *sizes_ms)
        self.packets = tuple(
            LocatedPacket(one.packet.time_ns, one.packet.sequence, location, clock)
            for one, location, clock in zip(self.sequence.packets, locations, clocks, strict=True)
        )
        """in the order of their sequence numbers"""
        self.last_audio_ns = max(
            (one.time_ns for one in self.packets if one.location.pieces), default=None
        )
        """when the last packet was sent that holds any of the stream"""
        self._pieces: list[tuple[Piece, int]] = sorted(
            ((piece, index) for index, where in enumerate(locations) for piece in where.pieces),
            key=lambda found: found[0].offset,
        )
        self._begins = [piece.offset for piece, _ in self._pieces]
        self._missing_before = [one.missing_before > 0 for one in self.sequence.packets]
        begun = [self._play_ns(piece.start, index) for piece, index in self._pieces]
        self._played = [self._play_ns(p.start + p.length, index) for p, index in self._pieces]
        lengths = [piece.length for piece, _ in self._pieces]
        self._sums_begun = _sums(zip(begun, lengths, strict=True))
        self._sums_played = _sums(zip(self._played, lengths, strict=True))

    @property
    def end(self) -> int:
        """Offset behind the last byte of the stream that appeared."""
        return max((piece.end for piece, _ in self._pieces), default=0)

    @property
    def is_certain(self) -> bool:
        """Whether all of its packets could be located for certain."""
        return all(one.location.certain for one in self.packets)

    # ---- by offset -------------------------------------------------------------------------------

    def seen(self, begin: int, end: int) -> int:
        """How many of the bytes from ``begin`` to ``end`` appeared."""
        first = max(0, bisect_right(self._begins, begin) - 1)
        return sum(
            max(0, min(piece.end, end) - max(piece.offset, begin))
            for piece, _ in self._pieces[first : bisect_left(self._begins, end)]
        )

    def missing(self, begin: int, end: int) -> int:
        """How many of them never appeared."""
        return end - begin - self.seen(begin, end)

    def last_seen(self, begin: int, end: int) -> int:
        """Offset behind the last of them that appeared; ``begin`` if none did."""
        place = bisect_left(self._begins, end) - 1
        return min(end, max(begin, self._pieces[place][0].end)) if place >= 0 else begin

    def played_ns(self, offset: int) -> int:
        """When the last piece that begins before ``offset`` had been played; 0 if there is none."""
        place = bisect_left(self._begins, offset) - 1
        return self._played[place] if place >= 0 else 0

    def audio_end(self, offset: int) -> AudioEnd | None:
        """The end of the audio before ``offset``; None when none of it appeared."""
        # A piece that begins at the offset may be found to begin a little before it.
        place = bisect_left(self._begins, offset - self._error_bytes) - 1
        if place < 0:
            return None
        piece, index = self._pieces[place]
        packet = self.packets[index]
        last = min(piece.end, offset)
        played_ns = self._codec.duration_ns(piece.start + last - piece.offset)
        end_ns = packet.clock.start_ns + played_ns
        raw_ns = packet.time_ns + played_ns
        latest_ns = max(end_ns + packet.clock.rhythm_ns, raw_ns) if self.gathered else end_ns
        return AudioEnd(
            last,
            end_ns,
            raw_ns,
            packet.time_ns,
            latest_ns,
            packet.clock,
            packet.location.certain,
            last < offset - self._error_bytes and self._missing_behind(place, index),
        )

    def is_complete(self, offset: int) -> bool:
        """Whether the last byte before ``offset`` was sent, if there is any."""
        offset = self.whole(offset)
        audio = self.audio_end(offset)
        lowest = offset - self._error_bytes
        return lowest <= 0 or (audio is not None and audio.last >= lowest)

    def whole(self, offset: int) -> int:
        """``offset``, or where the sample begins in which it lies: half a sample is not played."""
        place = bisect_right(self._begins, offset - 1) - 1
        if self._codec.sample_bytes == 1 or self._error_bytes or place < 0:
            return offset
        piece, _ = self._pieces[place]
        within = piece.start + offset - piece.offset
        return offset - 1 if piece.end >= offset - 1 and within % 2 else offset

    def rtp_missing_within(self, begin: int, end: int) -> bool:
        """Whether RTP is missing between or behind the pieces that hold these bytes.

        Nothing in the packets shows that the first ones of a call are missing, or the last ones.
        Where others are, these can be, too.
        """
        outside = not self._pieces or begin < self._begins[0] or end > self._pieces[-1][0].end
        if outside and self.sequence.missing:
            return True
        first = max(0, bisect_right(self._begins, begin) - 1)
        last = max(0, bisect_left(self._begins, end) - 1)
        return any(
            self._missing_behind(place, self._pieces[place][1])
            for place in range(first, min(last + 1, len(self._pieces)))
        )

    # ---- by time ---------------------------------------------------------------------------------

    def begun_by(self, time_ns: int) -> int:
        """Bytes of the pieces that had begun to play by then."""
        return _sum_until(self._sums_begun, time_ns)

    def played_by(self, time_ns: int) -> int:
        """Bytes of the pieces that had been played to their end by then."""
        return _sum_until(self._sums_played, time_ns)

    def lateness_between(self, begin_ns: int, end_ns: int) -> int:
        """The largest lateness of the packets whose audio begins in this time; 0 without any."""
        return max(
            (
                one.clock.lateness_ns
                for one in self.packets
                if begin_ns <= one.clock.start_ns <= end_ns
            ),
            default=0,
        )

    def _play_ns(self, begin: int, index: int) -> int:
        """When the byte at ``begin`` of a packet plays."""
        return self.packets[index].clock.start_ns + self._codec.duration_ns(begin)

    def _missing_behind(self, place: int, index: int) -> bool:
        until = self._pieces[place + 1][1] if place + 1 < len(self._pieces) else None
        following = self._missing_before[index + 1 : until + 1 if until is not None else None]
        return any(following)


def _locations(
    timeline: Timeline, sequence: PacketSequence, conversation: Conversation
) -> list[Location]:
    codec, stream = timeline.codec, conversation.stream
    if timeline.recoded is None:
        payloads = [codec.canonical(one.packet.payload) for one in sequence.packets]
        resumed_at = {flush.end for flush in conversation.flushes}
        resumed_at |= {drop.offset + drop.bytes for drop in conversation.drops}
        found = locate(
            payloads, codec.canonical(stream), codec.silence, codec.frame_bytes, resumed_at
        )
        return [_without_noise(where, codec, conversation) for where in found]
    if is_counted(timeline):
        return _counted(codec, timeline.recoded, sequence, conversation)
    heard, packets = [], []
    frame_bytes = timeline.recoded.frame_bytes
    for number, one in enumerate(sequence.packets):
        sent, payload = conversation.sent_until(one.packet.time_ns), one.packet.payload
        missing = one.missing_before * timeline.packet_ms // timeline.recoded.ptime_ms
        # Frame by frame, since each of them can be something else.
        size = frame_bytes if timeline.ptime_ms else max(1, len(payload))
        for begin in range(0, max(1, len(payload)), size):
            heard.append(Payload(payload[begin : begin + size], missing, sent))
            packets.append(number)
            missing = 0
    located = locate_audio(heard, stream, codec, timeline.recoded)
    return _joined(located, packets, len(sequence.packets), codec.frame_bytes)


def is_counted(timeline: Timeline) -> bool:
    """Whether packets can only be counted: they are recoded, and nobody here can hear them."""
    return timeline.recoded is not None and timeline.recoded.name not in DECODED


def _counted(
    codec: Codec, caller: Codec, sequence: PacketSequence, conversation: Conversation
) -> list[Location]:
    """The locations of packets whose sound says nothing: what was sent until then, in order.

    Not for certain where something was flushed, or dropped: then it is not known where they go on.
    """
    certain = not conversation.flushes and not conversation.drops
    found = []
    offset = 0
    for one in sequence.packets:
        size = len(one.packet.payload) * codec.bytes_per_second // caller.bytes_per_second
        offset += one.missing_before * size
        length = max(0, min(size, conversation.sent_until(one.packet.time_ns) - offset))
        pieces = (Piece(0, offset, length),) if length else ()
        found.append(Location(pieces, padding=size - length, foreign=0, certain=certain))
        offset += length
    return found


def _without_noise(where: Location, codec: Codec, conversation: Conversation) -> Location:
    """Bytes that stand amid a sample, where another half of one should, are not the stream's.

    Samples begin with the stream, or behind a flush. Before it opted in an application got what
    the stock driver makes of half a sample.
    """
    if codec.sample_bytes == 1 or conversation.opted_in_from != 0:
        return where
    flushed = [flush.end for flush in conversation.flushes]
    noise = [
        piece
        for piece in where.pieces
        if (piece.offset - (_latest(flushed, piece.offset) or 0) - piece.start) % codec.sample_bytes
    ]
    if not noise:
        return where
    pieces = tuple(piece for piece in where.pieces if piece not in noise)
    return replace(
        where, pieces=pieces, foreign=where.foreign + sum(piece.length for piece in noise)
    )


def _joined(
    located: Sequence[Location], packets: Sequence[int], count: int, frame_bytes: int
) -> list[Location]:
    """The locations of ``count`` packets out of those of their frames, of which each is in the
    packet that ``packets`` says."""
    parts: list[list[Location]] = [[] for _ in range(count)]
    for location, number in zip(located, packets, strict=True):
        parts[number].append(location)
    return [
        frames[0]
        if len(frames) == 1
        else Location(
            tuple(
                replace(piece, start=piece.start + index * frame_bytes)
                for index, frame in enumerate(frames)
                for piece in frame.pieces
            ),
            sum(frame.padding for frame in frames),
            sum(frame.foreign for frame in frames),
            all(frame.certain for frame in frames),
        )
        for frames in parts
    ]


def _ready_ns(
    packet: RtpPacket, where: Location, conversation: Conversation, codec: Codec
) -> int | None:
    """When the application had sent all that was needed for a packet to be played."""
    if not where.pieces:
        return None
    times = [
        conversation.sent_ns(where.pieces[-1].end),
        _latest(conversation.continues, packet.time_ns),
    ]
    if where.padding or len(packet.payload) < codec.frame_bytes:
        times.append(_latest(conversation.closings, packet.time_ns))
    return max((time for time in times if time is not None), default=None)


def _latest(times: Sequence[int], until_ns: int) -> int | None:
    index = bisect_right(times, until_ns)
    return times[index - 1] if index else None


def _sums(moments: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Moments in their order, and what had been counted up to each."""
    ordered = sorted(moments)
    return [time for time, _ in ordered], list(accumulate(count for _, count in ordered))


def _sum_until(sums: tuple[list[int], list[int]], time_ns: int) -> int:
    index = bisect_right(sums[0], time_ns)
    return sums[1][index - 1] if index else 0
