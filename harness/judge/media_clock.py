"""When the audio of each RTP packet plays, whatever moment its sender got around to sending it.

Every receiver plays by the RTP timestamp: a packet sent 5 ms late does not move the audio in it. So
the clock of a segment of continuous RTP is the lower envelope of (wire time - media position) over
the few packets around. A missed tick, a pause or a gap begins a new segment.

Where packets are not as long as the frames that they are made of, they leave by a rhythm: packets
of 30 ms out of frames of 20 ms after 20 and 40 ms in turn, packets of 10 ms two at a time. Then a
packet is late or not among those in the same place of the rhythm. The clock of packets longer than
a frame is that of the place that leaves soonest after its audio. Of several packets that leave with
one frame it is that of the first: the others did not have to leave so soon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import gcd

from harness.capture.timeline import TELEPHONE_EVENT, Codec, RtpPacket

AROUND = 5
"""packets on each side whose wire times count for a packet's clock"""
AHEAD = 25
"""packets looked at to tell one late packet from a sender that goes on late"""
EVIDENCE = 2
"""packets that must go on as late as the first one to make it a new segment"""
_STEP_NS = 1_000_000
"""by so little packets that are gathered from frames go on later if one of these was short, and"""
_STEP_EVIDENCE = 5
"""so many must, where it is less than half a frame"""


@dataclass(frozen=True)
class Numbered:
    """A packet in its place: sequence number and timestamp without their wraps."""

    packet: RtpPacket
    source: int
    """counts the SSRCs, in order of appearance"""
    number: int
    timestamp: int
    missing_before: int
    """sequence numbers that are not there right before it"""


@dataclass(frozen=True)
class PacketSequence:
    """The packets of audio of a call in the order of their sequence numbers."""

    packets: tuple[Numbered, ...]
    missing: int
    duplicates: int
    reordered: int
    """packets that came after one with a higher sequence number"""


@dataclass(frozen=True)
class Clocked:
    """When a packet's audio begins to play on the media clock."""

    start_ns: int
    lateness_ns: int
    """how much later than that it was sent"""
    segment: int
    """counts the segments"""
    around_lateness_ns: int
    """median lateness of the packets its clock was taken from (the lower one of an even count)"""
    around: int
    """how many these are, itself among them"""
    rhythm_ns: int = 0
    """how much later than the clock packets leave by their rhythm, at the most"""


def in_order(rtp: Sequence[RtpPacket]) -> PacketSequence:
    """Unwrap, sort, and drop repeated packets and those of digits (RFC 4733).

    A new SSRC is a new source after the others.
    """
    sources: dict[int, dict[int, Numbered]] = {}
    newest: dict[int, Numbered] = {}
    duplicates = reordered = 0
    for packet in rtp:
        known = sources.setdefault(packet.ssrc, {})
        last = newest.get(packet.ssrc)
        number = _unwrap(packet.sequence, last.number if last else packet.sequence, 16)
        timestamp = _unwrap(packet.timestamp, last.timestamp if last else packet.timestamp, 32)
        if number in known:
            duplicates += 1
            continue
        numbered = Numbered(packet, list(sources).index(packet.ssrc), number, timestamp, 0)
        known[number] = numbered
        if last is None or number > last.number:
            newest[packet.ssrc] = numbered
        else:
            reordered += 1
    packets: list[Numbered] = []
    for known in sources.values():
        before: int | None = None
        missing = 0
        for number in sorted(known):
            one = known[number]
            missing += 0 if before is None else number - before - 1
            before = number
            # Digits are numbered with the audio.
            if one.packet.payload_type != TELEPHONE_EVENT:
                packets.append(Numbered(one.packet, one.source, number, one.timestamp, missing))
                missing = 0
    missing_in_all = sum(one.missing_before for one in packets)
    return PacketSequence(tuple(packets), missing_in_all, duplicates, reordered)


def media_clock(
    packets: Sequence[Numbered],
    codec: Codec,
    ready_ns: Sequence[int | None],
    packet_ms: int = 0,
    frame_ms: int = 0,
) -> list[Clocked]:
    """The clock of each of ``packets``.

    ``ready_ns`` says of each packet when the application had sent what was needed to play it, None
    where that is not known: a packet that was not ready in time begins a new segment. ``packet_ms``
    is the length of full packets where they are gathered from frames of ``frame_ms`` (0: of the
    codec's); 0: a packet a frame.
    """
    pace = _Pace.of(packet_ms, frame_ms or codec.ptime_ms) if packet_ms else _Pace.by_frame(codec)
    clocked: list[Clocked] = []
    segment = -1
    for track in _tracks(packets, codec, pace):
        for begin, end in _segments(track, ready_ns, pace):
            segment += 1
            clocked += _envelope(track, begin, end, segment, pace)
    return clocked


@dataclass(frozen=True)
class _Pace:
    """How packets follow each other."""

    slot_ns: int
    """from one full packet to the next"""
    places: int
    """packets until they leave again as they do now"""
    shorter: bool
    """whether several of them leave with one frame"""
    half_frame_ns: int
    step_ns: int
    """by so much, or more, what goes on later begins a new segment"""

    @classmethod
    def by_frame(cls, codec: Codec) -> _Pace:
        """A packet a frame."""
        half_ns = codec.ptime_ms * 500_000
        return cls(2 * half_ns, 1, False, half_ns, half_ns)

    @classmethod
    def of(cls, packet_ms: int, frame_ms: int) -> _Pace:
        """Packets of the one length, gathered from frames of the other."""
        places = frame_ms // gcd(frame_ms, packet_ms)
        shorter = packet_ms < frame_ms
        return cls(packet_ms * 1_000_000, places, shorter, frame_ms * 500_000, _STEP_NS)


