"""A picture of one call, or of two below each other: RTP frames, marks, acknowledgements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.judge.judge import FAILURES, CallVerdict, MarkVerdict, Verdict, statistics

_INCHES = (16, 9)
_DPI = 100
_FRAMES_SHOWN_S = 3.0
"""a longer call is shown around its worst mark: frames of 20 ms would be too narrow to see"""
_NAME_SHARE = 0.012
"""of the width, for the name of a mark"""
_BIN_MS = 0.5

_FRAME_COLOURS = ("#c6d8ea", "#dfe9f3")
_SILENCE_COLOUR = "#eeeeee"
_AUDIO_COLOUR = "#1f4e79"
_GOOD_COLOUR = "#2e7d32"
_BAD_COLOUR = "#c62828"
_DOUBT_COLOUR = "#ef9a00"

# Heights in the timeline, in the unit of its vertical axis, which has no meaning.
_FRAME_BOTTOM, _FRAME_TOP = 0.0, 0.8
_MARK_Y, _ANSWER_Y = 1.05, 1.75


@dataclass(frozen=True)
class PicturedCall:
    """A call and what to call it."""

    name: str
    verdict: CallVerdict
    ptime_ms: int = 20


def draw_picture(path: Path, calls: Sequence[PicturedCall]) -> None:
    """Write the picture to ``path``, as PNG or SVG by its suffix (1600 x 900 pixels)."""
    # Without pyplot: it keeps global state and asks for a display.
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(calls), 2, squeeze=False, width_ratios=(3, 1))
    limits_ms = _common_limits_ms(calls)
    centre = _worst_mark(calls)
    for (timeline, distribution), call in zip(rows, calls, strict=True):
        _draw_timeline(timeline, call, centre)
        _draw_distribution(distribution, call, limits_ms)
    _draw_legend(rows[-1][0])
    figure.savefig(path)


def _draw_timeline(axes: Axes, call: PicturedCall, centre: int) -> None:
    begin_s, end_s = _window_s(call.verdict, centre)
    _draw_frames(axes, call)
    last_name_s = begin_s
    for mark in call.verdict.marks:
        name_s = _draw_mark(axes, call.verdict, mark)
        # A name that would cover the one before it is left out.
        if name_s is None or name_s < last_name_s + (end_s - begin_s) * _NAME_SHARE:
            continue
        axes.text(
            name_s,
            _ANSWER_Y + 0.1,
            str(mark.id)[:16],
            rotation=90,
            fontsize=8,
            ha="center",
            va="bottom",
            color=_colour(mark),
            clip_on=True,
        )
        last_name_s = name_s
    axes.set_title(_title(call), loc="left", fontsize=11)
    axes.set_xlim(begin_s, end_s)
    axes.set_ylim(_FRAME_BOTTOM - 0.1, _ANSWER_Y + 0.75)
    axes.set_yticks(
        [(_FRAME_BOTTOM + _FRAME_TOP) / 2, _MARK_Y, _ANSWER_Y],
        ["RTP frames", "audio ended", "acknowledged"],
    )
    axes.set_xlabel("time since the first event, s")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_frames(axes: Axes, call: PicturedCall) -> None:
    media: list[tuple[float, float]] = []
    silent: list[tuple[float, float]] = []
    for place in call.verdict.places:
        block = (call.verdict.relative_s(place.clock.start_ns), call.ptime_ms / 1000)
        (media if place.location.pieces else silent).append(block)
    height = (_FRAME_BOTTOM, _FRAME_TOP - _FRAME_BOTTOM)
    # Two shades in turn, so that single frames can be seen without lines between them.
    colours = [_FRAME_COLOURS[index % 2] for index in range(len(media))]
    axes.broken_barh(media, height, facecolors=colours, label="RTP frame of the stream")
    if silent:
        axes.broken_barh(silent, height, facecolors=_SILENCE_COLOUR, label="other RTP frame")


def _draw_mark(axes: Axes, verdict: CallVerdict, mark: MarkVerdict) -> float | None:
    """Draw one mark; where its name goes, in seconds."""
    due_s = verdict.relative_s(mark.due_ns) if mark.due_ns is not None else None
    answered_s = verdict.relative_s(mark.answered_ns) if mark.answered_ns is not None else None
    colour = _colour(mark)
    if due_s is not None:
        axes.vlines(due_s, _FRAME_BOTTOM, _MARK_Y, colors=_AUDIO_COLOUR, linewidth=0.9)
        axes.plot([due_s], [_MARK_Y], "|", color=_AUDIO_COLOUR, markersize=9, markeredgewidth=1.5)
    if answered_s is not None:
        axes.plot([answered_s], [_ANSWER_Y], "v", color=colour, markersize=6)
    if due_s is not None and answered_s is not None:
        axes.plot([due_s, answered_s], [_MARK_Y, _ANSWER_Y], color=colour, linewidth=1.2)
    return answered_s if answered_s is not None else due_s


def _draw_legend(axes: Axes) -> None:
    axes.plot([], [], "|", color=_AUDIO_COLOUR, markersize=9, label="end of the mark's audio")
    axes.plot([], [], "-v", color=_GOOD_COLOUR, markersize=6, label="acknowledged in time")
    axes.plot([], [], "-v", color=_BAD_COLOUR, markersize=6, label="early, late or wrong")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=5, fontsize=9, frameon=False)


def _draw_distribution(axes: Axes, call: PicturedCall, limits_ms: tuple[float, float]) -> None:
    differences = sorted(_differences_ms(call))
    axes.axvline(0, color=_AUDIO_COLOUR, linewidth=1.2)
    axes.axvspan(limits_ms[0], 0, color=_BAD_COLOUR, alpha=0.07, linewidth=0)
    late_ms = call.verdict.bounds.late_ns / 1e6
    axes.axvspan(0, late_ms, color=_GOOD_COLOUR, alpha=0.12, linewidth=0)
    if differences:
        # Zero is an edge, so that no bar holds early ones and others together.
        edges = _BIN_MS * np.arange(
            np.floor(limits_ms[0] / _BIN_MS), np.ceil(limits_ms[1] / _BIN_MS) + 1
        )
        counts, _ = np.histogram(differences, edges)
        centres = (edges[:-1] + edges[1:]) / 2
        error_ms = 2 * call.verdict.ruler.error_ns / 1e6
        colours = [_BAD_COLOUR if x < -error_ms else _GOOD_COLOUR for x in centres]
        axes.bar(centres, counts, width=edges[1] - edges[0], color=colours, alpha=0.8)
        share = axes.twinx()
        steps = np.arange(1, len(differences) + 1) / len(differences) * 100
        share.step(differences, steps, where="post", color="#444444", linewidth=1.3)
        share.set_ylim(0, 103)
        share.set_ylabel("share at or below (line), %")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(*limits_ms)
    axes.set_xlabel("acknowledged minus end of audio, ms")
    axes.set_ylabel("marks")
    axes.set_title("left of 0: early", loc="left", fontsize=11)


def _title(call: PicturedCall) -> str:
    counts = call.verdict.counts
    texts = [f"{len(call.verdict.marks)} marks"]
    texts += [f"{count} {one.value.lower()}" for one, count in counts.items() if count]
    title = f"{call.name}: {', '.join(texts)}"
    numbers = statistics(call.verdict.marks)
    if numbers is None:
        return title
    return (
        f"{title}; difference median {numbers.median_ns / 1e6:+.2f} ms, "
        f"p99 {numbers.p99_ns / 1e6:+.2f}, from {numbers.min_ns / 1e6:+.2f} "
        f"to {numbers.max_ns / 1e6:+.2f}"
    )


def _window_s(verdict: CallVerdict, centre: int) -> tuple[float, float]:
    """The part of the call that is shown: all that plays, or what is around mark ``centre``."""
    times = [place.clock.start_ns for place in verdict.places]
    times += [time for mark in verdict.marks for time in (mark.due_ns, mark.answered_ns) if time]
    if not times:
        return 0.0, 1.0
    begin_s, end_s = verdict.relative_s(min(times)), verdict.relative_s(max(times))
    if end_s - begin_s > _FRAMES_SHOWN_S:
        due_ns = verdict.marks[centre].due_ns if centre < len(verdict.marks) else None
        centre_s = verdict.relative_s(due_ns) if due_ns is not None else begin_s
        begin_s = min(max(begin_s, centre_s - _FRAMES_SHOWN_S / 2), end_s - _FRAMES_SHOWN_S)
        end_s = begin_s + _FRAMES_SHOWN_S
    margin = (end_s - begin_s) * 0.02 + 0.01
    return begin_s - margin, end_s + margin


def _worst_mark(calls: Sequence[PicturedCall]) -> int:
    """Index of the mark answered furthest from its time, so that all calls show the same part."""
    candidates = [
        (abs(mark.difference_ns), index)
        for call in calls
        for index, mark in enumerate(call.verdict.marks)
        if mark.difference_ns is not None
    ]
    return max(candidates, default=(0, 0))[1]


def _common_limits_ms(calls: Sequence[PicturedCall]) -> tuple[float, float]:
    """The same horizontal axis for all, so that they can be compared; one far value is cut off."""
    differences = [value for call in calls for value in _differences_ms(call)]
    if not differences:
        return -5.0, 5.0
    low, high = np.percentile(differences, [0.5, 99.5])
    return min(float(low) * 1.1, -3.0), max(float(high) * 1.1, 5.0)


def _differences_ms(call: PicturedCall) -> list[float]:
    return [
        mark.difference_ns / 1e6
        for mark in call.verdict.marks
        if mark.difference_ns is not None and mark.verdict is not Verdict.INCONCLUSIVE
    ]


def _colour(mark: MarkVerdict) -> str:
    if mark.verdict in FAILURES:
        return _BAD_COLOUR
    return _GOOD_COLOUR if mark.verdict is Verdict.PASS else _DOUBT_COLOUR
