"""A run as one self-contained page: report.html. Made from the run's folder alone.

It loads nothing, so that it can be mailed or kept by a CI system. Everything is there without
JavaScript; with it the table can be sorted and filtered, and the pictures zoomed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputFault
from harness.judge.uncertainty import MOST_UNCERTAIN_NS
from harness.judge.verdicts import FAILURES, Bounds, Statistics, Verdict, statistics_of
from harness.record.verdict_files import SavedCall, load_call
from harness.report.offsets_picture import Offsets, offset_charts
from harness.report.templates import render, resource
from harness.report.timeline_picture import LANES, Limits, TimelinePicture, timeline_picture
from harness.scenarios.result import (
    WORST_FIRST,
    CallResult,
    Outcome,
    RunSummary,
    ScenarioResult,
)

REPORT_FILE = "report.html"

PICTURES_BYTES = 7_000_000
"""of all pictures together; so the file stays below 10 MB"""
_THINNED = Limits(frames=300, marks=60, messages=60)
_FIRST_TEXTS, _LAST_TEXTS = 20, 5
"""failures of one scenario that are shown: what is not of a single mark comes last"""
_OPEN_ROWS = 2
"""rows that are open from the start: with something wrong in them, or where there are no more"""

_WRONG = (Outcome.ERROR, Outcome.FAIL, Outcome.XPASS, Outcome.INCONCLUSIVE)
MEANINGS = {
    Outcome.PASS: "everything was as expected",
    Outcome.FAIL: "the driver failed",
    Outcome.INCONCLUSIVE: "the measurement was unreliable in each attempt (host stalled, packets "
    "lost)",
    Outcome.ERROR: "harness or environment error",
    Outcome.SKIP: "the target cannot run it",
    Outcome.XFAIL: "expected failure: the driver failed in just the way it is known to",
    Outcome.XPASS: "the expected failure did not occur: is the driver fixed, or the harness blind?",
    Outcome.NOT_RUN: "the run stopped at an earlier failure",
}
VERDICTS = {
    Verdict.PASS: "acknowledged when its audio had been played, or discarded for the right reason",
    Verdict.EARLY: "acknowledged while its audio was still playing",
    Verdict.LATE: "acknowledged later than is allowed",
    Verdict.NEVER: "not acknowledged",
    Verdict.TWICE: "acknowledged more than once",
    Verdict.UNASKED: "an acknowledgement that no mark asked for",
    Verdict.WRONG: "acknowledged with a wrong field, in the wrong order or for the wrong reason",
    Verdict.INCONCLUSIVE: "the measurement was unreliable where it matters for this mark",
}
"""What each verdict says of a mark"""


@dataclass
class _CallView:
    """A call in the page."""

    result: CallResult
    number: int
    opened: bool = False
    saved: bool = False
    """whether its files could be read"""
    why_no_picture: str = ""
    picture: TimelinePicture | None = None
    notes: Sequence[str] = ()

    @property
    def statistics(self) -> Statistics | None:
        """Of its differences."""
        return statistics_of(self.result.differences_ns)


@dataclass
class _RowView:
    """A scenario in the page."""

    result: ScenarioResult
    number: int
    calls: list[_CallView]
    opened: bool = False

    @property
    def statistics(self) -> Statistics | None:
        """Of the differences of all its calls."""
        return statistics_of([ns for call in self.result.calls for ns in call.differences_ns])

    @property
    def marks(self) -> int:
        """In all its calls."""
        return sum(sum(call.counts.values()) for call in self.result.calls)

    @property
    def passed(self) -> int:
        """Marks that passed."""
        return sum(call.counts.get(Verdict.PASS.value, 0) for call in self.result.calls)

    @property
    def why(self) -> str:
        """The reason, or the first line of the first failure."""
        first = self.result.failures[0].partition("\n")[0] if self.result.failures else ""
        return self.result.reason or first

    @property
    def texts(self) -> Sequence[str]:
        """The failures that are shown."""
        every = self.result.failures
        left_out = len(every) - _FIRST_TEXTS - _LAST_TEXTS
        if left_out <= 0:
            return every
        more = f"... {left_out} more: see timeline.txt of the calls ..."
        return [*every[:_FIRST_TEXTS], more, *every[-_LAST_TEXTS:]]


@dataclass
class _TargetView:
    """All that was measured on one target."""

    name: str
    version: str
    outcomes: dict[Outcome, int]
    counts: Counter[str]
    """marks by verdict"""
    statistics: Statistics | None
    """of the marks judged by the usual bound"""
    calls: int


@dataclass(frozen=True)
class _Allowed:
    """What a call was judged by, in ms; the measurement's uncertainty comes on top of it."""

    late_ms: float
    location_ms: float
    """how much a place in the stream may be wrong by"""


