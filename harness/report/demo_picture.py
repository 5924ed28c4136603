"""The demonstration's picture, an SVG file that loads nothing: the same marks on two calls.

It is drawn by what draws the calls in report.html. Above are the differences of all marks, below
for each call what is around one mark: that whose acknowledgement is furthest from its time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from harness.judge.verdicts import MarkVerdict, Verdict, timed_differences
from harness.record.verdict_files import SavedCall
from harness.report.labels import Label
from harness.report.offsets_picture import Chart, Offsets, offset_charts
from harness.report.templates import render, resource
from harness.report.timeline_picture import (
    LANES,
    Limits,
    TimelinePicture,
    mark_kind,
    timeline_picture,
)

_WIDTH = 1000
"""of what is drawn, without the names left of it"""
_PIXELS_PER_MS = 5.0
"""so that in a frame of 20 ms there is room for its byte range"""
_TICK_MS = 20


@dataclass(frozen=True)
class PicturedCall:
    """A judged call and what to call it."""

    name: str
    call: SavedCall


@dataclass(frozen=True)
class _CloseUp:
    """What is around one mark of a call. Times in ms since the call's first event."""

    title: str
    kind: str
    """class of the title's colour"""
    picture: TimelinePicture
    centre_ms: float
    frames: Sequence[Label]
    """byte ranges"""

    @property
    def begin_ms(self) -> float:
        """At the left end."""
        return self.centre_ms - _WIDTH / _PIXELS_PER_MS / 2

    @property
    def labels(self) -> list[Label]:
        """Of the marks that are in it."""
        return [one for one in self.picture.labels if one.row >= 0 and self._shows(one.at_ms)]

    def x(self, at_ms: float) -> float:
        """In pixels from the left end."""
        return (at_ms - self.begin_ms) * _PIXELS_PER_MS

    def _shows(self, at_ms: float) -> bool:
        return 0 <= self.x(at_ms) <= _WIDTH


def write_demo_picture(path: Path, title: str, calls: Sequence[PicturedCall]) -> None:
    """Write the picture; the same mark of all ``calls`` is shown closely."""
    number = _shown_mark(calls)
    path.write_text(
        render(
            "demo.svg.j2",
            title=title,
            width=_WIDTH,
            scale=_PIXELS_PER_MS,
            tick_ms=_TICK_MS,
            lanes=LANES,
            chart=_chart(calls),
            close_ups=[_close_up(call, number) for call in calls],
            style=_without_variables(resource("pictures.css")),
        ),
        encoding="utf-8",
    )


def _shown_mark(calls: Sequence[PicturedCall]) -> int:
    """Index of the mark acknowledged furthest from its time on any call, of those that could be
    judged on all of them, if there are any."""
    marks = [one.call.judged.marks for one in calls]
    unclear = {
        index
        for each in marks
        for index, mark in enumerate(each)
        if mark.verdict is Verdict.INCONCLUSIVE
    }
    differences = [
        (index not in unclear, abs(mark.difference_ns), index)
        for each in marks
        for index, mark in enumerate(each)
        if mark.difference_ns is not None
    ]
    return max(differences, default=(False, 0, 0))[2]


def _chart(calls: Sequence[PicturedCall]) -> Chart | None:
    offsets = [Offsets(one.name, tuple(timed_differences(one.call.judged.marks))) for one in calls]
    judged = [one.call.judged for one in calls]
    charts = offset_charts(
        offsets,
        max((call.bounds.late_ns for call in judged), default=0),
        max((2 * call.measurement.uncertainty_ns for call in judged), default=0),
        _WIDTH,
    )
    return charts[0] if charts else None


def _close_up(one: PicturedCall, number: int) -> _CloseUp:
    judged, picture = one.call.judged, timeline_picture(one.call, Limits(), _PIXELS_PER_MS)
    mark = judged.marks[number] if number < len(judged.marks) else None
    if mark is None:
        return _CloseUp(f"{one.name}: no mark", "gone", picture, picture.focus_ms, ())
    centre = mark.due_ns or mark.acked_ns or mark.sent_ns or judged.start_ns
    frames = [
        Label((place.clock.start_ns - judged.start_ns) / 1e6, f"{begin}..{end}", "frame", 0)
        for place in judged.located
        for begin, end in [
            (piece.offset, piece.offset + piece.length) for piece in place.location.pieces[:1]
        ]
    ]
    close_up = _CloseUp(
        f"{one.name}: {_heading(mark)}",
        mark_kind(mark),
        picture,
        (centre - judged.start_ns) / 1e6,
        frames,
    )
    return close_up


def _heading(mark: MarkVerdict) -> str:
    if mark.difference_ns is None:
        return f"{mark.command} {mark.id} {mark.outcome or 'was not acknowledged'}"
    side = "after" if mark.difference_ns >= 0 else "before"
    ms = abs(mark.difference_ns) / 1e6
    text = f"{mark.command} {mark.id} is acknowledged {ms:.2f} ms {side} the end of its audio"
    return f"{text} (inconclusive)" if mark.verdict is Verdict.INCONCLUSIVE else text


def _without_variables(style: str) -> Markup:
    """The style with each variable's value in its place: not every SVG viewer knows variables."""
    values = dict(re.findall(r"--([\w-]+): ([^;]+);", style))

    def value(used: re.Match[str]) -> str:
        name, otherwise = used.groups(default="")
        return str(values.get(name, otherwise))

    return Markup(re.sub(r"var\(--([\w-]+)(?:, ([^)]+))?\)", value, style))
