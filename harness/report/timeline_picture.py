"""The picture of a call in report.html: what the template draws, bounded in its size. Pure.

Everything is drawn once, as a few SVG paths with the time in ms from left to right, so that it can
be zoomed by stretching it sideways. Names of marks and events are HTML texts laid over it, which
are not stretched.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.judge.call import JudgedCall
from harness.judge.conversation import Conversation
from harness.judge.verdicts import FAILURES, LocatedPacket, MarkVerdict, Verdict
from harness.record.verdict_files import SavedCall
from harness.report.labels import Label, place_labels
from harness.report.svg_path import SvgPath

PIXELS_PER_MS = 2.0
"""at first: a frame of 20 ms is 40 pixels wide"""

_MARGIN_MS = 20.0
_AFTER_MS = 200.0
"""shown behind the last event, though listening went on"""
_LABEL_CHARACTERS = 16
_LATENESS_SHOWN_NS = 100_000
"""as in timeline.txt"""
_REGULAR_MS = 1.0
"""a frame further from its place than this begins a new run"""
_BOUND_DRAWN_NS = 50_000_000
"""a wider bound would cover the picture"""
_WIDEST_PIXELS = 2_000_000

_LAYERS = (
    *("stall", "paused", "allowed", "silence", "foreign", "unsure", "stream", "missing", "cut"),
    *("late", "due", "bar good", "bar doubt", "bar bad", "media", "sent", "event"),
    *("flag", "dot gone", "dot good", "dot doubt", "dot bad"),
)
"""What is drawn first lies below; what matters most on top"""


@dataclass(frozen=True)
class Lanes:
    """Where things are from top to bottom, in pixels."""

    sent: int = 30
    frame_top: int = 48
    frame_bottom: int = 80
    due_top: int = 42
    due_bottom: int = 90
    acknowledged: int = 100
    labels: tuple[int, ...] = (110, 123, 136)
    """top of each row of marks' labels"""
    events: int = 160
    height: int = 184


LANES = Lanes()


@dataclass(frozen=True)
class Limits:
    """How much of a call is drawn singly."""

    frames: int = 2500
    marks: int = 400
    messages: int = 400


