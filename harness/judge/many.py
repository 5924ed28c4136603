"""Holds the acknowledgements of many calls against their RTP with numpy: a million packets.

By the rules of `harness.judge.marks` and the clock of `harness.judge.media_clock`, of which
tests/unit/test_judge_many.py holds the results against each other, for calls as load makes them:
media in a codec that RTP carries unchanged, a packet a frame, position-coded from a place of each
call's own, always sent well ahead, and never flushed or paused. So no mark is due before its audio
has ended, and no packet has to wait for the application. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from chan_websocket.protocol import Event
from harness.capture.timeline import TELEPHONE_EVENT, ULAW, BulkRtp, Codec, Ints, Measurement
from harness.judge.media_clock import AHEAD, AROUND, EVIDENCE
from harness.judge.uncertainty import Uncertainty
from harness.judge.verdicts import Bounds

CALL_BYTES = 1 << 32
"""Each call's media is position-coded from its number times this on: its packets show whose they
are."""

MARK_PREFIX = "m"
"""of the marks' ids; the rest is a number that counts the call's from 0"""

LONGEST_GAP_NS = 30_000_000
"""from the end of a packet to the next one: longer is a gap"""
_SHOWN = 10
"""so many faults get a sentence of their own"""

_PLAYED = {"MARK_PLAYED": "id", "MEDIA_MARK_PROCESSED": "correlation_id"}


@dataclass(frozen=True)
class Spoken:
    """What the application of a call has sent."""

    number: int
    """of the call, by which its media is coded"""
    offsets: Ints
    """of its marks"""
    sent_bytes: int
    owed: int | None = None
    """of a call that was disturbed, so that marks were discarded: so many of them must have been
    acknowledged. Those behind may have crossed a hang-up"""


@dataclass
class Acks:
    """Of one call: what acknowledged a mark, in the order it came, an entry each."""

    time_ns: list[int] = field(default_factory=list)
    mark: list[int] = field(default_factory=list)
    says_sent: list[bool] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    """the marks that will never be played"""

    def add(self, time_ns: int, event: Event) -> None:
        """Take an event into account, if it acknowledges a mark."""
        if event.name == "MARK_DISCARDED":
            self.discarded.append(_number(event.fields["id"]))
        elif event.name in _PLAYED:
            self.time_ns.append(time_ns)
            self.mark.append(_number(event.fields[_PLAYED[event.name]]))
            self.says_sent.append(event.fields.get("stage") == "sent")


def _number(mark_id: object) -> int:
    return int(str(mark_id).removeprefix(MARK_PREFIX))


@dataclass
class ManyJudged:
    """What came of all calls together."""

    marks: int = 0
    packets: int = 0
    differences_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """acknowledged less end of audio, of marks acknowledged once in the time looked at"""
    spreads_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """time of their acknowledgement less the mark's place in the media, less the least of these in
    the call"""
    early: int = 0
    missing: int = 0
    """marks that nothing acknowledged as played, those that were discarded among them; of a call
    that was disturbed those that nothing acknowledged"""
    twice: int = 0
    unasked: int = 0
    discarded: int = 0
    gaps: int = 0
    """in the RTP in the time looked at"""
    longest_gap_ns: int = 0
    lost_bytes: int = 0
    """of media, in no packet"""
    foreign: int = 0
    """packets whose payload does not begin with a call's media"""
    faults: list[str] = field(default_factory=list)
    """the first of what is wrong, a sentence each"""

    def _say(self, text: str) -> None:
        if len(self.faults) < _SHOWN:
            self.faults.append(text)