@dataclass
class _Measured:
    """How the run was measured."""

    sources: list[tuple[str, int, float]]
    """name, calls, largest uncertainty in ms"""
    packets: int
    missing_packets: int
    bounds: list[tuple[_Allowed, int]]
    """with the number of calls; the usual one first"""
    limits: Bounds = field(default_factory=Bounds)
    host_stalls: int = 0
    longest_stall_ms: float = 0.0
    capture_drops: int = 0
    unread: int = 0
    """calls whose files could not be read"""


def write_report(run_folder: Path, summary: RunSummary) -> Path:
    """Write ``report.html`` into a run's folder, from ``summary`` and the calls' folders.

    A call whose folder is missing is shown without a picture.
    """
    path = run_folder / REPORT_FILE
    path.write_text(report_html(run_folder, summary), encoding="utf-8")
    return path


def report_html(run_folder: Path, summary: RunSummary) -> str:
    """The text of report.html."""
    rows = _rows(summary)
    measured = _measured(summary)
    _draw_pictures(run_folder, rows, measured)
    usual = measured.bounds[0][0] if measured.bounds else _Allowed(2.0, 0.0)
    offsets = _offsets(summary, usual)
    worst_ms = max((error for _, _, error in measured.sources), default=0.0)
    tolerance_ms = 2 * worst_ms + usual.location_ms
    charts = offset_charts(
        offsets,
        round(usual.late_ms * 1e6),
        round(tolerance_ms * 1e6),
    )
    return render(
        "report.html.j2",
        summary=summary,
        rows=rows,
        targets=_targets(summary, offsets),
        matrix=_matrix(rows, summary),
        charts=charts,
        usual=usual,
        tolerance_ms=tolerance_ms,
        most_uncertain_ms=MOST_UNCERTAIN_NS / 1e6,
        others=_not_in_charts(summary, usual),
        measured=measured,
        meanings=MEANINGS,
        verdicts={verdict.value: VERDICTS[verdict] for verdict in Verdict},
        failures={verdict.value for verdict in FAILURES},
        outcomes=list(Outcome),
        wrong=[(outcome, summary.counts[outcome]) for outcome in _WRONG if summary.counts[outcome]],
        lanes=LANES,
        style=resource("pictures.css") + resource("report.css"),
        script=resource("report.js"),
    )


# ---- the contents of the page --------------------------------------------------------------------


def _rows(summary: RunSummary) -> list[_RowView]:
    ordered = sorted(summary.results, key=lambda result: WORST_FIRST.index(result.outcome))
    rows = []
    calls = 0
    for number, result in enumerate(ordered):
        views = [_CallView(call, calls + index) for index, call in enumerate(result.calls)]
        calls += len(views)
        if views:
            next((one for one in views if one.result.verdict != "PASS"), views[0]).opened = True
        opened = number < _OPEN_ROWS and (result.outcome in _WRONG or len(ordered) <= _OPEN_ROWS)
        rows.append(_RowView(result, number, views, opened))
    return rows


