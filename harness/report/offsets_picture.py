"""The distribution of (acknowledged - due) in report.html, all targets on one axis. Pure.

Values in, positions out; the template draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.judge.verdicts import Statistics, statistics_of

WIDTH, ROW_HEIGHT, AXIS_HEIGHT = 560, 96, 30
_BARS = 110
_STEPS_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_CLOSE_UP_MS = (-1.0, 1.0)
"""shown below zero, and above the bound"""


@dataclass(frozen=True)
class Offsets:
    """The differences of one target's marks, in ns, all judged by the same bound."""

    target: str
    differences_ns: tuple[int, ...]

    @property
    def statistics(self) -> Statistics | None:
        """None when there is no difference."""
        return statistics_of(self.differences_ns)


@dataclass(frozen=True)
class Bar:
    """Of a histogram, in pixels."""

    x: float
    width: float
    height: float
    early: bool
    late: bool


@dataclass(frozen=True)
class Row:
    """One target's histogram and, as a line, the share at or below."""

    target: str
    top: int
    bars: list[Bar]
    line: str
    """points of an SVG polyline"""
    percentiles: list[tuple[str, float]]
    """name and x of each that is on the axis"""
    below: int
    """marks left of the axis"""
    above: int


@dataclass(frozen=True)
class Chart:
    """All rows on one axis."""

    title: str
    rows: list[Row]
    ticks: list[tuple[float, str]]
    zero: float
    bound: tuple[float, float]
    """x where the allowed range begins and ends"""
    width: int
    """in pixels, as is the height"""
    row_height: int = ROW_HEIGHT

    @property
    def height(self) -> int:
        """Of all rows and the axis below them."""
        return len(self.rows) * ROW_HEIGHT + AXIS_HEIGHT


def offset_charts(
    every: Sequence[Offsets],
    late_ns: int,
    tolerance_ns: int,
    width: int = WIDTH,
) -> list[Chart]:
    """All of the differences, and a close-up of what is allowed where they are spread wider.

    ``tolerance_ns`` is what the measurement's uncertainty adds to the bound on both sides.
    """
    rows = [one for one in every if one.differences_ns]
    if not rows:
        return []
    together = np.concatenate([np.array(one.differences_ns) for one in rows]) / 1e6
    late_ms = late_ns / 1e6
    close = (_CLOSE_UP_MS[0], late_ms + _CLOSE_UP_MS[1])
    # A few that are very far off would press all others into one bar: they are counted instead.
    low, high = (float(value) for value in np.percentile(together, [0.2, 99.8]))
    wide = (min(low * 1.08, close[0]), max(high * 1.08, close[1]))
    bound = (0.0, late_ms)
    tolerance = tolerance_ns / 1e6
    if wide[1] - wide[0] < 2 * (close[1] - close[0]):
        return [_chart("Every judged mark", rows, wide, bound, tolerance, width)]
    return [
        _chart("Every judged mark", rows, wide, bound, tolerance, width),
        _chart("Close-up of the allowed range", rows, close, bound, tolerance, width),
    ]


def _chart(
    title: str,
    offsets: Sequence[Offsets],
    axis_ms: tuple[float, float],
    bound_ms: tuple[float, float],
    tolerance_ms: float,
    width: int,
) -> Chart:
    scale = width / (axis_ms[1] - axis_ms[0])

    def x_of(ms: float) -> float:
        return round((min(max(ms, axis_ms[0]), axis_ms[1]) - axis_ms[0]) * scale, 2)

    rows = []
    for number, one in enumerate(offsets):
        values = np.sort(np.array(one.differences_ns) / 1e6)
        statistics = one.statistics
        assert statistics is not None
        named = {
            "p50": statistics.median_ns,
            "p95": statistics.p95_ns,
            "p99": statistics.p99_ns,
            "max": statistics.max_ns,
        }
        rows.append(
            Row(
                target=one.target,
                top=number * ROW_HEIGHT,
                bars=_bars(values, axis_ms, scale, bound_ms, tolerance_ms),
                line=_share_line(values, axis_ms, scale, width),
                percentiles=[
                    (name, x_of(ns / 1e6))
                    for name, ns in named.items()
                    if axis_ms[0] <= ns / 1e6 <= axis_ms[1]
                ],
                below=int(np.count_nonzero(values < axis_ms[0])),
                above=int(np.count_nonzero(values > axis_ms[1])),
            )
        )
    return Chart(
        title,
        rows,
        [(x_of(ms), f"{ms:g}") for ms in _ticks(axis_ms)],
        x_of(0.0),
        (x_of(bound_ms[0]), x_of(bound_ms[1])),
        width,
    )


def _bars(
    values: np.ndarray,
    axis_ms: tuple[float, float],
    scale: float,
    bound_ms: tuple[float, float],
    tolerance_ms: float,
) -> list[Bar]:
    step = (axis_ms[1] - axis_ms[0]) / _BARS
    # Both ends of the bound are edges, so that no bar holds allowed ones and others together.
    edges = np.unique(
        np.concatenate(
            [
                np.arange(bound_ms[0], axis_ms[0] - step, -step),
                np.arange(bound_ms[0], bound_ms[1], step),
                np.arange(bound_ms[1], axis_ms[1] + step, step),
            ]
        ).clip(*axis_ms)
    )
    counts, _ = np.histogram(values, edges)
    # By density, since bars beside the bound's ends may be narrower.
    density = counts / np.diff(edges)
    highest = density.max(initial=0) or 1
    return [
        Bar(
            x=round((float(edges[index]) - axis_ms[0]) * scale, 2),
            width=round(float(edges[index + 1] - edges[index]) * scale, 2),
            height=round(max(2.0, float(density[index] / highest) * (ROW_HEIGHT - 36)), 1),
            early=bool(edges[index + 1] <= bound_ms[0] - tolerance_ms + 1e-9),
            late=bool(edges[index] >= bound_ms[1] + tolerance_ms - 1e-9),
        )
        for index in np.flatnonzero(counts)
    ]


def _share_line(values: np.ndarray, axis_ms: tuple[float, float], scale: float, width: int) -> str:
    points = []
    for x in np.linspace(0, width, width // 4 + 1):
        share = np.searchsorted(values, axis_ms[0] + x / scale, side="right") / len(values)
        points.append(f"{x:g},{ROW_HEIGHT - 8 - share * (ROW_HEIGHT - 36):.1f}")
    return " ".join(points)


def _ticks(axis_ms: tuple[float, float]) -> list[float]:
    width = axis_ms[1] - axis_ms[0]
    step = next((one for one in _STEPS_MS if width / one <= 10), width / 5)
    first = int(np.ceil(axis_ms[0] / step))
    return [round(step * count, 6) for count in range(first, int(axis_ms[1] // step) + 1)]