def judge_many(
    rtp: BulkRtp,
    offsets: Ints,
    acks: Mapping[int, Acks],
    calls: Sequence[Spoken],
    measurement: Measurement,
    window: tuple[int, int],
    codec: Codec = ULAW,
) -> ManyJudged:
    """Judge all ``calls``, whose acknowledgements are in ``acks`` by the call's number.

    ``offsets`` says of each packet where in the position-coded stream it begins; negative: nowhere.

    Marks that are missing or acknowledged twice are looked for in all of a call; times and gaps
    within ``window``, begin and end in Unix ns.
    """
    judged = ManyJudged(packets=len(rtp.time_ns))
    audio = rtp.payload_type != TELEPHONE_EVENT
    judged.foreign = int(np.count_nonzero(audio & (offsets < 0)))
    # By their sender: what is foreign in a call keeps its place there.
    owner = _owners(rtp.source_port, np.where(offsets >= 0, offsets // CALL_BYTES, -1))
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], [[one.number, one.number + 1] for one in calls])
    differences, spreads = [], []
    uncertainty = Uncertainty(measurement, Bounds(), codec, 0)
    for call, (begin, end) in zip(calls, bounds, strict=True):
        chosen = order[begin:end]
        chosen = chosen[audio[chosen]]
        wire = _Wire(rtp, chosen, offsets[chosen] - call.number * CALL_BYTES, codec)
        one = _Call(call, wire, acks.get(call.number, Acks()), uncertainty, window, codec)
        one.count(judged)
        differences.append(one.differences_ns)
        spreads.append(one.spreads_ns)
    if calls:
        judged.differences_ns = np.concatenate(differences)
        judged.spreads_ns = np.concatenate(spreads)
    return judged


def percentile_ms(values_ns: Ints, percent: float) -> float:
    """Of times, in ms; not a number if there are none."""
    return float(np.percentile(values_ns, percent)) / 1e6 if len(values_ns) else float("nan")


def _owners(ports: Ints, numbers: Ints) -> Ints:
    """Whose each packet is: what is not of a stream belongs where others of its sender do."""
    owner: Ints = numbers.copy()
    for port in np.unique(ports[numbers < 0]):
        same = ports == port
        known = numbers[same & (numbers >= 0)]
        if len(known):
            owner[same & (numbers < 0)] = known[0]
    return owner


class _Wire:
    """The packets of one call in the order of their sequence numbers, each once."""

    def __init__(self, rtp: BulkRtp, chosen: Ints, offsets: Ints, codec: Codec) -> None:
        sources = rtp.ssrc[chosen]
        _, firsts = np.unique(sources, return_index=True)
        source = np.zeros(len(chosen), np.int64)
        for count, first in enumerate(np.sort(firsts)):
            source[sources == sources[first]] = count
        number = np.zeros(len(chosen), np.int64)
        timestamp = np.zeros(len(chosen), np.int64)
        for count in range(len(firsts)):
            here = source == count
            number[here] = unwrapped(rtp.sequence[chosen][here], 16)
            timestamp[here] = unwrapped(rtp.timestamp[chosen][here], 32)
        order = np.lexsort((number, source))
        again = np.zeros(len(order), bool)
        if len(order):
            again[1:] = (np.diff(number[order]) == 0) & (np.diff(source[order]) == 0)
        order = order[~again]
        self.time_ns = rtp.time_ns[chosen][order]
        self.offsets = offsets[order]
        """where in the stream each begins; negative for what is not of it"""
        self.bytes = rtp.payload_bytes[chosen][order]
        self.clock = clock(
            self.time_ns, source[order], number[order], timestamp[order], self.bytes, codec
        )
        of_stream = np.flatnonzero(self.offsets >= 0)
        self.by_offset = of_stream[np.argsort(self.offsets[of_stream], kind="stable")]
        """the packets of the stream, by their place in it"""


