"""Holds what Asterisk says of the far end against the caller's own RTCP reports. Pure."""

from __future__ import annotations

from collections.abc import Callable

from harness.capture.timeline import ReceptionReport
from harness.judge.conversation import SentEvent
from harness.judge.evidence import Evidence

_STANDS_NS = 15_000_000_000
"""how long a report is told"""

_SEEN_NS = 100_000_000
"""so long after it came the driver has seen a report, if the host did not stall"""

_ERROR_MS = 0.1
"""of a time in 1/65536 s, of a clock that is read in microseconds, and of an event's decimals"""


class FarEnd:
    """What the caller reported in a call."""

    def __init__(self, evidence: Evidence) -> None:
        timeline = evidence.timeline
        self._reports = [
            one for number, one in enumerate(timeline.reports) if _is_news(timeline.reports, number)
        ]
        self._clock_hz = timeline.wire.rtp_clock_hz
        self._uncertainty = evidence.uncertainty
        # Before it opted in nobody had to look.
        opt_ins = (one.time_ns for one in evidence.conversation.commands if one.command.opts_in)
        self._seen_from_ns = next(opt_ins, timeline.end_ns) + _SEEN_NS
        self._stages = [
            (one.rank, one.event.fields["stage"])
            for one in evidence.conversation.events
            if "stage" in one.event.fields
        ]

    def faults(self, sent: SentEvent) -> list[str]:
        """What is wrong with what PLAYBACK or MEDIA_FLUSHED says of the far end."""
        event = sent.event
        if not event.is_json:
            return [f"{name} is in plain text" for name in _TIMES if name in event.fields]
        faults = []
        for name in _TIMES:
            allowed = self._allowed(sent, name)
            said = event.decimal(name)
            if name in event.fields and said is None:
                faults.append(f"{name} is no time: {event.fields[name]!r}")
            elif not any(self._agree(said, *one) for one in allowed):
                told = " or ".join("none" if one is None else f"{one:.3f}" for one, _ in allowed)
                faults.append(f"{name} is {said}, but the caller reported {told}")
        return faults

    def _agree(self, said: float | None, reported: float | None, came_ns: int) -> bool:
        if said is None or reported is None:
            return said is reported
        # Asterisk reads a report some time after it came: a round trip takes so much longer.
        late_ns = round((said - reported - _ERROR_MS) * 1e6)
        return said >= reported - _ERROR_MS and (
            late_ns <= self._uncertainty.late_ns
            or self._uncertainty.excuse(came_ns, came_ns + late_ns) != ""
        )

    def _allowed(self, sent: SentEvent, name: str) -> list[tuple[float | None, int]]:
        """What it may be, and when the report came that says so; None is for nothing."""
        reports = [
            one
            for one in self._reports
            if self._ms(name, one) is not None
            and 0 <= sent.time_ns - one.time_ns <= _STANDS_NS + _SEEN_NS
        ]
        sure = [
            one
            for one in reports
            if one.time_ns >= self._seen_from_ns
            and _SEEN_NS <= sent.time_ns - one.time_ns <= _STANDS_NS - _SEEN_NS
        ]
        owed = bool(sure) and self._stage(sent) == "sent"
        if owed:
            reports = reports[reports.index(sure[-1]) :]
        late_ms = self._uncertainty.late_ns / 1e6
        times = [(self._ms(name, one), one.time_ns) for one in reports]
        allowed = [(ms if ms is not None and ms >= 0 else None, came_ns) for ms, came_ns in times]
        # One that is just below nothing is more than that when it is read.
        allowed += [(0.0, came) for ms, came in times if ms is not None and -late_ms <= ms < 0]
        return allowed if owed else [*allowed, (None, sent.time_ns)]

    def _ms(self, name: str, report: ReceptionReport) -> float | None:
        return _TIMES[name](report, self._clock_hz)

    def _stage(self, sent: SentEvent) -> object:
        """How far media was followed by then: where that is not to the wire, nor are reports."""
        stages = [stage for rank, stage in self._stages if rank <= sent.rank]
        return stages[-1] if stages else None


def _is_news(reports: tuple[ReceptionReport, ...], number: int) -> bool:
    """Whether the figures that Asterisk keeps change by it: they do not by one that says nothing,
    or no other than all before it."""
    report = reports[number]
    others = {one.jitter for one in reports[:number]} or {0}
    return report.last_sr > 0 or others != {report.jitter}


def _jitter_ms(report: ReceptionReport, clock_hz: int) -> float:
    return report.jitter * 1000 / clock_hz


def _rtt_ms(report: ReceptionReport, _: int) -> float | None:
    return report.rtt_ms


_TIMES: dict[str, Callable[[ReceptionReport, int], float | None]] = {
    "rtt_ms": _rtt_ms,
    "jitter_ms": _jitter_ms,
}