def _targets(summary: RunSummary, offsets: Sequence[Offsets]) -> list[_TargetView]:
    by_name = {one.target: one for one in offsets}
    views = []
    for name in dict.fromkeys(result.target for result in summary.results):
        results = [result for result in summary.results if result.target == name]
        counts: Counter[str] = Counter()
        for result in results:
            for call in result.calls:
                counts.update(call.counts)
        outcomes = Counter(result.outcome for result in results)
        versions = dict.fromkeys(result.version for result in results if result.version)
        views.append(
            _TargetView(
                name,
                ", ".join(versions),
                {outcome: outcomes[outcome] for outcome in Outcome},
                counts,
                by_name[name].statistics if name in by_name else None,
                sum(len(result.calls) for result in results),
            )
        )
    return views


def _matrix(
    rows: Sequence[_RowView], summary: RunSummary
) -> list[tuple[ScenarioResult, list[list[_RowView]]]]:
    """Each scenario once, and its rows on each target: more than one if it was repeated."""
    targets = list(dict.fromkeys(result.target for result in summary.results))
    if len(targets) < 2:
        return []
    # The first one of each name.
    names = {result.name: result for result in reversed(summary.results)}
    found: dict[tuple[str, str], list[_RowView]] = {}
    for row in rows:
        found.setdefault((row.result.name, row.result.target), []).append(row)
    return [
        (first, [found.get((name, target), []) for target in targets])
        for name, first in reversed(names.items())
    ]


def _allowed(call: CallResult) -> _Allowed:
    return _Allowed(call.late_ns / 1e6, call.location_ns / 1e6)


def _offsets(summary: RunSummary, usual: _Allowed) -> list[Offsets]:
    """Of the calls judged by the usual bound: others may be late by design."""
    found: dict[str, list[int]] = {}
    for result in summary.results:
        for call in result.calls:
            if _allowed(call) == usual:
                found.setdefault(result.target, []).extend(call.differences_ns)
    return [Offsets(target, tuple(values)) for target, values in found.items()]


def _not_in_charts(summary: RunSummary, usual: _Allowed) -> int:
    return sum(
        len(call.differences_ns)
        for result in summary.results
        for call in result.calls
        if _allowed(call) != usual
    )


def _measured(summary: RunSummary) -> _Measured:
    calls = [call for result in summary.results for call in result.calls]
    bounds = Counter(_allowed(call) for call in calls)
    sources = Counter(call.source for call in calls)
    return _Measured(
        sources=[
            (
                source,
                count,
                max(call.uncertainty_ns for call in calls if call.source == source) / 1e6,
            )
            for source, count in sources.most_common()
        ],
        packets=sum(call.packets for call in calls),
        missing_packets=sum(call.missing_packets for call in calls),
        bounds=bounds.most_common(),
    )


def _draw_pictures(run_folder: Path, rows: Iterable[_RowView], measured: _Measured) -> None:
    """Draw what there is room for; ``rows`` come with what needs a look first."""
    left = PICTURES_BYTES
    for row in rows:
        # Within a scenario, too, what failed comes first.
        for view in sorted(row.calls, key=lambda one: one.result.verdict == "PASS"):
            try:
                call = load_call(run_folder / view.result.folder)
            except InputFault:
                measured.unread += 1
                view.why_no_picture = "its files are not beside this report, or cannot be read"
                continue
            view.saved = True
            view.notes = call.judged.notes
            _note_measured(measured, call)
            drawn = timeline_picture(call, Limits())
            if drawn.size > left:
                drawn = timeline_picture(call, _THINNED)
            if drawn.size > left:
                view.why_no_picture = (
                    "left out to keep this file small; timeline.txt has all of the call"
                )
                continue
            left -= drawn.size
            view.picture = drawn


def _note_measured(measured: _Measured, call: SavedCall) -> None:
    measurement = call.judged.measurement
    measured.limits = call.judged.bounds
    measured.capture_drops += measurement.capture_drops
    measured.host_stalls += len(measurement.host_stalls)
    longest_ns = max((end - begin for begin, end in measurement.host_stalls), default=0)
    measured.longest_stall_ms = max(measured.longest_stall_ms, longest_ns / 1e6)
