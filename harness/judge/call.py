"""The judge's front door: a call's timeline in, the judged call out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.capture.timeline import Measurement, Timeline
from harness.judge.counters import judge_counters
from harness.judge.evidence import Evidence, read_evidence
from harness.judge.expectations import Expectations, unless_host_stalled, unmet_expectations
from harness.judge.locate_audio import ERROR_NS
from harness.judge.marks import judge_marks
from harness.judge.uncertainty import tolerance_ns
from harness.judge.verdicts import (
    FAILURES,
    Bounds,
    CounterVerdict,
    LocatedPacket,
    MarkVerdict,
    Result,
    Statistics,
    Verdict,
    few_inconclusive,
    statistics,
    worst,
)
from harness.judge.wire import is_counted

Judged = TypeVar("Judged", MarkVerdict, CounterVerdict)


@dataclass(frozen=True)
class JudgedCall:
    """A call, and all that the judge says of it."""

    start_ns: int
    """time zero of the texts: the first thing on the timeline"""
    end_ns: int
    """until when was listened"""
    codec: str
    """of the application"""
    ptime_ms: int
    """of the RTP packets"""
    measurement: Measurement
    bounds: Bounds
    packets: int
    """of RTP that were seen"""
    missing_packets: int
    """of RTP that were not, by their sequence numbers"""
    marks: tuple[MarkVerdict, ...]
    """in their order; acknowledgements that no mark asked for come last"""
    counters: tuple[CounterVerdict, ...]
    """flushes first"""
    expectations: Expectations | None
    """of its scenario; None for a call without one"""
    unmet: tuple[str, ...]
    """the expectations that were not met, each as a sentence"""
    notes: tuple[str, ...]
    """what a reader should know besides: packets missing, malformed commands, ..."""
    located: tuple[LocatedPacket, ...] = field(repr=False)
    """the RTP packets in the order of their sequence numbers"""

    @property
    def result(self) -> Result:
        """Of the call as a whole: this is the one place that decides it.

        What its scenario expects and did not come fails it, and so does a mark or counter that
        failed. A call without a scenario and without marks proves nothing, and is INCONCLUSIVE.
        """
        if self.unmet:
            return "FAIL"
        if self.expectations and not self.marks:
            return self.counters_result
        return worst((self.marks_result, self.counters_result))

    @property
    def marks_result(self) -> Result:
        """FAIL when any mark failed. INCONCLUSIVE when none was set, or too many could not be
        judged: of all, or of one command, acknowledged as played or discarded for one reason.
        """
        if not self.marks:
            return "INCONCLUSIVE"
        return _result(
            self.marks,
            lambda mark: [(mark.command, mark.outcome, mark.reason)],
            self.bounds.max_inconclusive,
        )

    @property
    def counters_result(self) -> Result:
        """FAIL when any failed, INCONCLUSIVE when too many could not be judged: of all, or of one
        event. None at all pass."""
        return _result(
            self.counters,
            lambda one: [one.name.partition(' "')[0]],  # without the id
            self.bounds.max_inconclusive,
        )

    @property
    def inconclusive(self) -> tuple[MarkVerdict | CounterVerdict, ...]:
        """The marks and counters that could not be judged."""
        every: tuple[MarkVerdict | CounterVerdict, ...] = (*self.marks, *self.counters)
        return tuple(one for one in every if one.verdict is Verdict.INCONCLUSIVE)

    @property
    def failures(self) -> frozenset[Verdict]:
        """The ways in which its marks and counters failed."""
        return FAILURES & (
            {one.verdict for one in self.marks} | {one.verdict for one in self.counters}
        )

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many marks got each verdict."""
        counter = Counter(mark.verdict for mark in self.marks)
        return {verdict: counter[verdict] for verdict in Verdict}

    @property
    def statistics(self) -> Statistics | None:
        """Of this call's differences; None when there is none."""
        return statistics(self.marks)

    def relative_s(self, time_ns: int) -> float:
        """Seconds since the start of the timeline."""
        return (time_ns - self.start_ns) / 1e9

    def mark_text(self, mark: MarkVerdict, where: str = "", evidence: str = "") -> str:
        """Two lines that say what was wrong with a mark and how sure that is.

        ``where`` is what asked for it (scenario.yaml:14), ``evidence`` where to look
        (timeline.txt:88).
        """
        prefix = f"{where}: " if where else ""
        difference = (
            f"{mark.difference_ns / 1e6:+.3f} ms; " if mark.difference_ns is not None else ""
        )
        return (
            f'{prefix}mark "{mark.id}" {mark.verdict.value}: {mark.explanation}\n'
            f"  ({difference}allowed 0 .. {self.bounds.late_ns / 1e6:+.1f} ms; "
            f"uncertainty +-{tolerance_ns(self.measurement) / 1e6:.2g} ms; "
            f"{self._packets_text})"
        ) + (f"   {evidence}" if evidence else "")

    def counter_text(self, one: CounterVerdict) -> str:
        """Two lines that say what was wrong with playback counters and how sure that is."""
        when = "never" if one.time_ns is None else f"{self.relative_s(one.time_ns):+.6f} s"
        return (
            f"{one.name} {one.verdict.value}: {one.explanation}\n"
            f"  (came {when}; {self._packets_text})"
        )

    @property
    def _packets_text(self) -> str:
        return f"{self.packets} packets, {self.missing_packets} missing"


