"""When the audio of each RTP packet plays, whatever moment its sender got around to sending it.

Every receiver plays by the RTP timestamp: a packet sent 5 ms late does not move the audio in it. So
the clock of a segment of continuous RTP is the lower envelope of (wire time - media position) over
the few packets around. A missed tick, a pause or a gap begins a new segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.capture.timeline import Codec, RtpPacket

_AROUND = 5
"""packets on each side whose wire times count for a packet's clock"""
_AHEAD = 25
"""packets looked at to tell one late packet from a sender that goes on late"""
_EVIDENCE = 2
"""packets that must go on as late as the first one to make it a new segment"""


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
    """The packets of a call in the order of their sequence numbers."""

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


def in_order(rtp: Sequence[RtpPacket]) -> PacketSequence:
    """Unwrap, sort, and drop repeated packets. A new SSRC is a new source after the others."""
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
        for number in sorted(known):
            one = known[number]
            missing = 0 if before is None else number - before - 1
            packets.append(Numbered(one.packet, one.source, number, one.timestamp, missing))
            before = number
    missing_in_all = sum(one.missing_before for one in packets)
    return PacketSequence(tuple(packets), missing_in_all, duplicates, reordered)


def media_clock(
    packets: Sequence[Numbered], codec: Codec, ready_ns: Sequence[int | None]
) -> list[Clocked]:
    """The clock of each of ``packets``.

    ``ready_ns`` says of each packet when the application had sent what was needed to play it, None
    where that is not known: a packet that was not ready in time begins a new segment.
    """
    ptime_ns = codec.ptime_ms * 1_000_000
    tracks = _tracks(packets, codec)
    clocked: list[Clocked] = []
    segment = -1
    for track in tracks:
        for begin, end in _segments(track, ready_ns, ptime_ns):
            segment += 1
            clocked += _envelope(track.delays[begin:end], track.positions[begin:end], segment)
    return clocked


@dataclass(frozen=True)
class _Track:
    """Packets whose RTP timestamps follow each other, beginning with packet ``first``."""

    first: int
    positions: list[int]
    """media time in ns, from the track's first packet"""
    delays: list[int]
    """wire time - position: level where the sender keeps time, higher for a late packet"""


def _tracks(packets: Sequence[Numbered], codec: Codec) -> list[_Track]:
    tracks: list[_Track] = []
    for index, current in enumerate(packets):
        previous = packets[index - 1] if index else None
        if previous is None or not _continuous(previous, current, codec):
            tracks.append(_Track(index, [], []))
            position = 0
        else:
            # Asterisk sends on its tick: after a frame shorter than that the rest of the tick
            # stays empty, though the RTP timestamp goes on without a gap.
            slot_ns = codec.ptime_ms * 1_000_000
            sent_ns = _duration_ns(previous.packet, codec)
            position = tracks[-1].positions[-1] + max(slot_ns, sent_ns)
            position += current.missing_before * slot_ns
        tracks[-1].positions.append(position)
        tracks[-1].delays.append(current.packet.time_ns - position)
    return tracks


def _continuous(previous: Numbered, current: Numbered, codec: Codec) -> bool:
    if previous.source != current.source:
        return False
    missing = current.missing_before * codec.ptime_ms * codec.rtp_clock_hz // 1000
    step = current.timestamp - previous.timestamp - missing
    # RFC 3550 adds the length of the packet before. Asterisk adds that of the packet itself,
    # which differs where a short one stands among full ones.
    return step in (_rtp_units(previous.packet, codec), _rtp_units(current.packet, codec))


def _segments(
    track: _Track, ready_ns: Sequence[int | None], ptime_ns: int
) -> list[tuple[int, int]]:
    """Where in the track each segment begins and ends."""
    begins = [0]
    for index in range(1, len(track.delays)):
        level = min(track.delays[max(begins[-1], index - _AROUND) : index])
        if track.delays[index] - level < ptime_ns // 2:
            continue
        ready = ready_ns[track.first + index]
        not_ready = ready is not None and ready > track.positions[index] + level
        if not_ready or _goes_on_late(track.delays, index, ptime_ns):
            begins.append(index)
    return list(zip(begins, [*begins[1:], len(track.delays)], strict=True))


def _goes_on_late(delays: Sequence[int], index: int, ptime_ns: int) -> bool:
    """Whether the packets after a late one keep its lateness, instead of catching up.

    Where too few follow nobody can tell; then it counts as lateness, which makes the marks there
    inconclusive.
    """
    following = delays[index + 1 : index + 1 + _AHEAD]
    return len(following) >= _EVIDENCE and min(following) > delays[index] - ptime_ns // 2


def _envelope(delays: Sequence[int], positions: Sequence[int], segment: int) -> list[Clocked]:
    clocked = []
    for index, (delay, position) in enumerate(zip(delays, positions, strict=True)):
        around = sorted(delays[max(0, index - _AROUND) : index + _AROUND + 1])
        level = around[0]
        median = around[(len(around) - 1) // 2]
        clocked.append(
            Clocked(position + level, delay - level, segment, median - level, len(around))
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