@dataclass(frozen=True)
class _Track:
    """Packets whose RTP timestamps follow each other, beginning with packet ``first``."""

    first: int
    positions: list[int]
    """media time in ns, from the track's first packet"""
    delays: list[int]
    """wire time - position: level where the sender keeps time, higher for a late packet"""
    numbers: list[int]
    """as in `Numbered`"""


def _tracks(packets: Sequence[Numbered], codec: Codec, pace: _Pace) -> list[_Track]:
    tracks: list[_Track] = []
    for index, current in enumerate(packets):
        previous = packets[index - 1] if index else None
        if previous is None or not _continuous(previous, current, codec, pace):
            tracks.append(_Track(index, [], [], []))
            position = 0
        else:
            # Asterisk sends on its tick: after a frame shorter than that the rest of the tick
            # stays empty, though the RTP timestamp goes on without a gap.
            sent_ns = _duration_ns(previous.packet, codec)
            position = tracks[-1].positions[-1] + max(pace.slot_ns, sent_ns)
            position += current.missing_before * pace.slot_ns
        tracks[-1].positions.append(position)
        tracks[-1].delays.append(current.packet.time_ns - position)
        tracks[-1].numbers.append(current.number)
    return tracks


def _continuous(previous: Numbered, current: Numbered, codec: Codec, pace: _Pace) -> bool:
    if previous.source != current.source:
        return False
    missing = current.missing_before * pace.slot_ns * codec.rtp_clock_hz // 1_000_000_000
    step = current.timestamp - previous.timestamp - missing
    # RFC 3550 adds the length of the packet before. Asterisk adds that of the packet itself,
    # which differs where a short one stands among full ones.
    return step in (_rtp_units(previous.packet, codec), _rtp_units(current.packet, codec))


def _segments(track: _Track, ready_ns: Sequence[int | None], pace: _Pace) -> list[tuple[int, int]]:
    """Where in the track each segment begins and ends."""
    begins = [0]
    for index in range(1, len(track.delays)):
        first = max(begins[-1], index - AROUND * pace.places)
        before = _in_place(track, first, index, track.numbers[index], pace)
        if not before:
            continue
        level = min(before)
        if track.delays[index] - level < pace.step_ns:
            continue
        ready = ready_ns[track.first + index]
        not_ready = ready is not None and ready > track.positions[index] + level
        little = track.delays[index] - level < pace.half_frame_ns
        if not_ready or _goes_on_late(track, index, pace, little, level):
            begins.append(index)
    return list(zip(begins, [*begins[1:], len(track.delays)], strict=True))


def _in_place(track: _Track, begin: int, end: int, number: int, pace: _Pace) -> list[int]:
    """The delays of those packets that are in the same place of the rhythm as ``number``."""
    return [
        delay
        for delay, other in zip(track.delays[begin:end], track.numbers[begin:end], strict=True)
        if (other - number) % pace.places == 0
    ]


def _goes_on_late(track: _Track, index: int, pace: _Pace, little: bool, level: int) -> bool:
    """Whether the packets after a late one keep its lateness, instead of catching up.

    One of them that is nearer to the ``level`` before shows that the clock still is what it was: no
    packet leaves before its time. Where too few follow nobody can tell; then it counts as lateness,
    which makes the marks there inconclusive. So it does where all that follow are later by half a
    frame again: there was a gap behind it, and of a clock of its own nothing more is to be seen. Of
    those after one that is only a ``little`` late none counts from where a tick was missed on: they
    are later whether it caught up or not.
    """
    delay = track.delays[index]
    end = index + 1 + AHEAD * pace.places
    following = _in_place(track, index + 1, end, track.numbers[index], pace)
    if little:
        following = list(takewhile(lambda other: other - delay < pace.half_frame_ns, following))
    evidence = _STEP_EVIDENCE if little else EVIDENCE
    if len(following) < evidence:
        return False
    soonest = min(following)
    if soonest - delay >= pace.half_frame_ns:
        return False
    return soonest > delay - pace.step_ns and (little or soonest - level >= pace.step_ns)


def _envelope(track: _Track, begin: int, end: int, segment: int, pace: _Pace) -> list[Clocked]:
    clocked = []
    for index in range(begin, end):
        first = max(begin, index - AROUND * pace.places)
        last = min(end, index + AROUND * pace.places + 1)
        near = [
            (number % pace.places, delay)
            for number, delay in zip(
                track.numbers[first:last], track.delays[first:last], strict=True
            )
        ]
        levels = {
            place: min(delay for other, delay in near if other == place)
            for place in {place for place, _ in near}
        }
        around = sorted(delay - levels[place] for place, delay in near)
        level = max(levels.values()) if pace.shorter else min(levels.values())
        clocked.append(
            Clocked(
                track.positions[index] + level,
                track.delays[index] - levels[track.numbers[index] % pace.places],
                segment,
                around[(len(around) - 1) // 2],
                len(around),
                max(levels.values()) - level,
            )
        )
    return clocked


def _duration_ns(packet: RtpPacket, codec: Codec) -> int:
    return len(packet.payload) * 1_000_000_000 // codec.bytes_per_second


def _rtp_units(packet: RtpPacket, codec: Codec) -> int:
    return len(packet.payload) * codec.rtp_clock_hz // codec.bytes_per_second


def _unwrap(value: int, near: int, bits: int) -> int:
    """The number that is ``value`` in its low ``bits`` and nearest to ``near``."""
    half, whole = 1 << (bits - 1), 1 << bits
    return near + (value - near + half) % whole - half