def _result(
    verdicts: Sequence[Judged], kinds: Callable[[Judged], Iterable[object]], max_percent: float
) -> Result:
    if any(one.verdict in FAILURES for one in verdicts):
        return "FAIL"
    inconclusive = [one for one in verdicts if one.verdict is Verdict.INCONCLUSIVE]
    passed = [one for one in verdicts if one.verdict is Verdict.PASS]
    few = few_inconclusive(passed, inconclusive, kinds, max_percent)
    return "PASS" if few else "INCONCLUSIVE"


def judge_call(
    timeline: Timeline, bounds: Bounds | None = None, expectations: Expectations | None = None
) -> JudgedCall:
    """Judge a call. ``expectations`` are those of its scenario, None without one."""
    bounds = bounds or Bounds()
    evidence = read_evidence(timeline, bounds)
    marks = judge_marks(evidence)
    if expectations:
        marks = unless_host_stalled(expectations, marks, evidence.uncertainty)
    unmet = unmet_expectations(expectations, evidence, marks) if expectations else []
    return JudgedCall(
        start_ns=timeline.start_ns,
        end_ns=timeline.end_ns,
        codec=timeline.codec.name,
        ptime_ms=timeline.packet_ms,
        measurement=evidence.uncertainty.measurement,
        bounds=bounds,
        packets=len(timeline.rtp),
        missing_packets=evidence.wire.sequence.missing,
        marks=marks,
        counters=judge_counters(evidence),
        expectations=expectations,
        unmet=tuple(unmet),
        notes=tuple(_notes(evidence)),
        located=evidence.wire.packets,
    )


def _notes(evidence: Evidence) -> list[str]:
    timeline, conversation, wire = evidence.timeline, evidence.conversation, evidence.wire
    sequence = wire.sequence
    foreign = sum(1 for one in wire.packets if one.location.foreign)
    sent = conversation.sent
    counts = [
        (sequence.missing, "RTP packets missing"),
        (sequence.duplicates, "RTP packets came twice"),
        (sequence.reordered, "RTP packets came out of order"),
        (foreign, "RTP packets hold bytes that are not the application's"),
        (wire.missing(0, sent), f"of {sent} bytes were never sent"),
        (timeline.measurement.capture_drops, "packets missed by the capture"),
    ]
    notes = [f"{count} {what}" for count, what in counts if count] + conversation.notes
    if timeline.recoded is not None:
        codecs = f"{timeline.codec.name} became {timeline.recoded.name}"
        by_sound = f"located by its sound, to {ERROR_NS / 1e6:g} ms"
        by_count = "located by counting its packets"
        notes.append(f"{codecs}: {by_count if is_counted(timeline) else by_sound}")
    return notes