@dataclass(frozen=True)
class Clock:
    """As `media_clock.Clocked`, an entry for each packet."""

    start_ns: Ints
    lateness_ns: Ints
    segment: Ints

    def around_lateness_ns(self, index: int) -> int:
        """Median lateness of the packets that the clock of this one was taken from."""
        same = np.flatnonzero(
            self.segment[max(0, index - AROUND) : index + AROUND + 1] == self.segment[index]
        ) + max(0, index - AROUND)
        # Level where the sender keeps time, as its clock has it.
        delays = np.sort(self._delays[same] - self._delays[same].min())
        return int(delays[(len(delays) - 1) // 2])

    _delays: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


def clock(
    time_ns: Ints, source: Ints, number: Ints, timestamp: Ints, sizes: Ints, codec: Codec
) -> Clock:
    """The media clock of packets in their order, see `media_clock`: all arguments have an entry for
    each; numbers and timestamps are without their wraps."""
    count = len(time_ns)
    if not count:
        nothing = np.zeros(0, np.int64)
        return Clock(nothing, nothing, nothing)
    slot_ns = codec.ptime_ms * 1_000_000
    half_ns = slot_ns // 2
    units = sizes * codec.rtp_clock_hz // codec.bytes_per_second
    missing = np.diff(number) - 1
    step = np.diff(timestamp) - missing * slot_ns * codec.rtp_clock_hz // 1_000_000_000
    goes_on = ((step == units[:-1]) | (step == units[1:])) & (np.diff(source) == 0)
    sent_ns = np.maximum(slot_ns, sizes * 1_000_000_000 // codec.bytes_per_second)
    position = np.concatenate([[0], np.cumsum(sent_ns[:-1] + missing * slot_ns)])
    delay = time_ns - position
    begins = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), count]
    segments: list[int] = []
    for begin, end in pairwise(begins):
        # Each track by itself; where its positions begin makes no difference.
        segments += [begin + one for one in _segments(delay[begin:end], half_ns)]
    segment = np.zeros(count, np.int64)
    segment[segments] = 1
    segment = np.cumsum(segment) - 1
    level = delay.copy()
    for shift in range(1, AROUND + 1):
        same = segment[shift:] == segment[:-shift]
        np.minimum(level[shift:], delay[:-shift], out=level[shift:], where=same)
        np.minimum(level[:-shift], delay[shift:], out=level[:-shift], where=same)
    return Clock(position + level, delay - level, segment, delay)


def _segments(delay: Ints, half_ns: int) -> list[int]:
    """Where in a track a segment begins, as `media_clock._segments` has it."""
    begins = [0]
    lowest = np.full(len(delay), np.iinfo(np.int64).max)
    for shift in range(1, AROUND + 1):
        np.minimum(lowest[shift:], delay[:-shift], out=lowest[shift:])
    # Where the segment began only lately its level may be higher: so not all of these are late.
    for index in np.flatnonzero(delay[1:] - lowest[1:] >= half_ns) + 1:
        level = delay[max(begins[-1], index - AROUND) : index].min()
        following = delay[index + 1 : index + 1 + AHEAD]
        if (
            delay[index] - level >= half_ns
            and len(following) >= EVIDENCE
            and abs(following.min() - delay[index]) < half_ns
            and following.min() - level >= half_ns
        ):
            begins.append(int(index))
    return begins


class _Call:
    """One call's marks."""

    def __init__(
        self,
        call: Spoken,
        wire: _Wire,
        acks: Acks,
        uncertainty: Uncertainty,
        window: tuple[int, int],
        codec: Codec,
    ) -> None:
        self._call, self._wire, self._uncertainty = call, wire, uncertainty
        self._window, self._codec = window, codec
        self._discarded = len(acks.discarded)
        times = np.array(acks.time_ns, np.int64)
        marks = np.array(acks.mark, np.int64)
        asked = (marks >= 0) & (marks < len(call.offsets))
        self._unasked = int(np.count_nonzero(~asked))
        self._counts = np.bincount(marks[asked], minlength=len(call.offsets))
        if call.owed is not None:
            discarded = np.array(acks.discarded, np.int64)
            self._counts += np.bincount(discarded, minlength=len(call.offsets))
        once = asked & (self._counts[np.where(asked, marks, 0)] == 1)
        # Of times those in the window; what is early is early at any time.
        self._acked_ns, self._marks = times[once], marks[once]
        self._says_sent = np.array(acks.says_sent, bool)[once]
        self._due()
        seen = (self._acked_ns >= window[0]) & (self._acked_ns < window[1])
        self.differences_ns = self._differences[seen & self._audible]
        places_ns = call.offsets[self._marks] * 1_000_000_000 // codec.bytes_per_second
        behind = (self._acked_ns - places_ns)[seen]
        self.spreads_ns = behind - behind.min() if len(behind) else behind

    def _due(self) -> None:
        wire, offsets = self._wire, self._call.offsets[self._marks]
        begins = wire.offsets[wire.by_offset]
        place = np.searchsorted(begins, offsets) - 1  # the last that begins before the mark
        self._audible = place >= 0
        if not len(begins):
            self._index = np.zeros(len(offsets), np.int64)
            self._end_ns = self._differences = np.zeros(len(offsets), np.int64)
            return
        self._index = wire.by_offset[np.maximum(place, 0)]
        within = np.minimum(offsets - wire.offsets[self._index], wire.bytes[self._index])
        played_ns = within * 1_000_000_000 // self._codec.bytes_per_second
        self._end_ns = wire.clock.start_ns[self._index] + played_ns
        sent_ns = wire.time_ns[self._index]
        due_ns = np.where(self._says_sent, np.maximum(self._end_ns, sent_ns), self._end_ns)
        self._differences = self._acked_ns - due_ns

    def count(self, judged: ManyJudged) -> None:
        """Add this call's to those of all."""
        call = self._call
        judged.marks += len(call.offsets)
        judged.unasked += self._unasked
        judged.discarded += self._discarded
        for number in np.flatnonzero(self._counts != 1):
            times = int(self._counts[number])
            if not times and call.owed is not None and number >= call.owed:
                continue
            judged.missing += times == 0
            judged.twice += times > 1
            how = f"acknowledged {times} times" if times else "not acknowledged as played"
            judged._say(f'call {call.number}, mark "{MARK_PREFIX}{number}": {how}')
        tolerance_ns = self._uncertainty.tolerance_ns
        early = self._audible & (self._differences < -tolerance_ns)
        for index in np.flatnonzero(early):
            difference_ns = int(self._differences[index])
            if not self._early_excuse(int(index), difference_ns):
                judged.early += 1
                judged._say(
                    f'call {call.number}, mark "{MARK_PREFIX}{self._marks[index]}": acknowledged'
                    f" {-difference_ns / 1e6:.3f} ms before its audio ended"
                )
        self._count_media(judged)

    def _early_excuse(self, index: int, difference_ns: int) -> str:
        packet = int(self._index[index])
        excuse = self._uncertainty.early_excuse(difference_ns, int(self._end_ns[index]))
        # As in PlayedMarks: where the packets around differ so much, none need have been in time.
        around_ns = self._wire.clock.around_lateness_ns(packet)
        return excuse or ("the packets around" if -difference_ns <= around_ns else "")

    def _count_media(self, judged: ManyJudged) -> None:
        wire = self._wire
        distinct = np.unique(wire.offsets[wire.by_offset], return_index=True)[1]
        seen = int(wire.bytes[wire.by_offset][distinct].sum())
        if self._call.owed is None and (lost := max(0, self._call.sent_bytes - seen)):
            judged.lost_bytes += lost
            judged._say(f"call {self._call.number}: {lost} bytes of its media are in no packet")
        begin, end = self._window
        seen_in = (wire.time_ns >= begin) & (wire.time_ns < end)
        times, sizes = wire.time_ns[seen_in], wire.bytes[seen_in]
        if len(times) > 1:
            lasts_ns = sizes[:-1] * 1_000_000_000 // self._codec.bytes_per_second
            gaps_ns = np.diff(times) - lasts_ns
            judged.gaps += int(np.count_nonzero(gaps_ns > LONGEST_GAP_NS))
            judged.longest_gap_ns = max(judged.longest_gap_ns, int(gaps_ns.max()))


def unwrapped(values: Ints, bits: int) -> Ints:
    """Numbers that count on and wrap after so many bits, without their wraps."""
    half, whole = 1 << (bits - 1), 1 << bits
    steps = (np.diff(values) + half) % whole - half
    return np.concatenate([values[:1], values[:1].sum() + np.cumsum(steps)])