@dataclass
class TimelinePicture:
    """What the template draws. Paths by their class; times in ms since the call's first event."""

    begin_ms: float
    end_ms: float
    focus_ms: float
    """where to look first: at the worst mark"""
    pixels_per_ms: float
    paths: dict[str, str] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    flags: list[Label] = field(default_factory=list)
    """moments that concern everything: a command, the end of the call"""
    events: list[Label] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """what was left out, and whatever else must be said"""
    data: dict[str, Any] = field(default_factory=dict)
    """for the script: marks and runs of frames, to say what is under the pointer"""

    @property
    def width_ms(self) -> float:
        """Of the whole picture."""
        return self.end_ms - self.begin_ms

    @property
    def ticks_ms(self) -> list[float]:
        """Moments named on the axis at the first scale."""
        step = next(
            (one for one in (200, 1000, 5000, 20_000, 60_000) if self.width_ms / one <= 300),
            300_000,
        )
        first = -int(-self.begin_ms // step)
        return [float(step * count) for count in range(first, int(self.end_ms // step) + 1)]

    @property
    def size(self) -> int:
        """Roughly, in bytes of the report."""
        words = sum(len(path) for path in self.paths.values())
        words += sum(60 + len(one.text) for one in [*self.labels, *self.events, *self.flags])
        return words + sum(len(str(value)) for value in self.data.values()) + 4000


def timeline_picture(call: SavedCall, limits: Limits, stretch: float = 1.0) -> TimelinePicture:
    """The picture of a call. In its paths a ms is ``stretch`` wide, for what cannot stretch them
    without making their lines wider."""
    return _Drawing(call, limits, stretch).picture


def worst_mark(call: JudgedCall) -> MarkVerdict | None:
    """The first that failed, else the first that is inconclusive, else the one furthest off."""
    marks = call.marks
    return (
        next((mark for mark in marks if mark.verdict in FAILURES), None)
        or next((mark for mark in marks if mark.verdict is Verdict.INCONCLUSIVE), None)
        or max(marks, key=lambda mark: abs(mark.difference_ns or 0), default=None)
    )


def mark_kind(mark: MarkVerdict) -> str:
    """The class of its colour."""
    if mark.verdict in FAILURES:
        return "bad"
    if mark.verdict is Verdict.INCONCLUSIVE:
        return "doubt"
    return "gone" if mark.outcome != "played" else "good"


class _Drawing:
    def __init__(self, call: SavedCall, limits: Limits, stretch: float) -> None:
        self._stretch = stretch
        self._call = call
        self._judged = call.judged
        self._conversation = Conversation(call.messages)
        self._limits = limits
        self._paths: dict[str, SvgPath] = {}
        times = list(self._times())
        end = min(
            max(times, default=0.0) + _AFTER_MS, max(self._ms(call.judged.end_ns), *times, 1.0)
        )
        worst = worst_mark(call.judged)
        self.picture = TimelinePicture(
            begin_ms=min(times, default=0.0) - _MARGIN_MS,
            end_ms=end + _MARGIN_MS,
            focus_ms=self._where(worst) if worst else min(times, default=0.0),
            pixels_per_ms=PIXELS_PER_MS,
        )
        self.picture.pixels_per_ms = min(PIXELS_PER_MS, _WIDEST_PIXELS / self.picture.width_ms)
        marks = self._chosen_marks()
        self._draw_spans()
        self._draw_frames(marks)
        self._draw_marks(marks)
        self._draw_messages()
        self.picture.paths = {
            kind: str(self._paths[kind]) for kind in _LAYERS if kind in self._paths
        }

    def _path(self, kind: str) -> SvgPath:
        return self._paths.setdefault(kind, SvgPath(self._stretch))

    def _ms(self, time_ns: int) -> float:
        return (time_ns - self._judged.start_ns) / 1e6

    def _times(self) -> Iterator[float]:
        """Of all that is drawn."""
        for packet in self._judged.located:
            yield self._ms(packet.time_ns)
            yield self._ms(packet.clock.start_ns)
            yield self._ms(packet.clock.start_ns) + self._judged.ptime_ms
        for message in self._call.messages:
            yield self._ms(message.time_ns)
        for mark in self._judged.marks:
            for time_ns in (mark.sent_ns, mark.due_ns, mark.acked_ns):
                if time_ns is not None:
                    yield self._ms(time_ns)

    def _where(self, mark: MarkVerdict) -> float:
        for time_ns in (mark.due_ns, mark.acked_ns, mark.sent_ns):
            if time_ns is not None:
                return self._ms(time_ns)
        return 0.0

    def _chosen_marks(self) -> list[MarkVerdict]:
        """All, or those that matter most: failed, then inconclusive, then furthest from due."""
        marks, most = self._judged.marks, self._limits.marks
        if len(marks) <= most:
            return list(marks)
        chosen = heapq.nlargest(
            most,
            range(len(marks)),
            key=lambda index: (
                marks[index].verdict in FAILURES,
                marks[index].verdict is Verdict.INCONCLUSIVE,
                abs(marks[index].difference_ns or 0),
                -index,
            ),
        )
        self.picture.notes.append(
            f"{most} of its {len(marks)} marks are drawn: those that failed, those that could not "
            "be judged, and those furthest from their time"
        )
        return [marks[index] for index in sorted(chosen)]

    # ---- the wire --------------------------------------------------------------------------------

    def _draw_frames(self, marks: Sequence[MarkVerdict]) -> None:
        packets, ptime = self._judged.located, float(self._judged.ptime_ms)
        single = self._single_frames(marks)
        runs: list[list[Any]] = []
        bar: tuple[str, float, float] | None = None
        for index, packet in enumerate(packets):
            start = self._ms(packet.clock.start_ns)
            kind = _frame_kind(packet)
            continues = index > 0 and abs(start - self._end(packets[index - 1])) < _REGULAR_MS
            if bar and bar[0] == kind and continues:
                bar = (kind, bar[1], start + ptime)
            else:
                self._draw_bar(bar)
                bar = (kind, start, start + ptime)
            if index in single:
                self._path("cut").line(start, LANES.frame_top, LANES.frame_bottom)
                if packet.clock.lateness_ns >= _LATENESS_SHOWN_NS:
                    wire = self._ms(packet.time_ns)
                    self._path("late").line(wire, LANES.frame_top - 5, LANES.frame_top + 4)
            missing = (packet.sequence - packets[index - 1].sequence - 1) % 2**16 if index else 0
            # A new source (SSRC) begins at any number: no more than a second is called missing.
            if 0 < missing * ptime <= 1000 and self._judged.missing_packets:
                width = max(ptime, start - self._end(packets[index - 1]))
                self._path("missing").box(start - width, width, LANES.frame_top, LANES.frame_bottom)
            _add_to_runs(runs, packet, start, ptime)
        self._draw_bar(bar)
        if len(single) < len(packets):
            self.picture.notes.append(
                f"{len(single)} of its {len(packets)} RTP frames are drawn singly, around the "
                "marks that matter most; the others as one bar"
            )
        # So that the file stays small where nothing is regular.
        self.picture.data["runs"] = runs[: self._limits.frames]
        self.picture.data["ptime"] = ptime

    def _draw_bar(self, bar: tuple[str, float, float] | None) -> None:
        if bar:
            kind, begin, end = bar
            self._path(kind).box(begin, end - begin, LANES.frame_top, LANES.frame_bottom)

    def _end(self, packet: LocatedPacket) -> float:
        return self._ms(packet.clock.start_ns) + self._judged.ptime_ms

    def _single_frames(self, marks: Sequence[MarkVerdict]) -> set[int]:
        packets, most = self._judged.located, self._limits.frames
        if len(packets) <= most:
            return set(range(len(packets)))
        starts = [packet.clock.start_ns for packet in packets]
        ordered = starts == sorted(starts)
        around = max(4, most // max(1, 2 * len(marks)))
        chosen: set[int] = set()
        for mark in [*[mark for mark in marks if mark.verdict is not Verdict.PASS], *marks]:
            if mark.due_ns is None or not ordered:
                continue
            middle = bisect_left(starts, mark.due_ns)
            chosen.update(range(max(0, middle - around), min(len(packets), middle + around)))
            if len(chosen) >= most:
                break
        return chosen or set(range(most))

    # ---- marks -----------------------------------------------------------------------------------

    def _draw_marks(self, marks: Sequence[MarkVerdict]) -> None:
        late_ms = self._judged.bounds.late_ns / 1e6
        for mark in marks:
            kind = mark_kind(mark)
            if mark.sent_ns is not None:
                self._path("sent").dot(self._ms(mark.sent_ns), LANES.sent)
            # A discarded one is not due, nor is a flushed MARK_MEDIA, which is never acknowledged.
            judged = mark.outcome == "played" or mark.verdict is not Verdict.PASS
            if mark.due_ns is not None and judged:
                due = self._ms(mark.due_ns)
                self._path("due").line(due, LANES.due_top, LANES.due_bottom)
                if self._judged.bounds.late_ns <= _BOUND_DRAWN_NS:
                    self._path("allowed").box(
                        due, late_ms, LANES.due_bottom, LANES.acknowledged + 8
                    )
            if mark.acked_ns is not None:
                acked = self._ms(mark.acked_ns)
                self._path(f"dot {kind}").dot(acked, LANES.acknowledged)
                if mark.due_ns is not None and judged:
                    begin, end = sorted((self._ms(mark.due_ns), acked))
                    self._path(f"bar {kind}").box(
                        begin, end - begin, LANES.acknowledged - 3, LANES.acknowledged + 3
                    )
        self.picture.labels = self._labels(marks)
        self.picture.data["marks"] = [self._mark_data(mark) for mark in marks]

    def _labels(self, marks: Sequence[MarkVerdict]) -> list[Label]:
        wanted = [
            (self._label_at(mark), _label(mark), mark_kind(mark), mark.verdict is not Verdict.PASS)
            for mark in marks
        ]
        rows = place_labels(
            [(at, text, important) for at, text, _, important in wanted],
            self.picture.pixels_per_ms,
            len(LANES.labels),
        )
        return [
            Label(at, text, kind, row)
            for (at, text, kind, _), row in zip(wanted, rows, strict=True)
        ]

    def _label_at(self, mark: MarkVerdict) -> float:
        return self._ms(mark.acked_ns) if mark.acked_ns is not None else self._where(mark)

    def _mark_data(self, mark: MarkVerdict) -> list[Any]:
        times = [
            None if time_ns is None else round(self._ms(time_ns), 4)
            for time_ns in (mark.sent_ns, mark.due_ns, mark.acked_ns)
        ]
        difference = None if mark.difference_ns is None else round(mark.difference_ns / 1e6, 3)
        return [
            mark.id,
            mark.offset,
            *times,
            difference,
            mark.outcome,
            mark.verdict.value,
            mark.explanation,
        ]

    # ---- the conversation ------------------------------------------------------------------------

    def _draw_messages(self) -> None:
        media = [one for one in self._call.messages if one.kind == "binary"]
        media = [one for one in media if one.sender == "application"]
        for message in _thinned(media, self._limits.messages):
            self._path("media").line(self._ms(message.time_ns), LANES.sent - 7, LANES.sent + 7)
        flags = list(self._flags())
        self.picture.flags = self._row_of(_thinned(flags, self._limits.messages // 4))
        for flag in self.picture.flags:
            self._path("flag").line(flag.at_ms, 0, LANES.height)
        events = [
            (self._ms(one.time_ns), one.event.name[:_LABEL_CHARACTERS])
            for one in self._conversation.events
            if one.event.name not in _ACKS
        ]
        chosen = _thinned(events, self._limits.messages // 2)
        if len(chosen) < len(events) or len(self.picture.flags) < len(flags):
            self.picture.notes.append("not all commands and events are drawn: see ws.jsonl")
        self.picture.events = self._row_of(chosen)
        for event in self.picture.events:
            self._path("event").dot(event.at_ms, LANES.events)

    def _row_of(self, texts: Sequence[tuple[float, str]]) -> list[Label]:
        rows = place_labels([(at, text, True) for at, text in texts], self.picture.pixels_per_ms, 1)
        return [
            Label(at, text, "bad" if text.startswith(_BAD_EVENTS) else "plain", row)
            for (at, text), row in zip(texts, rows, strict=True)
        ]

    def _flags(self) -> Iterator[tuple[float, str]]:
        for sent in self._conversation.commands:
            if sent.command.name in _COMMANDS:
                yield self._ms(sent.time_ns), _COMMANDS[sent.command.name]
        for message in self._call.messages:
            if message.kind == "close":
                yield self._ms(message.time_ns), f"{message.sender} closes"

    def _draw_spans(self) -> None:
        begin_ms, end_ms = self.picture.begin_ms, self.picture.end_ms
        for begin_ns, until_ns in self._conversation.pauses:
            begin = self._ms(begin_ns)
            end = end_ms if until_ns is None else self._ms(until_ns)
            self._path("paused").box(
                begin, end - begin, LANES.frame_top - 8, LANES.frame_bottom + 8
            )
        stalls = self._judged.measurement.host_stalls
        for begin_ns, end_ns in _thinned(stalls, self._limits.messages):
            begin, end = max(begin_ms, self._ms(begin_ns)), min(end_ms, self._ms(end_ns))
            if begin < end:
                self._path("stall").box(begin, end - begin, 0, LANES.height)


_COMMANDS = {
    "FLUSH_MEDIA": "flush",
    "PAUSE_MEDIA": "pause",
    "CONTINUE_MEDIA": "continue",
    "HANGUP": "hang-up",
    "SET_MEDIA_DIRECTION": "direction",
}
"""Commands drawn as a line through everything, and what they are called"""
_BAD_EVENTS = ("MEDIA_DROPPED", "ERROR")
_ACKS = ("MARK_PLAYED", "MARK_DISCARDED", "MEDIA_MARK_PROCESSED")


def _frame_kind(packet: LocatedPacket) -> str:
    if packet.location.foreign:
        return "foreign"
    if not packet.location.pieces:
        return "silence"
    return "stream" if packet.location.certain else "unsure"


def _add_to_runs(runs: list[list[Any]], packet: LocatedPacket, start: float, ptime: float) -> None:
    """Frames that follow each other in time, number and offset are one entry.

    [begin ms, frames, first sequence number, first offset or None, bytes a frame, late ms]
    """
    pieces = packet.location.pieces
    offset = pieces[0].offset if pieces else None
    length = sum(piece.length for piece in pieces)
    late_ms = (
        round(packet.clock.lateness_ns / 1e6, 1)
        if packet.clock.lateness_ns >= _LATENESS_SHOWN_NS
        else 0
    )
    if runs:
        begin, count, sequence, first, size, run_late_ms = runs[-1]
        follows = offset == (None if first is None else first + count * size)
        if (
            follows
            and size == length
            and late_ms == run_late_ms == 0
            and packet.sequence == (sequence + count) % 2**16
            and abs(start - begin - count * ptime) < _REGULAR_MS
        ):
            runs[-1][1] += 1
            return
    runs.append([round(start, 2), 1, packet.sequence, offset, length, late_ms])


def _label(mark: MarkVerdict) -> str:
    name = str(mark.id)
    if len(name) > _LABEL_CHARACTERS:
        name = name[: _LABEL_CHARACTERS - 1] + "\u2026"
    if mark.difference_ns is not None and mark.verdict not in (Verdict.WRONG, Verdict.TWICE):
        return f"{name} {mark.difference_ns / 1e6:+.2f}"
    if mark.verdict is Verdict.PASS:
        return f"{name} {mark.outcome or 'not acknowledged'}"
    return f"{name} {mark.verdict.value.lower()}"


def _thinned(values: Iterable[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread."""
    every = list(values)
    if len(every) <= most:
        return every
    return [every[index * len(every) // most] for index in range(most)]
