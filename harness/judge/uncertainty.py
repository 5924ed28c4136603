"""How far a call's times can be trusted, and what a host stall excuses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.capture.timeline import Codec, Measurement
from harness.judge.verdicts import Bounds, MarkVerdict, Verdict

MOST_UNCERTAIN_NS = 5_000_000
"""a time that can be wrong by more cannot be judged: with both ends', half a frame of 20 ms"""

_MS_TOLERANCE = 0.125
"""ms that a time computed from bytes may differ: one sample at 8000 Hz"""

_UNSEEN_FACTOR = 2
"""The host stalls that were seen are a sample: those who watch are run by the rules that Asterisk's
threads are run by (see `harness.capture.host_stalls`), but are due at other moments. One this many
times as long may have gone unseen."""

_STALLED_SHARE = 3
"""Where one part in so many of a time was stalled, the host was so busy in it that what was due
had to wait in the rest of it, too."""

_BY_CHANCE = 5
"""So many moments of a call, or more, are not late by chance where no host stall was seen, if they
are most of those that marks were due in: that is the driver. On a host kept busy by eight others it
was two in five at the most. Nor if they are more than the stalls of their length that were seen at
other times: of those there were more, in every call."""


class Uncertainty:
    """Of the times and places in one call."""

    def __init__(
        self, measurement: Measurement, bounds: Bounds, codec: Codec, packet_ms: int
    ) -> None:
        self.measurement = measurement
        self.bounds = bounds
        self.tolerance_ns = tolerance_ns(measurement)
        self.late_ns = bounds.late_ns + self.tolerance_ns
        """a difference above this is late"""
        self.frame_ns = codec.ptime_ms * 1_000_000
        self.packet_ns = max(packet_ms * 1_000_000, self.frame_ns)
        """of a packet to the caller, or of a frame if that is longer: so long what is known only
        when a packet has left may take"""
        self.error_bytes = measurement.location_ns * codec.bytes_per_second // 1_000_000_000
        """how many bytes a place in the stream may be wrong by"""
        beyond_ns = self.packet_ns - self.frame_ns
        self.loss_error_bytes = self.error_bytes + (
            beyond_ns * codec.bytes_per_second // 1_000_000_000
        )
        """how many bytes the place of a loss may: of the frames of one packet Asterisk cannot see
        which ones were lost"""
        byte_ms = 1000 / codec.bytes_per_second
        self.error_ms = max(_MS_TOLERANCE, byte_ms) + measurement.location_ns / 1e6
        """how far a time that Asterisk computes from bytes may be off"""
        lengths = [end - begin for begin, end in measurement.host_stalls]
        self.longest_stall_ns = max(lengths, default=0)

    @property
    def longest_unseen_ns(self) -> int:
        """How long a host stall may have been that nobody saw."""
        return _UNSEEN_FACTOR * self.longest_stall_ns

    def excuse(self, due_ns: int, came_ns: int) -> str:
        """Why what came late need not be the driver's fault; empty if it is."""
        return self.stalled(due_ns, came_ns) or self.by_chance(came_ns - due_ns)

    def stalled(self, due_ns: int, came_ns: int) -> str:
        """The same by the host stalls seen between the two."""
        difference_ns = came_ns - due_ns
        stalled_ns = overlap_ns(self.measurement.host_stalls, due_ns, came_ns)
        left_ns = difference_ns - stalled_ns
        if left_ns <= self.late_ns or self.mostly_stalled(due_ns, came_ns):
            return f"the host stalled for {stalled_ns / 1e6:.1f} ms of these"
        return ""

    def mostly_stalled(self, begin_ns: int, end_ns: int) -> bool:
        """Whether the host stalled for so much of a time that all of it counts."""
        stalled_ns = overlap_ns(self.measurement.host_stalls, begin_ns, end_ns)
        return stalled_ns * _STALLED_SHARE >= end_ns - begin_ns

    def by_chance(self, difference_ns: int) -> str:
        """The same by the host stalls seen at other times of the call: one may be unseen."""
        if difference_ns > self.late_ns + self.longest_unseen_ns:
            return ""
        longest_ms = self.longest_stall_ns / 1e6
        return f"in this call the host kept others waiting, too, for up to {longest_ms:.1f} ms"

    def stalled_near(self, begin_ns: int, end_ns: int, at_least_ns: int = 0) -> int:
        """The longest host stall in this time, of those that long; 0 if there was none."""
        return max(
            (
                end - begin
                for begin, end in self.measurement.host_stalls
                if begin < end_ns and end > begin_ns and end - begin >= at_least_ns
            ),
            default=0,
        )

    def stalled_behind(self, last_audio_ns: int | None) -> int:
        """The longest host stall, of a frame or more, behind the last audio that left; else 0.

        Audio is delivered to the core by one thread and sent by another. Where the second one was
        kept waiting until the call ended, what was delivered never left.
        """
        last_ns = last_audio_ns or 0
        stalls = self.measurement.host_stalls
        longest_ns = max((end - begin for begin, end in stalls if end > last_ns), default=0)
        return longest_ns if longest_ns >= self.frame_ns else 0

    def early_excuse(self, difference_ns: int, audio_end_ns: int) -> str:
        """Why what came early need not have: its last packet may have been sent late.

        Only by a host stall longer than half a frame: it can keep back several packets in a row,
        and then the clock that is taken from them is late. A shorter one makes a packet late, which
        the clock forgets.
        """
        first_ns = audio_end_ns - 2 * self.packet_ns
        held_ns = self.stalled_near(first_ns, audio_end_ns, self.frame_ns // 2)
        if _UNSEEN_FACTOR * held_ns >= -difference_ns:
            return f"the host stalled for {held_ns / 1e6:.0f} ms when its last packet was due"
        return ""

    def taken_late(self, time_ns: int) -> bool:
        """Whether a time that the client took itself was taken in a moment it did not run.

        What is shorter than the time's uncertainty is in that.
        """
        measurement = self.measurement
        near_ns = measurement.uncertainty_ns
        return measurement.source == "socket" and bool(
            self.stalled_near(time_ns - near_ns, time_ns + near_ns, near_ns + 1)
        )

    def unless_by_chance(self, verdicts: list[MarkVerdict]) -> list[MarkVerdict]:
        """``verdicts``, INCONCLUSIVE instead of LATE where a host stall may have gone unseen."""
        timed = [one for one in verdicts if one.difference_ns is not None]
        late = [one for one in timed if one.verdict is Verdict.LATE]
        moments = self._moments(late)
        if moments >= _BY_CHANCE and 2 * moments > self._moments(timed):
            return verdicts
        return [self._unless_by_chance(one, late) for one in verdicts]

    def _unless_by_chance(self, one: MarkVerdict, late: Sequence[MarkVerdict]) -> MarkVerdict:
        if one.verdict is not Verdict.LATE or one.difference_ns is None:
            return one
        why = self.by_chance(one.difference_ns)
        as_late = _times_apart(
            (other.due_ns or 0, other.acked_ns or 0)
            for other in late
            if (other.difference_ns or 0) >= (one.difference_ns or 0)
        )
        if not why or (as_late >= _BY_CHANCE and as_late > self._as_long(one.difference_ns)):
            return one
        why = f"{one.explanation}; {why}"
        return replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why)

    def _as_long(self, difference_ns: int) -> int:
        """How many host stalls were seen that would, unseen, make a mark so late."""
        excess_ns = difference_ns - self.late_ns
        return sum(
            _UNSEEN_FACTOR * (end - begin) >= excess_ns
            for begin, end in self.measurement.host_stalls
        )

    def _moments(self, marks: Sequence[MarkVerdict]) -> int:
        """In how many frames' time these were due: one stall makes all of such a moment late."""
        return len({(one.due_ns or 0) // self.frame_ns for one in marks})


def tolerance_ns(measurement: Measurement) -> int:
    """The uncertainty of a difference: both of its times can be wrong, and one place."""
    return 2 * measurement.uncertainty_ns + measurement.location_ns


def overlap_ns(stalls: Sequence[tuple[int, int]], begin_ns: int, end_ns: int) -> int:
    """How much of a span is covered by stalls, which may overlap each other (processors)."""
    covered = 0
    for begin, end in sorted(stalls):
        begin = max(begin, begin_ns)
        end = min(end, end_ns)
        if begin < end:
            covered += end - begin
            begin_ns = end
    return covered


def _times_apart(spans: Iterable[tuple[int, int]]) -> int:
    """How many stalls it takes to cover these spans: one can be as long as those that overlap."""
    count = until_ns = 0
    for begin, end in sorted(spans):
        count += begin >= until_ns
        until_ns = max(until_ns, end)
    return count
